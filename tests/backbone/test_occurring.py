"""Training with the rows of the tokens that occur is training with the whole table; the other rows stay as they were."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from headstart.backbone import occurring
from headstart.backbone.backbone import Backbone
from headstart.backbone.occurring import occurring_only
from headstart.backbone.reading import Reader, tokenize
from headstart.settings import Precision
from headstart.strategies.base import LinearHead, Rows
from headstart.strategies.model import TransferModel
from headstart.strategies.schedule import Schedule
from headstart.strategies.training import TunedModel, tune
from tiny import ARCHITECTURES, HIDDEN

Tiny = Callable[..., Backbone]
PLAN = Schedule(
    steps=6,
    batch_size=4,
    learning_rate=1e-2,
    head_rate=5e-2,
    layer_decay=0.9,
    warmup=0.0,
    weight_decay=0.1,
    precision=Precision.FLOAT32,
    seed=3,
)
ROWS = Rows(("my card is lost", "refund the order", "card", "the refund is late", "my order is late please", "lost"), np.arange(6) % 2, 2)
UNSEEN = "happy movie password"  # none of its words in ROWS


def table_of(module: Any) -> np.ndarray:
    found: np.ndarray = module.get_input_embeddings().weight.detach().numpy().copy()
    return found


def tuned(backbone: Backbone, *, short: bool, validate: Any = None, plan: Schedule = PLAN) -> TransferModel:
    head = LinearHead(0.3 * np.random.default_rng(1).normal(size=(2, HIDDEN)), np.zeros(2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(occurring, "_FEW", 1.0 if short else 0.0)
        return tune(Reader(backbone, None, 4096), ROWS, cut=0, head=head, schedule=plan, validate=validate)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_occurs_learns_as_in_the_whole_table_and_all_else_stays(architecture: str, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    before = table_of(backbone.module)
    some, whole = tuned(backbone, short=True), tuned(backbone, short=False)
    assert some.module is not None and whole.module is not None
    assert [name for name, _ in some.module.named_parameters()] == [name for name, _ in whole.module.named_parameters()]
    assert list(some.module.state_dict()) == list(whole.module.state_dict())
    tokens = sorted({0, backbone.tokenizer.pad_token_id or 0}.union(*tokenize(backbone, ROWS.texts)))
    others = np.setdiff1d(np.arange(len(before)), tokens)
    after, wanted = table_of(some.module), table_of(whole.module)
    assert np.abs(after[tokens] - wanted[tokens]).max() < 1e-5 < np.abs(after[tokens] - before[tokens]).max()
    assert (after[others] == before[others]).all()
    assert not (wanted[others] == before[others]).all()  # weight decay shrank what no text held
    assert np.abs(some.predict_logits(ROWS.texts) - whole.predict_logits(ROWS.texts)).max() < 1e-4
    assert np.isfinite(some.predict_logits([UNSEEN])).all()


def test_rows_that_are_set_aside_may_hold_other_tokens(tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone("bert")
    ids = torch.tensor(tokenize(backbone, [UNSEEN]))
    seen: list[torch.Tensor] = []

    def validate(model: TunedModel) -> tuple[float, float]:
        with torch.inference_mode():
            seen.append(model.trunk(ids, None).clone())
        return -float(len(seen)), 0.0  # every pass is the best

    plan = replace(PLAN, patience=5)
    model = tuned(backbone, short=True, validate=validate, plan=plan)
    wanted = tuned(backbone, short=True, plan=plan)
    assert len(seen) == 4 and not torch.equal(seen[0], seen[-1])  # at the start and after each pass
    assert model.module is not None and wanted.module is not None
    assert np.abs(table_of(model.module) - table_of(wanted.module)).max() < 1e-6  # judging changed nothing
    with torch.inference_mode():
        assert torch.allclose(model.module(input_ids=ids).last_hidden_state, seen[-1], atol=1e-5)


def test_other_tokens_cannot_be_read_in_training(tiny_backbone: Tiny) -> None:
    module = copy.deepcopy(tiny_backbone("bert").module).requires_grad_(True)
    before = table_of(module)
    with occurring_only(module, np.array([0, 5, 7])) as whole:
        module(input_ids=torch.tensor([[5, 7, 0]]))
        with pytest.raises(IndexError):
            module(input_ids=torch.tensor([[5, 8]]))
        with whole():
            module(input_ids=torch.tensor([[5, 8]]))
    assert (table_of(module) == before).all() and module.get_input_embeddings().weight.requires_grad
    module(input_ids=torch.tensor([[5, 8]]))


class _TwoPlaces(nn.Module):
    """A model whose encoder has the same table under a name of its own, as T5's."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.own = nn.Embedding(9, 2), nn.Embedding(9, 2)
        self.own.weight = self.shared.weight

    def get_input_embeddings(self) -> nn.Module:
        return self.shared


class _Nameless(_TwoPlaces):
    """A model of which transformers does not know where its embeddings are."""

    def get_input_embeddings(self) -> nn.Module:
        raise NotImplementedError


@pytest.mark.parametrize("case", ["in two places", "frozen", "most of the vocabulary", "nameless"])
def test_other_tables_stay_whole(case: str) -> None:
    model = _Nameless() if case == "nameless" else _TwoPlaces()
    if case != "in two places":
        model.own = nn.Embedding(9, 2)
    if case == "frozen":
        model.requires_grad_(False)
    weight, tokens = model.shared.weight, np.arange(5 if case == "most of the vocabulary" else 2)
    with occurring_only(model, tokens) as whole, whole():
        assert model.shared.weight is weight
    assert model.shared.weight is weight
