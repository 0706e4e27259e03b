"""The gradient by the head and the top block, against autograd row by row; and that rows which pull the target's way come first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from headstart.backbone.backbone import find_blocks
from headstart.backbone.reading import Reader
from headstart.errors import SettingsError
from headstart.instances import block_influence
from headstart.instances.base import Neighbours
from headstart.strategies.base import LinearHead
from headstart.strategies.probe import mean_of_layers, usual_layers
from tiny import HIDDEN, WORDS

TEXTS = [" ".join(np.random.default_rng(k).choice(WORDS, 2 + k)) for k in range(8)]
Y = np.arange(8) % 3


def some_head():
    rng = np.random.default_rng(1)
    return LinearHead(0.3 * rng.normal(size=(3, HIDDEN)), 0.1 * rng.normal(size=3))


def features_of(reader, texts):
    return mean_of_layers(reader.pooled(texts), usual_layers(reader.backbone.n_blocks))


def by_autograd(backbone, text, label, head):
    """The gradient by all weights and biases of the top block's linear layers and of the head, of one text, through the whole model."""
    module = backbone.module
    block = find_blocks(module)[-1]
    named = [(name, p) for name, p in block.named_parameters() if "norm" not in name.lower() and "ln_" not in name]
    named = [(name, p) for name, p in named if p.ndim == 2 or name.endswith("bias")]
    weight, bias = (torch.tensor(part, dtype=torch.float32, requires_grad=True) for part in (head.weight, head.bias))
    for _, parameter in named:
        parameter.requires_grad_(True)
    ids = torch.tensor([backbone.tokenizer(text)["input_ids"]])
    states = module(input_ids=ids, output_hidden_states=True).hidden_states
    layers = usual_layers(backbone.n_blocks)
    # A causal model's text is read off its last token.
    pooled = torch.stack([states[k][0, -1] if backbone.pooling.value == "last" else states[k][0].mean(dim=0) for k in layers]).mean(dim=0)
    loss = functional.cross_entropy(functional.linear(pooled, weight, bias)[None], torch.tensor([label]))
    found = torch.autograd.grad(loss, [weight, bias, *(p for _, p in named)])
    for _, parameter in named:
        parameter.requires_grad_(False)
    return torch.cat([part.flatten() for part in found]).numpy()


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_inner_products_are_those_of_autograd(tiny_backbone, architecture):
    backbone = tiny_backbone(architecture)
    reader, head = Reader(backbone, None, 64), some_head()
    found = block_influence.gradients(reader, TEXTS, features_of(reader, TEXTS), Y, head, side=None)
    exact = np.array([by_autograd(backbone, text, label, head) for text, label in zip(TEXTS, Y.tolist(), strict=True)])
    products = exact @ exact.T
    np.testing.assert_allclose(found @ found.T, products, rtol=1e-3, atol=1e-4 * products.max())
    assert all(not parameter.requires_grad for parameter in backbone.module.parameters())


def test_projections_keep_inner_products_on_average(tiny_backbone, monkeypatch):
    reader, head = Reader(tiny_backbone("bert"), None, 64), some_head()
    features = features_of(reader, TEXTS)
    exact = block_influence.gradients(reader, TEXTS, features, Y, head, side=None)
    turned = []
    for k in range(40):
        usual = block_influence._turn
        monkeypatch.setattr(block_influence, "_turn", lambda name, width, side, k=k, usual=usual: usual(f"{k} {name}", width, side))
        found = block_influence.gradients(reader, TEXTS, features, Y, head, side=8)
        monkeypatch.undo()
        assert found.shape[1] < exact.shape[1]
        turned.append(found @ found.T)
    wanted = exact @ exact.T
    assert np.abs(np.mean(turned, axis=0) - wanted).max() < 0.25 * wanted.max()


def test_a_row_like_the_targets_comes_before_the_same_row_under_another_label(tiny_backbone):
    reader = Reader(tiny_backbone("bert"), None, 64)
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS[:4] if k % 2 else WORDS[4:8], 6)) for k in range(8)]  # each class has words of its own
    source, y = [*texts, *texts], np.arange(8) % 2
    given = Neighbours(
        features_of(reader, texts), y, features_of(reader, source), np.concatenate([y, 1 - y]), 2, texts, source, np.zeros(16, int), 0
    )
    with pytest.raises(SettingsError) as refused:
        block_influence.weigh(given)
    assert str(refused.value) == "block_influence looks into the source's top block, and there is no source here; choose another way."
    given = replace(given, reader=reader)
    weights = block_influence.weigh(given)
    assert weights.shape == (16,) and (weights >= 0).all() and (weights <= 2).all()
    for k in (0, 1):  # rows are chosen within each class
        assert weights[:8][y == k].min() > weights[8:][y != k].max()
    read = []
    some = replace(given, target=given.target[:4], y=given.y[:4], target_texts=texts[:4])
    reader.read_texts = lambda *asked: read.append(asked)  # what was worked out is kept
    again = block_influence.weigh(some)
    assert not read and not np.array_equal(again, weights)


def test_a_source_of_one_block_is_asked_too(tiny_backbone):
    reader = Reader(tiny_backbone("bert", blocks=1), None, 64)
    found = block_influence.gradients(reader, TEXTS, features_of(reader, TEXTS), Y, some_head())
    assert found.shape[0] == 8 and np.isfinite(found).all() and found.any(axis=1).all()
