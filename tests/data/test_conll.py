import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.conll import conll_records
from headstart.data.lines import Notes
from headstart.data.read import read_examples
from headstart.data.table import Format, format_of, open_table
from headstart.errors import DataError

# Line 1 is the first; the sentences begin on lines 1 and 5.
PLAIN = "Marie B-PER\nCurie I-PER\nslept O\n\nWarsaw B-LOC\n"
SENTENCES = [(1, ["Marie", "Curie", "slept"], ["B-PER", "I-PER", "O"]), (5, ["Warsaw"], ["B-LOC"])]


def sentences(content):
    notes = Notes("'x.conll'")
    found = [(row, record["tokens"], record["tags"]) for row, record in conll_records(content.splitlines(keepends=True), notes)]
    assert all(list(record) == ["tokens", "tags"] for _, record in conll_records(content.splitlines(), Notes("'x.conll'")))
    return found, notes.findings()


def put(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def rows_of(path):
    examples = read_examples(path).examples
    cells = zip(examples.rows, examples.texts, examples.labels, strict=True)
    return [(row, json.loads(text), json.loads(label)) for row, text, label in cells]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        PLAIN.replace(" ", "\t"),
        PLAIN.replace(" ", "   "),
        PLAIN.replace(" ", " NN _ "),
        PLAIN.replace(" ", "\tNN\t\t"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(" ", "\t").replace("\n", "\r\n"),
        PLAIN.rstrip("\n"),
        PLAIN + "\n\n  \n\t\n",
        PLAIN.replace("\n\n", "\n \t \n"),
        PLAIN.replace("\n\n", "\n-DOCSTART- -X- O O\n"),
        PLAIN.replace("\n\n", "\n-DOCSTART-\n"),
        PLAIN.replace("\n\n", "\n-DOCSTART-\tO\n").replace(" ", "\t"),
        PLAIN.replace(" ", "\t").replace("\n\n", "\n# sent_id = 2\n"),
    ],
)
def test_every_written_form_gives_the_same_sentences(content):
    assert sentences(content) == (SENTENCES, ())


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("columns", ["{}\t{}\t{}", "{} {} {}", "{}\t{}\tNN\t{}"])
def test_a_column_that_numbers_the_words_is_passed_over(first, columns):
    numbered = [columns.format(first + i, *line.split()) for i, line in enumerate(PLAIN.splitlines()[:3])]
    alone = columns.format(first, "Warsaw", "B-LOC")
    content = "\n".join([*numbered, "", alone, ""])
    assert sentences(content) == (SENTENCES, ())
    # A sentence of one word goes as those of several do, also before them.
    turned = "\n".join([alone, "", *numbered, ""])
    assert sentences(turned) == ([(1, *SENTENCES[1][1:]), (3, *SENTENCES[0][1:])], ())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1 O\n2 O\n", ["1", "2"]),  # these are the words
        ("1 CD O\n", ["1"]),
        ("1 CD O\n3 CD O\n", ["1", "3"]),
        ("1998 CD O\n1999 CD O\n", ["1998", "1999"]),
        ("Marie NN B-PER\n1 CD O\n", ["Marie", "1"]),
    ],
)
def test_numbers_that_are_words_stay(content, words):
    [(_, found, _)] = sentences(content)[0]
    assert found == words


def test_words_without_tags_may_be_numbered_too():
    found = [record for _, record in conll_records(["1\tMarie", "2\tslept", "", "1\tOslo"], Notes("'x.conll'"), tagged=False)]
    assert found == [{"tokens": ["Marie", "slept"]}, {"tokens": ["Oslo"]}]


def test_rows_are_numbered_by_the_line_of_their_first_word():
    found, findings = sentences("-DOCSTART- -X- O O\n\n\nMarie B-PER\n\n\n\nCurie B-PER\nslept O\n-DOCSTART- -X- O O\n\nWarsaw B-LOC")
    assert [row for row, _, _ in found] == [4, 8, 12]
    assert findings == ()


@pytest.mark.parametrize("space", [" ", "\t"])
@pytest.mark.parametrize("comment", ["# sent_id = 7", "# id 4b1c-22 domain=en", "# newdoc", "# text = Marie Curie slept."])
def test_comments_are_passed_over(space, comment):
    first, second = PLAIN.replace(" ", space).split("\n\n")
    found, findings = sentences(f"{comment}\n# global.columns = FORM TAG\n{first}\n\n{comment}\n{second}")
    assert found == [(row + shift, words, tags) for (row, words, tags), shift in zip(SENTENCES, (2, 3), strict=True)]
    assert findings == ()


def test_where_words_have_tabs_a_line_of_a_hash_without_one_is_a_comment_whatever_its_end():
    found, _ = sentences("Marie\tB-PER\n\n# text = group O\nCurie\tB-PER\n# about B-LOC\nWarsaw\tB-LOC\n")
    assert found == [(1, ["Marie"], ["B-PER"]), (4, ["Curie"], ["B-PER"]), (6, ["Warsaw"], ["B-LOC"])]


@pytest.mark.parametrize("space", [" ", "\t"])
def test_a_hash_with_a_tag_is_a_word(space):
    content = "# NN O\n1 CD O\n\nflat NN O\n# NN ADDRESS\n5 CD ADDRESS\n\n#tag NN TOPIC\n".replace(" ", space)
    found, findings = sentences(content)
    assert found == [(1, ["#", "1"], ["O", "O"]), (4, ["flat", "#", "5"], ["O", "ADDRESS", "ADDRESS"]), (8, ["#tag"], ["TOPIC"])]
    assert findings == ()


@pytest.mark.parametrize("bad", ["slept", "slept\t", "\tO", "#"])
def test_a_line_without_word_and_tag_leaves_its_sentence_out_and_is_numbered(bad):
    found, (noticed,) = sentences(f"Marie\tB-PER\n\nCurie\tB-PER\n{bad}\nnow\tO\n{bad}\n\nWarsaw\tB-LOC\n")
    assert found == [(1, ["Marie"], ["B-PER"]), (8, ["Warsaw"], ["B-LOC"])]
    assert (noticed.kind, noticed.severity.value, noticed.message, noticed.rows, noticed.count, noticed.remedy) == (
        "bad rows",
        "warning",
        "1 row of 'x.conll' had no word and tag on a line and was left out.",
        (4,),
        1,
        "Repair or delete it in the file.",
    )


def test_bad_lines_of_several_sentences_count_once_for_each():
    found, (noticed,) = sentences("one\ntwo\n\nthree O\n\nfour O\nfive\n")
    assert found == [(4, ["three"], ["O"])]
    assert (noticed.message, noticed.rows) == ("2 rows of 'x.conll' had no word and tag on a line and were left out.", (1, 7))


WORDS = st.text(st.characters(blacklist_categories=["Z", "C"]), min_size=1, max_size=5).filter(lambda word: word != "#")


@given(
    rows=st.lists(st.lists(st.tuples(WORDS, st.sampled_from(["O", "B-LOC", "I-LOC", "PER"])), min_size=1, max_size=5), max_size=5),
    tab=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_what_is_written_is_read(rows, tab):
    lines = [f"{word}{chr(9) if tab else ' '}{tag}\n" for row in rows for word, tag in [*row, ("", "")]]
    lines = [line if line.strip() else "\n" for line in lines]
    notes = Notes("'x.conll'")
    found = [list(zip(record["tokens"], record["tags"], strict=True)) for _, record in conll_records(lines, notes)]
    assert found == rows and notes.findings() == ()


# --- as a table ---


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.conll", PLAIN.encode()),
        ("a.CONLL", PLAIN.encode()),
        ("a.bio", PLAIN.encode()),
        ("a.iob2", PLAIN.encode()),
        ("tab.conll", PLAIN.replace(" ", "\t").encode()),
        ("windows.conll", PLAIN.replace("\n", "\r\n").encode()),
        ("mac.conll", PLAIN.replace("\n", "\r").encode()),
        ("mark.conll", PLAIN.encode("utf-8-sig")),
        ("blank.conll", (PLAIN + "\n\n").encode()),
        ("a.conll.gz", gzip.compress(PLAIN.encode(), mtime=0)),
    ],
)
def test_a_file_of_columns_is_read_whatever_its_bytes(tmp_path, name, content):
    path = put(tmp_path, name, content)
    assert rows_of(path) == SENTENCES
    read = read_examples(path)
    assert (read.examples.text_column, read.examples.label_column, read.findings) == ("tokens", "tags", ())


def test_blank_lines_at_the_beginning_are_counted(tmp_path):
    assert [row for row, _, _ in rows_of(put(tmp_path, "a.conll", "\n\n" + PLAIN))] == [3, 7]


def test_a_table_of_columns_gives_lists_in_batches(tmp_path):
    with open_table(put(tmp_path, "a.conll", "".join(f"word{i}\tO\n\n" for i in range(25)))) as table:
        assert (table.format, table.columns) == (Format.CONLL, ("tokens", "tags"))
        batches = list(table.batches(10))
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert batches[2].rows[0] == 41 and batches[2].cells["tokens"][0] == ["word20"]
    assert batches[2].texts("tags")[0] == '["O"]'


@pytest.mark.parametrize("name", ["a.conll", "a.bio", "a.bio2", "a.iob", "a.iob2", "a.bioes", "a.conll.gz", "train.BIO.GZ"])
def test_names_of_columns_files_are_known(tmp_path, name):
    assert format_of(tmp_path / name) is Format.CONLL


def test_findings_of_a_file_name_it(tmp_path):
    path = put(tmp_path, "a.conll", "Où\tO\n\nZoë\tB-PER\n\nalone\n".encode().replace("Zoë".encode(), "Zoë".encode("cp1252")))
    read = read_examples(path)
    assert [json.loads(text) for text in read.examples.texts] == [["Où"], ["Zoë"]]
    assert [(found.message, found.rows) for found in read.findings] == [
        (f"1 row of '{path}' had no word and tag on a line and was left out.", (5,)),
        (f"1 row of '{path}' holds bytes that are not UTF-8; they were read as Windows-1252.", (3,)),
    ]


def test_a_file_of_words_alone_is_refused(tmp_path):
    path = put(tmp_path, "a.conll", "Marie\nCurie\n\nslept\n")
    with pytest.raises(DataError) as refused:
        read_examples(path)
    assert str(refused.value) == f"No row of '{path}' can be used: 2 rows of '{path}' had no word and tag on a line and were left out."


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_file_is_refused(tmp_path, content):
    path = put(tmp_path, "a.conll", content)
    with pytest.raises(DataError) as refused:
        read_examples(path)
    assert str(refused.value) == f"'{path}' is empty; it must hold a header and rows."


def test_a_file_that_is_none_of_columns_is_refused(tmp_path):
    path = put(tmp_path, "a.conll", b"PAR1\0\0\0")
    with pytest.raises(DataError) as refused:
        read_examples(path)
    assert str(refused.value) == f"'{path}' is a Parquet file; rename it to end in .parquet."


def test_named_columns_are_taken(tmp_path):
    path = put(tmp_path, "a.conll", PLAIN)
    examples = read_examples(path, text="tags", label="tokens").examples
    assert json.loads(examples.texts[0]) == SENTENCES[0][2] and json.loads(examples.labels[0]) == SENTENCES[0][1]


def test_the_records_come_line_by_line():
    def endless():
        while True:
            yield "word O\n"
            yield "\n"

    records = conll_records(endless(), Notes("standard input"))
    assert [next(records)[0] for _ in range(3)] == [1, 3, 5]


def test_a_no_break_space_stands_within_a_word():
    assert sentences("10\u00a0000 NUM B-SUM\neuros  X I-SUM \n") == ([(1, ["10\u00a0000", "euros"], ["B-SUM", "I-SUM"])], ())
