"""Answers compared: with the official script's rules written anew, with published examples, and by languages."""

from __future__ import annotations

import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.judge.answer_match import exact, f1, language_of, words_of_answer

WORDS = st.sampled_from(
    ["the", "a", "an", "The", "cat", "Cat", "cat.", "sat", "(sat)", "U.S.", "-", "1,000", "than", "another", "it's", "+"]
)
ANSWERS = st.lists(WORDS, max_size=6).map(" ".join)


def official(text: str) -> list[str]:
    """The words of an answer by the rules of SQuAD's script: lower case, no ASCII punctuation, no English articles."""
    text = "".join(sign for sign in text.lower() if sign not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def official_f1(said: str, truths: list[str]) -> float:
    """The greatest F1 over the true answers, by precision and recall; an empty list is the answer ""."""
    found = []
    for truth in truths or [""]:
        ours, theirs = official(said), official(truth)
        if not ours or not theirs:
            found.append(float(ours == theirs))
            continue
        left = list(theirs)
        same = 0
        for word in ours:
            if word in left:
                left.remove(word)
                same += 1
        precision, recall = same / len(ours), same / len(theirs)
        found.append(0.0 if same == 0 else 2 * precision * recall / (precision + recall))
    return max(found)


@given(ANSWERS, st.lists(ANSWERS, max_size=3))
def test_english_answers_are_scored_as_the_official_script_scores_them(said: str, truths: list[str]) -> None:
    assert f1(said, truths) == pytest.approx(official_f1(said, truths))
    assert exact(said, truths) == float(any(official(said) == official(truth) for truth in truths or [""]))


@given(ANSWERS, ANSWERS)
def test_f1_knows_no_sides_and_exact_answers_have_an_f1_of_one(one: str, other: str) -> None:
    assert f1(one, [other]) == f1(other, [one])
    assert exact(one, [other]) <= f1(one, [other])
    assert exact(one, [one]) == f1(one, [one]) == 1.0


@pytest.mark.parametrize(
    ("said", "truths", "language", "wanted"),
    [
        ("the Eiffel Tower", ["Eiffel Tower!"], "en", (1.0, 1.0)),
        ("Eiffel Tower in Paris", ["Eiffel Tower"], "en", (0.0, 2 * 2 / 6)),
        ("in Paris", ["London", "Paris"], "en", (0.0, 2 * 1 / 3)),
        ("", [], "en", (1.0, 1.0)),
        ("Paris", [], "en", (0.0, 0.0)),
        ("", ["Paris"], "en", (0.0, 0.0)),
        ("the", ["a"], "en", (1.0, 1.0)),  # nothing is left of either
        ("die Stadt Köln", ["Stadt Köln"], "de", (1.0, 1.0)),
        ("die Stadt Köln", ["Stadt Köln"], "en", (0.0, 2 * 2 / 5)),
        ("«los gatos»", ["gatos"], "es", (1.0, 1.0)),
        ("o carro", ["carro"], "pt", (1.0, 1.0)),
        ("北京大学", ["北京"], "en", (0.0, 2 * 2 / 6)),  # by the sign, as MLQA counts Chinese
        ("北京。", ["北京"], "en", (1.0, 1.0)),
        ("1998年", ["1998 年"], "en", (1.0, 1.0)),
    ],
)
def test_answers_by_language(said: str, truths: list[str], language: str, wanted: tuple[float, float]) -> None:
    assert (exact(said, truths, language), f1(said, truths, language)) == pytest.approx(wanted)


def test_punctuation_of_any_script_is_levelled() -> None:
    assert words_of_answer("“No” – she said… ¿qué?", "en") == ["no", "she", "said", "qué"]
    assert words_of_answer("$5 + 3^2 `x` |y|") == ["5", "32", "x", "y"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The cat sat on a mat near the old house.", "en"),
        ("Der Hund lief durch die Stadt und sah eine Katze an dem Ufer.", "de"),
        ("El gato de la casa vio los pájaros en una rama.", "es"),
        ("Le chat de la maison a vu les oiseaux et une souris.", "fr"),
        ("Il gatto della casa guardò gli uccelli e lo scoiattolo.", "it"),
        ("Os gatos viram o pássaro e as árvores de uma casa.", "pt"),
        ("De kat zag het huis en een vogel.", "nl"),
        ("12345", "en"),
        ("", "en"),
        ("北京是中国的首都。", "en"),
    ],
)
def test_the_language_is_told_by_its_articles(text: str, language: str) -> None:
    assert language_of(text) == language


def test_the_language_follows_from_most_words_not_from_one() -> None:
    counted = Counter({"der": 1, "the": 5})
    assert language_of(" ".join(word for word, count in counted.items() for _ in range(count))) == "en"
