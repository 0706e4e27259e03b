"""The shelf: a folder with one small file for each source that can be used by name.

Every file is written whole or not at all and stands for itself, so a kill loses nothing and a damaged one spoils no other. It says where
the model stands; the model itself stays there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import re
import shlex
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from headstart.environment import expand_home
from headstart.errors import ResourceError, SettingsError, SourceError
from headstart.settings import did_you_mean
from headstart.sources.entries import Damaged, Entry, Kind, WrongEntryError, parse_entry
from headstart.sources.identity import content_digest, identifying_files
from headstart.sources.package import package_folder

LONGEST_NAME = 80  # characters
_ENDING = ".json"


# --- where, and under which names ---


def shelf_folder() -> Path:
    """The folder of the shelf: $HEADSTART_SHELF, else ~/.local/share/headstart/shelf.

    Raises:
        SettingsError: it begins with the folder of a user whom this machine does not know.
    """
    return expand_home(os.environ.get("HEADSTART_SHELF") or "~/.local/share/headstart/shelf", "The shelf", SettingsError)


def key(name: str) -> str:
    """What tells names apart: not case, and not how an accent is put together, since some disks cannot keep such files apart either."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def entry_path(name: str) -> Path:
    """The file of a name: the name itself where any disk can hold it, else a likeness and a hash of it."""
    plain = key(name)
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,79}", plain):
        digest = hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        plain = f"{re.sub(r'[^a-z0-9_-]', '_', plain)[:60]}~{digest}"
    return shelf_folder() / (plain + _ENDING)


def default_name(place: str) -> str:
    """The last part of a place, with what a name may not hold turned into dashes."""
    last = re.split(r"[\\/]", place.rstrip("\\/"))[-1].removeprefix("hub:").partition("@")[0]
    name = "".join(c if c.isprintable() and c != ":" else "-" for c in last).lstrip(".-~ ")[:LONGEST_NAME]
    return re.sub(r"(\.txt|\s)+$", "", name, flags=re.IGNORECASE) or "source"


def require_good_name(name: str) -> None:
    """A name that a person chose must be one that `--source` can find.

    Raises:
        SourceError: it is not.
    """
    whole = 0 < len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip() and not re.search(r"[\\/:]", name)
    if not whole or name[0] in ".-~" or name.casefold().endswith(".txt"):
        raise SourceError(
            f"{name!r} cannot be a name on the shelf: give 1 to {LONGEST_NAME} printable characters without / \\ and :, not beginning with "
            "'.', '-' or '~' and not ending in .txt."
        )


def word(name: str) -> str:
    """A name or place as one word of a command line."""
    return shlex.quote(name)


# --- reading ---


def read_shelf() -> tuple[list[Entry], list[Damaged]]:
    """Everything on the shelf, by name; and the files that cannot be read.

    Raises:
        ResourceError: the folder cannot be read.
    """
    folder = shelf_folder()
    try:
        paths = sorted(folder / name for name in os.listdir(folder) if name.endswith(_ENDING))
    except FileNotFoundError:
        return [], []
    except OSError as error:
        reason = str(error.strerror).lower()
        raise ResourceError(
            f"The shelf at {str(folder)!r} cannot be read ({reason}); repair it or name another in HEADSTART_SHELF."
        ) from None
    read = [_read(path) for path in paths]
    entries = [item for item in read if isinstance(item, Entry)]
    return sorted(entries, key=lambda entry: key(entry.name)), [item for item in read if isinstance(item, Damaged)]


def find(name: str) -> Entry | None:
    """The entry of a name, case aside; None when there is none.

    Raises:
        SourceError: its file is damaged.
    """
    path = entry_path(name)
    if not path.exists():
        return None
    item = _read(path)
    if isinstance(item, Damaged):
        raise SourceError(
            f"What the shelf says of {name!r} cannot be read ({item.reason}, in {str(path)!r}); take it away with "
            f"`headstart sources remove {word(item.name)}` and add the source again."
        )
    return item


def not_there(name: str) -> SourceError:
    """The error for a name that is not on the shelf, with the nearest that is."""
    near = did_you_mean(name, [entry.name for entry in read_shelf()[0]])
    return SourceError(f"There is no {name!r} on the shelf; `headstart sources list` shows what is.{near}")


def _read(path: Path) -> Entry | Damaged:
    """One file of the shelf."""
    try:
        entry = parse_entry(path.read_bytes())
    except OSError as error:
        return Damaged(path.stem, path, str(error.strerror).lower())
    except WrongEntryError as error:
        return Damaged(path.stem, path, str(error))
    if entry_path(entry.name).name != path.name:
        return Damaged(path.stem, path, f"it names itself {entry.name!r}")
    return entry


# --- whether an entry still holds ---


def model_folder(entry: Entry) -> Path | None:
    """Where the entry's model stands on this machine; None for a hub model and for a package that is not installed."""
    if entry.kind is Kind.HUB:
        return None
    if entry.kind is Kind.PACKAGE:
        return package_folder(entry.place)
    place = Path(entry.place)
    return place if (place / "config.json").is_file() else place / "model"


def quick_problem(entry: Entry) -> str:
    """What is wrong with an entry as far as names and sizes of files tell; "" when nothing is. Nothing is hashed."""
    if entry.kind is Kind.HUB:
        return ""
    folder = model_folder(entry)
    if folder is None:
        return f"the package {entry.place} is not installed"
    if not Path(folder if entry.kind is Kind.PACKAGE else entry.place).is_dir():
        return "its folder is gone"
    try:
        now = dict(identifying_files(folder))
    except (SourceError, OSError):
        return "its weights are incomplete"
    was = dict(entry.files)
    for name, size in was.items():
        if name not in now:
            return f"{name} is gone"
        if now[name] != size:
            return f"{name} has {now[name]:,} bytes, not {size:,}"
    return next((f"{name} was not there before" for name in now if name not in was), "")


def problem(entry: Entry) -> str:
    """What is wrong with an entry, its files read in full; "" when it is what was added."""
    quick = quick_problem(entry)
    folder = model_folder(entry)
    if quick or folder is None:
        return quick
    try:
        return "" if content_digest(folder) == entry.digest else "its files have other content"
    except (SourceError, OSError) as error:
        return f"its files cannot be read: {str(error).splitlines()[0].rstrip('.')}"


def require_unchanged(entry: Entry) -> None:
    """An entry may be used when its source is what was added.

    Raises:
        SourceError: it is gone or has changed.
    """
    found = problem(entry)
    if found:
        raise SourceError(
            f"{entry.name!r} on the shelf is not what was added from {entry.place!r} ({found}), so it is not used. {remedy(entry)}."
        )


def remedy(entry: Entry) -> str:
    """What to do about an entry whose source is gone or has changed."""
    gone = entry.kind in (Kind.RUN, Kind.FOLDER) and not Path(entry.place).is_dir()
    again = "PLACE` takes it from where it is now" if gone else f"{word(entry.place)}` takes it as it is now"
    return f"`headstart sources add {again}; `headstart sources remove {word(entry.name)}` takes it off the shelf"


# --- writing ---


def put(entry: Entry, name: str | None) -> Entry:
    """Put a source on the shelf. The entry of the same source, if there is one, is replaced, also where its folder was moved.

    Args:
        entry: the source; the name in it counts for nothing.
        name: what a person chose; None: the name that the source has there already, else its place's last part, with a number behind it
            when another source has that.

    Raises:
        SourceError: the name cannot be one, or is another source's.
        OSError: the disk or a permission stood in the way; then the shelf is as it was.
    """
    shelf_folder().mkdir(parents=True, exist_ok=True)
    with _alone():
        entries, damaged = read_shelf()
        before = next((old for old in entries if _same(old, entry)), None)
        taken = {entry_path(old.name).name: old for old in entries if old is not before}
        torn = {item.path.name for item in damaged}

        def free(wanted: str) -> bool:
            return entry_path(wanted).name not in {*taken, *torn} and not _hidden(wanted, entry)

        if name is not None:
            require_good_name(name)
            if not free(name):
                raise _not_free(name, taken.get(entry_path(name).name), entry_path(name).name in torn)
            chosen = name
        elif before is not None:
            chosen = before.name
        else:
            first = default_name(entry.place)
            numbered = (f"{first[: LONGEST_NAME - 6]}-{number}" for number in itertools.count(2))
            chosen = next(candidate for candidate in itertools.chain([first], numbered) if free(candidate))
        named = dataclasses.replace(entry, name=chosen)
        _write(named)
        if before is not None and entry_path(before.name) != entry_path(chosen):
            entry_path(before.name).unlink(missing_ok=True)
        return named


def drop(name: str) -> str:
    """Take an entry off the shelf, a damaged one too, and return its name. The model stays where it is.

    Raises:
        SourceError: there is no such entry.
        OSError: it cannot be removed.
    """
    path = entry_path(name)
    if not path.exists() and Path(name).name == name:
        path = shelf_folder() / (name + _ENDING)  # a damaged file is known by its file's name
    try:
        item = _read(path)
        path.unlink()
    except FileNotFoundError:
        raise not_there(name) from None
    return item.name


def _not_free(name: str, holder: Entry | None, torn: bool) -> SourceError:
    another = "choose another with --name"
    if holder is not None:
        same = "" if holder.name == name else "; names that differ only in case are the same"
        return SourceError(
            f"The shelf has {holder.name!r} already ({holder.place}){same}. {another[:1].upper()}{another[1:]}, or take that one off with "
            f"`headstart sources remove {word(holder.name)}`."
        )
    if torn:
        stem = entry_path(name).stem
        return SourceError(
            f"The shelf's file of {name!r} is damaged; {another}, or remove it with `headstart sources remove {word(stem)}`."
        )
    return SourceError(f"{name!r} is the name of an installed package with a model, which would be found first; {another}.")


def _hidden(name: str, entry: Entry) -> bool:
    """Whether an installed package with a model would be found before the entry of this name."""
    folder, own = package_folder(name), model_folder(entry)
    return folder is not None and (own is None or folder.resolve() != own.resolve())


def _same(old: Entry, new: Entry) -> bool:
    """Whether both are one source: the same place, or the same files whose old folder is gone."""
    if (old.kind in (Kind.RUN, Kind.FOLDER)) != (new.kind in (Kind.RUN, Kind.FOLDER)):
        return False
    moved = old.kind in (Kind.RUN, Kind.FOLDER) and old.digest == new.digest and not Path(old.place).exists()
    return old.place == new.place or moved


def _write(entry: Entry) -> None:
    from headstart.runs import whole_file  # here, for it brings numpy along, which reading a shelf does not need

    with whole_file(entry_path(entry.name)) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(entry), indent=1) + "\n", encoding="utf-8")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Nobody else adds meanwhile, so that two sources never take one name. A process that is killed lets go."""
    import fcntl

    with open(shelf_folder() / ".lock", "ab") as file:
        with contextlib.suppress(OSError):  # a disk without locks: then only two adds in the same instant could meet
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
