import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data import split
from headstart.errors import DataError


@st.composite
def labelled_groups(draw):
    n = draw(st.integers(2, 60))
    y = draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
    groups = draw(st.lists(st.integers(0, draw(st.integers(1, 80))), min_size=n, max_size=n))
    return np.array(y), np.array(groups)


def separable(y, groups):
    """Whether some group can be held out without taking a class away."""
    return any(set(y[groups == g]) <= set(y[groups != g]) for g in set(groups))


@settings(max_examples=200, deadline=None)
@given(labelled_groups(), st.integers(2, 6), st.integers(0, 3), st.integers(0, 2))
def test_folds_part_the_rows_keep_groups_whole_and_leave_every_class_a_training_row(data, k, seed, repeat):
    y, groups = data
    try:
        pairs = split.folds(y, groups, k, seed, repeat)
    except DataError:
        # Refused only where holding any single group would take a class from training, or the classes hang together by shared groups.
        assert not separable(y, groups) or len(set(groups)) <= 2 or any(len(set(y[groups == g])) > 1 for g in set(groups))
        return
    held_count = np.zeros(len(y), dtype=int)
    for train, held in pairs:
        assert sorted([*train, *held]) == list(range(len(y)))
        assert not set(groups[train]) & set(groups[held])
        assert set(y[train]) == set(y)
        held_count[held] += 1
    assert held_count.max() <= 1


@settings(max_examples=200, deadline=None)
@given(labelled_groups(), st.floats(0.05, 0.5), st.integers(0, 3))
def test_the_test_split_parts_the_rows_and_keeps_groups_whole(data, share, seed):
    y, groups = data
    try:
        train, test = split.test_split(y, groups, share, seed)
    except DataError:
        return
    assert sorted([*train, *test]) == list(range(len(y)))
    assert not set(groups[train]) & set(groups[test])
    assert set(y[train]) == set(y)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=4, max_size=300), st.integers(2, 8), st.integers(0, 5))
def test_without_groups_each_fold_holds_its_share_of_each_class_to_within_one_row(labels, k, seed):
    y = np.array(labels)
    counts = np.bincount(y)
    if counts.max() < 2:
        return
    pairs = split.folds(y, np.arange(len(y)), k, seed)
    if len(pairs) < k:
        return
    for c in np.flatnonzero(counts > 1):
        in_folds = [int((y[held] == c).sum()) for _, held in pairs]
        assert max(in_folds) - min(in_folds) <= 1
        assert sum(in_folds) == counts[c]
    sizes = [len(held) for _, held in pairs]
    assert max(sizes) - min(sizes) <= 1 + len(counts) / 2


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=20, max_size=300), st.sampled_from([0.1, 0.2, 0.3, 0.5]), st.integers(0, 5))
def test_without_groups_the_test_split_has_its_share_of_each_class_to_within_one_row(labels, share, seed):
    y = np.array(labels)
    _, test = split.test_split(y, np.arange(len(y)), share, seed)
    for c in range(7):
        assert abs((y[test] == c).sum() - share * (y == c).sum()) <= 1


def test_many_small_classes_do_not_round_the_test_share_away():
    y = np.repeat(np.arange(77), 3)  # each class would round 0.6 rows up to one
    _, test = split.test_split(y, np.arange(len(y)), 0.2, seed=0)
    assert len(test) == pytest.approx(0.2 * len(y), abs=1)


def test_the_same_seed_gives_the_same_folds_and_another_seed_others():
    y = np.arange(100) % 4
    groups = np.arange(100)
    first, again, other = (split.folds(y, groups, 5, seed) for seed in (7, 7, 8))
    assert all((a[1] == b[1]).all() for a, b in zip(first, again, strict=True))
    assert any((a[1] != b[1]).any() for a, b in zip(first, other, strict=True))


def test_another_seed_sets_other_rows_aside_and_draws_others_of_a_class():
    y, each = np.arange(200) % 4, np.arange(200)
    first, again, other = (split.test_split(y, each, 0.2, seed)[1].tolist() for seed in (7, 7, 8))
    assert first == again != other
    first, again, other = (split.some_of_each(y, 40, 5, seed).tolist() for seed in (7, 7, 8))
    assert first == again != other and max(first) > 100
    first, again, other = ([held.tolist() for _, held in split.few_folds(y, each, seed)] for seed in (7, 7, 8))
    assert first == again != other


def test_repeats_deal_the_rows_out_anew():
    first, again, other = (split.folds(np.arange(60) % 3, np.arange(60), 3, 0, repeat)[0][1].tolist() for repeat in (0, 0, 1))
    assert first == again != other


def test_the_only_row_of_a_class_is_never_held():
    y = np.array([0] * 10 + [1] * 10 + [2])
    for train, held in split.folds(y, np.arange(21), 5, seed=1):
        assert 20 in train
        assert 20 not in held
    assert 20 in split.test_split(y, np.arange(21), 0.3, seed=1)[0]


def test_a_class_that_stands_in_one_group_of_twins_is_never_held():
    y = np.array([0] * 10 + [1, 1, 1])
    groups = np.array([*range(10), 50, 50, 50])
    for train, _ in split.folds(y, groups, 5, seed=1):
        assert {10, 11, 12} <= set(map(int, train))


def test_groups_of_pairs_are_spread_evenly_over_folds():
    y = np.repeat(np.arange(4), 50)
    groups = np.arange(200) // 2
    for _, held in split.folds(y, groups, 5, seed=0):
        assert list(np.bincount(y[held])) == [10, 10, 10, 10]


def test_single_rows_make_up_for_a_large_group_that_fell_on_one_side():
    y = np.concatenate([np.arange(60) % 2, np.arange(80) % 2])
    groups = np.concatenate([np.zeros(60, dtype=np.int64), 1 + np.arange(80)])  # 30 rows of each class hang together
    _, test = split.test_split(y, groups, 0.2, seed=0)
    assert np.bincount(y[test]).tolist() == [14, 14]


def test_rows_of_which_none_can_be_held_are_refused_for_folds():
    with pytest.raises(DataError) as error:
        split.folds(np.arange(5), np.arange(5), 2, seed=0)
    assert str(error.value) == "The 5 rows are too few for folds: no class has two separate rows; add rows."


def test_rows_that_stand_together_are_told_where_they_leave_too_few():
    y, groups, why = (
        np.zeros(20, dtype=np.int64),
        np.zeros(20, dtype=np.int64),
        "rows that are nearly the same, or about one context, are not",
    )
    with pytest.raises(DataError) as error:
        split.folds(y, groups, 5, seed=0)
    assert str(error.value) == f"The 20 rows are too few for folds: no class has two separate rows ({why}); add rows."
    with pytest.raises(DataError) as error:
        split.test_split(y, groups, 0.2, seed=0)
    assert str(error.value) == f"The 20 rows are too few to set some aside for a test ({why}); add rows, or give a test file with --test."


def test_rows_of_which_none_can_be_set_aside_are_refused_for_a_test_split():
    with pytest.raises(DataError) as error:
        split.test_split(np.arange(5), np.arange(5), 0.2, seed=0)
    assert str(error.value) == "The 5 rows are too few to set some aside for a test; add rows, or give a test file with --test."


def test_the_rows_themselves_are_not_changed():
    y, groups = np.array([3, 3, 9, 9, 3, 9]), np.array([5, 5, 6, 7, 8, 9])
    split.folds(y, groups, 2, seed=0)
    assert list(y) == [3, 3, 9, 9, 3, 9]
    assert list(groups) == [5, 5, 6, 7, 8, 9]


def test_a_hundred_thousand_rows_with_twins_are_split_quickly():
    rng = np.random.default_rng(0)
    y, groups = rng.integers(0, 50, 100_000), rng.integers(0, 95_000, 100_000)
    groups[:80_000] = np.arange(80_000) + 100_000
    began = time.perf_counter()
    split.folds(y, groups, 5, seed=0)
    assert time.perf_counter() - began < 5


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=300), st.integers(1, 400), st.integers(1, 20), st.integers(0, 3))
def test_some_of_each_class_are_as_many_as_asked_in_the_classes_own_shares(labels, n, least, seed):
    y = np.array(labels)
    some = split.some_of_each(y, n, least, seed)
    assert np.array_equal(some, np.unique(some)) and np.array_equal(some, split.some_of_each(y, n, least, seed))
    counts, kept = np.bincount(y), np.bincount(y[some], minlength=y.max() + 1)
    floor = np.minimum(counts, least)
    assert (kept >= floor).all() and (kept <= counts).all()
    wanted = max(n, floor.sum())
    assert min(wanted, len(y)) - (counts > floor).sum() <= len(some) <= min(wanted, len(y))
    beyond = counts > floor
    shares = (kept - floor)[beyond] / (counts - floor)[beyond]
    assert np.ptp(shares) <= (1 / (counts - floor)[beyond]).max() if beyond.any() else True


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(0, 50))
def test_rows_across_groups_come_from_each_group_in_turn(given_groups, n):
    groups = np.array(given_groups, dtype=np.int64)
    some = split.across_groups(groups, n)
    assert np.array_equal(some, np.unique(some)) and len(some) == min(n, len(groups))
    left = np.setdiff1d(np.arange(len(groups)), some)
    taken = {group: int((groups[some] == group).sum()) for group in set(given_groups)}
    for group in set(groups[left].tolist()):  # who still has rows gave no fewer than any other but one
        assert taken[group] >= max(taken.values()) - 1
        assert max(some[groups[some] == group], default=-1) < min(left[groups[left] == group])
