"""The store: what a backbone computed for a text, kept row by row, so that nothing is computed twice.

A row is a float32 array named by a *space* (what was computed: weights, tokeniser, length, pooling, number format) and a *key* (of
which text); `backbone.keys` makes both from content. A row is either absent or exactly what was written: each carries a CRC-32 over
its space, its key and its bytes, and one that does not match is deleted and reported as absent, so it is computed anew.

The rows lie in one SQLite file in WAL mode. What that gives and what it costs:

- several processes may read and write at once: readers never wait, writers take turns of one small batch;
- a kill at any moment loses nothing committed; a power cut may lose the last seconds, and damages nothing (`synchronous=NORMAL`);
- damage to the file's own structure is an error that Python can catch; the file is then set aside and a fresh one begun;
- it does not work on a folder that several *machines* write to over a network file system.

Why not LMDB, which is two to four times faster a row: it maps its file into memory and trusts it, so that a file that was cut short or
overwritten ends the process by a signal, which nothing can catch. Every such file left SQLite standing. A row costs tens of microseconds
where computing it costs milliseconds. The figures: `benchmarks/store_engines.py` and its results.

Times of use are stamped anew only when older than an hour. `backbone.store_file` says how the file is laid out.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.store_file import evict_oldest, file_bytes, give_back_pages, is_damage, roll_back, used_bytes
from headstart.backbone.store_handle import Handle
from headstart.errors import ResourceError

FloatRows = NDArray[np.float32]

_KEYS_PER_QUERY = 128
_ROW_BYTES = 128  # what a row takes in the index and the page besides its own bytes, roughly
_STAMP_SECONDS = 3600
_LARGEST_BATCH = 8 * 2**20

_FIND = (
    "SELECT e.key, e.id, e.checksum, e.used, p.data FROM entries e LEFT JOIN payload p ON p.id = e.id "
    f"WHERE e.space = ? AND e.key IN ({','.join('?' * _KEYS_PER_QUERY)})"
)
_HAVE = f"SELECT key FROM entries WHERE space = ? AND key IN ({','.join('?' * _KEYS_PER_QUERY)})"


@dataclass
class StoreStats:
    """What one `Store` object did so far, counted in rows."""

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    written: int = 0
    evicted: int = 0


@dataclass(frozen=True)
class SpaceInfo:
    """One space of the store. `bytes` are those of its rows; `last_use` is in seconds since 1970, right to an hour."""

    space: bytes
    description: dict[str, Any]
    entries: int
    bytes: int
    last_use: float


@dataclass(frozen=True)
class PruneResult:
    """What pruning did: rows removed, bytes freed, bytes that the rows take now."""

    entries: int
    freed_bytes: int
    size_bytes: int


class Store:
    """Rows of float32 on disk, named by content, bounded in size.

    Threads may share one `Store`; after a fork, parent and child may both go on using it. It never stops a run: what cannot be read is
    absent, what cannot be written is not kept, and the first such trouble is told on standard error. The newest damaged file stays beside
    the store, outside the limit, until `prune` deletes it.
    """

    def __init__(self, folder: Path, limit_bytes: int, clock: Callable[[], float] = time.time) -> None:
        """Open the store in `folder`, making both when absent.

        Args:
            folder: where the store lies. A folder without write permission serves for reading.
            limit_bytes: most bytes that the store may take on disk, at least 1 MB. Rows unused for longest make room for new ones.
            clock: gives the seconds since 1970 that times of use are stamped with.

        Raises:
            ResourceError: the folder cannot be made or read.
        """
        if limit_bytes < 2**20:
            raise ValueError(f"limit_bytes is {limit_bytes}; a store needs at least 1 MB.")
        self.folder = Path(folder)
        self.stats = StoreStats()
        self._clock = clock
        self._limit = limit_bytes
        self._batch = min(_LARGEST_BATCH, limit_bytes // 16)
        # Besides the rows there are up to two batches in the write-ahead log, and one more where pages end unfilled; the limit covers all.
        self._room = limit_bytes - 3 * self._batch
        self._handle = Handle(self.folder, self._batch)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResourceError(
                f"The store's folder {str(self.folder)!r} cannot be made: {error.strerror}. Choose another with --store."
            ) from None
        if not os.access(self.folder, os.R_OK | os.X_OK):
            raise ResourceError(f"The store's folder {str(self.folder)!r} cannot be read: permission denied. Choose another with --store.")
        with self._handle.lock:
            self._handle.connect()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Closing twice is fine; using the store afterwards is a ValueError."""
        with self._handle.lock:
            self._handle.close()

    # --- reading ---

    def read_fixed(self, space: bytes, keys: Sequence[bytes], out: FloatRows) -> NDArray[np.bool_]:
        """Copy the rows that the store holds into `out`.

        Args:
            space: what was computed.
            keys: n keys; the same key may come twice.
            out: shape (n, ...); `out[i]` receives the row of `keys[i]` where it is found and stays as it was elsewhere.

        Returns:
            Shape (n,): which rows were found.

        Raises:
            ValueError: a sound row has another number of values than `out[i]`; the space does not name all that decides the shape.
        """
        if len(out) != len(keys):
            raise ValueError(f"{len(keys)} keys need as many rows in `out`, not {len(out)}.")
        found = np.zeros(len(keys), dtype=np.bool_)
        size = int(np.prod(out.shape[1:], dtype=np.int64))

        def keep(positions: list[int], row: FloatRows) -> None:
            if row.size != size:
                raise ValueError(f"A stored row has {row.size} values where {size} are wanted; its space must name what decides the shape.")
            for position in positions:
                out[position] = row.reshape(out.shape[1:])
                found[position] = True

        self._fetch(space, keys, keep)
        return found

    def read_ragged(self, space: bytes, keys: Sequence[bytes], width: int) -> list[FloatRows | None]:
        """The rows of these keys as arrays of shape (t_i, width), writable and each with its own memory; None where absent.

        Raises:
            ValueError: a sound row's number of values is no multiple of `width`.
        """
        rows: list[FloatRows | None] = [None] * len(keys)

        def keep(positions: list[int], row: FloatRows) -> None:
            if row.size % width:
                raise ValueError(f"A stored row has {row.size} values, no multiple of the width {width}.")
            for position in positions:
                rows[position] = row.reshape(-1, width).copy()

        self._fetch(space, keys, keep)
        return rows

    def contains(self, space: bytes, keys: Sequence[bytes]) -> NDArray[np.bool_]:
        """Which keys the store holds, shape (n,). Neither checks the rows nor counts as use."""
        have: set[bytes] = set()
        with self._handle.lock:
            try:
                connection = self._handle.connect()
                number = None if connection is None else self._space_number(connection, space)
                if connection is not None and number is not None:
                    for part in _padded(list(dict.fromkeys(keys))):
                        have.update(key for (key,) in connection.execute(_HAVE, (number, *part)))
            except sqlite3.Error as error:
                self._handle.trouble(error)
                have.clear()
        return np.fromiter((key in have for key in keys), dtype=np.bool_, count=len(keys))

    def _fetch(self, space: bytes, keys: Sequence[bytes], keep: Callable[[list[int], FloatRows], None]) -> None:
        """Give every sound row among `keys` to `keep`, once, with all positions of its key; one row in memory at a time."""
        positions: dict[bytes, list[int]] = {}
        for position, key in enumerate(keys):
            positions.setdefault(key, []).append(position)
        seed = zlib.crc32(space)
        threshold = int(self._clock()) - _STAMP_SECONDS
        hits = 0
        with self._handle.lock:
            try:
                connection = self._handle.connect()
                number = None if connection is None else self._space_number(connection, space)
                if connection is not None and number is not None:
                    for part in _padded(list(positions)):
                        stale: list[bytes] = []
                        damaged: list[tuple[bytes, int]] = []
                        for key, row_id, checksum, used, data in connection.execute(_FIND, (number, *part)):
                            if not isinstance(data, bytes) or zlib.crc32(data, zlib.crc32(key, seed)) != checksum:
                                damaged.append((key, row_id))
                                continue
                            if not isinstance(used, int) or used < threshold:
                                stale.append(key)
                            keep(positions[key], np.frombuffer(data, dtype="<f4"))
                            hits += len(positions[key])
                        self._stamp(connection, number, stale)
                        self._forget(connection, number, damaged)
            except sqlite3.Error as error:
                self._handle.trouble(error)
            finally:
                self.stats.hits += hits
                self.stats.misses += len(keys) - hits

    def _stamp(self, connection: sqlite3.Connection, number: int, keys: list[bytes]) -> None:
        """Set the time of use of these rows to now. A stamp that cannot be written is not worth a word."""
        if keys and self._handle.storing:
            now = int(self._clock())
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("UPDATE entries SET used = ? WHERE space = ? AND key = ?", [(now, number, key) for key in keys])
                connection.execute("COMMIT")
            except sqlite3.OperationalError:
                roll_back(connection)

    def _forget(self, connection: sqlite3.Connection, number: int, damaged: list[tuple[bytes, int]]) -> None:
        """Delete damaged rows, so that they can be written anew."""
        self.stats.damaged += len(damaged)
        if damaged and self._handle.storing:
            what = "1 damaged row is" if len(damaged) == 1 else f"{len(damaged)} damaged rows are"
            self._handle.tell("rows", f"{what} computed anew; the store is {str(self._handle.path)!r}.")
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("DELETE FROM entries WHERE space = ? AND key = ?", [(number, key) for key, _ in damaged])
                connection.executemany("DELETE FROM payload WHERE id = ?", [(row_id,) for _, row_id in damaged])
                connection.execute("COMMIT")
            except sqlite3.Error:
                roll_back(connection)
                raise

    # --- writing ---

    def write(self, space: bytes, keys: Sequence[bytes], rows: Sequence[NDArray[np.floating[Any]]]) -> None:
        """Keep `rows[i]`, of any shape, as float32 under `keys[i]`. What is there already stays as it is.

        Rows are committed in batches of at most 8 MB (less under a small limit). A row that would take more than half of the limit is not
        kept. When the disk refuses, the rest of the run goes on without storing and one line says so.

        Raises:
            ValueError: as many rows as keys are needed.
        """
        if len(rows) != len(keys):
            raise ValueError(f"{len(keys)} keys need as many rows, not {len(rows)}.")
        with self._handle.lock:
            if not self._handle.storing:
                return
            batch: dict[bytes, bytes] = {}
            held = 0
            for key, row in zip(keys, rows, strict=True):
                data = np.ascontiguousarray(row, dtype="<f4").tobytes()
                if len(data) > self._room // 2 or key in batch:
                    continue
                if batch and held + len(data) + _ROW_BYTES > self._batch:
                    self._write_batch(space, batch)
                    batch, held = {}, 0
                batch[key] = data
                held += len(data) + _ROW_BYTES
            if batch:
                self._write_batch(space, batch)

    def register_space(self, space: bytes, description: Mapping[str, Any]) -> None:
        """Say in words what a space holds, for `listing`; `description` must fit into JSON."""
        text = json.dumps(dict(description), sort_keys=True)
        with self._handle.lock:
            try:
                connection = self._handle.connect()
                if connection is not None and self._handle.storing:
                    known = connection.execute("SELECT description FROM spaces WHERE space = ?", (space,)).fetchone()
                    if known is None or known[0] != text.encode():
                        connection.execute(
                            "INSERT INTO spaces (space, description) VALUES (?, ?) "
                            "ON CONFLICT (space) DO UPDATE SET description = excluded.description",
                            (space, text),
                        )
            except sqlite3.Error as error:
                self._handle.trouble(error)

    def _write_batch(self, space: bytes, batch: dict[bytes, bytes]) -> None:
        """Commit one batch, telling of trouble instead of raising it. After damage the fresh file gets the batch."""
        for _ in range(2):
            if not self._handle.storing:
                return
            connection = None
            try:
                connection = self._handle.connect()
                if connection is not None:
                    self._insert(connection, space, batch)
                return
            except sqlite3.Error as error:
                if connection is not None:
                    roll_back(connection)
                if not self._handle.trouble(error):
                    return

    def _insert(self, connection: sqlite3.Connection, space: bytes, batch: dict[bytes, bytes]) -> None:
        """One transaction that makes room and adds what is not there yet."""
        if not self._begin_with_room(connection, sum(map(len, batch.values())) + _ROW_BYTES * len(batch), self._room):
            return
        number = self._space_number(connection, space)
        if number is None:
            connection.execute("INSERT INTO spaces (space, description) VALUES (?, '{}')", (space,))
            number = self._space_number(connection, space)
        have = {key for part in _padded(list(batch)) for (key,) in connection.execute(_HAVE, (number, *part))}
        fresh = [(key, data) for key, data in batch.items() if key not in have]
        first = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM payload").fetchone()[0]
        seed, now = zlib.crc32(space), int(self._clock())
        connection.executemany("INSERT INTO payload VALUES (?, ?)", [(first + i, data) for i, (_, data) in enumerate(fresh)])
        connection.executemany(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)",
            [(number, key, first + i, len(data), zlib.crc32(data, zlib.crc32(key, seed)), now) for i, (key, data) in enumerate(fresh)],
        )
        connection.execute("COMMIT")
        self.stats.written += len(fresh)
        self._keep_file_small(connection)

    # --- size ---

    def size_bytes(self) -> int:
        """Bytes that the rows take, their index included. The file may hold free pages besides, within the limit."""
        with self._handle.lock:
            try:
                connection = self._handle.connect()
                return 0 if connection is None else used_bytes(connection)
            except sqlite3.Error as error:
                self._handle.trouble(error)
                return 0

    def listing(self) -> list[SpaceInfo]:
        """Every space that holds rows, the latest used first."""
        with self._handle.lock:
            try:
                connection = self._handle.connect()
                if connection is None:
                    return []
                found = connection.execute(
                    "SELECT s.space, s.description, count(*), sum(e.size), max(e.used) FROM entries e JOIN spaces s ON s.id = e.space "
                    "GROUP BY e.space ORDER BY max(e.used) DESC, s.space"
                ).fetchall()
            except sqlite3.Error as error:
                self._handle.trouble(error)
                return []
        return [SpaceInfo(space, _description(text), count, size, float(used)) for space, text, count, size, used in found]

    def prune(self, *, to_bytes: int) -> PruneResult:
        """Remove the rows unused for longest until the rest takes at most `to_bytes`, and give the freed disk space back.

        Also deletes files that were set aside as damaged.

        Raises:
            ResourceError: the disk or its permissions refuse the removal.
        """
        with self._handle.lock:
            connection = self._handle.connect()
            if connection is None:
                return PruneResult(0, 0, 0)
            evicted = self.stats.evicted
            try:
                before = used_bytes(connection)
                if self._begin_with_room(connection, 0, to_bytes):
                    connection.execute("COMMIT")
                while connection.execute("PRAGMA freelist_count").fetchone()[0]:
                    give_back_pages(connection)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                for path in self.folder.glob("rows-*.damaged"):
                    path.unlink(missing_ok=True)
                after = used_bytes(connection)
            except (sqlite3.Error, OSError) as error:
                roll_back(connection)
                if isinstance(error, sqlite3.Error) and is_damage(error):
                    self._handle.trouble(error)
                    return PruneResult(self.stats.evicted - evicted, 0, self.size_bytes())
                raise ResourceError(
                    f"The store {str(self._handle.path)!r} cannot be pruned: {error}. Free the disk or ask for the right to write."
                ) from None
            return PruneResult(self.stats.evicted - evicted, max(0, before - after), after)

    def _begin_with_room(self, connection: sqlite3.Connection, need: int, room: int) -> bool:
        """Begin a transaction in which `need` bytes fit into `room`, evicting before it; False when nothing is left to evict."""
        while True:
            connection.execute("BEGIN IMMEDIATE")
            # An eighth on top is what pages that end unfilled usually take; what they take beyond is seen at the next batch.
            excess = used_bytes(connection) + need + need // 8 - room
            if excess <= 0:
                return True
            # A little more than asked, so that a full store does not evict anew for every batch.
            evicted = evict_oldest(connection, excess + (room // 64 if need else 0))
            connection.execute("COMMIT")
            self.stats.evicted += evicted
            if not evicted:
                return False

    def _keep_file_small(self, connection: sqlite3.Connection) -> None:
        """Bring the file under a limit that was lowered, and the log under two batches where readers kept it from being emptied."""
        if file_bytes(connection) > self._limit:
            give_back_pages(connection)
        with contextlib.suppress(FileNotFoundError):
            if os.stat(f"{self._handle.path}-wal").st_size > 2 * self._batch:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _space_number(self, connection: sqlite3.Connection, space: bytes) -> int | None:
        """The number of a space in this file, None when it has none yet. Numbers are never given anew, so they can be remembered."""
        if space not in self._handle.numbers:
            found = connection.execute("SELECT id FROM spaces WHERE space = ?", (space,)).fetchone()
            # Inside a transaction the number could still be rolled back.
            if found is None or connection.in_transaction:
                return None if found is None else int(found[0])
            self._handle.numbers[space] = int(found[0])
        return self._handle.numbers[space]


def _description(text: bytes) -> dict[str, Any]:
    """What was registered, or nothing where it is damaged: a description decides nothing."""
    try:
        description = json.loads(text)
    except ValueError:
        return {}
    return description if isinstance(description, dict) else {}


def _padded(keys: list[bytes]) -> Iterator[list[bytes | None]]:
    """The keys in lists of one length, so that SQLite prepares its query once; NULL matches nothing."""
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        part = keys[start : start + _KEYS_PER_QUERY]
        yield [*part, *[None] * (_KEYS_PER_QUERY - len(part))]
