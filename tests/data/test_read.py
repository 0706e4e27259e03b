import gzip
import io
import json
import sys
import types
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.data import lines
from headstart.data.columns import choose_text_column
from headstart.data.lines import Notes
from headstart.data.parse import delimited_rows
from headstart.data.read import read_examples
from headstart.data.table import Format, as_text, open_table
from headstart.errors import DataError, ResourceError

ROWS = [("where is my card", "card"), ("it has, not come", "card"), ('he said "hi"', "talk"), ("two\nlines", "talk"), ("où est-il", "card")]


def put(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def message(call, *arguments, **named) -> str:
    with pytest.raises(DataError) as error:
        call(*arguments, **named)
    return str(error.value)


def quoted(rows, delimiter=",") -> str:
    def field(value):
        return '"' + value.replace('"', '""') + '"'

    return "text" + delimiter + "label\n" + "".join(f"{field(text)}{delimiter}{label}\n" for text, label in rows)


WRITERS = {
    "a.csv": lambda: quoted(ROWS).encode(),
    "semicolon.csv": lambda: quoted(ROWS, ";").encode(),
    "windows.csv": lambda: quoted([(t.replace("\n", " "), label) for t, label in ROWS]).replace("\n", "\r\n").encode(),
    "tab.csv": lambda: quoted(ROWS, "\t").encode(),
    "a.tsv": lambda: quoted(ROWS, "\t").encode(),
    "bom.csv": lambda: quoted(ROWS).encode("utf-8-sig"),
    "wide.csv": lambda: quoted(ROWS).encode("utf-16"),
    "wide_no_mark.csv": lambda: quoted(ROWS).encode("utf-16-le"),
    "a.csv.gz": lambda: gzip.compress(quoted(ROWS).encode()),
    "a.json": lambda: json.dumps([{"text": t, "label": label} for t, label in ROWS]).encode(),
    "data.json": lambda: json.dumps({"data": [{"text": t, "label": label} for t, label in ROWS]}).encode(),
    "columns.json": lambda: json.dumps({"text": [t for t, _ in ROWS], "label": [label for _, label in ROWS]}).encode(),
    "pandas.json": lambda: json.dumps(
        {name: {str(i): row[k] for i, row in enumerate(ROWS)} for k, name in enumerate(("text", "label"))}
    ).encode(),
    "split.json": lambda: json.dumps({"columns": ["text", "label"], "index": [*range(len(ROWS))], "data": ROWS}).encode(),
    "index.json": lambda: json.dumps({str(i): {"text": t, "label": label} for i, (t, label) in enumerate(ROWS)}).encode(),
    "lines.json": lambda: "\n".join(json.dumps({"text": t, "label": label}) for t, label in ROWS).encode(),
    "a.jsonl": lambda: "\n".join(json.dumps({"text": t, "label": label}) for t, label in ROWS).encode(),
    "a.jsonl.gz": lambda: gzip.compress("\n".join(json.dumps({"text": t, "label": label}) for t, label in ROWS).encode()),
    "unknown.ending": lambda: quoted(ROWS).encode(),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_written_form_gives_the_same_rows(tmp_path, name):
    read = read_examples(put(tmp_path, name, WRITERS[name]()))
    flat = [(t.replace("\n", " "), label) for t, label in ROWS] if name == "windows.csv" else ROWS
    assert list(zip(read.examples.texts, read.examples.labels, strict=True)) == flat
    assert read.examples.rows == (1, 2, 3, 4, 5)
    assert [found.kind for found in read.findings] == (["encoding"] if name.startswith("wide") else [])


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ({"tokens": ["Marie", "slept"], "tags": ["B-PER", "O"]}, 1),  # one sentence
        ({"tokens": [["Marie", "slept"], ["so"]], "tags": [["B-PER", "O"], ["O"]]}, 2),
        ({"id": ["1", "2"], "Words": [["a", "b"], ["c"]]}, 2),
        ({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}, 1),  # one chat
        ({"translation": {"en": "yes", "de": "ja"}}, 1),
        ({"text": "a", "label": "b"}, 1),
        ({"text": ["a", "b"]}, 2),
        ({"text": {"0": "a", "2": "b"}}, 2),
        ({"text": {"x": "a", "y": "b"}, "label": {"x": "c", "y": "d"}}, 2),
        ({"text": {"x": "a", "y": "b"}, "label": {"x": "c"}}, 1),
        ({"version": "1", "data": [{"text": "a", "label": "b"}, {"text": "c", "label": "d"}]}, 2),
        ({"data": ["a", "b", "c"], "label": ["x", "y", "z"]}, 3),
    ],
)
def test_a_json_object_is_a_table_by_columns_or_one_row(tmp_path, content, rows):
    with open_table(put(tmp_path, "a.json", json.dumps(content))) as table:
        assert len(list(table.records())) == rows


def test_json_lines_named_json_hold_any_character_of_a_json_string(tmp_path):
    texts = ("one\u2028two", "three\u0085four", "five\x7fsix", "seven\u2029")
    lines = [json.dumps({"text": text, "label": "x"}, ensure_ascii=False) for text in texts]
    for end in ("\n", "\r\n"):
        read = read_examples(put(tmp_path, "a.json", end.join(lines)))
        assert (read.examples.texts, read.examples.rows, read.findings) == (texts, (1, 2, 3, 4), ())
        with open_table(tmp_path / "a.json") as table:  # which is read line by line
            assert table.format is Format.JSONL


@pytest.mark.parametrize("first", ["[Scene 1] A heath", "{curly} braces", "[1]", '["yes", she said]', "[[a link]]", "{{a box}}"])
def test_plain_text_may_begin_with_a_bracket(tmp_path, first):
    with open_table(put(tmp_path, "a.txt", f"{first}\nEnter three witches\n")) as table:
        assert (table.format, table.columns) == (Format.TEXT, ("text",))
        assert [record["text"] for _, record in table.records()] == [first, "Enter three witches"]


@pytest.mark.parametrize(
    "content",
    [
        '{"text": "a", "label": "b"}',
        '[{"text": "a", "label": "b"},\n {"text": "c", "label": "d"}]',
        '[\n {"text": "a", "label": "b"}]',
        '[ { "text": "a",\n "label": "b"}]',
        '[\n{\n"text": "a", "label": "b"}\n]',
    ],
)
def test_json_named_txt_is_a_table(tmp_path, content):
    examples = read_examples(put(tmp_path, "a.txt", content)).examples
    assert (examples.text_column, examples.label_column, examples.texts[0]) == ("text", "label", "a")


def test_dates_beyond_those_of_python_are_read_as_arrow_writes_them(tmp_path):
    path = tmp_path / "a.parquet"
    times = pa.array([300_000_000_000_000_000, None, 0], pa.timestamp("us"))
    pq.write_table(pa.table({"text": ["a", "b", "c"], "label": ["x", "y", "x"], "when": times, "n": [1, 2, 3]}), path)
    assert read_examples(path).examples.texts == ("a", "b", "c")
    with open_table(path) as table:
        records = [record for _, record in table.records()]
    assert [as_text(record["when"])[:10] for record in records] == ["11476-08-1", "", "1970-01-01"]
    assert [record["n"] for record in records] == [1, 2, 3]


def test_parquet_is_read_and_its_numbers_become_text(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a b", "c", None], "label": [3, 4, None]}), path)
    examples = read_examples(path).examples
    assert examples.texts == ("a b", "c", "")
    assert examples.labels == ("3", "4", "")


def test_a_folder_holds_one_class_per_sub_folder(tmp_path):
    for label, name, text in (("spam", "2.txt", "buy"), ("spam", "1.txt", "now"), ("ham", "x.txt", "hello")):
        (tmp_path / label).mkdir(exist_ok=True)
        put(tmp_path / label, name, text)
    examples = read_examples(tmp_path).examples
    assert list(zip(examples.texts, examples.labels, examples.rows, strict=True)) == [
        ("hello", "ham", 1),
        ("now", "spam", 2),
        ("buy", "spam", 3),
    ]


def test_encodings_of_files_in_a_folder_are_told_as_they_were_read(tmp_path):
    russian = "Где моя карта? Я не могу её найти уже два дня"
    contents = {
        "1.txt": "où".encode("utf-16"),  # a mark says so: nothing to tell
        "2.txt": russian.encode("cp1251"),
        "3.txt": b"ou\n" + "où\n".encode() * 3 + "“où”".encode("cp1252"),
        "4.txt": russian.encode("cp1251"),
        "5.txt": "où".encode("utf-8-sig"),
        "6.txt": "plain enough to be told".encode("utf-16-le"),
    }
    (tmp_path / "a").mkdir()
    for name, content in contents.items():
        put(tmp_path / "a", name, content)
    read = read_examples(tmp_path)
    assert read.examples.texts == ("où", russian, "ou\n" + "où\n" * 3 + "“où”", russian, "où", "plain enough to be told")
    assert [(found.message, found.rows) for found in read.findings] == [
        (f"1 row of '{tmp_path}' holds bytes that are not UTF-8; they were read as Windows-1252.", (3,)),
        (f"2 rows of '{tmp_path}' are not UTF-8; they were read as cp1251.", (2, 4)),
        (f"1 row of '{tmp_path}' is not UTF-8; it was read as utf-16-le.", (6,)),
    ]
    assert read.findings[1].remedy == "Look at these rows, then save their files as UTF-8."


@pytest.mark.parametrize("name", ["a.csv", "tab.csv", "a.jsonl", "a.json", "a.csv.gz"])
def test_standard_input_is_recognised_by_its_beginning(monkeypatch, name):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=Pipe(WRITERS[name]())))
    assert list(zip(*(lambda e: (e.texts, e.labels))(read_examples("-").examples), strict=True)) == ROWS


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (json.dumps({"text": {"0": "a", "1": "b"}, "label": {"0": "c", "1": "d"}}), [("a", "c"), ("b", "d")]),  # pandas' to_json
        (json.dumps({"text": ["a", "b"], "label": ["c", "d"]}, indent=1), [("a", "c"), ("b", "d")]),
        (json.dumps({"text": "a", "label": "c"}), [("a", "c")]),
        ("\n" + json.dumps({"text": "a", "label": "c"}) + "\n \n", [("a", "c")]),
        ('{"text": "a", "label": "c"}\n\n{"text": "b", "label": "d"}', [("a", "c"), ("b", "d")]),
        ('{"text": "a", "label": "c"}\nno JSON\n{"text": "b", "label": "d"}', [("a", "c"), ("b", "d")]),
        ("{\n" + json.dumps({"text": "a", "label": "c"})[1:], [("a", "c")]),
        ('{"data": [\n{"text": "a", "label": "c"}\n]}', [("a", "c")]),
        ('{"data": [\n{"text": "a", "label": "c"}\n,\n{"text": "b", "label": "d"}]}', [("a", "c"), ("b", "d")]),
        ('{"text": {"0": "a"}, "label":\n{"0": "c"}}', [("a", "c")]),
    ],
)
def test_one_json_object_without_a_name_is_no_json_lines(tmp_path, monkeypatch, content, told):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(content.encode())))
    for path in ("-", put(tmp_path, "a.data", content), put(tmp_path, "a.txt", content.lstrip())):
        examples = read_examples(path).examples
        assert list(zip(examples.texts, examples.labels, strict=True)) == told


@pytest.mark.parametrize(
    "first", ['{"text": "b", ', '{"text": "b', '{"text": "b", "label": }', '{"text": "b"]', '{"text": "b" "label": "c"}', "{"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_a_broken_first_line_of_json_lines_costs_one_row(tmp_path, monkeypatch, first, end):
    content = end.join([first, '{"text": "a", "label": "c"}', '{"text": "b", "label": "d"}'])
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(content.encode())))
    for path, name in (
        ("-", "standard input"),
        *((path, repr(path)) for path in (put(tmp_path, name, content) for name in ("a.data", "a.txt", "a.json"))),
    ):
        read = read_examples(path)
        assert (read.examples.texts, read.examples.labels) == (("a", "b"), ("c", "d"))
        assert [(found.message, found.rows) for found in read.findings] == [
            (f"1 row of {name} did not hold a JSON object and was left out.", (1,))
        ]


def test_json_lines_with_a_long_first_record_are_read_line_by_line(tmp_path, monkeypatch):
    row = json.dumps({"text": "a" * 1000, "label": "c"}).encode() + b"\n"
    content = b"\n" + row.replace(b"aa", b"a" * 2000) + b"\n" + row * 20_000
    stream = io.BytesIO(content)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=stream))
    for path in ("-", *(put(tmp_path, name, content) for name in ("a.json", "a.txt", "a.data"))):
        with open_table(path) as table:
            assert stream.tell() < 6_000_000  # of 20 million bytes: columns are those of the first 1,000 rows
            rows = [(row, len(record["text"])) for row, record in table.records()]
        assert (rows[:2], len(rows), rows[-1]) == ([(2, 1_000_000), (4, 1000)], 20_001, (20_003, 1000))
        stream.seek(0)


def test_questions_by_a_pipe_are_read(monkeypatch):
    asked = {"id": "1", "question": "Who slept?", "answers": [{"text": "Marie", "answer_start": 0}]}
    content = {"version": "1", "data": [{"title": "x", "paragraphs": [{"context": "Marie slept.", "qas": [asked]}]}]}
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(json.dumps(content).encode())))
    assert read_examples("-").examples.text_column == "question,context"


@pytest.mark.parametrize(
    ("name", "content", "delimiter"),
    [
        ("a.csv", "sep=;\ntext;label\nhello, you;a\n", ";"),
        ("a.csv", "\ufeffsep=;\r\ntext;label\r\nhello, you;a\r\n", ";"),
        ("a.csv", '"sep=\t"\ntext\tlabel\nhello, you\ta\n', "\t"),
        ("a.tsv", "SEP=~\rtext~label\rhello, you~a\r", "~"),
        ("a.data", "\nsep=|\ntext|label\nhello, you|a\n", "|"),
    ],
)
def test_the_delimiter_that_excel_says_above_the_header_is_taken(tmp_path, name, content, delimiter):
    with open_table(put(tmp_path, name, content)) as table:
        assert (table.columns, table.delimiter) == (("text", "label"), delimiter)
        assert list(table.records()) == [(1, {"text": "hello, you", "label": "a"})]


def test_a_table_streams_in_batches_with_every_column(tmp_path):
    path = put(tmp_path, "a.csv", "id,text\n" + "".join(f"{i},t{i}\n" for i in range(25)))
    with open_table(path) as table:
        assert table.columns == ("id", "text")
        batches = list(table.batches(10))
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert batches[2].rows == (21, 22, 23, 24, 25)
    assert batches[2].texts("text") == ["t20", "t21", "t22", "t23", "t24"]


def test_the_iterator_of_a_table_reads_no_more_than_it_needs(tmp_path):
    class Endless(io.RawIOBase):
        def read(self, size=-1):
            return b"text,label\n" + b"hello,a\n" * (size // 8 - 2)

    class Stdin:
        buffer = Endless()

    old, sys.stdin = sys.stdin, Stdin()
    try:
        assert len(next(open_table("-").batches(7))) == 7
    finally:
        sys.stdin = old


@pytest.mark.parametrize(("value", "text"), [(None, ""), (3, "3"), (2.5, "2.5"), (True, "true"), (["é"], '["é"]'), (float("nan"), "")])
def test_cells_become_text(value, text):
    assert as_text(value) == text


# --- columns ---


def test_named_columns_are_taken_in_a_file_of_many(tmp_path):
    path = put(tmp_path, "a.csv", "id,message,intent,text\n1,hello,greet,x\n")
    examples = read_examples(path, text="message", label="intent").examples
    assert (examples.texts, examples.labels, examples.text_column, examples.label_column) == (("hello",), ("greet",), "message", "intent")


def test_of_two_columns_the_varied_and_longer_one_is_the_text(tmp_path):
    path = put(tmp_path, "a.csv", "kind,message\ngreet,hello there\ngreet,good morning\nask,where is it\nask,what is it\n")
    assert read_examples(path).examples.text_column == "message"


def test_two_columns_that_could_both_be_the_text_are_not_guessed(tmp_path):
    path = put(tmp_path, "a.csv", "a,b\nx,hello\ny,hallo\n")
    assert message(read_examples, path) == (
        f"'{path}' has no column that is plainly the text or label; name it with --text and --label. Its columns: 'a', 'b'."
    )


@pytest.mark.parametrize("header", ["id,label", "id,kind", "label,id"])
def test_numbers_are_not_taken_for_the_text(tmp_path, header):
    first = header.startswith("id")
    rows = "".join(f"{10_000 + n},{n % 2}\n" if first else f"{n % 2},{10_000 + n}\n" for n in range(8))
    path = put(tmp_path, "a.csv", f"{header}\n{rows}")
    what, option = ("text", "--text") if "label" in header else ("text or label", "--text and --label")
    assert message(read_examples, path) == (
        f"'{path}' has no column that is plainly the {what}; name it with {option}. Its columns: {str(header.split(','))[1:-1]}."
    )
    assert read_examples(path, text="id", label=header.replace("id", "").strip(",")).examples.texts[0] == "10000"


def test_a_column_whose_name_only_contains_text_is_not_taken_for_it(tmp_path):
    path = put(tmp_path, "a.csv", "context,label,id\nx,y,1\n")
    assert message(read_examples, path) == (
        f"'{path}' has no column that is plainly the text; name it with --text. Its columns: 'context', 'label', 'id'."
    )


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ("id,tokens,ner_tags", ("tokens", "ner_tags")),
        ("id,words,tags", ("words", "tags")),
        ("id,tokens,pos_tags,chunk_tags,ner_tags", ("tokens", "ner_tags")),
        ("tokens,ner_tags,langs,spans", ("tokens", "ner_tags")),
        ("id,text,entities", ("text", "entities")),
        ("spans,tokens,text", ("text", "spans")),
        ("id,Tokens,NER_Tags", ("Tokens", "NER_Tags")),
        ("words,tokens,entities,tags", ("tokens", "tags")),
        ("tags,text,label", ("text", "label")),
        ("label,tags,tokens", ("tokens", "label")),
        ("tokens,tone", ("tokens", "tone")),
        ("tags,sentence", ("sentence", "tags")),
        ("ner_tags,label", ("ner_tags", "label")),
    ],
)
def test_columns_of_words_and_entities_are_known_by_their_usual_names(tmp_path, columns, chosen):
    path = put(tmp_path, "a.csv", f"{columns}\n{','.join('x' * (columns.count(',') + 1))}\n")
    examples = read_examples(path).examples
    assert (examples.text_column, examples.label_column) == chosen


@pytest.mark.parametrize(
    "columns",
    [
        "id,text,is_spam",
        "id,ts,text,label",
        "text,label,is_reply,is_deleted",
        "text,label,messages",
        "Text,LABEL,en,de",
        "premise,hypothesis,text,label",
        "prompt,completion,label,text",
        "label,text,source,target",
    ],
)
def test_columns_called_text_and_label_are_taken_before_all_others(tmp_path, columns):
    names = columns.split(",")
    path = put(tmp_path, "a.csv", f"{columns}\n{','.join('x' * len(names))}\n")
    text = next(name for name in names if name.lower() == "text")
    label = next((name for name in names if name.lower() == "label"), None)
    if label is None:
        assert message(read_examples, path) == (
            f"'{path}' has no column that is plainly the label; name it with --label. Its columns: {', '.join(map(repr, names))}."
        )
        return
    for named in ({}, {"text": text}, {"label": label}, {"text": text, "label": label}):
        examples = read_examples(path, **named).examples
        assert (examples.text_column, examples.label_column, examples.paired) == (text, label, False)


def test_other_columns_are_taken_beside_text_and_label_where_they_are_named(tmp_path):
    path = put(tmp_path, "a.csv", "text,label,text_pair,de,en\na,b,c,d,e\n")
    for named, chosen in (
        ({}, ("text,text_pair", "label")),  # `text` is the first of two
        ({"text": "text"}, ("text", "label")),
        ({"text": "de"}, ("de", "en")),
        ({"label": "de"}, ("text,text_pair", "de")),
    ):
        examples = read_examples(path, **named).examples
        assert (examples.text_column, examples.label_column) == chosen


def test_a_usual_name_is_not_taken_twice_and_gives_way_to_the_one_named(tmp_path):
    path = put(tmp_path, "a.csv", "id,tokens,words,tags,spans\n1,a,b,c,d\n")
    for named, chosen in (
        ({}, ("tokens", "tags")),
        ({"text": "words"}, ("words", "tags")),
        ({"label": "spans"}, ("tokens", "spans")),
        ({"label": "tokens"}, ("words", "tokens")),
        ({"text": "tags"}, ("tags", "spans")),
    ):
        examples = read_examples(path, **named).examples
        assert (examples.text_column, examples.label_column) == chosen


def test_two_columns_of_one_usual_name_in_other_cases_are_not_guessed(tmp_path):
    path = put(tmp_path, "a.csv", "Tokens,TOKENS,tags\na,b,c\n")
    assert message(read_examples, path) == (
        f"'{path}' has no column that is plainly the text; name it with --text. Its columns: 'Tokens', 'TOKENS', 'tags'."
    )


def test_a_table_without_labels_has_its_words_by_their_usual_name():
    assert choose_text_column(("id", "Words", "tags"), None, "'a.csv'") == "Words"
    assert choose_text_column(("words", "tokens", "id"), None, "'a.csv'") == "tokens"
    with pytest.raises(DataError) as error:
        choose_text_column(("id", "spans"), None, "'a.csv'")
    assert str(error.value) == ("'a.csv' has no column that is plainly the text; name it with --text. Its columns: 'id', 'spans'.")


def test_a_column_that_does_not_exist_is_refused_with_the_nearest(tmp_path):
    path = put(tmp_path, "a.csv", "message,intent\nhello,greet\n")
    assert message(read_examples, path, text="mesage") == (
        f"'{path}' has no column 'mesage' (--text). Did you mean 'message'? Its columns: 'message', 'intent'."
    )


def test_a_file_with_one_column_is_refused(tmp_path):
    path = put(tmp_path, "a.csv", "message\nhello\n")
    assert message(read_examples, path) == f"'{path}' has only the column 'message'; it must hold a text and a label."


def test_one_column_for_both_is_refused(tmp_path):
    path = put(tmp_path, "a.csv", "a,b\nx,y\n")
    assert message(read_examples, path, text="a", label="a") == (
        f"--text and --label both name the column 'a' of '{path}'; the label must stand in another one."
    )


def test_two_columns_of_one_name_are_refused(tmp_path):
    path = put(tmp_path, "a.csv", "text,label,text\nx,y,z\n")
    assert message(read_examples, path) == f"'{path}' has two columns named 'text'; rename one of them in the header."


# --- files that cannot be read ---


def test_a_file_that_does_not_exist_is_refused_with_the_nearest(tmp_path):
    put(tmp_path, "tickets.csv", "text,label\n")
    path = str(tmp_path / "tickts.csv")
    assert message(read_examples, path) == f"There is no file '{path}'. Did you mean 'tickets.csv'?"


def test_a_file_that_does_not_exist_and_resembles_none_is_refused(tmp_path):
    path = str(tmp_path / "tickets.csv")
    assert message(read_examples, path) == f"There is no file '{path}'. Check the path."


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.jsonl"])
def test_an_empty_file_is_refused(tmp_path, name):
    path = put(tmp_path, name, " \n")
    assert message(read_examples, path) == f"'{path}' is empty; it must hold a header and rows."


def test_a_header_without_rows_is_refused(tmp_path):
    path = put(tmp_path, "a.csv", "text,label\n")
    assert message(read_examples, path) == f"'{path}' has a header and no rows; add labelled texts."


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.parquet", b"text,label\nx,y\n", "'{}' is not a Parquet file; name it by the format it is in."),
        ("a.csv", b"PAR1\0\0\0", "'{}' is a Parquet file; rename it to end in .parquet."),
        ("a.csv", b"PK\x03\x04rest", "'{}' is a zip archive or an Excel workbook; save the sheet as CSV."),
        ("a.csv", b'{"text": "x", "label": "y"}\n', "'{}' holds JSON lines; rename it to end in .jsonl."),
        ("a.jsonl", b"text,label\nx,y\n", "'{}' is not JSON lines: no line holds a JSON object; name it by the format it is in."),
        (
            "a.json",
            b"text,label\n",
            "'{}' is not JSON (Expecting value: line 1 column 1 (char 0)); repair it, or name it by the format it is in.",
        ),
        ("a.json", b'"hello"', '\'{}\' holds no list of objects; it must look like [{{"text": ..., "label": ...}}, ...].'),
        ("a.json", b'["a", "b"]', '\'{}\' holds no list of objects; it must look like [{{"text": ..., "label": ...}}, ...].'),
        ("a.csv.gz", b"text,label\n", "'{}' is named .gz but is not a gzip file; rename it, or compress it again."),
        (
            "a.csv.gz",
            gzip.compress(b"text,label\n" * 99, mtime=0)[:-12],
            "'{}' is a damaged or half-copied gzip file; copy or compress it again.",
        ),
    ],
)
def test_a_file_in_another_format_than_its_name_says_is_refused(tmp_path, name, content, expected):
    path = put(tmp_path, name, content)
    assert message(read_examples, path) == expected.format(path)


def test_a_folder_without_classes_is_refused(tmp_path):
    assert message(read_examples, tmp_path) == (
        f"The folder '{tmp_path}' holds no class; it must hold one sub-folder of .txt files per class."
    )


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    path = put(tmp_path, "a.csv", "text,label\nx,y\n")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ResourceError) as error:
        read_examples(path)
    assert str(error.value) == f"No permission to read '{path}'; give yourself the right to read it, or copy it to where you have it."


def test_a_hub_data_set_without_the_package_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert message(read_examples, "hub:someone/something") == (
        "Reading 'hub:someone/something' needs the package datasets; install it with `pip install headstart[hub]`."
    )


def fake_datasets(monkeypatch, load):
    class ClassLabel:
        names = ("neg", "pos")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load, ClassLabel=ClassLabel))
    return ClassLabel


def test_a_hub_data_set_gives_class_names(monkeypatch):
    class Data(list):
        features: dict

    data = Data([{"text": "good", "label": 1}, {"text": "bad", "label": 0}, {"text": "what", "label": -1}])
    asked = []
    label = fake_datasets(monkeypatch, lambda name, split: asked.append((name, split)) or data)
    data.features = {"text": object(), "label": label()}
    assert read_examples("hub:someone/something:test").examples.labels == ("pos", "neg", "")
    assert asked == [("someone/something", "test")]


def test_class_numbers_in_lists_of_a_hub_data_set_become_names(monkeypatch):
    class Data(list):
        features: dict

    class List:
        def __init__(self, feature):
            self.feature = feature

    data = Data(
        [{"text": "good", "label": [1, 0], "tags": [[0], []], "codes": [3]}, {"text": "what", "label": [-1], "tags": None, "codes": []}]
    )
    label = fake_datasets(monkeypatch, lambda name, split: data)
    data.features = {"text": object(), "label": List(label()), "tags": [List(label())], "codes": List(object())}
    with open_table("hub:someone/something") as table:
        assert list(table.records()) == [
            (1, {"text": "good", "label": ["pos", "neg"], "tags": [["neg"], []], "codes": [3]}),
            (2, {"text": "what", "label": [None], "tags": None, "codes": []}),
        ]


def test_a_hub_data_set_that_cannot_be_had_offline_says_so(monkeypatch):
    def refuse(name, split):
        raise ConnectionError("no route.\nmore")

    fake_datasets(monkeypatch, refuse)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert message(read_examples, "hub:x") == (
        "The split 'train' of the hub data set 'x' cannot be had (no route); "
        "HF_HUB_OFFLINE is set, so only what was fetched before can be read."
    )


# --- faults inside files ---


def test_bad_rows_of_a_large_file_are_left_out_and_numbered(tmp_path):
    lines = [f"message {i},l{i % 3}\n" for i in range(1, 10_001)]
    lines[4999] = "too,many,fields\n"
    lines[5999] = "too few\n"
    read = read_examples(put(tmp_path, "a.csv", "text,label\n" + "".join(lines)))
    assert len(read.examples) == 9_998
    assert read.examples.rows[4998:5000] == (4999, 5001)
    (found,) = read.findings
    assert (found.message, found.rows, found.count, found.remedy) == (
        f"2 rows of '{tmp_path}/a.csv' did not have the 2 fields of the header and were left out.",
        (5000, 6000),
        2,
        "Repair or delete them in the file.",
    )


def test_a_quote_that_is_never_closed_costs_one_row_at_most(tmp_path):
    lines = [f'"message, {i}",l{i % 3}\n' for i in range(1, 1001)]
    lines[499] = '"never closed, and, more,l1\n'
    read = read_examples(put(tmp_path, "a.csv", "text,label\n" + "".join(lines)))
    assert len(read.examples) == 999
    assert read.findings[0].rows == (500,)
    assert read.examples.texts[-1] == "message, 1000"


def test_a_quote_within_a_line_of_one_column_swallows_none_behind_it(tmp_path):
    texts = ['He said,"hi', "not a thing,", 'She said,"ho" and, so', " ", 'a"b', "a nul, here", "a, b"]
    lines = [text.replace("nul", "n\0ul") for text in texts[:-1]]
    with open_table(put(tmp_path, "a.csv", "text\n" + "\n".join([*lines, "", '"a, b"', ""]))) as table:
        assert list(table.records()) == [(row, {"text": text}) for row, text in zip((1, 2, 3, 4, 5, 6, 8), texts, strict=True)]
        assert [(found.kind, found.rows) for found in table.findings] == [("NUL bytes", (6,))]


def test_a_quote_that_is_never_closed_before_unquoted_rows_does_not_swallow_them(tmp_path):
    lines = [f"message {i},l{i % 3}\n" for i in range(1, 30_001)]
    lines[499] = '"never closed,l1\n'
    read = read_examples(put(tmp_path, "a.csv", "text,label\n" + "".join(lines)))
    assert len(read.examples) == 30_000
    assert read.examples.texts[499] == '"never closed'


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.data"])
def test_a_line_feed_within_a_cell_of_an_old_macs_table_is_no_end_of_a_row(tmp_path, name):
    read = read_examples(put(tmp_path, name, b'text,label\r"two\nlines",a\rhello,b\r'))
    assert (read.examples.texts, read.examples.labels, read.examples.rows) == (("two\nlines", "hello"), ("a", "b"), (1, 2))
    assert read.findings == ()


def test_a_carriage_return_within_the_first_line_of_plain_text_is_no_end_of_it(tmp_path):
    with open_table(put(tmp_path, "a.txt", b"one\r\rand more\ntwo\rof it\nthree\n")) as table:
        assert list(table.records()) == [(1, {"text": "one\r\rand more"}), (2, {"text": "two\rof it"}), (3, {"text": "three"})]
    with open_table(put(tmp_path, "b.txt", b"one\rtwo\rthree")) as table:  # of an old Mac
        assert list(table.records()) == [(1, {"text": "one"}), (2, {"text": "two"}), (3, {"text": "three"})]


def test_a_header_that_cannot_be_told_apart_is_refused():
    assert message(list, delimited_rows(iter(["text,label\rhello\n", "a,b\n"]), ",", Notes("'a.csv'"))) == (
        "The header of 'a.csv' cannot be read; write the names of its columns on one line, with ',' between."
    )


def test_bad_json_lines_are_left_out_and_numbered(tmp_path):
    content = '{"text": "a", "label": 1}\n{"text": "b", \n\n[1]\n{"text": "c", "label": 2.5}\n'
    read = read_examples(put(tmp_path, "a.jsonl", content))
    assert (read.examples.labels, read.examples.rows) == (("1", "2.5"), (1, 5))
    assert read.findings[0].message == f"2 rows of '{tmp_path}/a.jsonl' did not hold a JSON object and were left out."
    assert read.findings[0].rows == (2, 4)


def test_a_file_of_which_no_row_can_be_used_is_refused(tmp_path):
    path = put(tmp_path, "a.csv", "text,label\nx\ny\n")
    assert message(read_examples, path) == (
        f"No row of '{path}' can be used: 2 rows of '{path}' did not have the 2 fields of the header and were left out."
    )


def test_mixed_encodings_are_read_and_reported(tmp_path):
    content = b"text,label\n" + "où,a\n".encode() * 5 + "où“,a\n".encode("cp1252") + "où,a\n".encode()
    read = read_examples(put(tmp_path, "a.csv", content))
    assert read.examples.texts == ("où",) * 5 + ("où“", "où")
    assert read.findings[0].message == f"1 row of '{tmp_path}/a.csv' holds bytes that are not UTF-8; they were read as Windows-1252."
    assert read.findings[0].rows == (6,)


@pytest.mark.parametrize("blank", ["", "\n", " \n\n"])
def test_rows_have_the_numbers_of_their_lines(tmp_path, blank):
    first, above = "\u201cyes\u201d".encode("cp1252"), blank.count("\n")
    utf_8 = "".join(f"caf\u00e9 {i}\n" for i in range(5)).encode()
    lines = {
        "a.txt": blank.encode() + first + b"\n" + utf_8 + b"ni\xf1o\n",
        "a.jsonl": blank.encode() + b'{"text": "' + first + b'"}\n' + b'{"text": "caf\xc3\xa9"}\n' * 5 + b'{"text": "ni\xf1o"}\n',
    }
    for name, content in lines.items():
        with open_table(put(tmp_path, name, content)) as table:
            rows = {record["text"]: row for row, record in table.records()}
            [found] = table.findings
        assert found.rows == (above + 1, above + 7)
        assert (rows["\u201cyes\u201d"], rows["ni\u00f1o"]) == (above + 1, above + 7)


def test_a_paragraph_has_the_number_of_its_first_line(tmp_path):
    with open_table(put(tmp_path, "a.txt", "\n\none\ntwo\n\nthree\n")) as table:
        assert list(table.records()) == [(3, {"text": "one\ntwo"}), (6, {"text": "three"})]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "Où est ma carte bancaire? Elle a été avalée hier à midi"),
        ("cp1251", "Где моя карта? Я не могу её найти уже два дня"),
        ("gb18030", "我的银行卡在哪里？昨天丢了"),
        ("cp932", "カードはどこですか。昨日なくしました"),
    ],
)
def test_other_encodings_are_recognised_and_reported(tmp_path, encoding, text):
    read = read_examples(put(tmp_path, "a.csv", ("text,label\n" + f"{text},a\n" * 3).encode(encoding)))
    assert read.examples.texts == (text,) * 3
    assert read.findings[0].message == f"'{tmp_path}/a.csv' is not UTF-8; it was read as {encoding}."


def test_nul_bytes_are_left_out_and_reported(tmp_path):
    read = read_examples(put(tmp_path, "a.csv", b"text,label\nhel\0lo,a\nx,b\n"))
    assert read.examples.texts == ("hello", "x")
    assert read.findings[0].message == f"1 row of '{tmp_path}/a.csv' held NUL bytes, which were left out."
    assert read.findings[0].rows == (1,)


def test_half_characters_in_json_are_replaced_so_that_they_can_be_written(tmp_path):
    read = read_examples(put(tmp_path, "a.jsonl", '{"text": "x\\ud83d", "label": "\\ud83d\\ude00"}\n'))
    assert (read.examples.texts, read.examples.labels) == (("x\ufffd",), ("😀",))
    assert read.findings[0].count == 1


def test_unusual_labels_and_a_text_of_five_million_characters_are_read_as_they_are(tmp_path):
    long_text, long_label = "word " * 1_000_000, "l" * 10_000
    read = read_examples(put(tmp_path, "a.csv", f"text,label\n{long_text},{long_label}\nx,🎉 with space\ny,7\n"))
    assert read.examples.texts[0] == long_text
    assert read.examples.labels == (long_label, "🎉 with space", "7")
    assert read.findings == ()


def test_json_columns_of_different_lengths_are_refused(tmp_path):
    place = tmp_path / "uneven.json"
    place.write_text('{"text": ["a", "b", "c"], "label": ["x", "y"]}')
    with pytest.raises(DataError) as caught:
        read_examples(place)
    assert str(caught.value) == f"{str(place)!r} holds columns of different lengths ('text' 3, 'label' 2); give every row a value in each."


@pytest.mark.parametrize("places", [range(20), range(20, 40), range(0, 60, 2), range(60)])
@pytest.mark.parametrize(
    ("encoding", "sentences"),
    [
        ("cp1252", "el niño llegó a casa después de la escuela;mañana habrá más años de sequía;la información está aquí"),
        ("cp1250", "žluťoučký kůň úpěl;děti si hrají u řeky;příliš mnoho lidí čeká"),
    ],
)
def test_spanish_of_windows_is_not_taken_for_czech_nor_czech_for_spanish(encoding, sentences, places):
    parts = sentences.split(";")
    text = "\n".join(f"{parts[i % 3]} {parts[(i + 1) % 3]} {i}" for i in places)
    assert text.encode(encoding).decode(lines.find_encoding(text.encode(encoding))) == text
