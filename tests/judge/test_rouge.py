"""ROUGE-L against brute force and by hand."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.judge.rouge import common_length, rouge_l


def by_brute_force(first, second):
    """The longest subsequence of the one that is one of the other, every one tried."""
    for size in range(len(first), 0, -1):
        for places in itertools.combinations(range(len(first)), size):
            rest = iter(second)
            if all(first[i] in rest for i in places):
                return size
    return 0


@given(st.lists(st.sampled_from("abc"), max_size=8), st.lists(st.sampled_from("abc"), max_size=8))
def test_the_longest_common_subsequence_is_that_of_brute_force(first, second):
    assert common_length(first, second) == by_brute_force(first, second) == common_length(second, first)


@pytest.mark.parametrize(
    ("said", "true", "score"),
    [
        ("police killed the gunman", "police kill the gunman", 2 * 3 / 8),
        ("The gunman, kill police!", "police kill the gunman", 2 * 2 / 8),
        ("", "a", 0.0),
        ("...", "a", 0.0),
        ("same words", "Same, words.", 1.0),
        ("我爱你", "我很爱你", 2 * 3 / 7),
        ("在2024年", "在 2024 年", 1.0),  # a sign of such a script is a word behind a number too
        ("the snake_case", "the snake case", 1.0),
        ("हिन्दी भाषा", "हिन्दी पाठ", 2 * 1 / 4),  # whose vowels are signs by themselves
    ],
)
def test_scores_are_those_by_hand(said, true, score):
    assert rouge_l(said, true) == pytest.approx(score)
