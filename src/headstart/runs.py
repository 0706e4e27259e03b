"""The run folder: what was asked, a journal of what was finished, results that appear whole or not at all.

run.yaml         everything asked: settings, versions, digest of the data
journal.jsonl    one line per finished piece of work; running again reads it and goes on
trials/          arrays that belong to journal lines
unfinished/      how far the trainings are that take more than a minute; gone when the run is finished
splits.parquet   which row went where
model/           the winner
metrics.json     everything measured
report.html
tensorboard/
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import shlex
import time
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np

from headstart.errors import RunError
from headstart.records import Gain, Results

JOURNAL, METRICS, REPORT, ASKED, MODEL = "journal.jsonl", "metrics.json", "report.html", "run.yaml", "model"
UNFINISHED = "unfinished"  # how far trainings are, until the run is finished
WITHOUT = "without_transfer"  # the model without transfer, saved beside where the verdict is that transfer hurts


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def digest(*parts: Any) -> str:
    """A short name for content: 16 hex digits of a hash over the parts' JSON."""
    text = json.dumps(parts, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


@dataclass
class RunFolder:
    """An open run folder and what its journal already holds.

    `clock` is the seconds that the run's work has taken, over all processes that worked on it: what is recalled counts as it did then, so
    that a run that goes on decides as one that never stopped.
    """

    path: Path
    finished: dict[str, dict[str, Any]] = field(default_factory=dict)
    clock: float = 0.0
    recalled: int = 0

    @classmethod
    def open(cls, path: Path, asked: dict[str, Any]) -> RunFolder:
        """Open a new folder, or go on in one in which the same was asked.

        Raises:
            RunError: the folder holds another run, or something that is no run.
        """
        path = Path(path)
        identity = digest(asked)
        if path.exists() and not path.is_dir():
            raise RunError(f"{str(path)!r} is a file; name a folder with --out.")
        # A kill while run.yaml was being written leaves nothing but its temporary file.
        if path.is_dir() and any(not item.name.startswith(f".{ASKED}.") for item in path.iterdir()):
            written = _read_asked(path)
            if written is None:
                raise RunError(f"The folder {str(path)!r} is not empty and holds no run; name another with --out.")
            if written.get("identity") != identity:
                raise RunError(
                    f"The folder {str(path)!r} holds another run (other data or settings: {', '.join(_differences(written, asked))}); "
                    "name another with --out, or remove it."
                )
        path.mkdir(parents=True, exist_ok=True)
        if not (path / ASKED).exists():
            import yaml

            with whole_file(path / ASKED) as temporary:
                temporary.write_text(yaml.safe_dump({"identity": identity, **asked}, sort_keys=False, allow_unicode=True), encoding="utf-8")
        (path / "trials").mkdir(exist_ok=True)
        return cls(path, _read_journal(path / JOURNAL))

    def remember(self, key: str, work: Callable[[], dict[str, Any]], spent: float = 0.0) -> dict[str, Any]:
        """The result of `work`, done once: a rerun reads it from the journal.

        Args:
            key: names the work and everything that it depends on.
            work: returns a dictionary of JSON values and numpy arrays. A key `seconds`, where it gives one, is what the work cost; else
                the time it took is noted.
            spent: seconds that went into it before it was stopped.
        """
        if key in self.finished:
            line = self.finished[key]
            try:
                result = {**line["result"], **{name: np.load(self.path / "trials" / file) for name, file in line["arrays"].items()}}
            except (OSError, ValueError, EOFError):
                pass  # an array was removed or damaged: done again
            else:
                self.clock += result["seconds"]
                self.recalled += 1
                return result
        begin = time.perf_counter() - spent
        try:
            result = work()
        except Exception:
            self.clock += time.perf_counter() - begin  # what failed took its time all the same
            raise
        result.setdefault("seconds", time.perf_counter() - begin)
        self.clock += result["seconds"]
        self._note(key, result)
        return result

    def _note(self, key: str, result: dict[str, Any]) -> None:
        arrays: dict[str, str] = {}
        for name, value in result.items():
            if isinstance(value, np.ndarray):
                arrays[name] = f"{digest(key)}-{name}.npy"
                with whole_file(self.path / "trials" / arrays[name]) as temporary, open(temporary, "wb") as file:
                    np.save(file, value, allow_pickle=False)
        plain = {name: value for name, value in result.items() if name not in arrays}
        line = {"key": key, "arrays": arrays, "result": plain}
        with open(self.path / JOURNAL, "ab+") as file:
            # A line that a kill or a full disk cut short must not swallow this one.
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            torn = end > 0 and file.read(1) != b"\n"
            file.write(b"\n" * torn + json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.finished[key] = line


def _read_asked(path: Path) -> dict[str, Any] | None:
    import yaml

    try:
        asked = yaml.safe_load((path / ASKED).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return None
    return asked if isinstance(asked, dict) else None


def _differences(written: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Names of what is asked differently."""
    found = []
    for name in asked:
        before, now = written.get(name), asked[name]
        if isinstance(now, dict) and isinstance(before, dict):
            found += [key for key in {**now, **before} if before.get(key) != now.get(key)]
        elif before != now:
            found.append(name)
    return found or ["versions"]


def _read_journal(path: Path) -> dict[str, dict[str, Any]]:
    """Finished work by key; a last line cut short by a kill is passed over."""
    finished: dict[str, dict[str, Any]] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return finished
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            finished[entry["key"]] = {name: entry[name] for name in ("key", "arrays", "result")}
    return finished


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    results: Results

    @property
    def model(self) -> Any:
        """The saved winner, opened: `.predict(texts)`, `.predict_proba(texts)`, `.labels`."""
        from headstart.loaded import load

        return load(self.folder)

    @property
    def metrics(self) -> dict[str, float]:
        """The winner's scores on the judged rows, as plain numbers."""
        return {name: estimate.value for name, estimate in self.results.scores.items()}

    @property
    def gain(self) -> Gain | None:
        """The winner against the best rung without transfer; None when none was asked for."""
        return self.results.gain

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.folder / REPORT

    def summary(self) -> str:
        """What the command line prints at the end."""
        from headstart.judge.verdict import detour_sentence, verdict_sentence

        beside = self.folder / WITHOUT
        return "\n".join(
            [
                verdict_sentence(self.results),
                *filter(None, [detour_sentence(self.results)]),
                f"report  {self.report}",
                f"model   {self.folder / MODEL}",
                f"use it  headstart predict {shlex.quote(str(self.folder))} FILE",
                *([f"without transfer  headstart predict {shlex.quote(str(beside))} FILE"] if beside.exists() else []),
            ]
        )


def write_results(folder: Path, results: Results) -> None:
    """Write the report, then metrics.json, each whole or not at all; metrics.json comes last, for it says that the run is finished."""
    from headstart.report.build import write_report

    write_report(results, folder / REPORT)
    with whole_file(folder / METRICS) as temporary:
        temporary.write_text(as_json(results), encoding="utf-8")


def as_json(record: Any) -> str:
    """A record as JSON; null stands for numbers that could not be measured, since JSON knows no NaN."""
    return json.dumps(_plain(dataclasses.asdict(record)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def open_run(folder: str | Path) -> Run:
    """A finished run from its folder.

    Raises:
        RunError: there is no finished run.
    """
    path = Path(folder)
    try:
        results = _from_plain(Results, json.loads((path / METRICS).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise RunError(f"The folder {str(path)!r} holds no finished run; run the same `headstart fit` again to finish it.") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        results = None
    if not isinstance(results, Results):
        raise RunError(f"{str(path / METRICS)!r} is damaged; run the same `headstart fit` again to write it anew.")
    return Run(path, results)


def rewrite_report(folder: str | Path) -> str:
    """Write the report of a finished run again; returns the verdict and where the report is."""
    run = open_run(folder)
    from headstart.report.build import write_report

    write_report(run.results, run.report)
    return run.summary()


def _from_plain(kind: Any, value: Any) -> Any:
    """A record from its JSON, by the types of its fields; see `as_json`."""
    if value is None:
        return math.nan if kind is float else None
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not types.NoneType)
    origin = typing.get_origin(kind)
    if origin is tuple:
        inner = typing.get_args(kind)
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_from_plain(part, item) for part, item in zip(kinds, value, strict=True))
    if origin is dict:
        inner = typing.get_args(kind)[1]
        return {name: _from_plain(inner, item) for name, item in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _from_plain(hints[name], item) for name, item in value.items()})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    return value
