"""Prompts and completions: the forms in which tables hold them.

Plain texts without prompts are rows whose label is `WHOLE`. Of the others three forms are read: two columns called `prompt` and
`completion`, each a text or messages of a chat; `instruction`, perhaps `input`, and `output`; and chats, a column `messages` of lists of
`{"role", "content"}`, of which the last answer of the assistant is the completion and all before it the prompt. A chat stands in a row's
text as a JSON list of its messages, so that every source can write it in its own form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.data.cells import list_in
from headstart.data.table import as_text

PROMPT, COMPLETION = "prompt", "completion"
INSTRUCTION, INPUT, OUTPUT = "instruction", "input", "output"
CHATS = ("messages", "conversations")
# The label of a row whose text itself is what is learnt, with no prompt before it.
WHOLE = "\N{SYMBOL FOR START OF TEXT}"
WHOLE_TEXTS = "a text"  # how such rows are counted, for people
# Who speaks, in the words of either usual form.
_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant"}
ASSISTANT = "assistant"


@dataclass(frozen=True)
class PromptColumns:
    """Which columns hold what: `chat`, or `prompt` (with `more` of it) and `completion`."""

    chat: str = ""
    prompt: str = ""
    more: str = ""
    completion: str = ""

    @property
    def name(self) -> str:
        """What the prompt's columns are called together."""
        return self.chat or ",".join(filter(None, (self.prompt, self.more)))

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(name for name in (self.chat, self.prompt, self.more, self.completion) if name)


def prompt_columns(columns: Sequence[str]) -> PromptColumns | None:
    """The columns of prompts that a table plainly has, by their names; None: it has none."""
    known = {column.lower(): column for column in columns}
    chat = next((known[name] for name in CHATS if name in known), "")
    if chat:
        return PromptColumns(chat=chat)
    if PROMPT in known and COMPLETION in known:
        return PromptColumns(prompt=known[PROMPT], completion=known[COMPLETION])
    if INSTRUCTION in known and OUTPUT in known:
        return PromptColumns(prompt=known[INSTRUCTION], more=known.get(INPUT, ""), completion=known[OUTPUT])
    return None


def prompt_of(record: Mapping[str, Any], columns: str) -> str | None:
    """The prompt of a row to be completed, from the columns called so together; None: they are not those of prompts.

    Of a chat that ends with an answer of the assistant that is left out.
    """
    if columns.lower() in CHATS:
        chat = chat_of(record.get(columns))
        return "" if chat is None else parted(chat)[0]
    first, comma, more = columns.partition(",")
    if comma and (first.lower(), more.lower()) == (INSTRUCTION, INPUT):
        return as_prompt(as_text(record.get(first)), as_text(record.get(more)))
    return None


def as_prompt(instruction: str, more: str) -> str:
    """An instruction and its input in one."""
    return f"{instruction.strip()}\n\n{more.strip()}" if more.strip() else instruction


def chat_of(cell: Any) -> list[dict[str, str]] | None:
    """The messages of a cell, each with a role and its content; None: it holds no chat."""
    if isinstance(cell, str):
        cell = list_in(cell)
    if not isinstance(cell, list) or not cell:
        return None
    messages = []
    for item in cell:
        if not isinstance(item, Mapping):
            return None
        role, content = item.get("role", item.get("from")), item.get("content", item.get("value"))
        if not isinstance(role, str) or not isinstance(content, str):
            return None
        messages.append({"role": _ROLES.get(role, role), "content": content})
    return messages


def with_messages(prompt: str, completion: str) -> tuple[str, str]:
    """A prompt and its completion, where the cell of the latter holds messages: the last answer in these, and all before it."""
    before, said = chat_of(prompt), chat_of(completion)
    if said is None:
        return prompt, completion
    if before is not None:
        return parted([*before, *said])
    return (prompt, said[0]["content"]) if len(said) == 1 and said[0]["role"] == ASSISTANT else (prompt, completion)


def parted(messages: list[dict[str, str]]) -> tuple[str, str]:
    """The prompt of a chat, as JSON, and its last answer; "" where it ends without one."""
    if messages[-1]["role"] != ASSISTANT or len(messages) < 2:
        return json.dumps(messages, ensure_ascii=False), ""
    return json.dumps(messages[:-1], ensure_ascii=False), messages[-1]["content"]
