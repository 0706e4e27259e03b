"""`headstart check`: files by name in, findings out. The checks themselves are plain functions in `data/check.py`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.data.rows import counted
from headstart.data.spelling import common_spelling
from headstart.errors import SourceError
from headstart.records import Finding, Severity
from headstart.tasks.registry import DEFAULT, GENERATION

if TYPE_CHECKING:
    from headstart.data.check import CheckResult
    from headstart.data.examples import Examples
    from headstart.sources.source import Source

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # what a text could do to a terminal
_TEXTS_AT_ONCE = 2048


@dataclass(frozen=True)
class Checked:
    """The training rows, and what was found about them; the findings of reading stand among those of checking.

    `task` is what they are rows of, `recognised` why where nobody said so. `test` and `validation` None: there is no such file.
    """

    train: Examples
    result: CheckResult
    task: str = DEFAULT
    recognised: str = ""
    test: Examples | None = None
    validation: Examples | None = None


def check_data(
    data: str | Path | Examples,
    *,
    text: str | None,
    label: str | None,
    test: str | Path | None,
    validation: str | Path | None,
    source: str | None,
    max_length: int,
    task: str | None = None,
) -> Checked:
    """Read and check labelled data; no model is loaded, of the source only its tokeniser.

    Args:
        data: a file or folder of labelled texts, or examples in memory.
        text: column of the texts; None: the only one that can be it.
        label: column of the labels; None: the only one that can be it.
        test: file of test rows, with the same columns; None: there is none.
        validation: file of validation rows, with the same columns; None: there is none.
        source: whose tokeniser counts the texts that would be cut off; None: the embedded source, where it is installed.
        max_length: tokens beyond which a text is cut off, where the source takes that many.
        task: what is predicted; None: what the columns tell.

    Raises:
        DataError: a file that cannot be read, or columns that cannot be told.
        SourceError: the named source cannot be used.
        SettingsError: there is no such task.
    """
    from headstart.data.check import check_examples
    from headstart.data.examples import Examples
    from headstart.data.prompts import WHOLE
    from headstart.data.read import read_examples
    from headstart.tasks.registry import get_task, recognise_task

    noticed: list[Finding] = []
    asked = None if task is None else get_task(task)  # before anything is read
    whole = task == GENERATION

    def read(path: str | Path, text: str | None, label: str | None, like: str = "") -> Examples:
        result = read_examples(path, text=text, label=label, whole=whole, like=like)
        noticed.extend(result.findings)
        if path is data:
            half.update(result.half)
        return result.examples

    half: set[int] = set()  # rows of which the findings of reading say why they hold no text
    train = data if isinstance(data, Examples) else read(data, text, label)
    found, why = (asked, "") if asked is not None else recognise_task(train)

    def prepare(examples: Examples, like: Examples | None) -> Examples:
        prepared = found.prepare(examples, like)
        noticed.extend(prepared.findings)
        return prepared.examples

    as_read = train
    train = prepare(as_read, None)
    told = half | _emptied(as_read, train)
    columns = train.text_column, train.label_column, "standard input" if train.origin == "-" else repr(train.origin)
    whole = whole or WHOLE in train.labels[:1]
    try:
        # The embedded source writes nothing, so its tokens say nothing of what a model that does would cut off.
        counter = None if source is None and found.name == GENERATION else token_counter(source, max_length)
    except SourceError:
        if source is not None:
            raise
        counter = None  # nobody asked for it
    test_rows = None if test is None else prepare(read(test, *columns), as_read)
    validation_rows = None if validation is None else prepare(read(validation, *columns), as_read)
    result = check_examples(
        train,
        test=test_rows,
        validation=validation_rows,
        tokenize_lengths=None if counter is None else counter.lengths,
        max_length=max_length if counter is None else counter.limit,
        more_can_be_read=counter is None or counter.at_most is None or counter.at_most > counter.limit,
        read_findings=noticed,
        told=told,
        labels=found.checks,
    )
    return Checked(train, result, found.name, why, test_rows, validation_rows)


def _emptied(before: Examples, after: Examples) -> set[int]:
    """Numbers of rows that held a text and a label, and of which the task left nothing: its findings say why."""

    def filled(examples: Examples) -> list[bool]:
        return [bool(text.strip()) and bool(label.strip()) for text, label in zip(examples.texts, examples.labels, strict=True)]

    return {row for row, was, is_now in zip(before.rows, filled(before), filled(after), strict=True) if was and not is_now}


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens as a source would read them. `limit`: the longest text in tokens that is read whole; `at_most` what the source can
    read, None: without end."""

    limit: int
    at_most: int | None
    lengths: Callable[[Sequence[str]], list[int]]


def token_counter(name: str | None, max_length: int) -> TokenCounter:
    """The counter of a source.

    A text of fewer bytes than `limit` cannot have more tokens than that; its length is given as its bytes, and only the others are
    tokenised. The lengths are right where it matters whether they exceed `limit`, and a bound below it.

    Args:
        name: the source; None: the embedded one.
        max_length: tokens beyond which a text is cut off; the source's own limit counts where it is less.

    Raises:
        SourceError: there is no such source, or it cannot be used.
    """
    from headstart.sources.resolve import resolve_source

    source = resolve_source(name)
    limit = min(max_length, source.max_length or max_length)
    count = _tokenizer(source)

    def lengths(texts: Sequence[str]) -> list[int]:
        found = [len(text.encode("utf-8", errors="replace")) + SPECIAL_TOKENS for text in texts]
        long = [place for place, length in enumerate(found) if length > limit]
        for start in range(0, len(long), _TEXTS_AT_ONCE):
            places = long[start : start + _TEXTS_AT_ONCE]
            # Beyond this many characters the end of a text cannot decide: no token is that long on average. A lone surrogate becomes "?".
            parts = [texts[place][: 100 * limit].encode("utf-8", errors="replace").decode("utf-8") for place in places]
            for place, tokens in zip(places, count(parts), strict=True):
                found[place] = tokens
        return found

    return TokenCounter(limit, source.max_length, lengths)


SPECIAL_TOKENS = 2  # most tokenisers add a token before and one after


def _tokenizer(source: Source) -> Callable[[list[str]], list[int]]:
    """Number of tokens of each text, special ones included, by the small library where the source has its file."""
    file = source.folder / "tokenizer.json"
    if file.is_file():
        from tokenizers import Tokenizer

        try:
            small = Tokenizer.from_file(str(file))
        except Exception as error:  # of tokenizers, which has but one kind
            raise SourceError(f"{str(file)!r} is no tokenizer ({error}); copy or download the source again.") from error
        small.no_truncation()
        small.no_padding()
        return lambda texts: [len(encoding) for encoding in small.encode_batch_fast(texts)]
    from headstart.sources.opening import open_tokenizer

    full = open_tokenizer(source)
    return lambda texts: [len(ids) for ids in full(texts, truncation=False, padding=False, verbose=False)["input_ids"]]


def with_findings(checked: Checked, findings: Sequence[Finding]) -> Checked:
    """The same rows with further findings, most severe first."""
    order = list(Severity)
    both = sorted((*checked.result.findings, *findings), key=lambda found: order.index(found.severity))
    return replace(checked, result=replace(checked.result, findings=tuple(both)))


def needs_a_hand(findings: Sequence[Finding]) -> bool:
    """Whether there is more than notes."""
    return any(finding.severity is not Severity.NOTE for finding in findings)


def findings_text(checked: Checked) -> str:
    """The findings as a person reads them: numbered, most severe first, with their rows and what to do."""
    train, findings = checked.train, checked.result.findings
    from headstart.data.table import BY_LINES, format_of
    from headstart.tasks.registry import get_task

    task = get_task(checked.task)
    names = [name for label in train.labels if label.strip() for name in task.checks.names(label.strip())]
    labels = len(set(map(common_spelling(names), names)))
    columns = f"the text is in {train.text_column!r}"
    columns += f", the label in {train.label_column!r}" if train.label_column != train.text_column else ""
    found = f", {counted(labels, *task.checks.counted)}" if labels else ""  # answers in words are not counted
    lines = [f"{train.origin}: {counted(len(train), 'row')}{found}; {columns}."]
    if checked.recognised:
        lines.append(f"The task is {task.name}, {task.summary}: {checked.recognised}.")
    row = "Line" if format_of(Path(train.origin)) in BY_LINES else "Row"
    for number, finding in enumerate(findings, start=1):
        lines += ["", f"{number:>3}. {finding.severity.value}: {finding.message}"]
        lines += [f"     {line}" for line in (_rows(finding, row), finding.remedy) if line]
    counts = Counter(finding.severity for finding in findings)
    told = [f"{counts[severity]} {severity.value}{'s' if counts[severity] > 1 else ''}" for severity in Severity if counts[severity]]
    lines += ["", ", ".join(told) + "." if told else "Nothing was found."]
    return "\n".join(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", line) for line in lines)


def _rows(finding: Finding, row: str) -> str:
    """`Rows 3, 7 and 12 more.`, where `row` is what one is called; nothing where the finding is of no rows."""
    if not finding.rows:
        return ""
    more = finding.count - len(finding.rows)
    shown = ", ".join(map(str, finding.rows))
    return f"{row}{'s' if len(finding.rows) > 1 or more > 0 else ''} {shown}{f' and {more:,} more' if more > 0 else ''}."
