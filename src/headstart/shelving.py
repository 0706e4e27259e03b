"""The shelf of sources in words: what `headstart sources` prints, and what a finished run says."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from headstart.errors import HeadstartError, SourceError
from headstart.settings import Metric
from headstart.sources import adding, shelf
from headstart.sources.entries import Entry, Kind, Learned, Origin
from headstart.sources.names import expand_names
from headstart.sources.shelf import word

LABELS_SHOWN = 12
_METRICS = {metric.value: metric.shown for metric in Metric}
_NONE = "-"


def shelve_run(folder: Path, *, renew: bool) -> str:
    """Put a finished run on the shelf and say so in a line; "" when there is nothing to say. What goes wrong is said, for the run is done.

    Args:
        folder: of the run.
        renew: whether an entry that stands there already is taken anew.
    """
    try:
        if not renew and adding.stands_there(folder):
            return ""
        entry = adding.add_run(folder)
    except (OSError, HeadstartError) as error:
        reason = str(error.strerror).lower() if isinstance(error, OSError) else str(error).rstrip(".")
        again = f"`headstart sources add {word(str(folder))}` puts it there later"
        return f"the run is finished but not on the shelf of sources ({reason}); {again}"
    return "" if entry is None else f"on the shelf as {_line(entry.name)!r}"


# --- list ---


def listing() -> Iterator[str]:
    """A table of the shelf: a line of headings, then a source a line, those that cannot be used with what is wrong."""
    entries, damaged = shelf.read_shelf()
    if not entries and not damaged:
        yield f"The shelf at {shelf.shelf_folder()} is empty; a finished fit puts its model there, `headstart sources add PLACE` any other."
        return
    rows: list[tuple[str, ...]] = [("name", "kind", "task", "labels", "rows", "came from", "score", "")]
    rows += [(*_cells(entry), _not_usable(shelf.quick_problem(entry))) for entry in entries]
    rows += [(_line(item.name), *[_NONE] * 6, _not_usable(f"its file on the shelf is damaged: {item.reason}")) for item in damaged]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    numbers = (3, 4)  # labels and rows stand on the right
    for row in rows:
        yield "  ".join(f"{cell:{'>' if i in numbers else '<'}{widths[i]}}" for i, cell in enumerate(row)).rstrip()


def listing_json() -> Iterator[str]:
    """The shelf as one JSON list: every entry with all its fields and its `problem` ("": none); of a damaged one only name and problem."""
    entries, damaged = shelf.read_shelf()
    known = [{**dataclasses.asdict(entry), "problem": shelf.quick_problem(entry)} for entry in entries]
    torn = [{"name": item.name, "problem": f"its file on the shelf is damaged: {item.reason}"} for item in damaged]
    yield json.dumps([*known, *torn], indent=1)


def _cells(entry: Entry) -> tuple[str, ...]:
    learned = entry.learned
    return (
        _line(entry.name),
        entry.kind.value,
        _line(entry.task) or _NONE,
        f"{len(entry.labels):,}" if entry.labels else _NONE,
        f"{learned.rows:,}" if learned else _NONE,
        _line(entry.came_from.name) if entry.came_from else _NONE,
        _score(learned) if learned else _NONE,
    )


def _not_usable(what: str) -> str:
    return f"not usable: {_line(what)}" if what else ""


def _score(learned: Learned) -> str:
    score = learned.score
    return f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}] {_METRICS.get(learned.metric, _line(learned.metric))}"


def _line(text: str) -> str:
    """Foreign text on one line that no terminal takes for a command."""
    return "".join(c if c.isprintable() else " " for c in text)


# --- describe ---


def describe(names: Sequence[str]) -> Iterator[str]:
    """All that the shelf knows of each source, its files read and compared; an empty line between two.

    Raises:
        SourceError: names that are not there, or cannot be read; after the others were described.
    """
    return _each(names, _describe, gap=True)


def _describe(name: str) -> str:
    entry = shelf.find(name)
    if entry is None:
        raise shelf.not_there(name)
    learned, problem = entry.learned, shelf.problem(entry)
    state = "downloaded when it is used" if entry.kind is Kind.HUB else _not_usable(problem) or "as it was when it was added"
    lines = {"kind": entry.kind.value, "place": _line(entry.place), "state": state, "task": _line(entry.task) or "none of its own"}
    if entry.labels:
        shown = ", ".join(map(_line, entry.labels[:LABELS_SHOWN]))
        more = len(entry.labels) - LABELS_SHOWN
        lines["labels"] = f"{len(entry.labels):,}: {shown}" + (f" and {more:,} more" if more > 0 else "")
    if learned:
        lines["data"] = f"{_line(learned.data)}: {learned.rows:,} rows, {learned.median_tokens:,} tokens in the median text"
        lines["strategy"] = _line(learned.strategy)
        circumstances = f"{learned.score.n:,} rows, {_line(learned.judged_on)}, {100 * learned.score.confidence:g} % interval"
        lines["score"] = f"{_score(learned)} ({circumstances}, {_seeds(learned.seeds)})"
    lines["lineage"] = " < ".join(_lineage(entry))
    lines["digest"] = _line(entry.digest) or "none yet"
    lines["added"] = _line(entry.added)
    if problem:
        lines["mend it"] = shelf.remedy(entry)
    else:
        lines["use it"] = f"headstart fit DATA --source {word(entry.name)}"
    return "\n".join([_line(entry.name), *(f"  {what:<10}{value}" for what, value in lines.items())])


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _lineage(entry: Entry) -> Iterator[str]:
    """The source, the one that its weights began from, and so on back, as far as the shelf knows.

    An ancestor is known by the digest of its files, so a folder that holds another model by now is not taken for it. Files of the shelf
    that were edited by hand may tell of a round; it is told once.
    """
    others, _ = shelf.read_shelf()
    told: set[str] = set()
    now: Entry | None = entry
    while now is not None:
        told.add(now.name)
        yield _line(now.name)
        origin, now = now.came_from, None
        if origin is not None:
            now = _ancestor(origin, others)
            if now is None:
                yield _line(origin.name if origin.place in ("", origin.name) else f"{origin.name} ({origin.place})")
            elif now.name in told:
                yield f"{_line(now.name)} again: the shelf's files name each other in a round, so one of them was changed by hand"
                return


def _ancestor(origin: Origin, entries: Sequence[Entry]) -> Entry | None:
    """The entry of the very model that a run began from: the same files, and of several such the one in the same place."""
    alike = [
        entry for entry in entries if (entry.digest == origin.digest if entry.digest and origin.digest else entry.place == origin.place)
    ]
    return next((entry for entry in alike if entry.place == origin.place), alike[0] if alike else None)


# --- add, remove ---


def add(places: Sequence[str], name: str | None) -> Iterator[str]:
    """Put each place on the shelf, a text file of names standing for what it names, and say so.

    Args:
        places: as `adding.add_place` takes them.
        name: of the one place; None: each gets the last part of its place.

    Raises:
        SourceError: places that cannot be added, after the others were; or one name for several.
        OSError: the shelf cannot be written.
    """
    wanted = expand_names(places)
    if name is not None and len(wanted) > 1:
        raise SourceError(f"--name is {name!r} and {len(wanted)} places are given; add them one by one, or without --name.")

    def work(place: str) -> str:
        entry = adding.add_place(place, name)
        labels = f", {len(entry.labels):,} label{'s' if len(entry.labels) > 1 else ''}" if entry.labels else ""
        return f"on the shelf as {_line(entry.name)!r}: {entry.kind.value}{labels} ({_line(entry.place)})"

    return _each(wanted, work)


def remove(names: Sequence[str]) -> Iterator[str]:
    """Take each name off the shelf and say so.

    Raises:
        SourceError: names that are not there, after the others were taken off.
        OSError: the shelf cannot be written.
    """
    return _each(names, lambda name: f"{_line(shelf.drop(name))!r} is off the shelf; the model itself stays where it is")


def _each(names: Iterable[str], work: Callable[[str], str], gap: bool = False) -> Iterator[str]:
    """What `work` says of each name; one that it refuses keeps none of the others from their turn."""
    refused = []
    said = 0
    for name in names:
        try:
            text = work(name)
        except HeadstartError as error:
            refused.append(str(error))
            continue
        if gap and said:
            yield ""
        said += 1
        yield text
    if refused:
        raise SourceError("\n".join(refused))
