import time
import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.duplicates import SIMILAR, further_groups, near_duplicates, normalise


def similarity(first, second):
    """The definition, by sets of strings."""

    def shingles(text):
        text = normalise(text)
        return {text[i : i + 5] for i in range(max(1, len(text) - 4))}

    a, b = shingles(first), shingles(second)
    return len(a & b) / len(a | b)


WORDS = [
    *("please", "tell", "me", "where", "my", "new", "bank", "card"),
    *("is", "because", "it", "has", "not", "come", "yet", "and", "i"),
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=14).map(" ".join), min_size=2, max_size=25))
def test_every_pair_is_as_similar_as_said_and_every_group_is_joined_by_pairs(texts):
    result = near_duplicates(texts)
    for (a, b), value in zip(result.pairs.tolist(), result.similarity, strict=True):
        assert a < b
        assert abs(similarity(texts[a], texts[b]) - value) < 1e-9
        assert value >= SIMILAR
        assert result.groups[a] == result.groups[b]
    for group in set(result.groups.tolist()):
        members = np.flatnonzero(result.groups == group)
        assert group == members[0]
        assert sum(result.groups[a] == group for a, _ in result.pairs.tolist()) == len(members) - 1


def test_nearly_all_true_pairs_are_found():
    rng = np.random.default_rng(0)
    texts = []
    for _ in range(300):
        words = ["".join(rng.choice(list("abcdefghij"), 6)) for _ in range(14)]
        texts += [" ".join(words), " ".join([*words[:-1], words[-1][:-1]])]
    true = [i for i in range(0, 600, 2) if similarity(texts[i], texts[i + 1]) >= SIMILAR]
    result = near_duplicates(texts)
    together = sum(result.groups[i] == result.groups[i + 1] for i in true)
    assert len(true) > 100
    assert together >= 0.97 * len(true)


def test_short_texts_are_twins_only_of_themselves():
    texts = ["yes", "no", "Yes", "yep", "ye", "y", "no ", "ok", "", " "]
    assert list(near_duplicates(texts).groups) == [0, 1, 0, 3, 4, 5, 1, 7, 8, 9]


def test_forms_of_letters_are_levelled_but_digits_are_not():
    texts = ["Ｆｕｌｌ width", "full  WIDTH", "pay 10", "pay 15"]
    assert list(near_duplicates(texts).groups) == [0, 0, 2, 3]


def test_a_cluster_does_not_grow_beyond_its_bound():
    texts = [f"the customer wrote that order {i} has not arrived yet and asks for help with it, please call back soon" for i in range(100)]
    _, counts = np.unique(near_duplicates(texts, largest_cluster=10).groups, return_counts=True)
    assert counts.max() == 10


SENTENCES = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(st.lists(SENTENCES, max_size=20), st.lists(SENTENCES, max_size=8))
def test_further_texts_join_groups_by_pairs_that_are_similar(texts, further):
    before = near_duplicates(texts)
    groups, beside = further_groups(before, further)
    everything = [*texts, *further]
    for position, (text, group, like) in enumerate(zip(further, groups.tolist(), beside.tolist(), strict=True), start=len(texts)):
        together = [*np.flatnonzero(before.groups == group).tolist(), *(len(texts) + np.flatnonzero(groups == group)).tolist()]
        near = [other for other in range(len(everything)) if other != position and similarity(text, everything[other]) >= SIMILAR]
        assert group == together[0]
        if not text:
            assert (together, like) == ([position], -1)
        elif len(together) > 1:
            assert near
        if like >= 0:
            assert any(other < len(texts) and before.groups[other] == like for other in near)
        assert like >= 0 or not text or normalise(text) not in map(normalise, texts)


def test_further_texts_are_grouped_as_if_all_were_sought_together():
    rng = np.random.default_rng(0)
    texts = []
    for _ in range(300):
        words = ["".join(rng.choice(list("abcdefghij"), 6)) for _ in range(14)]
        texts += [" ".join(words), " ".join([*words[:-1], words[-1][:-1]])]
    whole = near_duplicates(texts).groups
    groups, beside = further_groups(near_duplicates(texts[:451]), texts[451:])
    assert groups.tolist() == whole[451:].tolist()
    assert beside.tolist() == [450, *[-1] * 148]


def test_a_further_text_is_like_a_cluster_that_may_not_grow():
    texts = [f"the customer wrote that order {i} has not arrived yet and asks for help with it, please call back soon" for i in range(100)]
    before = near_duplicates(texts[:60], largest_cluster=20)
    groups, beside = further_groups(before, texts[60:])
    assert np.isin(beside, before.groups).all()
    assert np.unique(np.concatenate([before.groups, groups]), return_counts=True)[1].max() == 20


def test_no_texts_and_one_text_have_no_pairs():
    assert near_duplicates([]).pairs.shape == (0, 2)
    assert near_duplicates(["alone here"]).groups.tolist() == [0]
    for further, groups in ([], []), (["", " "], [0, 1]), (["alone here", "", "Alone here"], [0, 1, 0]):
        told, beside = further_groups(near_duplicates([]), further)
        assert (told.tolist(), beside.tolist()) == (groups, [-1] * len(groups))


def test_twenty_thousand_texts_take_seconds_and_little_memory():
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 6)) for _ in range(3000)])
    texts = [" ".join(rng.choice(words, 8)) for _ in range(20_000)]
    tracemalloc.start()
    began = time.perf_counter()
    near_duplicates(texts)
    seconds = time.perf_counter() - began
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 10
    assert peak < 60e6
