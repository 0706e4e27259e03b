"""Pieces of words: learnt, extended, and the rows of a model carried over to them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headstart.strategies.vocabulary import carried_over, extended, learn_again, learn_vocabulary, pieces_for
from tiny import make_pieces

GERMAN = ["der hund läuft schnell über die straße", "die katze schläft auf der straße", "der hund schläft"] * 4
KINDS = ["BPE", "Unigram", "WordPiece"]


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=5))
def test_every_text_comes_back_from_its_pieces(texts):
    tokenizer = TOKENIZER
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        assert ids[-1] == tokenizer.eos_token_id and tokenizer.unk_token_id not in ids
        # A space is put before the first word, and special tokens that stand in a text are read as such.
        if not any(token in text for token in tokenizer.all_special_tokens):
            assert tokenizer.decode(ids, skip_special_tokens=True).removeprefix(" ") == text.removeprefix(" ")


TOKENIZER = learn_vocabulary(GERMAN)
AS_IT_STANDS = learn_vocabulary(GERMAN, ends=False)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_writer_reads_every_text_as_it_stands(text):
    ids = AS_IT_STANDS(text)["input_ids"]
    if not any(token in text for token in AS_IT_STANDS.all_special_tokens):
        assert AS_IT_STANDS.decode(ids) == text
    assert AS_IT_STANDS(text + AS_IT_STANDS.eos_token)["input_ids"][-1] == AS_IT_STANDS.eos_token_id


def test_frequent_words_are_pieces_and_more_text_has_more_of_them():
    assert len(TOKENIZER("hund straße")["input_ids"]) == 3
    assert pieces_for(["a b"]) == 500 and pieces_for(["a " * 25_000]) == 1186 and pieces_for(["a " * 10_000_000]) == 16_000


@pytest.mark.parametrize("kind", KINDS)
def test_an_extended_tokenizer_keeps_its_numbers_and_reads_new_words_in_fewer_pieces(kind):
    old = make_pieces(kind)
    new = extended(old, GERMAN)
    before, now = old.get_vocab(), new.get_vocab()
    assert all(now[piece] == number for piece, number in before.items())
    assert sorted(now.values()) == list(range(len(now))) and len(now) > len(before)
    for text in ("straße", "hund läuft"):
        assert len(new(text)["input_ids"]) < len(old(text)["input_ids"]) or old.unk_token_id in old(text)["input_ids"]
        assert new.unk_token_id not in new(text)["input_ids"]
    assert new("hund")["input_ids"][-1] == new.eos_token_id == old.eos_token_id


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_learnt_again_are_of_the_same_kind_and_of_the_new_texts_alone(kind):
    old = make_pieces(kind)
    new = learn_again(old, GERMAN)
    assert type(new.backend_tokenizer.model) is type(old.backend_tokenizer.model)
    assert (new.pad_token, new.eos_token) == (old.pad_token, old.eos_token)
    assert new.unk_token_id not in new("hund straße")["input_ids"] and new.get_vocab() != old.get_vocab()
    assert not any("account" in piece for piece in new.get_vocab())


@pytest.mark.parametrize("width", [(), (5,)])
def test_rows_of_shared_pieces_are_carried_over_and_others_drawn_from_the_old(width):
    rows = torch.randn(400, *width) * 3 + 7
    old = {f"p{i}": i for i in range(400)}
    new = {f"p{i + 200}": i for i in range(4000)}
    found = carried_over(rows, old, new, torch.Generator().manual_seed(0))
    assert found.shape == (4000, *width)
    assert torch.equal(found[:200], rows[200:])
    drawn = found[200:]
    assert torch.allclose(drawn.mean(dim=0), rows.mean(dim=0), atol=0.25) and torch.allclose(drawn.std(dim=0), rows.std(dim=0), atol=0.25)
    assert torch.equal(found, carried_over(rows, old, new, torch.Generator().manual_seed(0)))
