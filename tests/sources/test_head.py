"""The head that a source brings from its own task is read from its files, in whatever format they hold numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from headstart.sources.head import saved_head
from headstart.sources.resolve import resolve_source
from modelfiles import HIDDEN, TOKENS, make_source

# Which bfloat16 holds exactly.
WEIGHT, BIAS = torch.arange(2.0 * HIDDEN).reshape(2, HIDDEN) / 8, torch.tensor([0.5, -0.25])


def make_saved(folder: Path, dtype: torch.dtype, problem: str) -> Path:
    """A model as headstart saves it, with a head of two classes on layers 1 and 2."""
    backbone = {"model_type": "bert", "vocab_size": TOKENS, "max_position_embeddings": 64}
    named = {"id2label": {"0": "card", "1": "login"}, "layers": [1, 2], "pooling": "mean", "backbone_config": backbone}
    make_source(folder, **(named | {"model_type": "headstart", "problem_type": problem}))
    tensors = {"backbone.embeddings.word_embeddings.weight": torch.zeros(TOKENS, HIDDEN), "classifier.weight": WEIGHT}
    tensors = {name: tensor.to(dtype) for name, tensor in (tensors | {"classifier.bias": BIAS}).items()}
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_head_is_read_from_every_format_of_numbers(tmp_path: Path, dtype: torch.dtype) -> None:
    folder = make_saved(tmp_path, dtype, "single_label_classification")
    head = saved_head(resolve_source(str(folder)))
    assert head is not None and head.layers == (1, 2)
    assert head.weight.dtype == head.bias.dtype == np.float64
    assert np.array_equal(head.weight, WEIGHT.numpy()) and np.array_equal(head.bias, BIAS.numpy())


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification"])
def test_a_head_of_numbers_or_of_several_labels_tells_no_class(tmp_path: Path, problem: str) -> None:
    assert saved_head(resolve_source(str(make_saved(tmp_path, torch.float32, problem)))) is None


def test_a_source_that_headstart_did_not_save_has_no_such_head(tmp_path: Path) -> None:
    assert saved_head(resolve_source(str(make_source(tmp_path)))) is None
