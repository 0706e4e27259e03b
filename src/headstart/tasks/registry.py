"""The kinds of task by name. A task is one file with a `TASK`, and one line here."""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING

from headstart.data.examples import Examples
from headstart.errors import SettingsError
from headstart.settings import Metric, Settings, as_plain, did_you_mean, flag, for_tasks

if TYPE_CHECKING:
    from headstart.tasks.base import Task

DEFAULT = "classification"
PAIRS = "pairs"
TRANSLATION = "translation"
GENERATION = "generation"
# Tasks whose texts are two in one (`data/pairs.py`).
TWO_TEXTS = (PAIRS, "qa")
# Recognised in this order; what nothing recognises is of the default.
_MODULES = {
    "qa": "headstart.tasks.qa",
    PAIRS: "headstart.tasks.pairs",
    GENERATION: "headstart.tasks.generation",
    TRANSLATION: "headstart.tasks.translation",
    "ner": "headstart.tasks.ner",
    "multilabel": "headstart.tasks.multilabel",
    "regression": "headstart.tasks.regression",
    DEFAULT: "headstart.tasks.classification",
}


def known_tasks() -> list[str]:
    """The names of all tasks."""
    return sorted(_MODULES)


def get_task(name: str | None) -> Task:
    """The task of this name; None: classification.

    Raises:
        SettingsError: there is none.
    """
    known = known_tasks()
    if name is None or name in _MODULES:
        found: Task = importlib.import_module(_MODULES[name or DEFAULT]).TASK
        return found
    raise SettingsError(f"--task is {name!r}; it must be one of {', '.join(known)}.{did_you_mean(name, known)}")


def reads_in_windows(name: str | None) -> bool:
    """Whether the task of this name reads a text that is longer than the source reads in pieces, rather than cut it off."""
    return get_task(name).checks.read_whole is None


def recognise_task(examples: Examples) -> tuple[Task, str]:
    """The task that these rows are of, and why; "" where it is the usual one."""
    for name in _MODULES:
        task = get_task(name)
        why = task.recognise(examples)
        if why:
            return task, why
    return get_task(DEFAULT), ""


def require_settings_of(settings: Settings, task: str, *further: str) -> None:
    """Refuse what was asked for and only another task could follow; `further` are those of source tasks, which go by the same settings.

    Raises:
        SettingsError: such settings differ from their defaults; all of them at once.
    """
    given = as_plain(settings)
    problems = []
    for item in dataclasses.fields(settings):
        tasks = item.metadata["tasks"]
        if not tasks or getattr(settings, item.name) == item.default or {task, *further} & set(tasks):
            continue
        value = given[item.name]
        shown = ", ".join(value) if isinstance(value, list) else str(value).lower() if isinstance(value, bool) else str(value)
        problems.append(f"{flag(item.name)} is {shown}; it is {for_tasks(item)}, and the task here is {task}. Leave it out.")
    if problems:
        raise SettingsError(problems)


def deciding_metric(settings: Settings) -> Metric:
    """What decides between rungs: what was asked, else the task's first.

    Raises:
        SettingsError: the metric is none of the task's.
    """
    task = get_task(settings.task)
    if settings.metric is None:
        return task.metrics[0]
    if settings.metric not in task.metrics:
        known = ("one of " if len(task.metrics) > 1 else "") + ", ".join(metric.value for metric in task.metrics)
        raise SettingsError(f"--metric is {settings.metric.value!r}; for the task {task.name} it must be {known}.")
    return settings.metric
