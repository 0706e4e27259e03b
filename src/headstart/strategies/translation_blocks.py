"""All blocks of a parent tuned, its embeddings frozen."""

from __future__ import annotations

from headstart.settings import Vocabulary
from headstart.strategies.ladder import Strategy
from headstart.strategies.translation_training import fit_translation, work_of

STRATEGY = Strategy(
    name="blocks",
    transfers=True,
    needs_source=True,
    summary="all blocks tuned, embeddings frozen",
    fit=lambda job: fit_translation(job, "blocks"),
    work=lambda job, share: work_of("blocks", job, share),
    # Of an encoder alone the decoder's embeddings are new, and new pieces must be learnt.
    suits=lambda job: job.source.backbone.source.decodes and job.settings.vocabulary is Vocabulary.KEEP,
)
