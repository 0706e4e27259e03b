"""Training of words above the cut: the windows of all rows, a label on each word's first token.

Letters in shapes: u words, t tokens, d width, c classes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from headstart.backbone.reading import Reader
from headstart.data.split import test_split
from headstart.data.tags import same_spans, spans_of
from headstart.strategies.base import LinearHead, Rows
from headstart.strategies.ladder import Job
from headstart.strategies.losses import Loss
from headstart.strategies.model import NO_LABEL
from headstart.strategies.schedule import Schedule, planned_steps, schedule_of
from headstart.strategies.scratch import random_module, random_schedule
from headstart.strategies.training import STOPPING_FROM, STOPPING_SHARE, TunedModel, Validate, tune
from headstart.strategies.windows import ABSENT, make_windows
from headstart.strategies.word_model import WordModel, words_through


def fit_words(job: Job, strategy: str, cut: int) -> WordModel:
    """Tune the blocks from `cut` on, with a head that begins at zero.

    A head fitted on the frozen words would be the start of linear probing, then fine-tuning; on the last layer of a sentence encoder, whose
    words look much alike, its weights are so large that tuning from it went astray (docs/log.md).
    """
    rows, validate = stopping_words(job)
    head = LinearHead(np.zeros((rows.n_classes, job.source.backbone.width)), np.zeros(rows.n_classes))
    plan = schedule_of(job, planned_steps(strategy, len(rows), job.settings))
    return tune_words(job.source, rows, cut=cut, head=head, schedule=plan, validate=validate)


def tune_words(
    reader: Reader,
    rows: Rows,
    *,
    cut: int,
    head: LinearHead,
    schedule: Schedule,
    module: nn.Module | None = None,
    stored: bool = True,
    validate: Validate | None = None,
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
        validate=validate,
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


def stopping_words(job: Job) -> tuple[Rows, Validate | None]:
    """The rows to train on, and how to judge a model on the others, by log-loss of words and entity F1; with few rows all train and nothing
    stops early."""
    if len(job.rows) < STOPPING_FROM:
        return job.rows, None
    train, held = test_split(job.rows.strata, job.groups, STOPPING_SHARE, job.seed)
    watched = job.rows.take(held)
    sizes = watched.sizes
    assert sizes is not None  # words have them
    there = spans_of(watched.y, sizes)

    def validate(model: TunedModel) -> tuple[float, float]:
        words = torch.from_numpy(words_through(model.trunk, job.source, watched.texts, model.layers[0]))
        logits = words @ model.head.weight.detach().cpu().T + model.head.bias.detach().cpu()
        found = spans_of(logits.argmax(dim=1).numpy(), sizes)
        right = 2.0 * same_spans(found, there).sum() / max(1, len(found.start) + len(there.start))
        return float(functional.cross_entropy(logits, torch.from_numpy(watched.y))), float(right)

    return job.rows.take(train), validate


def random_words(job: Job, rate: float) -> WordModel:
    """Train everything from random weights, at this learning rate."""
    head = LinearHead(np.zeros((job.rows.n_classes, job.source.backbone.width)), np.zeros(job.rows.n_classes))
    rows, validate = stopping_words(job)
    plan = random_schedule(job, len(rows), rate)
    return tune_words(job.source, rows, cut=0, head=head, schedule=plan, module=random_module(job), validate=validate)
