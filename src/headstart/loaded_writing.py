"""A saved model that writes, opened: prompts in, completions out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from headstart.data.given import listed, plain
from headstart.data.prompts import chat_of
from headstart.errors import DataError
from headstart.strategies.completing import complete


@dataclass(frozen=True)
class LoadedWriter:
    """A trained causal language model, opened from `folder`. Completions have at most `longest` tokens. `continues`: it
    takes beginnings of texts, and no prompts."""

    form: ClassVar = "writing"
    labels: tuple[str, ...]
    folder: Path
    whole: Any
    tokenizer: Any
    longest: int
    continues: bool

    def predict(self, prompts: Sequence[str | Sequence[Mapping[str, str]]]) -> list[str]:
        """What the model writes behind each prompt: a text, or the messages of a chat. The likeliest token each time.

        Raises:
            DataError: a prompt is neither.
        """
        if isinstance(prompts, str):
            raise TypeError("predict takes a list of prompts; put the single prompt into a list.")
        given = [plain(prompt) for prompt in listed(prompts, "prompts")]  # a chat in a column of pandas is an array
        for position, prompt in enumerate(given):
            if not isinstance(prompt, str) and chat_of(prompt) is None:
                raise DataError(
                    f"Prompt {position + 1} is {prompt!r}; it must be a string, or a list of messages with a role and a content each."
                )
        texts = [prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False) for prompt in given]
        reads = int(self.tokenizer.model_max_length)
        return complete(self.whole, self.tokenizer, reads, texts, self.longest, continues=self.continues)


def open_writer(place: Path) -> LoadedWriter:
    """Open the folder of a model that writes, on the GPU where there is one.

    Raises:
        RunError: its files are damaged.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from headstart.sources.opening import open_saved, opening_saved

    with opening_saved(place):
        whole: Any = open_saved(AutoModelForCausalLM, place)
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False, local_files_only=True)
        longest, continues = int(whole.config.headstart_writing["longest"]), bool(whole.config.headstart_writing.get("continues"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return LoadedWriter((), place, whole.eval().to(device), tokenizer, longest, continues)
