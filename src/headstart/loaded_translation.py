"""A saved translator, opened: texts in, translations out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from headstart.data.given import texts_of
from headstart.strategies.translation import translate
from headstart.strategies.translation_start import target_tokenizer


@dataclass(frozen=True)
class LoadedTranslator:
    """A trained translator, opened from `folder`. Translations have at most `longest` tokens."""

    form: ClassVar = "translation"
    labels: tuple[str, ...]
    folder: Path
    whole: Any
    reads: Any
    writes: Any
    longest: int

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The translation of each text, by beam search."""
        if isinstance(texts, str):
            raise TypeError("predict takes a list of texts; put the single text into a list.")
        return translate(self.whole, self.reads, self.writes, texts_of(texts), int(self.reads.model_max_length), self.longest)


def open_translator(place: Path) -> LoadedTranslator:
    """Open the folder of a translator, on the GPU where there is one.

    Raises:
        RunError: its files are damaged.
    """
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    from headstart.sources.opening import open_saved, opening_saved

    with opening_saved(place):
        whole: Any = open_saved(AutoModelForSeq2SeqLM, place)
        reads = AutoTokenizer.from_pretrained(place, trust_remote_code=False, local_files_only=True)
        writes = target_tokenizer(place) or reads
        longest = int(whole.config.headstart_translation["longest"])
    return LoadedTranslator((), place, whole.eval().to("cuda" if torch.cuda.is_available() else "cpu"), reads, writes, longest)
