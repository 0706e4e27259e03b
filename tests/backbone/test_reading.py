"""What is read equals one text at a time through the plain model, and nothing is read twice."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.backbone import reading
from headstart.backbone.backbone import Backbone, load_backbone
from headstart.backbone.reading import Reader, pad, tokenize
from headstart.backbone.store import Store
from headstart.sources.resolve import resolve_source
from headstart.sources.source import Pooling
from tiny import ARCHITECTURES, HIDDEN, make_tiny

Tiny = Callable[..., Backbone]
TEXTS = (
    "why is my card lost?",
    "refund",
    "I cannot change the password of my account, please help: login is broken and late",
    "happy film",
    "how much money for food in the city?",
    "",
    "the car " * 60,  # more than the 40 tokens that are read
    "ünïcode 🚚 текст",
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store", 2**24) as made:
        yield made


def by_hand(hidden: np.ndarray, pooling: Pooling) -> np.ndarray:
    """Token vectors (t, d) of one text to one vector."""
    return {Pooling.MEAN: hidden.mean(axis=0), Pooling.CLS: hidden[0], Pooling.LAST: hidden[-1], Pooling.MAX: hidden.max(axis=0)}[pooling]


def alone(backbone: Backbone, text: str) -> list[np.ndarray]:
    """The L+1 hidden states (t, d) of one text, by transformers alone: embeddings, blocks, the last after the final norm."""
    ids = backbone.tokenizer(text, truncation=True, max_length=backbone.max_length, return_tensors="pt")["input_ids"]
    if ids.shape[1] == 0:
        ids = torch.tensor([[backbone.tokenizer.pad_token_id]])
    with torch.inference_mode():
        out = backbone.module(input_ids=ids.long(), attention_mask=torch.ones_like(ids).long(), output_hidden_states=True)
    return [state[0].numpy() for state in (*out.hidden_states[:-1], out.last_hidden_state)]


# --- the numbers ---


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_pooled_layers_are_those_of_each_text_alone(architecture: str, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    got = Reader(backbone, None, batch_tokens=200).pooled(TEXTS)
    assert got.shape == (len(TEXTS), 5, HIDDEN) and got.dtype == np.float32
    wanted = np.stack([[by_hand(state, backbone.pooling) for state in alone(backbone, text)] for text in TEXTS])
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("cut", range(5))
def test_activations_are_what_enters_the_block_without_padding(architecture: str, cut: int, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    other = (cut + 2) % 5
    result = Reader(backbone, None, batch_tokens=200).read_texts(TEXTS, [cut, other])
    lengths = [len(row) for row in tokenize(backbone, TEXTS)]
    assert sorted(result.activations) == sorted([cut, other])
    assert [row.shape for row in result.activations[cut]] == [(length, HIDDEN) for length in lengths]
    assert max(lengths) == 40 and min(lengths) <= 2
    for row, text in zip(result.activations[cut], TEXTS, strict=True):
        np.testing.assert_allclose(row, alone(backbone, text)[cut], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_every_pooling_is_followed(pooling: str, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone("bert", pooling=pooling)
    got = Reader(backbone, None, batch_tokens=4096).pooled(TEXTS)
    wanted = np.stack([[by_hand(state, backbone.pooling) for state in alone(backbone, text)] for text in TEXTS])
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_the_size_of_batches_changes_nothing_but_rounding(tiny_backbone: Tiny) -> None:
    one, many = (Reader(tiny_backbone("bert"), None, tokens).pooled(TEXTS) for tokens in (1, 100_000))
    np.testing.assert_allclose(one, many, rtol=1e-4, atol=1e-5)


# --- nothing twice ---


def test_equal_texts_are_read_once(tiny_backbone: Tiny) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    result = reader.read_texts(["a card", "refund", "a card", "a card", "refund"], [2])
    assert (reader.read, reader.kept) == (2, 0)
    assert (result.pooled[0] == result.pooled[2]).all() and (result.pooled[1] == result.pooled[4]).all()
    assert not (result.pooled[0] == result.pooled[1]).all()
    assert (result.activations[2][0] == result.activations[2][3]).all()


def test_texts_that_differ_in_a_space_or_a_capital_are_different_texts(tiny_backbone: Tiny) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    pooled = reader.pooled(["a card", "a  card", "A card"])
    assert reader.read == 3
    # The tokenizer makes the same of them, the library does not guess that.
    np.testing.assert_allclose(pooled[1:], pooled[[0, 0]], atol=1e-6)


@pytest.mark.parametrize("cuts", [[], [0], [3], [1, 4]])
def test_a_second_reader_of_the_same_store_reads_nothing(cuts: list[int], tiny_backbone: Tiny, store: Store) -> None:
    first, second = Reader(tiny_backbone("bert"), store, 4096), Reader(tiny_backbone("bert"), store, 512)
    before, after = first.read_texts(TEXTS, cuts), second.read_texts(TEXTS, cuts)
    assert (first.read, first.kept, second.read, second.kept) == (len(TEXTS), 0, 0, len(TEXTS))
    assert (before.pooled == after.pooled).all()
    for cut in cuts:
        assert all((a == b).all() for a, b in zip(before.activations[cut], after.activations[cut], strict=True))
        assert all(row.flags.owndata for row in before.activations[cut])  # no view that keeps a whole batch in memory


def test_a_source_opened_anew_reads_nothing_of_what_was_kept(store: Store, tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "source", "mpnet")
    for expected in (len(TEXTS), 0):
        reader = Reader(load_backbone(resolve_source(str(folder)), 40), store, 4096)
        reader.read_texts(TEXTS, [2])
        assert reader.read == expected


def test_one_added_text_reads_one(tiny_backbone: Tiny, store: Store) -> None:
    Reader(tiny_backbone("bert"), store, 4096).pooled(TEXTS)
    reader = Reader(tiny_backbone("bert"), store, 4096)
    pooled = reader.pooled([*TEXTS[:3], "a new text", *TEXTS[3:]])
    assert (reader.read, reader.kept) == (1, len(TEXTS))
    np.testing.assert_allclose(pooled, Reader(tiny_backbone("bert"), None, 4096).pooled([*TEXTS[:3], "a new text", *TEXTS[3:]]), atol=1e-5)


def test_activations_of_a_layer_not_kept_yet_are_read_then_kept(tiny_backbone: Tiny, store: Store) -> None:
    reader = Reader(tiny_backbone("bert"), store, 4096)
    for cuts, read in (([], 8), ([2], 16), ([2], 16), ([1], 24), ([1, 2], 24), ([], 24)):
        reader.read_texts(TEXTS, cuts)
        assert reader.read == read


def test_without_a_store_everything_is_read_again(tiny_backbone: Tiny) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    assert (reader.pooled(TEXTS) == reader.pooled(TEXTS)).all()
    assert (reader.read, reader.kept) == (2 * len(TEXTS), 0)


def test_what_other_settings_made_is_not_taken(tiny_backbone: Tiny, store: Store) -> None:
    Reader(tiny_backbone("bert"), store, 4096).pooled(TEXTS)
    others = [{"max_length": 20}, {"seed": 1}, {"pooling": "max"}, {"words": ("kitten",)}]
    for how in others:
        reader = Reader(tiny_backbone("bert", **how), store, 4096)
        got = reader.pooled(TEXTS)
        assert (reader.read, reader.kept) == (len(TEXTS), 0), how
        np.testing.assert_allclose(got, Reader(tiny_backbone("bert", **how), None, 4096).pooled(TEXTS), atol=1e-6)


def test_what_another_release_of_the_library_computed_is_not_taken(
    tiny_backbone: Tiny, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    Reader(tiny_backbone("bert"), store, 4096).pooled(TEXTS)
    assert re.fullmatch(r"\d+\.\d+", reading.RELEASE) and version("transformers").startswith(reading.RELEASE)
    monkeypatch.setattr(reading, "RELEASE", "4.99")
    reader = Reader(tiny_backbone("bert"), store, 4096)
    reader.pooled(TEXTS)
    assert reader.read == len(TEXTS)


def test_activations_are_shared_by_sources_that_pool_differently(tiny_backbone: Tiny, store: Store) -> None:
    spaces = [Reader(tiny_backbone("bert", pooling=how, max_length=32), store, 4096) for how in ("mean", "max")]
    assert spaces[0].space("tokens", 2) == spaces[1].space("tokens", 2)
    assert spaces[0].space("pooled", 2) != spaces[1].space("pooled", 2)


@pytest.mark.parametrize("cuts", [[], [2]])
def test_damaged_rows_are_read_again_and_kept_whole(cuts: list[int], tiny_backbone: Tiny, tmp_path: Path) -> None:
    with Store(tmp_path, 2**24) as store:
        wanted = Reader(tiny_backbone("bert"), store, 4096).read_texts(TEXTS, cuts)
        file = store.folder / "rows-1.sqlite"
    with sqlite3.connect(file) as connection:
        # One row of the last kind that was written: the activations where they were asked for, else the top layer.
        connection.execute("UPDATE payload SET data = zeroblob(length(data)) WHERE id = (SELECT max(id) FROM payload)")
    connection.close()
    with Store(tmp_path, 2**24) as store:
        reader = Reader(tiny_backbone("bert"), store, 4096)
        got = reader.read_texts(TEXTS, cuts)
        assert (reader.read, reader.kept, store.stats.damaged) == (1, len(TEXTS) - 1, 1)
        np.testing.assert_allclose(got.pooled, wanted.pooled, atol=1e-5)
        for cut in cuts:
            for a, b in zip(got.activations[cut], wanted.activations[cut], strict=True):
                np.testing.assert_allclose(a, b, atol=1e-5)
        again = Reader(tiny_backbone("bert"), store, 4096)
        again.read_texts(TEXTS, cuts)
        assert again.read == 0


def test_a_reader_killed_after_some_chunks_reads_only_the_rest(tiny_backbone: Tiny, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_CHUNK", 3)
    forward, calls = reading.forward_batch, []

    def killed_at_the_third(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return forward(*args)

    monkeypatch.setattr(reading, "forward_batch", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        Reader(tiny_backbone("bert"), store, 4096).pooled(TEXTS)
    reader = Reader(tiny_backbone("bert"), store, 4096)
    reader.pooled(TEXTS)
    assert 0 < reader.read < len(TEXTS) and reader.read + reader.kept == len(TEXTS)


# --- odd texts ---


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_no_texts_give_no_rows(architecture: str, tiny_backbone: Tiny, store: Store) -> None:
    for kept in (store, None):
        result = Reader(tiny_backbone(architecture), kept, 4096).read_texts([], [1])
        assert result.pooled.shape == (0, 5, HIDDEN) and result.activations == {1: []}
    assert tokenize(tiny_backbone(architecture), []) == []


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_empty_text_is_at_least_one_token_with_finite_features(architecture: str, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    assert [len(row) >= 1 for row in tokenize(backbone, ["", "   ", "\n"])] == [True] * 3
    pooled = Reader(backbone, None, 4096).pooled(["", "a card", "   "])
    assert np.isfinite(pooled).all()


@pytest.mark.parametrize("text", ["card " * 1_000_000, "x" * 5_000_000, "🚚" * 5_000_000])
def test_a_text_of_five_million_characters_costs_little_and_reads_as_its_beginning(text: str, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone("bert", max_length=8)
    begin = time.perf_counter()
    pooled = Reader(backbone, None, 4096).pooled([text])
    assert time.perf_counter() - begin < 2.0
    np.testing.assert_allclose(pooled, Reader(backbone, None, 4096).pooled([text[:800]]), atol=1e-6)


def test_a_lone_surrogate_reads_as_a_question_mark(tiny_backbone: Tiny, store: Store) -> None:
    reader = Reader(tiny_backbone("bert"), store, 4096)
    pooled = reader.pooled(["a \ud800 card", "a ? card"])
    assert reader.read == 2  # two texts, whatever the tokenizer makes of them
    np.testing.assert_allclose(pooled[0], pooled[1], atol=1e-6)


def test_padding_by_hand() -> None:
    ids, mask = pad([[5, 6, 7], [8]], 1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert mask is not None and mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    ids, mask = pad([[5, 6], [7, 8]], 1)
    assert ids.tolist() == [[5, 6], [7, 8]] and mask is None


def test_counters_hold_texts(tiny_backbone: Tiny) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    reader.pooled(TEXTS)
    assert (reader.read, reader.kept) == (len(set(TEXTS)), 0)


@pytest.mark.parametrize("cut", [-1, 5])
def test_a_cut_that_is_no_block_is_refused(tiny_backbone: Tiny, cut: int) -> None:
    with pytest.raises(ValueError) as caught:
        Reader(tiny_backbone("bert"), None, batch_tokens=200).read_texts(TEXTS, [cut])
    assert str(caught.value) == f"cuts are [{cut}]; they must lie between 0 and 4"


def test_reading_ahead_reads_what_is_missing_and_nothing_twice(tiny_backbone: Tiny, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PORTION", 1)
    reader = Reader(tiny_backbone("bert"), store, batch_tokens=200)
    texts = [f"{text} {i}" for i in range(5) for text in TEXTS]
    reader.read_texts(texts[:3], [2])
    reader.read_ahead([*texts, texts[0]], [2])
    assert reader.read == len(texts)
    reader.read_ahead(texts, [2])
    reader.read_ahead(texts)
    found, alone = reader.activations(texts, 2), Reader(reader.backbone, None, 200).activations(texts, 2)
    assert reader.read == len(texts)
    assert all(np.allclose(one, other, atol=1e-5) for one, other in zip(found, alone, strict=True))
    Reader(reader.backbone, None, 200).read_ahead(texts, [2])  # nowhere to keep it: nothing to do
