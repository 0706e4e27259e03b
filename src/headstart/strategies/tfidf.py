"""The rung without transfer: counts of words and of character runs under the same logistic regression as the other rungs.

It is meant to be hard to beat. Words in runs of 1 and 2 and characters within words in runs of 2 to 5 are weighted by TF-IDF with
logarithmic counts, each kind scaled to length 1; the penalty is chosen on folds by held-out log-loss. With few rows the fit happens on
the rows' inner products, an (n, n) matrix, which is exact and needs no look at the terms; with many, on the sparse counts.

Vocabulary and term weights are taken over all rows given, held-out ones included: no label takes part in that.

Letters in shapes: n rows, v terms, c classes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import RunError
from headstart.strategies.base import Fitted, FloatArray, Folds, Rows, Targets, with_names
from headstart.strategies.heads import FINAL, choose_strength, solve_path, trying
from headstart.strategies.ladder import Job, Strategy

RUNS = {"word": (1, 2), "char_wb": (2, 5)}
PRUNE_FROM = 1000  # rows from which a term must occur in two of them
MOST_TERMS = 40_000  # of each kind; the most frequent stay
MOST_CHARACTERS = 20_000  # of a text; the rest of a longer one is not read
DENSE_UP_TO = 3000  # rows up to which the fit happens on inner products
SAMPLE = 2000  # rows that choose the penalty where there are more


@dataclass(frozen=True)
class Vocabulary:
    """The terms of one kind ("word" or "char_wb") in the order of their columns, and the weight of each, shape (v,)."""

    kind: str
    terms: tuple[str, ...]
    idf: FloatArray


@dataclass(frozen=True)
class Fit:
    """Weight (c, v), bias (c,), out-of-fold logits (n, c) and the penalty on weights of unscaled rows."""

    weight: FloatArray
    bias: FloatArray
    logits: FloatArray
    strength: float


class TfidfModel:
    """A fitted rung without transfer. Its logits are linear in the TF-IDF weights of a text's terms.

    `vocabularies` are those of the kinds that have terms at all; `weight` (c, v) runs over their columns one kind after the other;
    `bias` is (c,).
    """

    def __init__(self, vocabularies: tuple[Vocabulary, ...], weight: NDArray[np.float32], bias: FloatArray) -> None:
        self.vocabularies = vocabularies
        self.weight = weight
        self.bias = bias
        self._readers = [_ready(vocabulary) for vocabulary in vocabularies]

    def predict_logits(self, texts: Sequence[str]) -> FloatArray:
        """Logits (n, c). A text without a known term gets the bias alone."""
        logits = np.tile(self.bias, (len(texts), 1))
        at = 0
        if not texts:
            return logits
        for reader, vocabulary in zip(self._readers, self.vocabularies, strict=True):
            part = self.weight[:, at : at + len(vocabulary.terms)]
            logits += reader.transform([text[:MOST_CHARACTERS] for text in texts]) @ part.T
            at += len(vocabulary.terms)
        return logits

    def scaled(self, factor: float, shift: float = 0.0) -> TfidfModel:
        """The same model with all logits multiplied by `factor`, and `shift` added (how calibration is folded in)."""
        return TfidfModel(self.vocabularies, (self.weight * factor).astype(np.float32), self.bias * factor + shift)

    def save(self, folder: str | Path) -> None:
        """Write `tfidf.safetensors`, then `tfidf.json` into a folder, made where absent. Each file appears whole or not at all."""
        from safetensors.numpy import save

        arrays = {"weight": self.weight, "bias": self.bias}
        arrays |= {f"idf.{vocabulary.kind}": vocabulary.idf for vocabulary in self.vocabularies}
        terms = {vocabulary.kind: list(vocabulary.terms) for vocabulary in self.vocabularies}
        Path(folder).mkdir(parents=True, exist_ok=True)
        _write(Path(folder) / "tfidf.safetensors", save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
        _write(Path(folder) / "tfidf.json", json.dumps({"format": 1, "terms": terms}, ensure_ascii=False).encode())

    @classmethod
    def load(cls, folder: str | Path) -> TfidfModel:
        """Open what `save` wrote; the logits are the same to the last bit.

        Raises:
            RunError: the folder does not hold a whole model.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            terms = json.loads((Path(folder) / "tfidf.json").read_text(encoding="utf-8"))["terms"]
            arrays = load((Path(folder) / "tfidf.safetensors").read_bytes())
            vocabularies = tuple(Vocabulary(kind, tuple(words), arrays[f"idf.{kind}"]) for kind, words in terms.items())
            width = sum(len(each.terms) for each in vocabularies)
            whole = arrays["weight"].shape == (len(arrays["bias"]), width) and all(len(v.idf) == len(v.terms) for v in vocabularies)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError):
            whole = False
        if not whole:
            raise RunError(f"The folder {str(folder)!r} does not hold a whole TF-IDF model; run the fit again into another folder.")
        return cls(vocabularies, arrays["weight"], arrays["bias"])


def fit_tfidf(rows: Rows, folds: Folds, class_weight: FloatArray | None, seed: int) -> tuple[TfidfModel, FloatArray]:
    """Fit the rung and say how it does on rows that it did not train on.

    Args:
        rows: the training rows.
        folds: pairs of row numbers, (train, held out). Without any a usual penalty is taken.
        class_weight: weight of each class's rows, shape (c,); None: all 1.
        seed: which rows choose the penalty where there are too many to use all.

    Returns:
        The model, fitted on all rows, and out-of-fold logits (n, c); rows that no fold holds out are NaN.
    """
    vocabularies, counts = _read(rows.texts)
    if len(rows) <= DENSE_UP_TO:
        fit = _fit_dense(counts, rows.y, rows.n_classes, folds, class_weight)
    else:
        fit = _fit_sparse(counts, rows.y, rows.n_classes, folds, class_weight, seed)
    return TfidfModel(vocabularies, fit.weight.astype(np.float32), fit.bias), fit.logits


def _reader(kind: str, least: int) -> Any:
    """scikit-learn's reader of one kind of term; a term must occur in `least` texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer=kind,
        ngram_range=RUNS[kind],
        token_pattern=r"(?u)\b\w+\b" if kind == "word" else None,
        sublinear_tf=True,
        min_df=least,
        max_features=MOST_TERMS,
        dtype=np.float32,
    )


def _ready(vocabulary: Vocabulary) -> Any:
    """A reader that needs no fit any more."""
    reader = _reader(vocabulary.kind, 1)
    reader.set_params(vocabulary=list(vocabulary.terms))
    reader.idf_ = vocabulary.idf
    return reader


def _read(texts: Sequence[str]) -> tuple[tuple[Vocabulary, ...], Any]:
    """The vocabularies of the texts and their sparse weights (n, v)."""
    from scipy.sparse import csr_matrix, hstack

    short = [text[:MOST_CHARACTERS] for text in texts]
    vocabularies, parts = [], [csr_matrix((len(short), 0), dtype=np.float32)]
    for kind in RUNS:
        reader = _reader(kind, 2 if len(short) >= PRUNE_FROM else 1)
        try:
            parts.append(reader.fit_transform(short))
        except ValueError:  # no term of this kind at all: only signs, or nothing, or nothing twice
            continue
        vocabularies.append(Vocabulary(kind, tuple(reader.get_feature_names_out()), reader.idf_))
    return tuple(vocabularies), hstack(parts, format="csr")


def _fit_dense(counts: Any, y: Targets, n_classes: int, folds: Folds, class_weight: FloatArray | None) -> Fit:
    """The fit from inner products of rows (n, n): exact for any number of terms."""
    from scipy.linalg import cholesky, solve_triangular

    n = counts.shape[0]
    mean = np.asarray(counts.mean(axis=0, dtype=np.float64)).ravel()
    wide = counts.astype(np.float64)
    inner = (wide @ wide.T).toarray()
    towards = np.asarray(wide @ mean).ravel()
    inner += float(mean @ mean) - towards[:, None] - towards[None, :]
    size = max(float(np.trace(inner)) / n, 1e-12)
    # Equal rows make the matrix singular. The tilt gives each row a column of its own that no new text has; it must stay far below the
    # weakest penalty, or rows learn their labels by heart there.
    inner = inner / size + 1e-7 * np.eye(n)
    z = cholesky(inner, lower=True)
    z = z.astype(np.float32)
    strength, logits, _ = choose_strength(z, y, n_classes, folds, class_weight)
    # A third of the time with 150 classes, were it as exact as other heads; the rung is there to be compared with.
    solution = solve_path(z, y, n_classes, strength, class_weight, FINAL if n < PRUNE_FROM else trying(n))
    shares = solve_triangular(z, solution.weight.T, lower=True, trans="T").T / size
    # logits = z @ W.T = (x - mean) @ (shares @ (rows - mean)).T
    weight = shares @ counts - shares.sum(axis=1)[:, None] * mean
    return Fit(weight, solution.bias - weight @ mean, logits, strength * size)


def _fit_sparse(counts: Any, y: Targets, n_classes: int, folds: Folds, class_weight: FloatArray | None, seed: int) -> Fit:
    """What `_fit_dense` gives, for many rows: some rows choose the penalty, and every fit runs on the sparse counts."""
    n = counts.shape[0]
    some = np.sort(np.random.default_rng(seed).choice(n, size=min(SAMPLE, DENSE_UP_TO), replace=False))
    place = np.full(n, -1)
    place[some] = np.arange(len(some))
    few = [(place[train][place[train] >= 0], place[held][place[held] >= 0]) for train, held in folds]
    strength = _fit_dense(counts[some], y[some], n_classes, few, class_weight).strength
    logits = np.full((n, n_classes), np.nan)
    for train, held in folds:
        logits[held] = solve_path(counts[train], y[train], n_classes, strength, class_weight, trying(n)).logits(counts[held])
    solution = solve_path(counts, y, n_classes, strength, class_weight, trying(n))
    return Fit(solution.weight, solution.bias, logits, strength)


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it appears whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, path)


def _job_out_of_fold(job: Job) -> tuple[Fitted, FloatArray]:
    rows, folds = with_names(job.rows, job.folds)
    model, logits = fit_tfidf(rows, folds, job.class_weight, job.seed)
    return model, logits[: len(job.rows.y)]


STRATEGY = Strategy(
    name="tfidf",
    transfers=False,
    needs_source=False,
    summary="counts of words and character runs under logistic regression",
    fit=lambda job: _job_out_of_fold(job)[0],
    out_of_fold=_job_out_of_fold,
)
