from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="session")
def draw():
    """draw(rng, n, c, signals, prior, shared): y and one array of probabilities per signal, with part of the noise in common."""

    def make(rng, n, c, signals, prior=None, shared=0.5):
        y = rng.choice(c, size=n, p=prior)
        common = rng.normal(size=(n, c))
        out = []
        for signal in signals:
            logits = 1.5 * (np.sqrt(shared) * common + np.sqrt(1 - shared) * rng.normal(size=(n, c)))
            logits[np.arange(n), y] += signal
            p = np.exp(logits - logits.max(axis=1, keepdims=True))
            out.append(p / p.sum(axis=1, keepdims=True))
        return y, out

    return make
