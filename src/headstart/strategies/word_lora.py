"""Low-rank adapters on the blocks above the cut, tuned on words (LoRA, Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

import copy
from dataclasses import replace

from headstart.strategies.adapter import add_adapters, merge_adapters
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.lora import ALPHA, RANK, lora_schedule
from headstart.strategies.schedule import planned_steps
from headstart.strategies.word_model import WordModel
from headstart.strategies.word_training import tune_words, zero_head


def fit(job: Job) -> WordModel:
    """Train adapters above the job's cut, with a head that begins at zero (why: `word_training.fit_words`)."""
    module = copy.deepcopy(job.source.backbone.module)
    only = add_adapters(module, job.cut, RANK, ALPHA, job.seed)
    plan = lora_schedule(job, planned_steps("lora", len(job.rows), job.settings))
    tuned = tune_words(job.source, job.rows, cut=job.cut, head=zero_head(job), schedule=plan, module=module, only=only)
    assert tuned.module is not None
    return replace(tuned, adapter=merge_adapters(tuned.module, RANK, ALPHA))


STRATEGY = Strategy(
    name="lora",
    transfers=True,
    needs_source=True,
    summary="low-rank adapters on the blocks above the cut, with a head on each word",
    fit=fit,
    tunes_from=lambda job: job.cut,
    usual=False,
)
