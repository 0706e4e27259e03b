"""What is tried, and with which cut."""

import numpy as np
import pytest

from headstart import candidates
from headstart.errors import SettingsError
from headstart.settings import make_settings
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


def test_a_cut_of_all_blocks_leaves_the_rungs_that_tune_none_or_all(task):
    names = [rung.name for rung in rungs(task, candidates.asked_strategies(make_settings({})), 3)]
    assert names == ["tfidf", "static", "probe", "full", "scratch"]


def test_a_cut_of_all_blocks_is_refused_where_only_tuning_was_asked_for(task):
    with pytest.raises(SettingsError) as caught:
        rungs(task, ["partial", "contrastive"], 3)
    assert str(caught.value) == "--cut is 3, which freezes every block, and partial, contrastive must train some; lower it."


def test_a_cut_above_the_blocks_is_refused_with_their_number(task):
    with pytest.raises(SettingsError) as caught:
        rungs(task, ["partial"], 4)
    source = str(task / "source")
    assert str(caught.value) == f"--cut is 4; the source {source!r} has 3 blocks, so it must lie between 0 and 3."
