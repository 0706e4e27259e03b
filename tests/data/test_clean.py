import gzip
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headstart.data.check import check_examples
from headstart.data.clean import cleaned_path, write_cleaned
from headstart.data.read import read_examples
from headstart.data.table import open_table
from headstart.errors import DataError, ResourceError

# Rows 1 to 9: what becomes of each stands beside it.
ROWS = [
    ("where is my card today", "Card"),  # kept
    ("how do i reset the password", "login"),  # kept
    ("where is my card today", "Card"),  # repeats row 1
    ("", "login"),  # no text
    ("bell\x07 rings at night ", "noise"),  # stripped
    ("my payment was refused twice", "card"),  # label respelled
    ("nobody answers the phone", "noise"),  # conflicts with row 8
    ("nobody answers the phone", "login"),
    ("this one is in the test file", "login"),  # leaks
    ("one more about a lost card", "Card"),  # kept
]
KEPT = [
    (1, "where is my card today", "Card"),
    (2, "how do i reset the password", "login"),
    (5, "bell rings at night", "noise"),
    (6, "my payment was refused twice", "Card"),
    (10, "one more about a lost card", "Card"),
]
LINES = [
    "Left out 1 row without text or label: 4.",
    "Left out 1 row that the test or validation file holds too: 9.",
    "Left out 2 rows whose text stands under several labels: 7, 8.",
    "Left out 1 row as repeats of an earlier row: 3.",
    "Stripped control characters or outer white space from the text of 1 row: 5.",
    "Gave 1 row the commonest spelling of the label: 6.",
]


def write(path):
    records = [{"id": i, "text": text, "label": label} for i, (text, label) in enumerate(ROWS, start=1)]
    if path.name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(records), path)
    elif ".csv" in path.name:
        content = "id;text;label\n" + "".join(f"{r['id']};{r['text']};{r['label']}\n" for r in records)
        path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    elif path.suffix == ".json":
        path.write_text(json.dumps(records))
    else:
        path.write_text("\n".join(json.dumps(r) for r in records))


def cleaned(path, out=None):
    examples = read_examples(path, text="text", label="label").examples
    test_file = path.parent / "t.jsonl"
    test_file.write_text(json.dumps({"text": ROWS[8][0], "label": "login"}))
    check = check_examples(examples, test=read_examples(test_file).examples)
    return write_cleaned(examples, check, out)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.json", "a.jsonl", "a.parquet"])
def test_the_copy_keeps_format_columns_and_types_and_the_original_stays(tmp_path, name):
    path = tmp_path / name
    write(path)
    before = path.read_bytes()
    lines = cleaned(path)
    copy = tmp_path / name.replace("a.", "a.cleaned.", 1)
    assert lines == [*LINES, f"Wrote 5 rows of 10 to '{copy}'."]
    assert path.read_bytes() == before
    if name.endswith("parquet"):
        got = [(r["id"], r["text"], r["label"]) for r in pq.read_table(copy).to_pylist()]
    elif name == "a.json":
        got = [(r["id"], r["text"], r["label"]) for r in json.loads(copy.read_text())]
    elif name == "a.jsonl":
        got = [(r["id"], r["text"], r["label"]) for r in map(json.loads, copy.read_text().splitlines())]
    else:
        raw = copy.read_bytes()
        header, *rows = (gzip.decompress(raw) if name.endswith("gz") else raw).decode().splitlines()
        assert header == "id;text;label"
        got = [(int(a), b, c) for a, b, c in (row.split(";") for row in rows)]
    assert got == KEPT
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted([name, copy.name, "t.jsonl"])


def test_the_copy_has_nothing_left_to_clean(tmp_path):
    write(tmp_path / "a.csv")
    cleaned(tmp_path / "a.csv")
    again = read_examples(tmp_path / "a.cleaned.csv").examples
    assert write_cleaned(again, check_examples(again))[:-1] == []


def test_a_folder_gets_a_cleaned_folder_and_a_second_one_is_refused(tmp_path):
    for i, (text, label) in enumerate(ROWS[:4]):
        (tmp_path / "d" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / label / f"{i}.txt").write_text(text)
    cleaned(tmp_path / "d")
    assert sorted(str(p.relative_to(tmp_path / "d.cleaned")) for p in (tmp_path / "d.cleaned").rglob("*.txt")) == [
        "Card/0.txt",
        "login/1.txt",
    ]
    with pytest.raises(DataError) as error:
        cleaned(tmp_path / "d")
    assert str(error.value) == f"The folder '{tmp_path}/d.cleaned' of an earlier cleaned copy is in the way; move or delete it."


def test_files_of_labels_that_become_one_stand_beside_each_other(tmp_path):
    texts = {"Card/0.txt": "where is my card", "Card/1.txt": "it is gone", "card/0.txt": "one more is lost", "login/0.txt": "no way in"}
    for name, text in texts.items():
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_text(text)
    (tmp_path / "d").chmod(0o755)
    assert cleaned(tmp_path / "d")[-1] == f"Wrote 4 rows of 4 to '{tmp_path}/d.cleaned'."
    found = {str(path.relative_to(tmp_path / "d.cleaned")): path.read_text() for path in (tmp_path / "d.cleaned").rglob("*.txt")}
    assert found == {
        "Card/0.txt": "where is my card",
        "Card/1.txt": "it is gone",
        "Card/0-2.txt": "one more is lost",
        "login/0.txt": "no way in",
    }
    assert (tmp_path / "d.cleaned").stat().st_mode & 0o777 == 0o755


def test_the_folder_here_is_cleaned_beside_itself(tmp_path, monkeypatch):
    for label in ("a", "b"):
        (tmp_path / "d" / label).mkdir(parents=True)
        (tmp_path / "d" / label / "0.txt").write_text(f"a text of {label}")
    monkeypatch.chdir(tmp_path / "d")
    examples = read_examples(".").examples
    assert write_cleaned(examples, check_examples(examples)) == [f"Wrote 2 rows of 2 to '{tmp_path.resolve()}/d.cleaned'."]
    monkeypatch.chdir(tmp_path / "d" / "a")
    assert cleaned_path("..") == tmp_path.resolve() / "d.cleaned"


def test_packed_parquet_is_cleaned_and_not_packed_again(tmp_path):
    write(tmp_path / "a.parquet")
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress((tmp_path / "a.parquet").read_bytes()))
    (tmp_path / "a.parquet").unlink()
    assert cleaned(tmp_path / "a.parquet.gz") == [*LINES, f"Wrote 5 rows of 10 to '{tmp_path}/a.cleaned.parquet'."]
    assert [(r["id"], r["text"], r["label"]) for r in pq.read_table(tmp_path / "a.cleaned.parquet").to_pylist()] == KEPT


def test_a_bare_carriage_return_in_a_cell_stays_where_it_is(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,label,note\nhello there,a,"one\rtwo"\n"good\rmorning",b,"said ""so"""\n')
    cleaned(path)
    with open_table(tmp_path / "a.cleaned.csv") as table:
        assert [tuple(record.values()) for _, record in table.records()] == [
            ("hello there", "a", "one\rtwo"),
            ("good\rmorning", "b", 'said "so"'),
        ]
        assert table.findings == ()


@pytest.mark.parametrize(
    ("name", "above", "delimiter"),
    [("a.tsv", "sep=;", ";"), ("a.csv", "SEP=~", "~"), ("a.csv", "sep=:", ":"), ("a.txt", '"sep=\t"', "\t")],
)
def test_the_delimiter_that_a_line_above_the_header_says_stays(tmp_path, name, above, delimiter):
    rows = [("hello; there", "a"), ("good, morning", "b")]
    lines = [above, f"text{delimiter}label", *(f'"{text}"{delimiter}{label}' for text, label in rows)]
    (tmp_path / name).write_text("\n".join(lines))
    cleaned(tmp_path / name)
    copy = tmp_path / name.replace("a.", "a.cleaned.")
    assert copy.read_text().startswith(f"{above}\ntext{delimiter}label\n")
    with open_table(copy) as table:
        assert [(record["text"], record["label"]) for _, record in table.records()] == rows


def test_all_columns_of_conll_stay(tmp_path):
    path = tmp_path / "a.conll"
    kept = "Marie NNP I-NP B-PER\nslept VBD I-VP O\n"
    path.write_text(f"-DOCSTART- -X- O O\n\n{kept}\nalone\n\n{kept}\n# sent_id = 3\nWarsaw NNP _ B-LOC\n")
    examples = read_examples(path).examples
    lines = write_cleaned(examples, check_examples(examples), single_labels=False)
    copy = tmp_path / "a.cleaned.conll"
    assert lines == [
        "Left out 1 row as repeats of an earlier row: 8.",
        "Left out 1 row that could not be read: 6.",
        f"Wrote 2 rows of 3 to '{copy}'.",
    ]
    assert copy.read_text() == f"{kept}\nWarsaw NNP _ B-LOC\n\n".replace(" ", "\t")


def test_the_texts_of_one_side_stay_on_a_line_each(tmp_path):
    path = tmp_path / "new.en"
    path.write_text("One.\n\nTwo.\nOne.\nThree.\n")
    examples = read_examples(path).examples
    lines = write_cleaned(examples, check_examples(examples), single_labels=False)
    assert lines[:2] == ["Left out 1 row without text or label: 2.", "Left out 1 row as repeats of an earlier row: 4."]
    assert (tmp_path / "new.cleaned.en").read_text() == "One.\nTwo.\nThree.\n"


def test_texts_of_several_columns_stay_as_they_are(tmp_path):
    for header in ("premise,hypothesis,label", "instruction,input,output"):
        path = tmp_path / "a.csv"
        path.write_text(f"{header}\n one ,two,x\n one ,two,x\n three ,four,X\nfive ,six,x\n")
        examples = read_examples(path).examples
        write_cleaned(examples, check_examples(examples))
        assert (tmp_path / "a.cleaned.csv").read_text() == f"{header}\n one ,two,x\n three ,four,X\nfive ,six,x\n"


def test_rows_that_could_not_be_read_are_listed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\nhello there,a\nx,y,z\ngood morning,b\n")
    assert cleaned(path)[0] == "Left out 1 row that could not be read: 2."


def test_the_file_itself_is_never_the_copy(tmp_path):
    write(tmp_path / "a.csv")
    with pytest.raises(DataError) as error:
        cleaned(tmp_path / "a.csv", out=tmp_path / "a.csv")
    assert str(error.value) == f"The cleaned copy would replace the file '{tmp_path}/a.csv' itself; give it another name."


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    write(tmp_path / "a.csv")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ResourceError) as error:
        cleaned(tmp_path / "a.csv")
    assert str(error.value) == (
        f"The cleaned copy '{tmp_path}/a.cleaned.csv' cannot be written: No space left on device. "
        "Make room there or get the right to write, or copy the data to a place where you have both."
    )
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.csv", "t.jsonl"]


def test_names_of_copies():
    assert [cleaned_path(p).name for p in ("x/tickets.csv", "a.b.jsonl.gz", "folder")] == [
        "tickets.cleaned.csv",
        "a.b.cleaned.jsonl.gz",
        "folder.cleaned",
    ]
