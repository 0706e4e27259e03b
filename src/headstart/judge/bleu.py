"""BLEU and chrF++ of translations as functions of sums over rows, so that intervals and paired gains follow as those of every score.

BLEU (Papineni et al. 2002) of a set of translations is made of counts of 1- to 4-grams; its counts are sacreBLEU's (Post 2018,
arXiv 1804.08771), and so is the value, with its exponential smoothing. chrF++ (Popovic 2017) compares character 1- to 6-grams and word
1- to 2-grams; sacreBLEU gives only the total, so the counts are made here and the tests compare the value with its own.

Letters in shapes: n rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from headstart.judge.metrics import FloatArray

ORDER = 4
BLEU_SUMS = 2 * ORDER + 2  # n-grams that are right by order, those that are there, words of the translations, words of the references
CHAR_ORDER, WORD_ORDER, BETA = 6, 2, 2.0
CHRF_SUMS = 3 * (CHAR_ORDER + WORD_ORDER)  # of each order n-grams of the translations, of the references, and those of both
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
# Scripts without spaces: sacreBLEU's own words for Chinese, each sign a word for the others.
_HAN = ("\u3400", "\u9fff")
_OTHERS = (("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u1780", "\u17ff"), ("\u3040", "\u30ff"))
_SHARE = 0.3


def tokenization(references: Sequence[str]) -> str:
    """How sacreBLEU is to part texts like these into words: `13a`, or `zh` or `char` where most of them is in a script without spaces."""
    signs = "".join("".join(reference.split()) for reference in references[:200])
    counts = [sum(low <= sign <= high for sign in signs) for low, high in (_HAN, *_OTHERS)]
    if sum(counts[1:]) > _SHARE / 3 * max(1, len(signs)):
        return "char"
    return "zh" if counts[0] > _SHARE * max(1, len(signs)) else "13a"


@lru_cache
def _bleu(tokenize: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenize, effective_order=True)  # which changes no count, and keeps it from warning of single rows


def signature(references: Sequence[str]) -> str:
    """What sacreBLEU calls a BLEU score like this one, for it to be made again elsewhere."""
    from sacrebleu.metrics.bleu import BLEU

    metric = BLEU(tokenize=tokenization(references))
    metric.corpus_score(["a"], [["a"]])  # without which it does not know the number of references
    return str(metric.get_signature())


def bleu_sums(translations: Sequence[str], references: Sequence[str]) -> FloatArray:
    """What BLEU is made of, (n, 10)."""
    metric = _bleu(tokenization(references))
    sums = np.zeros((len(translations), BLEU_SUMS))
    for i, (said, true) in enumerate(zip(translations, references, strict=True)):
        found = metric.sentence_score(said, [true])
        sums[i] = [*found.counts, *found.totals, found.sys_len, found.ref_len]
    return sums


def bleu_of(sums: FloatArray) -> FloatArray:
    """BLEU in points, (...), of totals (10, ...)."""
    right, there, said, true = sums[:ORDER], sums[ORDER : 2 * ORDER], sums[-2], sums[-1]
    # An order without a right n-gram counts as half, a quarter, an eighth of one, in turn.
    halved = 2.0 ** -np.cumsum(right == 0, axis=0)
    precision = np.where(right > 0, right, halved) / np.maximum(there, 1.0)
    brevity = np.minimum(0.0, 1.0 - true / np.maximum(said, 1e-9))
    value = 100.0 * np.exp(np.log(np.maximum(precision, 1e-300)).mean(axis=0) + np.maximum(brevity, -700.0))
    return np.asarray(np.where((right > 0).any(axis=0) & (there > 0).all(axis=0), value, 0.0))


def chrf_sums(translations: Sequence[str], references: Sequence[str]) -> FloatArray:
    """What chrF++ is made of, (n, 24)."""
    sums = np.zeros((len(translations), CHRF_SUMS))
    for i, (said, true) in enumerate(zip(translations, references, strict=True)):
        counts: list[int] = []
        for ours, theirs in zip(_pieces(said), _pieces(true), strict=True):
            both = sum(min(count, theirs[piece]) for piece, count in ours.items() if piece in theirs)
            counts += [sum(ours.values()) if theirs else 0, sum(theirs.values()), both]
        sums[i] = counts
    return sums


def chrf_of(sums: FloatArray) -> FloatArray:
    """chrF++ in points, (...), of totals (24, ...)."""
    said, true, both = sums[0::3], sums[1::3], sums[2::3]
    counted = (said > 0) & (true > 0)
    orders = np.maximum(counted.sum(axis=0), 1)
    precision = np.where(counted, both / np.maximum(said, 1.0), 0.0).sum(axis=0) / orders
    recall = np.where(counted, both / np.maximum(true, 1.0), 0.0).sum(axis=0) / orders
    return np.asarray(100.0 * (1.0 + BETA**2) * precision * recall / np.maximum(BETA**2 * precision + recall, 1e-300))


def _pieces(text: str) -> list[Counter[Any]]:
    """How often each n-gram stands in a text: of its signs without spaces, then of its words, punctuation apart."""
    signs, words = "".join(text.split()), _words(text)
    found: list[Counter[Any]] = [Counter(signs[i : i + n] for i in range(len(signs) - n + 1)) for n in range(1, CHAR_ORDER + 1)]
    return found + [Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1)) for n in range(1, WORD_ORDER + 1)]


def _words(text: str) -> list[str]:
    """The words of a text; a sign of punctuation at a word's end, else at its beginning, is a word of its own."""
    words: list[str] = []
    for word in text.split():
        if len(word) > 1 and word[-1] in _PUNCTUATION:
            words += [word[:-1], word[-1]]
        elif len(word) > 1 and word[0] in _PUNCTUATION:
            words += [word[0], word[1:]]
        else:
            words.append(word)
    return words
