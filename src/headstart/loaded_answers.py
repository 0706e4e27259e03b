"""A saved model of answers, opened: questions and contexts in, answers out.

Letters in shapes: n rows, t tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from headstart.data.pairs import join_pair
from headstart.settings import Settings
from headstart.sources.resolve import WITHOUT_TRANSFER
from headstart.strategies.base import FloatArray
from headstart.strategies.outputs import sigmoid
from headstart.strategies.pieces import Piece
from headstart.strategies.sentence import SentenceModel
from headstart.strategies.spans import Span, find_spans

_AT_ONCE = 512


@dataclass(frozen=True)
class FoundAnswer:
    """An answer as it stands in its context from character `start` to before `end`; "" where there is none. `probability` is that of this
    span, or of none: that there is an answer, where the model may withhold one, times the span's share of all that the context has."""

    text: str
    start: int
    end: int
    probability: float


@dataclass(frozen=True)
class LoadedAnswers:
    """A trained model of answers, opened from `folder`. `find` gives the best span of each joined text."""

    form: ClassVar = "answers"
    labels: tuple[str, ...]
    folder: Path
    find: Callable[[Sequence[str]], list[Span]]
    may_abstain: bool

    def predict(self, questions: Sequence[tuple[str, str] | Mapping[str, str]]) -> list[str]:
        """The answer to each (question, context), "" where there is none."""
        return [found.text for found in self.answer(questions)]

    def answer(self, questions: Sequence[tuple[str, str] | Mapping[str, str]]) -> list[FoundAnswer]:
        """The answer to each (question, context) with its place and probability.

        Raises:
            TypeError: one is no pair of strings, nor a dictionary of both.
        """
        pairs = [_pair(question, place) for place, question in enumerate(questions, start=1)]
        spans = self.find([join_pair(*pair) for pair in pairs])
        found = []
        for (_, context), span in zip(pairs, spans, strict=True):
            given = span.end > span.start and (not self.may_abstain or span.margin > 0)
            sure = float(sigmoid(np.array(span.margin))) if self.may_abstain else 1.0
            there = FoundAnswer(context[span.start : span.end], span.start, span.end, sure * span.share)
            found.append(there if given else FoundAnswer("", 0, 0, 1.0 - sure))
        return found


def _pair(question: tuple[str, str] | Mapping[str, str], place: int) -> tuple[str, str]:
    sides: list[Any] = []
    if isinstance(question, Mapping):
        names = ("question", "context") if "question" in question else ("text", "text_pair")
        sides = [question.get(name) for name in names]
    elif isinstance(question, Iterable) and not isinstance(question, str):
        sides = [*question]
    if len(sides) != 2 or not all(isinstance(side, str) for side in sides):
        raise TypeError(f'Question {place} is {question!r}; give it as (question, context) or {{"question": ..., "context": ...}}.')
    return sides[0], sides[1]


def open_answers(place: Path) -> LoadedAnswers:
    """Open the folder of a model of answers.

    Raises:
        RunError: its files are damaged.
    """
    config = json.loads((place / "config.json").read_text(encoding="utf-8"))
    if config.get("model_type") == WITHOUT_TRANSFER:
        plain = SentenceModel.load(place)
        return LoadedAnswers((), place, plain.spans, plain.may_abstain)
    found = Finder(place)
    return LoadedAnswers((), place, found.spans, found.may_abstain)


class Finder:
    """The saved model of answers and its tokenizer, on the GPU where there is one."""

    def __init__(self, place: Path) -> None:
        import torch
        from transformers import AutoModelForQuestionAnswering, AutoTokenizer

        from headstart.backbone.encoding import tell_texts_apart
        from headstart.sources.opening import open_saved, opening_saved

        with opening_saved(place):
            model = open_saved(AutoModelForQuestionAnswering, place)
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False, local_files_only=True)
            told: dict[str, Any] = dict(model.config.headstart_answers)
            self.may_abstain, self.longest = bool(told["may_abstain"]), int(told["longest"])
            self.factor, self.shift = float(told["factor"]), float(told["shift"])
        tell_texts_apart(model.base_model, tokenizer.sep_token_id)
        self.model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = tokenizer
        self.max_length = int(tokenizer.model_max_length)
        self.batch_tokens = Settings().batch_tokens

    def spans(self, texts: Sequence[str]) -> list[Span]:
        """The best span of each text, its margin moved as calibration said."""
        found = find_spans(self.tokenizer, self.max_length, texts, self.longest, self._scored, _AT_ONCE)
        return [replace(span, margin=span.margin * self.factor + self.shift) for span in found]

    def _scored(self, pieces: Sequence[Piece]) -> Iterator[tuple[int, FloatArray]]:
        import torch

        from headstart.backbone.batching import in_turn, plan_batches
        from headstart.backbone.encoding import encode
        from headstart.backbone.kernels import fast_linears
        from headstart.backbone.reading import pad

        filler = self.tokenizer.pad_token_id or 0
        ids = [row or [filler] for row in encode(self.tokenizer, [piece.text for piece in pieces], self.max_length, pairs=True)]
        with torch.inference_mode(), fast_linears(self.model):
            for batch in in_turn(plan_batches([len(row) for row in ids], self.batch_tokens)):
                rows, mask = pad([ids[i] for i in batch], filler)
                rows = rows.to(self.model.device)
                said = self.model(input_ids=rows, attention_mask=None if mask is None else mask.to(self.model.device))
                both = torch.stack([said.start_logits, said.end_logits], dim=-1).double().cpu().numpy()
                for i, scores in zip(batch, both, strict=True):
                    yield i, scores[: len(ids[i])]
