"""The thin wrappers behind `headstart.fit`, `headstart.rank` and `headstart.check`: they load by name and call the plain functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.errors import DataError, SettingsError
from headstart.settings import Settings, as_plain, make_settings, setting_types

if TYPE_CHECKING:
    from headstart.data.check import CheckResult
    from headstart.data.examples import Examples
    from headstart.records import Ranking
    from headstart.runs import Run

TextsAndLabels = tuple[Sequence[str | list[str] | tuple[str, str]], Sequence[object]]


def fit(data: str | Path | TextsAndLabels, **settings: Any) -> Run:
    """Find out where to transfer from, how, and whether it helps; train, judge and save the winner.

    Args:
        data: a file or folder of labelled texts as on the command line, or a pair `(texts, labels)` of equal length.
        settings: any setting of the command line by its name with underscores, as in `max_length=128`;
            what is absent takes its default. `headstart.fit(..., source="a")` and `source=["a", "b"]` both work.

    Returns:
        The finished run: `.model` predicts, `.metrics` are plain numbers, `.gain` compares with no transfer, `.report` is a file.

    Raises:
        SettingsError: a setting that does not exist or lies outside its range; all problems at once.
        DataError, SourceError, RunError, ResourceError: what the data, a source, the run folder or the machine refused.
    """
    from headstart import progress
    from headstart.environment import random_state_kept
    from headstart.pipeline import fit as run_fit

    made = make_settings(settings)
    progress.set_quiet(made.quiet)
    if made.dry_run:
        raise SettingsError("`dry_run` is set; headstart.fit fits. `headstart fit DATA --dry-run` prints the plan.")
    given = as_data(data)
    with random_state_kept():
        return run_fit(given, made, command=_call(data, settings))


def check(
    data: str | Path | TextsAndLabels,
    *,
    text: str | None = Settings.text,
    label: str | None = Settings.label,
    test: str | Path | None = Settings.test,
    validation: str | Path | None = Settings.validation,
    source: str | None = None,
    max_length: int = Settings.max_length,
    task: str | None = Settings.task,
) -> CheckResult:
    """What is wrong with labelled data, before any model is loaded.

    Args:
        data: a file or folder of labelled texts, or a pair `(texts, labels)` of equal length.
        text: column of the texts; None: the only column that can be it.
        label: column of the labels; None: the only column that can be it.
        test: file of test rows, which are looked for among the training rows; None: there is none.
        validation: likewise for validation rows.
        source: whose tokeniser counts the texts that would be cut off; None: the embedded source's, where it is installed.
        max_length: tokens beyond which a text is cut off.
        task: what is predicted, as `--task` names it; None: what the columns tell.

    Returns:
        Findings with row numbers, most severe first, and which rows are usable.

    Raises:
        DataError: a file that cannot be read, or columns that cannot be told.
        SourceError: the named source cannot be used.
    """
    from headstart.checking import check_data

    checked = check_data(
        as_data(data), text=text, label=label, test=test, validation=validation, source=source, max_length=max_length, task=task
    )
    return checked.result


def rank(data: str | Path | TextsAndLabels, **settings: Any) -> Ranking:
    """Say which sources to start from, without training any.

    Args:
        data: a file or folder of labelled texts as on the command line, or a pair `(texts, labels)` of equal length.
        settings: any setting of `fit` by its name with underscores; `source` names what to rank. Without it, the embedded source and all
            that stand on the shelf are ranked.

    Returns:
        The sources, best first, each with its predicted score and interval, and those that were left out.

    Raises:
        SettingsError: a setting that does not exist or lies outside its range; all problems at once.
        DataError: data that cannot be read or learnt from.
        SourceError: none of the sources can be used.
    """
    from headstart import progress
    from headstart.ranking.rank import rank as run_rank

    made = make_settings(settings)
    progress.set_quiet(made.quiet)
    if made.via:
        raise SettingsError("`via` is set; headstart.rank ranks sources. `headstart rank DATA --via SET` compares data sets.")
    if made.rows_from:
        raise SettingsError("`rows_from` is set; headstart.rank looks at the target's own rows alone. Leave it out.")
    return run_rank(as_data(data), made)


def as_data(data: str | Path | TextsAndLabels) -> str | Path | Examples:
    """A path as it is, and a pair of texts and labels as examples. A text may be a list of words, and its label that of their tags; or a
    tuple of two texts.

    Raises:
        DataError: what was given is no pair of columns, texts and labels differ in number, or a text is no string.
    """
    if isinstance(data, str | Path):
        return data
    from headstart.data.examples import Examples
    from headstart.data.given import is_missing, listed, plain, texts_of
    from headstart.data.pairs import join_pair
    from headstart.data.table import as_text

    if hasattr(data, "columns") or isinstance(data, Mapping | Set) or not hasattr(data, "__len__") or len(data) != 2:
        raise DataError("Give a path, or a pair of texts and labels, as in (table['text'], table['label']).")
    texts, labels = listed(data[0]), list(map(plain, listed(data[1], "labels")))
    if len(texts) != len(labels):
        raise DataError(f"There are {len(texts)} texts and {len(labels)} labels; give one label for each text.")
    texts_of(texts, lambda text: isinstance(text, str) or _is_words(text) or _is_pair(text))
    paired = bool(texts) and all(map(_is_pair, texts))
    return Examples(
        texts=tuple(join_pair(*text) if paired else as_text(text) for text in texts),
        labels=tuple(as_text(label) if isinstance(label, list | dict) else "" if is_missing(label) else str(label) for label in labels),
        rows=tuple(range(1, len(texts) + 1)),
        origin="(texts, labels)",
        text_column="text",
        label_column="label",
        paired=paired,
    )


def _call(data: str | Path | TextsAndLabels, settings: dict[str, Any]) -> str:
    """The call of `fit` as a person can write it again."""
    given = repr(str(data)) if isinstance(data, str | Path) else "(texts, labels)"
    return f"headstart.fit({', '.join([given, *(f'{name}={value!r}' for name, value in settings.items())])})"


def _is_pair(text: object) -> bool:
    """Whether a text is given as two."""
    return isinstance(text, tuple) and len(text) == 2 and all(isinstance(side, str) for side in text)


def _is_words(text: object) -> bool:
    """Whether a text is given as its words."""
    return isinstance(text, list) and all(isinstance(word, str) for word in text)


def _signature(function: Callable[..., Any], returns: str) -> inspect.Signature:
    """A function as `help()` shows it: every setting with its type and default, made from `Settings`."""
    plain, kinds = as_plain(Settings()), setting_types()
    keyword = [
        inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=plain[item.name], annotation=kinds[item.name])
        for item in fields(Settings)
    ]
    first = inspect.signature(function).parameters["data"]
    return inspect.Signature([first, *keyword], return_annotation=returns)


fit.__signature__ = _signature(fit, "Run")  # type: ignore[attr-defined]
rank.__signature__ = _signature(rank, "Ranking")  # type: ignore[attr-defined]
