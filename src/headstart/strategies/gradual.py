"""Gradual unfreezing as a schedule of cuts (ULMFiT, Howard and Ruder 2018, arXiv 1801.06146).

Training begins above a high cut and goes down a block at a time to the job's; each stage reads the stored activations of its own cut, for
what lies below is still the source's. The highest cut is the one above which all layers lie that the head reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from headstart.records import CurvePoint
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.language import WritingModel
from headstart.strategies.losses import Loss, loss_of
from headstart.strategies.model import TransferModel
from headstart.strategies.probe import usual_layers
from headstart.strategies.schedule import planned_steps, schedule_of
from headstart.strategies.spans import SpanModel
from headstart.strategies.training import stopping_rows, tune
from headstart.strategies.translation import Translator
from headstart.strategies.tuned_heads import start_head, with_fitted_head
from headstart.strategies.word_model import WordModel


def stages_of(blocks: int, cut: int) -> tuple[int, ...]:
    """The cuts of a training, highest first, `cut` last."""
    highest = max(cut, min(usual_layers(blocks)) - 1)
    return tuple(range(highest, cut - 1, -1))


def fit(job: Job) -> TransferModel:
    """Tune above each cut in turn, for an equal share of the steps, each with a warm-up and a fall of the rate of its own."""
    rows, validate = stopping_rows(job)
    cuts = stages_of(job.source.backbone.n_blocks, job.cut)
    plan = schedule_of(job, share_of_steps(job, len(rows), cuts))

    def tuned(cut: int, before: TransferModel | None) -> TransferModel:
        return tune(
            job.source,
            rows,
            cut=cut,
            head=start_head(job, rows, job.cut) if before is None else before.head,
            schedule=plan,
            class_weight=job.class_weight,
            loss=loss_of(rows, Loss.BOTH),
            module=None if before is None else before.module,
            validate=validate,
        )

    return with_fitted_head(in_stages(cuts, tuned), job)


def share_of_steps(job: Job, rows: int, cuts: Sequence[int]) -> int:
    """The steps of each stage: together those that a training without stages takes."""
    return max(1, planned_steps("gradual", rows, job.settings) // len(cuts))


M = TypeVar("M", TransferModel, WordModel, SpanModel, WritingModel, Translator)
# What a stage goes by: a cut, or for translators the rung whose weights it frees.
S = TypeVar("S", int, str)


def in_stages(stages: Sequence[S], tuned: Callable[[S, M | None], M]) -> M:
    """What training in each of the stages in turn leaves; `tuned` gets a stage and what the one before left, None at the first."""
    model: M | None = None
    curve: tuple[CurvePoint, ...] = ()
    for stage in stages:
        model = tuned(stage, model)
        curve = joined(curve, model.curve)
    assert model is not None
    return replace(model, curve=curve)


def joined(before: tuple[CurvePoint, ...], points: tuple[CurvePoint, ...]) -> tuple[CurvePoint, ...]:
    """The curve of one training after another's, its points counted from the end of the one before."""
    if not before:
        return points
    last = before[-1]
    return before + tuple(replace(point, step=point.step + last.step, seconds=point.seconds + last.seconds) for point in points)


STRATEGY = Strategy(
    name="gradual",
    transfers=True,
    needs_source=True,
    summary="a probe, then the blocks above the cut tuned from the top down, a block more at each stage",
    fit=fit,
    tunes_from=lambda job: job.cut,
    reads=lambda job: stages_of(job.source.backbone.n_blocks, job.cut),
    usual=False,
)
