from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from headstart.checking import token_counter
from headstart.errors import SourceError
from headstart.sources.opening import open_source, read_config
from headstart.sources.resolve import resolve_source
from headstart.sources.source import Pooling
from tiny import ARCHITECTURES, make_parent, make_tiny, make_tokenizer, write_sentence_files


def edit(path: Path, **changes: Any) -> None:
    """Change entries of a JSON file; None takes one away."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


def refusal(folder: Path) -> str:
    with pytest.raises(SourceError) as caught:
        open_source(resolve_source(str(folder)))
    return str(caught.value)


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
    with pytest.raises(SourceError, match=r"^The tokenizer of the source '.*' cannot be opened: "):
        open_source(source)


# --- tokenizers ---


def test_of_a_text_that_is_too_long_the_beginning_is_read_whatever_the_source_says(tmp_path: Path) -> None:
    make_tiny(tmp_path, "bert")
    edit(tmp_path / "tokenizer_config.json", truncation_side="left")
    _, tokenizer = open_source(resolve_source(str(tmp_path)))
    ids = tokenizer("happy love " + "the " * 80 + "broken wrong", truncation=True, max_length=4)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "happy", "love", "[SEP]"]
    assert tokenizer.truncation_side == "right"


def test_a_tokenizer_of_python_code_is_refused(tmp_path: Path) -> None:
    """As Japanese BERTs have it: a vocabulary, and a class that parts the words."""
    make_tiny(tmp_path, "bert")
    vocabulary = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "basic", "subword_tokenizer_type": "character"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert refusal(tmp_path) == (
        f"The tokenizer of {str(tmp_path)!r} is one of Python code, without a tokenizer.json; choose a source that has one."
    )


@pytest.mark.skipif(find_spec("sentencepiece") is not None, reason="the library is installed")
def test_a_tokenizer_that_asks_for_another_library_is_refused(tmp_path: Path) -> None:
    """As Marian's models come: pieces that SentencePiece cuts."""
    make_parent(tmp_path, "marian")
    (tmp_path / "tokenizer.json").unlink()
    for name in ("source.spm", "target.spm"):
        (tmp_path / name).write_bytes(b"pieces")
    (tmp_path / "vocab.json").write_text('{"a": 0, "<unk>": 1, "</s>": 2, "<pad>": 3}')
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "MarianTokenizer", "source_lang": "en", "target_lang": "de"}')
    told = f"The tokenizer of {str(tmp_path)!r} is one of Python code, without a tokenizer.json; choose a source that has one."
    assert refusal(tmp_path) == told
    with pytest.raises(SourceError, match=f"^{re.escape(told)}$"):
        token_counter(str(tmp_path), 64)(["a text"])


def test_a_tokenizer_without_a_token_that_can_pad_is_refused(tmp_path: Path) -> None:
    make_tiny(tmp_path, "gpt2")
    edit(tmp_path / "tokenizer_config.json", pad_token=None, eos_token=None, unk_token=None, bos_token=None)
    assert refusal(tmp_path) == (
        f"The tokenizer of {str(tmp_path)!r} has no token for padding, for the end of a text or for unknown words, so that texts cannot "
        "be read together; name a pad_token in its tokenizer_config.json."
    )


# --- what of a configuration is not followed ---


@pytest.mark.parametrize("asked", ["kernels-community/some-kernel", "flash_attention_2", "eager"])
@pytest.mark.parametrize("entry", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize(("architecture", "usual"), [("llama", "sdpa"), ("mpnet", "eager")])
def test_how_attention_is_worked_out_is_not_for_a_source_to_say(
    tmp_path: Path, architecture: str, usual: str, entry: str, asked: str
) -> None:
    make_tiny(tmp_path, architecture)
    edit(tmp_path / "config.json", **{entry: asked})
    module, _ = open_source(resolve_source(str(tmp_path)))
    assert module.config._attn_implementation == usual


@pytest.mark.parametrize("architecture", ["bert", "marian"])
def test_a_configuration_that_names_another_file_of_weights_is_not_followed(tmp_path: Path, architecture: str) -> None:
    folder = make_parent(tmp_path, architecture) if architecture == "marian" else make_tiny(tmp_path, architecture)
    before = open_source(resolve_source(str(folder)))[0].get_input_embeddings().weight
    other = {name: torch.zeros_like(tensor) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(other, folder / "other.safetensors", metadata={"format": "pt"})
    edit(folder / "config.json", transformers_weights="other.safetensors")
    module, _ = open_source(resolve_source(str(folder)))
    assert torch.equal(module.get_input_embeddings().weight, before)
    assert not hasattr(module.config, "transformers_weights")  # a model saved from it would name that file too


def test_a_source_that_asks_for_attention_weights_opens_as_any_other(tmp_path: Path) -> None:
    make_tiny(tmp_path, "bert")
    edit(tmp_path / "config.json", output_attentions=True)
    module, _ = open_source(resolve_source(str(tmp_path)))
    assert (module.config._attn_implementation, module.config.output_attentions) == ("sdpa", False)


def test_what_bigbird_says_of_a_long_text_does_not_hang_on_what_it_read_before(tmp_path):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 20}
    blocks = {"attention_type": "block_sparse", "block_size": 4, "num_random_blocks": 1, "max_position_embeddings": 80}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "big_bird", **sizes, **blocks}))
    torch.manual_seed(0)
    model = AutoModel.from_config(read_config(tmp_path)).eval()
    long, short = torch.randint(3, 20, (1, 60)), torch.tensor([[3, 4, 5]])
    with torch.inference_mode():
        first = model(input_ids=long).last_hidden_state
        model(input_ids=short)
        torch.testing.assert_close(model(input_ids=long).last_hidden_state, first)
