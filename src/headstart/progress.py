"""Progress bars on standard error, with time left. Off with `--quiet` and where standard error is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Turn all bars off (True) or leave it to the terminal (False)."""
    global _quiet
    _quiet = quiet


@contextmanager
def bar(total: int, what: str, unit: str = "text") -> Iterator[Any]:
    """A bar over `total` units; call `.update(k)` on what it yields."""
    off = _quiet or not sys.stderr.isatty()
    with tqdm(total=total, desc=what, unit=unit, disable=off, leave=False, file=sys.stderr, dynamic_ncols=True) as shown:
        yield shown


def say(line: str) -> None:
    """One line to the person at the terminal, on standard error, above any bar."""
    if not _quiet:
        warn(line)


def warn(line: str) -> None:
    """Likewise, with `--quiet` too: what was asked for is not done as it was asked."""
    tqdm.write(line, file=sys.stderr)
