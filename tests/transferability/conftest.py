from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def labelled():
    """labelled(n, d, c, seed, apart): float32 features and y; class means spread by `apart` standard deviations; no class is empty.

    Columns have spreads from 3 to 0.3 about means up to 4, as those of a network might.
    """

    def make(n, d, c, seed=0, apart=1.0):
        rng = np.random.default_rng(seed)
        y = rng.permutation(np.concatenate([np.arange(c), rng.integers(0, c, n - c)]))
        x = rng.normal(size=(n, d)) + apart * rng.normal(size=(c, d))[y]
        return (x * np.geomspace(3, 0.3, d) + rng.uniform(-4, 4, d)).astype(np.float32), y

    return make


@pytest.fixture(scope="session")
def rotation():
    """rotation(d, seed): a random orthogonal matrix (d, d)."""
    return lambda d, seed: np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
