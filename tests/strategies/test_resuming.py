"""A training that is stopped and goes on ends as one that never was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel

from headstart.backbone.backbone import Backbone
from headstart.backbone.reading import Reader
from headstart.records import CurvePoint
from headstart.settings import Precision
from headstart.strategies import resuming, training
from headstart.strategies.base import LinearHead, Rows
from headstart.strategies.batches import Entering, GroupedBatches
from headstart.strategies.language_scratch import _Writing
from headstart.strategies.losses import Loss
from headstart.strategies.model import TransferModel
from headstart.strategies.resuming import kept_at, seconds_kept
from headstart.strategies.schedule import Schedule
from headstart.strategies.training import TunedModel, run_training, tune
from tiny import HIDDEN, WORDS

Tiny = Callable[..., Backbone]
PLAN = Schedule(
    steps=14,  # three passes of four, and two steps
    batch_size=4,
    learning_rate=1e-3,
    head_rate=5e-3,
    layer_decay=0.5,
    warmup=0.2,
    weight_decay=0.01,
    precision=Precision.FLOAT32,
    seed=3,
)


@pytest.fixture(autouse=True)
def keeps_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings are kept whenever a loss was told."""
    monkeypatch.setattr(resuming, "EVERY", 0.0)
    monkeypatch.setattr(resuming, "_SHARE", float("inf"))


def rows(n: int = 16, classes: int = 3) -> Rows:
    rng = np.random.default_rng(0)
    return Rows(tuple(" ".join(rng.choice(WORDS, length)) for length in rng.integers(1, 12, n)), np.arange(n) % classes, classes)


def stop_after(monkeypatch: pytest.MonkeyPatch, step: int | None) -> None:
    """Ctrl-C once this step is done, and its loss told; None: no more."""

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(training._Watch, "on_step_begin", on_step_begin, raising=False)


def losses_of(curve: Sequence[CurvePoint]) -> NDArray[np.float64]:
    return np.array([(p.step, p.train_loss, p.validation_loss, p.validation_score) for p in curve], dtype=float)


def same(one: TransferModel, other: TransferModel) -> None:
    """Up to rounding, in which two runs of the same training differ too: keys' biases change no attention and learn nothing but that."""
    np.testing.assert_allclose(losses_of(one.curve), losses_of(other.curve), rtol=1e-4)
    np.testing.assert_allclose(one.features(rows().texts), other.features(rows().texts), atol=1e-5)
    np.testing.assert_allclose(one.head.weight, other.head.weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stop", [3, 5, 9, 13])
@pytest.mark.parametrize(("loss", "balanced"), [(Loss.BOTH, False), (Loss.PAIRS, True)])
def test_a_training_that_was_stopped_ends_as_one_that_was_not(
    tiny_backbone: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, loss: Loss, balanced: bool
) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    head = LinearHead(0.3 * np.random.default_rng(1).normal(size=(3, HIDDEN)), np.zeros(3))

    def trained(kept: Path | None) -> TransferModel:
        return tune(reader, rows(), cut=1, head=head, schedule=replace(PLAN, kept=kept), loss=loss, balanced=balanced)

    whole = trained(None)
    stop_after(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path)
    [place] = tmp_path.iterdir()
    assert kept_at(place).step == stop - 1
    stop_after(monkeypatch, None)
    same(trained(tmp_path), whole)


def test_dropout_goes_on_with_the_random_numbers_that_were_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer from nothing, whose steps depend on random numbers."""
    config = GPT2Config(vocab_size=20, n_positions=16, n_embd=8, n_layer=1, n_head=2, resid_pdrop=0.3, embd_pdrop=0.3, attn_pdrop=0.0)
    ids = [np.random.default_rng(i).integers(20, size=8) for i in range(12)]

    def trained(kept: Path | None) -> torch.Tensor:
        torch.manual_seed(0)
        model = _Writing(GPT2LMHeadModel(config))
        entering = Entering(np.full(12, 8), ids, lambda at: [ids[i] for i in at])
        run_training(model, entering, np.zeros(12, dtype=np.int64), replace(PLAN, kept=kept))
        return torch.cat([parameter.flatten() for parameter in model.parameters()])

    whole = trained(None)
    stop_after(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path)
    stop_after(monkeypatch, None)
    torch.manual_seed(99)
    assert torch.equal(trained(tmp_path), whole)


def test_early_stopping_goes_on_with_the_best_weights_so_far(tiny_backbone: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    head = LinearHead(np.zeros((3, HIDDEN)), np.zeros(3))

    def trained(kept: Path | None) -> TransferModel:
        judged = iter([0.9, 0.5, 0.6, 0.7, 0.8] if kept is None or not list(kept.iterdir()) else [0.7, 0.8])

        def validate(model: TunedModel) -> tuple[float, float]:
            return next(judged), 0.1

        return tune(reader, rows(), cut=1, head=head, schedule=replace(PLAN, steps=19, kept=kept, patience=2), validate=validate)

    whole = trained(None)
    assert [point.step for point in whole.curve if point.validation_loss is not None] == [0, 4, 8, 12]  # and there it stops
    stop_after(monkeypatch, 10)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path)
    stop_after(monkeypatch, None)
    same(trained(tmp_path), whole)


def test_a_training_that_had_ended_is_not_done_again(tiny_backbone: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    head = LinearHead(np.zeros((3, HIDDEN)), np.zeros(3))
    plan = replace(PLAN, kept=tmp_path)
    first = tune(reader, rows(), cut=1, head=head, schedule=plan)
    [place] = tmp_path.iterdir()
    assert not any(name.startswith("moment") for name in load_file(kept_at(place).folder / "rest.safetensors"))
    stop_after(monkeypatch, 0)
    same(tune(reader, rows(), cut=1, head=head, schedule=plan), first)
    with pytest.raises(KeyboardInterrupt):  # other rows are another training
        tune(reader, rows(15), cut=1, head=head, schedule=plan)
    with pytest.raises(KeyboardInterrupt):
        tune(reader, rows(), cut=2, head=head, schedule=plan)


def test_what_is_damaged_is_passed_over(tiny_backbone: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    head, plan = LinearHead(np.zeros((3, HIDDEN)), np.zeros(3)), replace(PLAN, kept=tmp_path)
    stop_after(monkeypatch, 7)
    with pytest.raises(KeyboardInterrupt):
        tune(reader, rows(), cut=1, head=head, schedule=plan)
    [place] = tmp_path.iterdir()
    kept = kept_at(place)
    assert seconds_kept(tmp_path) == kept.about["seconds"] > 0
    (place / ".step-9").mkdir()  # a kill while it was written
    assert kept_at(place) == kept
    for name in ("model.safetensors", "rest.safetensors", "about.json", "trainer_state.json"):
        whole = (kept.folder / name).read_bytes()
        for harmed in (whole[:-9], b""):
            (kept.folder / name).write_bytes(harmed)
            assert kept_at(place) is None and seconds_kept(tmp_path) == 0.0
        (kept.folder / name).write_bytes(whole)
        assert kept_at(place) == kept
    (kept.folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(KeyboardInterrupt):  # it begins anew, and is kept where the damaged one lay
        tune(reader, rows(), cut=1, head=head, schedule=plan)
    assert kept_at(place).step == kept.step and [path.name for path in place.iterdir()] == [kept.folder.name]
    stop_after(monkeypatch, None)
    same(tune(reader, rows(), cut=1, head=head, schedule=plan), tune(reader, rows(), cut=1, head=head, schedule=PLAN))


def test_a_full_disk_ends_no_training(
    tiny_backbone: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: object, place: Path) -> None:
        place.write_bytes(b"a part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resuming, "save_file", full)
    reader, head = Reader(tiny_backbone("bert"), None, 4096), LinearHead(np.zeros((3, HIDDEN)), np.zeros(3))
    model = tune(reader, rows(), cut=1, head=head, schedule=replace(PLAN, kept=tmp_path))
    told = capsys.readouterr().err
    assert told.count("How far this training is cannot be kept on the disk; if it is stopped, it begins anew.") == 1
    assert list(tmp_path.rglob("*.safetensors")) == []
    same(model, tune(reader, rows(), cut=1, head=head, schedule=PLAN))


@pytest.mark.parametrize(("n", "size", "steps"), [(12, 4, 10), (3, 4, 30), (12, 4, 60), (24, 4, 120)])
def test_whatever_its_passes_and_steps_a_training_is_kept_and_ends(
    tiny_backbone: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], n: int, size: int, steps: int
) -> None:
    """Passes of one batch, passes that end where losses are told, a last step within a pass."""
    reader, head = Reader(tiny_backbone("bert"), None, 4096), LinearHead(np.zeros((3, HIDDEN)), np.zeros(3))
    plan = replace(PLAN, steps=steps, batch_size=size, kept=tmp_path)
    stop_after(monkeypatch, steps - 1)
    with pytest.raises(KeyboardInterrupt):
        tune(reader, rows(n), cut=3, head=head, schedule=plan)
    [place] = tmp_path.iterdir()
    assert (kept_at(place).step, kept_at(place).ended) == (steps - 2, False)
    stop_after(monkeypatch, None)
    model = tune(reader, rows(n), cut=3, head=head, schedule=plan)
    assert (kept_at(place).step, kept_at(place).ended) == (steps, True) and len(list(place.iterdir())) == 1
    assert model.curve[-1].step == steps and "cannot be kept" not in capsys.readouterr().err


def test_what_takes_less_than_a_minute_is_not_kept(tiny_backbone: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "EVERY", 60.0)
    reader, head = Reader(tiny_backbone("bert"), None, 4096), LinearHead(np.zeros((3, HIDDEN)), np.zeros(3))
    tune(reader, rows(), cut=1, head=head, schedule=replace(PLAN, kept=tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("balanced", [False, True])
def test_passes_that_are_skipped_leave_those_that_follow(balanced: bool) -> None:
    drawn, skipped = (GroupedBatches(np.arange(50) + 1, np.arange(50) % 3, 8, 5, balanced) for _ in range(2))
    passes = [list(drawn) for _ in range(4)]
    skipped.skip(2)
    assert [list(skipped) for _ in range(2)] == passes[2:]
