"""What is given as a source, before anything is opened: text files of names, and a run that would begin from itself."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from headstart.environment import expand_home
from headstart.errors import RunError, SourceError
from headstart.sources import shelf
from headstart.sources.entries import Kind
from headstart.sources.package import package_folder

LIST_ENDING = ".txt"


def expand_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names of sources, every text file of names (*.txt) replaced by what stands in it; each name once.

    In a file stands one name a line, as `--source` takes it; empty lines, lines that begin with #, and what follows " #" count for nothing.

    Raises:
        SourceError: a file cannot be read as text, holds no name, or names another such file; or there is no such user's folder.
    """
    found: dict[str, None] = {}
    for name in names:
        found |= dict.fromkeys(_read_names(given_path(name)) if _is_list(name) else [name])
    return tuple(found)


def given_path(name: str | Path) -> Path:
    """The path that a name would be, with ~ and ~USER as the folder of that user.

    Raises:
        SourceError: this machine knows no folder of that user.
    """
    return expand_home(name, "The source", SourceError)


def refuse_own_source(run: Path, names: Sequence[str]) -> None:
    """A run cannot begin from the model that it is about to write.

    Args:
        run: the folder of the run.
        names: its sources.

    Raises:
        RunError: one of them stands in that folder.
    """
    for name in names:
        folder = _local_folder(name)
        if folder is not None and folder.resolve().is_relative_to(run.resolve()):
            raise RunError(
                f"The run in {str(run)!r} would be its own source: {name!r} is in that folder. "
                "Name another folder with --out, or another source with --source."
            )


def _is_list(name: str) -> bool:
    return name.casefold().endswith(LIST_ENDING) and given_path(name).is_file()


def _read_names(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise SourceError(f"{str(path)!r} is no text file of names (not UTF-8); write one source a line.") from None
    except OSError as error:
        raise SourceError(
            f"{str(path)!r} cannot be read ({str(error.strerror).lower()}); repair it or name the sources one by one."
        ) from None
    found = []
    for number, line in enumerate(lines, 1):
        name = "" if line.lstrip().startswith("#") else line.split(" #")[0].strip()
        if _is_list(name):
            raise SourceError(f"Line {number} of {str(path)!r} names another file of names, {name!r}; write its names there instead.")
        if name:
            found.append(name)
    if not found:
        raise SourceError(f"{str(path)!r} names no source; write one a line.")
    return found


def _local_folder(name: str) -> Path | None:
    """The folder that a name means, found as `resolve_source` finds it but neither checked nor fetched; None when it means none."""
    with suppress(SourceError):  # a damaged entry, or a user's folder that is not known: opening the source tells it
        path = given_path(name)
        if path.is_dir():
            return path
        entry = shelf.find(name) if not path.exists() and package_folder(name) is None else None
        if entry is not None and entry.kind in (Kind.RUN, Kind.FOLDER):
            return Path(entry.place)
    return None
