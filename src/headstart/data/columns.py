"""Which column holds the text and which the label: named, conventional, or the only ones that can be. Never guessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from headstart.errors import DataError
from headstart.settings import did_you_mean

# The first that a table has is taken; the others are what tables of words and entities call them.
TEXT_NAMES = ("text", "tokens", "words")
# What tables of pairs call their two texts.
PAIR_NAMES = (
    ("text", "text_pair"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("sentence1", "sentence2"),
    ("sentence_a", "sentence_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("query", "passage"),
    ("question", "context"),
)
LABEL_NAMES = ("label", "tags", "ner_tags", "entities", "spans", "answers", "answer")


def find_column(columns: Sequence[str], name: str, option: str, origin: str) -> str:
    """The column of this name.

    Raises:
        DataError: there is none; the message names the nearest.
    """
    if name in columns:
        return name
    hint = did_you_mean(name, columns)
    raise DataError(f"{origin} has no column {name!r} ({option}).{hint} Its columns: {_listed(columns)}.")


def two_columns(columns: Sequence[str], text: str | None) -> tuple[str, str] | None:
    """The two columns that `first,second` names, where no column bears that name itself; None: it names no two columns of the table."""
    if text is None or text in columns or "," not in text:
        return None
    for at in (i for i, sign in enumerate(text) if sign == ","):
        pair = text[:at].strip(), text[at + 1 :].strip()
        if pair[0] in columns and pair[1] in columns and pair[0] != pair[1]:
            return pair
    return None


def usual_pair(columns: Sequence[str], text: str | None, label: str | None) -> tuple[str, str] | None:
    """The two columns of texts that a table plainly has, by their names; None where it has none, or where a text column was named."""
    if text is not None:
        return None
    lowered = {column.lower(): column for column in columns if column != label}
    return next(((lowered[first], lowered[second]) for first, second in PAIR_NAMES if first in lowered and second in lowered), None)


def plain_columns(columns: Sequence[str], text: str | None, label: str | None) -> tuple[str, str] | None:
    """The columns called `text` and `label` themselves, in any case; None: a table lacks one of them, or another one was named."""
    found = _conventional(columns, TEXT_NAMES[:1]), _conventional(columns, LABEL_NAMES[:1])
    if found[0] is None or found[1] is None or text not in (None, found[0]) or label not in (None, found[1]):
        return None
    return found[0], found[1]


def choose_text_column(columns: Sequence[str], text: str | None, origin: str) -> str:
    """The text column of a table that needs no label: the one named (of pairs both, `first,second`), or `text`, or the only one.

    Raises:
        DataError: none of these.
    """
    if text is not None:
        return text if two_columns(columns, text) else find_column(columns, text, "--text", origin)
    found = _conventional(columns, TEXT_NAMES) or (columns[0] if len(columns) == 1 else None)
    if found is None:
        raise DataError(f"{origin} has no column that is plainly the text; name it with --text. Its columns: {_listed(columns)}.")
    return found


def choose_columns(
    columns: Sequence[str], text: str | None, label: str | None, origin: str, values: Callable[[str], Sequence[str]], like: str = ""
) -> tuple[str, str]:
    """The text column and the label column.

    A column named by the user is taken; else one called `text` or `label` in any case; else, of exactly two columns, the remaining one,
    or as text the one that is longer and more varied where the other repeats its values. What holds numbers or codes without letters is
    taken as text only where it is named or called so. `values` gives a column's values; `like` names the data whose columns `text` and
    `label` are, "" where the user named them.

    Raises:
        DataError: a named column does not exist, both are the same, or a column cannot be told.
    """
    text_is, label_is = (f"the text in {like}", f"the label in {like}") if like else ("--text", "--label")
    found_text = find_column(columns, text, text_is, origin) if text is not None else _conventional(columns, TEXT_NAMES, label)
    found_label = find_column(columns, label, label_is, origin) if label is not None else _conventional(columns, LABEL_NAMES, text)
    if found_text is not None and found_text == found_label:
        raise DataError(f"--text and --label both name the column {found_text!r} of {origin}; the label must stand in another one.")
    if len(columns) == 1:
        raise DataError(f"{origin} has only the column {columns[0]!r}; it must hold a text and a label.")
    if len(columns) == 2 and (found_text is None or found_label is None):
        if found_text is not None:
            found_label = next(column for column in columns if column != found_text)
        elif found_label is not None:
            found_text = next((column for column in columns if column != found_label and _in_words(values(column))), None)
        else:
            found_text, found_label = _by_values(columns, values)
    if found_text is None or found_label is None:
        missing = [
            (what, option) for what, option, found in (("text", "--text", found_text), ("label", "--label", found_label)) if found is None
        ]
        whats, options = (" or ".join(part) for part in zip(*missing, strict=True))
        options = options.replace(" or ", " and ")
        raise DataError(f"{origin} has no column that is plainly the {whats}; name it with {options}. Its columns: {_listed(columns)}.")
    return found_text, found_label


def _conventional(columns: Sequence[str], names: Sequence[str], taken: str | None = None) -> str | None:
    """The column called by the first of `names` exactly, or the only one called so in another case, else by the next; never one taken."""
    for name in names:
        alike = [column for column in columns if column.lower() == name and column != taken]
        if name in alike:
            return name
        if alike:
            return alike[0] if len(alike) == 1 else None
    return None


def _by_values(columns: Sequence[str], values: Callable[[str], Sequence[str]]) -> tuple[str | None, str | None]:
    """Of two columns the longer and more varied is the text, if the other one's values stand twice each on average or more."""

    def measure(column: str) -> tuple[int, int]:
        cells = values(column)
        return sum(map(len, cells)), len(set(cells))

    (length_a, distinct_a), (length_b, distinct_b) = measure(columns[0]), measure(columns[1])
    n = len(values(columns[0]))
    if length_a > length_b and distinct_a > distinct_b and 2 * distinct_b <= n and _in_words(values(columns[0])):
        return columns[0], columns[1]
    if length_b > length_a and distinct_b > distinct_a and 2 * distinct_a <= n and _in_words(values(columns[1])):
        return columns[1], columns[0]
    return None, None


def _in_words(cells: Sequence[str]) -> bool:
    """Whether at least half of the cells that are not blank hold a letter."""
    filled = [cell for cell in cells if cell.strip()]
    return 2 * sum(any(map(str.isalpha, cell)) for cell in filled) >= len(filled)


def _listed(columns: Sequence[str]) -> str:
    """`'a', 'b' and 12 more`."""
    shown = ", ".join(repr(column if len(column) <= 40 else column[:40] + "…") for column in columns[:10])
    return shown + (f" and {len(columns) - 10} more" if len(columns) > 10 else "")
