"""What becomes of a rung that was decided on: trained on all its rows, and calibrated."""

from types import SimpleNamespace

import numpy as np
import pytest

from headstart import deciding
from headstart.cost import CostModel
from headstart.deciding import calibrating, train_plain, train_winner
from headstart.judge.calibration import fit_temperature
from headstart.rungs import Rung, trial_seconds
from headstart.runs import RunFolder
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job, Strategy

Y = np.arange(40) % 4
LOGITS = 3.0 * np.eye(4)[Y] + np.random.default_rng(0).normal(size=(40, 4))
FOLDS = [(np.arange(8, 40), np.arange(8)), (np.arange(32), np.arange(32, 40))]


class Fitted:
    """A model of texts that are row numbers; it tells how it was calibrated."""

    def __init__(self, factor=1.0, shift=0.0):
        self.factor, self.shift = factor, shift

    def scaled(self, factor, shift):
        return Fitted(self.factor * factor, self.shift * factor + shift)

    def predict_logits(self, texts):
        return LOGITS[[int(text) for text in texts]] * self.factor + self.shift


def made(folds=(), trained=None):
    """A rung that trains in no time; `trained` notes how many rows each training learns from."""
    rows = Rows(tuple(map(str, range(40))), Y, 4)
    job = Job(rows, np.arange(40), list(folds), Settings(metric=Metric.ACCURACY), 0)

    def fit(job):
        if trained is not None:
            trained.append(len(job.rows))
        return Fitted()

    return Rung(Strategy("partial", True, True, "", fit, None, lambda job: 0), "mine", job, 20.0)


def decided(rung, *, out_of_fold=None, warmer=None, winner=True):
    known = {} if out_of_fold is None else {rung.name: out_of_fold}
    other = {"transfer": rung, "plain": None, "via": None, "direct": None, "beside": ()}
    return SimpleNamespace(warmer=warmer or {}, out_of_fold=known, winner=rung if winner else None, **other)


def test_a_rung_is_calibrated_by_its_own_folds_else_as_warm_as_others_that_tune_its_source(tmp_path):
    rung = made()
    calibrate = calibrating(RunFolder.open(tmp_path / "run", {}), "all rows", 100.0, CostModel(1e11, 1e11))

    def factor(warmer, out_of_fold):
        decision = decided(rung, out_of_fold=out_of_fold, warmer=warmer)
        found = train_winner(decision, calibrate)
        decision.plain = rung
        assert train_plain(decision).factor == found.factor and found.shift == 0.0
        return found.factor

    usual = factor({}, None)
    assert factor({"mine": 2.0, "other": 5.0}, None) == pytest.approx(usual / 2)
    measured = factor({"mine": 2.0}, LOGITS)
    assert measured == pytest.approx(1.0 / fit_temperature(LOGITS, Y, 1.0 / usual)) and measured != pytest.approx(usual, rel=0.05)


@pytest.mark.parametrize("times", [1.01, 0.99])
def test_a_winner_that_was_never_tried_is_calibrated_by_a_fold_where_that_is_cheap(tmp_path, times, capsys):
    trained, cost = [], CostModel(1e11, 1e11)
    rung = made(FOLDS, trained)
    needed = trial_seconds(rung, cost, 32 / 40)
    calibrate = calibrating(RunFolder.open(tmp_path / "run", {}), "all rows", times * needed / deciding._CALIBRATING, cost)
    usual = train_plain(SimpleNamespace(plain=rung, out_of_fold={}, warmer={})).factor
    trained.clear()
    found = train_winner(decided(rung), calibrate).factor
    if times < 1:
        assert trained == [40] and found == usual
        return
    assert trained == [40, 32]  # the winner first
    assert found == pytest.approx(1.0 / fit_temperature(LOGITS[:8], Y[:8], 1.0 / usual)) and found != pytest.approx(usual, rel=0.05)
    assert "  calibrating partial from mine, fold 1 of 2 (about " in capsys.readouterr().err
    assert calibrate(rung, decided(rung)).factor == found and trained == [40, 32]  # the journal has it
    run = RunFolder.open(tmp_path / "late", {})
    late = calibrating(run, "all rows", times * needed / deciding._CALIBRATING, CostModel(1e11, 1e11))
    run.clock += times * needed / deciding._CALIBRATING - 0.5 * needed  # no time is left for it
    assert late(rung, decided(rung)).factor == usual and trained == [40, 32]
    assert calibrate(rung, decided(rung, winner=False)).factor == usual  # what is only compared is not worth it


def test_a_fold_that_cannot_be_trained_leaves_the_table_to_calibrate(tmp_path):
    def fail(job):
        raise RuntimeError("It never settled.")

    rung = made(FOLDS)
    usual = train_plain(SimpleNamespace(plain=rung, out_of_fold={}, warmer={})).factor
    failing = Rung(Strategy("partial", True, True, "", fail, None, lambda job: 0), "mine", rung.job, 20.0)
    calibrate = calibrating(RunFolder.open(tmp_path / "run", {}), "all rows", 1e9, CostModel(1e11, 1e11))
    assert calibrate(failing, decided(failing)).factor == usual


def test_what_a_rung_says_of_judged_rows_is_kept_as_it_is_and_moved_by_what_is_known_of_it(tmp_path, monkeypatch):
    """With a longer budget a run that goes on may know more folds; the rung is not trained anew for that."""
    trained = []
    rung = made(trained=trained)
    target = SimpleNamespace(test=rung.job.rows, rows=rung.job.rows)
    part = SimpleNamespace(name="test file", judge=None, learn=np.arange(40))
    means = SimpleNamespace(cost=CostModel(1e11, 1e11))
    factors = []
    for out_of_fold in (None, LOGITS, LOGITS):
        monkeypatch.setattr(deciding, "decide_on", lambda *_, known=out_of_fold, **__: decided(rung, out_of_fold=known))
        run = RunFolder.open(tmp_path / "run", {})
        judged = deciding.judge_part(part, target, rung.job.settings, run, means, [], 1.0)
        factors.append(float(judged.winner[0, 0] / LOGITS[0, 0]))
        np.testing.assert_allclose(judged.winner, LOGITS * factors[-1])
        assert judged.fitted is None or judged.fitted.factor == pytest.approx(factors[-1])
    assert trained == [40] and factors[0] != pytest.approx(factors[1], rel=0.05) and factors[1] == factors[2]
