from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from headstart.errors import SourceError
from headstart.sources.opening import open_source
from headstart.sources.resolve import resolve_source
from headstart.sources.source import Pooling
from tiny import ARCHITECTURES, make_tiny, make_tokenizer, write_sentence_files


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_opens_in_float32_for_evaluation_with_its_own_tokens(architecture: str, tmp_path: Path) -> None:
    source = resolve_source(str(make_tiny(tmp_path, architecture)))
    assert (source.model_type, source.max_length) == (architecture, 64)
    module, tokenizer = open_source(source)
    assert not module.training and {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    text = "Why, is my càrd lost?"
    assert tokenizer(text)["input_ids"] == make_tokenizer(architecture)(text)["input_ids"]
    assert tokenizer.pad_token is not None and tokenizer.padding_side == "right"


def test_the_same_seed_makes_the_same_tiny_model_and_another_seed_another(tmp_path: Path) -> None:
    first, again, other = (
        load_file(make_tiny(tmp_path / str(i), "bert", seed=seed) / "model.safetensors") for i, seed in enumerate([1, 1, 2])
    )
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name])


@pytest.mark.parametrize(
    ("asked", "pooling"), [("mean", Pooling.MEAN), ("cls", Pooling.CLS), ("max", Pooling.MAX), ("lasttoken", Pooling.LAST)]
)
def test_a_tiny_source_says_its_pooling_in_sentence_transformers_files(tmp_path: Path, asked: str, pooling: Pooling) -> None:
    make_tiny(tmp_path, "bert")
    write_sentence_files(tmp_path, asked)
    source = resolve_source(str(tmp_path))
    assert (source.pooling, source.max_length) == (pooling, 32)


def test_weights_that_lack_a_tensor_are_refused_rather_than_filled_at_random(tmp_path: Path) -> None:
    make_tiny(tmp_path, "bert")
    weights = load_file(tmp_path / "model.safetensors")
    lacking = {name: tensor for name, tensor in weights.items() if "layer.3.output" not in name and "pooler" not in name}
    save_file(lacking, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SourceError) as caught:
        open_source(resolve_source(str(tmp_path)))
    assert str(caught.value) == (
        f"The weights of {str(tmp_path)!r} lack 4 tensors that its config.json asks for, 'encoder.layer.3.output.LayerNorm.bias' first; "
        "copy or download the source again."
    )


def test_weights_without_a_pooler_open_since_it_is_never_used(tmp_path: Path) -> None:
    make_tiny(tmp_path, "bert")
    weights = {name: tensor for name, tensor in load_file(tmp_path / "model.safetensors").items() if "pooler" not in name}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert open_source(resolve_source(str(tmp_path)))[0].config.model_type == "bert"


def test_a_broken_tokenizer_is_told_as_a_source_that_cannot_be_opened(tmp_path: Path) -> None:
    make_tiny(tmp_path, "bert")
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "None such", "vocab": {}}}')
    source = resolve_source(str(tmp_path))
    with pytest.raises(SourceError, match=r"^The source '.*' cannot be opened: "):
        open_source(source)
