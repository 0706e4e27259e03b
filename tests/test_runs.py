"""The run folder: work is remembered once, whatever a kill or a damaged file left behind."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headstart import runs
from headstart.errors import RunError
from headstart.records import Estimate
from headstart.runs import ASKED, JOURNAL, METRICS, RunFolder, open_run, whole_file, write_results
from modelfiles import make_run

ASKED_FOR = {"data": "a.csv", "content": "12", "settings": {"seed": 0, "epochs": 1}, "versions": {"headstart": "1"}}


def not_called():
    raise AssertionError("the work was done a second time")


def test_arrays_and_plain_values_come_back_from_a_folder_opened_again(tmp_path):
    made = {"logits": np.array([[0.5, np.nan], [-1e300, 2.0]]), "y": np.arange(3), "n": 7, "name": "käse", "seconds": 1.5}
    first = RunFolder.open(tmp_path / "run", ASKED_FOR).remember("part/ü/fold 0", lambda: dict(made))
    again = RunFolder.open(tmp_path / "run", ASKED_FOR).remember("part/ü/fold 0", not_called)
    for result in (first, again):
        assert set(result) == set(made)
        np.testing.assert_array_equal(result["logits"], made["logits"])
        np.testing.assert_array_equal(result["y"], made["y"])
        assert (result["n"], result["name"], result["seconds"]) == (7, "käse", 1.5)
    assert again["logits"].dtype == np.float64
    assert again["y"].dtype == np.int64


def test_the_same_key_is_worked_on_once_in_one_process_too(tmp_path):
    run = RunFolder.open(tmp_path / "run", ASKED_FOR)
    run.remember("a", lambda: {"n": 1})
    assert run.remember("a", not_called)["n"] == 1
    assert run.recalled == 1


def test_the_clock_counts_recalled_work_as_it_took_then(tmp_path):
    run = RunFolder.open(tmp_path / "run", ASKED_FOR)
    run.remember("a", lambda: {"seconds": 3.0})
    run.remember("b", lambda: {"seconds": 4.0})
    assert (run.clock, run.recalled) == (7.0, 0)
    again = RunFolder.open(tmp_path / "run", ASKED_FOR)
    assert again.clock == 0.0
    again.remember("a", not_called)
    again.remember("b", not_called)
    again.remember("c", lambda: {"seconds": 1.0})
    assert (again.clock, again.recalled) == (8.0, 2)


def test_work_without_a_time_of_its_own_is_timed(tmp_path, monkeypatch):
    ticks = iter([10.0, 12.5])
    monkeypatch.setattr(runs.time, "perf_counter", lambda: next(ticks))
    run = RunFolder.open(tmp_path / "run", ASKED_FOR)
    assert run.remember("a", lambda: {"n": 1}) == {"n": 1, "seconds": 2.5}
    assert run.clock == 2.5


KEYS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4, unique=True)


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4, unique=True), cut=st.floats(0, 1)
)
def test_a_journal_cut_short_anywhere_keeps_its_whole_lines_and_those_written_after(tmp_path_factory, keys, cut):
    folder = tmp_path_factory.mktemp("run")
    run = RunFolder.open(folder, ASKED_FOR)
    for key in keys:
        run.remember(key, lambda key=key: {"key": key, "seconds": 1.0})
    journal = folder / JOURNAL
    whole = journal.read_bytes()
    kept = round(cut * len(whole))
    journal.write_bytes(whole[:kept])
    complete = sum(whole[:kept].endswith(b"\n") or end < kept for end in ends_of_lines(whole) if end <= kept)
    again = RunFolder.open(folder, ASKED_FOR)
    for key in keys:
        assert again.remember(key, lambda key=key: {"key": key, "seconds": 1.0})["key"] == key
    assert again.recalled >= complete
    last = RunFolder.open(folder, ASKED_FOR)
    for key in keys:
        assert last.remember(key, not_called)["key"] == key
    assert last.recalled == len(keys)


def ends_of_lines(content):
    """Positions behind every line feed."""
    return [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]


def test_a_line_of_the_journal_that_is_no_entry_is_passed_over(tmp_path):
    run = RunFolder.open(tmp_path / "run", ASKED_FOR)
    run.remember("a", lambda: {"n": 1})
    with (tmp_path / "run" / JOURNAL).open("ab") as file:
        file.write(b"\x00\x00\xff\n[1, 2]\n7\n{}\n")
    assert list(RunFolder.open(tmp_path / "run", ASKED_FOR).finished) == ["a"]


@pytest.mark.parametrize("harm", ["missing", "short", "empty", "a pickle"])
def test_an_array_that_is_lost_or_damaged_is_computed_again(tmp_path, harm):
    RunFolder.open(tmp_path / "run", ASKED_FOR).remember("a", lambda: {"logits": np.ones((50, 3))})
    [array] = (tmp_path / "run" / "trials").iterdir()
    if harm == "missing":
        array.unlink()
    elif harm == "a pickle":
        np.save(array, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        array.write_bytes(array.read_bytes()[: 300 if harm == "short" else 0])
    again = RunFolder.open(tmp_path / "run", ASKED_FOR)
    np.testing.assert_array_equal(again.remember("a", lambda: {"logits": np.zeros((50, 3))})["logits"], np.zeros((50, 3)))
    assert again.recalled == 0
    last = RunFolder.open(tmp_path / "run", ASKED_FOR)
    np.testing.assert_array_equal(last.remember("a", not_called)["logits"], np.zeros((50, 3)))


def test_work_that_fails_is_not_remembered(tmp_path):
    run = RunFolder.open(tmp_path / "run", ASKED_FOR)

    def fail():
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        run.remember("a", fail)
    assert run.clock < 1.0
    assert RunFolder.open(tmp_path / "run", ASKED_FOR).finished == {}


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    place = tmp_path / "metrics.json"
    place.write_text("old")
    with pytest.raises(OSError, match="full"), whole_file(place) as temporary:
        temporary.write_text("new, and th")
        raise OSError("full")
    assert place.read_text() == "old"
    with whole_file(place) as temporary:
        temporary.write_text("new")
        assert place.read_text() == "old"
    assert place.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


# --- whose folder it is ---


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    place = tmp_path / "run"
    place.write_text("mine")
    with pytest.raises(RunError) as caught:
        RunFolder.open(place, ASKED_FOR)
    assert str(caught.value) == f"{str(place)!r} is a file; name a folder with --out."
    assert place.read_text() == "mine"


def test_a_folder_with_other_things_in_it_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(RunError) as caught:
        RunFolder.open(tmp_path, ASKED_FOR)
    assert str(caught.value) == f"The folder {str(tmp_path)!r} is not empty and holds no run; name another with --out."
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"data": "b.csv"}, "data"),
        ({"content": "13"}, "content"),
        ({"settings": {"seed": 1, "epochs": 1}}, "seed"),
        ({"settings": {"seed": 1, "epochs": 2}, "content": "13"}, "content, seed, epochs"),
        ({"versions": {"headstart": "2"}}, "headstart"),
    ],
)
def test_a_folder_of_another_run_is_refused_and_the_differences_named(tmp_path, changed, named):
    RunFolder.open(tmp_path, ASKED_FOR).remember("a", lambda: {"n": 1})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(RunError) as caught:
        RunFolder.open(tmp_path, ASKED_FOR | changed)
    assert str(caught.value) == (
        f"The folder {str(tmp_path)!r} holds another run (other data or settings: {named}); name another with --out, or remove it."
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_setting_that_a_new_version_no_longer_has_is_named(tmp_path):
    RunFolder.open(tmp_path, ASKED_FOR)
    fewer = ASKED_FOR | {"settings": {"seed": 0}}
    with pytest.raises(RunError) as caught:
        RunFolder.open(tmp_path, fewer)
    assert str(caught.value) == (
        f"The folder {str(tmp_path)!r} holds another run (other data or settings: epochs); name another with --out, or remove it."
    )


def test_a_run_that_was_killed_while_its_folder_was_made_goes_on(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    # A kill before run.yaml stands leaves the folder and a temporary file behind.
    (tmp_path / "run").mkdir()
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(runs.os, "replace", kill)
        RunFolder.open(tmp_path / "run", ASKED_FOR)
    (tmp_path / "run" / f".{ASKED}.4711").write_text("identi")
    run = RunFolder.open(tmp_path / "run", ASKED_FOR)
    assert run.remember("a", lambda: {"n": 1})["n"] == 1
    assert RunFolder.open(tmp_path / "run", ASKED_FOR).remember("a", not_called)["n"] == 1


# --- a finished run ---


def test_a_folder_without_a_finished_run_says_so(tmp_path):
    with pytest.raises(RunError) as caught:
        open_run(tmp_path)
    assert str(caught.value) == (f"The folder {str(tmp_path)!r} holds no finished run; run the same `headstart fit` again to finish it.")


@pytest.mark.parametrize("content", ['{"title": "x', "{}", "[]", "null", json.dumps({"title": "x", "unknown": 1}), "\x00"])
def test_damaged_results_say_so(tmp_path, content):
    (tmp_path / METRICS).write_text(content)
    with pytest.raises(RunError) as caught:
        open_run(tmp_path)
    assert str(caught.value) == (f"{str(tmp_path / METRICS)!r} is damaged; run the same `headstart fit` again to write it anew.")


def test_what_could_not_be_measured_is_null_in_the_file_and_comes_back_as_it_was(tmp_path):
    whole = open_run(make_run(tmp_path / "run")).results
    results = replace(whole, scores={"r2": Estimate(math.nan, math.nan, 0.5, 20), **whole.scores})
    write_results(tmp_path, results)

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    plain = json.loads((tmp_path / METRICS).read_text(encoding="utf-8"), parse_constant=refuse)
    assert plain["scores"]["r2"] == {"value": None, "low": None, "high": 0.5, "n": 20, "confidence": 0.95}
    found = open_run(tmp_path).results
    assert math.isnan(found.scores["r2"].value) and math.isnan(found.scores["r2"].low)
    assert replace(found, scores=whole.scores) == whole


def test_work_that_fails_takes_its_time_all_the_same(tmp_path, monkeypatch):
    run = RunFolder.open(tmp_path / "run", {})
    now = iter([10.0, 25.0])
    monkeypatch.setattr("headstart.runs.time.perf_counter", lambda: next(now))

    def work():
        raise ValueError("diverged")

    with pytest.raises(ValueError, match="diverged"):
        run.remember("fit", work)
    assert run.clock == 15.0 and "fit" not in run.finished
