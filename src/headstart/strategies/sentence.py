"""The rung without transfer for answers: the sentence of the context that shares the rarest words with the question, or a part of it.

Sentences are compared with the question by the cosine of their words, each weighted by how few of the training contexts hold it (tf-idf).
Answers are seldom whole sentences, so that a run of rare words which the question does not have may be taken of it; how many, the training
rows say.

Letters in shapes: n rows.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headstart.data.pairs import split_pair
from headstart.errors import RunError
from headstart.judge.answer_match import WORD
from headstart.strategies.base import FloatArray, Rows, Said, Trained
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.spans import F1, Span, of_some, said_by

WHOLE = 0  # words of an answer that is its whole sentence
LENGTHS = (WHOLE, 1, 2, 4, 8, 16)
FILE = "sentences.json"
_MOST_TOLD = 200
# Sentences end at line breaks and at these signs, unless a word goes on behind.
_SENTENCE = re.compile(r"""(?:[^.!?;\n。！？；]|[.!?;](?=[0-9A-Za-z,:/-]))+(?:[.!?;。！？；]+["')\]”’」』）]*)?\n*""")


Found = tuple[float, int, int, set[str], float]
"""A sentence's cosine to the question, its first character, the one behind its last, and the question's words."""


@dataclass(frozen=True)
class SentenceModel:
    """A fitted rung without transfer.

    `rarity` weighs words that training contexts hold, `unseen` all others; answers have `length` words. `may_abstain` as
    in `spans.SpanModel`.
    """

    rarity: Mapping[str, float]
    unseen: float
    length: int
    may_abstain: bool
    factor: float = 1.0
    shift: float = 0.0

    @property
    def reader(self) -> None:
        """It stands on no source."""
        return None

    def spans(self, texts: Sequence[str]) -> list[Span]:
        """The best span of each text; its margin is the cosine to the question, moved as calibration says."""
        found = []
        for text in texts:
            span = self._best(*split_pair(text))
            found.append(replace(span, margin=span.margin * self.factor + self.shift))
        return found

    def answer(self, rows: Rows) -> Said:
        """The answers, "" for none, and outputs (n, 5)."""
        return said_by(self.spans(rows.texts), rows, self.may_abstain)

    def compared(self, rows: Rows) -> FloatArray:
        """Outputs (n, 5) of some rows, NaN for the others (`spans.of_some`)."""
        return of_some(self.answer, rows)

    def scaled(self, factor: float, shift: float = 0.0) -> SentenceModel:
        """The same model with margins multiplied by `factor`, and `shift` added."""
        return replace(self, factor=self.factor * factor, shift=self.shift * factor + shift)

    def _best(self, question: str, context: str) -> Span:
        return self.part_of(context, self.sentence_of(question, context))

    def sentence_of(self, question: str, context: str) -> Found | None:
        """The sentence of the context that is most like the question, with the cosine, the question's words and the sentence's
        share of all cosines; None: it has none."""
        asked = set(_words(question))
        best: tuple[float, int, int] | None = None
        scores = []
        for sentence in _SENTENCE.finditer(context):
            words = set(_words(sentence.group()))
            size = math.sqrt(sum(self._weight(word) ** 2 for word in words))
            shared = sum(self._weight(word) ** 2 for word in words & asked)
            score = shared / size if size else 0.0
            scores.append(score)
            if best is None or score > best[0]:
                best = score, sentence.start(), sentence.end()
        if best is None:
            return None
        size = math.sqrt(sum(self._weight(word) ** 2 for word in asked)) or 1.0
        share = best[0] / sum(scores) if best[0] > 0 else 1.0 / len(scores)
        return best[0] / size, best[1], best[2], asked, share

    def part_of(self, context: str, found: Found | None) -> Span:
        """What of a sentence answers, by the model's length."""
        if found is None:
            return Span(0, 0, -1.0)
        cosine, first, last, asked, share = found
        start, end = self._part(context, first, last, asked)
        return Span(start, end, cosine, share)

    def _part(self, context: str, start: int, end: int, asked: set[str]) -> tuple[int, int]:
        """The run of `length` words within a sentence that are rarest and not asked for; the sentence itself where that is its whole."""
        words = [(start + found.start(), start + found.end()) for found in WORD.finditer(context[start:end])]
        if self.length == WHOLE or len(words) <= self.length:
            while start < end and context[start].isspace():
                start += 1
            while end > start and context[end - 1].isspace():
                end -= 1
            return start, end
        names = [context[a:b].lower() for a, b in words]
        worth = np.array([-self._weight(name) if name in asked else self._weight(name) for name in names])
        runs = np.convolve(worth, np.ones(self.length), mode="valid")
        first = int(runs.argmax())
        return words[first][0], words[first + self.length - 1][1]

    def _weight(self, word: str) -> float:
        return self.rarity.get(word, self.unseen)

    def save(self, folder: str | Path) -> None:
        """Write what `load` opens."""
        told = {"length": self.length, "may_abstain": self.may_abstain, "factor": self.factor, "shift": self.shift}
        content = {**told, "unseen": self.unseen, "rarity": dict(self.rarity)}
        (Path(folder) / FILE).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> SentenceModel:
        """Open what `save` wrote.

        Raises:
            RunError: the folder does not hold a whole model.
        """
        try:
            content = json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))
            return cls(
                {str(word): float(weight) for word, weight in content["rarity"].items()},
                float(content["unseen"]),
                int(content["length"]),
                bool(content["may_abstain"]),
                float(content["factor"]),
                float(content["shift"]),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise RunError(f"The model in {str(folder)!r} is damaged ({FILE}); copy or train it again.") from None


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def fit_sentences(rows: Rows) -> SentenceModel:
    """Weigh words by the contexts that hold them, and choose the length of answers by their F1 on these rows."""
    from headstart.data.answers import NOTHING

    contexts = {split_pair(text)[1] for text in rows.texts}
    held = Counter(word for context in contexts for word in set(_words(context)))
    rarity = {word: math.log((1 + len(contexts)) / (1 + count)) + 1.0 for word, count in held.items()}
    plain = SentenceModel(rarity, math.log(1 + len(contexts)) + 1.0, WHOLE, bool((rows.y == NOTHING).any()))
    answered = np.flatnonzero(rows.y != NOTHING)
    if not len(answered):
        return plain
    # Of many rows some tell the length; each is looked through once for each.
    some = rows.take(answered[:: max(1, len(answered) // _MOST_TOLD)])
    contexts_of = [split_pair(text)[1] for text in some.texts]
    found = [plain.sentence_of(*split_pair(text)) for text in some.texts]

    def right(model: SentenceModel) -> float:
        spans = [model.part_of(context, sentence) for context, sentence in zip(contexts_of, found, strict=True)]
        return float(said_by(spans, some, model.may_abstain).outputs[:, F1].mean())

    return max((replace(plain, length=length) for length in LENGTHS), key=right)


def _out_of_fold(job: Job) -> tuple[Trained, FloatArray]:
    outputs = np.full((len(job.rows), 5), np.nan)
    for train, held in job.folds:
        outputs[held] = fit_sentences(job.rows.take(train)).compared(job.rows.take(held))
    return fit_sentences(job.rows), outputs


STRATEGY = Strategy(
    name="sentence",
    transfers=False,
    needs_source=False,
    summary="the sentence that shares the question's rarest words, or a part of it",
    fit=lambda job: fit_sentences(job.rows),
    out_of_fold=_out_of_fold,
)
