"""How far a training has come, kept on disk every minute: one that is stopped goes on where it was and ends as if it never had been.

What is kept is a folder, `step-N`, with the Trainer's own account of where it is, the weights that learn, and what else the next step
depends on: the optimiser's moments, the best weights so far, the states of the random numbers. No pickle is written or opened.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import SAFE_WEIGHTS_NAME

from headstart import __version__
from headstart.progress import warn
from headstart.records import CurvePoint
from headstart.runs import digest

# Seconds of training that a kill may cost. A training that takes less is not kept.
EVERY = 60.0
# Of a training's time no more than this share goes into keeping it, where a disk takes so many bytes a second.
_SHARE, _BYTES_A_SECOND = 0.03, 5e8
_REST, _ABOUT, _STEP = "rest.safetensors", "about.json", "step-"
_MOMENT, _BEST, _RANDOM = "moment", "best", "random"  # begin the names in `_REST`
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, SafetensorError)


@dataclass
class Progress:
    """How far a training is: its curve, the least validation loss with the weights that gave it (None: nothing was validated), for how many
    passes that was not bettered, and the `time.perf_counter()` from which its seconds count."""

    begin: float = field(default_factory=time.perf_counter)
    points: list[CurvePoint] = field(default_factory=list)
    best: tuple[float, dict[str, torch.Tensor]] | None = None
    worse: int = 0


@dataclass(frozen=True)
class Kept:
    """A training that was stopped: the folder that tells of it, its steps so far, and whether they were all."""

    folder: Path
    step: int
    ended: bool
    about: dict[str, Any]

    def progress(self) -> Progress:
        """How far it was."""
        points = [CurvePoint(**point) for point in self.about["points"]]
        best = None
        if self.about["best_loss"] is not None:
            best = self.about["best_loss"], _named(load_file(self.folder / _REST), _BEST)
        return Progress(time.perf_counter() - self.about["seconds"], points, best, self.about["worse"])

    def restore(self, model: nn.Module) -> None:
        """Give the model what it had learnt."""
        model.load_state_dict(load_file(self.folder / SAFE_WEIGHTS_NAME), strict=False)


def place_of(folder: Path, *content: Any) -> Path:
    """Where the training of this content is kept, among those of one piece of work."""
    return folder / digest(__version__, *content)


def kept_at(place: Path) -> Kept | None:
    """The training that was stopped there; None: there is none, or what tells of it is damaged."""
    for folder in sorted(place.glob(f"{_STEP}*"), key=lambda path: int(path.name.removeprefix(_STEP)), reverse=True):
        with suppress(*_UNREADABLE):
            about, _ = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (_ABOUT, TRAINER_STATE_NAME))
            for name in (SAFE_WEIGHTS_NAME, _REST):
                with safe_open(folder / name, "pt"):  # a file that was cut short is refused here
                    pass
            return Kept(folder, about["step"], about["ended"], about)
    return None


def seconds_kept(folder: Path | None) -> float:
    """Seconds that went into the trainings of a piece of work before it was stopped."""
    places = [] if folder is None or not folder.is_dir() else list(folder.iterdir())
    return sum(float(kept.about["seconds"]) for place in places if (kept := kept_at(place)) is not None)


class Keeping(TrainerCallback):  # type: ignore[misc]
    """Keeps a training at `place`, and lets it go on from what was `kept` of it there."""

    def __init__(self, place: Path, kept: Kept | None, progress: Progress) -> None:
        self.place, self.kept, self.progress = place, kept, progress
        self.since, self.took, self.off = time.perf_counter(), 0.0, False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Give the optimiser its moments, and the rates their place."""
        if self.kept is None:
            return
        optimizer, scheduler = kwargs["optimizer"], kwargs["lr_scheduler"]
        scheduler.load_state_dict(self.kept.about["scheduler"])
        whole = optimizer.state_dict()
        for group, rate in zip(whole["param_groups"], self.kept.about["rates"], strict=True):
            group["lr"] = rate
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _named(load_file(self.kept.folder / _REST), _MOMENT).items():
            number, _, what = name.partition(".")
            moments.setdefault(int(number), {})[what] = value
        optimizer.load_state_dict({"state": moments, "param_groups": whole["param_groups"]})

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep it where it is time, or let the random numbers go on. Here all is done that follows the step before, losses told and rows
        judged, and the batch of this one is drawn. A loss that is a mean over some steps is told of those since the stop alone."""
        if self.kept is not None:
            _set_random(_named(load_file(self.kept.folder / _REST), _RANDOM), self.kept.about["random"])
            self.kept = None
        elif state.global_step and self._is_time(kwargs["model"], self.since):
            self._keep(state, kwargs["model"], kwargs["optimizer"], kwargs["lr_scheduler"])

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep what it came to, for other work may follow before that stands in the journal."""
        if self._is_time(kwargs["model"], self.progress.begin):
            self._keep(state, kwargs["model"], kwargs["optimizer"], kwargs["lr_scheduler"], ended=True)

    def _is_time(self, model: nn.Module, since: float) -> bool:
        took = self.took or _bytes(model) / _BYTES_A_SECOND
        return not self.off and time.perf_counter() - since >= max(EVERY, took / _SHARE)

    def _keep(self, state: Any, model: nn.Module, optimizer: Any, scheduler: Any, *, ended: bool = False) -> None:
        begin = time.perf_counter()
        whole = self.place / f"{_STEP}{state.global_step}"
        part = whole.with_name(f".{whole.name}")
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self.place).free < 2 * _bytes(model):
                raise OSError("no room")
            for left in (part, whole):  # what a kill, or damage, left there
                shutil.rmtree(left, ignore_errors=True)
            part.mkdir()
            _write(part, state, self.progress, model, optimizer, scheduler, ended)
            os.replace(part, whole)
        except (OSError, SafetensorError, RuntimeError):  # the last from weights that share their memory
            shutil.rmtree(part, ignore_errors=True)
            self.off = True
            warn("  How far this training is cannot be kept on the disk; if it is stopped, it begins anew.")
            return
        for other in self.place.iterdir():
            if other != whole:
                shutil.rmtree(other, ignore_errors=True)
        self.since = time.perf_counter()
        self.took = self.since - begin


def _learned(model: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def _bytes(model: nn.Module) -> float:
    """What is written of it: weights and two moments."""
    return 3.0 * sum(parameter.nbytes for _, parameter in _learned(model))


def _write(folder: Path, state: Any, progress: Progress, model: nn.Module, optimizer: Any, scheduler: Any, ended: bool) -> None:
    rest: dict[str, torch.Tensor] = {}
    if progress.best is not None:
        rest |= {f"{_BEST}.{name}": value for name, value in progress.best[1].items()}
    states, plain = _random_states()
    if not ended:
        rest |= {f"{_RANDOM}.{name}": value for name, value in states.items()}
        for number, moments in optimizer.state_dict()["state"].items():
            rest |= {f"{_MOMENT}.{number}.{what}": value for what, value in moments.items()}
    save_file({name: parameter.detach().contiguous() for name, parameter in _learned(model)}, folder / SAFE_WEIGHTS_NAME)
    save_file({name: value.contiguous() for name, value in rest.items()}, folder / _REST)
    about = {
        "step": state.global_step,
        "ended": ended,
        "seconds": time.perf_counter() - progress.begin,
        "points": [asdict(point) for point in progress.points],
        "best_loss": None if progress.best is None else progress.best[0],
        "worse": progress.worse,
        "scheduler": scheduler.state_dict(),
        "rates": [group["lr"] for group in optimizer.param_groups],
        "random": plain,
    }
    (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
    state.save_to_json(str(folder / TRAINER_STATE_NAME))


def _named(tensors: dict[str, torch.Tensor], kind: str) -> dict[str, torch.Tensor]:
    """Those of one kind, by the rest of their names."""
    return {name.removeprefix(f"{kind}."): value for name, value in tensors.items() if name.startswith(f"{kind}.")}


def _random_states() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The states of all random numbers: long ones as tensors, the rest as JSON has it."""
    version, numbers, gauss = random.getstate()
    name, keys, *others = np.random.get_state(legacy=True)
    states = {"torch": torch.get_rng_state(), "python": torch.tensor(numbers), "numpy": torch.from_numpy(np.asarray(keys, dtype=np.int64))}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states, {"python": [version, gauss], "numpy": [name, *others]}


def _set_random(states: dict[str, torch.Tensor], plain: dict[str, Any]) -> None:
    version, gauss = plain["python"]
    random.setstate((version, tuple(states["python"].tolist()), gauss))
    name, *others = plain["numpy"]
    np.random.set_state((name, states["numpy"].numpy().astype(np.uint32), *others))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
