"""One label for each pair of texts: what is true of one and the other together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headstart.data.examples import Examples, IntArray
from headstart.data.split import few_folds
from headstart.errors import DataError
from headstart.judge.label_curve import PredictAt
from headstart.judge.metrics import FloatArray
from headstart.settings import Settings
from headstart.strategies.base import Rows
from headstart.strategies.heads import choose_head
from headstart.strategies.pair_tfidf import fit_pair_tfidf
from headstart.strategies.probe import choose_probe, mean_of_layers
from headstart.tasks import classification
from headstart.tasks.base import Prepared

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader


def recognise(examples: Examples) -> str:
    """Why these rows are pairs, "" where they are not."""
    if not examples.paired:
        return ""
    return f"the texts stand in two columns, {examples.text_column!r}"


def prepare(examples: Examples) -> Prepared:
    """The examples as they are.

    Raises:
        DataError: they have one text each.
    """
    if not examples.paired:
        where = repr(examples.origin) if examples.origin != "-" else "standard input"
        raise DataError(
            f"{where} has one text a row, in {examples.text_column!r}; name the two columns of the pairs as --text FIRST,SECOND."
        )
    return Prepared(examples, ())


def curve_at(rows: Rows, groups: IntArray, reader: Reader, settings: Settings) -> PredictAt:
    """A probe on the layers that suit all rows, and tfidf of pairs."""
    pooled = reader.pooled(rows.texts)
    features = mean_of_layers(pooled, choose_probe(pooled, rows.y, rows.n_classes, [], None).layers)

    def predict_at(rung: str, train: IntArray, held: IntArray) -> FloatArray:
        part = rows.take(train)
        pairs = few_folds(part.strata, groups[train], settings.seed)
        if rung == "tfidf":
            return fit_pair_tfidf(part, pairs, None, settings.seed)[0].predict_logits([rows.texts[i] for i in held])
        return choose_head(features[train], part.y, part.n_classes, pairs, None).head.logits(features[held])

    return predict_at


TASK = replace(
    classification.TASK,
    name="pairs",
    summary="one label for each pair of texts",
    recognise=recognise,
    prepare=prepare,
    curve_at=curve_at,
)
