"""Rows whose label is probably wrong, found before any fit: the probe's folds disagree with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.candidates import open_means, rungs_on
from headstart.checking import Checked
from headstart.data.check import suspect_finding
from headstart.data.rows import finding
from headstart.errors import DataError
from headstart.records import Finding, Severity
from headstart.settings import Settings
from headstart.strategies.ladder import known_strategies
from headstart.target import make_target
from headstart.tasks.registry import get_task


def suspected_labels(checked: Checked, settings: Settings) -> tuple[Finding, ...]:
    """What `check` adds once the texts are read: rows that heads trained on the other rows would label otherwise (cleanlab).

    Of a task without such heads, and of rows that cannot be learned from, one finding that says so.

    Args:
        checked: the rows and what was found without a model.
        settings: source, store, folds and seed.

    Raises:
        SourceError: the source cannot be used.
    """
    if "probe" not in known_strategies(checked.task):
        message = f"Labels of the task {checked.task} are not looked through for suspects."
        return (finding("suspects", Severity.NOTE, message, (), "Leave --suspects out."),)
    nothing = "Labels are not looked through for suspects, for nothing can be learned from these rows."
    if any(found.severity is Severity.ERROR for found in checked.result.findings):
        return (finding("suspects", Severity.NOTE, nothing, (), "Do what the errors ask for first."),)
    try:
        return _disagreeing(checked, settings)
    except DataError as error:  # too few rows for folds
        return (finding("suspects", Severity.NOTE, nothing, (), str(error)),)


def _disagreeing(checked: Checked, settings: Settings) -> tuple[Finding, ...]:
    """Rows with whose label the probe's folds disagree, as a finding."""
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
