"""Gradual unfreezing of a translator (`gradual.py`): its decoder over the frozen encoder's stored outputs, then all blocks, then all."""

from __future__ import annotations

from headstart.strategies.ladder import Job, Strategy, get_strategy
from headstart.strategies.translation import Translator
from headstart.strategies.translation_partial import STRATEGY as PARTIAL
from headstart.strategies.translation_training import fit_in_stages, work_of


def stages_of(job: Job) -> tuple[str, ...]:
    """The rungs whose weights learn at each stage; an encoder alone has no embeddings of translations that could stay frozen."""
    rungs = [get_strategy(name, "translation") for name in ("partial", "blocks", "full")]
    return tuple(rung.name for rung in rungs if rung.suits is None or rung.suits(job))


def fit(job: Job) -> Translator:
    """Train the weights of each stage in turn, for an equal share of the steps."""
    return fit_in_stages(job, stages_of(job))


STRATEGY = Strategy(
    name="gradual",
    transfers=True,
    needs_source=True,
    summary="the decoder tuned over the frozen encoder, then all blocks, then all weights",
    fit=fit,
    reads=lambda job: (job.source.backbone.n_blocks,),
    work=lambda job, share: work_of("full", job, share),
    suits=PARTIAL.suits,  # where pieces must be learnt on both sides there is but one stage, which is `full`
    usual=False,
)
