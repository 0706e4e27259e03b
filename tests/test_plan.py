"""The plan that a dry run prints: every rung, how it is judged, what it costs; and nothing is left behind."""

import math
import re

import pytest

from headstart import cli
from headstart.settings import Precision
from headstart.sources.files import read_shapes
from headstart.strategies.ladder import known_strategies
from small import sentences, write_csv
from tiny import HIDDEN, make_tiny


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("task")
    rows = sentences(150, 1)
    write_csv(folder / "train.csv", [*rows[:120], ("", "card"), rows[0]])
    write_csv(folder / "test.csv", rows[120:])
    make_tiny(folder / "source", "bert", blocks=2)
    return folder


def plan(task, capsys, *options):
    out = task / "run"
    words = ["fit", str(task / "train.csv"), "--source", str(task / "source"), "--out", str(out), "--store", str(task / "store")]
    assert cli.main([*words, "--dry-run", *options]) == 0
    assert not out.exists()
    return capsys.readouterr().out


def rungs(text):
    """Name, expected difference and seconds of each line of the table."""
    return [
        (m[1].strip(), float(m[2]), float(m[3])) for m in re.finditer(r"^(\w[\w /-]*?) +([+-]\d\.\d{3}) +(\d+)  \w", text, re.MULTILINE)
    ]


def test_every_usual_rung_is_listed_from_cheap_to_dear(task, capsys):
    found = rungs(plan(task, capsys))
    assert {name for name, _, _ in found} == set(known_strategies()) - {"lora", "gradual"}
    assert [seconds for _, _, seconds in found] == sorted(seconds for _, _, seconds in found)
    assert [expected for name, expected, _ in found if name == "probe"] == [0.0]


@pytest.mark.parametrize(
    ("options", "judged", "decisions"),
    [
        ((), "5 outer folds", "6 decisions within 600 s: 93 s each, 116 s for the last"),
        (("--outer-folds", "3", "--budget", "2m"), "3 outer folds", "4 decisions within 120 s: 22 s each, 33 s for the last"),
        (("--few-rows", "0"), "one test split of 24 rows", "2 decisions within 600 s: 258 s each, 322 s for the last"),
        (("--budget", "10"), "5 outer folds", "6 decisions within 10 s: 0 s each, 0 s for the last"),
    ],
)
def test_rows_judge_and_time_are_told(task, capsys, options, judged, decisions):
    lines = plan(task, capsys, *options).splitlines()
    assert lines[:2] == [f"120 usable rows of 122, 3 labels; judged on {judged}", decisions]


def test_a_test_file_judges_and_needs_one_decision(task, capsys):
    lines = plan(task, capsys, "--test", str(task / "test.csv"), "--strategy", "tfidf").splitlines()
    assert lines[:2] == [
        "120 usable rows of 122, 3 labels; judged on the 30 rows of the test file",
        "1 decision within 600 s: 580 s each",
    ]


def test_disk_is_what_the_features_of_all_layers_take(task, capsys):
    # Several thousand rows, for the plan tells whole megabytes: 3 layers of 32 float32 a row.
    write_csv(task / "many.csv", sentences(30_000, 2))
    words = ["fit", str(task / "many.csv"), "--source", str(task / "source"), "--store", str(task / "store"), "--dry-run"]
    assert cli.main([*words, "--strategy", "probe"]) == 0
    assert f"disk: about {30_000 * 3 * HIDDEN * 4 / 1e6:.0f} MB in the store" in capsys.readouterr().out


def test_disk_holds_what_enters_a_cut_once_for_all_rungs_above_it(task, capsys):
    write_csv(task / "more.csv", sentences(3000, 2))
    words = ["fit", str(task / "more.csv"), "--source", str(task / "source"), "--store", str(task / "store"), "--dry-run"]
    told = []
    for strategies in (["probe"], ["probe", "partial"], ["probe", "partial", "contrastive", "lora"]):
        assert cli.main([*words, *(word for each in strategies for word in ("--strategy", each))]) == 0
        told.append(int(re.search(r"disk: about ([\d,]+) MB", capsys.readouterr().out)[1].replace(",", "")))
    assert told[0] < told[1] == told[2]


def test_reading_and_disk_count_rows_of_neighbouring_data(task, capsys, monkeypatch):
    write_csv(task / "more.csv", sentences(210, 1)[150:])
    monkeypatch.setattr("headstart.plan._FLOAT", 4e3)
    monkeypatch.setattr("headstart.environment.gemm_speeds", lambda: dict.fromkeys(Precision, 1e7))  # operations a second
    told = {}
    for name, more in (("alone", ()), ("beside", ("--rows-from", str(task / "more.csv")))):
        text = plan(task, capsys, "--strategy", "probe", "--test", str(task / "test.csv"), *more)
        left = re.search(r"1 decision within 600 s: (\d+) s each", text)
        reading, disk = re.search(r"reading: .* ([\d.]+) s\n", text), re.search(r"disk: about (\d+) MB in the store", text)
        told[name] = int(left[1]), float(reading[1]), int(disk[1])
    alone, beside = told["alone"], told["beside"]
    assert (alone[2], beside[2]) == (round(120 * 3 * HIDDEN * 4e3 / 1e6), round(180 * 3 * HIDDEN * 4e3 / 1e6))
    assert beside[1] == pytest.approx(1.5 * alone[1], rel=0.02) and alone[1] > 5
    assert alone[0] - beside[0] == pytest.approx(0.5 * alone[1], abs=1.0)


@pytest.mark.parametrize(("every", "blocks"), [(0.0, True), (math.inf, False)])
def test_disk_counts_what_a_long_training_keeps(task, capsys, monkeypatch, every, blocks):
    monkeypatch.setattr("headstart.strategies.resuming.EVERY", every)
    monkeypatch.setattr("headstart.plan._FLOAT", 4e3)  # the tiny source's weights would be no megabyte
    told = plan(task, capsys, "--strategy", "full", "--strategy", "probe").splitlines()[-1]
    weights = sum(math.prod(shape) for shape in read_shapes(task / "source" / "model.safetensors").values())
    kept = re.search(r", ([\d,]+) MB while a training runs that can be gone on with$", told)
    assert (kept is not None) is blocks
    if kept is not None:  # weights and two moments
        assert int(kept[1].replace(",", "")) == pytest.approx(3 * weights * 4e3 / 1e6, rel=0.05)
