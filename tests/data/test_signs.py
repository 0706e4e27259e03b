"""Marks that are set on letters."""

import re
import unicodedata

from headstart.data.signs import marks


def test_every_sign_of_unicode_that_is_a_mark_is_among_them_and_no_other():
    every = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Mn", "Mc", "Me")}
    assert set(marks()) == every


def test_they_can_stand_in_a_character_class():
    assert re.fullmatch(rf"[{marks()}]+", "\N{COMBINING ACUTE ACCENT}\N{DEVANAGARI VOWEL SIGN I}")
    assert not re.match(rf"[{marks()}]", "e")
