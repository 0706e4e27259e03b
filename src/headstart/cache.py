"""Where the store of what was read lies, what is in it, and how to make it smaller: the words of `headstart cache`."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.environment import expand_home
from headstart.errors import SettingsError
from headstart.settings import Settings

if TYPE_CHECKING:
    from headstart.backbone.store import Store

GB = 10**9
_KEY_SHOWN = 8  # letters of a space's key, where its description is that of another too
RANKINGS = "rankings"  # in the store's folder: what `rank` keeps of sources


def store_folder(given: str | None) -> Path:
    """The folder of the store: the given one, else $HEADSTART_CACHE, else ~/.cache/headstart.

    Raises:
        SettingsError: it begins with the folder of a user whom this machine does not know.
    """
    return expand_home(given or os.environ.get("HEADSTART_CACHE") or "~/.cache/headstart", "The store", SettingsError)


def limit_bytes(store_limit: float) -> int:
    """The setting `store_limit`, in GB, as bytes."""
    return int(store_limit * GB)


def parse_gb(word: str | None) -> int:
    """Bytes from a number of GB; None: nothing, 0 bytes.

    Raises:
        SettingsError: no number, or a negative one.
    """
    try:
        number = 0.0 if word is None else float(word)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise SettingsError(f"--to is {word!r}; it must be a number of GB, at least 0.")
    return limit_bytes(number)


def show_bytes(count: int) -> str:
    """A size as people say it: 812 bytes, 45.3 kB, 1.25 GB, 1,200 GB."""
    for unit, scale in (("bytes", 1), ("kB", 10**3), ("MB", 10**6)):
        if float(f"{count / scale:.3g}") < 1000:
            return f"{count / scale:.3g} {unit}"
    return f"{count / GB:.3g} GB" if float(f"{count / GB:.3g}") < 1000 else f"{count / GB:,.0f} GB"


def size(folder: Path) -> str:
    """Where the store is, how much it takes, and in how many rows and kept rankings."""
    if not folder.is_dir():
        return _absent(folder)
    with _open(folder) as store:
        rows = sum(space.entries for space in store.listing())
        return f"{folder}: {show_bytes(store.size_bytes() + _rankings_bytes(folder))} in {_rows(rows)}{_and_rankings(folder)}"


def listing(folder: Path) -> str:
    """A line for each thing that was computed: rows, size, last use, and what it is; the latest used first."""
    if not folder.is_dir():
        return _absent(folder)
    with _open(folder) as store:
        spaces = store.listing()
    if not spaces:
        return f"{folder}: empty"
    told = [", ".join(f"{name} {value}" for name, value in space.description.items()) for space in spaces]
    lines = [f"{'rows':>10}  {'size':>8}  {'last use':<10}  what"]
    for space, what in zip(spaces, told, strict=True):
        day = time.strftime("%Y-%m-%d", time.localtime(space.last_use))
        if not what or told.count(what) > 1:  # of one name, with other weights or another tokenizer
            what = f"{what}, key {space.space.hex()[:_KEY_SHOWN]}" if what else space.space.hex()
        lines.append(f"{space.entries:>10,}  {show_bytes(space.bytes):>8}  {day:<10}  {what}")
    return "\n".join(lines)


def prune(folder: Path, *, to_bytes: int) -> str:
    """Remove the rows unused for longest until `to_bytes` are left, and say what went; kept rankings go only where they alone are more."""
    if not folder.is_dir():
        return _absent(folder)
    kept, gone = _rankings_bytes(folder), ""
    freed = kept if kept > to_bytes else 0
    if freed:
        gone = _and_rankings(folder)
        shutil.rmtree(folder / RANKINGS)
    left = kept - freed
    with _open(folder) as store:
        done = store.prune(to_bytes=to_bytes - left)
    said = f"{_rows(done.entries)}{gone} removed, {show_bytes(done.freed_bytes + freed)} freed"
    return f"{folder}: {said}; {show_bytes(done.size_bytes + left)} are left"


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _rankings_bytes(folder: Path) -> int:
    """What the kept rankings take."""
    return sum(path.stat().st_size for path in (folder / RANKINGS).glob("*"))


def _and_rankings(folder: Path) -> str:
    """How many rankings are kept, as the end of a list; "" where none are."""
    count = sum(1 for _ in (folder / RANKINGS).glob("*.json"))
    return "" if not count else f" and {count:,} kept {'ranking' if count == 1 else 'rankings'}"


def _open(folder: Path) -> Store:
    from headstart.backbone.store import Store

    return Store(folder, limit_bytes(Settings().store_limit))


def _absent(folder: Path) -> str:
    return f"There is no store at {folder} yet; the first run makes it."
