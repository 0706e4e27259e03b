"""TensorBoard events: the curve of a training, and what came of a trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headstart.records import TrialRecord

_TRIAL = ".trial"  # ends the name of the file with a trial's scores, so that a run that goes on writes it once


def trainer_events(folder: Path) -> Any:
    """A callback of `transformers.Trainer` that writes its events in exactly this folder."""
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    return TensorBoardCallback(SummaryWriter(log_dir=str(folder)))


def note_trial(folder: Path, trial: TrialRecord, metric: str) -> None:
    """Write a trial's score with its interval and its seconds into its folder of events, unless they stand there."""
    if trial.score is None or any(folder.glob(f"*{_TRIAL}")):
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(log_dir=str(folder), filename_suffix=_TRIAL) as writer:
        told = {metric: trial.score.value, f"{metric}, lower bound": trial.score.low, f"{metric}, upper bound": trial.score.high}
        for name, value in {**told, "seconds": trial.seconds}.items():
            writer.add_scalar(f"trial/{name}", value, 0)
