"""The rung without transfer for pairs: counts of words by the side on which they stand, under the same logistic regression.

Each pair is written as terms: a word of the first text, of the second, of both, of one alone; and how much they overlap, in steps of a
tenth. A linear model of them sees what the texts share, which counts of one joined text would hide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data.pairs import split_pair
from headstart.strategies.base import Fitted, FloatArray, Folds, Rows
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.tfidf import MOST_CHARACTERS, TfidfModel, fit_tfidf

_WORD = re.compile(r"(?u)\b\w+\b")
_STEPS = 10


def terms_of(text: str) -> str:
    """A pair as terms with spaces between, each beginning with what it says: `a`, `b` (sides), `c` (both), `d`, `e` (one alone), `o`."""
    first, second = (_WORD.findall(side[:MOST_CHARACTERS].lower()) for side in split_pair(text))
    shared, every = set(first) & set(second), set(first) | set(second)
    overlap = round(_STEPS * len(shared) / len(every)) if every else 0
    terms = [*(f"a{word}" for word in first), *(f"b{word}" for word in second)]
    terms += [f"c{word}" for word in sorted(shared)]
    terms += [f"d{word}" for word in dict.fromkeys(first) if word not in shared]
    terms += [f"e{word}" for word in dict.fromkeys(second) if word not in shared]
    longer = "first" if len(first) > len(second) else "second" if len(second) > len(first) else "neither"
    return " ".join([*terms, f"overlap_{overlap}", f"longer_{longer}"])


@dataclass(frozen=True)
class PairTfidfModel:
    """A fitted rung without transfer for pairs."""

    of_terms: TfidfModel

    def predict_logits(self, texts: Sequence[str]) -> FloatArray:
        """Logits (n, c)."""
        return self.of_terms.predict_logits([terms_of(text) for text in texts])

    def scaled(self, factor: float, shift: float = 0.0) -> PairTfidfModel:
        """The same model with all logits multiplied by `factor`, and `shift` added (how calibration is folded in)."""
        return PairTfidfModel(self.of_terms.scaled(factor, shift))

    def save(self, folder: str | Path) -> None:
        """Write what `TfidfModel.save` writes."""
        self.of_terms.save(folder)

    @classmethod
    def load(cls, folder: str | Path) -> PairTfidfModel:
        """Open what `save` wrote.

        Raises:
            RunError: the folder does not hold a whole model.
        """
        return cls(TfidfModel.load(folder))


def fit_pair_tfidf(rows: Rows, folds: Folds, class_weight: FloatArray | None, seed: int) -> tuple[PairTfidfModel, FloatArray]:
    """The model of all rows and out-of-fold logits; arguments as in `fit_tfidf`."""
    written = Rows(tuple(terms_of(text) for text in rows.texts), rows.y, rows.n_classes)
    model, logits = fit_tfidf(written, folds, class_weight, seed)
    return PairTfidfModel(model), logits


def _job_out_of_fold(job: Job) -> tuple[Fitted, FloatArray]:
    return fit_pair_tfidf(job.rows, job.folds, job.class_weight, job.seed)


STRATEGY = Strategy(
    name="tfidf",
    transfers=False,
    needs_source=False,
    summary="counts of words by side and of shared words under logistic regression",
    fit=lambda job: _job_out_of_fold(job)[0],
    out_of_fold=_job_out_of_fold,
)
