"""One label for each pair of texts: what is true of one and the other together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from headstart.data.examples import Examples
from headstart.errors import DataError
from headstart.strategies.pair_tfidf import fit_pair_tfidf
from headstart.tasks import classification
from headstart.tasks.base import Prepared
from headstart.tasks.light_rungs import probe_and_tfidf

if TYPE_CHECKING:
    pass


def recognise(examples: Examples) -> str:
    """Why these rows are pairs, "" where they are not."""
    if not examples.paired:
        return ""
    return f"the texts stand in two columns, {examples.text_column!r}"


def prepare(examples: Examples) -> Prepared:
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


TASK = replace(
    classification.TASK,
    name="pairs",
    summary="one label for each pair of texts",
    recognise=recognise,
    prepare=prepare,
    curve_at=lambda rows, groups, reader, settings: probe_and_tfidf(rows, groups, reader, settings, fit_pair_tfidf),
)
