"""Signs that are set on letters, which Python's `\\w` takes for no part of a word."""

from __future__ import annotations

import functools
import unicodedata


@functools.cache
def marks() -> str:
    """All accents and vowel signs that are signs by themselves, for use within a character class: without them `हिन्दी` is three words."""
    planes = map(chr, (*range(0x20000), *range(0xE0000, 0xE1000)))  # no other one holds marks
    return "".join(sign for sign in planes if unicodedata.category(sign).startswith("M"))
