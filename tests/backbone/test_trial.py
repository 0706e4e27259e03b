"""Sources that cannot be read text by text are refused when they are opened, and trying leaves no trace on those that can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from headstart.backbone import trial
from headstart.backbone.backbone import Backbone, load_backbone, names_above
from headstart.backbone.trial import try_reading
from headstart.errors import SourceError
from headstart.sources.resolve import resolve_source
from tiny import ARCHITECTURES, PARENTS, count_hooks, make_parent, make_tokenizer

Tiny = Callable[..., Backbone]
SIZES = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 3}
BERT = {**SIZES, "max_position_embeddings": 64, "pad_token_id": 0}
ROBERTA = {**SIZES, "max_position_embeddings": 66, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
BESIDE = "the numbers of a text change with the texts beside it"
LAYERS = "not every layer gives one vector of the same width for each token"

# Model type, whose tokenizer, what its configuration has, and why it is refused.
REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("longformer", "roberta", {**ROBERTA, "attention_window": 8}, LAYERS),
    ("xlnet", "bert", {"d_model": 32, "n_head": 2, "n_layer": 3, "d_inner": 64, "pad_token_id": 0}, LAYERS),
    (
        "opt",
        "gpt2",
        {"hidden_size": 32, "num_attention_heads": 2, "ffn_dim": 64, "num_hidden_layers": 3, "max_position_embeddings": 64}
        | {"pad_token_id": 0, "word_embed_proj_dim": 16, "do_layer_norm_before": False},
        LAYERS,
    ),
    (
        "squeezebert",
        "bert",
        {**BERT, "embedding_size": 32, "q_groups": 1, "k_groups": 1, "v_groups": 1},
        "it does not call its blocks as PyTorch does",
    ),
    (
        "nystromformer",
        "bert",
        {**BERT, "num_landmarks": 8, "segment_means_seq_len": 64},
        "shape '[-1, 2, 8, 8, 16]' is invalid for input of size 224",
    ),
    (
        "xmod",
        "roberta",
        {**ROBERTA, "languages": ["en_XX"], "default_language": "en_XX"},
        "'_PassThrough' object has no attribute 'output'",
    ),
    ("convbert", "bert", {**BERT, "embedding_size": 32, "num_attention_heads": 4, "head_ratio": 2}, BESIDE),
    ("mobilebert", "bert", {**BERT, "embedding_size": 16, "intra_bottleneck_size": 16, "num_feedforward_networks": 1}, BESIDE),
    ("fnet", "bert", BERT, BESIDE),
    ("yoso", "bert", BERT, BESIDE),
    (
        "mamba",
        "gpt2",
        {"hidden_size": 32, "num_hidden_layers": 3, "state_size": 4},
        "its hidden states are others than those between its blocks",
    ),
]


def make_source(folder: Path, kind: str, tokenizer: str, config: dict[str, Any]) -> str:
    """A folder with a tiny model of any type that transformers knows."""
    from transformers import AutoConfig, AutoModel

    reads = make_tokenizer(tokenizer)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(AutoConfig.for_model(kind, vocab_size=len(reads), **config))
        for parameter in model.parameters():  # some begin with weights so small that nothing can be told apart
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    reads.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(("kind", "tokenizer", "config", "reason"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_kind_of_model_that_cannot_be_read_text_by_text_is_refused_when_it_is_opened(
    tmp_path: Path, kind: str, tokenizer: str, config: dict[str, Any], reason: str
) -> None:
    name = make_source(tmp_path, kind, tokenizer, config)
    with pytest.raises(SourceError) as caught:
        load_backbone(resolve_source(name), 40)
    assert str(caught.value) == f"The source {name!r} ({kind}) cannot be read text by text ({reason}); choose another source."


@pytest.mark.parametrize(
    ("kind", "config"),
    [("roformer", {**BERT, "embedding_size": 32}), ("gptj", {"n_embd": 32, "n_head": 2, "n_layer": 3, "n_positions": 64, "rotary_dim": 8})],
)
def test_a_model_that_collects_its_own_hidden_states_is_accepted_where_they_are_the_right_ones(
    tmp_path: Path, kind: str, config: dict[str, Any]
) -> None:
    name = make_source(tmp_path, kind, "bert" if kind == "roformer" else "gpt2", config)
    assert load_backbone(resolve_source(name), 40).n_blocks == 3


@pytest.mark.parametrize("max_length", [1, 2, 3, 40])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_passes_at_any_length_and_is_left_as_it_was(architecture: str, max_length: int, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture, max_length=max_length)
    hooks, blocks = count_hooks(backbone.module), list(backbone.blocks)
    assert try_reading(backbone) == backbone.above == names_above(backbone.module)
    assert count_hooks(backbone.module) == hooks and list(backbone.blocks) == blocks
    assert not any(parameter.requires_grad for parameter in backbone.module.parameters())


@pytest.mark.parametrize("architecture", PARENTS)
def test_the_encoder_of_an_encoder_decoder_passes(architecture: str, tmp_path: Path) -> None:
    assert load_backbone(resolve_source(str(make_parent(tmp_path, architecture))), 40, decoder=True).n_blocks == 2


def test_pairs_are_tried_as_pairs(tmp_path: Path) -> None:
    name = make_source(tmp_path, "bert", "bert", BERT)
    assert load_backbone(resolve_source(name), 40, pairs=True).pairs


def test_weights_that_give_no_numbers_are_refused(tmp_path: Path) -> None:
    name = make_source(tmp_path, "bert", "bert", BERT)
    weights = load_file(tmp_path / "model.safetensors")
    weights["encoder.layer.1.output.dense.bias"][0] = torch.nan
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SourceError) as caught:
        load_backbone(resolve_source(name), 40)
    assert str(caught.value) == (
        f"The source {name!r} (bert) cannot be read text by text (it gives numbers that are not finite); choose another source."
    )


def test_numbers_that_are_none_are_far_from_everything() -> None:
    ones = np.ones((1, 2, 3), dtype=np.float32)
    assert not trial._far(ones, ones * 1.0005) and trial._far(ones, ones * 1.002)
    assert trial._far(ones * np.nan, ones) and trial._far(ones, ones * np.nan)
    assert not trial._far(ones * 0, ones * 0)
