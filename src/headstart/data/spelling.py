"""How labels are spelled: what differs only in case, white space, or `_` and `-` between words is most likely one label."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

# Between letters or digits alone: `-1` is not `1`, nor `A-` an `A`.
_JOINING = re.compile(r"(?<=[^\W_])[-_]+(?=[^\W_])")


# Signs that show nothing and come in by copying: soft hyphens, spaces of no width, marks of direction and of byte order. The joiners of
# Persian and of emoji are not among them, for those change what is seen.
_UNSEEN = str.maketrans("", "", "\u00ad\u200b\u200e\u200f\u2060\ufeff")


def composed(label: str) -> str:
    """The label without signs that show nothing, and with each letter and its accents in one sign where there is one (Unicode's NFC): it
    looks the same in either form. A label of such signs alone stays."""
    if label.isascii():
        return label
    seen = label.translate(_UNSEEN)
    return unicodedata.normalize("NFC", seen if seen.strip() else label)


def level_label(label: str) -> str:
    """The label without differences of case, of white space, of Unicode form, and of `_` and `-` where they join words."""
    levelled = composed(composed(label).casefold())
    return " ".join(_JOINING.sub(" ", levelled).split()) or label


def common_spelling(labels: Sequence[str]) -> Callable[[str], str]:
    """How a label is counted: without white space around it, composed, and a rare spelling (case, inner space) as the common one.

    A spelling is rare when it has fewer than five rows and less than a tenth of the common one's; others may be meant.
    """
    counts = Counter(composed(label).strip() for label in labels)
    common: dict[str, str] = {}
    for label, _ in counts.most_common():
        common.setdefault(level_label(label), label)

    def spelled(label: str) -> str:
        own = composed(label).strip()
        usual = common.get(level_label(own), own)
        return usual if counts[own] < 5 and counts[own] < counts[usual] / 10 else own

    return spelled


_CAPITAL_WITHIN = re.compile(r"(?<=[a-z])(?=[A-Z])")
_BETWEEN_WORDS = re.compile(r"[_\-./]+")
_WORD = re.compile(r"[^\W\d_]{3,}")
_MOST_CHARACTERS = 200  # of a label that are taken for its name; a longer one is a text


def names_in_words(labels: Sequence[str]) -> tuple[str, ...]:
    """What the labels say, as words: `CardArrival` and `card_arrival` as "card arrival".

    () unless each has a word of three letters, is no longer than a name, and no two are the same: numbers and codes say nothing.
    """
    names = tuple(level_label(_BETWEEN_WORDS.sub(" ", _CAPITAL_WITHIN.sub(" ", label))) for label in labels)
    telling = all(_WORD.search(name) and len(name) <= _MOST_CHARACTERS for name in names)
    return names if telling and len(set(names)) == len(names) else ()
