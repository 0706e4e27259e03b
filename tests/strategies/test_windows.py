"""Words and the tokens that they are read as; long texts in windows that overlap."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headstart.backbone.backbone import Backbone
from headstart.backbone.reading import Reader, tokenize
from headstart.strategies import windows as room
from headstart.strategies.windows import ABSENT, Window, make_windows
from tiny import MAX_LENGTH, WORDS, make_tokenizer

Tiny = Callable[..., Backbone]
FAMILIES = ("bert", "roberta", "gpt2", "llama", "gemma3_text")  # one architecture for each kind of tokenizer in `tiny`
TOKENIZERS = {name: make_tokenizer(name) for name in FAMILIES}
DROPPED = "\u0301\u0301"  # accents without a letter under them, of which these tokenizers make nothing

# Anything but white space; the first few are words of one token, of many, and of none.
some_words = st.lists(
    st.one_of(
        st.sampled_from([*WORDS[:8], "refund", "unbelievable", "3.5%", "ok!?", "naïve", "你好", "x" * 40, DROPPED, "\N{NO-BREAK SPACE}"]),
        st.text(st.characters(exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"]), min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=40,
)


def first_tokens(tokenizer: Any, words: Sequence[str], limit: int) -> list[int]:
    """Where each word's first token stands, as the tokenizer itself tells of words that are handed to it one by one."""
    numbers = tokenizer(list(words), is_split_into_words=True, truncation=True, max_length=limit).word_ids()
    return [numbers.index(i) if i in numbers else ABSENT for i in range(len(words))]


def decided(windows: Sequence[Window]) -> list[int]:
    """The words that windows of one text decide, in order."""
    return [window.first + i for window in windows for i in range(*window.own)]


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=30)
@given(words=some_words)
@example(words=[""])
@example(words=[DROPPED])
@example(words=["a", "", DROPPED, "b"])
def test_a_word_is_read_at_the_token_that_the_tokenizer_tells(family: str, words: list[str]) -> None:
    tokenizer = TOKENIZERS[family]
    (window,) = make_windows(tokenizer, 10_000, [" ".join(words)])
    assert (window.text, window.row, window.first, window.own) == (" ".join(words), 0, 0, (0, len(words)))
    assert window.tokens.tolist() == first_tokens(tokenizer, words, 10_000)
    assert window.length == max(1, len(tokenizer(" ".join(words), truncation=True, max_length=10_000)["input_ids"]))


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=40)
@given(words=some_words, limit=st.integers(8, 24))
@example(words=["x" * 40] * 3, limit=8)
@example(words=["a", "x" * 40, "b", "x" * 40, *"cdefghijklmn"], limit=8)
@example(words=[*[DROPPED] * 5, "x" * 40, *[DROPPED] * 5, *"abcdefghi"], limit=8)
@example(words=["3.5%", "00", "the", DROPPED, DROPPED], limit=8)
def test_every_word_of_a_long_text_is_decided_by_one_window_and_read_there(family: str, words: list[str], limit: int) -> None:
    tokenizer = TOKENIZERS[family]
    windows = make_windows(tokenizer, limit, [" ".join(words)])
    assert decided(windows) == list(range(len(words)))
    whole = first_tokens(tokenizer, words, 10_000)
    for window in windows:
        count = len(window.tokens)
        assert window.text == " ".join(words[window.first : window.first + count])
        assert window.length == max(1, len(tokenizer(window.text, truncation=True, max_length=limit)["input_ids"])) <= limit
        assert window.tokens.tolist() == first_tokens(tokenizer, words[window.first : window.first + count], limit)
        # What the whole text has a token of is read in the window that decides it.
        low, high = window.own
        assert 0 <= low <= high <= count
        for i in range(low, high):
            assert (window.tokens[i] == ABSENT) == (whole[window.first + i] == ABSENT)


@pytest.mark.parametrize("n", [9, 10, 11, 17, 40, 101])
def test_a_word_is_decided_where_it_stands_further_from_an_edge_than_in_any_other_window(n: int) -> None:
    windows = make_windows(TOKENIZERS["bert"], 11, [" ".join(["card"] * n)])  # nine words and two special tokens
    assert [len(window.tokens) for window in windows[:-1]] == [9] * (len(windows) - 1)

    def margin(window: Window, word: int) -> int:
        """Words to the nearer edge at which the text goes on."""
        left = word - window.first if window.first > 0 else n
        right = window.first + len(window.tokens) - 1 - word
        return min(left, right if window.first + len(window.tokens) < n else n)

    for window in windows:
        for word in range(window.first + window.own[0], window.first + window.own[1]):
            rivals = [other for other in windows if other.first <= word < other.first + len(other.tokens)]
            assert margin(window, word) >= max(margin(other, word) for other in rivals) - 1
    if n > 9:
        assert min(margin(window, word) for window in windows for word in range(*(window.first + i for i in window.own))) >= 2


def test_texts_of_any_number_are_told_apart_by_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["my card", "the film " * 10 + "end", "", "refund", "a b c"]
    whole = make_windows(TOKENIZERS["bert"], 12, texts)
    assert [window.row for window in whole] == [0, *[1] * (len(whole) - 4), 2, 3, 4] and len(whole) > 5
    monkeypatch.setattr(room, "_AT_ONCE", 2)
    again = make_windows(TOKENIZERS["bert"], 12, texts)
    assert [(w.text, w.row, w.first, w.own, w.tokens.tolist()) for w in again] == [
        (w.text, w.row, w.first, w.own, w.tokens.tolist()) for w in whole
    ]
    assert make_windows(TOKENIZERS["bert"], 12, []) == []


def test_a_tokenizer_whose_tokens_begin_with_a_space_gives_each_word_its_own() -> None:
    """As those of RoBERTa and GPT-2 do, byte by byte; where a space stands alone before a word, it is not the word's first token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "c"), ("c", "a"), ("Ġc", "a"), ("ca", "r"), ("Ġca", "r"), ("l", "o")]
    pieces = ["<|endoftext|>", *alphabet, *dict.fromkeys(a + b for a, b in merges)]
    inner = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, merges))
    for trimmed in (True, False):
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=trimmed)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>", model_max_length=MAX_LENGTH)
        text = "car car lost é 你 car 🚚 ."
        (window,) = make_windows(tokenizer, MAX_LENGTH, [text])
        pieces_of = tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])
        assert [pieces_of[i] for i in window.tokens] == ["car", "Ġcar", "lo", "Ã", "ä", "Ġcar", "ð", "."]
        assert pieces_of[window.tokens[2] - 1] == "Ġ"


def test_a_lone_surrogate_is_read_as_a_question_mark() -> None:
    (window,) = make_windows(TOKENIZERS["bert"], 20, [json.loads('"my \\ud800 card"')])
    assert window.text == "my ? card" and window.tokens.tolist() == [1, 2, 3]


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
@pytest.mark.parametrize(
    "text", [" ".join(["\u0301" * 300] * 40 + ["card"] * 10), "card " + "\u0301" * 9000 + " lost", "x" * 3 + "\u0301" * 9000, ""]
)
def test_a_window_has_the_tokens_that_the_reader_reads_of_it_also_where_words_are_endless(
    architecture: str, text: str, tiny_backbone: Tiny
) -> None:
    backbone = tiny_backbone(architecture)
    windows = make_windows(backbone.tokenizer, backbone.max_length, [text])
    assert decided(windows) == list(range(text.count(" ") + 1))
    read = tokenize(backbone, [window.text for window in windows])
    assert [window.length for window in windows] == [len(row) for row in read]
    states = Reader(backbone, None, 4096).activations([window.text for window in windows], 2)
    assert all(window.tokens.max() < len(rows) for window, rows in zip(windows, states, strict=True))
