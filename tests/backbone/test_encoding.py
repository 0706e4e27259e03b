import copy

import numpy as np
import pytest
import torch

from headstart.backbone.backbone import load_backbone
from headstart.backbone.encoding import encode, knows_types, tell_texts_apart, token_types
from headstart.backbone.reading import Reader
from headstart.data.pairs import join_pair
from headstart.sources.resolve import resolve_source
from tiny import make_tiny

PAIRS = [("card lost", "new price please"), ("pay", "order"), ("lost " * 30, "card"), ("", "card")]
TEXTS = [join_pair(*pair) for pair in PAIRS]


@pytest.fixture(scope="module", params=["bert", "roberta", "mpnet", "distilbert"])
def backbone(request, tmp_path_factory):
    return load_backbone(resolve_source(str(make_tiny(tmp_path_factory.mktemp("tiny"), request.param))), 24, pairs=True)


def test_pairs_are_encoded_as_the_tokenizer_does_it(backbone):
    tokenizer = backbone.tokenizer
    for (first, second), ids in zip(PAIRS, encode(tokenizer, TEXTS, 24, pairs=True), strict=True):
        assert ids == tokenizer(first, second, truncation=True, max_length=24)["input_ids"] and len(ids) <= 24
    assert encode(tokenizer, TEXTS, 24, pairs=False) == tokenizer(TEXTS, truncation=True, max_length=24)["input_ids"]
    assert encode(tokenizer, [], 24, pairs=True) == []


@pytest.mark.parametrize("filler", [" ", "ж" * 999 + " "])
def test_a_text_whose_beginning_holds_hardly_a_token_is_read_to_its_end(backbone, filler):
    long = filler * (3000 // len(filler) + 1) + "lost card"
    wanted = backbone.tokenizer([long, "card"], truncation=True, max_length=24)["input_ids"]
    assert encode(backbone.tokenizer, [long, "card"], 24, pairs=False) == wanted
    pair = backbone.tokenizer(long, "order", truncation=True, max_length=24)["input_ids"]
    assert encode(backbone.tokenizer, [join_pair(long, "order")], 24, pairs=True) == [pair]


def test_the_second_text_is_of_the_second_type():
    ids = torch.tensor([[2, 7, 8, 3, 9, 3, 0], [2, 3, 9, 9, 9, 3, 0]])
    assert token_types(ids, 3).tolist() == [[0, 0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1]]


def test_what_is_read_is_what_the_model_gives_for_the_tokenizers_own_types(backbone):
    """By transformers alone: the same module, the tokenizer's encoding with its types of tokens, one pair at a time."""
    plain = copy.deepcopy(backbone.module)
    plain._forward_pre_hooks.clear()
    pooled = Reader(backbone, None, 4096).pooled(TEXTS)
    for i, (first, second) in enumerate(PAIRS):
        encoded = backbone.tokenizer(first, second, truncation=True, max_length=24, return_tensors="pt", return_token_type_ids=True)
        given = {"input_ids": encoded["input_ids"]}
        if knows_types(plain):
            given["token_type_ids"] = encoded["token_type_ids"]
        with torch.inference_mode():
            expected = plain(**given).last_hidden_state[0].mean(dim=0).numpy()
        np.testing.assert_allclose(pooled[i, -1], expected, atol=2e-5)


def test_types_matter_to_a_model_that_knows_them_and_a_copy_keeps_the_hook(tmp_path):
    backbone = load_backbone(resolve_source(str(make_tiny(tmp_path, "bert"))), 24, pairs=True)
    torch.manual_seed(0)
    with torch.no_grad():
        backbone.module.embeddings.token_type_embeddings.weight[1] += 1.0
    ids = torch.tensor([encode(backbone.tokenizer, TEXTS[:1], 24, pairs=True)[0]])
    with torch.inference_mode():
        told = backbone.module(input_ids=ids).last_hidden_state
        copied = copy.deepcopy(backbone.module)(input_ids=ids).last_hidden_state
        untold = backbone.module(input_ids=ids, token_type_ids=torch.zeros_like(ids)).last_hidden_state
    assert torch.equal(told, copied) and (told - untold).abs().max() > 1e-3
    tell_texts_apart(backbone.module, backbone.tokenizer.sep_token_id)
    assert len(backbone.module._forward_pre_hooks) == 1


def test_a_pair_and_the_same_string_as_one_text_are_kept_apart_in_the_store(tmp_path):
    from headstart.backbone.store import Store

    source = resolve_source(str(make_tiny(tmp_path / "source", "bert")))
    with Store(tmp_path / "store", 10**8) as store:
        one = Reader(load_backbone(source, 24), store, 4096)
        two = Reader(load_backbone(source, 24, pairs=True), store, 4096)
        first, second = one.pooled(TEXTS[:1]), two.pooled(TEXTS[:1])
    assert two.read == 1 and np.abs(first - second).max() > 1e-3
