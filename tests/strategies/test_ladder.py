"""Every rung of the ladder keeps one contract, and other packages can add theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.backbone.reading import Reader
from headstart.backbone.store import Store
from headstart.errors import SettingsError
from headstart.settings import Precision, Settings
from headstart.strategies import heads, ladder, probe, schedule, tfidf
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job, Strategy, get_strategy, known_strategies
from tiny import WORDS

NAMES = ("tfidf", "static", "probe", "contrastive", "partial", "lora", "gradual", "full", "soup", "scratch")
CLASSES = 3
CHEAP = Settings(epochs=1, batch_size=8, precision=Precision.FLOAT32)
NEW = ["my card is lost", "happy film", "", "refund " * 50, "ünïcode 🚚"]


@pytest.fixture
def job(tiny_backbone: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    """24 rows of 3 classes, each with words of its own, in 3 folds that leave the last three rows out; no contrastive run is long."""
    monkeypatch.setattr(schedule, "FEWEST_CONTRASTIVE_STEPS", 3)
    rng = np.random.default_rng(0)
    y = np.arange(24) % CLASSES
    texts = tuple(" ".join(rng.choice(WORDS[20 * k : 20 * k + 20], 6)) for k in y)
    held = np.arange(21).reshape(3, 7)
    folds = [(np.setdiff1d(np.arange(24), rows), rows) for rows in held]
    with Store(tmp_path / "store", 2**24) as store:
        yield Job(Rows(texts, y, CLASSES), np.arange(24), folds, CHEAP, seed=0, reader=Reader(tiny_backbone("bert"), store, 4096), cut=2)


def test_the_ladder_goes_from_cheap_to_dear() -> None:
    assert tuple(known_strategies()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_rung_keeps_the_contract(name: str, job: Job) -> None:
    strategy = get_strategy(name)
    assert strategy.name == name and strategy.summary and strategy.summary == strategy.summary.strip(" .")
    assert strategy.transfers == (name not in ("tfidf", "scratch")) and strategy.needs_source == (name != "tfidf")
    given = job if strategy.needs_source else replace(job, reader=None)
    fitted = strategy.fit(given)
    logits = fitted.predict_logits(NEW)
    assert logits.shape == (len(NEW), CLASSES) and logits.dtype == np.float64 and np.isfinite(logits).all()
    np.testing.assert_array_equal(fitted.predict_logits(NEW), logits)
    np.testing.assert_allclose(fitted.predict_logits(NEW[::-1])[::-1], logits, rtol=1e-3, atol=1e-5)
    assert fitted.predict_logits([]).shape == (0, CLASSES)
    scaled = fitted.scaled(0.25).predict_logits(NEW)
    np.testing.assert_allclose(scaled, 0.25 * logits, rtol=1e-6, atol=1e-9)
    assert (scaled.argmax(axis=1) == logits.argmax(axis=1)).all()
    np.testing.assert_array_equal(fitted.predict_logits(NEW), logits)  # scaling made another model
    np.testing.assert_allclose(strategy.fit(given).predict_logits(NEW), logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["tfidf", "static", "probe"])
def test_logits_out_of_fold_are_there_for_held_rows_alone_and_come_with_the_model_of_all_rows(name: str, job: Job) -> None:
    strategy = get_strategy(name)
    assert strategy.out_of_fold is not None
    fitted, logits = strategy.out_of_fold(job)
    assert logits.shape == (24, CLASSES)
    assert np.isfinite(logits[:21]).all() and np.isnan(logits[21:]).all()
    np.testing.assert_allclose(fitted.predict_logits(NEW), strategy.fit(job).predict_logits(NEW), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["tfidf", "static", "probe"])
def test_names_are_rows_that_no_fold_holds_out(name: str, job: Job) -> None:
    out_of_fold = get_strategy(name).out_of_fold
    assert out_of_fold is not None
    names = tuple(WORDS[:CLASSES])
    fitted, logits = out_of_fold(replace(job, rows=replace(job.rows, names=names)))
    rows = Rows((*job.rows.texts, *names), np.append(job.rows.y, np.arange(CLASSES)), CLASSES)
    folds = [(np.append(train, [24, 25, 26]), held) for train, held in job.folds]
    by_hand, seen = out_of_fold(replace(job, rows=rows, groups=np.arange(27), folds=folds))
    np.testing.assert_array_equal(logits, seen[:24])
    np.testing.assert_array_equal(fitted.predict_logits(NEW), by_hand.predict_logits(NEW))
    assert not np.allclose(logits[:21], out_of_fold(job)[1][:21])


@pytest.mark.parametrize("name", ["tfidf", "tfidf of many rows", "static", "probe"])
def test_labels_of_held_out_rows_have_no_say_in_what_is_said_of_them(name: str, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for the penalty and the layers, which are chosen by them and here are the usual ones."""
    monkeypatch.setattr(heads, "log_loss", lambda *_: 0.0)
    monkeypatch.setattr(probe, "PROMISING", 0.0)
    if name == "tfidf of many rows":
        monkeypatch.setattr(tfidf, "DENSE_UP_TO", 12)
    out_of_fold = get_strategy(name.split()[0]).out_of_fold
    assert out_of_fold is not None
    held, others, said = job.folds[0][1], job.folds[1][1], []
    for turn in range(2):
        y = job.rows.y.copy()
        y[held] = (y[held] + turn) % CLASSES
        said.append(out_of_fold(replace(job, rows=replace(job.rows, y=y)))[1])
    # The words of each class are its own, so a model that never saw these rows still knows more than chance.
    assert (said[0][held].argmax(axis=1) == job.rows.y[held]).mean() > 0.5
    np.testing.assert_array_equal(said[0][held], said[1][held])
    assert not np.allclose(said[0][others], said[1][others])


@pytest.mark.parametrize(
    ("name", "lowest"),
    [("tfidf", None), ("static", None), ("probe", None), ("contrastive", 2), ("partial", 2), ("full", 0), ("soup", 0), ("scratch", 0)],
)
def test_each_rung_says_the_lowest_block_that_learns(name: str, lowest: int | None, job: Job) -> None:
    tunes_from = get_strategy(name).tunes_from
    assert (None if tunes_from is None else tunes_from(job)) == lowest


def test_scratch_begins_without_what_the_source_learned_and_the_source_stays(job: Job) -> None:
    before = {name: tensor.clone() for name, tensor in job.source.backbone.module.state_dict().items()}
    fitted: Any = get_strategy("scratch").fit(replace(job, seed=5))  # from seed 0 the source itself was made
    for name, tensor in job.source.backbone.module.state_dict().items():
        assert (tensor == before[name]).all()
        if name.endswith("dense.weight") and "pooler" not in name:
            # A training run of three small steps moves weights by far less than this.
            assert (fitted.module.state_dict()[name] - tensor).abs().mean() > 0.02


def test_without_a_source_a_rung_that_needs_one_says_so(job: Job) -> None:
    with pytest.raises(ValueError) as caught:
        get_strategy("probe").fit(replace(job, reader=None))
    assert str(caught.value) == "this strategy needs a source"


def test_a_job_on_some_rows_takes_their_groups_and_labels(job: Job) -> None:
    some = np.array([5, 1, 9])
    taken = job.take(some, [])
    assert taken.rows.texts == tuple(job.rows.texts[i] for i in some) and taken.rows.y.tolist() == [2, 1, 0]
    assert taken.groups.tolist() == [5, 1, 9] and taken.folds == [] and taken.settings is job.settings and taken.reader is job.reader


# --- names ---


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    known = "tfidf, static, probe, contrastive, partial, lora, gradual, full, soup, scratch"
    for name, hint in (("prob", " Did you mean 'probe'?"), ("zzz", "")):
        with pytest.raises(SettingsError) as caught:
            get_strategy(name)
        assert str(caught.value) == f"--strategy is {name!r}; it must be one of {known}.{hint}"


MINE = Strategy("mine", transfers=False, needs_source=False, summary="guesses", fit=lambda _job: None)  # type: ignore[arg-type, return-value]
SHADOW = replace(MINE, name="probe")


def test_other_packages_add_rungs_but_never_replace_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(*, group: str) -> list[EntryPoint]:
        assert group == "headstart.strategies"
        return [EntryPoint(name, f"{__name__}:{value}", group) for name, value in (("mine", "MINE"), ("also", "MINE"), ("probe", "SHADOW"))]

    monkeypatch.setattr(ladder, "entry_points", listed)
    assert known_strategies() == [*NAMES, "also", "mine"]
    assert get_strategy("mine") is MINE
    assert get_strategy("probe").summary != MINE.summary
    with pytest.raises(SettingsError) as caught:
        get_strategy("mines")
    assert str(caught.value) == (
        "--strategy is 'mines'; it must be one of tfidf, static, probe, contrastive, partial, lora, gradual, full, soup, scratch, also, "
        "mine. Did you mean 'mine'?"
    )
