"""What fits in the budget, before anything is trained."""

import pytest

from headstart import budget, candidates
from headstart.settings import make_settings
from headstart.target import read_target
from small import sentences, write_csv
from tiny import make_tiny


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
