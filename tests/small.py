"""A small invented task and a tiny source on which a whole `headstart.fit` takes a second or two."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tiny import WORDS

TOPICS = {
    "card": ("card", "lost", "account", "money"),
    "login": ("password", "login", "broken", "wrong"),
    "order": ("order", "price", "new", "pay"),
}
LABELS = tuple(TOPICS)


def sentences(n: int, seed: int) -> list[tuple[str, str]]:
    """n different texts of six words, three of them of the label's topic; labels in turn."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < n:
        label = LABELS[len(found) % len(LABELS)]
        words = [rng.choice(TOPICS[label]) for _ in range(3)] + [rng.choice(WORDS) for _ in range(5)]
        rng.shuffle(words)
        found.setdefault(" ".join(words), label)
    return list(found.items())


def write_csv(path: Path, rows: Sequence[tuple[str, str]]) -> str:
    """The rows under `text,label`; returns the path as a word for the command line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows)
    return str(path)


def without_times(record: Any) -> dict[str, Any]:
    """A trial record as plain values, less what a clock measured."""
    from dataclasses import asdict

    return {name: value for name, value in asdict(record).items() if name not in ("seconds", "predicted_seconds", "curve")}


# --- entities ---

PEOPLE = ("anna", "bruno", "carla", "dmitri", "elif", "farid")
FAMILIES = ("smith", "okafor", "ruiz")
PLACES = (("paris",), ("oslo",), ("cairo",), ("quito",), ("new", "york"))
TAGS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
Marked = tuple[tuple[str, ...], tuple[str, ...]]


def marked(n: int, seed: int) -> list[Marked]:
    """n different sentences as words and tags: a person (one or two names), a place (after `in`), or both, among seven other words."""
    rng = random.Random(seed)
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    while len(found) < n:
        parts = [((word,), ("O",)) for word in rng.sample(WORDS, 7)]
        if len(found) % 3 != 0:
            name = (rng.choice(PEOPLE), rng.choice(FAMILIES))[: rng.randint(1, 2)]
            parts.append((name, ("B-PER", "I-PER")[: len(name)]))
        if len(found) % 3 != 1:
            place = rng.choice(PLACES)
            parts.append((("in", *place), ("O", "B-LOC", "I-LOC")[: 1 + len(place)]))
        rng.shuffle(parts)
        words, tags = (tuple(item for part in parts for item in part[side]) for side in (0, 1))
        found.setdefault(words, tags)
    return list(found.items())


def word_rows(sentences: Sequence[Marked]) -> Any:
    """The sentences as rows whose units are words, of the classes `TAGS`."""
    import numpy as np

    from headstart.strategies.base import Rows

    kinds = [1 if "B-LOC" in tags else 2 for _, tags in sentences]
    return Rows(
        tuple(" ".join(words) for words, _ in sentences),
        np.array([TAGS.index(tag) for _, tags in sentences for tag in tags]),
        len(TAGS),
        np.array([len(words) for words, _ in sentences]),
        np.array(kinds),
    )


def write_marked(path: Path, sentences: Sequence[Marked]) -> str:
    """The sentences as JSON lines of tokens and tags; returns the path as a word for the command line."""
    path.write_text("".join(json.dumps({"tokens": words, "tags": tags}) + "\n" for words, tags in sentences), encoding="utf-8")
    return str(path)


# --- answers ---

COLOURS, THINGS = ("red", "green", "blue", "grey"), ("card", "car", "phone", "coat")
Asked = tuple[str, str, tuple[tuple[str, int], ...]]


def asked(n: int, seed: int, *, without: bool = False, words: int = 8) -> list[Asked]:
    """n different questions for a thing's colour, contexts of so many other words, answers; `without`: every third context holds none."""
    rng = random.Random(seed)
    found: dict[tuple[str, str], Asked] = {}
    others = [word for word in WORDS if word not in THINGS]
    while len(found) < n:
        thing, colour = rng.choice(THINGS), rng.choice(COLOURS)
        around = [rng.choice(others) for _ in range(words)]
        at = rng.randrange(words + 1)
        named = [] if without and len(found) % 3 == 0 else [colour, thing]
        context = " ".join([*around[:at], *named, *around[at:]])
        answers = ((colour, context.index(f"{colour} {thing}")),) if named else ()
        found.setdefault((f"which {thing}", context), (f"which {thing}", context, answers))
    return list(found.values())


def answer_rows(questions: Sequence[Asked]) -> Any:
    """The questions as rows whose labels are their true answers."""
    from headstart.data.answers import Answer, as_label
    from headstart.data.pairs import join_pair
    from headstart.tasks.qa import TASK

    labels = [as_label([Answer(text, start) for text, start in answers]) for _, _, answers in questions]
    return TASK.rows([join_pair(question, context) for question, context, _ in questions], labels, TASK.labels(labels, []))


def write_asked(path: Path, questions: Sequence[Asked]) -> str:
    """The questions as a SQuAD file, a paragraph for each; returns the path as a word for the command line."""
    paragraphs = [
        {"context": context, "qas": [{"question": question, "answers": [{"text": t, "answer_start": s} for t, s in answers]}]}
        for question, context, answers in questions
    ]
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "things", "paragraphs": paragraphs}]}), encoding="utf-8")
    return str(path)


def widths(judge: Any, outputs: Any, rows: Any) -> dict[str, tuple[float, float, float]]:
    """How wide the interval of each score of a judge is: of the rows, of four copies of each in one group, and of those without groups."""
    import numpy as np

    from headstart.settings import Settings

    asked, groups = Settings(resamples=2000), np.tile(np.arange(len(rows)), 4)
    found = [judge.scores(outputs, rows, None, asked)]
    found += [judge.scores(outputs[groups], rows.take(groups), given, asked) for given in (groups, None)]
    once, copied, naive = ({name: score.high - score.low for name, score in scores.items()} for scores in found)
    return {name: (once[name], copied[name], naive[name]) for name in once}


@contextmanager
def bare(*, page: bool = False, curve: bool = False) -> Iterator[None]:
    """Runs without what has tests of its own: the fresh process that opens the saved model, rows dealt out anew, the report's page, and the
    label curve.

    Args:
        page: the report is written all the same.
        curve: the label curve is drawn all the same.
    """
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.saving.verify", lambda folder, texts, expected, *, words, pairs, adapter=False: 0.0)
        patch.setattr("headstart.candidates.REPEATS", 1)
        patch.setattr("headstart.saving.verify_answers", lambda folder, task, given, expected, *, adapter=False: None)
        if not page:
            patch.setattr("headstart.report.build.write_report", lambda results, place: place.write_text("report"))
        if not curve:
            patch.setattr("headstart.outcome._curve", lambda *given: None)
            patch.setattr("headstart.outcome._trained_curve", lambda *given: None)
        yield
