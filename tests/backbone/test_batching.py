"""Batches hold every text once, keep to their bound, and waste little."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.backbone import batching
from headstart.backbone.batching import BATCH_OVERHEAD, padding_share, plan_batches

some_lengths = st.lists(st.integers(1, 300), max_size=80)


def padded_tokens(lengths: list[int], batches: list[np.ndarray]) -> int:
    return sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)


def cost(lengths: list[int], batches: list[np.ndarray]) -> int:
    """Padded tokens, and what starting the batches costs."""
    return padded_tokens(lengths, batches) + BATCH_OVERHEAD * len(batches)


def like_texts(n: int, seed: int, median: float = 30.0, spread: float = 0.7) -> list[int]:
    """Lengths as texts have them: many short, a tail of long, cut at 256."""
    return np.clip(np.random.default_rng(seed).lognormal(np.log(median), spread, n), 3, 256).astype(int).tolist()


@settings(deadline=None)
@given(lengths=some_lengths, batch_tokens=st.integers(1, 2000))
def test_every_text_is_in_one_batch(lengths: list[int], batch_tokens: int) -> None:
    batches = plan_batches(lengths, batch_tokens)
    assert sorted(itertools.chain.from_iterable(batch.tolist() for batch in batches)) == list(range(len(lengths)))
    assert all(len(batch) for batch in batches)


@settings(deadline=None)
@given(lengths=some_lengths, batch_tokens=st.integers(1, 2000))
def test_no_batch_of_several_texts_exceeds_its_tokens_with_padding(lengths: list[int], batch_tokens: int) -> None:
    for batch in plan_batches(lengths, batch_tokens):
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= batch_tokens


def test_five_texts_of_forty_tokens_do_not_make_a_batch_of_three_when_a_hundred_fit() -> None:
    # Dividing 200 tokens by 100 says two batches, of which one would hold 120 tokens.
    assert sorted(len(batch) for batch in plan_batches([40] * 5, 100)) == [1, 2, 2]


@settings(deadline=None)
@given(lengths=some_lengths, batch_tokens=st.integers(1, 2000))
def test_the_longest_come_first_so_that_a_lack_of_memory_shows_at_once(lengths: list[int], batch_tokens: int) -> None:
    longest = [max(lengths[i] for i in batch) for batch in plan_batches(lengths, batch_tokens)]
    assert longest == sorted(longest, reverse=True)


@settings(deadline=None, max_examples=60)
@given(lengths=st.lists(st.integers(1, 200), min_size=1, max_size=7, unique=True))
def test_no_other_division_of_distinct_lengths_costs_less(lengths: list[int]) -> None:
    batch_tokens = 10_000  # no bound in reach: only padding against the cost of a batch
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    least = min(
        cost(lengths, [np.array(order[a:b]) for a, b in itertools.pairwise([0, *ends, len(order)])])
        for count in range(len(order))
        for ends in itertools.combinations(range(1, len(order)), count)
    )
    assert cost(lengths, plan_batches(lengths, batch_tokens)) == least


@pytest.mark.parametrize("n", [500, 2048])
@pytest.mark.parametrize("median", [15.0, 30.0, 90.0])
@pytest.mark.parametrize("seed", range(3))
def test_under_five_percent_is_padding_on_lengths_like_those_of_texts(n: int, median: float, seed: int) -> None:
    lengths = like_texts(n, seed, median)
    assert padding_share(lengths, plan_batches(lengths, 4096)) < 0.05


@pytest.mark.parametrize("size", [8, 16, 32, 64])
@pytest.mark.parametrize("seed", range(3))
def test_batches_cost_no_more_than_sorted_ones_of_one_size(size: int, seed: int) -> None:
    lengths = like_texts(700, seed)
    order = np.argsort(-np.array(lengths), kind="stable")
    fixed = [order[i : i + size] for i in range(0, len(order), size)]
    bound = max(max(lengths[i] for i in batch) * len(batch) for batch in fixed)
    assert cost(lengths, plan_batches(lengths, bound)) <= cost(lengths, fixed)


def test_unsorted_batches_of_one_size_hold_far_more_padding() -> None:
    lengths = like_texts(700, 0)
    fixed = [np.arange(i, min(i + 32, 700)) for i in range(0, 700, 32)]
    assert padding_share(lengths, fixed) > 0.4 > 10 * padding_share(lengths, plan_batches(lengths, 4096))


def test_equal_lengths_need_no_padding_and_no_more_batches_than_the_bound_asks() -> None:
    batches = plan_batches([20] * 1000, 4096)
    assert padding_share([20] * 1000, batches) == 0.0
    assert len(batches) == 5  # 204 texts of 20 tokens fit into 4096


def test_one_giant_text_makes_a_batch_of_its_own() -> None:
    assert [batch.tolist() for batch in plan_batches([5_000_000], 4096)] == [[0]]
    batches = plan_batches([10, 5_000_000, 12], 4096)
    assert batches[0].tolist() == [1] and sorted(batches[1].tolist()) == [0, 2] and len(batches) == 2


def test_no_texts_make_no_batches() -> None:
    assert plan_batches([], 4096) == []
    assert padding_share([], []) == 0.0


def test_padding_share_by_hand() -> None:
    assert padding_share([4, 2, 3], [np.array([0, 1]), np.array([2])]) == pytest.approx(1 - 9 / 11)


def test_a_million_texts_are_planned_in_a_few_seconds() -> None:
    lengths = np.clip(np.random.default_rng(0).lognormal(4, 1, 1_000_000), 3, 8192).astype(int)
    batches = plan_batches(lengths, 4096)
    assert sum(map(len, batches)) == 1_000_000


def test_batches_come_in_turn_and_free_memory_goes_back_every_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now: list[float] = [0.0]
    released: list[float] = []
    monkeypatch.setattr(batching.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(batching, "release_free_memory", lambda: released.append(now[0]))
    planned = [np.array([k]) for k in range(8)]
    taken = []
    for batch in batching.in_turn(planned):
        taken.append(batch)
        now[0] += 0.75
    assert all(ours is theirs for ours, theirs in zip(taken, planned, strict=True))
    assert released == [2.25, 4.5]  # after the third and the sixth, for two seconds have passed by then
