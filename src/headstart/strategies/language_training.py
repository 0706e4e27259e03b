"""Training of completions above the cut: the next token, where it is the completion's, from stored activations.

Letters in shapes: b rows, t tokens, d width, v vocabulary.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from headstart.backbone.cut import Trunk
from headstart.backbone.reading import Reader
from headstart.data.prompts import WHOLE
from headstart.strategies.adapter import add_adapters, merge_adapters
from headstart.strategies.base import Rows
from headstart.strategies.batches import entering_of, packed
from headstart.strategies.ladder import Job, Work
from headstart.strategies.language import WritingModel, longest_of
from headstart.strategies.lora import ALPHA, RANK, lora_schedule
from headstart.strategies.model import NO_LABEL, collate
from headstart.strategies.output_layer import AT_ONCE, FrozenHeadLoss, output_layer
from headstart.strategies.schedule import Schedule, planned_steps, rows_a_step, schedule_of
from headstart.strategies.training import Learned, run_training, trunk_learning

# Rows whose tokens are counted, to foretell what training takes.
_LOOKED_AT = 50
# Shares of the usual rates: a language model forgets how to write before it learns what to (docs/log.md).
_FULL_RATE, _BLOCKS_RATE, LORA_RATE = 1 / 30, 1 / 2, 2 / 3


class NextToken(nn.Module):
    """Trunk and output layer; the loss is the mean cross-entropy of the tokens that are told. The output layer learns
    where its weights do: tied to embeddings that learn, or by itself."""

    def __init__(self, trunk: Trunk, head: nn.Linear, above: frozenset[str]) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.above = above
        self._short: torch.Tensor | None = None

    def learning(self, plan: Schedule) -> list[Learned]:
        """The trunk, and an output layer that is not tied to it as fast as the top block, where it learns."""
        found = trunk_learning(self.trunk, self.above, plan)
        known = {id(parameter) for parameter, _, _ in found}
        own = [parameter for parameter in self.head.parameters() if parameter.requires_grad and id(parameter) not in known]
        return found + [(each, plan.learning_rate, plan.weight_decay if each.ndim > 1 else 0.0) for each in own]

    def forward(
        self, entering: torch.Tensor, mask: torch.Tensor | None, labels: torch.Tensor, positions: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """The loss of a batch; see `Trunk.forward` for `entering`, `mask` and `positions`. `labels` (b, t) are ids, NO_LABEL where nothing
        is told."""
        states = self.trunk(entering, mask, positions)
        kind = states.device.type
        short = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        with torch.autocast(kind, enabled=False):
            some = labels[:, 1:] != NO_LABEL
            states, told = states[:, :-1].float()[some], labels[:, 1:][some]
            if self.head.weight.requires_grad:
                parts = zip(torch.split(states, AT_ONCE), torch.split(told, AT_ONCE), strict=True)
                loss = states.new_zeros(()) + sum(checkpoint(self._loss_of, part, ids, use_reentrant=False) for part, ids in parts)
            else:
                loss = FrozenHeadLoss.apply(states, self._weight(short), self.head.bias, told)  # type: ignore[no-untyped-call]
            return {"loss": loss / some.sum().clamp(min=1)}

    def _weight(self, short: torch.dtype | None) -> torch.Tensor:
        """The output layer's weights in the number format of the training; `short` None: their own."""
        if short is None:
            return self.head.weight
        if self._short is None:  # it does not learn, so that one copy does
            self._short = self.head.weight.detach().to(short)
        return self._short

    def _loss_of(self, states: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(self.head(states), ids, reduction="sum")


def told_rows(reader: Reader, rows: Rows) -> tuple[Rows, int]:
    """Rows as texts whose units are tokens, each told the id that stands there where it is the completion's; and the longest completion."""
    model = WritingModel(reader, None, reader.backbone.n_blocks, nn.Linear(1, 1), 1)
    written = model.written(rows.texts, rows.y.tolist())
    sizes = np.array([len(row.told) for row in written], dtype=np.int64)
    units = np.concatenate([row.told for row in written])
    told = Rows(tuple(row.text for row in written), units, 1, sizes, np.zeros(len(written), dtype=np.int64))
    return told, longest_of(written, reader.backbone.max_length)


def writing_schedule(job: Job, steps: int, cut: int) -> Schedule:
    """The settings' schedule at the rate of blocks from `cut` on; at 0 of the whole model."""
    plan = schedule_of(job, steps)
    return replace(plan, learning_rate=(_BLOCKS_RATE if cut else _FULL_RATE) * plan.learning_rate)


def fit_language(job: Job, strategy: str, cut: int) -> WritingModel:
    """Tune the blocks from `cut` on; at 0 the embeddings and the output layer too."""
    plan = writing_schedule(job, planned_steps(strategy, len(job.rows), job.settings), cut)
    module = copy.deepcopy(job.source.backbone.module)
    return tune_language(job.source, job.rows, cut=cut, schedule=plan, module=module, pack=job.settings.pack)


def fit_language_adapters(job: Job, *, stored: bool = True) -> WritingModel:
    """Train low-rank adapters above the job's cut (Hu et al. 2021, arXiv 2106.09685). `stored` as in `training.tune`."""
    module = copy.deepcopy(job.source.backbone.module)
    only = add_adapters(module, job.cut, RANK, ALPHA, job.seed)
    plan = lora_schedule(job, planned_steps("lora", len(job.rows), job.settings), LORA_RATE)
    pack = job.settings.pack
    tuned = tune_language(job.source, job.rows, cut=job.cut, schedule=plan, module=module, only=only, stored=stored, pack=pack)
    assert tuned.module is not None
    return replace(tuned, adapter=merge_adapters(tuned.module, RANK, ALPHA))


def tune_language(
    reader: Reader,
    rows: Rows,
    *,
    cut: int,
    schedule: Schedule,
    module: nn.Module,
    only: frozenset[str] | None = None,
    stored: bool = True,
    pack: bool = False,
) -> WritingModel:
    """Train `module`, a copy of the source's backbone, on these rows, those of a step in one row where `pack`; other arguments as in
    `training.tune`."""
    told, longest = told_rows(reader, rows)
    if stored and cut:
        reader.read_ahead(told.texts, [cut])
    head = output_layer(reader.backbone)
    if getattr(module.config, "tie_word_embeddings", False):
        head.weight = module.get_input_embeddings().weight  # type: ignore[operator]
    elif cut == 0 and only is None:
        head.requires_grad_(True)
    trunk = Trunk(module, cut, reader.backbone.above, stored=stored, only=only)
    model = NextToken(trunk, head, reader.backbone.above)
    entering = entering_of(reader, told, cut if stored else 0)
    curve = run_training(model, entering, told.strata, schedule, batch=packed if pack else collate)
    return WritingModel(reader, trunk.restore(), cut, head.requires_grad_(False), longest, curve, bool((rows.y == WHOLE).all()))


def work_of(strategy: str, job: Job, share: float) -> Work:
    """What training on a share of the rows takes: all tokens pass the blocks that learn, and those that are told the output layer too."""
    backbone, rows = job.source.backbone, max(2, round(len(job.rows) * share))
    some = job.rows.take(np.arange(0, len(job.rows), max(1, len(job.rows) // _LOOKED_AT)))
    read, _ = told_rows(job.source, some)
    tokens, told = len(read.y) / len(some), float((read.y != NO_LABEL).sum()) / len(some)
    steps = planned_steps(strategy, rows, job.settings)
    blocks = backbone.block_parameters * (1 - (0 if strategy == "full" else job.cut) / backbone.n_blocks)
    head = len(backbone.tokenizer) * backbone.width * told / max(tokens, 1.0)
    # Forwards and to the states; where it learns forwards once more and to its weights too.
    head *= 4 / 3 if strategy == "full" else 2 / 3
    return Work(steps * min(rows_a_step(job.settings), rows) * tokens, blocks + head, 0.0, steps)


def untouched(job: Job) -> WritingModel:
    """The source as it is."""
    _, longest = told_rows(job.source, job.rows)
    continues = bool((job.rows.y == WHOLE).all())
    return WritingModel(job.source, None, job.source.backbone.n_blocks, output_layer(job.source.backbone), longest, continues=continues)
