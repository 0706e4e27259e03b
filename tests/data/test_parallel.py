"""Translations as files hold them."""

import gzip
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.check import check_examples
from headstart.data.clean import write_cleaned
from headstart.data.parallel import is_language, language_pair
from headstart.data.read import read_examples
from headstart.data.table import Format, open_table
from headstart.errors import DataError

TMX = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="en"/><body>{units}</body></tmx>"""


def unit(**sides):
    return "<tu>" + "".join(f'<tuv xml:lang="{code}"><seg>{text}</seg></tuv>' for code, text in sides.items()) + "</tu>"


def read(path, **columns):
    examples = read_examples(path, **columns).examples
    return examples.text_column, examples.label_column, list(zip(examples.texts, examples.labels, strict=True))


def test_two_languages_of_a_table_are_source_and_translation_in_its_order(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,de,en\n1,Hallo,Hello\n2,Ja,Yes\n")  # "id" is Indonesian too
    assert read(path) == ("de", "en", [("Hallo", "Hello"), ("Ja", "Yes")])
    assert read(path, text="en") == ("en", "de", [("Hello", "Hallo"), ("Yes", "Ja")])
    assert read(path, label="de")[:2] == ("en", "de")
    path.write_text("fr,de,en\nOui,Ja,Yes\nNon,Nein,No\n")
    with pytest.raises(DataError):
        read(path)
    assert read(path, text="de", label="en")[2] == [("Ja", "Yes"), ("Nein", "No")]


def test_records_with_a_translation_have_a_column_for_each_language(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"id": str(i), "translation": {"en": f"x {i}", "fr": f"y {i}"}}) for i in range(3)))
    with open_table(path) as table:
        assert table.columns == ("id", "en", "fr")
    assert read(path, text="en", label="fr")[2] == [("x 0", "y 0"), ("x 1", "y 1"), ("x 2", "y 2")]


def test_a_parquet_column_that_holds_translations_is_a_column_for_each_language(tmp_path):
    path = tmp_path / "a.parquet"
    sides = pa.array([{"en": "x 0", "fr": "y 0"}, None, {"en": "x 2", "fr": None}, {"en": "x 0", "fr": "y 0"}])
    pq.write_table(pa.table({"translation": sides, "id": [1, 2, 3, 4]}), path)
    with open_table(path) as table:
        assert (table.columns, dict(table.kinds)) == (("id", "en", "fr"), {"id": "int64"})
        assert list(table.records())[1:3] == [(2, {"id": 2, "en": None, "fr": None}), (3, {"id": 3, "en": "x 2", "fr": None})]
    assert read(path) == ("en", "fr", [("x 0", "y 0"), ("", ""), ("x 2", ""), ("x 0", "y 0")])
    examples = read_examples(path, text="en", label="fr").examples
    write_cleaned(examples, check_examples(examples))
    assert pq.read_table(tmp_path / "a.cleaned.parquet").to_pylist() == [{"id": 1, "en": "x 0", "fr": "y 0"}]


@pytest.mark.parametrize("names", [("a.en", "a.de"), ("a.en.gz", "a.de"), ("one.txt", "two.txt")])
def test_line_n_of_one_file_is_the_translation_of_line_n_of_the_other(tmp_path, names):
    first, second = (tmp_path / name for name in names)
    # What other programs take for the end of a line stands within one here.
    for file, text in ((first, "One\u2028more.\n\nThree\n"), (second, "Eins.\r\nZwei\r\nDrei")):
        file.write_bytes(gzip.compress(text.encode()) if file.suffix == ".gz" else text.encode())
    columns = ("source", "target") if names[0] == "one.txt" else ("en", "de")
    assert read(f"{first},{second}") == (*columns, [("One\u2028more.", "Eins."), ("", "Zwei"), ("Three", "Drei")])


def test_files_of_different_lengths_are_refused(tmp_path):
    first, second = tmp_path / "a.en", tmp_path / "a.de"
    first.write_text("1\n2\n3\n")
    second.write_text("1\n2\n")
    with pytest.raises(DataError) as error:
        read(f"{first},{second}")
    assert str(error.value) == (
        f"{str(first)!r} has 3 lines and {str(second)!r} 2; line n of one must be the translation of line n of the other."
    )


@pytest.mark.parametrize("absent", ["a.en", "b.de"])
def test_of_two_files_the_one_that_is_not_there_is_named(tmp_path, absent):
    for name in {"a.en", "b.de"} - {absent}:
        (tmp_path / name).write_text("1\n")
    both = f"{tmp_path / 'a.en'},{tmp_path / 'b.de'}"
    with pytest.raises(DataError) as error:
        read(both)
    assert str(error.value) == f"There is no file {str(tmp_path / absent)!r}, one of the two in {both!r}. Check the path."


def test_tmx_gives_a_column_for_each_language(tmp_path):
    path = tmp_path / "memory.tmx"
    units = [unit(en="Hello <ph>%s</ph><hi>you</hi> &amp; me", **{"pt-BR": "Olá"}), unit(en="No <bpt i='1'>x</bpt>", **{"pt-BR": ""})]
    path.write_text(TMX.format(units="".join(units)), encoding="utf-8")
    assert read(path) == ("en", "pt-BR", [("Hello you & me", "Olá"), ("No", "")])
    path.write_bytes(TMX.format(units="".join(units)).replace("UTF-8", "UTF-16").encode("utf-16"))
    assert read(path)[2][0] == ("Hello you & me", "Olá")


def test_the_case_of_a_language_means_nothing_in_tmx(tmp_path):
    path = tmp_path / "memory.tmx"
    units = [
        unit(**{"en-US": "One", "de-DE": "Eins"}),
        unit(**{"EN-US": "Two", "DE-DE": "Zwei"}),
        unit(**{"de-de": "Drei", "en-us": "Three"}),
    ]
    path.write_text(TMX.format(units="".join(units)), encoding="utf-8")
    assert read(path) == ("en-US", "de-DE", [("One", "Eins"), ("Two", "Zwei"), ("Three", "Drei")])


def test_entities_that_only_the_declaration_of_tmx_tells_are_those_of_html(tmp_path):
    path = tmp_path / "memory.tmx"
    path.write_text(TMX.format(units=unit(en="10&nbsp;&euro; &none;", de="<ph>&nbsp;</ph>ja")), encoding="utf-8")
    assert read(path)[2] == [("10\xa0\u20ac &none;", "ja")]


def test_tmx_of_many_units_is_read_whole(tmp_path):
    path = tmp_path / "memory.tmx"
    path.write_text(TMX.format(units="".join(unit(en=f"text {i}", de=f"Text {i}") for i in range(5000))), encoding="utf-8")
    assert read(path)[2] == [(f"text {i}", f"Text {i}") for i in range(5000)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TMX.format(units="<tu><tuv"), "{path!r} is damaged XML at line 3 (not well-formed (invalid token)); export it again as TMX."),
        (TMX.format(units=""), "{path!r} holds no unit of translation (<tu>); export it again as TMX."),
        (
            TMX.format(units="<tu><tuv><seg>yes</seg></tuv></tu>"),
            "{path!r} says of no text in which language it is (<tuv xml:lang=...>); export it again as TMX.",
        ),
        (
            '<!DOCTYPE tmx [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><tmx><body/></tmx>',
            "{path!r} declares entities of its own, which can blow up beyond all memory; save it again without them.",
        ),
    ],
)
def test_bad_tmx_is_refused(tmp_path, content, message):
    path = tmp_path / "memory.tmx"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == message.format(path=str(path))


@pytest.mark.parametrize(
    ("encoding", "why"), [("Shift_JIS", "multi-byte encodings are not supported"), ("x-none-such", "unknown encoding: x-none-such")]
)
def test_tmx_in_an_encoding_that_cannot_be_read_is_refused(tmp_path, encoding, why):
    path = tmp_path / "memory.tmx"
    path.write_text(TMX.format(units=unit(en="yes", ja="hai")).replace("UTF-8", encoding), encoding="utf-8")
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == f"{str(path)!r} is in an encoding that cannot be read here ({why}); save it again as UTF-8."


def test_half_a_packed_tmx_is_refused(tmp_path):
    rng = random.Random(0)
    units = (unit(en=f"text {rng.getrandbits(99)}", de=f"Text {rng.getrandbits(99)}") for _ in range(5000))
    packed = gzip.compress(TMX.format(units="".join(units)).encode())
    path = tmp_path / "memory.tmx.gz"
    path.write_bytes(packed[: len(packed) * 3 // 4])
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == f"{str(path)!r} is a damaged or half-copied gzip file; copy or compress it again."


NAMES = ["en", "de", "pt-BR", "zh_Hant", "id", "text", "label", "source", "target", "nr"]


@given(st.lists(st.sampled_from(NAMES), unique=True, max_size=6))
def test_no_pair_is_guessed_where_three_could_be_meant(columns):
    found = language_pair(columns, None, None)
    languages = [column for column in columns if is_language(column) and (column != "id" or len(columns) == 2)]
    if len(languages) == 2:
        assert found == tuple(languages)
    else:
        assert found == (("source", "target") if {"source", "target"} <= set(columns) else None)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        *(
            (name, True)
            for name in ("de", "DE", "pt-BR", "pt-br", "EN-US", "zh-Hant", "es-419", "zh_Hant", "zh_TW", "zh-Hans-CN", "sr-Latn-RS")
        ),
        *((name, False) for name in ("den", "xx", "is_spam", "is_toxic", "no_likes", "id_str", "so_tag", "se_score", "no_id", "EN_US")),
        *((name, False) for name in ("en-", "en-12", "en-1234", "zh-hans", "is-spam", "en_")),
    ],
)
def test_codes_of_languages(name, is_one):
    assert is_language(name) is is_one


def test_of_two_columns_id_is_indonesian(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("en,id\nHello,Halo\n")
    assert read(path) == ("en", "id", [("Hello", "Halo")])
    assert language_pair(["id", "ts", "text"], None, None) is None


def test_encodings_of_two_files_are_told_under_their_names_and_rows(tmp_path):
    first, second = tmp_path / "a.en", tmp_path / "a.ru"
    first.write_bytes(b"one\nwhere?\n" + "caf\u00e9s\n".encode() + "\u201cyes\n".encode("cp1252"))
    second.write_bytes("Где моя карта?\nЯ не могу её найти\nуже два дня\nда, конечно\n".encode("cp1251"))
    result = read_examples(f"{first},{second}")
    assert (result.examples.texts[3], result.examples.labels[2]) == ("\u201cyes", "уже два дня")
    assert [(found.message, found.rows) for found in result.findings] == [
        (f"1 row of '{first}' holds bytes that are not UTF-8; they were read as Windows-1252.", (4,)),
        (f"'{second}' is not UTF-8; it was read as cp1251.", ()),
    ]


@pytest.mark.parametrize("name", ["new.en", "new.pt-BR", "new.zh_Hant"])
def test_one_side_alone_is_a_text_on_each_line(tmp_path, name):
    (tmp_path / name).write_text("A dog, a cat.\nTwo men.\n\nA bird.\n")
    with open_table(tmp_path / name) as table:
        assert (table.format, table.columns) == (Format.TEXT, ("text",))
        assert list(table.records()) == [
            (1, {"text": "A dog, a cat."}),
            (2, {"text": "Two men."}),
            (3, {"text": ""}),
            (4, {"text": "A bird."}),
        ]
