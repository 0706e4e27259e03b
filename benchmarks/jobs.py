"""The job of each task from end to end, as a user runs it: `headstart fit` on rows of a public data set, judged on its test file.

    [HEADSTART_CAUSAL=FOLDER] python benchmarks/jobs.py [--quick] [--retime] [--only task=pairs ...]

FOLDER holds a causal model in the Hugging Face layout, for completions; figures here are of Gemma 3 270M. All else starts from the embedded
source, with headstart's defaults, but for the budget: of translation 15 minutes in place of 10, of completions 20. No other side and no
goal: these are the figures of the pages in docs/, each with the command that makes it.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common import Benchmark, Cell, Clock, Record, Report, Table, main
from data import data_folder, read_rows

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """The rows of a task's files, and further settings."""

    train: Sequence[Row]
    test: Sequence[Row]
    settings: Mapping[str, Any] = field(default_factory=dict)


def some(rows: Sequence[Row], count: int, seed: int = 0) -> list[Row]:
    """So many rows, drawn at random; all where there are fewer."""
    return [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))[:count]]


def classification() -> Job:
    """Kinds of questions."""
    train, test = ([{"text": row["text"], "label": row["label"]} for row in read_rows("trec", split)] for split in ("train", "test"))
    return Job(some(train, 600), test)


def pairs() -> Job:
    """Does the sentence hold the answer? A question with the sentence of the answer, and with another one of its paragraph."""
    paragraphs = [p for article in answers_of("xquad", "test_en")["data"] for p in article["paragraphs"]]
    train: list[Row] = []
    test: list[Row] = []
    for number, paragraph in enumerate(some(paragraphs, len(paragraphs))):
        ends = [0, *(match.end() for match in re.finditer(r"(?<=[.!?]) ", paragraph["context"])), len(paragraph["context"])]
        for asked in paragraph["qas"]:
            begin = asked["answers"][0]["answer_start"]
            spans = list(itertools.pairwise(ends))
            own = next(k for k, (low, high) in enumerate(spans) if low <= begin < high)
            for k in {own, (own + 1) % len(spans)}:
                sentence = paragraph["context"][slice(*spans[k])].strip()
                row = {"question": asked["question"], "sentence": sentence, "label": "holds it" if k == own else "does not"}
                (train if number < len(paragraphs) // 2 else test).append(row)
    return Job(some(train, 600), some(test, 1000))


def multilabel() -> Job:
    """Categories of unfair clauses; two of three rows have one. Companies to judge are others than those to learn from."""
    rows = [{"text": row["text"], "labels": row["categories"], "doc": row["doc"]} for row in read_rows("unfair_tos_en", "train")]
    companies = sorted({row["doc"] for row in rows})
    parts = []
    for own in (companies[::2], companies[1::2]):
        here = [row for row in rows if row["doc"] in own]
        parts.append(some([row for row in here if row["labels"]], 400) + some([row for row in here if not row["labels"]], 200))
    first, second = ([{"text": row["text"], "labels": row["labels"]} for row in some(part, len(part))] for part in parts)
    return Job(first, second)


def regression() -> Job:
    """Stars of film reviews, one to five."""
    stars = {"very negative": 1, "negative": 2, "neutral": 3, "positive": 4, "very positive": 5}
    train, test = (
        [{"text": row["text"], "label": stars[row["label"]]} for row in some(read_rows("sst5", split), count)]
        for split, count in (("train", 600), ("test", 800))
    )
    return Job(train, test, {"task": "regression"})


def ner() -> Job:
    """Persons, parties, elections and six more in sentences of Wikipedia."""
    return Job(read_rows("crossner_politics", "train"), read_rows("crossner_politics", "test"))


def qa() -> Job:
    """Questions on privacy policies."""
    train, test = (some(questions_of("policyqa", split), 300) for split in ("validation", "test"))
    return Job(train, test)


def translation() -> Job:
    """Captions of pictures, without a parent."""
    train, test = (
        [{"en": row["en"], "de": row["de"]} for row in some(read_rows("multi30k", split), count)]
        for split, count in (("train", 1000), ("test", 200))
    )
    return Job(train, test, {"task": "translation", "text": "en", "label": "de", "budget": 900.0})


def generation() -> Job:
    """Instructions and what was answered."""
    causal = os.environ.get("HEADSTART_CAUSAL")
    if not causal:
        raise SystemExit("Completions need a causal model; say where one lies with HEADSTART_CAUSAL.")
    train, test = (read_rows("self_instruct_seeds", split) for split in ("train", "validation"))
    return Job(train, test, {"source": causal, "budget": 1200.0})


JOBS: dict[str, Callable[[], Job]] = {
    job.__name__: job for job in (classification, pairs, multilabel, regression, ner, qa, translation, generation)
}
ALL = 1_000_000


def answers_of(name: str, split: str) -> dict[str, Any]:
    """A file in the form of SQuAD."""
    for path in (data_folder() / name / f"{split}.json", data_folder() / name / f"{split}.json.gz"):
        if path.exists():
            with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as stream:
                found: dict[str, Any] = json.load(stream)
                return found
    raise SystemExit(f"There is no {split}.json or {split}.json.gz in {data_folder() / name}.")


def questions_of(name: str, split: str) -> list[Row]:
    """Questions with their contexts and answers, one a row."""
    paragraphs = [p for article in answers_of(name, split)["data"] for p in article["paragraphs"]]
    return [
        {
            "question": asked["question"],
            "context": paragraph["context"],
            "answers": {"text": [a["text"] for a in asked["answers"]], "answer_start": [a["answer_start"] for a in asked["answers"]]},
        }
        for paragraph in paragraphs
        for asked in paragraph["qas"]
    ]


def fit(cell: Cell, clock: Clock) -> Mapping[str, Any]:
    """One whole run: what it says in its last sentence, and what was tried."""
    import headstart
    from headstart.judge.verdict import verdict_sentence

    job = JOBS[cell["task"]]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, rows in (("train", job.train), ("test", job.test)):
            lines = (json.dumps(row, ensure_ascii=False) for row in rows[: cell["rows"]])
            (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        clock.start()
        run = headstart.fit(
            str(folder / "train.jsonl"), test=str(folder / "test.jsonl"), out=str(folder / "run"), quiet=True, shelf=False, **job.settings
        )
        clock.stop()
        results = run.results
    verdict, given = verdict_sentence(results), job.settings.get("source")
    if given:  # a source given by folder is called by that, which means nothing elsewhere
        verdict = verdict.replace(str(given), "the source")
    trials = {trial.name: None if trial.score is None else round(trial.score.value, 4) for trial in results.trials}
    return {
        "verdict": verdict,
        "rows": [min(len(rows), cell["rows"]) for rows in (job.train, job.test)],
        "metric": results.metric,
        "scores": {score: [value.value, value.low, value.high] for score, value in results.scores.items()},
        "trials": trials,
    }


def cells(quick: bool) -> list[Cell]:
    return [{"side": "headstart", "task": task, "rows": 24 if quick else ALL} for task in JOBS]


def report(records: list[Record]) -> Report:
    rows = []
    for task in (task for task in JOBS if any(r["cell"]["task"] == task for r in records)):
        [record] = [r for r in records if r["cell"]["task"] == task]
        found = record["result"]
        tried = ", ".join(f"{name} {score:.3f}" for name, score in found["trials"].items() if score is not None)
        rows.append((task, f"{found['rows'][0]:,} / {found['rows'][1]:,}", found["verdict"], tried, f"{record['seconds']:.0f}"))
    head = ("task", "rows to learn / to judge", "verdict", "tried, by folds", "s")
    return Report({}, (Table("Whole runs", head, tuple(rows)),), ())


BENCHMARK = Benchmark(
    name="jobs",
    title="The job of each task, from a file to a model",
    sides={"headstart": fit},
    ours=frozenset({"headstart"}),
    cells=cells,
    report=report,
    notes=("`headstart fit` with its defaults on rows of public data sets; seconds are those of the whole run.",),
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK, __file__, __doc__))
