"""A translator after a short training: what parents are compared by before one is chosen.

Nothing that a parent's frozen encoder gives can be scored by itself, for a translation is written by a decoder that must first learn the
language. So `headstart rank` trains each parent for `STEPS` steps on the rows of one fold and lets it translate what that fold holds out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.strategies.base import FloatArray, Trained
from headstart.strategies.ladder import Job, Strategy, Work
from headstart.strategies.translation import OUTPUTS, Translator
from headstart.strategies.translation_partial import STRATEGY as PARTIAL
from headstart.strategies.translation_training import fit_translation, work_of

STEPS = 300


def _fit(job: Job) -> Translator:
    """The decoder over the frozen encoder for `STEPS` steps; where a parent gets other pieces, which both sides must learn, all of it."""
    return fit_translation(job, _way(job), STEPS)


def _way(job: Job) -> str:
    return "partial" if PARTIAL.suits is None or PARTIAL.suits(job) else "full"


def _out_of_fold(job: Job) -> tuple[Trained, FloatArray]:
    train, held = job.folds[0]
    model = _fit(job.take(train, []))
    outputs = np.full((len(job.rows), OUTPUTS), np.nan)
    outputs[held] = model.compared(job.rows.take(held))
    return model, outputs


def _work(job: Job, share: float) -> Work:
    whole = work_of(_way(job), job, share)
    return replace(whole, tokens=whole.tokens * STEPS / whole.steps, steps=STEPS)


STRATEGY = Strategy(
    name="brief",
    transfers=True,
    needs_source=True,
    summary="a short training of the decoder, by which parents are ranked",
    fit=_fit,
    out_of_fold=_out_of_fold,
    reads=lambda job: (job.source.backbone.n_blocks,),
    work=_work,
    usual=False,
)
