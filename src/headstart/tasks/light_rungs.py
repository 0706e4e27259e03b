"""The light rungs of tasks whose rows are whole texts: what the label curve and the figure of layers are drawn with.

Letters in shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.data.examples import IntArray
from headstart.data.split import few_folds
from headstart.judge.calibration import best_threshold
from headstart.judge.label_curve import PredictAt
from headstart.judge.metrics import FloatArray
from headstart.records import Estimate
from headstart.settings import Settings
from headstart.strategies.base import Rows, with_names
from headstart.strategies.heads import choose_head, make_space, weights_for
from headstart.strategies.outputs import Output, output_of
from headstart.strategies.probe import leave_one_out, mean_of_layers, usual_layers
from headstart.strategies.tfidf import fit_tfidf
from headstart.tasks.base import Judge

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader


def probe_and_tfidf(
    rows: Rows, groups: IntArray, reader: Reader, settings: Settings, fit_plain: Callable[..., tuple[Any, FloatArray]] = fit_tfidf
) -> PredictAt:
    """A probe on the usual layers, and the rung without transfer, which `fit_plain` fits.

    Outputs of labels are moved to the line that is best on folds of the rows that train.
    """
    features = mean_of_layers(reader.pooled(rows.named().texts), usual_layers(reader.backbone.n_blocks))

    from headstart.tasks.registry import deciding_metric

    def predict_at(rung: str, train: IntArray, held: IntArray) -> FloatArray:
        some = rows.take(train)
        weight = weights_for(some.y, some.n_classes, deciding_metric(settings))
        part, pairs = with_names(some, few_folds(some.strata, groups[train], settings.seed))
        if rung == "tfidf":
            model, seen = fit_plain(part, pairs, weight, settings.seed)
            said: FloatArray = model.predict_logits([rows.texts[i] for i in held])
        else:
            learnt = np.concatenate([train, np.arange(len(rows), len(features))])
            choice = choose_head(features[learnt], part.y, part.n_classes, pairs, weight)
            seen, said = choice.out_of_fold_logits, choice.head.logits(features[held])
        return said - _line(seen[: len(some.y)], some)

    return predict_at


def judged_layers(rows: Rows, groups: IntArray, reader: Reader, settings: Settings, judge: Judge) -> list[tuple[int, Estimate]]:
    """The deciding score of a ridge head on each layer, each row predicted without itself."""
    from headstart.tasks.registry import deciding_metric

    pooled = reader.pooled(rows.texts)
    found = []
    for layer in range(pooled.shape[1]):
        predicted = leave_one_out(make_space(pooled[:, layer]), rows.y, rows.n_classes)
        found.append((layer, judge.estimate(deciding_metric(settings), predicted - _line(predicted, rows), rows, groups, settings)))
    return found


def _line(logits: FloatArray, rows: Rows) -> float:
    """Where labels are told apart best by these held-out outputs; 0 for all else, and where nothing was held out."""
    if output_of(rows.y) is not Output.LABELS:
        return 0.0
    known = rows.measured(logits)
    return best_threshold(logits[known], np.asarray(rows.y[known])) if len(known) else 0.0
