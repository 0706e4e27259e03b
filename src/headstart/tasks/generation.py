"""Texts that follow a prompt: instructions, chats, completions; and plain texts of a domain.

A row's text is the prompt, a chat as a JSON list of its messages (`data/prompts.py`); its label is the completion.

Letters in shapes: n rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from headstart.backbone.backbone import Backbone
from headstart.data.check import LabelChecks
from headstart.data.examples import BoolArray, Examples
from headstart.data.prompts import CHATS, COMPLETION, INSTRUCTION, OUTPUT, PROMPT, WHOLE, WHOLE_TEXTS
from headstart.data.rows import counted, finding
from headstart.errors import DataError
from headstart.judge.metrics import FloatArray
from headstart.records import Finding, RowNote, Severity
from headstart.settings import Metric
from headstart.strategies.base import Rows
from headstart.strategies.completing import AT_ONCE
from headstart.strategies.language import BYTES, LONGEST, MOST_WRITTEN, NATS
from headstart.strategies.pieces import TOKENS_A_CHARACTER
from headstart.strategies.prompts import shown_prompt
from headstart.tasks.base import Labels, Prepared, Task
from headstart.tasks.writing_judge import WritingJudge

_FEW_ROWS = 20


def recognise(examples: Examples) -> str:
    """Why these rows are prompts with completions, "" where they are not."""
    text, label = examples.text_column.lower(), examples.label_column.lower()
    if examples.labels and all(given == WHOLE for given in examples.labels):
        return "it holds plain text"
    if text in CHATS and examples.label_column == examples.text_column:
        return f"{examples.text_column!r} holds chats"
    if (text.split(",")[0], label) in ((PROMPT, COMPLETION), (INSTRUCTION, OUTPUT)):
        return f"{examples.text_column!r} and {examples.label_column!r} are called as prompts and completions are"
    return ""


def prepare(examples: Examples, like: Examples | None = None) -> Prepared:
    """The examples as they are; a chat that ends without an answer of the assistant has no completion.

    Raises:
        DataError: the rows are pairs of texts, or no row has a completion.
    """
    where = repr(examples.origin) if examples.origin != "-" else "standard input"
    if examples.paired:
        raise DataError(f"{where} has two texts a row, {examples.text_column!r}; name the one column of the prompts with --text.")
    if not any(label.strip() for label in examples.labels):
        if examples.label_column == examples.text_column:
            raise DataError(
                f"No row of {where} holds a chat in {examples.text_column!r} that ends with an answer of the assistant; write each as a "
                'JSON list of {"role": ..., "content": ...}, contents as text, the last of the role "assistant".'
            )
        raise DataError(f"No row of {where} has a completion in {examples.label_column!r}; name its column with --label.")
    return Prepared(replace(examples, labels=tuple(label if label.strip() else "" for label in examples.labels)), ())


def check_completions(train: Examples, labels: Sequence[str], usable: BoolArray, folds: int) -> list[Finding]:
    """What is wrong with completions in all."""
    where = repr(train.origin) if train.origin != "-" else "standard input"
    kept = [labels[i] for i in np.flatnonzero(usable).tolist()]
    if not kept:
        remedy = "Give rows that have a prompt and a completion and do not stand in the test file."
        return [finding("no rows", Severity.ERROR, f"No row of {where} can be used for training.", (), remedy)]
    found = []
    if len(kept) > 1 and len(set(kept)) == 1 and kept[0] != WHOLE:
        message = f"All {len(kept):,} usable rows of {where} have the same completion."
        found.append(finding("one completion", Severity.WARNING, message, (), "A model would learn to write nothing else."))
    if len(kept) < max(folds, _FEW_ROWS):
        what = "text" if kept[0] == WHOLE else "completion"
        message = f"Only {counted(len(kept), 'usable row')} of {where} {'has' if len(kept) == 1 else 'have'} a {what}."
        found.append(finding("few rows", Severity.WARNING, message, (), "Scores of so few are hardly more than chance; add rows."))
    return found


def prompt_and_completion(prompt: str, completion: str) -> str:
    """What is read together; "" of a text that is learnt whole, in as many pieces as it needs."""
    return "" if completion == WHOLE else f"{shown_prompt(prompt)}\n{completion}"


def make_labels(training: Sequence[str], further: Sequence[str]) -> Labels:
    """Completions are no classes: any is known."""
    return Labels((), lambda label: label, lambda label: True)


def make_rows(texts: Sequence[str], labels: Sequence[str], known: Labels) -> Rows:
    """Rows with their true completions."""
    y = np.empty(len(labels), dtype=object)
    y[:] = labels
    return Rows(tuple(texts), y, 1, kinds=np.zeros(len(labels), dtype=np.int64))


def hard(outputs: FloatArray, rows: Rows, examples: Examples, names: Sequence[str], most: int, known: set[int]) -> list[RowNote]:
    """Rows whose completion is least likely a byte, by out-of-fold outputs (n, 6)."""
    worst = np.argsort(-outputs[:, NATS] / np.maximum(outputs[:, BYTES], 1.0), kind="stable")
    kept = [i for i in worst.tolist() if examples.rows[i] not in known][:most]
    told = ["" if rows.y[i] == WHOLE else f" — {rows.y[i]}" for i in kept]
    return [RowNote("hard", examples.rows[i], f"{shown_prompt(rows.texts[i])}{said}", "") for i, said in zip(kept, told, strict=True)]


def label_counts(rows: Rows, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """How many rows have a completion, and how many are learnt whole, where there are such."""
    whole = int((rows.y == WHOLE).sum())
    return tuple((what, count) for what, count in (("a completion", len(rows) - whole), (WHOLE_TEXTS, whole)) if count)


def answering(rows: Rows, backbone: Backbone) -> float:
    """Multiplications of one rung that writes behind some of the prompts, all weights for each step of sixteen."""
    sizes = [len(label) * TOKENS_A_CHARACTER for label in rows.y.tolist() if label != WHOLE]
    batches = math.ceil(min(MOST_WRITTEN, len(sizes)) / AT_ONCE)
    return batches * AT_ONCE * min(LONGEST, max(sizes, default=0.0)) * backbone.parameters_total


TASK = Task(
    name="generation",
    summary="a text to follow each prompt",
    metrics=(Metric.BITS_PER_BYTE,),  # the others stand on what is written, and nothing is where rungs are compared
    probabilities=lambda outputs: outputs,
    recognise=recognise,
    prepare=prepare,
    checks=LabelChecks(
        check_completions,
        lambda label: (),
        ("completion", "completions"),
        label="completion",
        of_the_text=True,
        several=True,
        read_whole=prompt_and_completion,
    ),
    labels=make_labels,
    rows=make_rows,
    label_counts=label_counts,
    judge=WritingJudge(),
    suspects=lambda outputs, rows, examples, names: (),
    hard=hard,
    layer_scores=None,
    curve=("lora", "untouched"),
    curve_at=None,
    ranked_by="untouched",
    in_pieces=True,
    answering=answering,
)
