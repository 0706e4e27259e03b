"""What is tried, and with which cut."""

from dataclasses import replace

import numpy as np
import pytest

from headstart import candidates
from headstart.backbone.reading import Reader
from headstart.cost import CostModel
from headstart.data.examples import Examples
from headstart.errors import SettingsError
from headstart.settings import Metric, make_settings
from headstart.strategies.heads import class_weights
from headstart.target import read_target
from small import sentences, write_csv
from tiny import make_tiny


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("candidates")
    write_csv(folder / "train.csv", sentences(60, 1))
    make_tiny(folder / "source", "bert", blocks=3)
    return folder


def rungs(task, strategies, cut):
    settings = make_settings({"source": str(task / "source"), "store": str(task / "store"), "cut": cut})
    target = read_target(str(task / "train.csv"), settings)
    with candidates.open_means(settings) as means:
        return candidates.rungs_on(target, np.arange(60), settings, means, strategies)


@pytest.mark.parametrize(("asked", "cut"), [(None, 1), (0, 0), (2, 2)])
def test_the_cut_that_is_asked_for_is_the_cut_of_the_rungs_that_tune(task, asked, cut):
    [rung] = rungs(task, ["partial"], asked)
    assert rung.job.cut == cut


def test_a_strategy_that_is_named_twice_is_one_rung():
    assert candidates.asked_strategies(make_settings({"strategy": ["probe", "tfidf", "probe"]})) == ["probe", "tfidf"]


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (("tfidf",), None),
        (("tfidf", "aligned"), "aligned"),
        (("weighted_rows", "aligned"), "weighted_rows"),
        (("aligned", "self_labels", "source_rows", "weighted_rows"), "source_rows"),
    ],
)
def test_of_several_ways_for_a_target_without_labels_no_fold_of_other_rows_chooses(asked, kept):
    assert candidates.way_of_texts(make_settings({"strategy": asked})) == kept


def test_a_cut_of_all_blocks_leaves_the_rungs_that_tune_none_or_all(task):
    names = [rung.name for rung in rungs(task, candidates.asked_strategies(make_settings({})), 3)]
    assert names == ["tfidf", "static", "probe", "full", "soup", "scratch"]


def test_a_cut_of_all_blocks_is_refused_where_only_tuning_was_asked_for(task):
    with pytest.raises(SettingsError) as caught:
        rungs(task, ["partial", "contrastive"], 3)
    assert str(caught.value) == "--cut is 3, which freezes every block, and partial, contrastive must train some; lower it."


def test_a_cut_above_the_blocks_is_refused_with_their_number(task):
    with pytest.raises(SettingsError) as caught:
        rungs(task, ["partial"], 4)
    source = str(task / "source")
    assert str(caught.value) == f"--cut is 4; the source {source!r} has 3 blocks, so it must lie between 0 and 3."


@pytest.mark.parametrize("metric", [Metric.MACRO_F1, Metric.ACCURACY])
def test_rungs_weigh_the_classes_as_they_are_among_their_own_rows_where_macro_f1_judges(metric, tiny_backbone):
    rows = [row for i, row in enumerate(sentences(120, 5)) if row[1] != "order" or i % 4 == 0]
    texts, labels = zip(*rows, strict=True)
    settings = make_settings({"metric": metric.value})
    target = read_target(Examples(texts, labels, tuple(range(1, len(rows) + 1)), "made", "text", "label"), settings)
    means = candidates.Means({"tiny": Reader(tiny_backbone("bert"), None, 4096)}, CostModel(1e11, 1e11), [])
    learn = np.arange(60)
    made = candidates.rungs_on(target, learn, settings, means, ["tfidf", "probe", "partial"])
    assert len(made) == 3
    for rung in made:
        if metric is Metric.ACCURACY:
            assert rung.job.class_weight is None
        else:
            np.testing.assert_allclose(rung.job.class_weight, class_weights(target.rows.y[learn], 3))


def test_few_rows_are_dealt_out_anew_with_their_groups_whole_and_many_are_not(task):
    settings = make_settings({"source": str(task / "source")})
    target = read_target(str(task / "train.csv"), settings)
    learn = np.arange(len(target.rows))
    again = candidates.dealt_again(target, learn, settings)
    deals = [candidates.folds_of(target, learn, settings), *again]
    assert len(deals) == candidates.REPEATS
    held = [[tuple(part[1].tolist()) for part in deal] for deal in deals]
    assert len(set(map(tuple, held))) == len(deals)
    for deal in deals:
        assert sorted(i for _, part in deal for i in part.tolist()) == learn.tolist()
        assert all(set(target.groups[train]).isdisjoint(target.groups[part]) for train, part in deal)
    more = np.arange(candidates.REPEATED_UP_TO + 1)
    many = replace(target, rows=target.rows.take(more % 60), groups=more)
    assert candidates.dealt_again(many, more, settings) == ()
    assert candidates.dealt_again(replace(target, validation=np.arange(5)), learn, settings) == ()


@pytest.mark.parametrize("with_pool", [False, True])
def test_beside_rows_of_neighbouring_data_all_rungs_go_by_the_same_folds(task, with_pool):
    settings = make_settings({"source": str(task / "source"), "store": str(task / "store")})
    target = read_target(str(task / "train.csv"), settings)
    with candidates.open_means(settings) as means:
        means.pool = object() if with_pool else None
        for rung in candidates.rungs_on(target, np.arange(60), settings, means, ["tfidf", "probe"]):
            assert len(rung.job.again) == (0 if with_pool else candidates.REPEATS - 1)
