"""The rung without transfer of completions: the source as it is, nothing learnt."""

from __future__ import annotations

from headstart.strategies.base import FloatArray, Trained
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.language_training import untouched


def _out_of_fold(job: Job) -> tuple[Trained, FloatArray]:
    model = untouched(job)
    return model, model.compared(job.rows)  # it has learnt from no row, so that all are held out


STRATEGY = Strategy(
    name="untouched",
    transfers=False,
    needs_source=True,
    summary="the source as it is",
    fit=untouched,
    out_of_fold=_out_of_fold,
    reads=lambda job: (job.source.backbone.n_blocks,),
)
