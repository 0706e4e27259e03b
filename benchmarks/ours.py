"""headstart's side of the benchmarks that train: its public API, from labelled files to a saved model."""

from __future__ import annotations

import importlib
import json
import pkgutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import Clock
from data import Labelled, Task, scores

# The judge's share of a run is evaluation, which no side's clock counts: the run gets this many test rows, and all of them are predicted
# with the saved model after the clock has stopped. The test rows decide nothing in a run, so it learns the same.
JUDGED_ROWS = 50


def write_rows(rows: Labelled, path: Path) -> str:
    """The rows as a file that headstart reads; returns its path."""
    lines = (json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in zip(rows.texts, rows.labels, strict=True))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


def judged(test: Labelled) -> Labelled:
    """A few test rows for the run's own judge: rows of every label in turn, as many labels as there is room for."""
    places: dict[str, list[int]] = {}
    for position, label in enumerate(test.labels):
        places.setdefault(label, []).append(position)
    turns = [position for turn in range(JUDGED_ROWS) for own in places.values() for position in own[turn : turn + 1]]
    return test.take(sorted(turns[:JUDGED_ROWS]))


def import_all() -> None:
    """Import headstart whole, with what it imports on first use, so that imports are told apart from work on its side too."""
    import headstart

    for module in pkgutil.walk_packages(headstart.__path__, "headstart."):
        if not module.name.endswith(".onnx"):  # needs an extra
            importlib.import_module(module.name)
    for name in ("cleanlab.filter", "sklearn.feature_extraction.text", "torch.utils.tensorboard"):
        importlib.import_module(name)


def fit_and_score(task: Task, clock: Clock, *, seed: int, **settings: Any) -> Mapping[str, Any]:
    """`headstart.fit` on the training rows with its defaults, accuracy as the metric (it is what is compared) and these settings.

    Returns scores of the saved model on all test rows.

    `trained_seconds` is when the winner was trained on all rows, which is where the peers' clocks stop; the whole run goes on to calibrate
    its probabilities, which changes no label, to judge, save, verify and report. `probe_seconds` is when the first model that transfers,
    the probe, was trained on all rows, and `probe_accuracy` what it scores.
    """
    import headstart
    import headstart.deciding
    from headstart.in_memory import without_store
    from headstart.strategies import probe

    import_all()
    marks: dict[str, float] = {}
    early: list[Any] = []
    train, strategy = headstart.deciding._trained, probe.STRATEGY
    trained: dict[str, float] = {}

    def first(job: Any) -> Any:
        assert strategy.out_of_fold is not None
        fitted, logits = strategy.out_of_fold(job)
        if not early:
            marks["probe_seconds"] = round(clock.elapsed(), 3)
            early.append(without_store(fitted))
        return fitted, logits

    probe.STRATEGY = replace(strategy, out_of_fold=first)

    def noted(rung: Any) -> Any:
        model = train(rung)
        trained[rung.name] = round(clock.elapsed(), 3)
        return model

    headstart.deciding._trained = noted
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, test = write_rows(task.train, folder / "train.jsonl"), write_rows(judged(task.test), folder / "test.jsonl")
        clock.start()
        run = headstart.fit(
            data, text="text", label="label", test=test, metric="accuracy", seed=seed, out=str(folder / "run"), quiet=True, **settings
        )
        clock.stop()
        predicted = headstart.load(str(folder / "run")).predict(list(task.test.texts))
        results = run.results
    marks["trained_seconds"] = trained[results.winner.name]
    if early:
        guessed = early[0].predict_logits(list(task.test.texts)).argmax(axis=1)
        marks["probe_accuracy"] = scores(task.test.labels, [task.labels[k] for k in guessed])["accuracy"]
    return {
        **scores(task.test.labels, [str(label) for label in predicted]),
        **marks,
        "train_rows": len(task.train),
        "winner": results.winner.name,
        "spent": results.spent.seconds,
        "trials": [
            {
                "name": trial.name,
                "status": trial.status.value,
                "score": None if trial.score is None else round(trial.score.value, 4),
                "seconds": round(trial.seconds, 2),
                "predicted_seconds": round(trial.predicted_seconds, 2),
            }
            for trial in results.trials
        ],
    }
