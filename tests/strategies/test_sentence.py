"""The rung without transfer for answers."""

import numpy as np
import pytest

from headstart.data.answers import Answer, as_label
from headstart.data.pairs import join_pair
from headstart.strategies.base import Rows
from headstart.strategies.sentence import _SENTENCE, fit_sentences


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
    texts, labels = [], np.empty(20, dtype=object)
    for i in range(20):
        context = f"The plan begins in May. The price of item{i} is {i}.{i % 9 + 1} million. We like it."
        answer = f"The price of item{i} is {i}.{i % 9 + 1} million."
        texts.append(join_pair(f"what is the price of item{i}", context))
        labels[i] = as_label([Answer(answer, context.index(answer))])
    rows = Rows(tuple(texts), labels, 1, kinds=np.zeros(20, dtype=np.int64))
    assert fit_sentences(rows).answer(rows).answers[3] == "The price of item3 is 3.4 million."
