"""A backbone is what its source says, and its digests name exactly what each layer's output depends on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from headstart.backbone import backbone
from headstart.backbone.backbone import Backbone, find_blocks, load_backbone, names_above, prefix_digests, tokenizer_digest
from headstart.errors import SourceError
from headstart.sources.resolve import resolve_source
from tiny import ARCHITECTURES, HIDDEN, count_hooks, make_tiny, make_tokenizer

Tiny = Callable[..., Backbone]
# What runs after the last block of those architectures that have such a thing.
FINAL_NORM = {
    "modernbert": {"final_norm.weight"},
    "gpt2": {"ln_f.weight", "ln_f.bias"},
    "llama": {"norm.weight"},
    "gemma3_text": {"norm.weight"},
}


def shared(one: Any, other: Any) -> list[bool]:
    """For k = 0..L, whether two modules have the same digest."""
    return [a == b for a, b in zip(prefix_digests(one), prefix_digests(other), strict=True)]


def nudged(module: Any, name: str) -> Any:
    """A copy of a module with one number of one tensor changed."""
    other = copy.deepcopy(module)
    with torch.no_grad():
        other.get_parameter(name).view(-1)[0] += 1e-3
    return other


# --- what a backbone says of itself ---


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_loads_with_its_blocks_width_and_sizes(architecture: str, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    assert (backbone.n_blocks, backbone.width, backbone.max_length) == (4, HIDDEN, 40)
    assert len(backbone.prefix) == 5 and len(set(backbone.prefix)) == 5
    assert not backbone.module.training and not any(p.requires_grad for p in backbone.module.parameters())
    assert backbone.above == FINAL_NORM.get(architecture, set())
    assert backbone.block_parameters == 4 * sum(p.numel() for p in backbone.blocks[3].parameters()) or architecture == "modernbert"
    assert 0 < backbone.block_parameters < backbone.parameters_total == sum(p.numel() for p in backbone.module.parameters())


def test_the_sources_own_limit_applies_when_it_is_lower(tiny_backbone: Tiny) -> None:
    assert tiny_backbone("bert", max_length=256).max_length == 64
    assert tiny_backbone("bert", max_length=256, pooling="cls").max_length == 32


def test_a_model_that_uses_one_block_several_times_is_refused() -> None:
    from transformers import AlbertConfig, AlbertModel

    config = AlbertConfig(vocab_size=50, hidden_size=8, embedding_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8)
    with pytest.raises(SourceError) as caught:
        find_blocks(AlbertModel(config))
    assert str(caught.value) == "A model of type 'albert' has no single list of 3 blocks, so it cannot be cut; choose another source."


# --- digests ---


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("changed", [0, 2, 3])
def test_a_changed_block_changes_its_digest_and_all_above_but_none_below(architecture: str, changed: int, tiny_backbone: Tiny) -> None:
    module = tiny_backbone(architecture).module
    other = copy.deepcopy(module)
    with torch.no_grad():
        next(find_blocks(other)[changed].parameters()).view(-1)[0] += 1e-3
    assert shared(module, other) == [k <= changed for k in range(5)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_changed_embeddings_change_every_digest(architecture: str, tiny_backbone: Tiny) -> None:
    module = tiny_backbone(architecture).module
    other = copy.deepcopy(module)
    with torch.no_grad():
        other.get_input_embeddings().weight[5, 0] += 1e-3
    assert shared(module, other) == [False] * 5


@pytest.mark.parametrize("architecture", FINAL_NORM)
def test_a_changed_final_norm_changes_only_the_last_digest(architecture: str, tiny_backbone: Tiny) -> None:
    module = tiny_backbone(architecture).module
    for name in FINAL_NORM[architecture]:
        assert shared(module, nudged(module, name)) == [True, True, True, True, False]


@pytest.mark.parametrize("architecture", ["bert", "mpnet", "roberta"])
def test_a_changed_pooler_changes_nothing(architecture: str, tiny_backbone: Tiny) -> None:
    module = tiny_backbone(architecture).module
    assert shared(module, nudged(module, "pooler.dense.weight")) == [True] * 5


@pytest.mark.parametrize(
    ("architecture", "name"), [("mpnet", "encoder.relative_attention_bias.weight"), ("deberta-v2", "encoder.rel_embeddings.weight")]
)
def test_relative_positions_that_blocks_look_up_count_from_the_bottom(architecture: str, name: str, tiny_backbone: Tiny) -> None:
    module = tiny_backbone(architecture).module
    assert shared(module, nudged(module, name)) == [False] * 5


def test_config_that_changes_no_block_is_left_out_and_config_that_does_is_not(tiny_backbone: Tiny) -> None:
    module = tiny_backbone("bert").module
    noisy, other = copy.deepcopy(module), copy.deepcopy(module)
    noisy.config.id2label = {0: "yes", 1: "no", 2: "perhaps"}
    noisy.config.architectures = ["BertForSequenceClassification"]
    noisy.config.name_or_path = "elsewhere"
    noisy.config.problem_type = "single_label_classification"
    assert noisy.config.to_dict() != module.config.to_dict()
    assert shared(module, noisy) == [True] * 5
    other.config.layer_norm_eps = 1e-3
    assert shared(module, other) == [False] * 5


def test_a_shallower_model_shares_the_blocks_below_its_last(tiny_backbone: Tiny) -> None:
    deep = tiny_backbone("bert").module
    shallow = copy.deepcopy(deep)
    shallow.encoder.layer = shallow.encoder.layer[:2]
    shallow.config.num_hidden_layers = 2
    # Its layer 2 comes after its last block, where a final norm would count, so that one is named apart.
    assert prefix_digests(shallow)[:2] == prefix_digests(deep)[:2]


def test_digests_outlive_the_process_the_folder_and_saving_again(tiny_backbone: Tiny, tmp_path: Path) -> None:
    first = tiny_backbone("llama")
    copied = load_backbone(resolve_source(str(make_tiny(tmp_path / "again", "llama"))), 40)
    assert copied.prefix == first.prefix
    copied.module.save_pretrained(tmp_path / "saved")
    copied.tokenizer.save_pretrained(tmp_path / "saved")
    assert load_backbone(resolve_source(str(tmp_path / "saved")), 40).prefix == first.prefix
    other = tiny_backbone("llama", seed=1)
    assert not set(other.prefix) & set(first.prefix)


def test_where_blocks_are_scaled_by_how_many_there_are_a_shallower_model_shares_none(
    tiny_backbone: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep, shallow = copy.deepcopy(tiny_backbone("bert").module), copy.deepcopy(tiny_backbone("bert").module)
    shallow.encoder.layer = shallow.encoder.layer[:2]
    shallow.config.num_hidden_layers = 2
    assert set(prefix_digests(deep)) & set(prefix_digests(shallow))
    monkeypatch.setattr(backbone, "_SCALED_BY_DEPTH", {"bert"})
    assert not set(prefix_digests(deep)) & set(prefix_digests(shallow))


def test_watching_for_what_runs_last_leaves_no_hook_behind(tiny_backbone: Tiny) -> None:
    module = copy.deepcopy(tiny_backbone("gpt2").module)
    before = count_hooks(module)
    names_above(module)
    assert count_hooks(module) == before


def test_a_tokenizers_digest_names_what_turns_text_into_ids(tmp_path: Path) -> None:
    tokenizer = make_tokenizer("bert")
    digest = tokenizer_digest(tokenizer)
    assert tokenizer_digest(make_tokenizer("bert")) == digest
    assert tokenizer_digest(make_tokenizer("bert", ("kitten",))) != digest
    other_case = make_tokenizer("bert")
    other_case.backend_tokenizer.normalizer = None
    assert tokenizer_digest(other_case) != digest
    left = make_tokenizer("bert")
    left.padding_side = "left"
    assert tokenizer_digest(left) != digest
    split = make_tokenizer("bert")
    split.split_special_tokens = True  # which is said in tokenizer_config.json
    assert tokenizer_digest(split) != digest


def test_reading_texts_does_not_change_the_tokenizers_digest() -> None:
    tokenizer = make_tokenizer("bert")
    digest = tokenizer_digest(tokenizer)
    tokenizer(["a card", "my lost card"], truncation=True, max_length=8)
    assert tokenizer_digest(tokenizer) == digest


def test_a_source_whose_config_file_bears_other_labels_keeps_its_digests(tiny_backbone: Tiny, tmp_path: Path) -> None:
    folder = make_tiny(tmp_path, "bert")
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}, "transformers_version": "4.1.0"}
    (folder / "config.json").write_text(json.dumps(config))
    assert load_backbone(resolve_source(str(folder)), 40).prefix == tiny_backbone("bert").prefix
