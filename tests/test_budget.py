"""What fits in the budget, before anything is trained."""

import json
from dataclasses import replace

import numpy as np
import pytest

from headstart import budget, candidates, deciding
from headstart.backbone.reading import tokenize
from headstart.cost import CostModel
from headstart.instances.pool import read_pool
from headstart.rungs import trial_seconds
from headstart.runs import RunFolder
from headstart.settings import make_settings
from headstart.target import parts_of, read_target
from small import asked, sentences, write_asked, write_csv
from tiny import make_causal, make_tiny


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A folder with train.csv (90 rows) and a tiny source."""
    folder = tmp_path_factory.mktemp("task")
    write_csv(folder / "train.csv", sentences(90, 1))
    make_tiny(folder / "source", "bert", blocks=2)
    return folder


@pytest.mark.parametrize(
    ("on_more", "asked", "first", "parts"),
    [(250.0, 500.0, 0.0, 2), (150.0, 500.0, 0.0, 1), (150.0, 750.0, 0.0, 2), (150.0, 750.0, 100.0, 1)],
)
def test_outer_folds_are_given_up_only_where_one_split_takes_less(task, monkeypatch, on_more, asked, first, parts):
    """Two halves and all rows against four fifths and all: 920 s against 1,020, where a half takes 100 s and more 250; 720 against 620."""
    monkeypatch.setattr(budget, "trial_seconds", lambda rung, cost, share=1.0: 100.0 if len(rung.job.rows) * share <= 50 else on_more)
    settings = make_settings({"source": str(task / "source"), "store": str(task / "store"), "outer_folds": 2, "budget": asked})
    target = read_target(str(task / "train.csv"), settings)
    with candidates.open_means(settings) as means:
        assert len(budget.parts_in_time(target, settings, means, ["tfidf", "probe"], first)) == parts


@pytest.mark.parametrize("judge", ["split", "folds"])
def test_what_answering_takes_is_kept_from_the_decisions(tmp_path, judge):
    """Sixteen prompts at once, all weights for each of some 40 tokens; winner and opponent; of outer folds each."""
    answer = "x" * 100
    lines = (json.dumps({"prompt": f"say {i}", "completion": answer}) for i in range(30))
    (tmp_path / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    source = make_causal(tmp_path / "source", "gpt2")
    settings = make_settings(
        {
            "source": str(source),
            "store": str(tmp_path / "store"),
            "budget": 1000.0,
            "few_rows": 0 if judge == "split" else 100,
            "outer_folds": 3,
        }
    )
    target = read_target(str(tmp_path / "train.jsonl"), settings)
    with candidates.open_means(settings) as means:
        means.cost = CostModel(training_speed=1e9, reading_speed=1e8)
        parts = parts_of(target, settings)
        assert target.task == "generation" and len(parts) == (1 if judge == "split" else 3)
        [reader] = means.readers.values()
        one = means.cost.reading(16 * 40, reader.backbone.parameters_total)
        left = budget.seconds_a_row(target, parts, settings, 100.0 + budget.seconds_to_judge(target, parts, means))
        learnt = sum(len(part.learn) for part in parts) + len(target.rows)
        assert left == pytest.approx((1000.0 - 100.0 - budget.AROUND - 2 * len(parts) * one) / learnt)


@pytest.mark.parametrize("budgets", [(1.0, 1e6), (1e6, 1.0)])
def test_a_run_of_answers_that_goes_on_with_another_budget_is_judged_on_the_same_rows(task, tmp_path, budgets):
    """Of the sixty contexts 2,000 characters are read for each second: few questions with the one budget, all with the other."""
    data = write_asked(tmp_path / "asked.json", asked(60, 1, words=60))
    settings = make_settings({"source": str(task / "source"), "store": str(tmp_path / "store"), "task": "qa", "few_rows": 100})
    target = read_target(data, settings)
    with candidates.open_means(settings) as means:
        found = []
        for seconds in budgets:
            run = RunFolder.open(tmp_path / "run", {})
            parts = budget.parts_in_time(target, replace(settings, budget=seconds), means, ["sentence"], 0.0, run)
            found.append([(part.name, part.learn.tolist(), part.judge.tolist()) for part in parts])
    assert found[0] == found[1] and len(found[0]) == (1 if budgets[0] == 1.0 else 5)


def test_what_the_store_lacks_must_be_read_and_a_test_file_too(task):
    settings = make_settings({"source": str(task / "source"), "store": str(task / "other store"), "test": str(task / "train.csv")})
    target = read_target(str(task / "train.csv"), replace(settings, test=None))
    write_csv(task / "test.csv", sentences(30, 9))
    judged = read_target(str(task / "train.csv"), replace(settings, test=str(task / "test.csv")))
    with candidates.open_means(settings) as means:
        [reader] = means.readers.values()
        means.cost = CostModel(training_speed=1e9, reading_speed=1e6)

        def seconds(rows):
            lengths = [len(ids) for ids in tokenize(reader.backbone, rows.texts)]
            return means.cost.reading(sum(lengths), reader.backbone.block_parameters)

        assert budget.seconds_to_read(target, means, ["probe"]) == pytest.approx(seconds(target.rows))
        assert budget.seconds_to_judge(target, parts_of(target, settings), means) == 0.0
        assert budget.seconds_to_judge(judged, parts_of(judged, settings), means) == pytest.approx(seconds(judged.test))
        reader.read_ahead(target.rows.texts[:45])
        assert budget.seconds_to_read(target, means, ["probe"]) == pytest.approx(seconds(target.rows) / 2, rel=0.1)
        reader.read_ahead(target.rows.texts)
        assert budget.seconds_to_read(target, means, ["probe"]) == 0.0


# --- rows of neighbouring data ---


@pytest.fixture
def neighbours(task, tmp_path):
    """Settings, and a target of 90 rows with means that hold 60 and 30 neighbouring rows."""
    write_csv(task / "one.csv", sentences(60, 21))
    write_csv(task / "two.csv", sentences(30, 22))
    named = [str(task / "one.csv"), str(task / "two.csv")]
    settings = make_settings({"source": str(task / "source"), "store": str(tmp_path / "store"), "rows_from": named, "metric": "accuracy"})
    target = read_target(str(task / "train.csv"), settings)
    with candidates.open_means(settings) as means:
        means.cost, means.pool = CostModel(training_speed=1e9, reading_speed=1e6), read_pool(target, settings)
        yield settings, target, means


def seconds_each(means, texts):
    [reader] = means.readers.values()
    return means.cost.reading(candidates.mean_tokens(reader, texts), reader.backbone.block_parameters)


def test_rows_of_neighbouring_data_must_be_read_too_before_the_first_decision(neighbours):
    settings, target, means = neighbours
    strategies, pool = candidates.asked_strategies(settings), means.pool
    own, theirs = 90 * seconds_each(means, target.rows.texts), 90 * seconds_each(means, pool.texts)
    assert budget.seconds_to_read(target, means, ["probe"]) == pytest.approx(own)
    assert budget.seconds_to_read(target, means, strategies) == pytest.approx(own + theirs)
    short = replace(settings, budget=1.0, few_rows=10)
    assert candidates.rows_that_fit(target, short, means, ["probe"])[0] == 10
    foretold = deciding.read_rows(target, settings, means, strategies)
    assert foretold == pytest.approx(own + theirs, rel=0.02)  # what the labels are called is read too
    assert candidates.rows_that_fit(target, short, means, ["probe"])[0] == 90  # what was read already costs nothing
    texts = replace(target, unlabelled=tuple(f"a text that bears no label, number {i}" for i in range(50)))
    assert [candidates.rows_that_fit(texts, short, means, [name])[0] for name in ("source_rows", "aligned")] == [90, 10]
    [reader] = means.readers.values()
    assert reader.lacking(pool.texts) == [] and budget.seconds_to_read(target, means, strategies) == 0.0


def test_light_rungs_with_neighbouring_rows_take_the_time_of_all_of_these(neighbours):
    settings, target, means = neighbours
    made = candidates.rungs_on(target, np.arange(90), settings, means, ["probe", "all_rows", "chosen_rows"])
    # A tenth of a second, and a second for a thousand rows of ten classes or fewer.
    assert [trial_seconds(rung, means.cost) for rung in made] == pytest.approx([0.1 + 0.09, 0.1 + 0.18, 0.1 + 0.18])


def test_of_more_neighbouring_rows_than_can_be_read_some_of_each_set_and_label_are_drawn(neighbours, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("headstart.instances.pool.FEWEST", 3)
    settings, target, means = neighbours
    pool = means.pool
    own, each = seconds_each(means, target.rows.texts), seconds_each(means, pool.texts)
    short = replace(settings, budget=(90 * own + 45.5 * each) / 0.6)  # the target's rows, and half of the others
    drawn = budget.pool_within_budget(target, short, means, RunFolder.open(tmp_path / "run", {}))
    kept = [pool.texts.index(text) for text in drawn.texts]
    assert 40 <= len(kept) <= 45 and kept == sorted(kept)
    for name in ("y", "of", "numbers"):
        assert getattr(drawn, name).tolist() == getattr(pool, name)[kept].tolist()
    counts = np.bincount(drawn.of * 3 + drawn.y)
    assert (abs(counts - np.array([10, 10, 10, 5, 5, 5])) <= 1).all()
    assert [one.used for one in drawn.sets] == np.bincount(drawn.of).tolist()
    assert [one.used + one.undrawn for one in drawn.sets] == [60, 30]
    told = (
        f"Of 90 neighbouring rows {len(kept)} are looked at, drawn by set and label: reading all would take about {90 * each:,.0f} s "
        f"of the {short.budget:,.0f} s there are."
    )
    assert capsys.readouterr().err == f"  {told} Give a longer --budget, and another --out, for more.\n"
    [left] = [finding for finding in drawn.findings if finding.kind == "source rows not drawn"]
    assert (left.message, left.count) == (told, 90 - len(kept))
    # A run that goes on looks at the same, however long it has now; with none left the fewest of each are looked at.
    assert budget.pool_within_budget(target, settings, means, RunFolder.open(tmp_path / "run", {})).texts == drawn.texts
    assert len(budget.pool_within_budget(target, replace(settings, budget=1.0), means)) == 18
    whole = replace(settings, budget=(90 * own + 90.5 * each) / 0.6)
    assert budget.pool_within_budget(target, whole, means) is pool


def test_features_of_neighbouring_rows_must_fit_into_the_memory_beside_the_targets(neighbours, monkeypatch, capsys):
    settings, target, means = neighbours
    monkeypatch.setattr(candidates, "memory_bytes", lambda: 4 * (90 + 63) * 3 * 32 * 4)  # a quarter holds two blocks and the embeddings
    drawn = budget.pool_within_budget(target, replace(settings, budget=1e6), means)
    assert 60 <= len(drawn) <= 63
    told = f"Of 90 neighbouring rows {len(drawn)} are looked at, drawn by set and label: reading all would take about 0 GB of memory."
    assert capsys.readouterr().err == f"  {told}\n"


@pytest.mark.parametrize(
    ("foretold", "took", "times"), [(4.0, 12.0, 3.0), (4.0, 4.5, 1.0), (4.0, 1.0, 0.25), (4.0, 3.5, 1.0), (0.5, 5.0, 1.0)]
)
def test_reading_that_takes_longer_than_foretold_or_shorter_tells_of_the_machine(foretold, took, times):
    means = candidates.Means({}, CostModel(1e11, 2e11), [])
    budget.notice_speed(means, foretold, took)
    assert (means.cost.training_speed, means.cost.reading_speed) == (pytest.approx(1e11 / times), pytest.approx(2e11 / times))
