"""Row numbers on their way into a finding: the first few are kept, all are counted."""

from __future__ import annotations

from collections.abc import Iterable

from headstart.records import Finding, Severity

KEPT_ROWS = 20


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
