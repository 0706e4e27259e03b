"""Training of translators: the next piece of the translation, smoothed, over an encoder that runs or whose outputs the store holds.

Letters in shapes: b rows, t tokens, d width, v pieces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from headstart.backbone.reading import Reader
from headstart.settings import Settings
from headstart.strategies.adapter import adapters_on, merge_adapters
from headstart.strategies.base import Rows
from headstart.strategies.batches import Entering, entering_of
from headstart.strategies.gradual import in_stages
from headstart.strategies.ladder import Job, Work
from headstart.strategies.lora import ALPHA, RANK, RATE
from headstart.strategies.model import NO_LABEL
from headstart.strategies.schedule import Schedule, schedule_of
from headstart.strategies.training import Learned, run_training
from headstart.strategies.translation import Translator, longest_of, most_of, source_ids, target_ids
from headstart.strategies.translation_start import BLOCKS, INNER, WIDTH, Start, begin, from_nothing

# Share of the truth that is spread over all pieces (Szegedy et al. 2016, as Vaswani et al. 2017 have it).
_SMOOTHING = 0.1
# A translator learns in many more steps than a classifier: so many passes for each of `epochs`, and steps at least and at most.
_PASSES, _FEWEST, _MOST = 7, 1500, 6000
# Rates as multiples of `learning_rate`: random weights have nothing that long steps could spoil.
_NEW_RATE, _OLD_RATE = 2.5, 1.5
# Few pairs are learnt by heart without it.
_DROPOUT = 0.3
_MANY_PAIRS, _LESS_DROPOUT = 10_000, 0.1


class Translating(nn.Module):
    """An encoder-decoder in training; `frozen` its encoder is not run, for what it gives is what enters."""

    def __init__(self, whole: Any, frozen: bool, learns: list[nn.Parameter], fresh: frozenset[int]) -> None:
        super().__init__()
        self.whole = whole
        self.frozen = frozen
        self.learns = learns
        self.fresh = fresh
        for parameter in whole.parameters():
            parameter.requires_grad_(False)
        for parameter in learns:
            parameter.requires_grad_(True)

    def learning(self, plan: Schedule) -> list[Learned]:
        """All that learns at one rate, random weights at a higher one."""
        rates = {True: plan.head_rate, False: plan.learning_rate}
        return [(p, rates[id(p) in self.fresh], plan.weight_decay if p.ndim > 1 else 0.0) for p in self.learns]

    def forward(self, entering: torch.Tensor, mask: torch.Tensor | None, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """The loss of a batch: `entering` are ids (b, t) or the encoder's outputs (b, t, d), `labels` (b, t) the translation's ids."""
        from transformers.modeling_outputs import BaseModelOutput

        config = self.whole.config
        begun = labels.new_full((len(labels), 1), config.decoder_start_token_id)
        given = torch.cat([begun, labels[:, :-1]], dim=1)
        given = given.masked_fill(given == NO_LABEL, config.pad_token_id)
        what: dict[str, Any] = {"encoder_outputs": BaseModelOutput(last_hidden_state=entering)} if self.frozen else {"input_ids": entering}
        logits = self.whole(**what, attention_mask=mask, decoder_input_ids=given, use_cache=False).logits
        with torch.autocast(logits.device.type, enabled=False):
            flat = logits.float().flatten(0, 1)
            return {"loss": functional.cross_entropy(flat, labels.flatten(), ignore_index=NO_LABEL, label_smoothing=_SMOOTHING)}


def fit_translation(job: Job, strategy: str, steps: int | None = None) -> Translator:
    """Train a translator on the job's rows: `partial` over a frozen encoder, `lora` adapters on the decoder over it, `blocks` with frozen
    embeddings, `full` all of it. `steps` None: as many as `steps_of` says."""
    return _tuned(job, begin(job), strategy, steps)


def fit_in_stages(job: Job, strategies: Sequence[str]) -> Translator:
    """Train in each of these ways in turn, from where the last one ended, for an equal share of the steps."""
    start, steps = begin(job), max(1, steps_of(len(job.rows), job.settings) // len(strategies))
    return in_stages(strategies, lambda strategy, _: _tuned(job, start, strategy, steps))


def _tuned(job: Job, start: Start, strategy: str, steps: int | None) -> Translator:
    """See `fit_translation`; the weights of `start` learn."""
    reader = job.source
    frozen = strategy in ("partial", "lora")
    fresh = frozenset() if reader.backbone.source.decodes else _beside_the_encoder(start.whole)
    plan = _schedule(job, strategy, steps)
    if strategy == "lora":
        names = adapters_on(start.whole, _decoder_layers(start.whole), RANK, ALPHA, job.seed)
        learns = [parameter for name, parameter in start.whole.named_parameters() if name in names]
        plan = replace(plan, learning_rate=RATE * plan.learning_rate)
    else:
        learns = _learning(start.whole, strategy)
    told = target_ids(start.writes, job.rows.y.tolist(), most_of(start.whole))
    entering = _entering_stored(job, told) if frozen else _entering_ids(job.rows, start, told, reader.backbone.max_length)
    fitted = _trained(job, start, reader, frozen, learns, fresh, plan, entering, told)
    return fitted if strategy != "lora" else replace(fitted, adapter=merge_adapters(fitted.whole, RANK, ALPHA))


def fit_from_nothing(job: Job) -> Translator:
    """Train a small translator with random weights on the job's rows."""
    start = from_nothing(job.rows, job.seed, job.settings.max_length)
    told = target_ids(start.writes, job.rows.y.tolist(), most_of(start.whole))
    limit = job.settings.max_length
    entering = _entering_ids(job.rows, start, told, limit)
    learns = list(start.whole.parameters())
    return _trained(job, start, None, False, learns, frozenset(map(id, learns)), _schedule(job, "scratch"), entering, told)


def _trained(
    job: Job,
    start: Start,
    reader: Reader | None,
    frozen: bool,
    learns: list[nn.Parameter],
    fresh: frozenset[int],
    plan: Schedule,
    entering: Entering,
    told: list[list[int]],
) -> Translator:
    set_dropout(start.whole, _DROPOUT if len(job.rows) < _MANY_PAIRS else _LESS_DROPOUT)
    torch.manual_seed(job.seed)
    model = Translating(start.whole, frozen, learns, fresh)
    curve = run_training(model, entering, job.rows.strata, plan)
    max_length = job.settings.max_length if reader is None else reader.backbone.max_length
    stored = frozen and start.own
    return Translator(start.whole, start.reads, start.writes, reader, stored, max_length, longest_of(told, most_of(start.whole)), curve)


def _beside_the_encoder(whole: Any) -> frozenset[int]:
    """Of a new decoder over an encoder, the weights that are random: the decoder's, and what brings one width to the other."""
    return frozenset(map(id, whole.parameters())) - frozenset(map(id, whole.get_encoder().parameters()))


def _decoder_layers(whole: Any) -> tuple[str, ...]:
    """Names of the linear layers in the decoder's blocks."""
    decoder = set(map(id, whole.get_decoder().modules()))
    return tuple(name for name, part in whole.named_modules() if id(part) in decoder and isinstance(part, nn.Linear))


def _learning(whole: Any, strategy: str) -> list[nn.Parameter]:
    """What learns: see `fit_translation`."""
    left: set[int] = set()
    if strategy == "partial":
        left = set(map(id, whole.get_encoder().parameters()))
    elif strategy == "blocks":
        left = {id(whole.get_input_embeddings().weight), id(whole.get_output_embeddings().weight)}
    return [parameter for name, parameter in whole.named_parameters() if id(parameter) not in left and "pooler" not in name]


def _entering_stored(job: Job, told: list[list[int]]) -> Entering:
    sizes = np.array([len(row) for row in told], dtype=np.int64)
    rows = Rows(job.rows.texts, np.concatenate([np.array(row, dtype=np.int64) for row in told]), 1, sizes, job.rows.strata)
    return entering_of(job.source, rows, job.source.backbone.n_blocks)


def _entering_ids(rows: Rows, start: Start, told: list[list[int]], max_length: int) -> Entering:
    ids = [np.array(row, dtype=np.int64) for row in source_ids(start.reads, rows.texts, max_length)]
    labels = [np.array(row, dtype=np.int64) for row in told]
    return Entering(np.array([len(row) for row in ids]), labels, lambda indices: [ids[i] for i in indices])


def set_dropout(whole: nn.Module, share: float) -> None:
    """Dropout of this share wherever a model has some; on the shares of attention only where it is a layer by itself there, as in BERT, not
    where it is a number of the attention's (Marian, BART, T5)."""
    for part in whole.modules():
        if isinstance(part, nn.Dropout):
            part.p = share
        elif isinstance(getattr(part, "dropout", None), float) and "Attention" not in type(part).__name__:
            part.dropout = share  # type: ignore[assignment]


def _schedule(job: Job, strategy: str, steps: int | None = None) -> Schedule:
    plan = schedule_of(job, steps or steps_of(len(job.rows), job.settings))
    new = strategy == "scratch"
    old, fresh = _OLD_RATE * job.settings.learning_rate, _NEW_RATE * job.settings.learning_rate
    return replace(plan, batch_size=job.settings.batch_size, learning_rate=fresh if new else old, head_rate=fresh, patience=None)


def steps_of(rows: int, settings: Settings) -> int:
    """Optimiser steps on so many pairs, the same from whatever weights."""
    steps = math.ceil(rows / settings.batch_size) * settings.epochs * _PASSES
    return min(_MOST, max(_FEWEST, steps))


def work_of(strategy: str, job: Job, share: float) -> Work:
    """What training on this share of the job's rows takes."""
    rows = max(2, round(len(job.rows) * share))
    steps = steps_of(rows, job.settings)
    sample = job.rows.texts[:: max(1, len(job.rows) // 200)]
    words = sum(len(text.split()) for text in sample) / max(1, len(sample))
    tokens = 1.5 * words * steps * min(rows, job.settings.batch_size)  # a word has about so many pieces
    block = 4 * WIDTH * WIDTH + 2 * WIDTH * INNER
    decoder = BLOCKS * (block + 4 * WIDTH * WIDTH) + 2000 * WIDTH
    if strategy == "scratch":
        return Work(tokens, BLOCKS * block + decoder, 0.0, steps)
    backbone = job.source.backbone
    encoder = backbone.block_parameters
    if backbone.source.decodes:
        decoder = round(1.5 * encoder + 0.3 * (backbone.parameters_total - encoder))
    return Work(tokens, decoder if strategy in ("partial", "lora") else encoder + decoder, 0.0, steps)
