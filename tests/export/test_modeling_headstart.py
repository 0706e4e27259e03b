from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.sources import modeling_headstart
from headstart.sources.modeling_headstart import HeadstartConfig, HeadstartForSequenceClassification, pool
from tiny import make_config


def model(layers: list[int] | None = None) -> HeadstartForSequenceClassification:
    config = HeadstartConfig(make_config("bert", 50, 0, 3).to_dict(), "mean", layers, num_labels=4)
    return HeadstartForSequenceClassification(config).eval()


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    extra=st.integers(0, 3),
    left=st.booleans(),
    seed=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_pooling_sees_the_kept_tokens_alone_with_padding_on_either_side(lengths: list[int], extra: int, left: bool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    longest = max(lengths) + extra
    states = generator.normal(size=(len(lengths), longest, 3)).astype(np.float32)
    mask = np.array([[1] * n + [0] * (longest - n) for n in lengths])
    mask = mask[:, ::-1].copy() if left else mask
    rows = [state[keep == 1] for state, keep in zip(states, mask, strict=True)]
    expected = {
        "mean": [r.mean(0) for r in rows],
        "max": [r.max(0) for r in rows],
        "cls": [r[0] for r in rows],
        "last": [r[-1] for r in rows],
    }
    for how, vectors in expected.items():
        np.testing.assert_allclose(pool(torch.tensor(states), torch.tensor(mask), how).numpy(), vectors, atol=1e-6)


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(ValueError) as caught:
        pool(torch.zeros(1, 2, 3), torch.ones(1, 2), "median")
    assert str(caught.value) == "The pooling is 'median'; it must be mean, cls, last or max."


@pytest.mark.parametrize(("layers", "asked"), [(None, False), ([3], False), ([2], True), ([0, 3], True)])
def test_all_hidden_states_are_made_only_when_a_lower_layer_is_read(layers: list[int] | None, asked: bool) -> None:
    wrapped, seen = model(layers), []
    wrapped.backbone.register_forward_pre_hook(lambda _m, _a, kwargs: seen.append(kwargs["output_hidden_states"]), with_kwargs=True)
    wrapped(torch.tensor([[5, 6]]))
    assert seen == [asked]


def test_labels_give_the_cross_entropy_and_gradients_reach_the_embeddings() -> None:
    wrapped = model([1, 3])
    ids, labels = torch.tensor([[5, 6, 7], [8, 9, 0]]), torch.tensor([1, 3])
    output = wrapped(ids, torch.tensor([[1, 1, 1], [1, 1, 0]]), labels=labels)
    expected = -output.logits.log_softmax(dim=1)[torch.arange(2), labels].mean()
    torch.testing.assert_close(output.loss, expected)
    output.loss.backward()
    assert wrapped.backbone.embeddings.word_embeddings.weight.grad.abs().sum() > 0
    loss, logits = wrapped(ids, torch.tensor([[1, 1, 1], [1, 1, 0]]), labels=labels, return_dict=False)
    assert torch.equal(logits, output.logits) and torch.equal(loss, output.loss)


def test_token_types_change_nothing() -> None:
    wrapped, ids = model(), torch.tensor([[5, 6, 7]])
    assert torch.equal(wrapped(ids, token_type_ids=torch.ones_like(ids)).logits, wrapped(ids).logits)


def test_a_trained_wrapper_saves_and_opens_with_transformers_own_calls(tmp_path: Path) -> None:
    before = model([0, 3])
    before.save_pretrained(tmp_path)
    after, info = HeadstartForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    torch.testing.assert_close(before(torch.tensor([[5, 6]])).logits, after.eval()(torch.tensor([[5, 6]])).logits)


def test_the_file_stands_alone_and_is_short() -> None:
    path = Path(modeling_headstart.__file__)
    nodes = list(ast.walk(ast.parse(path.read_text())))
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in named} == {"torch", "transformers", "typing"}
    assert len(path.read_text().splitlines()) <= 120


def test_a_folder_of_a_half_precision_backbone_opens_in_float32(save: Callable[..., Path], tiny: Callable[[str], Any]) -> None:
    tiny("distilbert").module.half()
    try:
        folder = save("distilbert")
    finally:
        tiny("distilbert").module.float()
    opened = HeadstartForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    assert {parameter.dtype for parameter in opened.parameters()} == {torch.float32}
