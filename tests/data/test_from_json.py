"""JSON that is read entry by entry says the same as JSON that is read whole, however it is cut."""

import io
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.from_json import json_records
from headstart.data.lines import Notes, text_pieces
from headstart.data.table import open_table
from headstart.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def cut(text: str, places: list[int]) -> list[str]:
    """The text in pieces that end at these places."""
    ends = sorted({place % (len(text) + 1) for place in places})
    return [text[begin:end] for begin, end in zip([0, *ends], [*ends, len(text)], strict=True)]


def read(pieces: list[str]) -> list[tuple[int, object]]:
    return list(json_records(iter(pieces), Notes("'a.json'")))


@given(st.lists(VALUES, max_size=5), st.lists(st.integers(0, 10_000), max_size=6), st.sampled_from([None, 1]))
def test_a_list_is_the_same_however_it_is_cut(values, places, indent):
    values.append({"text": "a"})
    values = [value for value in values if not (isinstance(value, dict) and "paragraphs" in value)]
    pieces = cut(json.dumps(values, indent=indent, ensure_ascii=False), places)
    assert read(pieces) == [(row, value) for row, value in enumerate(values, start=1) if isinstance(value, dict)]


@given(
    st.lists(VALUES, min_size=1, max_size=3),
    st.integers(0, 10_000),
    st.sampled_from(']}[{,":x \n'),
    st.lists(st.integers(0, 10_000), max_size=4),
)
def test_what_is_wrong_is_told_at_the_place_where_a_reader_of_the_whole_finds_it(values, at, sign, places):
    text = json.dumps([{"text": "a"}, *values], indent=1, ensure_ascii=False)
    at = 1 + at % (len(text) - 1)
    text = text[:at] + sign + text[at + 1 :]
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg.startswith("Illegal trailing comma"):  # Python 3.13 and later call it so
            return
        with pytest.raises(DataError) as told:
            read(cut(text, places))
        assert str(told.value) == f"'a.json' is not JSON ({error}); repair it, or name it by the format it is in."


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), st.booleans())
def test_pieces_are_the_text(text, mark):
    content = (b"\xef\xbb\xbf" if mark else b"") + text.replace("\ufeff", "").encode()
    notes = Notes("'a.json'")
    assert "".join(text_pieces(content, io.BytesIO(content), notes)) == text.replace("\ufeff", "")


@pytest.mark.slow
@pytest.mark.parametrize("by_line", [False, True])
def test_a_long_list_is_read_in_constant_memory(tmp_path, by_line):
    file = tmp_path / "long.json"
    rows = [{"text": f"text number {n}", "label": "a"} for n in range(120_000)]
    file.write_text("\n".join(map(json.dumps, rows)) if by_line else json.dumps(rows))
    del rows
    tracemalloc.start()
    with open_table(file) as table:
        count = sum(1 for _ in table.records())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 120_000
    assert file.stat().st_size > 5_000_000
    assert peak < 12_000_000  # 60 megabytes when it is read whole


def test_a_number_that_python_does_not_read_is_told_with_its_place(tmp_path):
    (tmp_path / "a.json").write_text('[{"text": "a", "label": ' + "1" * 5000 + "}]")
    with pytest.raises(DataError) as told, open_table(tmp_path / "a.json") as table:
        list(table.records())
    assert str(told.value).startswith(f"{str(tmp_path / 'a.json')!r} is not JSON (Exceeds the limit (4300")
    assert str(told.value).endswith("repair it, or name it by the format it is in.")


def test_half_characters_are_told_by_their_row_and_foreign_bytes_by_the_file(tmp_path):
    rows = [{"text": f"a {i}", "label": "b"} for i in range(6)]
    text = json.dumps(rows).replace("a 3", "a \\ud83d")
    (tmp_path / "a.json").write_text(text)
    with open_table(tmp_path / "a.json") as table:
        list(table.records())
        assert [finding.rows for finding in table.findings] == [(4,)]
    content = json.dumps([{"text": f"caf\u00e9 {i}"} for i in range(6)], indent=0, ensure_ascii=False).encode()
    (tmp_path / "b.json").write_bytes(content.replace("caf\u00e9 3".encode(), b"caf\xe9 3"))
    with open_table(tmp_path / "b.json") as table:
        assert [record["text"] for _, record in table.records()] == [f"caf\u00e9 {i}" for i in range(6)]
        [finding] = table.findings
    assert (finding.message, finding.rows) == (
        f"{str(tmp_path / 'b.json')!r} holds bytes that are not UTF-8; they were read as Windows-1252.",
        (),
    )
