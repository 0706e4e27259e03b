"""Labelling files: every input column kept, rows in order, constant memory, files whole or not at all."""

import csv
import datetime
import errno
import io
import json
import os
import subprocess
import sys
import textwrap
import threading
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart import predict
from headstart.cli import explain
from headstart.data.pairs import join_pair
from headstart.errors import DataError, HeadstartError, SettingsError
from headstart.predict import Predicted, output_columns, parse_top, predict_file, predict_rows, reading_of, text_column, windows
from headstart.writing import WRITERS, opened, output_format


class LengthModel:
    """Says `short` for texts under 5 characters, else `long`; counts what it was asked."""

    labels = ("short", "long", "never")

    def __init__(self):
        self.asked = []

    def predict_proba(self, texts):
        self.asked.append(list(texts))
        return np.array([[0.7, 0.2, 0.1] if len(text) < 5 else [0.25, 0.75, 0.0] for text in texts])


@pytest.fixture
def model(monkeypatch):
    """A model behind `headstart.loaded.load`, whatever the folder."""
    made = LengthModel()
    monkeypatch.setitem(sys.modules, "headstart.loaded", types.SimpleNamespace(load=lambda folder: made))
    return made


def run(data, out, **changes):
    options = {"format": None, "top": 1, "text": None} | changes
    return predict_file("a run", str(data), out=str(out), **options)


def test_csv_gets_every_input_column_then_prediction_and_probability(tmp_path, model):
    (tmp_path / "in.csv").write_text('id,text,note\n1,hi,"a, b"\n2,hello there,\n3,"two\nlines",x\n')
    done = run(tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == (
        'id,text,note,prediction,probability\n1,hi,"a, b",short,0.7\n2,hello there,,long,0.75\n3,"two\nlines",x,long,0.75\n'
    )
    assert done == Predicted(rows=3, empty=0, beyond=0)
    assert done.warnings == ()


def test_top_k_gives_further_labels_likeliest_first(tmp_path, model):
    (tmp_path / "in.csv").write_text("text\nhello there\n")
    run(tmp_path / "in.csv", tmp_path / "out.csv", top=3)
    assert (tmp_path / "out.csv").read_text() == (
        "text,prediction,probability,prediction_2,probability_2,prediction_3,probability_3\nhello there,long,0.75,short,0.25,never,0.0\n"
    )


def test_jsonl_keeps_numbers_lists_and_missing_values(tmp_path, model):
    (tmp_path / "in.jsonl").write_text('{"text": "hi", "n": 3, "tags": ["é"]}\n{"text": "hello there", "n": null}\n')
    run(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines == [
        {"text": "hi", "n": 3, "tags": ["é"], "prediction": "short", "probability": 0.7},
        {"text": "hello there", "n": None, "tags": None, "prediction": "long", "probability": 0.75},
    ]


def test_a_nan_becomes_null_because_json_has_none(tmp_path, model):
    (tmp_path / "in.jsonl").write_text('{"text": "hi", "n": NaN}\n')
    run(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == '{"text": "hi", "n": null, "prediction": "short", "probability": 0.7}\n'


def test_what_is_no_number_becomes_null_wherever_it_stands(tmp_path, model):
    (tmp_path / "in.jsonl").write_text('{"text": "hi", "n": Infinity, "m": -Infinity, "deep": [{"x": NaN, "y": [1.5, Infinity]}]}\n')
    run(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == (
        '{"text": "hi", "n": null, "m": null, "deep": [{"x": null, "y": [1.5, null]}], "prediction": "short", "probability": 0.7}\n'
    )


def test_parquet_holds_texts_as_strings_and_probabilities_as_numbers(tmp_path, model):
    (tmp_path / "in.csv").write_text("id,text\n1,hi\n2,\n")
    run(tmp_path / "in.csv", tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert [str(kind) for kind in table.schema.types] == ["string", "string", "string", "double"]
    assert table.to_pylist() == [
        {"id": "1", "text": "hi", "prediction": "short", "probability": 0.7},
        {"id": "2", "text": "", "prediction": None, "probability": None},
    ]


def test_numbers_of_a_parquet_file_stay_numbers(tmp_path, model):
    columns = {
        "id": pa.array([3, None, 5], pa.int32()),
        "when": pa.array([datetime.date(2026, 1, 2), None, None], pa.date32()),
        "text": pa.array(["hi", None, "hello"]),
        "price": pa.array([1.5, 2.5, None], pa.float32()),
        "paid": pa.array([True, None, False]),
        "many": pa.array([2**63 + 1, 0, None], pa.uint64()),
        "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "in.parquet")
    run(tmp_path / "in.parquet", tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    kinds = ["int32", "string", "string", "float", "bool", "uint64", "string", "string", "double"]
    assert [str(kind) for kind in table.schema.types] == kinds
    for name in ("id", "price", "paid", "many", "text"):
        assert table[name].to_pylist() == columns[name].to_pylist()
    assert table["when"].to_pylist() == ["2026-01-02", None, None]


def test_parquet_of_a_table_without_rows_is_a_parquet_file(tmp_path, model):
    (tmp_path / "in.csv").write_text("id,text\n")
    run(tmp_path / "in.csv", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").column_names == ["id", "text", "prediction", "probability"]


def test_blank_texts_get_no_prediction_and_a_warning_with_their_number(tmp_path, model):
    (tmp_path / "in.csv").write_text('id,text\n1,hi\n2,\n3,"  "\n')
    done = run(tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "id,text,prediction,probability\n1,hi,short,0.7\n2,,,\n3,  ,,\n"
    assert done.warnings == ("2 rows of 3 without a text got no prediction.",)
    assert model.asked == [["hi"]]


def test_lines_of_one_side_stay_lines_with_blank_ones_among_them(tmp_path, model):
    (tmp_path / "new.en").write_text("hi\n\nhello there\n")
    done = run(tmp_path / "new.en", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "text,prediction,probability\nhi,short,0.7\n,,\nhello there,long,0.75\n"
    assert done.warnings == ("1 row of 3 without a text got no prediction.",)


def test_commas_in_the_texts_of_one_column_part_nothing(tmp_path, model):
    (tmp_path / "in.csv").write_text('text\nhi, you\nhello there\n\n"quoted, twice"\nso "it is", and so on\n')
    done = run(tmp_path / "in.csv", tmp_path / "out.jsonl")
    texts = [json.loads(line)["text"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert texts == ["hi, you", "hello there", "quoted, twice", 'so "it is", and so on']
    assert done.warnings == ()


def test_cells_under_a_header_of_one_name_are_not_taken_for_texts(tmp_path, model):
    (tmp_path / "in.csv").write_text("text\nhi,a\nhello there,b\n")
    assert run(tmp_path / "in.csv", tmp_path / "out.csv").warnings == (
        f"2 rows of '{tmp_path}/in.csv' did not have the 1 field of the header and were left out. Repair or delete them in the file.",
        "There were no rows to label; of a table the first line is the header.",
    )


@pytest.mark.parametrize("broken", ["", 'so "it" is, they say\n', 'so,"it" is\n'])
def test_a_title_above_a_table_is_no_header_of_whole_lines(tmp_path, model, broken):
    (tmp_path / "in.csv").write_text(f'Report of March\ntext,label\n"a, b",x\nhello there,y\n"two\nlines",z\n{broken}')
    assert run(tmp_path / "in.csv", tmp_path / "out.csv").warnings[0] == (
        f"{5 if broken else 4} rows of '{tmp_path}/in.csv' did not have the 1 field of the header and were left out. "
        "Repair or delete them in the file."
    )


def test_a_comma_without_a_space_within_some_texts_of_one_column_parts_nothing(tmp_path, model):
    (tmp_path / "in.csv").write_text("text\nit costs 1,000 euro\nhi, you\nhello there\n1,5 or 2,5\n")
    assert run(tmp_path / "in.csv", tmp_path / "out.csv").warnings == ()


def test_bad_rows_are_left_out_and_told(tmp_path, model):
    (tmp_path / "in.csv").write_text("id,text\n1,hi\n2,a,b\n3,ho\n")
    done = run(tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "id,text,prediction,probability\n1,hi,short,0.7\n3,ho,short,0.7\n"
    assert len(done.warnings) == 1
    assert "left out" in done.warnings[0]


def test_columns_that_json_brings_too_late_are_told(tmp_path, model):
    (tmp_path / "in.jsonl").write_text('{"text": "hi"}\n' * 1000 + '{"text": "ho", "late": 1}\n')
    done = run(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert done.warnings == ("1 row of 1,001 had columns that the first rows do not have; these were left out.",)


def test_equal_texts_of_a_window_go_through_the_model_once():
    model, written = LengthModel(), []
    records = [(n, {"text": f"text {n % 3}"}) for n in range(100)]
    predict_rows(["text"], records, model, written.extend, column="text", top=1, progress=lambda n: None)
    assert model.asked == [["text 0", "text 1", "text 2"]]
    assert [row[0] for row in written] == [f"text {n % 3}" for n in range(100)]


@given(lengths=st.lists(st.integers(0, 60), max_size=60))
def test_windows_are_the_rows_in_order_and_bounded(lengths):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "WINDOW_CHARACTERS", 100)
        records = [(n, {"text": "x", "page": "x" * length, "n": n}) for n, length in enumerate(lengths)]
        made = list(windows(records, 7))
    assert [record for window in made for record in window] == [record for _, record in records]
    for window in made:
        assert 1 <= len(window) <= 7
        assert sum(1 + len(record["page"]) for record in window[:-1]) < 100  # every cell counts; only the last row may go over


@given(cells=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2))
def test_any_cell_survives_csv(cells):
    stream = io.BytesIO()
    write, finish = WRITERS["csv"](stream, ["a", "b"], frozenset())
    write([cells, ["plain", "row"]])
    finish()
    read = list(csv.reader(io.StringIO(stream.getvalue().decode("utf-8"), newline="")))
    assert read == [["a", "b"], cells, ["plain", "row"]]


def test_standard_input_and_output_are_pipes(monkeypatch, capsysbinary, model):
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO("text\nhé\n".encode())))
    run("-", "-")
    assert capsysbinary.readouterr().out == "text,prediction,probability\nhé,short,0.7\n".encode()


def test_a_file_appears_whole_or_not_at_all(tmp_path, model, monkeypatch):
    (tmp_path / "in.csv").write_text("text\n" + "hi\n" * 10)
    (tmp_path / "out.csv").write_text("what was there")
    monkeypatch.setattr(predict, "WINDOW_ROWS", 4)
    answered = iter([np.full((1, 3), 1 / 3)])  # the second window finds no answer
    model.predict_proba = lambda texts: next(answered)
    with pytest.raises(StopIteration):
        run(tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_a_device_is_written_and_stays_a_device(tmp_path, model):
    (tmp_path / "in.csv").write_text("text\nhi\n")
    before = os.stat("/dev/null")
    run(tmp_path / "in.csv", "/dev/null", format="csv")
    assert os.stat("/dev/null").st_rdev == before.st_rdev


def test_a_named_pipe_is_written_as_it_is(tmp_path, model):
    (tmp_path / "in.csv").write_text("text\nhi\n")
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()), daemon=True)
    reader.start()
    run(tmp_path / "in.csv", tmp_path / "pipe", format="csv")
    reader.join(timeout=5)
    assert got == ["text,prediction,probability\nhi,short,0.7\n"]


def test_a_link_keeps_pointing_where_it_points(tmp_path, model):
    (tmp_path / "in.csv").write_text("text\nhi\n")
    (tmp_path / "real.csv").write_text("")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    run(tmp_path / "in.csv", tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == "text,prediction,probability\nhi,short,0.7\n"


@pytest.mark.parametrize("told", ["columns: {text: message, label: intent}\n", "settings: {text: message}\n"])
def test_the_column_is_the_one_that_the_run_was_trained_on(tmp_path, model, told):
    (tmp_path / "run.yaml").write_text(told)
    (tmp_path / "in.csv").write_text("text,message\nhello there,hi\n")
    predict_file(str(tmp_path), str(tmp_path / "in.csv"), out=str(tmp_path / "out.csv"), format=None, top=1, text=None)
    assert (tmp_path / "out.csv").read_text() == "text,message,prediction,probability\nhello there,hi,short,0.7\n"


@pytest.mark.parametrize("part", ["model", "without_transfer"])
def test_a_model_within_a_run_reads_the_column_of_the_run(tmp_path, model, part):
    (tmp_path / part).mkdir()
    (tmp_path / "run.yaml").write_text("columns: {text: message, label: intent}\n")
    (tmp_path / "in.csv").write_text("text,message\nhello there,hi\n")
    predict_file(str(tmp_path / part), str(tmp_path / "in.csv"), out=str(tmp_path / "out.csv"), format=None, top=1, text=None)
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == "hello there,hi,short,0.7"


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="no /dev/fd here")
def test_a_pipe_that_the_shell_makes_is_written_as_it_is(tmp_path, model):
    (tmp_path / "in.csv").write_text("text\nhi\n")
    reads, writes = os.pipe()
    run(tmp_path / "in.csv", f"/dev/fd/{writes}", format="csv")
    os.close(writes)
    with open(reads) as pipe:
        assert pipe.read() == "text,prediction,probability\nhi,short,0.7\n"


def test_what_writes_is_read_in_small_windows(monkeypatch):
    asked = []
    monkeypatch.setattr(predict, "windows", lambda records, most: asked.append(most) or iter([]))
    for form in ("", "pairs", "writing", "translation"):
        predict_rows(["text"], [], types.SimpleNamespace(labels=(), form=form, predict=list), list, column="text", top=1, progress=print)
    assert asked == [predict.WINDOW_ROWS, predict.WINDOW_ROWS, predict.WRITTEN_ROWS, predict.WRITTEN_ROWS]


@pytest.mark.parametrize(
    ("columns", "named", "trained", "found"),
    [
        (["a", "b"], "b", "a", "b"),  # what is named wins
        (["a", "b"], None, "a", "a"),  # then what the model was trained on
        (["text", "b"], None, "absent", "text"),  # then the conventional name
        (["only"], None, "absent", "only"),  # then the only one
    ],
)
def test_the_text_column_is_named_or_unambiguous(columns, named, trained, found):
    assert text_column(columns, named=named, trained=trained, origin="'x.csv'") == found


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: text_column(["id", "txet"], named="text", trained=None, origin="'x.csv'"),
            DataError,
            "'x.csv' has no column 'text' (--text). Did you mean 'txet'? Its columns: 'id', 'txet'.",
        ),
        (
            lambda: text_column(["id", "b"], named=None, trained="message", origin="'x.csv'"),
            DataError,
            "'x.csv' has no column that is plainly the text; name it with --text. Its columns: 'id', 'b'.",
        ),
        (
            lambda: output_columns(["text", "probability"], ("prediction", "probability"), origin="'x.csv'"),
            DataError,
            "'x.csv' already has a column 'probability', where the prediction would go; rename or drop it in the file first.",
        ),
        (
            lambda: output_columns(["text", "prediction_2"], ("prediction", "probability", "prediction_2"), origin="'x.csv'"),
            DataError,
            "'x.csv' already has a column 'prediction_2', where the prediction would go; rename or drop it in the file first.",
        ),
        (
            lambda: output_format("-", "jsnl"),
            SettingsError,
            "--format is 'jsnl'; it must be one of csv, jsonl, parquet. Did you mean 'jsonl'?",
        ),
        (
            lambda: output_format("out.txt", None),
            SettingsError,
            "The name --out 'out.txt' does not tell the format; end it in .csv, .jsonl or .parquet, or give --format.",
        ),
        (lambda: parse_top("many"), SettingsError, "--top is 'many'; it must be a whole number."),
        (lambda: parse_top("0"), SettingsError, "--top is 0; it must be at least 1."),
    ],
)
def test_bad_input_is_told_in_one_sentence(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == message


def refusal(data, out, **changes):
    with pytest.raises(HeadstartError) as caught:
        run(data, out, **changes)
    return str(caught.value)


def test_bad_places_are_told_in_one_sentence(tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("text\nhi\n")
    Path("folder.csv").mkdir()
    assert refusal("in.csv", "./in.csv") == "--out './in.csv' is the file that is read; choose another name."
    assert refusal("in.csv", "folder.csv") == "--out 'folder.csv' is a folder; give a file in it, as 'folder.csv/predictions.csv'."
    told = f"--out 'no/out.csv' lies in a folder that does not exist; make {str(tmp_path / 'no')!r} first."
    assert refusal("in.csv", "no/out.csv") == told
    assert refusal("in.csv", "out.csv", top=4) == "--top is 4, but the model knows 3 labels; it must lie between 1 and 3."
    assert not Path("out.csv").exists()


def test_parquet_does_not_go_to_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(SettingsError) as caught:
        output_format("-", "parquet")
    assert str(caught.value) == "Parquet is no text for a terminal; give --out FILE, or lead the output into a file or a pipe."


def test_only_a_model_that_writes_reads_prompts_by_the_names_of_their_columns():
    row = {"instruction": "sort", "input": "b, a", "messages": "win a prize"}
    columns = list(row)
    assert reading_of(columns, "instruction,input", True)(row) == "sort\n\nb, a"
    assert reading_of(columns, "instruction,input", False)(row) == join_pair("sort", "b, a")
    assert reading_of(columns, "messages", False)(row) == "win a prize"


def test_a_classifier_reads_texts_that_are_called_as_chats_are(tmp_path, model):
    (tmp_path / "in.csv").write_text("messages\nhi\n")
    run(tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "messages,prediction,probability\nhi,short,0.7\n"


def test_a_saved_model_labels_a_file_as_it_labels_single_texts(tmp_path, capsys):
    from headstart import cli, load
    from headstart.export.model_folder import save_model
    from headstart.sources.opening import open_source
    from headstart.sources.resolve import resolve_source
    from headstart.strategies.base import LinearHead
    from tiny import make_tiny

    source = resolve_source(str(make_tiny(tmp_path / "tiny", "bert")))
    module, tokenizer = open_source(source)
    width = module.config.hidden_size
    random = np.random.default_rng(0)
    head = LinearHead(random.normal(size=(3, width)), random.normal(size=3))
    save_model(
        tmp_path / "run" / "model",
        backbone_module=module,
        tokenizer=tokenizer,
        pooling=source.pooling,
        layers=(module.config.num_hidden_layers,),
        head=head,
        labels=["a", "b", "c"],
        max_length=16,
        card="",
    )
    texts = ["where is my card", "hello", "a much longer text that is cut off at some place near its end", "é" * 40, "hello"] * 3
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    assert cli.main(["predict", str(tmp_path / "run"), str(tmp_path / "in.jsonl"), "--format", "jsonl", "--top", "3", "--quiet"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    model = load(tmp_path / "run")
    for text, line in zip(texts, lines, strict=True):
        single = dict(zip(model.labels, model.predict_proba([text])[0], strict=True))
        assert line["text"] == text
        assert line["prediction"] == max(single, key=single.__getitem__)
        for place in ("", "_2", "_3"):
            assert line[f"probability{place}"] == pytest.approx(single[line[f"prediction{place}"]], abs=2e-6)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path):
    script = textwrap.dedent("""
        import resource, sys, types
        import numpy as np
        class Model:
            labels = ["a", "b"]
            def predict_proba(self, texts):
                return np.tile([0.75, 0.25], (len(texts), 1))
        sys.modules["headstart.loaded"] = types.SimpleNamespace(load=lambda folder: Model())
        from headstart.predict import predict_file
        done = predict_file("run", "-", out=sys.argv[1], format=None, top=2, text=None)
        print(done.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """)

    def peak(rows, out):
        feed = ["id,text,note\n", *(f"{n},the text of row {n} is about this long,{'y' * 40}\n" for n in range(rows))]
        words = [sys.executable, "-c", script, str(tmp_path / out)]
        done = subprocess.run(words, input="".join(feed), text=True, capture_output=True, check=True)
        written, kilobytes = map(int, done.stdout.split())
        assert written == rows
        return kilobytes

    for out in ("out.csv", "out.jsonl", "out.parquet"):
        assert peak(200_000, out) - peak(20_000, out) < 25_000  # ten times the rows: 15 MB of them, and what a window takes


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (
            errno.ENOSPC,
            "The disk that holds {out!r} is full. Free some space, or choose another place with --out, and run the same command again.",
        ),
        (errno.EROFS, "There is no permission to use {out!r}. Change its permissions, or choose another place with --out."),
    ],
)
def test_what_cannot_be_written_is_told_by_the_name_that_was_given(tmp_path, monkeypatch, number, told):
    out = str(tmp_path / "p.csv")

    def refuse(*_):
        raise OSError(number, os.strerror(number), *([f"{tmp_path}/.p.csv.{os.getpid()}.part"] if number == errno.EROFS else []))

    if number == errno.EROFS:
        monkeypatch.setattr(Path, "open", refuse)
    else:
        monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError) as error, opened(out) as stream:
        stream.write(b"text,prediction\n")
    assert str(explain(error.value, "predict")) == told.format(out=out)
    assert list(tmp_path.iterdir()) == []
