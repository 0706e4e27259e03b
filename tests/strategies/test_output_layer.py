"""The output layer: found in a source, what tokens cost by it, its loss where it does not learn."""

import json

import numpy as np
import pytest
import torch

from headstart.backbone.backbone import load_backbone
from headstart.errors import SourceError
from headstart.sources.resolve import resolve_source
from headstart.strategies.output_layer import LEFT_OUT, FrozenHeadLoss, nats_of, output_layer
from tiny import make_causal, make_tiny


def test_a_model_that_looks_ahead_is_refused(tmp_path):
    make_tiny(tmp_path / "bert", "bert", blocks=2)
    with pytest.raises(SourceError) as refused:
        output_layer(load_backbone(resolve_source(str(tmp_path / "bert")), 64))
    assert str(refused.value) == (
        f"The source {str(tmp_path / 'bert')!r} looks ahead, so that it cannot write. Name a causal model (GPT-2, Llama, Gemma ...) with "
        "--source."
    )


def test_how_attention_is_worked_out_is_not_for_a_source_to_say(tmp_path):
    folder = make_causal(tmp_path, "llama")
    backbone = load_backbone(resolve_source(str(folder)), 64)
    before = output_layer(backbone).weight
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attn_implementation": "kernels-community/some-kernel"}))
    assert torch.equal(output_layer(backbone).weight, before)


@pytest.mark.parametrize("bias", [True, False])
def test_what_tokens_cost_is_the_same_however_many_are_looked_at_together(bias, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(5, 11, bias=bias)
    states, told = torch.randn(8, 5, generator=generator), torch.randint(0, 11, (8,), generator=generator)
    with torch.inference_mode():
        wanted = -torch.log_softmax(head(states).double(), dim=1)[torch.arange(8), told]
    for at_once in (3, 8, 100):
        monkeypatch.setattr("headstart.strategies.output_layer.AT_ONCE", at_once)
        found = nats_of(states.numpy(), told.numpy(), head)
        assert found.dtype == np.float64 and found == pytest.approx(wanted.numpy(), abs=1e-5)
    assert nats_of(states[:0].numpy(), told[:0].numpy(), head).shape == (0,)


@pytest.mark.parametrize("bias", [True, False])
def test_the_loss_of_a_frozen_output_layer_and_its_gradient_are_those_of_autograd(bias, monkeypatch):
    monkeypatch.setattr("headstart.strategies.output_layer.AT_ONCE", 3)
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(5, 11, bias=bias).requires_grad_(False).double()
    states, ids = torch.randn(8, 5, generator=generator).double(), torch.randint(0, 11, (8,), generator=generator)
    ours, theirs = states.clone().requires_grad_(True), states.clone().requires_grad_(True)
    loss = FrozenHeadLoss.apply(ours, head.weight, head.bias, ids)
    wanted = torch.nn.functional.cross_entropy(head(theirs), ids, reduction="sum")
    (2.0 * loss).backward()
    (2.0 * wanted).backward()
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()))
    torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize(("pieces", "wide"), [(40, True), (39, False)])
def test_a_wide_output_layer_is_multiplied_by_the_kernel_that_is_fastest_for_it(pieces, wide, monkeypatch):
    monkeypatch.setattr("headstart.strategies.output_layer._WIDE", 40)
    asked, calls = [], []

    def counted(x, weight, bias):
        calls.append((tuple(x.shape), tuple(weight.shape), bias))
        return torch.nn.functional.linear(x, weight, bias)

    monkeypatch.setattr("headstart.strategies.output_layer.fastest_linear", lambda *shape: asked.append(shape) or counted)
    head, states, ids = torch.nn.Linear(5, pieces).requires_grad_(False), torch.randn(8, 5), torch.arange(8)
    loss = FrozenHeadLoss.apply(states, head.weight, head.bias, ids)
    assert float(loss) == pytest.approx(float(torch.nn.functional.cross_entropy(head(states), ids, reduction="sum")), rel=1e-5)
    assert (asked, calls) == (([(256, 5, 40)], [((8, 5), (40, 5), None)]) if wide else ([], []))


@pytest.mark.parametrize("sharpness", [0.1, 3.0, 30.0])
def test_pieces_that_are_next_to_impossible_are_left_out_of_the_gradient_alone(sharpness, monkeypatch):
    monkeypatch.setattr("headstart.strategies.output_layer._WIDE", 300)
    monkeypatch.setattr("headstart.strategies.output_layer.AT_ONCE", 4)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(300, 5, generator=generator).double()
    states, ids = sharpness * torch.randn(10, 5, generator=generator).double(), torch.randint(0, 300, (10,), generator=generator)
    ours, theirs = states.clone().requires_grad_(True), states.clone().requires_grad_(True)
    FrozenHeadLoss.apply(ours, weight, None, ids).backward()
    wanted = torch.nn.functional.cross_entropy(theirs @ weight.T, ids, reduction="sum")
    wanted.backward()
    loss = FrozenHeadLoss.apply(states, weight, None, ids)
    assert float(loss) == pytest.approx(float(wanted.detach()))
    own = torch.softmax(states @ weight.T, dim=1)[torch.arange(10), ids]
    bound = LEFT_OUT * sum(float((1 - own[begin : begin + 4]).sum()) for begin in (0, 4, 8)) * float(weight.norm(dim=1).max())
    away = float((ours.grad - theirs.grad).norm(dim=1).sum())
    assert (1e-9 < away <= bound) if sharpness > 1 else away <= bound  # flat as they are, all matter
    monkeypatch.setattr("headstart.strategies.output_layer.LEFT_OUT", 0.0)
    ours.grad = None
    FrozenHeadLoss.apply(ours, weight, None, ids).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
