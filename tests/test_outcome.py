"""What is put together after a run: the label curve where the budget leaves time for it."""

from types import SimpleNamespace

import pytest

from headstart import outcome
from headstart.backbone.reading import Reader
from headstart.data.examples import Examples
from headstart.data.prompts import WHOLE
from headstart.runs import RunFolder
from headstart.settings import Settings
from headstart.target import read_target
from small import sentences


def decision(seconds):
    """A decision on four folds whose light rungs took so many seconds in all; other rungs do not count."""
    took = {"probe": 0.75 * seconds, "tfidf": 0.25 * seconds, "full": 1e6}
    trials = [SimpleNamespace(strategy=name, seconds=each) for name, each in took.items()]
    return SimpleNamespace(trials=trials, winner=SimpleNamespace(job=SimpleNamespace(folds=[None] * 4)))


@pytest.fixture(scope="module")
def target():
    rows = sentences(90, 1)
    examples = Examples(tuple(t for t, _ in rows), tuple(k for _, k in rows), tuple(range(1, 91)), "made", "text", "label")
    return read_target(examples, Settings())


# A curve of at most six sizes and two parts counts as twelve folds, one of three sizes and a part as three; it may take 25 s.
@pytest.mark.parametrize(("seconds", "sizes"), [(8.0, 4), (9.0, 3), (33.0, 3), (34.0, None)])
def test_the_label_curve_is_as_fine_as_the_budget_allows(target, tiny_backbone, seconds, sizes):
    settings = Settings(resamples=100)
    curve = outcome._curve(target, decision(seconds), Reader(tiny_backbone("bert", blocks=2), None, 4096), settings, 25.0)
    if sizes is None:
        assert curve is None
        return
    drawn = [[point for point in curve.points if point.rung == rung] for rung in ("probe", "tfidf")]
    assert [len(points) for points in drawn] == [sizes] * 2
    assert [point.labels for point in drawn[0]] == [point.labels for point in drawn[1]]
    assert drawn[0][-1].labels == 72  # of 90 rows a fifth is held out
    assert {point.score.n for point in curve.points} == {36 if sizes == 4 else 18}  # rows of two parts judge a fine curve


def test_the_label_curve_keeps_to_the_budget_where_its_rungs_were_not_tried(target, tiny_backbone):
    reader, untried = Reader(tiny_backbone("bert", blocks=2), None, 4096), decision(0.0)
    assert outcome._curve(target, untried, reader, Settings(resamples=100), 0.25) is None
    assert outcome._curve(target, untried, reader, Settings(resamples=100), 250.0) is not None


def test_curves_may_take_a_quarter_of_the_budget_and_no_more_than_is_left_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(outcome.time, "perf_counter", lambda: 1000.0)
    spent = {"early": 10.0, "late": 90.0, "over": 130.0}
    left = {}
    for _ in range(2):  # a run that goes on reads it in its journal
        for name, seconds in spent.items():
            left[name] = outcome.seconds_for_curves("curve", Settings(budget=100.0), RunFolder.open(tmp_path / name, {}), 1000.0 - seconds)
        assert left == {"early": 25.0, "late": 10.0, "over": -30.0}
        spent = dict.fromkeys(spent, 0.0)


@pytest.mark.parametrize(
    ("task", "label", "words"),
    [
        ("classification", "card", "card"),
        ("multilabel", '["card", "login"]', "card, login"),
        ("multilabel", "[]", "none"),
        ("qa", '[{"text": "Ada", "start": 3}, {"text": "Ada L.", "start": 3}]', "Ada | Ada L."),
        ("qa", "[]", "no answer"),
        ("generation", WHOLE, ""),
    ],
)
def test_labels_of_near_duplicates_stand_in_words(task, label, words):
    assert outcome._in_words(SimpleNamespace(task=task, examples=SimpleNamespace(labels=[label])), 0) == words
