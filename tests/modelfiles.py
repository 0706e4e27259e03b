"""The files of models and of finished runs as far as checks read them: no torch needed, written in a millisecond."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from headstart.records import DataSummary, Estimate, Results, Spent, TrialRecord, TrialStatus
from headstart.runs import RunFolder
from headstart.sources.adding import note_origin
from headstart.sources.resolve import resolve_source

HIDDEN, TOKENS = 8, 50


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def make_source(folder: Path, *, rows: int = TOKENS, tokens: int = TOKENS, fill: float = 0.0, **config: Any) -> Path:
    """A model folder; `fill` is the value of all its weights, so that two can differ in content alone."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", {"model_type": "bert", "vocab_size": TOKENS, "max_position_embeddings": 64, **config})
    write_json(
        folder / "tokenizer.json", {"model": {"vocab": {f"w{i}": i for i in range(tokens - 1)}}, "added_tokens": [{"id": tokens - 1}]}
    )
    write_json(folder / "tokenizer_config.json", {"model_max_length": 1e30})
    save_file({"embeddings.word_embeddings.weight": np.full((rows, HIDDEN), fill, np.float32)}, folder / "model.safetensors")
    return folder


def make_run(
    folder: Path, *, source: str | None = None, fill: float = 0.0, labels: tuple[str, ...] = ("card", "login"), task: str = "classification"
) -> Path:
    """A finished run whose winner is `partial` from `source`; None: `scratch`, from random weights. 90 rows, macro-F1 0.8 [0.7, 0.9]."""
    backbone = {"model_type": "bert", "vocab_size": TOKENS, "max_position_embeddings": 64}
    config = {"pooling": "mean", "backbone_config": backbone, "id2label": dict(enumerate(labels))}
    make_source(folder / "model", fill=fill, **(config | {"model_type": "headstart"}))
    about, zero = Estimate(0.8, 0.7, 0.9, 40), Estimate(0.5, 0.4, 0.6, 40)
    strategy = "scratch" if source is None else "partial"
    winner = TrialRecord(strategy, strategy, source, 1, source is not None, TrialStatus.DONE, "folds", about, None, 1.0, 1.0)
    results = Results(
        title=folder.name,
        created="2026-11-03 10:00 UTC",
        data=DataSummary("tickets.csv", 100, 90, 40, tuple((label, 45) for label in labels), 12, 0.0),
        findings=(),
        metric="macro_f1",
        seeds=(7,),
        judged_on="the test file",
        trials=(winner,),
        winner=winner,
        opponent=None,
        scores={"accuracy": zero, "macro_f1": about, "log_loss": zero, "calibration_error": zero},
        opponent_scores=None,
        gain=None,
        class_scores=(),
        confusion=(),
        layers=(),
        label_curve=None,
        worth_a_look=(),
        spent=Spent({}, 0, 0, 0, 0),
        command="",
        task=task,
    )
    if source is not None:
        (folder / "trials").mkdir()
        note_origin(RunFolder(folder), resolve_source(source))
    write_json(folder / "metrics.json", asdict(results))
    return folder
