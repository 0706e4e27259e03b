"""How long and how fast a rung trains: what the settings come to for so many rows of a task."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from headstart.environment import fast_precision
from headstart.settings import Precision, Settings
from headstart.strategies.ladder import Job

HEAD_RATE = 5.0  # the head's learning rate as a multiple of the top block's
# Few rows make few batches a pass; below this many steps a contrastive loss has hardly moved the blocks.
FEWEST_CONTRASTIVE_STEPS = 60
# Tasks whose rows are many labelled words. They learn in many steps of few rows: 260 steps of 8 rows beat 80 of 32 by eleven points of
# entity F1 on 100 rows, in less time. Entities take more steps with more rows, though fewer passes: 12 in place of 8 gain two points on
# 300 to 400 rows, 16 no more, and 3,000 need 5 (docs/log.md).
_OF_WORDS = ("ner", "qa")
# Tasks whose steps take fewer rows: each of those is many tokens that are told.
_FEW_AT_ONCE = (*_OF_WORDS, "generation")
_WORDS_SHARE, _WORDS_PASSES = 4, 2
# A causal model has read much that is like what it is taught, and soon learns its rows by heart: Gemma 3 270M on 110 instructions, others
# held out, 0.842 bits a byte untouched, 0.820 after two passes of LoRA, 0.829 after four.
_WRITING_PASSES = 0.5
FEWEST_WORD_STEPS, _ROWS_OF_FEWEST = 260, 60


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train. `steps` counts optimiser steps; `patience` None: no early stopping; `logs` and `kept` as in `Job`."""

    steps: int
    batch_size: int
    learning_rate: float
    head_rate: float
    layer_decay: float
    warmup: float
    weight_decay: float
    precision: Precision
    seed: int
    patience: int | None = None
    logs: Path | None = None
    kept: Path | None = None


def planned_steps(strategy: str, rows: int, settings: Settings) -> int:
    """Optimiser steps of a strategy on so many rows."""
    steps = math.ceil(rows / rows_a_step(settings)) * settings.epochs
    if settings.task == "ner":
        share = settings.epochs / Settings.epochs * Settings.batch_size / settings.batch_size
        return round(FEWEST_WORD_STEPS * max(1.0, share * math.sqrt(rows / _ROWS_OF_FEWEST)))
    if settings.task == "generation":
        return math.ceil(rows / rows_a_step(settings)) * max(1, round(_WRITING_PASSES * settings.epochs))
    if settings.task in _OF_WORDS:
        return max(FEWEST_WORD_STEPS, steps * _WORDS_PASSES)
    return max(FEWEST_CONTRASTIVE_STEPS, steps) if strategy == "contrastive" else steps


def rows_a_step(settings: Settings) -> int:
    """Rows in one step: of sentences, which are many labels each, a quarter."""
    return max(2, settings.batch_size // _WORDS_SHARE) if settings.task in _FEW_AT_ONCE else settings.batch_size


def schedule_of(job: Job, steps: int) -> Schedule:
    """The schedule that the settings ask for."""
    s = job.settings
    return Schedule(
        steps=steps,
        batch_size=rows_a_step(s),
        learning_rate=s.learning_rate,
        head_rate=s.learning_rate * HEAD_RATE,
        layer_decay=s.layer_decay,
        warmup=s.warmup,
        weight_decay=s.weight_decay,
        precision=fast_precision() if s.precision is Precision.AUTO else s.precision,
        seed=job.seed,
        patience=s.patience,
        logs=job.logs,
        kept=job.kept,
    )
