"""Translation as a task: recognised, checked, judged."""

import csv
import json

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF

from headstart.checking import check_data
from headstart.errors import DataError
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said
from headstart.strategies.translation import compare
from headstart.tasks.registry import get_task
from headstart.tasks.translation import TASK, make_rows


def write(path, rows, columns=("en", "de")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def checked(path, **options):
    usual = {"text": None, "label": None, "test": None, "validation": None, "source": None, "max_length": 64}
    return check_data(path, **(usual | options))


PAIRS = [(f"the dog number {i} runs over the grass", f"der Hund Nummer {i} läuft über das Gras") for i in range(250)]


@pytest.mark.parametrize("columns", [("en", "de"), ("EN", "pt-BR"), ("source", "target"), ("text", "label")])
def test_two_languages_are_recognised(tmp_path, columns):
    known = columns[0].lower() == "en"
    path = write(tmp_path / "a.csv", PAIRS, columns)
    found = checked(path) if known else checked(path, task="translation")
    assert found.task == "translation" and get_task("translation") is TASK
    assert found.recognised == (f"{columns[0]!r} and {columns[1]!r} are languages" if known else "")


def test_what_is_wrong_with_pairs_is_told_by_row(tmp_path):
    rows = list(PAIRS)
    rows[3] = ("the dog", "")
    rows[7] = ("", "die Katze")
    rows[11] = ("yes", "das ist ein sehr langer Satz, der mit dem anderen offenbar gar nichts zu tun hat, denn er hört nicht auf")
    rows[13] = ("New York City", "New York City")
    rows[17] = (rows[16][0], "eine andere Übersetzung desselben Satzes ist kein Fehler")
    rows[19] = rows[18]
    test = write(tmp_path / "test.csv", [PAIRS[30], ("a new one", "ein neuer")])
    found = checked(write(tmp_path / "a.csv", rows), test=str(test))
    told = {finding.kind: (finding.message, finding.rows) for finding in found.result.findings}
    where = repr(str(tmp_path / "a.csv"))
    assert told["lengths"] == (f"1 pair of {where} is out of proportion in length.", (12,))
    assert told["not translated"] == (f"1 pair of {where} has the same text on both sides.", (14,))
    assert told["empty label"][1] == (4,) and told["empty text"][1] == (8,)
    assert told["duplicates"][1] == (20,) and told["test rows in train"][1] == (31,)
    assert "conflicting labels" not in told
    assert found.result.usable.sum() == 250 - 4


def test_few_pairs_and_none_are_said(tmp_path):
    few = checked(write(tmp_path / "a.csv", PAIRS[:5])).result.findings
    assert [finding.message for finding in few if finding.kind == "few rows"] == [
        f"Only 5 usable pairs of {str(tmp_path / 'a.csv')!r} have both sides."
    ]
    with pytest.raises(DataError) as error:
        checked(write(tmp_path / "b.csv", [(one, "") for one, _ in PAIRS]))
    assert str(error.value) == f"No row of {str(tmp_path / 'b.csv')!r} has a translation in 'de'; name its column with --label."


def test_scores_are_sacrebleus_and_the_worst_rows_come_first():
    true = ["ein Hund läuft schnell", "die Katze schläft heute", "ein Mann geht nach Hause"]
    said = ["ein Hund läuft", "der Vogel", "ein Mann geht nach Hause"]
    rows = make_rows(["a", "b", "c"], [f" {text} " for text in true], TASK.labels([], []))
    outputs = compare(said, true)
    scores = TASK.judge.scores(outputs, rows, None, Settings(resamples=100))
    assert scores["bleu"].value == pytest.approx(BLEU().corpus_score(said, [true]).score)
    assert scores["chrf"].value == pytest.approx(CHRF(word_order=2).corpus_score(said, [true]).score)
    assert TASK.judge.score(Metric.CHRF, outputs, rows) == scores["chrf"].value
    shown = TASK.judge.seen(Said(outputs, tuple(said)), rows, ()).shown
    assert [row.answer for row in shown] == [said[1], said[0], said[2]] and shown[2].score == pytest.approx(1.0)
    assert json.dumps([row.truth for row in shown]) == json.dumps([true[1], true[0], true[2]])


def test_contrast_of_some_measured_rows_is_the_difference_of_scores():
    true = [text for _, text in PAIRS[:40]]
    bad = [" ".join(text.split()[:3]) for text in true]
    rows = Rows(tuple(true), np.array(true, dtype=object), 1)
    found = TASK.judge.contrast(Metric.BLEU, compare(true, true), compare(bad, true), rows)
    assert found.difference == pytest.approx(100 - BLEU().corpus_score(bad, [true]).score)
