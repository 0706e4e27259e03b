"""Low-rank adapters on a parent's decoder, over its frozen encoder, whose outputs the store holds (LoRA, arXiv 2106.09685)."""

from __future__ import annotations

from headstart.settings import Vocabulary
from headstart.strategies.ladder import Strategy
from headstart.strategies.translation_training import fit_translation, work_of

STRATEGY = Strategy(
    name="lora",
    transfers=True,
    needs_source=True,
    summary="low-rank adapters on the decoder, over the frozen encoder",
    fit=lambda job: fit_translation(job, "lora"),
    reads=lambda job: (job.source.backbone.n_blocks,),
    work=lambda job, share: work_of("lora", job, share),
    # New pieces have embeddings that must be learnt, and a new decoder is not there yet.
    suits=lambda job: job.source.backbone.source.decodes and job.settings.vocabulary is Vocabulary.KEEP,
    usual=False,
)
