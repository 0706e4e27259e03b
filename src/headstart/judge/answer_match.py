"""How an answer in words compares with the true ones: exact match and the F1 of words, as the official scripts count them.

SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250): case, punctuation, articles and white space are levelled; F1 is over the words that both
hold, as often as both hold them; of several true answers the best counts. MLQA (Lewis et al. 2020, arXiv 1910.07475) adds the articles of
other languages and takes Chinese by the character, as is done here with all scripts that put no spaces between words.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from headstart.data.signs import marks

# Articles by language; what is removed follows from the language of the context.
ARTICLES = {
    "en": frozenset(["a", "an", "the"]),
    "de": frozenset(["ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem", "des"]),
    "es": frozenset(["un", "una", "unos", "unas", "el", "la", "los", "las"]),
    "fr": frozenset(["le", "la", "les", "un", "une", "des"]),
    "it": frozenset(["il", "lo", "la", "i", "gli", "le", "un", "uno", "una"]),
    "pt": frozenset(["o", "a", "os", "as", "um", "uma", "uns", "umas"]),
    "nl": frozenset(["de", "het", "een"]),
}
# What tells languages apart: articles alone do not, since `i` and `a` are other words elsewhere.
_COMMON = {
    "en": frozenset(["the", "of", "and", "to", "in", "is", "that", "for", "with", "was", "it", "i", "my", "not"]),
    "de": frozenset(["der", "die", "das", "und", "ist", "nicht", "mit", "von", "zu", "den", "ein", "eine"]),
    "es": frozenset(["el", "de", "que", "y", "en", "los", "se", "del", "las", "por", "un", "una"]),
    "fr": frozenset(["le", "de", "et", "les", "des", "est", "dans", "pour", "que", "une", "un", "du"]),
    "it": frozenset(["il", "di", "che", "per", "un", "non", "della", "del", "una", "sono", "gli", "le"]),
    "pt": frozenset(["o", "de", "que", "e", "do", "da", "em", "para", "um", "uma", "os", "não"]),
    "nl": frozenset(["de", "het", "een", "en", "van", "is", "niet", "dat", "op", "te", "zijn", "met"]),
}
# Scripts that put no spaces between words: each sign is a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_SIGN = re.compile(f"([{_UNSPACED}])")
WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+(?:[{marks()}]+[^\W_{_UNSPACED}]*)*")
_MOST = 20_000  # characters of a context that tell its language


def language_of(context: str) -> str:
    """The language of `ARTICLES` whose commonest words make up most of a text's words; English where none does."""
    words = Counter(WORD.findall(context[:_MOST].lower()))
    shares = {language: sum(words[word] for word in common) for language, common in _COMMON.items()}
    return max(shares, key=lambda language: shares[language])  # English is the first of the table


def words_of_answer(text: str, language: str = "en") -> list[str]:
    """The words of an answer that count: lower case, without punctuation and articles; signs of unspaced scripts each by themselves."""
    kept = "".join(sign for sign in text.lower() if not unicodedata.category(sign).startswith("P") and sign not in "$+<=>^`|~")
    parts = _SIGN.sub(r" \1 ", kept).split()
    articles = ARTICLES.get(language, frozenset())
    return [word for word in parts if word not in articles]


def exact(answer: str, truths: Sequence[str], language: str = "en") -> float:
    """1 where the answer is one of the true ones after levelling, else 0; without true answers 1 for the empty answer."""
    said = words_of_answer(answer, language)
    return float(any(said == words_of_answer(true, language) for true in truths or ("",)))


def f1(answer: str, truths: Sequence[str], language: str = "en") -> float:
    """The F1 of words in [0, 1] with the nearest of the true answers; where either side has no words 1 if both have none, else 0."""
    said = words_of_answer(answer, language)
    return max(_f1(said, words_of_answer(true, language)) for true in truths or ("",))


def _f1(said: list[str], true: list[str]) -> float:
    if not said or not true:
        return float(said == true)
    same = sum((Counter(said) & Counter(true)).values())
    return 2.0 * same / (len(said) + len(true))
