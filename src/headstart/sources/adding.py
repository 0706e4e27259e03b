"""From a finished run or a place to an entry of the shelf."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import SourceError
from headstart.sources import files, resolve, shelf
from headstart.sources.entries import Entry, Kind, Learned, Origin
from headstart.sources.identity import content_digest, identifying_files
from headstart.sources.names import given_path
from headstart.sources.package import package_folder

if TYPE_CHECKING:
    from headstart.records import Results
    from headstart.runs import RunFolder
    from headstart.sources.source import Source

TASK = "classification"  # of a model with labels of its own that no run of headstart made
NOTED = "came from"  # the journal's line of where the winner's weights began
_METRICS = "metrics.json"


def note_origin(run: RunFolder, source: Source) -> None:
    """Write into the run's journal where the winner's weights began, so that the run folder can tell it wherever it is moved."""

    def work() -> dict[str, Any]:
        digest = ""
        with suppress(OSError, SourceError):  # the source went away meanwhile; its name and place are still worth telling
            digest = content_digest(source.folder)
        return {**asdict(Origin(source.name, source.place, digest)), "seconds": 0.0}

    run.remember(NOTED, work)


def add_run(folder: Path, name: str | None = None) -> Entry | None:
    """Put a finished run on the shelf; None when its winner transfers nothing (tfidf), so that it cannot be a source.

    Args:
        folder: of the run.
        name: under which it stands there; None: that of its folder, with a number when another source has it.

    Raises:
        RunError: the run is not finished.
        SourceError: its model is damaged, or the name cannot be given.
        OSError: the shelf cannot be written.
    """
    from headstart.runs import MODEL, open_run

    place = given_path(folder).resolve()
    results = open_run(place).results
    config = files.read_json(place / MODEL / "config.json")
    if config.get("model_type") == resolve.WITHOUT_TRANSFER:
        return None
    return shelf.put(_entry(Kind.RUN, str(place), config, results), name)


def stands_there(folder: Path) -> bool:
    """Whether the shelf has an entry of this folder, changed or not.

    Raises:
        SourceError: it begins with the folder of a user whom this machine does not know.
    """
    place = str(given_path(folder).resolve())
    return any(entry.place == place for entry in shelf.read_shelf()[0])


def add_place(place: str, name: str | None = None) -> Entry:
    """Put anything that can be a source on the shelf.

    Args:
        place: a folder (a model, or a run), an installed package, `hub:NAME`, or a name on the shelf, whose entry is then taken anew.
        name: under which it stands there; None: the last part of its place, with a number when another source has it.

    Raises:
        SourceError: it cannot be a source, or the name cannot be given. A hub model is only looked at when it is used.
        OSError: the shelf cannot be written.
    """
    if not given_path(place).exists() and package_folder(place) is None:
        known = shelf.find(place)
        place = known.place if known is not None else place
    if place.startswith(resolve.HUB):
        resolve.hub_name(place)  # refuses what is no such name
        return shelf.put(_entry(Kind.HUB, place, {}, None), name)
    path = given_path(place)
    if path.is_dir() and (path / _METRICS).is_file():
        entry = add_run(path, name)
        if entry is not None:
            return entry
        # A winner without transfer: the next line refuses it in the words of `--source`.
    source = resolve.resolve_source(str(path.resolve()) if path.is_dir() else place)
    kind = Kind.FOLDER if path.is_dir() else Kind.PACKAGE
    return shelf.put(_entry(kind, source.place, files.read_json(source.folder / "config.json"), None), name)


def _entry(kind: Kind, place: str, config: Mapping[str, Any], results: Results | None) -> Entry:
    """The entry of a place, without a name yet."""
    entry = Entry(
        name="",
        kind=kind,
        place=place,
        digest="",
        files=(),
        task=results.task if results is not None else TASK if _own_labels(config) else "",
        labels=_own_labels(config),
        learned=None if results is None else _learned(results),
        came_from=None if results is None or not results.winner.transfers else _noted_origin(Path(place), results),
        added=_today(),
    )
    folder = shelf.model_folder(entry)
    return entry if folder is None else replace(entry, files=identifying_files(folder), digest=content_digest(folder))


def _today() -> str:
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


def _own_labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The label names that a classifier's configuration holds; () when it holds none but transformers' placeholders."""
    named = config.get("id2label")
    labels = tuple(str(label) for label in named.values()) if isinstance(named, dict) else ()
    return () if all(label == f"LABEL_{k}" for k, label in enumerate(labels)) else labels


def _learned(results: Results) -> Learned:
    return Learned(
        strategy=results.winner.strategy,
        data=results.data.name,
        rows=results.data.used,
        median_tokens=results.data.median_tokens,
        metric=results.metric,
        score=results.scores[results.metric],
        judged_on=results.judged_on,
        seeds=results.seeds,
    )


def _noted_origin(run: Path, results: Results) -> Origin | None:
    """What the journal says of the winner's source; for a run of before there were such lines, what can still be found out."""
    from headstart.runs import JOURNAL

    for line in (run / JOURNAL).read_bytes().split(b"\n") if (run / JOURNAL).is_file() else []:
        with suppress(ValueError, KeyError, TypeError):  # a line that a kill cut short
            entry = json.loads(line)
            if entry["key"] == NOTED:
                return Origin(*(str(entry["result"][part]) for part in ("name", "place", "digest")))
    name = results.winner.source
    if name is None:
        return None
    return Origin(name, name if package_folder(name) is not None or name.startswith(resolve.HUB) else "", "")
