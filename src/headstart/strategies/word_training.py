"""Training of words above the cut: the windows of all rows, a label on each word's first token.

Letters in shapes: u words, t tokens, d width, c classes.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from headstart.backbone.reading import Reader
from headstart.strategies.base import LinearHead, Rows
from headstart.strategies.ladder import Job
from headstart.strategies.losses import Loss
from headstart.strategies.model import NO_LABEL
from headstart.strategies.schedule import Schedule, planned_steps, schedule_of
from headstart.strategies.scratch import random_module, random_schedule
from headstart.strategies.training import tune
from headstart.strategies.windows import ABSENT, make_windows
from headstart.strategies.word_model import WordModel


def fit_words(job: Job, strategy: str, cut: int) -> WordModel:
    """Tune the blocks from `cut` on, with a head that begins at zero.

    No rows are set aside to stop by: the more there are the fewer the passes, and the last is as good as any. Log-loss is least two passes
    before, at some three points less of entity F1, and F1 on a tenth of the rows is too noisy to stop by (docs/log.md).

    A head fitted on the frozen words would be the start of linear probing, then fine-tuning; on the last layer of a sentence encoder, whose
    words look much alike, its weights are so large that tuning from it went astray (docs/log.md).
    """
    plan = schedule_of(job, planned_steps(strategy, len(job.rows), job.settings))
    return tune_words(job.source, job.rows, cut=cut, head=zero_head(job), schedule=plan)


def zero_head(job: Job) -> LinearHead:
    """A head that takes all classes of a word for equally likely."""
    return LinearHead(np.zeros((job.rows.n_classes, job.source.backbone.width)), np.zeros(job.rows.n_classes))


def tune_words(
    reader: Reader,
    rows: Rows,
    *,
    cut: int,
    head: LinearHead,
    schedule: Schedule,
    module: nn.Module | None = None,
    stored: bool = True,
    only: frozenset[str] | None = None,
) -> WordModel:
    """Train on the words of these rows; arguments as in `training.tune`."""
    tuned = tune(
        reader,
        token_rows(reader, rows),
        cut=cut,
        head=head,
        schedule=schedule,
        loss=Loss.WORDS,
        module=module,
        stored=stored,
        only=only,
    )
    return WordModel(reader, tuned.module, cut, reader.backbone.n_blocks, tuned.head, tuned.curve)


def token_rows(reader: Reader, rows: Rows) -> Rows:
    """The windows of rows as rows whose units are tokens; all but the first tokens of words that the window decides have no label."""
    assert rows.sizes is not None  # words have sizes
    starts = np.cumsum(rows.sizes) - rows.sizes
    windows = make_windows(reader.backbone.tokenizer, reader.backbone.max_length, rows.texts)
    labels = []
    for window in windows:
        here = np.full(window.length, NO_LABEL, dtype=np.int64)
        low, high = window.own
        tokens = window.tokens[low:high]
        known = np.flatnonzero(tokens != ABSENT)
        here[tokens[known]] = rows.y[starts[window.row] + window.first + low + known]
        labels.append(here)
    kinds = rows.strata[[window.row for window in windows]]
    sizes = np.array([window.length for window in windows], dtype=np.int64)
    return Rows(tuple(window.text for window in windows), np.concatenate(labels), rows.n_classes, sizes, kinds)


def random_words(job: Job, rate: float) -> WordModel:
    """Train everything from random weights, at this learning rate."""
    plan = random_schedule(job, len(job.rows), rate)
    return tune_words(job.source, job.rows, cut=0, head=zero_head(job), schedule=plan, module=random_module(job))
