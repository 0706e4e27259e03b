"""Scores of texts that are gone on from, and of answers that are written."""

import numpy as np
import pytest

from headstart.records import Verdict
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows
from headstart.strategies.language import BYTES, EXACT, NATS, ROUGE, TOKENS, WRITTEN
from headstart.tasks.writing_judge import WritingJudge
from small import widths

JUDGE = WritingJudge()


def drawn(n):
    """Outputs (n, 6) as they can be: three of four rows have an answer that was written."""
    rng = np.random.default_rng(3)
    outputs = np.zeros((n, 6))
    outputs[:, BYTES] = rng.integers(10, 40, n)
    outputs[:, TOKENS] = outputs[:, BYTES] // 3
    outputs[:, NATS] = outputs[:, BYTES] * rng.uniform(0.5, 1.5, n)
    outputs[:, WRITTEN] = np.arange(n) % 4 > 0
    outputs[:, ROUGE] = rng.random(n) * outputs[:, WRITTEN]
    outputs[:, EXACT] = (rng.random(n) < 0.4) * outputs[:, WRITTEN]
    return outputs, Rows(("t",) * n, np.full(n, "x", dtype=object), 1, kinds=np.zeros(n, dtype=np.int64))


def test_copies_of_rows_in_groups_do_not_narrow_the_intervals():
    found = widths(JUDGE, *drawn(120))
    for name in ("bits_per_byte", "perplexity", "exact_match"):
        once, copied, naive = found[name]
        assert copied == pytest.approx(once, rel=0.15) and naive < 0.65 * once, name


def test_of_bits_fewer_are_better_for_the_planner_and_for_the_gain():
    outputs, rows = drawn(60)
    better = outputs.copy()
    better[:, NATS] *= 0.5
    apart = JUDGE.score(Metric.BITS_PER_BYTE, outputs, rows) - JUDGE.score(Metric.BITS_PER_BYTE, better, rows)
    assert apart > 0.3
    assert JUDGE.contrast(Metric.BITS_PER_BYTE, better, outputs, rows).difference == pytest.approx(apart)
    gain = JUDGE.gain((better, outputs), ("a", "b"), Metric.BITS_PER_BYTE, rows, None, None, Settings(resamples=200))
    assert gain.value == pytest.approx(apart) and gain.verdict is Verdict.HELPS
