"""The hold of one process on the store's file: opened late, opened again after a fork, replaced when damaged, told about once."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from pathlib import Path

from headstart.backbone.store_file import (
    BUSY_SECONDS,
    file_number,
    is_damage,
    nth_file,
    open_for_reading,
    open_for_writing,
    set_aside,
    store_files,
)
from headstart.progress import say


class Handle:
    """A connection that may go and come. Hold `lock` while using it.

    `storing` turns False, for good, when rows cannot be written any more. `path` is the file in use, or the one that would be made.
    `numbers` are the spaces' numbers in this file that are known so far.
    """

    def __init__(self, folder: Path, batch_bytes: int) -> None:
        self.folder = folder
        self.path = nth_file(folder, 1)
        self.lock = threading.RLock()
        self.storing = True
        self.numbers: dict[bytes, int] = {}
        self._batch_bytes = batch_bytes
        self._connection: sqlite3.Connection | None = None
        self._told: set[str] = set()
        self._given_up = False
        self._closed = False
        _open_handles.add(self)

    def connect(self) -> sqlite3.Connection | None:
        """The connection, opened when there is none; None when there is no file to read and none can be made.

        Raises:
            ValueError: the store was closed.
        """
        if self._closed:
            raise ValueError("The store is closed.")
        if self._connection is None and not self._given_up:
            files = store_files(self.folder)
            if files:
                self.path = files[-1]
            writable = os.access(self.folder, os.W_OK) and (not files or os.access(self.path, os.W_OK))
            if not writable:
                self.storing = False
                self._given_up = not files
                self.tell("read-only", f"The store {str(self.folder)!r} is read, not written: permission denied.")
            try:
                if writable:
                    self._connection = open_for_writing(self.path, self._batch_bytes)
                    for left in files[:-1]:
                        set_aside(left)
                elif files:
                    self._connection = open_for_reading(self.path)
            except sqlite3.Error as error:
                self.trouble(error)
        return self._connection

    def close(self) -> None:
        """Close the file for good."""
        self._closed = True
        self.disconnect()

    def disconnect(self) -> None:
        """Close the file; the next use opens it again."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):  # what it had committed is in the file
                self._connection.close()
            self._connection = None
        self.numbers.clear()

    def trouble(self, error: sqlite3.Error) -> bool:
        """Deal with an error of the file, telling it once. True: the file was damaged and a fresh one stands in its place."""
        place = repr(str(self.path))
        if is_damage(error):
            self.disconnect()
            if self.storing:
                return self._begin_afresh(error)
            self._given_up = True
            self.tell("damage", f"The store {place} is damaged ({error}) and cannot be replaced; this run goes on without it.")
        elif "locked" in str(error):
            self.tell("busy", f"The store {place} was kept busy by another process for {BUSY_SECONDS:g} s; some rows are not kept.")
        else:
            self._given_up = self._connection is None
            self.storing = False
            self.tell("disk", f"The store {place} cannot be used fully ({error}); this run goes on and stores nothing more.")
        return False

    def _begin_afresh(self, error: sqlite3.Error) -> bool:
        """Set the damaged file aside and begin the next; whether that worked. In this order, so that a kill between leaves a store."""
        damaged = self.path
        # Another process may have begun a later file already; then that one is taken.
        later = [path for path in store_files(self.folder) if file_number(path) > file_number(damaged)]
        fresh = later[-1] if later else nth_file(self.folder, file_number(damaged) + 1)
        try:
            self._connection = open_for_writing(fresh, self._batch_bytes)
            self.path = fresh
            kept = set_aside(damaged)
        except (sqlite3.Error, OSError) as second:
            self.storing = False
            self._given_up = self._connection is None
            self.tell("damage", f"The store {str(damaged)!r} is damaged and cannot be replaced ({second}); this run goes on without it.")
            return False
        say(f"The store {str(damaged)!r} is damaged ({error}). It is now {kept.name!r}, which you may delete, and a fresh one is begun.")
        return True

    def tell(self, kind: str, message: str) -> None:
        """Say something once for each kind of trouble."""
        if kind not in self._told:
            self._told.add(kind)
            say(message)


# --- fork ---
# SQLite connections must not cross a fork: the child would inherit a belief in locks that it does not hold. All of them are closed
# before it and opened again at the next use, on either side.

_open_handles: weakref.WeakSet[Handle] = weakref.WeakSet()
_held: list[Handle] = []  # those whose locks the forking thread took


def _before_fork() -> None:
    for handle in list(_open_handles):
        handle.lock.acquire()
        handle.disconnect()
        _held.append(handle)


def _after_fork_in_parent() -> None:
    while _held:
        _held.pop().lock.release()


def _after_fork_in_child() -> None:
    while _held:
        _held.pop().lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
