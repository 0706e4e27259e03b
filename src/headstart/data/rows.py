"""What findings are made of: row numbers, of which the first few are kept and all counted, and labels short enough for a sentence."""

from __future__ import annotations

from collections.abc import Iterable

from headstart.data.examples import Examples, IntArray
from headstart.records import Finding, Severity

KEPT_ROWS = 20
_SHOWN_LABELS = 5


class RowList:
    """Counts rows and keeps the numbers of the first `KEPT_ROWS` of them. A row added twice in succession counts once."""

    def __init__(self, rows: Iterable[int] = ()) -> None:
        self.kept: list[int] = []
        self.count = 0
        self._last: int | None = None
        for row in rows:
            self.add(row)

    def add(self, row: int) -> None:
        """Note one row."""
        if row == self._last:
            return
        self._last = row
        self.count += 1
        if len(self.kept) < KEPT_ROWS:
            self.kept.append(row)


def finding(kind: str, severity: Severity, message: str, rows: RowList | Iterable[int] = (), remedy: str = "") -> Finding:
    """A finding about these rows, in the order given."""
    noted = rows if isinstance(rows, RowList) else RowList(rows)
    return Finding(kind=kind, severity=severity, message=message, rows=tuple(noted.kept), count=noted.count, remedy=remedy)


def counted(number: int, one: str, many: str = "") -> str:
    """`1 row`, `1,200 rows`: a number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def rows_at(examples: Examples, positions: Iterable[int] | IntArray) -> RowList:
    """The numbers of the rows at these positions."""
    return RowList(examples.rows[int(i)] for i in positions)


def shortened(label: str) -> str:
    """A label short enough for a sentence."""
    return label if len(label) <= 40 else label[:40] + "…"


def quoted(labels: Iterable[str]) -> str:
    """The first labels, each shortened and in quotes, and how many more there are."""
    return first_few([repr(shortened(label)) for label in labels])


def first_few(parts: list[str]) -> str:
    """`a, b and 3 more`."""
    more = len(parts) - _SHOWN_LABELS
    return ", ".join(parts[:_SHOWN_LABELS]) + (f" and {more:,} more" if more > 0 else "")
