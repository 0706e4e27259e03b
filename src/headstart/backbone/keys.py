"""Names made from content: what a text, a set of weights or a way of computing is, as 16 bytes.

Equal content gives equal names on every machine and in every process; nothing here depends on paths, versions or dictionary order.
All of them are BLAKE2b with 16 bytes and a purpose of their own, so that a text can never bear the name of a tensor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

KEY_BYTES = 16


def text_key(text: str) -> bytes:
    """The name of a text, 16 bytes. Every difference counts: case, spaces, Unicode form. Lone surrogates are allowed."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES, person=b"headstart text").digest()


def space_key(**parts: bytes | str | int) -> bytes:
    """The name of a way of computing, 16 bytes, from everything that decides the numbers.

    The order of the parts does not matter; their names, types and values do: `1`, `"1"`, `b"1"` and `True` are four different things.

    Raises:
        TypeError: a part is of another type (a float, say, whose digits are not one fixed text).
    """
    hasher = hashlib.blake2b(digest_size=KEY_BYTES, person=b"headstart space")
    for name in sorted(parts):
        kind, content = _encoded(name, parts[name])
        for piece in (name.encode(), kind, content):
            # The length before each piece keeps ("ab", "c") apart from ("a", "bc").
            hasher.update(len(piece).to_bytes(8, "little") + piece)
    return hasher.digest()


def _encoded(name: str, value: bytes | str | int) -> tuple[bytes, bytes]:
    """The type tag and the bytes of one part."""
    if isinstance(value, bool):
        return b"bool", b"1" if value else b"0"
    if isinstance(value, int):
        return b"int", str(value).encode()
    if isinstance(value, str):
        return b"str", value.encode("utf-8", "surrogatepass")
    if isinstance(value, bytes):
        return b"bytes", value
    raise TypeError(f"The part {name!r} of a space key is a {type(value).__name__}; give bytes, str or int.")


def tensor_digest(tensors: Iterable[tuple[str, torch.Tensor]]) -> bytes:
    """The name of a set of weights, 16 bytes, from every tensor's name, number format, shape and bytes.

    `tensors` are (name, tensor) pairs in any order, as `module.state_dict().items()` gives them; they may lie on any device. Parameters
    without the buffers (`named_parameters`) miss what buffers decide. About 1 GB a second, with no copy of contiguous tensors in memory.

    Raises:
        ValueError: two tensors bear the same name.
    """
    import torch

    hasher = hashlib.blake2b(digest_size=KEY_BYTES, person=b"headstart tensor")
    previous = None
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        if name == previous:
            raise ValueError(f"Two tensors are named {name!r}; a digest needs one tensor for each name.")
        previous = name
        head = f"{name!r} {tensor.dtype} {tuple(tensor.shape)}".encode()
        hasher.update(len(head).to_bytes(8, "little") + head)
        # numpy knows no bfloat16, and a tensor without dimensions cannot change its format: flat bytes suit every kind.
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        hasher.update(flat.numpy().data)
    return hasher.digest()
