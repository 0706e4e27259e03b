"""The pieces of words that a translator reads and writes: learnt from texts, or a parent's extended by those of new texts.

Pieces are learnt by byte-pair encoding on bytes (Sennrich et al. 2016, arXiv 1508.07909), so that no text has an unknown sign. A parent's
are learnt again in its own way. Few texts need few pieces, for each must be seen often enough to be learnt (Sennrich and Zhang 2019,
arXiv 1905.11901).

Letters in shapes: v pieces, d width.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from headstart.errors import SettingsError

PADDING, END, UNKNOWN = "<pad>", "</s>", "<unk>"
# Pieces for so many words of text: this often the square root of their number. 1,000 pairs of captions have 25,000 words: 1,200 pieces.
_A_ROOT = 7.5
_FEWEST, _MOST = 500, 16_000


def pieces_for(texts: Iterable[str]) -> int:
    """How many pieces to learn from these texts."""
    words = sum(len(text.split()) for text in texts)
    return int(min(_MOST, max(_FEWEST, round(_A_ROOT * math.sqrt(words)))))


def learn_vocabulary(texts: Sequence[str], *, ends: bool = True) -> Any:
    """A tokenizer with pieces learnt from these texts.

    `ends`: it begins each text with a space and ends it with a token of its own, as translators read; else texts stay as they are.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    small = Tokenizer(models.BPE())
    small.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=ends)
    small.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces_for(texts),
        special_tokens=[PADDING, END, UNKNOWN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=2,
        show_progress=False,
    )
    small.train_from_iterator(written(texts), trainer)
    if ends:
        small.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, small.token_to_id(END))])
    return PreTrainedTokenizerFast(
        tokenizer_object=small, pad_token=PADDING, eos_token=END, unk_token=UNKNOWN, clean_up_tokenization_spaces=False
    )


def learn_again(tokenizer: Any, texts: Sequence[str]) -> Any:
    """A tokenizer of the same kind with pieces learnt from these texts.

    Raises:
        SettingsError: it is of a kind that cannot be learnt anew.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise SettingsError("--vocabulary must be keep for this source, whose tokenizer cannot be learnt again.")
    return tokenizer.train_new_from_iterator(written(texts), pieces_for(texts), show_progress=False)


def extended(tokenizer: Any, texts: Sequence[str]) -> Any:
    """A tokenizer that also knows the pieces learnt from these texts; the numbers of its own stay the same.

    Raises:
        SettingsError: it is of a kind that cannot be extended.
    """
    new = json.loads(learn_again(tokenizer, texts).backend_tokenizer.to_str())["model"]
    whole = json.loads(tokenizer.backend_tokenizer.to_str())
    model = whole["model"]
    next_id = len(tokenizer)
    kind = model["type"]
    if kind in ("BPE", "WordPiece"):
        known = model["vocab"]
        if kind == "BPE":  # later ones come after the tokenizer's own, so that what it parts is parted on from there
            have = {_merge(pair) for pair in model["merges"]}
            added = [pair for pair in map(_merge, new["merges"]) if pair not in have]
            model["merges"] = [list(_merge(pair)) for pair in model["merges"]] + [list(pair) for pair in added]
        pieces = sorted(new["vocab"], key=new["vocab"].__getitem__)
        for piece in pieces:
            if piece not in known:
                known[piece] = next_id
                next_id += 1
    elif kind == "Unigram" and len(model["vocab"]) == next_id:
        have = {piece for piece, _ in model["vocab"]}
        model["vocab"] += [entry for entry in new["vocab"] if entry[0] not in have]
    else:
        raise SettingsError(f"--vocabulary extend is not there for this source, whose tokenizer is of the kind {kind}; choose keep or new.")
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory(prefix="headstart-vocabulary-") as room:
        tokenizer.save_pretrained(room)
        (Path(room) / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
        return AutoTokenizer.from_pretrained(room, trust_remote_code=False, local_files_only=True)


def _merge(pair: Any) -> tuple[str, str]:
    """Two pieces that are joined; older files write them with a space between."""
    first, second = pair.split(" ") if isinstance(pair, str) else pair
    return first, second


def written(texts: Iterable[str]) -> list[str]:
    """Texts as tokenizers take them: a lone surrogate becomes "?"."""
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]


def carried_over(rows: torch.Tensor, old: dict[str, int], new: dict[str, int], generator: torch.Generator) -> torch.Tensor:
    """Rows (v, d) or (v,) of a new vocabulary: those of shared pieces as they were, others drawn from the mean and spread of the old.

    Args:
        rows: the old rows, by `old`'s numbers.
        old: the number of each piece before.
        new: the number of each piece now.
        generator: of what is drawn.
    """
    size = max(new.values()) + 1
    mean, spread = rows.mean(dim=0), rows.std(dim=0, unbiased=False)
    found = mean + spread * torch.randn(size, *rows.shape[1:], generator=generator)
    shared = [(number, old[piece]) for piece, number in new.items() if piece in old and old[piece] < len(rows)]
    if shared:
        to, back = (torch.tensor(side) for side in zip(*shared, strict=True))
        found[to] = rows[back]
    return found
