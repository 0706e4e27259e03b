"""Rows whose label is probably wrong, found before any fit: the probe's folds disagree with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.candidates import open_means, rungs_on
from headstart.checking import Checked
from headstart.data.check import suspect_finding
from headstart.data.rows import finding
from headstart.records import Finding, Severity
from headstart.settings import Settings
from headstart.strategies.ladder import known_strategies
from headstart.target import make_target
from headstart.tasks.registry import get_task


def suspected_labels(checked: Checked, settings: Settings) -> tuple[Finding, ...]:
    """What `check` adds once the texts are read: rows that heads trained on the other rows would label otherwise (cleanlab).

    Of a task without such heads one finding that says so.

    Args:
        checked: the rows and what was found without a model.
        settings: source, store, folds and seed.

    Raises:
        DataError: the rows cannot be learned from.
        SourceError: the source cannot be used.
    """
    if "probe" not in known_strategies(checked.task):
        message = f"Labels of the task {checked.task} are not looked through for suspects."
        return (finding("suspects", Severity.NOTE, message, (), "Leave --suspects out."),)
    checked.result.require_usable()
    target = make_target(checked, name="check", test=None, validation=None)
    task, rows = get_task(target.task), target.rows
    settings = replace(settings, task=task.name)
    with open_means(settings) as means:
        [rung] = rungs_on(target, np.arange(len(rows)), settings, means, ["probe"])
        rung.job.source.read_ahead(rows.texts, rung.strategy.reads(rung.job) if rung.strategy.reads is not None else ())
        assert rung.strategy.out_of_fold is not None
        logits = rung.strategy.out_of_fold(rung.job)[1]
    seen = rows.measured(logits)
    examples = target.examples.take(target.origin[seen])
    return suspect_finding(task.suspects(logits[rows.units(seen)], rows.take(seen), examples, target.labels))
