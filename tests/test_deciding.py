"""What becomes of a rung that was decided on: trained on all its rows, and calibrated."""

from types import SimpleNamespace

import numpy as np
import pytest

from headstart import deciding
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


def test_judged_anew_where_more_is_known_of_how_to_calibrate_a_rung():
    """The journal's line of a judged rung says how it was calibrated: with a longer budget there may be more folds."""
    y = np.arange(40) % 4
    job = Job(Rows(("x",) * 40, y, 4), np.arange(40), [], Settings(metric=Metric.ACCURACY), 0)
    rung = Rung(Strategy("partial", True, True, "", lambda job: Fitted(), None, lambda job: 0), "mine", job, 20.0)
    known = 3.0 * np.eye(4)[y] + np.random.default_rng(0).normal(size=(40, 4))
    keys = []

    class Journal:
        def remember(self, key, work, spent=0.0):
            keys.append(key)
            return {"logits": known}

    target = SimpleNamespace(test=job.rows, rows=job.rows)
    part = SimpleNamespace(name="test file", judge=None, learn=np.arange(40))
    for out_of_fold in ({}, {rung.name: known}, {rung.name: known}):
        made = SimpleNamespace(transfer=rung, plain=None, via=None, direct=None, winner=rung, beside=(), warmer={}, out_of_fold=out_of_fold)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(deciding, "decide_on", lambda *_, decision=made, **__: decision)
            deciding.judge_part(part, target, job.settings, Journal(), None, [], 1.0)
    assert all(key.startswith("test file/judged partial from mine") for key in keys)
    assert keys[0] != keys[1] and keys[1] == keys[2]
