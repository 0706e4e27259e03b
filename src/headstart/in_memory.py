"""A classifier decided and trained in memory: no judge, no report, no run folder. `TransferClassifier` stands on it.

Letters in shapes: n texts, c classes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from headstart.budget import AROUND, within_budget
from headstart.candidates import asked_strategies, open_means
from headstart.checking import Checked, check_data
from headstart.data.examples import Examples
from headstart.deciding import Failed, calibrating, decide_on, read_rows, train_winner, until_trained
from headstart.judge.calibration import softmax
from headstart.pipeline import leave_out_taught
from headstart.planner import Decision
from headstart.runs import RunFolder
from headstart.settings import Settings
from headstart.sources.names import expand_names
from headstart.strategies.base import Fitted, FloatArray
from headstart.target import counting_source, make_target
from headstart.tasks.registry import DEFAULT, require_settings_of


def train_classifier(texts: Sequence[str], labels: Sequence[str], settings: Settings) -> TrainedClassifier:
    """Decide and train in memory: no judge, no report, no run folder."""
    settings = replace(settings, source=expand_names(settings.source))
    require_settings_of(settings, DEFAULT)
    examples = Examples(tuple(texts), tuple(labels), tuple(range(1, len(texts) + 1)), "(texts, labels)", "text", "label")
    checked: Checked = check_data(
        examples,
        text=None,
        label=None,
        test=None,
        validation=None,
        source=counting_source(settings.source),
        max_length=settings.max_length,
        task=DEFAULT,
    )
    checked.result.require_usable()
    target = make_target(checked, name="texts", test=None, validation=None)
    with tempfile.TemporaryDirectory() as folder, open_means(settings) as means:
        run = RunFolder.open(Path(folder) / "run", {})
        leave_out_taught(target, means)
        names, seconds = asked_strategies(settings), settings.budget - AROUND
        target = within_budget(target, settings, means, names)
        every = np.arange(len(target.rows))
        begin = time.perf_counter()
        read_rows(target, settings, means, names)
        seconds = max(0.0, seconds - (time.perf_counter() - begin))

        def decide_anew(failed: Failed) -> Decision:
            return decide_on(target, every, "all rows", settings, run, means, names, seconds, failed=failed, lasting=False)

        calibrate = calibrating(run, "all rows", seconds, means.cost)
        fitted = until_trained(decide_anew, lambda decision: train_winner(decision, calibrate))
        return TrainedClassifier(target.labels, without_store(cast(Fitted, fitted)))


@dataclass(frozen=True)
class TrainedClassifier:
    """A trained winner in memory."""

    labels: tuple[str, ...]
    fitted: Fitted

    def predict_proba(self, texts: Sequence[str]) -> FloatArray:
        """Probabilities (n, c), classes in the order of `labels`."""
        return softmax(self.fitted.predict_logits(list(texts)))


def without_store(model: Fitted) -> Fitted:
    """The same model, good for use after the store is closed."""
    from headstart.strategies.model import TransferModel

    return replace(model, reader=replace(model.reader, store=None)) if isinstance(model, TransferModel) else model
