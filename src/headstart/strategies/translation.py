"""Translations by an encoder-decoder: what a trained rung writes, and how that compares with the true translation.

Letters in shapes: n rows, t tokens, d width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from headstart.judge.bleu import BLEU_SUMS, CHRF_SUMS, bleu_sums, chrf_sums
from headstart.records import CurvePoint
from headstart.strategies.adapter import Adapter
from headstart.strategies.base import FloatArray, Rows, Said
from headstart.strategies.vocabulary import written

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader

OUTPUTS = BLEU_SUMS + CHRF_SUMS
# Hypotheses that are followed at once where a translation counts; rungs are compared by one each.
BEAMS = 5
# Writing takes a pass a token: of many held-out rows so many are translated, spread evenly.
MOST_COMPARED = 200
# Texts that are translated at once, all of the same number of tokens, so that none is padded and what stands beside it changes nothing.
_AT_ONCE = 64
LONGEST = 256
_LONGER = 1.3


@dataclass(frozen=True)
class Translator:
    """A trained rung of translation.

    `whole` is the stock encoder-decoder. `reads` and `writes` are the tokenizers of its two sides, one and the same where they share their
    pieces. `reader` is that of the source it began from; None: it stands on none. `stored`: its encoder is the source's own, whose outputs
    the store holds. Texts are read up to `max_length` tokens, translations have at most `longest`. `adapter` is what was learnt where that
    is a low-rank change; `whole` has it merged.
    """

    whole: Any
    reads: Any
    writes: Any
    reader: Reader | None
    stored: bool
    max_length: int
    longest: int
    curve: tuple[CurvePoint, ...] = ()
    adapter: Adapter | None = None

    def answer(self, rows: Rows) -> Said:
        """Outputs (n, 34), what BLEU and chrF++ are made of, and the translations."""
        answers = self.translate(rows.texts)
        return Said(compare(answers, rows.y.tolist()), tuple(answers))

    def compared(self, rows: Rows) -> FloatArray:
        """Outputs (n, 34) of at most `MOST_COMPARED` rows, NaN for the others; of the likeliest piece each time."""
        some = range(0, len(rows), max(1, math.ceil(len(rows) / MOST_COMPARED)))
        outputs = np.full((len(rows), OUTPUTS), np.nan)
        answers = self.translate([rows.texts[i] for i in some], beams=1)
        outputs[some] = compare(answers, [str(rows.y[i]) for i in some])
        return outputs

    def translate(self, texts: Sequence[str], beams: int = BEAMS) -> list[str]:
        """The translation of each text."""
        encode = None if self.reader is None or not self.stored else self.reader.activations
        blocks = 0 if self.reader is None else self.reader.backbone.n_blocks
        states = None if encode is None else lambda some: encode(some, blocks)
        return translate(self.whole, self.reads, self.writes, texts, self.max_length, self.longest, beams=beams, states=states)

    def scaled(self, factor: float, shift: float = 0.0) -> Translator:
        """The same model: translations are not moved."""
        return self


def compare(answers: Sequence[str], references: Sequence[str]) -> FloatArray:
    """Outputs (n, 34) of translations beside the true ones."""
    return np.column_stack([bleu_sums(answers, references), chrf_sums(answers, references)])


@torch.inference_mode()
def translate(
    whole: Any,
    reads: Any,
    writes: Any,
    texts: Sequence[str],
    max_length: int,
    longest: int,
    *,
    beams: int = BEAMS,
    states: Any = None,
) -> list[str]:
    """Translations of texts by beam search.

    Args:
        whole: the encoder-decoder.
        reads: its tokenizer of texts.
        writes: its tokenizer of translations.
        texts: what is translated; a blank one stays blank.
        max_length: tokens that are read of a text.
        longest: tokens of a translation at most.
        beams: hypotheses followed at once.
        states: gives the encoder's outputs (t, d) for some texts, where they need not be worked out; None: the encoder runs.
    """
    from transformers.modeling_outputs import BaseModelOutput

    found = [""] * len(texts)
    ids = source_ids(reads, texts, max_length)
    for part in _alike([len(row) if text.strip() else 0 for row, text in zip(ids, texts, strict=True)]):
        rows = torch.tensor([ids[i] for i in part], device=whole.device)
        given: dict[str, Any] = {"input_ids": rows}
        if states is not None:
            entering = np.stack(states([texts[i] for i in part]))
            given = {"encoder_outputs": BaseModelOutput(last_hidden_state=torch.from_numpy(entering).to(whole.device))}
        said = whole.generate(
            **given,
            attention_mask=torch.ones_like(rows),
            num_beams=beams,
            do_sample=False,
            early_stopping=beams > 1,
            max_new_tokens=longest,
            max_length=None,
        )
        for i, text in zip(part, writes.batch_decode(said, skip_special_tokens=True), strict=True):
            found[i] = text.strip()
    return found


def _alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions of texts of one length each, at most `_AT_ONCE`; those of length 0 are left out."""
    by_length: dict[int, list[int]] = {}
    for i, length in enumerate(lengths):
        by_length.setdefault(length, []).append(i)
    for length in sorted(by_length.keys() - {0}, reverse=True):
        places = by_length[length]
        yield from (places[start : start + _AT_ONCE] for start in range(0, len(places), _AT_ONCE))


def source_ids(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids of texts, special tokens included, at most `max_length`, at least one."""
    from headstart.backbone.encoding import encode

    filler = tokenizer.pad_token_id or 0
    return [row or [filler] for row in encode(tokenizer, texts, max_length, pairs=False)]


def target_ids(tokenizer: Any, texts: Sequence[str], most: int = LONGEST) -> list[list[int]]:
    """Token ids of translations, at most `most`, the last of them that which ends a text."""
    if not texts:
        return []
    end = end_of(tokenizer)
    rows = tokenizer(text_target=written(texts), truncation=True, max_length=most, add_special_tokens=True)["input_ids"]
    begin = {tokenizer.cls_token_id, tokenizer.bos_token_id} - {None, end}
    rows = [row[1:] if row and row[0] in begin else row for row in rows]  # the decoder is begun with a token of the model's own
    return [row if row and row[-1] == end else [*row[: most - 1], end] for row in rows]


def end_of(tokenizer: Any) -> int:
    """The token that ends a text."""
    found = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    return int(found)


def longest_of(rows: Sequence[Sequence[int]], most: int = LONGEST) -> int:
    """Tokens that a translation may have: a little more than those of training, at most `most`."""
    return min(most, max(8, math.ceil(_LONGER * max(map(len, rows), default=1))))


def most_of(whole: Any) -> int:
    """Tokens of a translation that an encoder-decoder can write: its decoder may have places for so many alone (T5's counts none)."""
    config = whole.config.get_text_config(decoder=True)
    return min(LONGEST, int(getattr(config, "max_position_embeddings", None) or LONGEST))
