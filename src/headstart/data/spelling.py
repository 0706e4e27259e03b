"""How labels are spelled: what differs only in case, white space, `_` or `-` is most likely one label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence


def level_label(label: str) -> str:
    """The label without differences of case, white space, `_` and `-`."""
    return " ".join(label.casefold().replace("_", " ").replace("-", " ").split()) or label


def common_spelling(labels: Sequence[str]) -> Callable[[str], str]:
    """How a label is counted: without white space around it, and a rare spelling (case, inner space) as the common one.

    A spelling is rare when it has fewer than five rows and less than a tenth of the common one's; others may be meant.
    """
    counts = Counter(label.strip() for label in labels)
    common: dict[str, str] = {}
    for label, _ in counts.most_common():
        common.setdefault(level_label(label), label)

    def spelled(label: str) -> str:
        own = label.strip()
        usual = common.get(level_label(own), own)
        return usual if counts[own] < 5 and counts[own] < counts[usual] / 10 else own

    return spelled
