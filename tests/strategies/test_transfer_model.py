"""What the head of a transferred model acts on: pooled layers of the source, or what tuned blocks make of stored activations."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.backbone import batching, reading
from headstart.backbone.backbone import Backbone, find_blocks
from headstart.backbone.cut import Trunk
from headstart.backbone.reading import Reader, tokenize
from headstart.backbone.store import Store
from headstart.strategies.base import LinearHead
from headstart.strategies.model import TransferModel, collate, entering_rows, mean_pooled, pooled_through
from tiny import HIDDEN

Tiny = Callable[..., Backbone]
TEXTS = ("why is my card lost?", "refund", "", "the car " * 30, "refund")
HEAD = LinearHead(np.random.default_rng(0).normal(size=(3, HIDDEN)), np.array([0.1, -0.2, 0.3]))


def changed_above(backbone: Backbone, cut: int) -> torch.nn.Module:
    """A module as tuning would leave it: the blocks from `cut` on are other ones."""
    module = copy.deepcopy(backbone.module)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for block in list(find_blocks(module))[cut:]:
            for weight in block.parameters():
                weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return module


@pytest.mark.parametrize("layers", [(0,), (4,), (1, 3, 4)])
def test_an_untuned_model_reads_the_mean_of_its_layers(layers: tuple[int, ...], tiny_backbone: Tiny) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    model = TransferModel(reader, None, 4, layers, HEAD)
    pooled = reader.pooled(TEXTS)
    wanted = sum(pooled[:, layer] for layer in layers) / len(layers)
    assert model.features(TEXTS).shape == (len(TEXTS), HIDDEN)
    np.testing.assert_allclose(model.features(TEXTS), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict_logits(TEXTS), wanted @ HEAD.weight.T + HEAD.bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cut", [0, 1, 3])
@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_a_tuned_model_reads_what_its_whole_module_says(architecture: str, cut: int, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    module = changed_above(backbone, cut)
    features = TransferModel(Reader(backbone, None, 100), module, cut, (4,), HEAD).features(TEXTS)
    for row, ids in zip(features, tokenize(backbone, TEXTS), strict=True):
        with torch.inference_mode():
            hidden = module(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long()).last_hidden_state[0].numpy()
        wanted = hidden[-1] if backbone.pooling.value == "last" else hidden.mean(axis=0)
        np.testing.assert_allclose(row, wanted, rtol=1e-4, atol=1e-5)


def test_below_the_cut_a_tuned_model_takes_what_the_store_holds(tiny_backbone: Tiny, tmp_path: Path) -> None:
    backbone = tiny_backbone("mpnet")
    with Store(tmp_path, 2**24) as store:
        Reader(backbone, store, 4096).read_texts(TEXTS, [2])
        reader = Reader(backbone, store, 4096)
        model = TransferModel(reader, changed_above(backbone, 2), 2, (4,), HEAD)
        first = model.predict_logits(TEXTS)
        assert reader.read == 0 and store.stats.hits > 0
        assert (model.predict_logits(TEXTS) == first).all()


def test_scaling_scales_the_logits_and_leaves_the_model(tiny_backbone: Tiny) -> None:
    model = TransferModel(Reader(tiny_backbone("bert"), None, 4096), None, 4, (4,), HEAD)
    logits = model.predict_logits(TEXTS)
    np.testing.assert_allclose(model.scaled(2.5).predict_logits(TEXTS), 2.5 * logits)
    assert model.head is HEAD and model.scaled(2.5).reader is model.reader


def test_collating_pads_rows_of_ids_and_of_activations() -> None:
    ids = collate([{"row": np.array([5, 6, 7]), "label": 1}, {"row": np.array([8]), "label": 0}])
    assert ids["entering"].tolist() == [[5, 6, 7], [8, 0, 0]] and ids["mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert ids["labels"].tolist() == [1, 0]
    vectors = collate([{"row": np.full((2, 4), 3.0, np.float32), "label": 2}, {"row": np.ones((3, 4), np.float32), "label": 2}])
    assert vectors["entering"].shape == (2, 3, 4) and vectors["entering"].dtype == torch.float32
    assert vectors["mask"].tolist() == [[1, 1, 0], [1, 1, 1]] and (vectors["entering"][0, 2] == 0).all()


def test_rows_of_one_length_need_no_mask() -> None:
    assert collate([{"row": np.array([5, 6]), "label": 0}, {"row": np.array([7, 8]), "label": 0}])["mask"] is None


def test_collating_pads_the_labels_of_tokens_with_none() -> None:
    batch = collate([{"row": np.array([5, 6, 7]), "label": np.array([-100, 2, 0])}, {"row": np.array([8]), "label": np.array([1])}])
    assert batch["labels"].tolist() == [[-100, 2, 0], [1, -100, -100]] and batch["labels"].dtype == torch.int64
    assert batch["mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    alike = collate([{"row": np.ones((1, 4), np.float32), "label": np.array([k])} for k in (3, -100)])
    assert alike["labels"].tolist() == [[3], [-100]] and alike["mask"] is None


def test_what_enters_is_ids_at_cut_zero_and_activations_above(tiny_backbone: Tiny) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    ids = entering_rows(reader, TEXTS, 0)
    assert [row.tolist() for row in ids] == tokenize(reader.backbone, TEXTS) and ids[0].dtype == np.int64
    assert [row.shape for row in entering_rows(reader, TEXTS, 2)] == [(len(row), HIDDEN) for row in ids]


@pytest.mark.parametrize("stored", [True, False])
def test_pooling_through_a_trunk_is_the_mean_over_its_layers_whatever_the_portions(stored: bool, tiny_backbone: Tiny, monkeypatch) -> None:
    backbone = tiny_backbone("bert")
    reader = Reader(backbone, None, 4096)
    trunk = Trunk(copy.deepcopy(backbone.module), 2, backbone.above, stored=stored).train()
    texts = [f"{text} {i}" for i in range(12) for text in TEXTS]
    whole = reader.pooled(texts)
    monkeypatch.setattr(reading, "_PORTION", 1)
    assert len(list(reader.portions(texts))) == 4
    pooled = pooled_through(trunk, reader, texts, (3, 4))
    np.testing.assert_allclose(pooled, (whole[:, 3] + whole[:, 4]) / 2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_a_batch_of_unlike_lengths_is_pooled_in_parts_with_the_same_gradients(
    architecture: str, tiny_backbone: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone(architecture)
    texts = ["the car " * 30, "card", "refund please", "my card is lost", "the car was good " * 15, "", *["late order"] * 8]
    batch = collate([{"row": ids, "label": 0} for ids in entering_rows(Reader(backbone, None, 4096), texts, 0)])
    seen: list[tuple[int, ...]] = []
    forward = Trunk.forward

    def noting(self, entering, mask, positions=None):
        seen.append(tuple(entering.shape))
        return forward(self, entering, mask, positions)

    monkeypatch.setattr(Trunk, "forward", noting)
    found = {}
    for way, overhead in (("parts", 0), ("whole", 10**9)):
        monkeypatch.setattr(batching, "BATCH_OVERHEAD", overhead)
        trunk = Trunk(copy.deepcopy(backbone.module), 0, backbone.above, stored=False)
        pooled = mean_pooled(trunk, batch["entering"], batch["mask"], (2, 4), backbone.pooling)
        (pooled * torch.linspace(-1, 1, pooled.numel()).view_as(pooled)).sum().backward()
        gradients = {name: p.grad for name, p in trunk.module.named_parameters() if p.grad is not None}
        found[way] = pooled.detach(), gradients, list(seen)
        seen.clear()
    (parts, some, passes), (whole, all_, one) = found["parts"], found["whole"]
    assert len(passes) > 2 and sum(b for b, _ in passes) == len(texts) and len(one) == 1
    assert sum(b * t for b, t in passes) < 0.5 * one[0][0] * one[0][1]
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)
    assert some.keys() == all_.keys()
    for name, gradient in some.items():
        torch.testing.assert_close(gradient, all_[name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("cut", [None, 0, 2])
def test_threads_that_share_a_model_get_what_each_would_get_alone(cut: int | None, tiny_backbone: Tiny) -> None:
    backbone = replace(tiny_backbone("bert"), module=copy.deepcopy(tiny_backbone("bert").module))
    module = None if cut is None else changed_above(backbone, cut)
    model = TransferModel(Reader(backbone, None, 4096), module, cut or 0, (3, 4), HEAD)
    texts = ["why is my card lost?", "a refund for the car"]
    alone = [model.predict_logits([text]) for text in texts]
    for one in filter(None, (backbone.module, module)):  # long enough in a block for the other thread to come
        find_blocks(one)[3].register_forward_pre_hook(lambda *_: time.sleep(0.05))
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda text: model.predict_logits([text]), texts))
    for got, wanted in zip(together, alone, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-6)
    assert [type(block) for block in find_blocks(backbone.module)] == [type(block) for block in find_blocks(tiny_backbone("bert").module)]
