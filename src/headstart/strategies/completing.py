"""Completions of prompts, the likeliest token each time: many written at once, the same as if each were written by itself.

A token takes all weights from memory, for one prompt or for sixteen: so sixteen take the time of two. What stands beside a prompt moves its
logits by rounding alone, which changes the likeliest token only where two are about as likely. Where that was so, a prompt is written
again, by itself and on the usual kernels, as any other program writes it.

Letters in shapes: b prompts, t tokens, s steps, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from headstart.backbone.kernels import fast_linears
from headstart.strategies.prompts import as_read, shortened

# Prompts that are written at once.
AT_ONCE = 16
# Two logits nearer than this may change places by rounding: twenty times what was seen of Gemma 3 270M.
_NEAR = 1e-3


@torch.inference_mode()
def complete(
    whole: Any,
    tokenizer: Any,
    max_length: int,
    prompts: Sequence[str],
    longest: int,
    *,
    continues: bool = False,
    begun: int | None = None,
) -> list[str]:
    """The completion of each prompt.

    Args:
        whole: the stock class of a causal language model.
        tokenizer: its tokenizer.
        max_length: tokens of a prompt and its completion together, at most.
        prompts: texts, or chats as JSON lists of messages.
        longest: tokens of a completion, at most.
        continues: as of `as_read`.
        begun: tokens after which a completion may break off, where its beginning will do; None: it is written to its end.
    """
    room = max(1, max_length - longest)
    texts = shortened(tokenizer, [as_read(tokenizer, prompt, continues=continues) for prompt in prompts], [room] * len(prompts))
    ids = [_ids_of(tokenizer, text)[-room:] for text in texts]
    by_length = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    parts = [by_length[begin : begin + AT_ONCE] for begin in range(0, len(ids), AT_ONCE)]
    found: list[list[int] | None] = [None] * len(ids)
    most = longest if begun is None else min(longest, begun)
    if ids and _padding_is_unseen(whole, tokenizer, [ids[by_length[0]], ids[by_length[-1]]]):
        for part in parts:
            for i, said in zip(part, _at_once(whole, tokenizer, [ids[i] for i in part], most), strict=True):
                found[i] = said
    written = [_write(whole, tokenizer, [ids[i]], most, [])[0] if said is None else said for i, said in enumerate(found)]
    return tokenizer.batch_decode(written, skip_special_tokens=True) if written else []


def _ids_of(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, verbose=False)["input_ids"]
    return ids or [tokenizer.eos_token_id]  # a tokenizer that puts nothing before a text makes nothing of an empty one


def _padding_is_unseen(whole: Any, tokenizer: Any, ids: Sequence[list[int]]) -> bool:
    """Whether the last of these prompts, the longest and the shortest, goes on beside the other as it does alone."""
    if len(ids[-1]) == len(ids[0]):
        return True
    alone, beside = _Watch(), _Watch()
    _write(whole, tokenizer, ids[-1:], 1, [alone])
    with fast_linears(whole):
        _write(whole, tokenizer, ids, 1, [beside])
    return torch.allclose(alone.first[-1], beside.first[-1], rtol=0.0, atol=_NEAR / 2)


def _at_once(whole: Any, tokenizer: Any, ids: Sequence[list[int]], longest: int) -> list[list[int] | None]:
    """What is written behind these prompts (b); None where two tokens were about as likely somewhere."""
    watch = _Watch()
    with fast_linears(whole):
        written = _write(whole, tokenizer, ids, longest, [watch])
    near = torch.stack(watch.leads, dim=1) < _NEAR  # (b, s)
    return [None if bool(row[: len(said)].any()) else said for said, row in zip(written, near, strict=True)]


class _Watch:
    """Sees the logits (b, v) of each step: those of the first are kept, and of each how far the likeliest leads (b,)."""

    def __init__(self) -> None:
        self.first = torch.empty(0)
        self.leads: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """As a logits processor of transformers, which changes nothing."""
        if not self.leads:
            self.first = scores.clone()
        likeliest = scores.topk(2, dim=1).values
        self.leads.append(likeliest[:, 0] - likeliest[:, 1])
        return scores


def _write(whole: Any, tokenizer: Any, ids: Sequence[list[int]], longest: int, watching: list[_Watch]) -> list[list[int]]:
    """Ids of what follows each prompt, up to and with the token that ends a text; padding stands before the shorter prompts."""
    from transformers import LogitsProcessorList

    size, end = max(map(len, ids)), tokenizer.eos_token_id
    padding = end if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    rows = torch.tensor([[padding] * (size - len(row)) + row for row in ids], device=whole.device)
    mask = torch.tensor([[0] * (size - len(row)) + [1] * len(row) for row in ids], device=whole.device)
    said = whole.generate(
        input_ids=rows,
        attention_mask=mask,
        do_sample=False,
        max_new_tokens=longest,
        eos_token_id=end,
        pad_token_id=padding,
        logits_processor=LogitsProcessorList(watching),
    )
    return [row[: row.index(end) + 1] if end in row else row for row in said[:, size:].tolist()]
