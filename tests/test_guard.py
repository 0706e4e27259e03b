from dataclasses import replace

import numpy as np
import pytest

from headstart.guard import rows_help
from headstart.settings import Metric, make_settings
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job


def job_of(n):
    y = np.arange(n) % 2
    rows = Rows(tuple(f"text {i}" for i in range(n)), y, 2)
    return Job(rows=rows, groups=np.arange(n), folds=[], settings=make_settings({"metric": "accuracy"}), seed=0)


def logits_of(y, wrong):
    """Outputs that are wrong on these rows and right on all others."""
    said = np.where(np.isin(np.arange(len(y)), wrong), 1 - y, y)
    return 4.0 * np.eye(2)[said]


@pytest.mark.parametrize(
    ("wrong_without", "wrong_with", "helps"),
    [
        (range(20), range(10), True),  # ten of a hundred won: 0.10, error 0.03
        (range(10), range(10), False),
        (range(10), range(20), False),
        (range(3), range(3, 5), False),  # three won, two lost: 0.01, error 0.02
        (range(30), range(27, 55), False),  # 27 won, 25 lost: 0.02, error 0.07
    ],
)
def test_rows_help_where_they_win_more_than_the_error_of_the_difference(wrong_without, wrong_with, helps):
    job = job_of(100)
    ours, base = (logits_of(job.rows.y, list(wrong)) for wrong in (wrong_with, wrong_without))
    won = (ours.argmax(axis=1) == job.rows.y).astype(float) - (base.argmax(axis=1) == job.rows.y)
    assert rows_help(ours, base, job, Metric.ACCURACY) is helps
    if helps:
        assert won.mean() > won.std() / 10


def test_only_rows_that_both_predicted_count_and_nothing_measured_is_no_help():
    job = job_of(40)
    ours, base = logits_of(job.rows.y, []), logits_of(job.rows.y, list(range(20)))
    assert rows_help(ours, base, job, Metric.ACCURACY)
    ours[:20] = np.nan  # where the base was wrong nothing is known of the other
    assert not rows_help(ours, base, job, Metric.ACCURACY)
    base[20:] = np.nan
    assert not rows_help(ours, base, job, Metric.ACCURACY)
    assert not rows_help(None, base, job, Metric.ACCURACY) and not rows_help(ours, None, job, Metric.ACCURACY)


def test_copies_of_rows_prove_no_more_than_one_of_each():
    """Three of a hundred rows won is no proof, nor where each stands there four times."""
    alone, copied = job_of(100), replace(job_of(400), groups=np.arange(400) // 4)
    lost, won = list(range(30)), list(range(27, 48))  # 27 won, 18 lost: 0.09, error 0.066
    assert rows_help(logits_of(alone.rows.y, won), logits_of(alone.rows.y, lost), alone, Metric.ACCURACY)
    fewer = list(range(27, 52))  # 27 won, 22 lost: 0.05, error 0.07
    assert not rows_help(logits_of(alone.rows.y, fewer), logits_of(alone.rows.y, lost), alone, Metric.ACCURACY)
    y = copied.rows.y
    four = [[4 * i + k for i in rows for k in range(4)] for rows in (fewer, lost)]
    assert not rows_help(logits_of(y, four[0]), logits_of(y, four[1]), copied, Metric.ACCURACY)
    assert rows_help(logits_of(y, four[0]), logits_of(y, four[1]), replace(copied, groups=np.arange(400)), Metric.ACCURACY)
