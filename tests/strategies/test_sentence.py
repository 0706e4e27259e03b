"""The rung without transfer for answers."""

import numpy as np
import pytest

from headstart.data.answers import Answer, as_label
from headstart.data.pairs import join_pair
from headstart.strategies.base import Rows
from headstart.strategies.sentence import _SENTENCE, fit_sentences


def rows_of(texts, answers):
    labels = np.empty(len(texts), dtype=object)
    labels[:] = [as_label([Answer(answer, context.index(answer))]) for (_, context), answer in zip(texts, answers, strict=True)]
    return Rows(tuple(join_pair(*text) for text in texts), labels, 1, kinds=np.zeros(len(texts), dtype=np.int64))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It costs 3.5 million. Next one... Wait.", ["It costs 3.5 million.", " Next one...", " Wait."]),
        ("see www.x.org/a?b=c! Well?! Yes", ["see www.x.org/a?b=c!", " Well?!", " Yes"]),
        ('"He left." She (too.) stayed', ['"He left."', " She (too.)", " stayed"]),
        ("中文。第二句。\nline two\n\nthree", ["中文。", "第二句。\n", "line two\n\n", "three"]),
        ("...", []),
        ("end.", ["end."]),
    ],
)
def test_a_sentence_ends_at_its_signs_and_not_within_a_number_or_an_address(text, sentences):
    assert [found.group() for found in _SENTENCE.finditer(text)] == sentences


def test_an_answer_with_a_point_in_it_is_found_whole():
    answers = [f"The price of item{i} is {i}.{i % 9 + 1} million." for i in range(20)]
    texts = [(f"what is the price of item{i}", f"The plan begins in May. {answer} We like it.") for i, answer in enumerate(answers)]
    rows = rows_of(texts, answers)
    assert fit_sentences(rows).answer(rows).answers[3] == "The price of item3 is 3.4 million."


@pytest.mark.parametrize(
    ("question", "context", "answer"),
    [
        ("1999 年?", "他2024年出生。她1999年来了。", "她1999年来了。"),
        # Vowels that are signs by themselves part no word: its letters alone stand in the first sentence.
        ("भाषा?", "भ ष. यह भाषा अच्छी.", "यह भाषा अच्छी."),
    ],
)
def test_words_are_told_apart_in_every_script(question, context, answer):
    rows = rows_of([(question, context)], [answer])
    assert fit_sentences(rows).answer(rows).answers == (answer,)
