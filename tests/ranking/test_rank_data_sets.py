"""`headstart rank --via`: data sets compared with the target before anything is trained."""

import csv
import json

import numpy as np
import pytest

from headstart import cli
from headstart.backbone import backbone
from headstart.ranking import data_sets
from headstart.ranking.data_sets import rank_data
from headstart.settings import make_settings
from small import sentences, write_csv
from tiny import make_tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    rows = sentences(60, 1)
    write_csv(folder / "target.csv", rows)
    near = [(text, "pay" if label == "card" else "other") for text, label in sentences(60, 5)]
    write_csv(folder / "near.csv", [*near, (rows[0][0], "pay")])
    far = [(f"{'z' * (1 + i % 5)} {'q' * (1 + i % 7)} {i}", "even" if i % 2 == 0 else "odd") for i in range(60)]
    write_csv(folder / "far.csv", far)
    write_csv(folder / "one.csv", [(text, "same") for text, _ in near])
    make_tiny(folder / "source", "bert", blocks=2)
    return folder


def words(place, tmp_path, *via):
    sets = [word for name in via for word in ("--via", str(place / name))]
    return ["rank", str(place / "target.csv"), *sets, "--source", str(place / "source"), "--store", str(tmp_path / "store"), "--quiet"]


def test_the_nearer_set_comes_first_and_shared_rows_are_left_out(place, tmp_path, capsys):
    asked = {"via": [str(place / "far.csv"), str(place / "near.csv")], "source": [str(place / "source")], "store": str(tmp_path / "store")}
    found = rank_data(place / "target.csv", make_settings(asked))
    assert [item.name for item in found.sets] == ["near", "far"]
    near, far = found.sets
    assert near.left_out == 1 and far.left_out == 0
    assert set(near.scores) == {"mean_similarity", "mmd", "a_distance", "vocabulary"}
    assert near.scores["vocabulary"] == 1.0 and far.scores["vocabulary"] == 0.0  # made of the same words, and of none
    assert near.scores["mmd"] < far.scores["mmd"] and near.scores["a_distance"] < far.scores["a_distance"]
    assert np.isfinite(list(far.scores.values())).all()
    assert cli.main(words(place, tmp_path, "far.csv", "near.csv")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["data", "set", "rows", "labels", "mean_similarity", "mmd", "a_distance", "vocabulary"]
    assert [line.split()[:2] for line in lines[1:3]] == [["1", "near"], ["2", "far"]]
    assert lines[4] == "near: 1 row is nearly the same as rows of the target and left out."


def test_a_set_that_cannot_be_learnt_is_left_out_and_the_others_ranked(place, tmp_path, capsys):
    (place / "empty.csv").write_text("text,label\n")
    (place / "odd.csv").write_text("id,body,kind\n1,a text,a\n2,another,b\n")
    assert cli.main(words(place, tmp_path, "one.csv", "near.csv", "gone.csv", "empty.csv", "odd.csv", "far.csv")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["1", "near"], ["2", "far"]]
    why = {
        "one.csv": "All 60 usable rows of {} bear the same label, 'same'. "
        "Give rows of at least two labels, or name another column with --label. These options name the target's columns; of this file, "
        "columns that are called the same are read ('text' and 'label').",
        "gone.csv": "There is no file {}. Did you mean 'one.csv'?",
        "empty.csv": "{} has a header and no rows; add labelled texts.",
        "odd.csv": "it has no columns that are plainly text and label; call them so, or as in the target's data ('text' and 'label'). "
        "Its columns: 'id', 'body', 'kind'.",
    }
    paths = {name: repr(str(place / name)) for name in why}
    told = [
        f"left out: The source task {paths[name]} (--via) cannot be learnt: {reason.format(paths[name])}" for name, reason in why.items()
    ]
    assert lines[5:9] == told


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["--strategy", "full"], "--strategy cannot be followed with --via, which compares data sets by their texts alone; leave it out."),
        (
            ["--cut", "1", "--metric", "accuracy", "--budget", "5m"],
            "--cut, --budget, --metric cannot be followed with --via, which compares data sets by their texts alone; leave them out.",
        ),
    ],
)
def test_what_is_asked_of_a_fit_is_refused(place, tmp_path, capsys, asked, told):
    assert cli.main([*words(place, tmp_path, "near.csv"), *asked]) == 2
    assert capsys.readouterr().err == f"headstart: {told}\n"


def test_for_translations_there_are_no_source_tasks_to_rank(place, tmp_path, capsys):
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps({"en": text, "de": text[::-1]}) + "\n" for text, _ in sentences(40, 1)))
    asked = words(place, tmp_path, "near.csv")
    asked[1] = str(tmp_path / "pairs.jsonl")
    assert cli.main(asked) == 2
    told = "--via is not there for the task translation; learn the source task by itself, and name its run with --source."
    assert capsys.readouterr().err == f"headstart: {told}\n"


def test_of_several_sources_the_first_reads_and_that_is_said(place, tmp_path, capsys):
    assert cli.main(words(place, tmp_path, "near.csv", "far.csv")) == 0
    alone = capsys.readouterr()
    assert cli.main([*words(place, tmp_path, "near.csv", "far.csv"), "--source", "nowhere"]) == 0
    both = capsys.readouterr()
    assert alone.err == ""
    assert both.err == f"{str(place / 'source')!r} is the first of 2 sources and reads the texts; the others are not used.\n"
    assert both.out.splitlines()[:4] == alone.out.splitlines()[:4]


def test_pairs_are_read_as_pairs_and_single_texts_as_such(place, tmp_path, monkeypatch):
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        sides = [(text, other, label) for (text, label), (other, _) in zip(sentences(40, 1), sentences(40, 9), strict=True)]
        csv.writer(file).writerows([("premise", "hypothesis", "label"), *sides])
    opened, load = [], backbone.load_backbone
    monkeypatch.setattr(backbone, "load_backbone", lambda source, length, **how: opened.append(load(source, length, **how)) or opened[-1])
    asked = {"via": [str(place / "near.csv")], "source": [str(place / "source")], "store": str(tmp_path / "store")}
    for data in (tmp_path / "pairs.csv", place / "target.csv"):
        assert [item.name for item in rank_data(str(data), make_settings(asked)).sets] == ["near"]
    assert [each.pairs for each in opened] == [True, False]


def test_where_no_set_can_be_learnt_the_reason_is_told(place, tmp_path, capsys):
    assert cli.main(words(place, tmp_path, "one.csv")) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"headstart: The source task {str(place / 'one.csv')!r} (--via) cannot be learnt: ")
    assert cli.main(words(place, tmp_path, "gone.csv", "one.csv")) == 2
    assert capsys.readouterr().err == said.replace("headstart: ", "headstart: None of the 2 data sets can be learnt; the last one: ", 1)


def test_a_measure_that_cannot_be_taken_is_a_dash_and_the_others_stand(place, tmp_path, capsys):
    write_csv(tmp_path / "marks.csv", [("!" * (1 + i % 7) + "?" * (1 + i // 7), "ab"[i % 2]) for i in range(40)])
    sets = ["--via", str(place / "near.csv"), "--via", str(place / "far.csv")]
    given = ["rank", str(tmp_path / "marks.csv"), *sets, "--source", str(place / "source"), "--store", str(tmp_path / "store"), "--quiet"]
    assert cli.main(given) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[:3]]
    assert lines[0][-1] == "vocabulary" and [line[-1] for line in lines[1:]] == ["-", "-"]
    assert all(float(cell) for line in lines[1:] for cell in line[4:-1])


def test_a_ranking_of_data_sets_is_saved_with_its_page(place, tmp_path, capsys):
    write_csv(tmp_path / "marks.csv", [("!" * (1 + i % 7) + "?" * (1 + i // 7), "ab"[i % 2]) for i in range(40)])
    asked = words(place, tmp_path, "near.csv", "far.csv", "one.csv")
    asked[1] = str(tmp_path / "marks.csv")
    assert cli.main([*asked, "--save", str(tmp_path / "page")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == f"page  {tmp_path / 'page' / 'ranking.html'}"
    told = json.loads((tmp_path / "page" / "ranking.json").read_text())
    assert [item["name"] for item in told["sets"]] == [line.split()[1] for line in out[1:3]]
    assert [item["scores"]["vocabulary"] for item in told["sets"]] == [None, None]  # the target has no words, and JSON no NaN
    assert told["ordering"] == "mmd" and told["command"].startswith("headstart rank ") and len(told["left_out"]) == 1
    assert {path.name for path in (tmp_path / "page").iterdir()} == {"ranking.json", "ranking.html"}


def test_on_the_map_distances_are_those_between_the_means_of_features():
    """Three means in a plane within ten dimensions: the places have the same distances from each other and from the target."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(10, 2)))[0]
    means = [basis @ place for place in (np.array([0.3, 0.2]), np.array([1.0, 2.0]), np.array([-1.0, 0.5]))]
    places = np.array([(0.0, 0.0), *data_sets._around_the_target(means)])
    for i in range(3):
        for j in range(3):
            assert np.linalg.norm(places[i] - places[j]) == pytest.approx(np.linalg.norm(means[i] - means[j]))
