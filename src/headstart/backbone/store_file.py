"""The store's file on disk: opened, recognised, set aside when damaged.

`entries` is small and finds a row by (space, key); `payload` holds the bytes in the order of writing, so that writing appends;
`by_use` gives the rows that were unused for longest.

Files are numbered, `rows-1.sqlite` and on. A damaged one is renamed and the next number begun, never the same name again: another
process may still have the damaged file open, and SQLite deletes a log by its name.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

_APPLICATION = 0x68656164  # "head": tells our file from any other SQLite file
_FORMAT = 1
PAGE_BYTES = 8192  # five pooled rows of 1.5 kB fill a page; 4 kB pages hold two, and took 1.4 bytes of disk for each byte of row
BUSY_SECONDS = 30.0
_ROWS_PER_EVICTION = 2048

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spaces (id INTEGER PRIMARY KEY, space BLOB NOT NULL UNIQUE, description TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    space INTEGER NOT NULL, key BLOB NOT NULL, id INTEGER NOT NULL, size INTEGER NOT NULL, checksum INTEGER NOT NULL,
    used INTEGER NOT NULL, PRIMARY KEY (space, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON entries (used, id);
CREATE TABLE IF NOT EXISTS payload (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""


def open_for_writing(path: Path, batch_bytes: int) -> sqlite3.Connection:
    """A connection to a store's file that can write, made when absent.

    Raises:
        sqlite3.DatabaseError: the file is no store of this format.
        sqlite3.OperationalError: the disk refuses.
    """
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _configure(connection)
        mark = _marks(connection)
        if mark == (0, 0, 0):
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        elif mark[:2] != (_APPLICATION, _FORMAT):
            raise sqlite3.DatabaseError("it is no store of this version")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {max(1, batch_bytes // PAGE_BYTES)}").fetchall()
        connection.execute(f"PRAGMA journal_size_limit = {batch_bytes}").fetchall()
        if mark[:2] != (_APPLICATION, _FORMAT):
            connection.execute("BEGIN IMMEDIATE")
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {_FORMAT}")
            connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that only reads. `immutable` is for a folder in which SQLite may not even make its lock file."""
    for option in ("mode=ro", "immutable=1"):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?{option}", uri=True, isolation_level=None, check_same_thread=False)
        try:
            _configure(connection)
            if _marks(connection)[:2] != (_APPLICATION, _FORMAT):
                raise sqlite3.DatabaseError("it is no store of this version")
            return connection
        except sqlite3.OperationalError:
            connection.close()
            if option == "immutable=1":
                raise
        except sqlite3.Error:
            connection.close()
            raise
    raise AssertionError("unreachable")


def _configure(connection: sqlite3.Connection) -> None:
    """What every connection has: bytes for text (damaged text must not raise), checked cells, no mapped file, 16 MB of cache."""
    connection.text_factory = bytes
    connection.execute("PRAGMA mmap_size = 0").fetchall()  # a mapped file that is cut short kills the process
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA secure_delete = OFF").fetchall()
    connection.execute("PRAGMA cache_size = -16384")


def _marks(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Application, format and number of tables of the file; all 0 when it is new.

    All three are of one moment: another process may be making the store just now.
    """
    connection.execute("BEGIN")
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    connection.execute("COMMIT")
    return application, version, tables


def set_aside(path: Path) -> Path:
    """Rename a file of the store that is not used any more, replacing the one that was set aside before; its new path."""
    target = path.with_name(path.name + ".damaged")
    for old in path.parent.glob("rows-*.damaged"):
        if old != target:
            old.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):  # another process was faster
        path.replace(target)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return target


def used_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the pages in use; the file's free pages do not count."""
    pages = connection.execute("PRAGMA page_count").fetchone()[0] - connection.execute("PRAGMA freelist_count").fetchone()[0]
    return int(pages) * PAGE_BYTES


def file_bytes(connection: sqlite3.Connection) -> int:
    """Bytes of the whole file, its free pages included, the log not."""
    return int(connection.execute("PRAGMA page_count").fetchone()[0]) * PAGE_BYTES


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is damaged, rather than locked, full or forbidden.

    SQLite's "malformed" and "not a database" arrive as the plain DatabaseError, all else as one of its subclasses. A broken constraint
    is damage too: what is inserted was looked up in the same transaction.
    """
    return type(error) is sqlite3.DatabaseError or isinstance(error, sqlite3.IntegrityError)


def evict_oldest(connection: sqlite3.Connection, wanted: int) -> int:
    """Delete the rows unused for longest until `wanted` bytes of them are gone, at most 2048 at once; how many were deleted."""
    oldest = connection.execute("SELECT space, key, id, size FROM entries ORDER BY used, id LIMIT ?", (_ROWS_PER_EVICTION,))
    chosen = []
    for space, key, row_id, size in oldest.fetchall():
        chosen.append((space, key, row_id))
        wanted -= size if isinstance(size, int) else 0
        if wanted <= 0:
            break
    connection.executemany("DELETE FROM payload WHERE id = ?", [(row_id,) for _, _, row_id in chosen])
    return connection.executemany("DELETE FROM entries WHERE space = ? AND key = ?", [(space, key) for space, key, _ in chosen]).rowcount


def give_back_pages(connection: sqlite3.Connection) -> None:
    """Take up to 1000 free pages out of the file; it shortens at the next checkpoint."""
    # The statement yields one row without columns for each page. `execute` stops after the first, `executescript` goes through all.
    connection.executescript("PRAGMA incremental_vacuum(1000)")


def roll_back(connection: sqlite3.Connection) -> None:
    """End a transaction that failed. SQLite rolls back by itself, at the latest when the file is opened again."""
    with contextlib.suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def store_files(folder: Path) -> list[Path]:
    """The store's files, oldest first. There are two only when a process was killed while it began a fresh one."""
    return sorted((path for path in folder.glob("rows-*.sqlite") if path.stem[5:].isdigit()), key=file_number)


def file_number(path: Path) -> int:
    """Which in the row of the store's files this is."""
    return int(path.stem[5:])


def nth_file(folder: Path, number: int) -> Path:
    """The path of the store's file with this number."""
    return folder / f"rows-{number}.sqlite"
