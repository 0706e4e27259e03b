"""The rung without transfer of completions: a small writer from random weights, on the rows alone.

It reads pieces of words of its own, learnt from the rows, since a source's vocabulary may be larger than all of them; bits per byte compare
it with the source all the same. Prompts are learnt as well as completions: whoever begins with nothing learns to write from both.

Letters in shapes: b rows, t tokens, d width.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from headstart.backbone.backbone import Backbone, names_above, prefix_digests
from headstart.backbone.reading import Reader
from headstart.data.prompts import WHOLE
from headstart.sources.source import Pooling, Source
from headstart.strategies.base import Rows
from headstart.strategies.batches import Entering
from headstart.strategies.ladder import Job, Strategy, Work
from headstart.strategies.language import WritingModel, longest_of
from headstart.strategies.model import NO_LABEL
from headstart.strategies.prompts import as_read
from headstart.strategies.schedule import Schedule, rows_a_step, schedule_of
from headstart.strategies.training import Learned, run_training
from headstart.strategies.vocabulary import learn_vocabulary

NAME = "a writer of its own"
WIDTH, BLOCKS, HEADS = 256, 2, 4
# Few rows are learnt by heart without it.
_DROPOUT = 0.1
# Rate as a multiple of `learning_rate`: random weights have nothing that long steps could spoil.
_RATE = 2.5
# So many passes for each of `epochs`, and steps at least and at most.
_PASSES, _FEWEST, _MOST = 3, 150, 1500


class _Writing(nn.Module):
    """A causal language model in training; all of it learns."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.whole = whole

    def learning(self, plan: Schedule) -> list[Learned]:
        """All weights at one rate."""
        return [(p, plan.learning_rate, plan.weight_decay if p.ndim > 1 else 0.0) for p in self.whole.parameters()]

    def forward(self, entering: torch.Tensor, mask: torch.Tensor | None, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """The loss of a batch: `entering` are ids (b, t), `labels` (b, t) the same, NO_LABEL where nothing is told."""
        logits = self.whole(input_ids=entering, attention_mask=mask, use_cache=False).logits
        with torch.autocast(logits.device.type, enabled=False):
            flat = logits[:, :-1].float().flatten(0, 1)
            return {"loss": functional.cross_entropy(flat, labels[:, 1:].flatten(), ignore_index=NO_LABEL)}


def from_nothing(rows: Rows, max_length: int, batch_tokens: int, seed: int) -> tuple[Reader, Any]:
    """A small model of GPT-2's kind with random weights, with pieces learnt from the rows: its backbone, read without a store, and the
    whole."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = learn_vocabulary(_texts(rows), ends=False)
    tokenizer.model_max_length = max_length
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=max_length,
        n_embd=WIDTH,
        n_layer=BLOCKS,
        n_head=HEADS,
        resid_pdrop=_DROPOUT,
        embd_pdrop=_DROPOUT,
        attn_pdrop=0.0,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        whole = GPT2LMHeadModel(config).eval()
    module: nn.Module = whole.transformer
    source = Source(NAME, Path(), Pooling.LAST, max_length, config.model_type, None)
    backbone = Backbone(source, module, tokenizer, Pooling.LAST, max_length, WIDTH, prefix_digests(module), names_above(module))
    return Reader(backbone, None, batch_tokens), whole


def fit(job: Job) -> WritingModel:
    """Train all of a small model from random weights."""
    settings = job.settings
    reader, whole = from_nothing(job.rows, settings.max_length, settings.batch_tokens, job.seed)
    model = WritingModel(reader, None, BLOCKS, whole.lm_head, 1)
    written = model.written(job.rows.texts, job.rows.y.tolist())
    read = reader.backbone.tokenizer([row.text for row in written], truncation=True, max_length=settings.max_length)["input_ids"]
    ids = [np.asarray(row, dtype=np.int64) for row in read]
    entering = Entering(np.array([len(row) for row in ids]), ids, lambda indices: [ids[i] for i in indices])
    curve = run_training(_Writing(whole), entering, np.zeros(len(ids), dtype=np.int64), _schedule(job, len(ids)))
    return WritingModel(
        reader, None, BLOCKS, whole.lm_head, longest_of(written, reader.backbone.max_length), curve, bool((job.rows.y == WHOLE).all())
    )


def _texts(rows: Rows) -> list[str]:
    """Prompts and completions, as pieces of words are learnt from them."""
    return [as_read(None, text) + ("" if label == WHOLE else label) for text, label in zip(rows.texts, rows.y.tolist(), strict=True)]


def _steps_of(rows: int, job: Job) -> int:
    steps = math.ceil(rows / rows_a_step(job.settings)) * job.settings.epochs * _PASSES
    return min(_MOST, max(_FEWEST, steps))


def _schedule(job: Job, rows: int) -> Schedule:
    rate = _RATE * job.settings.learning_rate
    plan = schedule_of(job, _steps_of(rows, job))
    return replace(plan, learning_rate=rate, head_rate=rate, patience=None)


def _work(job: Job, share: float) -> Work:
    rows = max(2, round(len(job.rows) * share))
    steps = _steps_of(rows, job)
    some = job.rows.texts[:: max(1, len(job.rows) // 200)]
    words = sum(len(text.split()) for text in some) / max(1, len(some))
    tokens = 2.0 * words * steps * min(rows, rows_a_step(job.settings))
    return Work(tokens, BLOCKS * 12 * WIDTH * WIDTH + 3000 * WIDTH, 0.0, steps)


STRATEGY = Strategy(
    name="scratch",
    transfers=False,
    needs_source=False,
    summary="a small writer from random weights",
    fit=fit,
    work=_work,
)
