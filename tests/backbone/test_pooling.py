"""Pooling against loops over numpy arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.backbone.pooling import pool
from headstart.sources.source import Pooling


def by_hand(row: np.ndarray, pooling: Pooling) -> np.ndarray:
    """One text's real tokens (t, d) to one vector (d,)."""
    match pooling:
        case Pooling.MEAN:
            return row.sum(axis=0) / len(row)
        case Pooling.CLS:
            return row[0]
        case Pooling.LAST:
            return row[len(row) - 1]
        case Pooling.MAX:
            return np.array([max(column) for column in row.T])


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    further=st.integers(0, 3),
    pooling=st.sampled_from(Pooling),
    seed=st.integers(0, 1000),
)
def test_padded_rows_pool_to_what_each_row_gives_alone(lengths: list[int], further: int, pooling: Pooling, seed: int) -> None:
    longest = max(lengths) + further
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(len(lengths), longest, 5)).astype(np.float32) - 3.0  # all below 0: padding by zeros would win a maximum
    mask = (np.arange(longest)[None] < np.array(lengths)[:, None]).astype(np.int64)
    hidden[mask == 0] = 1e6  # what stands in the padding must not count
    pooled = pool(torch.from_numpy(hidden), torch.from_numpy(mask), pooling).numpy()
    for row, length, vector in zip(hidden, lengths, pooled, strict=True):
        assert vector == pytest.approx(by_hand(row[:length], pooling), rel=1e-5)


@pytest.mark.parametrize("pooling", Pooling)
def test_no_mask_means_that_every_token_counts(pooling: Pooling) -> None:
    hidden = np.random.default_rng(0).normal(size=(3, 7, 4)).astype(np.float32)
    pooled = pool(torch.from_numpy(hidden), None, pooling).numpy()
    assert pooled.shape == (3, 4)
    for row, vector in zip(hidden, pooled, strict=True):
        assert vector == pytest.approx(by_hand(row, pooling), rel=1e-5)


@pytest.mark.parametrize("pooling", Pooling)
def test_what_padding_holds_gets_no_gradient(pooling: Pooling) -> None:
    hidden = torch.randn(2, 4, 3, requires_grad=True)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    pool(hidden, mask, pooling).sum().backward()
    assert hidden.grad is not None
    assert torch.isfinite(hidden.grad).all() and (hidden.grad[0, 2:] == 0).all() and (hidden.grad[0, :2] != 0).any()
