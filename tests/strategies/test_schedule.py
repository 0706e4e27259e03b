"""How long and how fast a rung trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.settings import Precision, Settings
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job
from headstart.strategies.schedule import HEAD_RATE, planned_steps, rows_a_step, schedule_of


def some_job(settings: Settings, logs: Path | None = None) -> Job:
    texts = tuple(f"text {k}" for k in range(20))
    return Job(Rows(texts, np.arange(20) % 2, 2), np.arange(20), [], settings, seed=11, logs=logs)


def test_the_schedule_is_what_the_settings_ask_for(tmp_path: Path) -> None:
    job = some_job(Settings(precision=Precision.FLOAT32, layer_decay=0.7, patience=4), tmp_path)
    plan = schedule_of(job, 99)
    asked = job.settings
    assert (plan.steps, plan.batch_size, plan.learning_rate, plan.layer_decay) == (99, asked.batch_size, asked.learning_rate, 0.7)
    assert plan.head_rate == HEAD_RATE * asked.learning_rate
    assert (plan.warmup, plan.weight_decay, plan.precision) == (asked.warmup, asked.weight_decay, Precision.FLOAT32)
    assert (plan.seed, plan.patience, plan.logs) == (11, 4, tmp_path)


@pytest.mark.parametrize(
    ("task", "strategy", "rows", "batch_size", "epochs", "a_step", "steps"),
    [
        # Of sentences a quarter of the batch; with the root of their number, 260 steps at least.
        ("ner", "partial", 6000, 32, 4, 8, 2600),
        ("ner", "full", 1500, 32, 4, 8, 1300),
        ("ner", "scratch", 40, 32, 4, 8, 260),
        ("ner", "partial", 6000, 16, 4, 4, 5200),
        ("ner", "partial", 6000, 32, 2, 8, 1300),
        # Of questions twice the passes of single labels.
        ("qa", "partial", 1000, 32, 4, 8, 1000),
        ("qa", "full", 100, 32, 4, 8, 260),
        ("classification", "partial", 1001, 32, 4, 32, 128),
        # Completions half of the passes, of as few rows a step.
        ("generation", "lora", 100, 32, 4, 8, 26),
        ("generation", "full", 16, 32, 1, 8, 2),
        (None, "full", 10, 32, 1, 32, 1),
        (None, "contrastive", 10, 32, 1, 32, 60),
    ],
)
def test_sentences_of_many_labels_make_many_small_steps(
    task: str | None, strategy: str, rows: int, batch_size: int, epochs: int, a_step: int, steps: int
) -> None:
    asked = Settings(task=task, batch_size=batch_size, epochs=epochs)
    assert (rows_a_step(asked), planned_steps(strategy, rows, asked)) == (a_step, steps)
    assert schedule_of(some_job(asked), 7).batch_size == a_step
