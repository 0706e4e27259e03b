"""Which rows an earlier run, and those before it, learnt from: a source that was taught the target's own rows cannot be judged on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from headstart.sources.source import Source

SPLITS, COLUMN = "splits.parquet", "text"
_FEW = 5  # texts that everybody writes ("thanks") may be shared
_SHARE = 0.05


def text_digest(text: str) -> int:
    """Eight bytes of a hash over a text, whatever its case and spaces, as a signed number."""
    plain = " ".join(text.casefold().split()).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(plain, digest_size=8).digest(), "big", signed=True)


def taught(source: Source) -> frozenset[int]:
    """Digests of the texts that a source's run learnt from, and those of the runs that it began with; empty for anything else.

    Read from the run folders as they stand: a model that was copied out of its run tells nothing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: set[int] = set()
    folder, seen = source.folder.parent, set[Path]()
    while folder.resolve() not in seen and (folder / SPLITS).is_file():
        seen.add(folder.resolve())
        with suppress(OSError, pa.ArrowInvalid, KeyError):  # a run of before there was the column, or a damaged file
            found.update(pq.read_table(folder / SPLITS, columns=[COLUMN])[COLUMN].to_pylist())
        folder = _began_with(folder)
    return frozenset(found)


def _began_with(run: Path) -> Path:
    """The run folder that a run's weights came from; the folder itself where none is known."""
    from headstart.runs import JOURNAL, MODEL
    from headstart.sources.adding import NOTED

    with suppress(OSError):
        for line in (run / JOURNAL).read_bytes().split(b"\n"):
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                if entry["key"] == NOTED:
                    place = Path(entry["result"]["place"])  # of the run, or of its model
                    return place.parent if place.name == MODEL and (place.parent / SPLITS).is_file() else place
    return run


def refusal(source: Source, *parts: Sequence[str]) -> str:
    """Why a source cannot be judged on a target, in a sentence; "" where it can.

    `parts`: the texts of the training rows, and those of a test file; each by itself, for few test rows are a small share of all.
    """
    for shared, rows in _shared(source, parts):
        if shared >= max(_FEW, _SHARE * rows):
            return (
                f"The source {source.name!r} was taught {shared:,} of these {rows:,} rows, so no score on them would be honest; "
                "name the source that it began with."
            )
    return ""


def remark(source: Source, *parts: Sequence[str]) -> str:
    """How many rows a source was taught that is not refused for them, in a sentence; "" where they are none, or a few that anyone writes.
    `parts` as of `refusal`."""
    shared, rows = max(_shared(source, parts), default=(0, 0))
    if shared < _FEW:
        return ""
    why = "too few to leave it out, and scores may flatter it a little"
    return f"The source {source.name!r} was taught {shared:,} of these {rows:,} rows: {why}."


def _shared(source: Source, parts: Sequence[Sequence[str]]) -> list[tuple[int, int]]:
    """Of each part how many rows a source was taught, and how many there are."""
    known = taught(source)
    return [(sum(text_digest(text) in known for text in texts), len(texts)) for texts in parts] if known else []
