"""Completions of prompts by a causal language model: what a trained rung writes, and how likely the true completion is to it.

Only the tokens of completions are asked of the head, which in a small model with a large vocabulary is most of the work.

Letters in shapes: n rows, t tokens, d width, v vocabulary, L blocks.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.backbone.cut import trunk_above
from headstart.backbone.kernels import fast_linears
from headstart.backbone.reading import Float32, Reader
from headstart.data.examples import IntArray
from headstart.data.prompts import WHOLE
from headstart.judge.rouge import rouge_l
from headstart.records import CurvePoint
from headstart.strategies.adapter import Adapter
from headstart.strategies.base import FloatArray, Rows, Said
from headstart.strategies.completing import complete
from headstart.strategies.model import NO_LABEL, states_through
from headstart.strategies.output_layer import AT_ONCE, nats_of
from headstart.strategies.prompts import PROMPT_SHARE, Written, as_read, end_of, shortened, write

# What the outputs (n, 6) of a row are: minus the log-probability of its completion in nats, its tokens, its bytes; whether a completion was
# written at all, and how it compares with the true one: ROUGE-L, exact match.
NATS, TOKENS, BYTES, WRITTEN, ROUGE, EXACT = range(6)
# Writing takes a pass a token: of many rows so many are written, spread evenly.
MOST_WRITTEN = 50
LONGEST = 256
_LONGER = 1.2
# Tokens of completions, with their hidden states, that are brought together before the output layer sees them.
_TOGETHER = 16 * AT_ONCE


def causal_model(module: nn.Module, head: nn.Linear) -> Any:
    """The stock class of transformers around a backbone and its output layer, sharing their weights."""
    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(module.config)
    with torch.device("meta"):
        whole: Any = AutoModelForCausalLM.from_config(config)
    setattr(whole, whole.base_model_prefix, module)
    if getattr(config, "tie_word_embeddings", False):
        whole.set_output_embeddings(nn.Linear(1, 1))  # any, for tying puts the embeddings in its place
        layer = nn.Linear(head.in_features, head.out_features, bias=False, device="meta")
        layer.weight = module.get_input_embeddings().weight  # type: ignore[operator]
        whole.set_output_embeddings(layer)
    else:
        whole.set_output_embeddings(head)
    return whole.eval()


@dataclass(frozen=True)
class WritingModel:
    """A trained rung of completions. Below the cut it reads texts through the source's store.

    `module` is the whole backbone with what it learned; None: the source's own weights. `cut` is how many blocks are still the source's own
    (L: all). `head` turns last hidden states into logits. Completions have at most `longest` tokens. `continues`: it learnt from texts
    without prompts, and what it is given is a text's beginning. `adapter` is what was learnt where that is a low-rank change; `module` has
    it merged.
    """

    reader: Reader
    module: nn.Module | None
    cut: int
    head: nn.Linear
    longest: int
    curve: tuple[CurvePoint, ...] = ()
    continues: bool = False
    adapter: Adapter | None = None

    @property
    def whole(self) -> Any:
        """The stock class around what was trained."""
        return causal_model(self.module if self.module is not None else self.reader.backbone.module, self.head)

    def written(self, prompts: Sequence[str], completions: Sequence[str]) -> list[Written]:
        """The rows as they are read."""
        backbone = self.reader.backbone
        return write(backbone.tokenizer, backbone.max_length, prompts, completions, end_of(backbone.tokenizer, backbone.source.name))

    def compared(self, rows: Rows) -> FloatArray:
        """Outputs (n, 6), nothing written."""
        rows_read = self.written(rows.texts, rows.y.tolist())
        outputs = np.zeros((len(rows), 6))
        for read in rows_read:
            outputs[read.row, BYTES] += read.size
            outputs[read.row, TOKENS] += float((read.told != NO_LABEL).sum())
        for owners, states, told in _many_at_once(self._states([row.text for row in rows_read]), rows_read):
            outputs[:, NATS] += np.bincount(owners, nats_of(states, told, self.head), len(outputs))
        return outputs

    def answer(self, rows: Rows) -> Said:
        """Outputs (n, 6), and completions of at most `MOST_WRITTEN` rows with prompts, "" for the others."""
        outputs = self.compared(rows)
        prompted = np.flatnonzero(rows.y != WHOLE).tolist()
        some = prompted[:: max(1, math.ceil(len(prompted) / MOST_WRITTEN))]
        answers = [""] * len(rows)
        for i, text in zip(some, self.complete([rows.texts[i] for i in some]), strict=True):
            answers[i] = text
            true = str(rows.y[i])
            outputs[i, WRITTEN:] = 1.0, rouge_l(text, true), float(text.strip() == true.strip())
        return Said(outputs, tuple(answers))

    def complete(self, prompts: Sequence[str], begun: int | None = None) -> list[str]:
        """What the model writes behind each prompt, the likeliest token each time; `begun` as of `completing.complete`."""
        tokenizer, reads = self.reader.backbone.tokenizer, self.reader.backbone.max_length
        return complete(self.whole, tokenizer, reads, prompts, self.longest, continues=self.continues, begun=begun)

    def fitting(self, prompts: Sequence[str]) -> list[str]:
        """The prompts that a completion still fits behind, which any program writes alike; of longer ones their end, as a plain prompt."""
        tokenizer, room = self.reader.backbone.tokenizer, max(1, self.reader.backbone.max_length - self.longest)
        found = []
        for prompt in prompts:
            text = as_read(tokenizer, prompt, continues=self.continues)
            size = len(tokenizer(text, verbose=False)["input_ids"])
            if 0 < size <= room:
                found.append(prompt)
            elif size > room:
                found += shortened(tokenizer, [text], [max(1, room // 2)])
        return found

    def scaled(self, factor: float, shift: float = 0.0) -> WritingModel:
        """The same model: probabilities of texts are not moved."""
        return self

    def _states(self, texts: list[str]) -> Iterator[tuple[int, Float32]]:
        reader, blocks = self.reader, self.reader.backbone.n_blocks
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for begin in range(0, len(order), reader.at_once):
            part = order[begin : begin + reader.at_once]
            if self.module is None:
                yield from zip(part, reader.activations([texts[i] for i in part], blocks), strict=True)
                continue
            with trunk_above(self.module, self.cut, reader.backbone.above) as trunk, fast_linears(trunk):
                found = list(states_through(trunk, reader, [texts[i] for i in part], blocks))
            yield from ((part[i], states) for i, states in found)


def _many_at_once(found: Iterable[tuple[int, Float32]], rows_read: Sequence[Written]) -> Iterator[tuple[IntArray, Float32, IntArray]]:
    """Of texts by their position, with their hidden states (t, d): for some hundred tokens that are told at a time whose row each belongs
    to, the states before each, and the token."""
    waiting: list[tuple[IntArray, Float32, IntArray]] = []
    for i, states in found:
        read = rows_read[i]
        places = np.flatnonzero(read.told != NO_LABEL)
        waiting.append((np.full(len(places), read.row), states[places - 1], read.told[places]))
        if sum(len(owners) for owners, _, _ in waiting) >= _TOGETHER:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def _joined(parts: Sequence[tuple[IntArray, Float32, IntArray]]) -> tuple[IntArray, Float32, IntArray]:
    owners, states, told = zip(*parts, strict=True)
    return np.concatenate(owners), np.concatenate(states), np.concatenate(told)


def longest_of(written: Sequence[Written], max_length: int) -> int:
    """Tokens that a completion may have: a little more than those of training, and never so many that a prompt has less room than there."""
    most = max((int((row.told != NO_LABEL).sum()) for row in written), default=1)
    return max(1, min(LONGEST, max_length - round(PROMPT_SHARE * max_length), math.ceil(_LONGER * most)))
