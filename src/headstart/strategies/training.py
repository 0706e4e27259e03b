"""Training above the cut with `transformers.Trainer`: the model that is trained, its batches, its schedule.

Letters in shapes: b rows, t tokens, d width, c classes.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

from headstart.backbone.backbone import find_blocks
from headstart.backbone.cut import Trunk
from headstart.backbone.kernels import attention_in_float32
from headstart.backbone.occurring import occurring_only
from headstart.backbone.reading import Reader
from headstart.data.split import test_split
from headstart.environment import only_new_garbage, release_free_memory
from headstart.progress import bar, say
from headstart.records import CurvePoint
from headstart.settings import Precision
from headstart.strategies.base import FloatArray, LinearHead, Rows
from headstart.strategies.batches import Entering, GroupedBatches, entering_of
from headstart.strategies.events import trainer_events
from headstart.strategies.free_heads import spread_of
from headstart.strategies.ladder import Job
from headstart.strategies.losses import Loss, contrastive_loss, head_loss, loss_of, spans_loss
from headstart.strategies.model import NO_LABEL, TransferModel, collate, mean_pooled, pooled_through
from headstart.strategies.resuming import Keeping, Progress, kept_at, place_of
from headstart.strategies.schedule import Schedule
from headstart.strategies.tuned_heads import tuned_layers

STOPPING_FROM = 3000  # rows from which some are set aside to stop training early: fewer need all they have
STOPPING_SHARE = 0.1


class TunedModel(nn.Module):
    """Trunk, pooling and a linear head on the mean of some layers.

    The loss is that of `loss`: cross-entropy or another loss of the head, the comparison of all pairs of the batch, or the sum of
    both; with `Loss.WORDS` and `Loss.SPANS` nothing is pooled and the head acts on each token.
    """

    def __init__(
        self, trunk: Trunk, reader: Reader, layers: Sequence[int], head: LinearHead, class_weight: FloatArray | None, loss: Loss
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.above = reader.backbone.above
        self.layers = tuple(layers)
        self.pooling = reader.backbone.pooling
        self.head = nn.Linear(head.weight.shape[1], head.weight.shape[0])
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(head.weight))
            self.head.bias.copy_(torch.from_numpy(head.bias))
        self.loss = loss
        self.class_weight = None if class_weight is None else torch.tensor(class_weight, dtype=torch.float32)

    def forward(self, entering: torch.Tensor, mask: torch.Tensor | None, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """The loss of a batch; see `Trunk.forward` for `entering` and `mask`. `labels` is (b,), of tokens (b, t) with -100 for none, of
        labels and numbers (b, c)."""
        if self.loss is Loss.WORDS:
            (states,) = self.trunk.hidden(entering, mask, self.layers)
            with torch.autocast(states.device.type, enabled=False):
                some = labels != NO_LABEL  # the head is spared all other tokens
                loss = functional.cross_entropy(self.head(states.float()[some]), labels[some], reduction="sum")
                return {"loss": loss / some.sum().clamp(min=1)}  # a batch may hold no label at all
        if self.loss is Loss.SPANS:
            (states,) = self.trunk.hidden(entering, mask, self.layers)
            with torch.autocast(states.device.type, enabled=False):
                return {"loss": spans_loss(self.head(states.float()), labels)}
        pooled = mean_pooled(self.trunk, entering, mask, self.layers, self.pooling)
        loss = pooled.new_zeros(())
        with torch.autocast(pooled.device.type, enabled=False):
            if self.loss is not Loss.PAIRS:
                weight = None if self.class_weight is None else self.class_weight.to(pooled.device)
                loss = loss + head_loss(self.head(pooled), labels, weight, self.loss)
            if self.loss in (Loss.PAIRS, Loss.BOTH):
                loss = loss + contrastive_loss(pooled, labels)
        return {"loss": loss}

    def learning(self, plan: Schedule) -> list[Learned]:
        """The trunk, and the head where it has a part in the loss."""
        head = [] if self.loss is Loss.PAIRS else [(parameter, plan.head_rate, 0.0) for parameter in self.head.parameters()]
        return trunk_learning(self.trunk, self.above, plan) + head


Validate = Callable[[TunedModel], tuple[float, float]]
"""The loss and the score of a model in training on rows that it does not train on."""


def trunk_learning(trunk: Trunk, above: frozenset[str], plan: Schedule) -> list[Learned]:
    """What learns of a trunk: each block `layer_decay` times as fast as the next higher one; norms and biases do not decay."""
    top = len(find_blocks(trunk.module)) - 1
    found = []
    for level, parameter in trunk.learning(above):
        depth = max(0, top - level)  # a final norm learns as fast as the top block
        found.append((parameter, plan.learning_rate * plan.layer_decay**depth, plan.weight_decay if parameter.ndim > 1 else 0.0))
    return found


class _Trainer(Trainer):  # type: ignore[misc]
    """`transformers.Trainer` with our batches and learning rates."""

    def __init__(self, schedule: Schedule, sampler: GroupedBatches, **kwargs: Any) -> None:
        self.schedule, self.sampler = schedule, sampler
        super().__init__(**kwargs)

    def get_train_dataloader(self) -> Any:
        """Our sampler in place of a random one."""
        loader = DataLoader(self.train_dataset, batch_sampler=self.sampler, collate_fn=self.data_collator)
        return self.accelerator.prepare(loader)

    def create_optimizer(self, model: Any = None) -> Any:
        """AdamW with the rates that the model says."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for parameter, rate, decay in self.model.learning(self.schedule):
            groups.setdefault((rate, decay), []).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [{"params": p, "lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()],
            fused=next(self.model.parameters()).device.type in ("cpu", "cuda"),  # one pass over the weights in place of ten
        )
        return self.optimizer

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Nothing: of a training that goes on the weights are there already, of which those that learn alone were kept."""


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Notes the losses, judges the validation rows after every pass, keeps the best weights, stops when they stop getting better."""

    def __init__(self, model: Any, validate: Validate | None, patience: int | None, shown: Any, progress: Progress) -> None:
        self.model, self.validate, self.patience, self.shown, self.progress = model, validate, patience, shown, progress

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        self.shown.update(1)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Keep the training loss."""
        if logs and "loss" in logs:
            self._note(state, train_loss=float(logs["loss"]))

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the start too: training may only make it worse."""
        if state.global_step == 0:
            self.on_epoch_end(args, state, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Judge the validation rows."""
        if self.validate is None:
            return
        loss, score = self.validate(self.model)
        self._note(state, validation_loss=loss, validation_score=score)
        progress = self.progress
        if progress.best is None or loss < progress.best[0]:
            learned = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
            progress.best = loss, {name: p.detach().clone() for name, p in learned.items()}
            progress.worse = 0
        else:
            progress.worse += 1
            control.should_training_stop = self.patience is not None and progress.worse >= self.patience

    def _note(self, state: Any, **losses: float) -> None:
        self.progress.points.append(CurvePoint(state.global_step, time.perf_counter() - self.progress.begin, **losses))


def tune(
    reader: Reader,
    rows: Rows,
    *,
    cut: int,
    head: LinearHead,
    schedule: Schedule,
    class_weight: FloatArray | None = None,
    loss: Loss = Loss.CROSS_ENTROPY,
    balanced: bool = False,
    module: nn.Module | None = None,
    stored: bool = True,
    validate: Validate | None = None,
    only: frozenset[str] | None = None,
) -> TransferModel:
    """Train the blocks from `cut` on, and the head, on these rows.

    Args:
        reader: the source, frozen below the cut.
        rows: training rows; their classes' names are learnt as further ones. With `Loss.WORDS` units are
            tokens, those that bear no label with `NO_LABEL`.
        cut: blocks kept frozen, 0 to L-1.
        head: where the head begins; it acts on the mean of `tuned_layers`, with `Loss.PAIRS` and of tokens on the last layer.
        schedule: how long and how fast.
        class_weight: (c,) weights of the cross-entropy; None: all 1.
        loss: what is made small.
        balanced: every batch holds each class about equally often.
        module: the backbone to begin from; None: the source's own weights.
        stored: feed stored activations; False runs the frozen blocks each time (for comparison, and where the disk is short).
        validate: called after each pass with the model, returns (loss, score) on validation rows; None: no early stopping.
        only: names of the parameters of `module` that alone learn, with the head; None: all from the cut upwards.
    """
    backbone, rows = reader.backbone, rows.named()
    _seed(schedule.seed)
    mean, spread = spread_of(rows.y) if loss is Loss.SQUARED else (0.0, 1.0)  # numbers are learnt with mean 0 and variance 1
    if loss is Loss.SQUARED:
        rows = replace(rows, y=(rows.y - mean) / spread)
        head = LinearHead(head.weight / spread, (head.bias - mean) / spread)
    trunk = Trunk(copy.deepcopy(backbone.module) if module is None else module, cut, backbone.above, stored=stored, only=only)
    layers = (backbone.n_blocks,) if loss in (Loss.WORDS, Loss.SPANS, Loss.PAIRS) else tuned_layers(backbone.n_blocks, cut)
    model = TunedModel(trunk, reader, layers, head, class_weight, loss)
    entering = entering_of(reader, rows, cut if stored else 0)
    assert entering.tokens is not None
    with occurring_only(trunk.module, entering.tokens) as all_tokens:

        def judge(model: TunedModel) -> tuple[float, float]:
            with all_tokens():  # rows that are set aside hold others too
                return validate(model)  # type: ignore[misc]

        points = run_training(model, entering, rows.strata, schedule, balanced=balanced, validate=validate and judge)
    learned = LinearHead(model.head.weight.detach().double().numpy() * spread, model.head.bias.detach().double().numpy() * spread + mean)
    whole = trunk.restore()
    return TransferModel(reader, whole, cut, layers, learned, points)


Learned = tuple[nn.Parameter, float, float]
"""A parameter that learns, its rate and its weight decay."""


class Learns(Protocol):
    """A model that `run_training` trains, called with a batch and giving its loss."""

    def learning(self, plan: Schedule) -> list[Learned]:
        """What learns, and how fast; all else stays as it is."""
        ...


def run_training(
    model: Any,
    entering: Entering,
    strata: NDArray[np.int64],
    schedule: Schedule,
    *,
    balanced: bool = False,
    validate: Validate | None = None,
    batch: Callable[[list[dict[str, Any]]], Any] = collate,
) -> tuple[CurvePoint, ...]:
    """Train a model (`Learns`); returns its curve. Afterwards it is frozen, and on the CPU.

    Raises:
        FloatingPointError: training diverged.

    Args:
        model: is changed in place.
        entering: the rows as they enter it.
        strata: (n,) the class of each, for balanced batches.
        schedule: how long and how fast.
        balanced: every batch holds each class about equally often.
        validate: called after each pass with the model; None: no early stopping.
        batch: puts rows together, padded (`collate`) or one after the other (`packed`).
    """
    with only_new_garbage():
        curve = _train(model, entering, strata, schedule, balanced, validate, batch)
    # What wraps a model for its training is a cycle that would keep it until Python looks for garbage among everything.
    for name in ("forward", "_original_forward"):
        vars(model).pop(name, None)
    release_free_memory()
    if not all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters() if parameter.requires_grad):
        raise FloatingPointError("its weights grew beyond all numbers")
    model.cpu()  # readers work there, and the frozen blocks never left it
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
    return curve


def _train(
    model: Any,
    entering: Entering,
    strata: NDArray[np.int64],
    schedule: Schedule,
    balanced: bool,
    validate: Validate | None,
    batch: Callable[[list[dict[str, Any]]], Any],
) -> tuple[CurvePoint, ...]:
    """The training itself; what it takes beside the model, such as the optimiser's moments, is out of reach once it is over."""
    sampler = GroupedBatches(entering.lengths, strata, schedule.batch_size, schedule.seed, balanced)
    place = None if schedule.kept is None else place_of(schedule.kept, *_content(model, entering, strata, schedule, balanced))
    kept = None if place is None else kept_at(place)
    progress = Progress() if kept is None else kept.progress()
    with bar(schedule.steps, "training", "step") as shown:
        shown.update(0 if kept is None else kept.step)
        trainer = _Trainer(
            schedule,
            sampler,
            model=model,
            args=_arguments(schedule),
            train_dataset=entering,
            data_collator=batch,
            callbacks=[_Watch(model, validate, schedule.patience, shown, progress)],
        )
        trainer.remove_callback(_printer())
        if schedule.logs is not None and not (kept is not None and kept.ended):
            trainer.add_callback(trainer_events(schedule.logs))
        if place is not None:
            trainer.add_callback(Keeping(place, kept, progress))
        attention = attention_in_float32(model) if schedule.precision is Precision.BFLOAT16 else nullcontext()
        with attention:
            if kept is None:
                trainer.train()
            else:
                kept.restore(model)
                if not kept.ended:
                    say(f"  going on after step {kept.step:,} of {schedule.steps:,}")
                    sampler.skip(kept.step // len(sampler))
                    trainer.train(resume_from_checkpoint=str(kept.folder))
    if progress.best is not None:
        model.load_state_dict(progress.best[1], strict=False)
    return tuple(progress.points)


def _content(model: Any, entering: Entering, strata: NDArray[np.int64], schedule: Schedule, balanced: bool) -> list[Any]:
    """All that tells a training from the others of the same work."""
    learned = [(name, list(p.shape), str(p.dtype)) for name, p in model.named_parameters() if p.requires_grad]
    told = np.concatenate([np.ravel(label) for label in entering.labels])
    plan = {name: value for name, value in asdict(schedule).items() if name not in ("logs", "kept")}
    rows = blake2b(b"".join(np.ascontiguousarray(part).tobytes() for part in (entering.lengths, told, strata))).hexdigest()
    return [type(model).__name__, learned, rows, plan, balanced]


def stopping_rows(job: Job) -> tuple[Rows, Validate | None]:
    """The rows to train on, and how to judge a model on the others; with few rows all train and nothing stops early."""
    if len(job.rows) < STOPPING_FROM:
        return job.rows, None
    train, held = test_split(job.rows.strata, job.groups, STOPPING_SHARE, job.seed)
    watched, rows = job.rows.take(held), job.rows.take(train)
    loss = loss_of(rows, Loss.CROSS_ENTROPY)
    mean, spread = spread_of(rows.y) if loss is Loss.SQUARED else (0.0, 1.0)  # as `tune` sees them
    y = torch.from_numpy(watched.y if loss is not Loss.SQUARED else (watched.y - mean) / spread)

    def validate(model: TunedModel) -> tuple[float, float]:
        pooled = pooled_through(model.trunk, job.source, watched.texts, model.layers)
        logits = torch.from_numpy(pooled) @ model.head.weight.detach().cpu().T + model.head.bias.detach().cpu()
        weight = None if job.class_weight is None else torch.tensor(job.class_weight, dtype=logits.dtype)
        return float(head_loss(logits, y, weight, loss)), _shown_score(logits, y, loss)

    return rows, validate


def _shown_score(logits: torch.Tensor, y: torch.Tensor, loss: Loss) -> float:
    """What the learning curve shows: accuracy, the share of labels told right, or the share of variance explained."""
    if loss is Loss.SQUARED:
        return float(1.0 - ((logits - y) ** 2).mean() / y.var(unbiased=False).clamp(min=1e-12))
    right = (logits > 0) == (y > 0) if loss is Loss.LABELS else logits.argmax(dim=1) == y
    return float(right.double().mean())


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # transformers draws from it


def _printer() -> Any:
    from transformers.trainer_callback import PrinterCallback

    return PrinterCallback


def _arguments(plan: Schedule) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=".",  # nothing is written there: no checkpoints, no reports
        max_steps=plan.steps,
        learning_rate=plan.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(plan.warmup * plan.steps),
        bf16=plan.precision is Precision.BFLOAT16,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="steps",
        logging_steps=max(1, plan.steps // 20),
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=plan.seed,
        label_names=["labels"],
        dataloader_pin_memory=False,
    )
    # Of several GPUs the first alone: copies of a model on the others would share the hooks at the cut.
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments
