"""What becomes of a rung that was decided on: trained on all its rows, and calibrated."""

from types import SimpleNamespace

import numpy as np
import pytest

from headstart.deciding import calibrated
from headstart.judge.calibration import fit_temperature
from headstart.rungs import Rung
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job, Strategy


class Fitted:
    """A model that tells how it was calibrated."""

    def scaled(self, factor, shift):
        return factor, shift


def test_a_rung_is_calibrated_by_its_own_folds_else_as_warm_as_others_that_tune_its_source():
    y = np.arange(40) % 4
    job = Job(Rows(("x",) * 40, y, 4), np.arange(40), [], Settings(metric=Metric.ACCURACY), 0)
    rung = Rung(Strategy("partial", True, True, "", lambda job: Fitted(), None, lambda job: 0), "mine", job, 20.0)
    logits = 3.0 * np.eye(4)[y] + np.random.default_rng(0).normal(size=(40, 4))

    def factor(warmer, out_of_fold):
        found, shift = calibrated(rung, SimpleNamespace(warmer=warmer, out_of_fold=out_of_fold))
        assert shift == 0.0
        return found

    usual = factor({}, {})
    assert factor({"mine": 2.0, "other": 5.0}, {}) == pytest.approx(usual / 2)
    measured = factor({"mine": 2.0}, {rung.name: logits})
    assert measured == pytest.approx(1.0 / fit_temperature(logits, y, 1.0 / usual)) and measured != pytest.approx(usual, rel=0.05)
