"""The benchmarks' own machinery: which cells run again, what is timed, which rows are drawn, what the tables say."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a benchmark's module as its scripts do; afterwards nothing of it is left among the modules."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)

    def load_one(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load_one
    for name in set(sys.modules) - before:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def imported_names() -> list[tuple[str, str, str]]:
    """What benchmarks take from headstart: (script, module, name)."""
    found = []
    for path in sorted(FOLDER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "headstart":
                found += [(str(path.relative_to(FOLDER)), node.module, alias.name) for alias in node.names]
    return found


def test_what_benchmarks_import_is_there() -> None:
    """They are run by hand and seldom: a name that has moved would be found hours into one."""
    names = imported_names()
    assert len(names) > 50
    missing = []
    for script, module, name in names:
        try:
            there = hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}") is not None
        except ModuleNotFoundError:
            there = False
        if not there:
            missing.append(f"{script}: from {module} import {name}")
    assert missing == []


def record(cell: dict[str, Any], seconds: float, *, disturbed: bool = False, code: str = "new") -> dict[str, Any]:
    result = {"accuracy": 0.5, "trained_seconds": seconds / 2}
    return {"cell": cell, "code": code, "seconds": seconds, "import_seconds": 1.0, "disturbed": disturbed, "result": result}


def bench(common: ModuleType, **changes: Any) -> Any:
    plain = {
        "name": "tried",
        "title": "Tried",
        "sides": {"theirs": lambda cell, clock: {}, "ours": lambda cell, clock: {}},
        "ours": frozenset({"ours"}),
        "cells": lambda quick: [{"side": "theirs", "seed": 0}, {"side": "ours", "seed": 0}],
        "report": lambda records: common.Report({"n": len(records)}, (), ("a line",)),
    }
    return common.Benchmark(**{**plain, **changes})


# --- which cells run ---


def test_a_finished_cell_is_not_run_again(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    common = load("common")
    monkeypatch.setattr(common, "code_of", lambda benchmark, cell: "new")
    one, two = {"side": "theirs", "seed": 0}, {"side": "ours", "seed": 0}
    lines = [record({"seed": 0, "side": "theirs"}, 2.0)]  # the order of a cell's names does not matter
    assert common.to_run(bench(common), [one, two], lines, retime=False, any_code=False) == [two]


def test_a_failed_cell_is_run_again(load: Any) -> None:
    common = load("common")
    cell = {"side": "ours", "seed": 0}
    failed = {"cell": cell, "code": "new", "error": "exit status 1"}
    assert common.to_run(bench(common), [cell], [failed], retime=False, any_code=True) == [cell]


def test_a_cell_of_other_code_is_run_again_unless_told_otherwise(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    common = load("common")
    monkeypatch.setattr(common, "code_of", lambda benchmark, cell: "new" if cell["side"] == "ours" else "1.0")
    ours, theirs = {"side": "ours"}, {"side": "theirs"}
    lines = [record(ours, 1.0, code="old"), record(theirs, 1.0, code="1.0")]
    assert common.to_run(bench(common), [ours, theirs], lines, retime=False, any_code=False) == [ours]
    assert common.to_run(bench(common), [ours, theirs], lines, retime=False, any_code=True) == []


def test_retime_runs_the_disturbed_cells_until_one_was_quiet(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    common = load("common")
    monkeypatch.setattr(common, "code_of", lambda benchmark, cell: "new")
    cell = {"side": "ours"}
    lines = [record(cell, 9.0, disturbed=True)]
    assert common.to_run(bench(common), [cell], lines, retime=False, any_code=False) == []
    assert common.to_run(bench(common), [cell], lines, retime=True, any_code=False) == [cell]
    lines.append(record(cell, 3.0))
    assert common.to_run(bench(common), [cell], lines, retime=True, any_code=False) == []


def test_seconds_come_from_the_undisturbed_runs_of_the_latest_code(load: Any) -> None:
    common = load("common")
    cell = {"side": "ours"}
    lines = [
        record(cell, 1.0, code="old"),
        record(cell, 3.0),
        record(cell, 9.0, disturbed=True),
        record(cell, 5.0),
    ]
    found = list(common.latest(lines).values())
    assert common.times_of(found) == [3.0, 5.0]
    assert common.times_of(found, imports=True) == [4.0, 6.0]
    assert common.times_of(found, "trained_seconds") == [1.5, 2.5]
    assert common.times_of(found, "no such part") == []
    assert not found[0]["disturbed"]


def test_runs_with_other_numbers_of_threads_are_not_mixed(load: Any) -> None:
    common = load("common")
    runs = [record({"side": "ours"}, seconds, disturbed=True) | {"threads": threads} for seconds, threads in ((9.0, 1), (4.0, 2), (5.0, 2))]
    assert common.times_of(common.latest(runs).values()) == [4.0, 5.0]


def test_when_every_run_was_disturbed_their_seconds_are_all_there_is(load: Any) -> None:
    common = load("common")
    found = list(common.latest([record({"side": "ours"}, 9.0, disturbed=True), record({"side": "ours"}, 8.0, disturbed=True)]).values())
    assert common.times_of(found) == [9.0, 8.0]
    assert found[0]["disturbed"]


def test_a_line_cut_short_by_a_kill_is_left_out_and_does_not_spoil_the_next(load: Any, tmp_path: Path) -> None:
    common = load("common")
    path = tmp_path / "work" / "x.jsonl"
    common.append_line(path, {"a": 1})
    with path.open("a") as stream:
        stream.write('{"a": 2, "b')
    common.append_line(path, {"a": 3})
    assert common.read_lines(path) == [{"a": 1}, {"a": 3}]


def test_a_fresh_checkout_begins_with_the_cells_of_its_results(load: Any, tmp_path: Path) -> None:
    common = load("common")
    work, results = tmp_path / "work" / "b.jsonl", tmp_path / "b.json"
    common.take_up(work, results)
    assert not work.exists()
    records = [{"cell": {"side": "a", "seed": seed}, "code": "x", "disturbed": True} for seed in (0, 1)]
    results.write_text(json.dumps({"records": records}), encoding="utf-8")
    common.take_up(work, results)
    assert common.read_lines(work) == records
    common.append_line(work, {"cell": {"side": "a", "seed": 2}})
    common.take_up(work, results)
    assert len(common.read_lines(work)) == 3


def test_sides_alternate_which_goes_first(load: Any) -> None:
    common = load("common")
    cells = common.alternate([{"seed": 0}, {"seed": 1}], ("a", "b"))
    assert [(cell["side"], cell["seed"]) for cell in cells] == [("a", 0), ("b", 0), ("b", 1), ("a", 1)]


def test_only_takes_any_of_several_values_of_a_name_and_all_names(load: Any) -> None:
    common = load("common")
    cell = {"side": "setfit", "per_class": 8}
    assert common._matches(cell, [])
    assert common._matches(cell, ["side=frozen", "side=setfit", "per_class=8"])
    assert not common._matches(cell, ["side=setfit", "per_class=64"])


# --- the clock ---


def test_the_clock_counts_neither_imports_nor_evaluation(load: Any) -> None:
    common = load("common")
    clock = common.Clock(time.monotonic() - 5.0)
    clock.start()
    time.sleep(0.05)
    with clock.outside():
        time.sleep(0.3)
    clock.stop()
    time.sleep(0.1)
    assert 5.0 <= clock.import_seconds < 5.2
    assert 0.05 <= clock.seconds < 0.25
    assert clock.cpu_seconds < 0.2


SCRIPT = """
import sys, time
sys.path.insert(0, {folder!r})
import common


def side(cell, clock):
    if cell.get("fail"):
        raise ValueError("no such luck")
    clock.start()
    block = bytearray(cell["mb"] * 2**20)
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    clock.stop()
    return {{"accuracy": 0.25, "size": len(block)}}


benchmark = common.Benchmark("tried", "Tried", {{"ours": side}}, frozenset(), lambda quick: [], lambda records: None)
if __name__ == "__main__":
    sys.exit(common.main(benchmark, __file__, "tried"))
"""


def test_a_cell_runs_in_its_own_process_and_tells_seconds_and_memory(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(FOLDER)))
    # From a small process, as the benchmarks run: the system counts a child's memory from before it becomes another program.
    call = f"common.run_cell(Path({str(script)!r}), {{'side': 'ours', 'mb': 200}}, threads=1, code='x')"
    program = f"import json, sys; from pathlib import Path; sys.path.insert(0, {str(FOLDER)!r}); import common; print(json.dumps({call}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert "error" not in found
    assert found["result"] == {"accuracy": 0.25, "size": 200 * 2**20}
    assert 200 < found["peak_mb"] < 400
    assert 0.29 < found["cpu_seconds"] <= found["process_cpu_seconds"] + 0.02
    assert found["seconds"] + found["import_seconds"] <= found["process_seconds"]
    assert (found["threads"], found["code"]) == (1, "x")


def test_a_cell_that_fails_says_why(load: Any, tmp_path: Path) -> None:
    common = load("common")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(FOLDER)))
    found = common.run_cell(script, {"side": "ours", "fail": True}, threads=1, code="x")
    assert found["error"].startswith("exit status 1: ")
    assert found["error"].rstrip().endswith("ValueError: no such luck")


def test_fewer_threads_than_cores_count_as_disturbed(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = load("common")
    monkeypatch.setattr(common, "_busy_seconds", lambda: 0.0)  # nobody else works
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(folder=str(FOLDER)))
    monkeypatch.setattr(common, "cores", lambda: 2)
    assert common.run_cell(script, {"side": "ours", "mb": 1}, threads=1, code="x")["disturbed"]
    assert not common.run_cell(script, {"side": "ours", "mb": 1}, threads=2, code="x")["disturbed"]


# --- results ---


def test_results_are_written_with_their_circumstances(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    common = load("common")
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(common, "code_of", lambda benchmark, cell: "new")
    benchmark = bench(common)
    lines = [record({"side": "theirs", "seed": 0}, 4.0, disturbed=True), record({"side": "ours", "seed": 0}, 2.0, code="old")]
    path = common.write_results(benchmark, lines, benchmark.cells(False), quick=False)
    text = path.read_text()
    assert text.startswith(
        "# Tried\n\n2 of 2 cells are measured. 1 of them were timed while other work ran on the machine: their scores hold, their seconds "
        "do not. 1 of them were made by other versions of the code.\n\n- a line\n"
    )
    assert f"- {common.cores()} cores of " in text
    plain = json.loads((tmp_path / "tried.json").read_text())
    assert plain["state"] == {"cells": 2, "measured": 2, "disturbed": 1, "other_code": 1}
    assert plain["figures"] == {"n": 2}
    assert [one["seconds"] for one in plain["records"]] == [4.0, 2.0]


def test_spread_tells_median_and_range(load: Any) -> None:
    common = load("common")
    assert common.spread([3.0, 1.0, 2.0]) == "2.0 (1.0 to 3.0)"
    assert common.spread([1.26], 1) == "1.3"
    assert common.spread([]) == "–"


@pytest.mark.parametrize("name", ["versus_setfit", "versus_trainer", "versus_encode", "second_run", "above_the_cut", "size"])
@pytest.mark.parametrize("quick", [True, False])
def test_every_benchmark_lists_cells_whose_sides_it_has_and_reports_on_nothing(load: Any, name: str, quick: bool) -> None:
    benchmark = load(name).BENCHMARK
    cells = benchmark.cells(quick)
    assert {cell["side"] for cell in cells} <= set(benchmark.sides)
    assert benchmark.ours <= set(benchmark.sides)
    keys = [json.dumps(cell, sort_keys=True) for cell in cells]
    assert len(set(keys)) == len(keys) > 0
    assert benchmark.report([]).figures in ({}, {"greatest_loss_difference": 0.0})


def test_the_goal_against_setfit_counts_the_same_rows_and_every_data_set_alike(load: Any) -> None:
    module = load("versus_setfit")

    def one(side: str, data: str, seed: int, accuracy: float, seconds: float) -> dict[str, Any]:
        cell = {"side": side, "data": data, "per_class": 8, "seed": seed, "iterations": 20}
        made = {**record(cell, seconds), "result": {"accuracy": accuracy, "trained_seconds": seconds / 2}}
        return {**made, "runs": [made]}

    records = [
        one("setfit", "trec", 0, 0.50, 40.0),
        one("setfit", "trec", 1, 0.50, 40.0),
        one("setfit", "mr", 0, 0.70, 90.0),
        one("setfit", "mr", 1, 0.10, 1.0),  # ours has no such seed: not compared
        one("headstart", "trec", 0, 0.60, 20.0),  # trained after 10 s: 4 x
        one("headstart", "trec", 1, 0.58, 20.0),
        one("headstart", "mr", 0, 0.69, 20.0),  # 9 x
    ]
    report = module.report(records)
    assert report.figures["8"]["setfit"] == {
        "gain_points": 4.0,  # (9 on trec - 1 on mr) / 2
        "gain_by_data": {"mr": -1.0, "trec": 9.0},
        "speed": pytest.approx((4 * 4 * 9) ** (1 / 3), abs=0.01),
        "pairs": 3,
    }
    assert report.lines == (
        "8 a class, against setfit (3 pairs): +4.00 points of accuracy on average over data sets, 5.2 x as fast (geometric mean); "
        "goal: above 0 and 3 x: met.",
    )


def test_the_goal_against_trainer_compares_the_first_model_that_has_its_best_score(load: Any) -> None:
    module = load("versus_trainer")

    def one(side: str, data: str, result: dict[str, Any], seconds: float) -> dict[str, Any]:
        made = {**record({"side": side, "data": data, "epochs": 10, "seed": 0}, seconds), "result": result}
        return {**made, "runs": [made]}

    def theirs(data: str, best: float, best_seconds: float) -> dict[str, Any]:
        return one("trainer", data, {"accuracy": best - 0.01, "best_accuracy": best, "best_seconds": best_seconds}, 400.0)

    def ours(data: str, accuracy: float, trained: float, probe: float) -> dict[str, Any]:
        found = {"accuracy": accuracy, "trained_seconds": trained, "probe_accuracy": probe, "probe_seconds": 2.0}
        return one("headstart", data, found, 60.0)

    report = module.report(
        [theirs("trec", 0.90, 100.0), ours("trec", 0.92, 5.0, 0.90), theirs("ohsumed", 0.60, 90.0), ours("ohsumed", 0.59, 30.0, 0.58)]
    )
    assert report.figures["trec"] == {"seeds": 1, "speed": [50.0], "speed_to_the_end": [20.0], "gain_points": [2.0]}
    assert report.figures["ohsumed"] == {"seeds": 1, "speed": [3.0], "speed_to_the_end": [3.0], "gain_points": [-1.0]}
    assert report.lines == (
        "headstart has the score of Trainer's best pass (its first model, where that has it, else the winner) 12.2 x as fast "
        "(geometric mean), on the slowest data set 3.0 x; goal: 10 x and 4 x: not met. Its winner is trained 7.7 x as fast, "
        "on the slowest 3.0 x.",
        "headstart's accuracy minus Trainer's at its best pass: +0.50 points on average, on the worst data set -1.00; "
        "goal: above 0 and no worse than -0.5: not met.",
    )
    assert [row[0] for row in report.tables[0].rows] == ["trec", "ohsumed"]
    assert [row[-1] for row in report.tables[0].rows] == ["1 of 1", "0 of 1"]
    assert all(len(row) == len(report.tables[0].head) for row in report.tables[0].rows)


def test_the_goal_of_a_second_run_wants_every_data_set_and_one_text_read(load: Any) -> None:
    module = load("second_run")

    def one(data: str, first: float, second: float, more: int) -> dict[str, Any]:
        def run(seconds: float, read: int) -> dict[str, Any]:
            return {"seconds": seconds, "reading_seconds": seconds / 2, "process_seconds": seconds + 5, "read": read, "kept": 40 - read}

        made = record({"side": "runs", "data": data, "round": 0}, 1.0)
        return {**made, "result": {"rows": 40, "first": run(first, 40), "second": run(second, 0), "one more row": run(second, more)}}

    met = module.report([one("trec", 20.0, 1.0, 1), one("mr", 11.0, 1.0, 1)])
    assert met.lines == (
        "Second run against first, up to the start of training, imports apart: trec 20.0 x (reading alone 20.0 x), mr 11.0 x (reading "
        "alone 11.0 x); texts read for one more row: 1; goal: 10 x on each, and 1 text: met.",
    )
    assert (
        module.report([one("trec", 20.0, 1.0, 2)])
        .lines[0]
        .endswith("texts read for one more row: 2; goal: 10 x on each, and 1 text: not met.")
    )
    assert module.report([one("trec", 9.0, 1.0, 1)]).lines[0].endswith("not met.")


def test_the_cost_of_a_row_leaves_out_what_starting_costs(load: Any) -> None:
    module = load("size")

    def one(rows: int, seconds: float) -> dict[str, Any]:
        # Wall time tells of other work on the machine, and costs no row anything.
        result = {"command_seconds": 3.0 * seconds + rows / 1e3, "command_cpu_seconds": seconds, "command_peak_mb": 900}
        made = {**record({"side": "check", "rows": rows}, 1.0), "result": result}
        return {**made, "runs": [made]}

    # 5 s to start; 10 us a row up to 100,000 rows, 20 us beyond: 0.99 s, then 18 s more.
    report = module.report([one(1_000, 5.0), one(100_000, 5.99), one(1_000_000, 23.99)])
    assert report.figures["check 100000"]["cpu_us_per_further_row"] == pytest.approx(10.0)
    assert report.figures["check 1000000"]["cpu_us_per_further_row"] == pytest.approx(18.99e6 / 999_000)
    assert report.lines == (
        "check: peak 900 MB, a further row up to 1,000,000 costs 1.90 x the processor time that it costs up to 100,000; "
        "goal: 1,000,000 rows under 2,048 MB and 1.25 x: not met.",
    )


# --- rows ---


def write_set(folder: Path, train: list[tuple[str, str]], test: list[tuple[str, str]]) -> None:
    (folder / "tiny").mkdir()
    for split, rows in {"train": train, "test": test}.items():
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        (folder / "tiny" / f"{split}.jsonl").write_text("\n".join(lines) + "\n")


@pytest.fixture
def data(load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`data` with one set: 30 rows of a, 9 of b, 2 of c, one text twice, one text that the test rows repeat."""
    monkeypatch.setenv("HEADSTART_DATA", str(tmp_path))
    train = [(f"a {i}", "a") for i in range(30)] + [(f"b {i}", "b") for i in range(9)] + [("c 0", "c"), ("c 1", "c")]
    write_set(tmp_path, [*train, ("a 0", "a"), ("leaked", "b")], [("leaked", "b"), ("other", "a")])
    module: ModuleType = load("data")
    return module


def test_few_draws_so_many_of_each_label_and_nothing_that_the_test_rows_hold(data: ModuleType) -> None:
    task = data.few("tiny", 5, seed=0)
    assert {label: task.train.labels.count(label) for label in task.labels} == {"a": 5, "b": 5, "c": 2}
    assert len(set(task.train.texts)) == len(task.train)
    assert not set(task.train.texts) & set(task.test.texts)
    assert all(text.startswith(label) for text, label in zip(task.train.texts, task.train.labels, strict=True))
    assert len(task.test) == 2


def test_the_same_seed_draws_the_same_rows_and_another_seed_others(data: ModuleType) -> None:
    assert data.few("tiny", 5, seed=3) == data.few("tiny", 5, seed=3)
    assert set(data.few("tiny", 5, seed=3).train.texts) != set(data.few("tiny", 5, seed=4).train.texts)


def test_sample_keeps_the_labels_own_shares(data: ModuleType) -> None:
    task = data.sample("tiny", 20, seed=0)
    # 30, 9 and 2 of 41 rows: exact shares 14.6, 4.4 and 1.0, and two at least of every label.
    assert {label: task.train.labels.count(label) for label in task.labels} == {"a": 14, "b": 4, "c": 2}
    assert len(data.sample("tiny", 1000, seed=0).train) == 41


@pytest.mark.parametrize("seed", range(20))
def test_shares_add_up_and_stay_within_what_there_is(load: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 50, size=rng.integers(2, 9))
    n = int(rng.integers(np.minimum(counts, 2).sum(), counts.sum() + 1))
    given = load("data").shares(counts, n, least=2)
    assert given.sum() == n
    assert (given <= counts).all()
    assert (given >= np.minimum(counts, 2)).all()


def test_shares_refuse_more_rows_than_there_are(load: Any) -> None:
    with pytest.raises(ValueError) as raised:
        load("data").shares(np.array([3, 4]), 8, least=2)
    assert str(raised.value) == "n is 8; it must lie between 4 and 7."


def test_the_runs_own_judge_gets_rows_of_every_label(load: Any) -> None:
    data, ours = load("data"), load("ours")
    test = data.Labelled(tuple(str(i) for i in range(300)), tuple("abc"[0 if i < 280 else 1 + i % 2] for i in range(300)))
    judged = ours.judged(test)
    assert len(judged) == ours.JUDGED_ROWS
    assert {label: judged.labels.count(label) for label in "abc"} == {"a": 30, "b": 10, "c": 10}


def test_made_texts_are_the_same_again_short_and_of_every_label(load: Any) -> None:
    made = list(load("size").made_rows(2000, seed=5))
    assert made == list(load("size").made_rows(2000, seed=5))
    assert all(4 <= len(text.split()) <= 9 for text, _ in made)
    assert len({label for _, label in made}) == 12
    assert len({text for text, _ in made}) > 1990
