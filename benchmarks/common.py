"""What all benchmarks share: cells that are run once and kept, honest clocks, the machine's description, and tables.

A *cell* is one side on one piece of work, a flat mapping such as `{"side": "setfit", "data": "trec", "per_class": 8, "seed": 0}`. Each
runs in a process of its own, so that its imports and its memory are its own, and leaves one line in `benchmarks/work/NAME.jsonl`. A rerun
skips the cells that are there. Scores hold whatever else the machine did meanwhile; seconds do not, so every line carries how much of the
machine others used, and `--retime` runs again the cells that were disturbed.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WORK = HERE / "work"
RESULTS = HERE / "results"
PACKAGES = ("torch", "transformers", "tokenizers", "sentence-transformers", "setfit", "scikit-learn", "numpy", "headstart")
# A timing counts as undisturbed when other processes used at most this share of the machine's processor time during it.
QUIET_SHARE = 0.03

Cell = dict[str, Any]
Record = dict[str, Any]


class Clock:
    """What a side is timed with: imports apart, evaluation not at all. Processor time is of this process and its ended children."""

    def __init__(self, started: float) -> None:
        self._started = started  # time.monotonic() of the parent just before it began this process
        self._begin: tuple[float, float] | None = None
        self._outside = [0.0, 0.0]
        self.import_seconds = 0.0
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def start(self) -> None:
        """Everything is imported: the work begins."""
        self._begin = _now()
        self.import_seconds = self._begin[0] - self._started

    @contextmanager
    def outside(self) -> Iterator[None]:
        """What happens in here (evaluation) is not counted."""
        begin = _now()
        yield
        self._outside = [total + after - before for total, before, after in zip(self._outside, begin, _now(), strict=True)]

    def elapsed(self) -> float:
        """Counted seconds so far."""
        assert self._begin is not None, "start() comes first"
        return _now()[0] - self._begin[0] - self._outside[0]

    def stop(self) -> None:
        """The work is done; what follows is not counted."""
        assert self._begin is not None, "start() comes first"
        wall, processor = _now()
        self.seconds = wall - self._begin[0] - self._outside[0]
        self.cpu_seconds = processor - self._begin[1] - self._outside[1]


def _now() -> tuple[float, float]:
    """Seconds on the clock, and of processor time of this process and its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.monotonic(), sum(one.ru_utime + one.ru_stime for one in used)


Work = Callable[[Cell, Clock], Mapping[str, Any]]


@dataclass(frozen=True)
class Table:
    """A table of a results file."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Report:
    """What a benchmark makes of its records: plain `figures` for the JSON, `tables` and `lines` (goal and whether it is met) to read."""

    figures: dict[str, Any]
    tables: tuple[Table, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    `sides` gives each side's work by name. A cell whose side is in `ours` is run again when headstart's code has changed, any other when
    the peers' versions have. `cells(quick)` lists the cells in the order in which they run; `report` makes figures and tables of the
    finished ones; `notes` are the circumstances that its readers must know.
    """

    name: str
    title: str
    sides: Mapping[str, Work]
    ours: frozenset[str]
    cells: Callable[[bool], list[Cell]]
    report: Callable[[list[Record]], Report]
    notes: tuple[str, ...] = field(default=())


# --- cells that were run ---


def cell_key(cell: Cell) -> str:
    """The same cell has the same key whatever the order of its names."""
    return json.dumps(cell, sort_keys=True)


def read_lines(path: Path) -> list[Record]:
    """Every whole line of a work file; a line that a kill cut short is left out."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return lines


def take_up(path: Path, results: Path) -> None:
    """Where there is no work file, as in a fresh checkout, begin one with the records of the results file, so that those cells need not be
    run again and no rerun loses them."""
    if path.exists() or not results.exists():
        return
    lines = "".join(json.dumps(record, sort_keys=True) + "\n" for record in json.loads(results.read_text(encoding="utf-8"))["records"])
    _replace(path, lines)


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """One more line, on disk before this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as stream:
        stream.write(("\n" if torn else "") + json.dumps(line, sort_keys=True) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def latest(lines: Iterable[Record]) -> dict[str, Record]:
    """For each cell its last finished record, with its timing from the last undisturbed one of the same code and threads, if any.

    A record's `runs` lists all runs that count: the undisturbed ones, else all of them.
    """
    runs: dict[str, list[Record]] = {}
    for line in lines:
        if "cell" in line and "error" not in line:
            runs.setdefault(cell_key(line["cell"]), []).append(line)
    found = {}
    for key, records in runs.items():
        same = [record for record in records if all(record.get(name) == records[-1].get(name) for name in ("code", "threads"))]
        quiet = [record for record in same if not record["disturbed"]]
        counted = quiet or same
        found[key] = {**counted[-1], "runs": counted}
    return found


def to_run(benchmark: Benchmark, cells: list[Cell], lines: list[Record], *, retime: bool, any_code: bool) -> list[Cell]:
    """The cells without a record, those made by other code unless `any_code`, and with `retime` those whose timing was disturbed."""
    have = latest(lines)
    wanted = []
    for cell in cells:
        record = have.get(cell_key(cell))
        outdated = record is not None and not any_code and record["code"] != code_of(benchmark, cell)
        if record is None or outdated or (retime and record["disturbed"]):
            wanted.append(cell)
    return wanted


def alternate(groups: Sequence[Cell], sides: Sequence[str]) -> list[Cell]:
    """Each group of settings with every side after one another, the order of the sides turning round from group to group."""
    return [{"side": side, **group} for i, group in enumerate(groups) for side in (sides if i % 2 == 0 else sides[::-1])]


# --- running one cell in its own process ---


def run_cell(script: Path, cell: Cell, threads: int, code: str) -> Record:
    """Run one cell in a fresh process and describe how it went; a failure is a record with `error`. `code` says what code it holds for."""
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as folder:
        answer = Path(folder) / "answer.json"
        environment = {
            **os.environ,
            **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)),
            "HF_HUB_OFFLINE": "1",
            "HEADSTART_CACHE": str(Path(folder) / "store"),  # nothing of an earlier run may help
            "HEADSTART_SHELF": str(Path(folder) / "shelf"),  # and nothing of it stays
            "TMPDIR": folder,
        }
        busy_before, began = _busy_seconds(), time.monotonic()
        command = [sys.executable, str(script), "--worker", json.dumps(cell), "--answer", str(answer), "--started", repr(began)]
        with (Path(folder) / "stderr").open("wb") as stderr:
            child = subprocess.Popen(command, env=environment, cwd=folder, stdout=stderr, stderr=stderr)
            watch = _watch_memory(child.pid)
            try:
                # Not child.wait(): the kernel's own account of the child, its children included, comes with wait4.
                _, status, usage = os.wait4(child.pid, 0)
            except BaseException:
                child.kill()
                raise
            child.returncode = os.waitstatus_to_exitcode(status)
            tree_peak = watch()
        wall, busy = time.monotonic() - began, _busy_seconds() - busy_before
        record: Record = {
            "cell": cell,
            "code": code,
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "threads": threads,
            "process_seconds": round(wall, 3),
            "process_cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            "peak_mb": round(max(usage.ru_maxrss / 1024, tree_peak)),
        }
        others = max(0.0, busy - usage.ru_utime - usage.ru_stime) / (wall * cores())
        record["others_share"] = round(others, 3)
        record["disturbed"] = others > QUIET_SHARE or threads != cores()
        if child.returncode != 0 or not answer.exists():
            text = (Path(folder) / "stderr").read_text(encoding="utf-8", errors="replace")
            return {**record, "error": f"exit status {child.returncode}: " + text[-2000:]}
        return {**record, **json.loads(answer.read_text(encoding="utf-8"))}


def _work(benchmark: Benchmark, cell: Cell, answer: Path, started: float) -> None:
    """The child's part: do the cell's work and write what came of it."""
    clock = Clock(started)
    result = dict(benchmark.sides[cell["side"]](cell, clock))
    times = {"seconds": clock.seconds, "import_seconds": clock.import_seconds, "cpu_seconds": clock.cpu_seconds}
    answer.write_text(json.dumps({"result": result, **{name: round(value, 4) for name, value in times.items()}}), encoding="utf-8")


def _busy_seconds() -> float:
    """Processor seconds that the whole machine has spent so far on anything, stolen ones included; 0.0 where it does not tell."""
    try:
        words = Path("/proc/stat").read_text().splitlines()[0].split()
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, irq, soft, steal = (int(word) for word in words[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def _watch_memory(pid: int) -> Callable[[], float]:
    """Look ten times a second at the memory of a process and its descendants; call the result to stop and get the peak in MB."""
    peak, done = [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], sum(_resident_mb(one) for one in _family(pid)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()

    def stop() -> float:
        done.set()
        thread.join()
        return peak[0]

    return stop


def _family(pid: int) -> list[int]:
    """A process and all its living descendants."""
    found = [pid]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def _resident_mb(pid: int) -> float:
    """Memory of a process's own: what it shares with files counts too, so that mapped weights are not hidden."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError):
        return 0.0


# --- circumstances ---


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


@functools.cache
def code_digest() -> str:
    """A digest of headstart's installed Python files: a cell of ours holds for this code alone."""
    spec = importlib.util.find_spec("headstart")
    if spec is None or spec.origin is None:
        return "not installed"
    folder = Path(spec.origin).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def code_of(benchmark: Benchmark, cell: Cell) -> str:
    """What code a cell's record holds for: headstart's, or the versions of the peers."""
    if cell["side"] in benchmark.ours:
        return code_digest()
    return ", ".join(f"{name} {version}" for name, version in package_versions().items() if name != "headstart")


def package_versions() -> dict[str, str]:
    """The versions of the packages that decide."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe_machine() -> dict[str, Any]:
    """Cores, processor, memory, versions, date."""
    facts: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": cores(),
        "python": platform.python_version(),
        "headstart_code": code_digest(),
    }
    try:
        lines = [line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines() if ":" in line]
        described = {name.strip(): value.strip() for name, value in lines}
        facts["cpu"] = described["model name"]
        wide = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
        facts["vector_units"] = [name for name in wide if name in described["flags"].split()]
    except (OSError, KeyError):
        facts["cpu"] = platform.processor()
    facts["memory_gb"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    facts["versions"] = package_versions()
    return facts


def gemm_gflops(seconds: float = 0.5) -> dict[str, float]:
    """GFLOP/s of float32 matrix products in this process: `usual` is PyTorch's own, `onednn` that of its oneDNN layer; 0.0 where absent.

    The best of as many products of 2048 x 2048 as fit into `seconds` for each: other work on the machine only ever slows.
    """
    import torch

    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    kernels: dict[str, Callable[[], Any]] = {
        "usual": lambda: torch.mm(left, right),
        "onednn": lambda: torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], ""),
    }
    speeds = {}
    with torch.inference_mode():
        for name, multiply in kernels.items():
            speeds[name] = 0.0
            try:
                multiply()
            except (RuntimeError, AttributeError, NotImplementedError):
                continue
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                begin = time.perf_counter()
                multiply()
                speeds[name] = max(speeds[name], 2 * 2048**3 / (time.perf_counter() - begin) / 1e9)
    return {name: round(speed, 1) for name, speed in speeds.items()}


def _measure_machine(script: Path, threads: int) -> Record:
    """The machine, with its matrix speed measured in a fresh process as a cell is."""
    record = run_cell(script, {"side": "machine"}, threads, code="")
    return {"machine": {**describe_machine(), "gemm_gflops": record.get("result", {}), "gemm_disturbed": record["disturbed"]}}


# --- numbers and files ---


def median(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def spread(values: Sequence[float], digits: int = 1) -> str:
    """`12.3 (11.9 to 13.0)`: median, least and greatest; the value alone where there is one; a dash where there is none."""
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean of positive numbers; NaN of nothing."""
    return statistics.geometric_mean(values) if values else float("nan")


def times_of(records: Iterable[Record], part: str = "seconds", *, imports: bool = False) -> list[float]:
    """The seconds of every run that counts, optionally with the imports of its process.

    `part` is `seconds`, or the name of seconds among a side's results; runs without it are left out.
    """
    found = []
    for record in records:
        for run in record["runs"]:
            seconds = run["seconds"] if part == "seconds" else run["result"].get(part)
            if seconds is not None:
                found.append(seconds + (run["import_seconds"] if imports else 0.0))
    return found


def markdown(table: Table) -> str:
    """The table in Markdown."""
    rows = [table.head, tuple("---" for _ in table.head), *table.rows]
    return f"### {table.title}\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write_results(benchmark: Benchmark, lines: list[Record], cells: list[Cell], *, quick: bool) -> Path:
    """Make the JSON and the readable results of everything that was measured so far; returns the path of the readable ones."""
    have = latest(lines)
    records = [have[cell_key(cell)] for cell in cells if cell_key(cell) in have]
    report = benchmark.report(records)
    machines = [line["machine"] for line in lines if "machine" in line]
    machine = machines[-1] if machines else describe_machine()
    disturbed = sum(record["disturbed"] for record in records)
    old = sum(record["code"] != code_of(benchmark, record["cell"]) for record in records)
    state = [f"{len(records)} of {len(cells)} cells are measured."]
    if disturbed:
        state.append(f"{disturbed} of them were timed while other work ran on the machine: their scores hold, their seconds do not.")
    if old:
        state.append(f"{old} of them were made by other versions of the code.")
    folder = WORK if quick else RESULTS
    name = f"{benchmark.name}.quick" if quick else benchmark.name
    plain = {
        "benchmark": benchmark.name,
        "state": {"cells": len(cells), "measured": len(records), "disturbed": disturbed, "other_code": old},
        "machine": machine,
        "figures": report.figures,
        "records": [{key: value for key, value in record.items() if key != "runs"} for record in records],
    }
    _replace(folder / f"{name}.json", json.dumps(plain, indent=1, sort_keys=True) + "\n")
    parts = [f"# {benchmark.title}", " ".join(state), "\n".join(f"- {line}" for line in report.lines)]
    parts += [markdown(table) for table in report.tables]
    parts += ["## Circumstances", "\n".join(f"- {note}" for note in (*benchmark.notes, *machine_lines(machine)))]
    _replace(folder / f"{name}.md", "\n\n".join(part for part in parts if part) + "\n")
    return folder / f"{name}.md"


def machine_lines(machine: Mapping[str, Any]) -> list[str]:
    """The machine's description in sentences."""
    units = f" ({', '.join(machine['vector_units'])})" if machine.get("vector_units") else ""
    lines = [f"{machine['cores']} cores of {machine['cpu']}{units}, {machine['memory_gb']} GB of memory, {machine['system']}."]
    gemm = machine.get("gemm_gflops")
    if gemm:
        when = ", measured while other work ran" if machine.get("gemm_disturbed") else ""
        lines.append(f"Float32 matrix product: {gemm['usual']:.0f} GFLOP/s by PyTorch's usual path, {gemm['onednn']:.0f} by oneDNN{when}.")
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines.append(f"Python {machine['python']}, {versions}; headstart's code {machine['headstart_code']}; {machine['date']}.")
    return lines


def _replace(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


# --- the command ---


def _matches(cell: Cell, only: Sequence[str]) -> bool:
    """Whether a cell has one of the given values for every name that `NAME=VALUE` words mention."""
    wanted: dict[str, set[str]] = {}
    for word in only:
        name, _, value = word.partition("=")
        wanted.setdefault(name, set()).add(value)
    return all(str(cell.get(name)) in values for name, values in wanted.items())


def main(benchmark: Benchmark, script: str, description: str | None) -> int:
    """The command of one benchmark: run what is missing, then write the results."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small version, kept apart in benchmarks/work")
    parser.add_argument("--retime", action="store_true", help="run again the cells that were timed while other work ran")
    parser.add_argument("--any-code", action="store_true", help="keep cells that other versions of the code made")
    parser.add_argument("--only", metavar="NAME=VALUE", action="append", default=[], help="only such cells, as side=setfit; repeatable")
    parser.add_argument("--threads", type=int, default=cores(), help="threads of each side; other than all cores counts as disturbed")
    parser.add_argument("--status", action="store_true", help="list the cells that would run, and stop")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        cell = json.loads(given.worker)
        if cell == {"side": "machine"}:
            given.answer.write_text(json.dumps({"result": gemm_gflops()}), encoding="utf-8")
        else:
            _work(benchmark, cell, given.answer, given.started)
        return 0
    path = WORK / f"{benchmark.name}{'.quick' if given.quick else ''}.jsonl"
    if not given.quick:
        take_up(path, RESULTS / f"{benchmark.name}.json")
    cells = benchmark.cells(given.quick)
    chosen = [cell for cell in cells if _matches(cell, given.only)]
    wanted = to_run(benchmark, chosen, read_lines(path), retime=given.retime, any_code=given.any_code)
    if given.status:
        print(f"{len(wanted)} of {len(chosen)} cells would run:", *map(cell_key, wanted), sep="\n")
        return 0
    failed = 0
    if wanted:
        append_line(path, _measure_machine(Path(script).resolve(), given.threads))
    for number, cell in enumerate(wanted, start=1):
        record = run_cell(Path(script).resolve(), cell, given.threads, code_of(benchmark, cell))
        append_line(path, record)
        failed += "error" in record
        told = record["error"].strip().splitlines()[-1] if "error" in record else f"{record['seconds']:.1f} s{_score_of(record)}"
        print(f"[{number}/{len(wanted)}] {cell_key(cell)}: {told}", flush=True)
    print(write_results(benchmark, read_lines(path), cells, quick=given.quick))
    return 1 if failed else 0


def _score_of(record: Record) -> str:
    """`, accuracy 0.874` where a cell has one."""
    accuracy = record["result"].get("accuracy")
    return "" if accuracy is None else f", accuracy {accuracy:.4f}"
