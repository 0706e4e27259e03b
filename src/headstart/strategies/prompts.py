"""What a causal model reads: a prompt in its own form, the completion behind it, and the sign that ends a text.

A chat is written by the model's own template where its tokenizer has one, else line by line. A plain prompt ends with a line break. Where
both are longer than the model reads, the beginning of the prompt is left out first.

Letters in shapes: t tokens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from headstart.backbone.encoding import CHARACTERS_PER_TOKEN
from headstart.data.examples import IntArray
from headstart.data.prompts import WHOLE, chat_of
from headstart.errors import SourceError
from headstart.strategies.model import NO_LABEL

# A chat line by line, as a template of transformers: what a saved model has whose tokenizer came without one. A line break before each
# content, for a space would be part of its first token, and then a prompt that ends with one is read otherwise than in training.
LINE_BY_LINE = (
    "{% for message in messages %}{{ message['role'] + ':\\n' + message['content'] + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\\n' }}{% endif %}"
)
PROMPT_SHARE = 0.5  # of what is read a prompt may have at least this much


@dataclass(frozen=True)
class Written:
    """A prompt with its completion as one `text`, and what its tokens are told: (t,) ids of the completion's, NO_LABEL for the others'.

    `size` are the bytes of the completion that are read, `row` the position of the row. A text without a prompt may be several pieces.
    """

    text: str
    told: IntArray
    size: int
    row: int


def as_read(tokenizer: Any, prompt: str, *, continues: bool = False) -> str:
    """A prompt as the model reads it, the completion to follow; `continues`: it is a text's beginning, and read as it stands.

    Raises:
        SourceError: the model's own template does not take the chat.
    """
    if continues:
        return prompt
    messages = chat_of(prompt)
    if messages is None:
        return prompt if not prompt or prompt[-1].isspace() else prompt + "\n"
    if getattr(tokenizer, "chat_template", None):
        text = _templated(tokenizer, messages)
        begin = tokenizer.bos_token or ""
        return text.removeprefix(begin) if begin and _adds_begin(tokenizer) else text
    return "".join(f"{message['role']}:\n{message['content']}\n" for message in messages) + "assistant:\n"


def require_readable(tokenizer: Any, prompts: Sequence[str], completions: Sequence[str]) -> None:
    """Raise where the model's own template refuses one of the chats, which would else be found out in mid-run.

    Raises:
        SourceError: it does.
    """
    if not getattr(tokenizer, "chat_template", None):
        return
    for prompt, completion in zip(prompts, completions, strict=True):
        if completion != WHOLE:
            as_read(tokenizer, prompt)


def _templated(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    try:
        text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program of the source's own and may raise anything
        roles = ", ".join(message["role"] for message in messages[:5]) + (", ..." if len(messages) > 5 else "")
        raise SourceError(
            f"The chat template of {tokenizer.name_or_path!r} refuses a chat of the roles {roles} ({error}). Bring such chats into the "
            "form that it takes or leave them out, or choose another source."
        ) from error
    return text


def shortened(tokenizer: Any, texts: Sequence[str], rooms: Sequence[int]) -> list[str]:
    """Read prompts of at most so many tokens each, those included that the tokenizer puts around them; what is longer loses its
    beginning."""
    texts = [
        text[-room * CHARACTERS_PER_TOKEN :].encode("utf-8", "replace").decode("utf-8") for text, room in zip(texts, rooms, strict=True)
    ]
    read = tokenizer(texts, return_offsets_mapping=True, truncation=False, verbose=False)["offset_mapping"] if texts else []
    return [_shortened(tokenizer, *each) for each in zip(texts, read, rooms, strict=True)]


def _shortened(tokenizer: Any, text: str, places: Sequence[tuple[int, int]], room: int) -> str:
    while (over := len(places) - room) > 0:
        begins = [begin for begin, end in places if end > begin]
        first = next((begin for begin in begins[over:] if begin), begins[-1] if begins else 0)
        if not first:  # a single sign of many tokens
            break
        text = text[first:]  # which may begin in a word, and then be more tokens than they were
        places = tokenizer(text, return_offsets_mapping=True, truncation=False, verbose=False)["offset_mapping"]
    return text


def _adds_begin(tokenizer: Any) -> bool:
    """Whether the tokenizer itself puts its first token before a text."""
    ids = tokenizer("a")["input_ids"]
    return bool(ids) and ids[0] == tokenizer.bos_token_id


def template_of(tokenizer: Any) -> str | dict[str, str]:
    """The template by which a stock pipeline writes chats as `as_read` does: the pipeline puts nothing before what a template writes."""
    own: str | dict[str, str] = getattr(tokenizer, "chat_template", None) or LINE_BY_LINE
    if not _adds_begin(tokenizer):
        return own
    return {name: _begun(tokenizer, each) for name, each in own.items()} if isinstance(own, dict) else _begun(tokenizer, own)


def _begun(tokenizer: Any, template: str) -> str:
    """A template that writes the token before a text, which the tokenizer puts there in training, where it does not do so itself."""
    writes = "bos_token" in template or tokenizer.bos_token in template
    return template if writes else "{{ bos_token }}" + template


def end_of(tokenizer: Any, name: str) -> str:
    """The token that ends a text, as text.

    Raises:
        SourceError: the tokenizer has none, so that no completion would ever end.
    """
    if not tokenizer.eos_token:
        raise SourceError(f"The tokenizer of {name!r} has no token that ends a text, so no completion would end; choose another source.")
    return str(tokenizer.eos_token)


def write(tokenizer: Any, max_length: int, prompts: Sequence[str], completions: Sequence[str], end: str) -> list[Written]:
    """Prompts with their completions, each of at most `max_length` tokens; texts whose label is `WHOLE` in as many pieces as they need."""
    whole = [i for i, completion in enumerate(completions) if completion == WHOLE]
    others = [i for i, completion in enumerate(completions) if completion != WHOLE]
    written = _completed(tokenizer, max_length, [prompts[i] for i in others], [completions[i] for i in others], end)
    pieces = _pieces(tokenizer, max_length, [prompts[i] for i in whole], end)
    found = [replace(each, row=others[each.row]) for each in written] + [replace(each, row=whole[each.row]) for each in pieces]
    return sorted(found, key=lambda each: each.row)


def _pieces(tokenizer: Any, max_length: int, texts: Sequence[str], end: str) -> list[Written]:
    """Texts learnt whole, cut where the model reads no further; all tokens are told but the first of a piece, which follows nothing."""
    around = len(tokenizer("")["input_ids"])
    room = max(2, max_length - around - 1)  # one for a piece that begins in a word, which may be read otherwise
    found = []
    for row, text in enumerate(texts):
        text = text.strip().encode("utf-8", "replace").decode("utf-8") + end
        places = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False)["offset_mapping"]
        begins = [places[at - 1][1] if at else 0 for at in range(0, len(places), room)]  # white space goes with what follows it
        for first, last in zip(begins, [*begins[1:], len(text)], strict=True):
            piece = text[first:last]
            read = tokenizer(piece, truncation=True, max_length=max_length, return_offsets_mapping=True)
            ids = np.asarray(read["input_ids"], dtype=np.int64)
            spans = np.asarray(read["offset_mapping"], dtype=np.int64).reshape(-1, 2)
            told = np.where(spans[:, 1] > spans[:, 0], ids, NO_LABEL)
            told[:1] = NO_LABEL
            said = piece[spans[:1, 1].max(initial=0) : spans[told != NO_LABEL, 1].max(initial=0)].removesuffix(end)
            found.append(Written(piece, told, len(said.encode("utf-8", "replace")), row))
    return found


def _completed(tokenizer: Any, max_length: int, prompts: Sequence[str], completions: Sequence[str], end: str) -> list[Written]:
    tails = [(completion + end).encode("utf-8", "replace").decode("utf-8") for completion in completions]
    sizes = [len(ids) for ids in _ids(tokenizer, tails)]
    rooms = [max(round(PROMPT_SHARE * max_length), max_length - size - 1) for size in sizes]  # one, for both may be read as more tokens
    texts = shortened(tokenizer, [as_read(tokenizer, prompt) for prompt in prompts], rooms)
    read = (
        tokenizer(
            [head + tail for head, tail in zip(texts, tails, strict=True)],
            truncation=True,
            max_length=max_length,
            return_offsets_mapping=True,
        )
        if texts
        else {}
    )
    written = []
    for number, (head, tail) in enumerate(zip(texts, tails, strict=True)):
        ids = np.asarray(read["input_ids"][number], dtype=np.int64)
        places = np.asarray(read["offset_mapping"][number], dtype=np.int64).reshape(-1, 2)
        # A token that begins in the prompt and ends in the completion belongs to the latter: only there it can be known.
        told = np.where((places[:, 1] > len(head)) & (places[:, 1] > places[:, 0]), ids, NO_LABEL)
        told[:1] = NO_LABEL  # nothing stands before the first token
        last = int(places[told != NO_LABEL, 1].max(initial=len(head)))
        read_of = tail[: last - len(head)].removesuffix(end)
        written.append(Written(head + tail, told, len(read_of.encode("utf-8", "replace")), number))
    return written


def _ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    found: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)["input_ids"] if texts else []
    return found


def shown_prompt(prompt: str) -> str:
    """A prompt for people: of a chat its lines."""
    messages = chat_of(prompt)
    return prompt if messages is None else "\n".join(f"{message['role']}: {message['content']}" for message in messages)


def asked(prompt: str, *, continues: bool = False) -> Any:
    """A prompt as the stock pipeline takes it: text that ends with a line break, or a list of messages; `continues` as of `as_read`."""
    messages = None if continues else chat_of(prompt)
    return json.loads(json.dumps(messages)) if messages is not None else as_read(None, prompt, continues=continues)
