"""Texts as token ids, two of a pair in one sequence; and which tokens are of the second text.

A model that knows two types of tokens (BERT) is told them apart by a hook on the whole model, from where the first separator stands; so
reading, training and the saved model agree without any of them minding it.

Letters in shapes: b rows, t tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from headstart.data.pairs import split_pair

# Beyond this many characters per token that is kept, the end of a text hardly ever reaches the model: cutting first keeps tokenizers fast.
CHARACTERS_PER_TOKEN = 100
_MOST_CHARACTERS = 200_000  # of a text whose beginning holds hardly a token


def encode(tokenizer: Any, texts: Sequence[str], max_length: int, *, pairs: bool) -> list[list[int]]:
    """Token ids of each text, special tokens included, at most `max_length`; of pairs the longer text is cut first."""
    if not texts:  # which the tokenizers of transformers trip over
        return []
    limit = max_length * CHARACTERS_PER_TOKEN
    sides = list(zip(*map(split_pair, texts), strict=True)) if pairs else [texts]
    found = _encode(tokenizer, [[text[:limit] for text in side] for side in sides], max_length)
    for i, row in enumerate(found):
        own, most = [side[i] for side in sides], limit
        # White space and words without end (one unknown token each) can fill a beginning.
        while len(row) < max_length and most < min(max(map(len, own)), _MOST_CHARACTERS):
            most = min(most * 10, _MOST_CHARACTERS)
            [row] = _encode(tokenizer, [[text[:most]] for text in own], max_length)
        found[i] = row
    return found


def _encode(tokenizer: Any, sides: Sequence[Sequence[str]], max_length: int) -> list[list[int]]:
    # A lone surrogate, which JSON can bring in, becomes "?": tokenizers take no text that UTF-8 cannot write.
    given = [[text.encode("utf-8", "replace").decode("utf-8") for text in side] for side in sides]
    found: list[list[int]] = tokenizer(*given, truncation=True, max_length=max_length, add_special_tokens=True)["input_ids"]
    return found


def token_types(ids: torch.Tensor, separator: int) -> torch.Tensor:
    """1 for what stands after the first separator of each row, else 0, (b, t)."""
    ends = (ids == separator).long()
    return ((ends.cumsum(dim=1) - ends) > 0).long()


def knows_types(module: Any) -> bool:
    """Whether a model has two types of tokens."""
    return int(getattr(module.config, "type_vocab_size", 0) or 0) > 1


def tell_texts_apart(module: nn.Module, separator: int | None) -> None:
    """From now on the model is told which tokens are of the second text, if it knows types of tokens; a second call changes nothing."""
    if separator is None or not knows_types(module) or getattr(module, "_headstart_pairs", False):
        return
    module._headstart_pairs = True  # type: ignore[assignment]
    module.register_forward_pre_hook(partial(_add_types, separator), with_kwargs=True)


def _add_types(separator: int, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    ids = kwargs.get("input_ids", args[0] if args else None)  # a model with a head hands them on by place
    if kwargs.get("token_type_ids") is None and ids is not None:
        kwargs = {**kwargs, "token_type_ids": token_types(ids, separator)}
    return args, kwargs
