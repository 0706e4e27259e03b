"""The decoder tuned over a frozen encoder, whose outputs the store holds."""

from __future__ import annotations

from headstart.settings import Vocabulary
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.translation_start import TARGET
from headstart.strategies.translation_training import fit_translation, work_of


def _suits(job: Job) -> bool:
    """A parent's new pieces must be learnt on both sides, unless each side has its own."""
    source = job.source.backbone.source
    return not source.decodes or job.settings.vocabulary is Vocabulary.KEEP or (source.folder / TARGET).is_dir()


STRATEGY = Strategy(
    name="partial",
    transfers=True,
    needs_source=True,
    summary="the decoder tuned over the frozen encoder",
    fit=lambda job: fit_translation(job, "partial"),
    reads=lambda job: (job.source.backbone.n_blocks,),
    work=lambda job, share: work_of("partial", job, share),
    suits=_suits,
)
