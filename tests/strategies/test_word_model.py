"""What the head of a model of words acts on: a word's first token at a layer of the source, or what tuned blocks make of it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.backbone import reading
from headstart.backbone.backbone import Backbone, find_blocks
from headstart.backbone.reading import Reader
from headstart.backbone.store import Store
from headstart.strategies.base import LinearHead
from headstart.strategies.windows import make_windows
from headstart.strategies.word_model import WordModel, words_at
from tiny import ARCHITECTURES, HIDDEN

Tiny = Callable[..., Backbone]
DROPPED = "\u0301"  # an accent under no letter, of which the tokenizers of these models make nothing
TEXTS = ("why is my card lost ?", "refund", "", f"my {DROPPED} card", "the unbelievable car is late " * 12 + "!", "refund")
HEAD = LinearHead(np.random.default_rng(0).normal(size=(5, HIDDEN)), np.array([0.1, -0.2, 0.3, 0.0, 0.5]))


def by_hand(backbone: Backbone, module: Any, text: str, layer: int) -> np.ndarray:
    """Vectors of a text's words, each from the window that decides it, which is read alone by a plain call of the model."""
    found = np.zeros((text.count(" ") + 1, HIDDEN))
    for window in make_windows(backbone.tokenizer, backbone.max_length, [text]):
        words = window.text.split(" ")
        encoded = backbone.tokenizer(words, is_split_into_words=True, truncation=True, max_length=backbone.max_length)
        ids = encoded["input_ids"] or [backbone.tokenizer.pad_token_id or 0]
        with torch.inference_mode():
            hidden = module(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0].numpy()
        numbers = encoded.word_ids()
        for i in range(*window.own):
            if i in numbers:
                found[window.first + i] = hidden[numbers.index(i)]
    return found


def changed_above(backbone: Backbone, cut: int) -> torch.nn.Module:
    """A module as tuning would leave it: the blocks from `cut` on are other ones."""
    module = copy.deepcopy(backbone.module)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for block in list(find_blocks(module))[cut:]:
            for weight in block.parameters():
                weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return module


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_word_has_the_vector_of_its_first_token_in_the_window_that_decides_it(architecture: str, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    assert len(make_windows(backbone.tokenizer, backbone.max_length, TEXTS)) > len(TEXTS)
    for layer in (4, 2):
        wanted = np.concatenate([by_hand(backbone, backbone.module, text, layer) for text in TEXTS])
        found = words_at(Reader(backbone, None, 100), TEXTS, layer)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        assert np.ptp(wanted[:5], axis=0).max() > 0.1  # the words differ, so the comparison says something


def test_a_word_without_a_token_has_no_vector_and_moves_no_other(tiny_backbone: Tiny) -> None:
    for architecture in ("bert", "gpt2"):
        reader = Reader(tiny_backbone(architecture), None, 4096)
        with_it, alone = words_at(reader, [f"my {DROPPED} card"], 4), words_at(reader, ["my card"], 4)
        assert not with_it[1].any()
        np.testing.assert_allclose(with_it[[0, 2]], alone, atol=1e-6)
        assert not words_at(reader, [DROPPED, ""], 4).any()


@pytest.mark.parametrize("layer", [4, 3])
def test_an_untuned_model_is_its_head_on_the_words_of_each_text_in_turn(layer: int, tiny_backbone: Tiny) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    model = WordModel(reader, None, 4, layer, HEAD)
    logits = model.predict_logits(TEXTS)
    assert logits.shape == (sum(text.count(" ") + 1 for text in TEXTS), 5)
    np.testing.assert_allclose(logits, words_at(reader, TEXTS, layer) @ HEAD.weight.T + HEAD.bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([model.predict_logits([text]) for text in TEXTS]), logits, rtol=1e-4, atol=1e-4)
    assert model.predict_logits([]).shape == (0, 5)


@pytest.mark.parametrize("cut", [0, 1, 3])
@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_a_tuned_model_reads_what_its_whole_module_says(architecture: str, cut: int, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    module = changed_above(backbone, cut)
    whole = copy.deepcopy(module)
    model = WordModel(Reader(backbone, None, 100), module, cut, 4, HEAD)
    wanted = np.concatenate([by_hand(backbone, whole, text, 4) for text in TEXTS]) @ HEAD.weight.T + HEAD.bias
    for _ in range(2):  # what is stood in for while it reads is put back
        np.testing.assert_allclose(model.predict_logits(TEXTS), wanted, rtol=1e-3, atol=1e-4)
    assert [type(block) for block in find_blocks(module)] == [type(block) for block in backbone.blocks]


def test_portions_of_any_size_give_the_same(tiny_backbone: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    texts = [f"{text} {i}" for i in range(8) for text in TEXTS]
    tuned = WordModel(reader, changed_above(reader.backbone, 2), 2, 4, HEAD)
    whole = words_at(reader, texts, 3), tuned.predict_logits(texts)
    monkeypatch.setattr(reading, "_PORTION", 1)
    assert reader.at_once == 16
    np.testing.assert_allclose(words_at(reader, texts, 3), whole[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tuned.predict_logits(texts), whole[1], rtol=1e-3, atol=1e-4)


def test_what_the_store_holds_is_not_read_again(tiny_backbone: Tiny, tmp_path: Path) -> None:
    backbone = tiny_backbone("mpnet")
    with Store(tmp_path, 2**24) as store:
        first = words_at(Reader(backbone, store, 4096), TEXTS, 3)
        WordModel(Reader(backbone, store, 4096), changed_above(backbone, 2), 2, 4, HEAD).predict_logits(TEXTS)
        reader = Reader(backbone, store, 4096)
        assert (words_at(reader, TEXTS, 3) == first).all()
        tuned = WordModel(reader, changed_above(backbone, 2), 2, 4, HEAD)
        assert np.isfinite(tuned.predict_logits(TEXTS)).all()
        assert reader.read == 0 and store.stats.hits > 0


def test_scaling_scales_the_logits_and_leaves_the_model(tiny_backbone: Tiny) -> None:
    model = WordModel(Reader(tiny_backbone("bert"), None, 4096), None, 4, 3, HEAD)
    logits = model.predict_logits(TEXTS)
    np.testing.assert_allclose(model.scaled(2.5).predict_logits(TEXTS), 2.5 * logits)
    assert model.head is HEAD and model.scaled(2.5).layer == 3
