"""What a model folder computes with, by the content of its files: two folders with one digest are the same source."""

from __future__ import annotations

import hashlib
from pathlib import Path

from headstart.sources import files

# Besides the weights: configuration, tokenizer (a translator may write with another than it reads with), the template of a chat, and the
# sentence-transformers files that name the pooling. Cards and code are not among them, for headstart reads nothing from them that changes
# what a model says.
_PATTERNS = (
    "config.json",
    files.INDEX,
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "bpe.codes",
    "*.model",
    "*.spm",
    "*.tiktoken",
    "chat_template.jinja",
    "target_tokenizer/*",
    "modules.json",
    "sentence_bert_config.json",
    "[0-9]_*/config.json",
)


def identifying_files(folder: Path) -> tuple[tuple[str, int], ...]:
    """The files that make a source what it is: (path within the folder, size in bytes), sorted.

    Raises:
        SourceError: the index of its weights is damaged, or names files that are absent.
    """
    found = {path for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file()} | set(files.weight_files(folder))
    return tuple(sorted((path.relative_to(folder).as_posix(), path.stat().st_size) for path in found))


def content_digest(folder: Path) -> str:
    """32 hex digits of a hash over the identifying files, names and content (90 MB: 0.1 to 0.2 s). Times of change play no part.

    Raises:
        SourceError: as `identifying_files`.
    """
    hasher = hashlib.blake2b(digest_size=16)
    for name, size in identifying_files(folder):
        hasher.update(f"{name}\0{size}\0".encode("utf-8", "surrogatepass"))
        with open(folder / name, "rb") as file:
            while block := file.read(1 << 22):
                hasher.update(block)
    return hasher.hexdigest()
