"""What a model folder's files say, read without torch: JSON, safetensors headers, tokenizers, sentence-transformers files.

Every function takes a folder and raises `SourceError` with the file and the remedy when it finds that a file is damaged.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from headstart.errors import SourceError
from headstart.sources.source import Pooling

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
PICKLED_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")

# Where the token embeddings stand, by the last parts of the tensor's name, over the families that transformers knows.
_EMBEDDINGS = (
    "embed_tokens.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
    "wte.weight",
    "word_embedding.weight",
    "embeddings.weight",
    "embed_in.weight",
    "shared.weight",
)

# The longest header that safetensors itself accepts.
_LONGEST_HEADER = 100_000_000


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; {} when there is no such file.

    Raises:
        SourceError: the file holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, OSError, RecursionError) as error:
        raise SourceError(
            f"{str(path)!r} cannot be read as JSON ({str(error).splitlines()[0]}); copy or download the source again."
        ) from None
    if not isinstance(content, dict):
        raise SourceError(f"{str(path)!r} must hold a JSON object, not a {type(content).__name__}; copy or download the source again.")
    return content


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that hold the folder's weights, by name; empty when it has none.

    Where a folder has both one whole file and an index of shards, transformers opens the whole file, so that is the one.
    """
    index = folder / INDEX
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if not index.is_file():
        return []
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise SourceError(f"{str(index)!r} does not say which file holds which weights; copy or download the source again.")
    names = sorted(set(shards.values()))
    for name in names:
        if Path(name).name != name:
            raise SourceError(f"{str(index)!r} names the shard {name!r}, which lies outside its folder; headstart does not follow it.")
    absent = [name for name in names if not (folder / name).exists()]
    if absent:
        raise SourceError(
            f"The source {str(folder)!r} is half downloaded: {len(absent)} of its {len(names)} weight files are absent, "
            f"{absent[0]!r} first; copy or download it again."
        )
    return [folder / name for name in names]


def read_shapes(path: Path) -> dict[str, list[int]]:
    """The shape of every tensor in a safetensors file, from its header alone; the file's length must fit the header.

    Raises:
        SourceError: the file is empty, cut off, a Git LFS pointer, or no safetensors file.
    """
    size = path.stat().st_size
    again = "copy or download the source again."
    if size == 0:
        raise SourceError(f"{str(path)!r} is empty; {again}")
    with open(path, "rb") as file:
        start = file.read(8)
        if start == b"version ":
            raise SourceError(f"{str(path)!r} is a Git LFS pointer, not the weights; run `git lfs pull` in its folder.")
        length = int.from_bytes(start, "little")
        if size < 8 or length > _LONGEST_HEADER:
            raise SourceError(f"{str(path)!r} is no safetensors file; {again}")
        if 8 + length > size:
            raise SourceError(f"{str(path)!r} is cut off: its header alone needs {8 + length:,} bytes, the file has {size:,}; {again}")
        try:
            header = json.loads(file.read(length))
            tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
            end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
            shapes = {name: [int(side) for side in entry["shape"]] for name, entry in tensors.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            raise SourceError(f"{str(path)!r} is no safetensors file; {again}") from None
    if 8 + length + end != size:
        raise SourceError(f"{str(path)!r} is cut off: it should have {8 + length + end:,} bytes and has {size:,}; {again}")
    return shapes


def embedding_rows(shapes: dict[str, list[int]]) -> int | None:
    """How many tokens have an embedding; None when no tensor is known as the token embeddings."""
    for ending in _EMBEDDINGS:
        rows = [shape[0] for name, shape in shapes.items() if len(shape) == 2 and ("." + name).endswith("." + ending)]
        if rows:
            return max(rows)
    return None


def vocabulary_size(folder: Path) -> int | None:
    """The highest token number of the folder's tokenizer plus one; None when its files do not tell (SentencePiece models).

    Raises:
        SourceError: there is no tokenizer in the folder.
    """
    if (folder / "tokenizer.json").is_file():
        content = read_json(folder / "tokenizer.json")
        known = content.get("model", {}).get("vocab", {})
        # A Unigram model lists its pieces in order; the others map pieces to numbers.
        numbers: list[int] = [len(known) - 1] if isinstance(known, list) else list(known.values())
        numbers += [int(token["id"]) for token in content.get("added_tokens", [])]
        return max(numbers, default=-1) + 1
    if (folder / "vocab.json").is_file():
        numbers = [*read_json(folder / "vocab.json").values(), *read_json(folder / "added_tokens.json").values()]
        return max(numbers, default=-1) + 1
    if (folder / "vocab.txt").is_file():
        with open(folder / "vocab.txt", "rb") as file:
            pieces = sum(1 for _ in file)
        added: list[int] = list(read_json(folder / "added_tokens.json").values())
        return max([pieces - 1, *added]) + 1
    if any(path for pattern in ("*.model", "*.spm", "*.tiktoken") for path in folder.glob(pattern)):
        return None
    raise SourceError(
        f"The source {str(folder)!r} has no tokenizer (tokenizer.json or a vocabulary); save the model's own tokenizer beside it."
    )


def sentence_pooling(folder: Path) -> tuple[Pooling | None, tuple[str, ...]]:
    """The pooling that the folder's sentence-transformers files ask for, and what of them is left out, in words.

    None: the folder has no such files, or they ask for a pooling that headstart does not know (then a note says so).
    """
    kinds = _modules(folder)
    if not kinds:
        return None, ()
    # Normalisation is no loss: a head is fitted anew. A module after pooling is a map that a head learns again where it helps.
    left_out = sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"})
    notes = tuple(f"its {kind} module is left out; the vectors are those before it" for kind in left_out)
    if _of_sentences(folder).get("do_lower_case"):
        notes += ("its settings ask for lower case; texts are read as they are",)
    if prompt := read_json(folder / "config_sentence_transformers.json").get("default_prompt_name"):
        notes += (f"its prompt {str(prompt)!r} is not put before texts",)
    if "Pooling" not in kinds:
        return None, notes
    asked = read_json(folder / kinds["Pooling"] / "config.json")
    known = {"cls": Pooling.CLS, "max": Pooling.MAX, "mean": Pooling.MEAN, "lasttoken": Pooling.LAST}
    flags = {
        "pooling_mode_cls_token": "cls",
        "pooling_mode_max_tokens": "max",
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens": "weightedmean",
        "pooling_mode_lasttoken": "lasttoken",
    }
    mode = asked.get("pooling_mode", [name for flag, name in flags.items() if asked.get(flag)])
    names = [mode] if isinstance(mode, str) else [str(name) for name in mode]
    if len(names) == 1 and names[0] in known:
        return known[names[0]], notes
    return Pooling.MEAN, (*notes, f"its pooling {'+'.join(names) or 'is not named'}; the mean of all tokens is used")


def sentence_length(folder: Path) -> int | None:
    """The longest text in tokens that the folder's sentence-transformers files name; None when they name none."""
    value = _of_sentences(folder).get("max_seq_length")
    return int(value) if value else None


def transformer_folder(folder: Path) -> str:
    """The folder within in which sentence-transformers' files say that the transformer lies; "" where it lies in the folder itself, or
    there are no such files."""
    return _modules(folder).get("Transformer", "")


def _modules(folder: Path) -> dict[str, str]:
    """The kinds of modules that sentence-transformers' files name, each with its folder within; {} where there are no such files."""
    path = folder / "modules.json"
    if not path.is_file():
        return {}
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
        return {str(module["type"]).rsplit(".", 1)[-1]: str(module.get("path", "")) for module in modules}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise SourceError(f"{str(path)!r} cannot be read as a list of modules; copy or download the source again.") from None


def _of_sentences(folder: Path) -> dict[str, Any]:
    """The settings of sentence-transformers, in a file that is called by the family (`sentence_bert_config.json`); {}: there is none."""
    return next((read_json(path) for path in sorted(folder.glob("sentence_*_config.json"))), {})


def card_licence(folder: Path) -> str | None:
    """The licence that the model card's front matter names, else `license` of config.json; None when neither does."""
    import yaml

    card = folder / "README.md"
    if card.is_file():
        with open(card, encoding="utf-8", errors="replace") as file:
            parts = file.read(65_536).split("---", 2)
        if len(parts) == 3 and not parts[0].strip():
            try:
                front = yaml.safe_load(parts[1])
            except (yaml.YAMLError, ValueError, TypeError, RecursionError):  # the 30th of February is a ValueError
                front = None
            if isinstance(front, dict) and front.get("license"):
                named = front.get("license_name") if front["license"] == "other" else None
                return str(named or front["license"])
    value = read_json(folder / "config.json").get("license")
    return str(value) if value else None


def stray_files(folder: Path, endings: tuple[str, ...]) -> list[str]:
    """Names of the files directly in the folder that end in one of `endings`, sorted."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_file() and entry.name.endswith(endings))
