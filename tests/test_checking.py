"""`headstart check` around the checks themselves: which texts are cut off, and how findings read."""

import csv
import json
import types
from dataclasses import replace

import pytest

import headstart
from headstart import cli
from headstart.checking import Checked, check_data, findings_text, needs_a_hand, token_counter
from headstart.data.examples import Examples
from headstart.data.table import open_table
from headstart.errors import DataError, SourceError
from headstart.records import Finding, Severity
from tiny import make_tiny

TRAIN = Examples(("a", "b", "c"), ("x", "y", ""), (1, 2, 3), "tickets.csv", "text", "intent")


def checked(*findings):
    return Checked(TRAIN, types.SimpleNamespace(findings=findings))


@pytest.mark.parametrize("limit", [8, 16, 64])
def test_texts_are_counted_as_the_source_reads_them(limit):
    from transformers import AutoTokenizer

    from headstart.sources.resolve import resolve_source

    source = resolve_source(None)
    tokenizer = AutoTokenizer.from_pretrained(source.folder)
    words = "my card has not arrived, können Sie helfen? 我的卡还没到 🎉🎉 https://example.org/a-b_c " * 4
    texts = ["", " ", *(words[start:end] for start in (0, 7, 40) for end in range(start, start + 200, 9))]
    counter = token_counter(None, limit)
    true = [len(tokenizer(text, verbose=False)["input_ids"]) for text in texts]
    counted = counter.lengths(texts)
    assert counter.limit == limit
    assert [length > limit for length in counted] == [length > limit for length in true]
    assert [length for length in counted if length > limit] == [length for length in true if length > limit]
    assert sum(length > limit for length in true) not in (0, len(texts))


def test_the_sources_own_limit_counts_where_it_is_less():
    assert token_counter(None, 8192).limit == 256


def test_a_text_of_millions_of_characters_is_counted_at_once():
    assert token_counter(None, 32).lengths(["word " * 1_000_000, "short"])[0] > 32


def test_half_a_character_in_a_long_text_stops_no_counting():
    assert token_counter(None, 32).lengths(["word " * 40 + "\ud83d"]) == token_counter(None, 32).lengths(["word " * 40 + "?"])


def test_an_unknown_source_is_refused():
    with pytest.raises(SourceError):
        token_counter("no such source", 128)


@pytest.mark.parametrize(("origin", "row"), [("a.conll", "Line"), ("a.txt", "Line"), ("a.jsonl", "Row"), ("-", "Row")])
def test_rows_that_go_by_their_lines_are_called_so(origin, row):
    found = checked(Finding("tags", Severity.WARNING, "One is odd.", rows=(9,), count=1))
    found = replace(found, train=replace(found.train, origin=origin))
    assert findings_text(found).splitlines()[3] == f"     {row} 9."


def test_findings_are_numbered_with_rows_and_remedy():
    found = checked(
        Finding("one class", Severity.ERROR, "All is lost.", remedy="Begin anew."),
        Finding("empty text", Severity.WARNING, "25 rows are empty.", rows=(3, 7), count=25, remedy="Fill them."),
        Finding("imbalance", Severity.WARNING, "One row is odd.", rows=(9,), count=1),
        Finding("encoding", Severity.NOTE, "Strange\x1b[31m letters."),
    )
    assert findings_text(found) == (
        "tickets.csv: 3 rows, 2 labels; the text is in 'text', the label in 'intent'.\n"
        "\n"
        "  1. error: All is lost.\n"
        "     Begin anew.\n"
        "\n"
        "  2. warning: 25 rows are empty.\n"
        "     Rows 3, 7 and 23 more.\n"
        "     Fill them.\n"
        "\n"
        "  3. warning: One row is odd.\n"
        "     Row 9.\n"
        "\n"
        "  4. note: Strange\N{REPLACEMENT CHARACTER}[31m letters.\n"
        "\n"
        "1 error, 2 warnings, 1 note."
    )


@pytest.mark.parametrize(
    ("task", "label", "told"),
    [
        ("classification", "x", "1 row, 1 label;"),
        ("ner", "B-PER O", "1 row, 1 type of entities;"),
        ("ner", "B-PER B-LOC", "1 row, 2 types of entities;"),
    ],
)
def test_what_is_counted_is_told_in_the_singular_too(task, label, told):
    one = Examples(("a b",), (label,), (1,), "a.csv", "text", "tags")
    assert findings_text(Checked(one, types.SimpleNamespace(findings=()), task)).splitlines()[0].startswith(f"a.csv: {told}")


def test_no_findings_are_told_too():
    assert findings_text(checked()).splitlines()[-1] == "Nothing was found."


@pytest.mark.parametrize(
    ("severities", "needed"), [([], False), ([Severity.NOTE], False), ([Severity.NOTE, Severity.WARNING], True), ([Severity.ERROR], True)]
)
def test_notes_alone_need_no_hand(severities, needed):
    assert needs_a_hand([Finding("k", severity, "m") for severity in severities]) is needed


TOPICS = [(n, word, topic) for n in range(6) for word in ("first", "second") for topic in ("cards", "loans")]
GOOD = "text,label\n" + "".join(f"the {word} message number {n * 7919} about {topic},{topic}\n" for n, word, topic in TOPICS)


def test_files_by_name_give_findings_of_reading_and_of_checking(tmp_path):
    (tmp_path / "train.csv").write_text(GOOD + "one,two,three\n,cards\n")
    (tmp_path / "test.csv").write_text("text,label\nthe first message number 0 about cards,cards\n")
    options = {"text": None, "label": None, "validation": None, "source": None, "max_length": 256}
    found = check_data(str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"), **options)
    kinds = [finding.kind for finding in found.result.findings]
    assert len(found.train) == 25
    assert "bad rows" in kinds  # of reading
    assert any("test" in finding.message for finding in found.result.findings)  # of checking
    assert not found.result.usable[0]  # it stands in the test file
    order = [list(Severity).index(finding.severity) for finding in found.result.findings]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("message,label", "has no column 'text' (the text in {train}). Its columns: 'message', 'label'."),
        ("text,labels,id", "has no column 'label' (the label in {train}). Did you mean 'labels'? Its columns: 'text', 'labels', 'id'."),
    ],
)
@pytest.mark.parametrize("role", ["test", "validation"])
def test_a_column_that_another_file_lacks_is_told_as_the_datas(tmp_path, header, told, role):
    (tmp_path / "train.csv").write_text(GOOD)
    (tmp_path / "other.csv").write_text(f"{header}\nthe first,cards,1\n")
    options = {"text": None, "label": None, "validation": None, "test": None, "source": None, "max_length": 256}
    with pytest.raises(DataError) as error:
        check_data(str(tmp_path / "train.csv"), **{**options, role: str(tmp_path / "other.csv")})
    train = repr(str(tmp_path / "train.csv"))
    assert str(error.value) == f"{str(tmp_path / 'other.csv')!r} {told.format(train=train)}"


def test_texts_that_the_source_cuts_off_are_found(tmp_path):
    (tmp_path / "train.csv").write_text(GOOD + f"{'word ' * 300},cards\n")
    options = {"text": None, "label": None, "validation": None, "test": None, "max_length": 256}
    messages = [finding.message for finding in check_data(str(tmp_path / "train.csv"), source=None, **options).result.findings]
    [message] = [message for message in messages if "tokens" in message]
    assert message.startswith("1 text (4.0")


def test_without_the_embedded_source_check_still_checks_and_a_named_one_is_refused(tmp_path, monkeypatch):
    def absent(name):
        raise SourceError("There is none.")

    monkeypatch.setattr("headstart.sources.resolve.resolve_source", absent)
    (tmp_path / "train.csv").write_text(GOOD)
    options = {"text": None, "label": None, "validation": None, "test": None, "max_length": 256}
    assert check_data(str(tmp_path / "train.csv"), source=None, **options).train.text_column == "text"
    with pytest.raises(SourceError):
        check_data(str(tmp_path / "train.csv"), source="named", **options)


def test_headstart_check_takes_texts_and_labels():
    result = headstart.check((["a text", "", "another text", "a text"], ["x", "y", "y", "x"]))
    assert result.usable.tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (GOOD, 0),
        (GOOD + ",cards\n", 1),  # an empty text
        ("text,label\na,x\nb,x\n", 1),  # an error is a finding too: the data could be checked
    ],
)
def test_the_exit_status_tells_findings_from_none(tmp_path, capsys, content, status):
    (tmp_path / "train.csv").write_text(content)
    assert cli.main(["check", str(tmp_path / "train.csv")]) == status
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'train.csv'}: ")


def test_data_that_cannot_be_checked_is_status_2(capsys):
    assert cli.main(["check", "none.csv"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("headstart: There is no file 'none.csv'.")
    assert error.count("\n") == 1


def test_fix_writes_a_cleaned_copy_and_says_what_changed(tmp_path, capsys):
    (tmp_path / "train.csv").write_text(GOOD + ",cards\n" + GOOD.splitlines()[1] + "\n")
    assert cli.main(["check", str(tmp_path / "train.csv"), "--fix"]) == 1
    assert (tmp_path / "train.cleaned.csv").read_text() == GOOD
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [
        "Left out 1 row without text or label: 25.",
        "Left out 1 row as repeats of an earlier row: 26.",
        f"Wrote 24 rows of 26 to {str(tmp_path / 'train.cleaned.csv')!r}.",
    ]
    assert cli.main(["check", str(tmp_path / "train.cleaned.csv")]) == 0


# --- cleaned copies of other tasks ---


def fixed(path, capsys, *more):
    """What `check --fix` says of a file, without the findings."""
    assert cli.main(["check", str(path), *more, "--fix"]) in (0, 1)
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(("Left out", "Put", "Wrote", "Stripped", "Gave"))]


QUESTIONS = [
    ("which card", "my card is blue", [{"text": "blue", "answer_start": 11}]),
    ("which phone", "the phone is red", [{"text": "red", "answer_start": 2}]),  # stands at 13
    ("which coat", "the coat is grey", [{"text": "green", "answer_start": 0}, {"text": "grey", "answer_start": 12}]),
    ("which car", "a car is here", [{"text": "green", "answer_start": 0}]),  # nowhere
    ("which order", "an order came", []),
    ("which card", "my card is blue", [{"text": "blue", "answer_start": 11}]),  # repeats row 1
]
REPAIRED = [
    QUESTIONS[0],
    ("which phone", "the phone is red", [{"text": "red", "answer_start": 13}]),
    ("which coat", "the coat is grey", [{"text": "grey", "answer_start": 12}]),
    QUESTIONS[4],
]
ABOUT_QUESTIONS = [
    "Left out 1 row without text or label: 4.",
    "Left out 1 row as repeats of an earlier row: 6.",
    "Put the answers of 1 row where they stand in the context: 2.",
    "Left out answers of 1 row that do not stand in the context: 3.",
]


@pytest.mark.parametrize("form", ["squad", "jsonl", "csv", "parquet"])
def test_answers_are_put_where_they_stand(tmp_path, capsys, form):
    rows = [{"id": i, "question": q, "context": c, "answers": a} for i, (q, c, a) in enumerate(QUESTIONS)]
    path = tmp_path / f"asked.{'json' if form == 'squad' else form}"
    if form == "squad":
        paragraphs = [{"context": row["context"], "qas": [{name: row[name] for name in ("id", "question", "answers")}]} for row in rows]
        path.write_text(json.dumps({"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}))
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([list(rows[0]), *([*list(row.values())[:3], json.dumps(row["answers"])] for row in rows)])
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    out = tmp_path / path.name.replace("asked.", "asked.cleaned.")
    assert fixed(path, capsys) == [*ABOUT_QUESTIONS, f"Wrote 4 rows of 6 to {str(out)!r}."]
    with open_table(out) as table:
        found = [record for _, record in table.records()]
    answers = [json.loads(row["answers"]) if isinstance(row["answers"], str) else row["answers"] for row in found]
    assert [(row["question"], row["context"], given) for row, given in zip(found, answers, strict=True)] == REPAIRED
    assert [int(row["id"]) for row in found] == [0, 1, 2, 4]
    assert fixed(out, capsys) == [f"Wrote 4 rows of 4 to {str(out).replace('cleaned', 'cleaned.cleaned')!r}."]


def test_sentences_of_words_and_tags_stay_in_their_form(tmp_path, capsys):
    path = tmp_path / "words.conll"
    path.write_text("anna B-PER\nleft O\n\nin O\noslo B-LOC\n\nanna B-PER\nleft O\n\ncairo B-LOC\nis O\n")
    out = tmp_path / "words.cleaned.conll"
    assert fixed(path, capsys) == ["Left out 1 row as repeats of an earlier row: 7.", f"Wrote 3 rows of 4 to {str(out)!r}."]
    assert out.read_text() == "anna\tB-PER\nleft\tO\n\nin\tO\noslo\tB-LOC\n\ncairo\tB-LOC\nis\tO\n\n"


@pytest.mark.parametrize(
    ("header", "task", "columns", "instead"),
    [
        ("premise,hypothesis,label", "classification", "premise,hypothesis", ", or learn one label for both with --task pairs"),
        ("question,context,label", "multilabel", "question,context", ""),
        ("text1,text2,label", "regression", "text1,text2", ""),
    ],
)
def test_two_texts_a_row_are_refused_where_a_task_takes_one(tmp_path, capsys, header, task, columns, instead):
    path = tmp_path / "pairs.csv"
    path.write_text(header + "\n" + "".join(f"one {i},two {i},{i % 2}.5\n" for i in range(30)))
    before = sorted(tmp_path.iterdir())
    assert cli.main(["check", str(path), "--task", task, "--fix"]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err) == (
        "",
        f"headstart: {str(path)!r} has two texts a row, {columns!r}; name the one column of the texts with --text{instead}.\n",
    )
    assert sorted(tmp_path.iterdir()) == before


def test_pairs_translations_and_plain_texts_lose_the_rows_that_are_of_no_use(tmp_path, capsys):
    (tmp_path / "pairs.csv").write_text("premise,hypothesis,label,id\na b,c d,yes,1\na b,,no,2\ne f,g h,no,3\na b,c d,yes,4\n")
    assert fixed(tmp_path / "pairs.csv", capsys)[-1] == f"Wrote 2 rows of 4 to {str(tmp_path / 'pairs.cleaned.csv')!r}."
    assert (tmp_path / "pairs.cleaned.csv").read_text() == "premise,hypothesis,label,id\na b,c d,yes,1\ne f,g h,no,3\n"
    (tmp_path / "t.en").write_text("one house\n\ntwo houses\n")
    (tmp_path / "t.de").write_text("ein haus\nnichts\nzwei häuser\n")
    both = f"{tmp_path / 't.en'},{tmp_path / 't.de'}"
    assert fixed(both, capsys) == [
        "Left out 1 row without text or label: 2.",
        f"Wrote 2 rows of 3 to {str(tmp_path / 't.cleaned.jsonl')!r}.",
    ]
    rows = [json.loads(line) for line in (tmp_path / "t.cleaned.jsonl").read_text().splitlines()]
    assert rows == [{"en": "one house", "de": "ein haus"}, {"en": "two houses", "de": "zwei häuser"}]
    segments = "".join(
        f'<tu><tuv xml:lang="en"><seg>{en}</seg></tuv><tuv xml:lang="de"><seg>{de}</seg></tuv></tu>'
        for en, de in (("one house", "ein haus"), ("one house", "ein haus"), ("two", "zwei"))
    )
    (tmp_path / "memory.tmx").write_text(f'<?xml version="1.0"?><tmx version="1.4"><header/><body>{segments}</body></tmx>')
    assert fixed(tmp_path / "memory.tmx", capsys)[-1] == f"Wrote 2 rows of 3 to {str(tmp_path / 'memory.cleaned.jsonl')!r}."
    (tmp_path / "house.txt").write_text("First text,\ntwo lines.\n\nSecond.\n\nSecond.\n")
    assert fixed(tmp_path / "house.txt", capsys)[-1] == f"Wrote 2 rows of 3 to {str(tmp_path / 'house.cleaned.txt')!r}."
    assert (tmp_path / "house.cleaned.txt").read_text() == "First text,\ntwo lines.\n\nSecond.\n"


def cut_off(data, task, **given):
    """The finding of texts that are cut off, as (message, row numbers, remedy)."""
    result = check_data(
        data, text=None, label=None, test=None, validation=None, task=task, **{"source": None, "max_length": 64, **given}
    ).result
    return [(found.message, found.rows, found.remedy) for found in result.findings if found.kind == "cut off"]


def test_a_prompt_with_its_completion_that_a_model_cannot_read_whole_is_told(tmp_path):
    source = str(make_tiny(tmp_path / "writer", "gpt2"))
    rows = [(f"prompt {i}", f"answer {i}") for i in range(20)]
    rows[3] = ("a prompt of " + "many " * 200, "answer 3")
    rows[5] = ("prompt 5", "an answer of " + "many " * 200)
    data = tmp_path / "prompts.jsonl"
    data.write_text("".join(json.dumps({"prompt": prompt, "completion": completion}) + "\n" for prompt, completion in rows))
    [(message, numbers, remedy)] = cut_off(data, None, source=source, max_length=256)
    assert (message, numbers) == ("2 texts (10.0%) are longer than 64 tokens and will be cut off.", (4, 6))
    assert remedy.startswith("Choose a source that reads more, or split them; the longest text has ")
    assert cut_off(data, None, max_length=256) == []  # nobody knows which model will write
    whole = tmp_path / "whole.txt"
    whole.write_text("\n\n".join(f"text {i} " + "many " * 200 for i in range(20)))
    assert cut_off(whole, "generation", source=source) == []  # read in pieces


def test_a_text_to_translate_that_is_cut_off_is_told(tmp_path):
    rows = [(f"sentence {i}", f"Satz {i}") for i in range(20)]
    rows[7] = ("word " * 300, "Wort " * 300)
    data = tmp_path / "pairs.csv"
    data.write_text("en,de\n" + "".join(f"{a},{b}\n" for a, b in rows))
    [(message, numbers, remedy)] = cut_off(data, "translation")
    assert (message, numbers) == ("1 text (5.0%) is longer than 64 tokens and will be cut off.", (8,))
    assert remedy == "Raise --max-length; the longest text has 302 tokens."


def test_what_is_wrong_with_a_row_is_told_once(tmp_path):
    """Rows of which nothing is left for a known reason are not told again as empty; those without a reason are."""
    tokens = tmp_path / "tokens.jsonl"
    rows = [{"tokens": ["Oslo", "sleeps", str(i)], "tags": ["B-LOC", "O", "O"]} for i in range(20)]
    rows[4]["tags"] = ["B-LOC"]
    rows[9] = {"tokens": ["Oslo", "sleeps", "9"], "tags": []}
    tokens.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = tmp_path / "pairs.csv"
    sides = [(f"one {i}", f"two {i}", "yn"[i % 2]) for i in range(20)]
    sides[2], sides[7] = ("", "two 2", "y"), ("", "", "n")
    pairs.write_text("text1,text2,label\n" + "".join(",".join(row) + "\n" for row in sides))
    found = {}
    for path in (tokens, pairs):
        result = check_data(path, text=None, label=None, test=None, validation=None, source=None, max_length=64).result
        found[path.stem] = {finding.kind: finding.rows for finding in result.findings if finding.severity is Severity.WARNING}
    assert found["tokens"] == {"tags": (5, 10)}
    assert found["pairs"] == {"empty side": (3,), "empty text": (8,)}


def test_however_many_rows_have_an_empty_side_they_are_told_once(tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("text1,text2,label\n" + "".join(f"{'' if i < 30 else f'one {i}'},two {i},{'yn'[i % 2]}\n" for i in range(70)))
    result = check_data(pairs, text=None, label=None, test=None, validation=None, source=None, max_length=64).result
    assert [(found.kind, found.count) for found in result.findings if found.severity is Severity.WARNING] == [("empty side", 30)]


def test_a_remedy_that_the_source_does_not_take_is_not_given(tmp_path):
    """The embedded source reads 256 tokens, as many as are asked for where nothing is said."""
    data = tmp_path / "long.csv"
    data.write_text("text,label\n" + "".join(f"{'word ' * (400 if i == 3 else 3)}{i},{'ab'[i % 2]}\n" for i in range(20)))
    for asked, wanted in ((256, "Choose a source that reads more, or split them"), (128, "Raise --max-length")):
        [(_, _, remedy)] = cut_off(data, None, max_length=asked)
        assert remedy.startswith(wanted)


def test_labels_are_counted_as_a_fit_counts_them():
    """White space around them, blank ones and rare spellings are no labels of their own."""
    given = (*["refund"] * 24, " refund ", "Refund", "card", "  ", "")
    some = Examples(tuple(map(str, range(29))), given, tuple(range(1, 30)), "a.csv", "text", "tags")
    assert findings_text(Checked(some, types.SimpleNamespace(findings=()))).splitlines()[0].startswith("a.csv: 29 rows, 2 labels;")
