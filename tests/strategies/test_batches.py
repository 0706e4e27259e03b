"""Batches above the cut: what they hold, how alike their lengths are, and what of them stays in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.backbone.backbone import Backbone
from headstart.backbone.reading import Reader, tokenize
from headstart.backbone.store import Store
from headstart.strategies import batches
from headstart.strategies.base import Rows
from headstart.strategies.batches import GroupedBatches, entering_of
from tiny import HIDDEN

Tiny = Callable[..., Backbone]


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 200), batch_size=st.integers(2, 40), seed=st.integers(0, 99))
def test_each_pass_holds_every_row_once_in_as_many_batches_as_promised(n: int, batch_size: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(1, 60, n)
    batches = GroupedBatches(lengths, np.zeros(n, dtype=np.int64), batch_size, seed, balanced=False)
    for _ in range(2):
        one = list(batches)
        assert len(one) == len(batches) and max(map(len, one)) <= batch_size
        assert sorted(i for batch in one for i in batch) == list(range(n))


def test_passes_differ_and_the_seed_alone_decides_them() -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 200)
    y = np.arange(200) % 4
    for balanced in (False, True):
        first, second = (GroupedBatches(lengths, y, 16, 7, balanced) for _ in range(2))
        passes = [list(first), list(first)]
        assert passes[0] != passes[1] and passes == [list(second), list(second)]
        assert list(GroupedBatches(lengths, y, 16, 8, balanced)) != passes[0]


def test_rows_of_a_batch_are_of_like_length() -> None:
    lengths = np.random.default_rng(0).permutation(np.arange(1, 257))
    spans = [np.ptp(lengths[batch]) for batch in GroupedBatches(lengths, np.zeros(256, dtype=np.int64), 16, 0, balanced=False)]
    assert max(spans) == 15  # 256 different lengths in one pool of 16 batches


@settings(deadline=None, max_examples=50)
@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=12), batch_size=st.integers(4, 40), seed=st.integers(0, 99))
def test_balanced_batches_hold_at_least_two_rows_of_a_class_that_has_them_and_none_twice(
    counts: list[int], batch_size: int, seed: int
) -> None:
    y = np.repeat(np.arange(len(counts)), counts)
    batches = GroupedBatches(np.ones(len(y), dtype=np.int64), y, batch_size, seed, balanced=True)
    for batch in batches:
        assert len(set(batch)) == len(batch) <= batch_size
        held = Counter(y[batch].tolist())
        assert len(held) >= min(2, len(counts))
        assert all(number >= min(2, counts[k]) for k, number in held.items())


def test_balanced_batches_hold_rare_classes_as_often_as_common_ones() -> None:
    y = np.repeat([0, 1, 2, 3], [160, 20, 12, 8])
    seen = Counter()
    rows = Counter()
    batches = GroupedBatches(np.ones(200, dtype=np.int64), y, 16, 0, balanced=True)
    for _ in range(5):
        for batch in batches:
            seen.update(y[batch].tolist())
            rows.update(batch)
    assert max(seen.values()) <= 1.01 * min(seen.values())
    for k in range(1, 4):  # within a class all rows come about equally often
        often = [rows[i] for i in np.flatnonzero(y == k)]
        assert max(often) <= 2 * min(often)


@pytest.mark.parametrize("counts", [(31, 31), (19, 19, 19), (11,) * 5, (3,) * 17])
def test_balanced_batches_leave_out_no_row_for_its_length(counts: tuple[int, ...]) -> None:
    y = np.repeat(np.arange(len(counts)), counts)
    lengths = np.random.default_rng(0).permutation(len(y)) + 1
    batches = GroupedBatches(lengths, y, 32, 0, balanced=True)
    seen = Counter(i for _ in range(100) for batch in batches for i in batch)
    assert len(seen) == len(y) and max(seen.values()) < 1.5 * min(seen.values())


def test_with_more_classes_than_a_batch_holds_they_come_in_turn() -> None:
    y = np.arange(300) % 60
    seen: Counter[int] = Counter()
    batches = GroupedBatches(np.ones(300, dtype=np.int64), y, 16, 0, balanced=True)
    for _ in range(20):
        for batch in batches:
            assert set(Counter(y[batch].tolist()).values()) == {2}
            seen.update(y[batch].tolist())
    assert len(seen) == 60 and max(seen.values()) <= 1.25 * min(seen.values())


def test_balanced_batches_too_are_of_like_length() -> None:
    rng = np.random.default_rng(0)
    lengths, y = rng.integers(4, 200, 2000), rng.integers(4, size=2000)
    spans = [np.ptp(lengths[batch]) for batch in GroupedBatches(lengths, y, 32, 0, balanced=True)]
    drawn = [np.ptp(rng.choice(lengths, 32)) for _ in spans]
    assert np.mean(spans) < 0.5 * np.mean(drawn)


# --- what enters ---


TEXTS = ["my lost card", "refund", "the car is late", "", "a", "refund"]


@pytest.mark.parametrize("cut", [0, 2])
@pytest.mark.parametrize("room", [0, 2000, 2**20])
def test_rows_enter_as_they_are_read_however_few_stay_in_memory(cut: int, room: int, tiny_backbone: Tiny, monkeypatch, tmp_path) -> None:
    backbone = tiny_backbone("bert")
    monkeypatch.setattr(batches, "HELD_BYTES", room)
    wanted = Reader(backbone, None, 4096).activations(TEXTS, 2) if cut else tokenize(backbone, TEXTS)
    with Store(tmp_path, 2**24) as store:
        reader = Reader(backbone, store, 4096)
        rows = entering_of(reader, Rows(tuple(TEXTS), np.arange(6), 6), cut)
        assert rows.lengths.tolist() == [len(ids) for ids in tokenize(backbone, TEXTS)]
        for _ in range(2):
            items = rows.__getitems__([3, 0, 5, 5])
            assert [item["label"] for item in items] == [3, 0, 5, 5]
            for item, i in zip(items, (3, 0, 5, 5), strict=True):
                np.testing.assert_allclose(item["row"], wanted[i], atol=1e-5)
        assert sum(row.nbytes for row in rows._held.values()) <= room
        assert reader.read == (3 if cut else 0)  # each once, the second time from the store or from memory
        assert rows[1]["row"].shape == ((len(wanted[1]), HIDDEN) if cut else (len(wanted[1]),))


@pytest.mark.parametrize("cut", [0, 2])
def test_rows_of_tokens_enter_with_a_label_for_each_of_them(cut: int, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone("bert")
    sizes = np.array([len(ids) for ids in tokenize(backbone, TEXTS)])
    labels = np.arange(sizes.sum())
    rows = entering_of(Reader(backbone, None, 4096), Rows(tuple(TEXTS), labels, 99, sizes, np.arange(6)), cut)
    ends = np.cumsum(sizes)
    assert len(rows) == 6 and len(set(sizes)) > 2
    for item, i in zip(rows.__getitems__([5, 0, 3]), (5, 0, 3), strict=True):
        assert len(item["row"]) == sizes[i]
        assert item["label"].tolist() == labels[ends[i] - sizes[i] : ends[i]].tolist()
