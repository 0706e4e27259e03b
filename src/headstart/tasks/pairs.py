"""One label for each pair of texts: what is true of one and the other together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from headstart.data.examples import Examples
from headstart.errors import DataError
from headstart.strategies.base import Rows
from headstart.strategies.pair_tfidf import fit_pair_tfidf
from headstart.tasks import classification
from headstart.tasks.base import Labels, Prepared
from headstart.tasks.light_rungs import probe_and_tfidf


def recognise(examples: Examples) -> str:
    """Why these rows are pairs, "" where they are not."""
    if not examples.paired:
        return ""
    return f"the texts stand in two columns, {examples.text_column!r}"


def prepare(examples: Examples, like: Examples | None = None) -> Prepared:
    """The examples as they are.

    Raises:
        DataError: they have one text each.
    """
    if not examples.paired:
        where = repr(examples.origin) if examples.origin != "-" else "standard input"
        raise DataError(
            f"{where} has one text a row, in {examples.text_column!r}; name the two columns of the pairs as --text FIRST,SECOND."
        )
    return Prepared(examples, ())


def make_rows(texts: Sequence[str], labels: Sequence[str], known: Labels) -> Rows:
    """Rows with one class each. A class's name is no pair of texts, so it is no row."""
    return replace(classification.make_rows(texts, labels, known), names=())


TASK = replace(
    classification.TASK,
    name="pairs",
    rows=make_rows,
    summary="one label for each pair of texts",
    recognise=recognise,
    prepare=prepare,
    curve_at=lambda rows, groups, reader, settings: probe_and_tfidf(rows, groups, reader, settings, fit_pair_tfidf),
)
