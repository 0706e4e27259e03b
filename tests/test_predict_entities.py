"""Labelling files with a model that marks entities: the tags of words, the entities and the least probability of each row."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from headstart.errors import DataError, SettingsError
from headstart.loaded import LoadedTagger
from headstart.predict import Predicted, output_columns, predict_file

CLASSES = {"Anna": (3, 0.9), "Smith": (4, 0.8), "Paris": (1, 0.75)}


class NameReader:
    """Knows three names by heart; counts what it was asked."""

    def __init__(self):
        self.asked = []

    def predict_logits(self, texts):
        self.asked.append(list(texts))
        rows = np.full((sum(text.count(" ") + 1 for text in texts), 5), 0.01)
        for row, word in zip(rows, " ".join(texts).split(" "), strict=True):
            k, sure = CLASSES.get(word, (0, 0.99))
            row[:] = (1 - sure) / 4
            row[k] = sure
        return np.log(rows)


@pytest.fixture
def reader(monkeypatch):
    """A model that marks people and places behind `headstart.loaded.load`, whatever the folder."""
    made = NameReader()
    tagger = LoadedTagger(("O", "B-LOC", "I-LOC", "B-PER", "I-PER"), Path("a run"), made)
    monkeypatch.setattr("headstart.loaded.load", lambda folder: tagger)
    return made


def run(data, out, **changes):
    options = {"format": None, "top": 1, "text": None} | changes
    return predict_file("a run", str(data), out=str(out), **options)


ANNA = {"text": "Anna Smith", "type": "PER", "start": 0, "end": 10, "probability": 0.8}
PARIS = {"text": "Paris", "type": "LOC", "start": 14, "end": 19, "probability": 0.75}


def test_jsonl_holds_the_tags_the_least_probability_and_the_entities(tmp_path, reader):
    (tmp_path / "in.jsonl").write_text('{"id": 1, "text": "Anna Smith in Paris."}\n{"id": 2, "text": "nobody"}\n')
    done = run(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines == [
        {
            "id": 1,
            "text": "Anna Smith in Paris.",
            "prediction": ["B-PER", "I-PER", "O", "B-LOC", "O"],
            "probability": 0.75,
            "entities": [ANNA, PARIS],
        },
        {"id": 2, "text": "nobody", "prediction": ["O"], "probability": None, "entities": []},
    ]
    assert done == Predicted(rows=2, empty=0, beyond=0)


def test_csv_holds_the_lists_as_json(tmp_path, reader):
    (tmp_path / "in.csv").write_text("id,text\n1,Anna Smith in Paris.\n2,nobody\n")
    run(tmp_path / "in.csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        header, first, second = csv.reader(file)
    assert header == ["id", "text", "prediction", "probability", "entities"]
    assert first[:2] == ["1", "Anna Smith in Paris."] and first[3] == "0.75"
    assert (json.loads(first[2]), json.loads(first[4])) == (["B-PER", "I-PER", "O", "B-LOC", "O"], [ANNA, PARIS])
    assert second == ["2", "nobody", '["O"]', "", "[]"]


def test_parquet_holds_the_lists_as_json_and_probabilities_as_numbers(tmp_path, reader):
    (tmp_path / "in.csv").write_text("id,text\n1,Anna Smith in Paris.\n2,\n3,nobody\n")
    run(tmp_path / "in.csv", tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["id", "text", "prediction", "probability", "entities"]
    assert [str(kind) for kind in table.schema.types] == ["string", "string", "string", "double", "string"]
    first, second, third = table.to_pylist()
    assert json.loads(first["entities"]) == [ANNA, PARIS] and first["probability"] == 0.75
    assert (second["prediction"], second["probability"], second["entities"]) == (None, None, None)
    assert (third["prediction"], third["probability"], third["entities"]) == ('["O"]', None, "[]")


@pytest.mark.parametrize("name", ["in.csv", "in.jsonl"])
def test_a_column_of_tokens_is_taken_as_the_words_that_it_lists(tmp_path, reader, name):
    rows = [["Anna", "Smith", "in", "Paris"], ["St. Anna", "Anna", "", "Paris"]]
    if name == "in.csv":
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([["tokens", "id"], *([json.dumps(words), 7] for words in rows)])
    else:
        (tmp_path / name).write_text("".join(json.dumps({"tokens": words, "id": 7}) + "\n" for words in rows))
    run(tmp_path / name, tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["prediction"] for line in lines] == [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-PER", "O", "B-LOC"]]
    assert lines[0]["entities"] == [ANNA, PARIS]
    assert [(entity["text"], entity["start"], entity["end"]) for entity in lines[1]["entities"]] == [("Anna", 9, 13), ("Paris", 15, 20)]
    assert [entity["probability"] for entity in lines[1]["entities"]] == [0.9, 0.75]
    assert lines[0]["tokens"] == (rows[0] if name == "in.jsonl" else json.dumps(rows[0]))


def test_columns_of_words_need_no_tags_to_be_tagged(tmp_path, reader):
    (tmp_path / "in.conll").write_text("# id = 1\nAnna\nSmith\nin\nParis\n\nParis\tO\n\n\tO\n\nAnna O\nsleeps\n")
    done = run(tmp_path / "in.conll", tmp_path / "out.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(line["tokens"], line["tags"], line["prediction"]) for line in lines] == [
        (["Anna", "Smith", "in", "Paris"], None, ["B-PER", "I-PER", "O", "B-LOC"]),
        (["Paris"], ["O"], ["B-LOC"]),
        (["Anna", "sleeps"], None, ["B-PER", "O"]),
    ]
    told = f"1 row of {str(tmp_path / 'in.conll')!r} had no word on a line and was left out. Repair or delete it in the file."
    assert done == Predicted(rows=3, empty=0, beyond=0, noticed=(told,))


def test_a_text_that_only_looks_like_a_list_is_a_running_text(tmp_path, reader):
    texts = ["[Anna]", '["Anna", 3]', '["Anna"', "[1, 2]"]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    run(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert reader.asked == [["[ Anna ]", '[ " Anna " , 3 ]', '[ " Anna "', "[ 1 , 2 ]"]]


def test_rows_without_a_word_get_nothing_and_a_warning_with_their_number(tmp_path, reader):
    (tmp_path / "in.csv").write_text('id,tokens\n1,"[""Anna""]"\n2,\n3,"  "\n4,[]\n5, [ ] \n')
    done = run(tmp_path / "in.csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert rows[0][2:4] == ['["B-PER"]', "0.9"]
    assert [row[2:] for row in rows[1:]] == [["", "", ""]] * 4
    assert done == Predicted(rows=5, empty=4, beyond=0)
    assert done.warnings == ("4 rows of 5 without a text got no prediction.",)
    assert reader.asked == [["Anna"]]


def test_a_file_without_any_word_asks_the_model_nothing(tmp_path, reader):
    (tmp_path / "in.csv").write_text("id,text\n1,\n")
    assert run(tmp_path / "in.csv", tmp_path / "out.csv").empty == 1
    assert reader.asked == [] and (tmp_path / "out.csv").read_text() == "id,text,prediction,probability,entities\n1,,,,\n"


def test_equal_texts_of_a_window_go_through_the_model_once(tmp_path, reader):
    (tmp_path / "in.csv").write_text("text,id\n" + "Anna,1\nnobody,2\n" * 50)
    run(tmp_path / "in.csv", tmp_path / "out.csv")
    assert reader.asked == [["Anna", "nobody"]]
    assert (tmp_path / "out.csv").read_text().count("B-PER") == 50


@pytest.mark.parametrize("out", ["out.csv", "out.jsonl", "out.parquet"])
def test_half_a_character_in_a_list_of_tokens_stops_nothing(tmp_path, reader, out):
    (tmp_path / "in.csv").write_text('id,tokens\n1,"[""\\ud800"", ""Anna""]"\n')
    assert run(tmp_path / "in.csv", tmp_path / out).rows == 1
    assert reader.asked == [["\N{REPLACEMENT CHARACTER} Anna"]]
    assert (tmp_path / out).stat().st_size > 0


def test_further_labels_are_refused_where_each_word_has_one_tag(tmp_path, reader):
    (tmp_path / "in.csv").write_text("text\nAnna\n")
    with pytest.raises(SettingsError) as caught:
        run(tmp_path / "in.csv", tmp_path / "out.csv", top=2)
    assert str(caught.value) == "--top is 2, but the model marks entities: each word has one tag. Leave it out."
    assert not (tmp_path / "out.csv").exists()


def test_a_column_where_the_entities_would_go_is_refused_only_where_they_would(tmp_path, reader):
    (tmp_path / "in.csv").write_text("text,entities\nAnna,x\n")
    with pytest.raises(DataError) as caught:
        run(tmp_path / "in.csv", tmp_path / "out.csv")
    assert str(caught.value) == (
        f"{str(tmp_path / 'in.csv')!r} already has a column 'entities', where the prediction would go; rename or drop it in the file first."
    )
    assert output_columns(["text", "entities"], ("prediction", "probability"), origin="'x.csv'") == [
        "text",
        "entities",
        "prediction",
        "probability",
    ]
