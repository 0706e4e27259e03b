"""Of many sources, which are looked at first."""

from dataclasses import replace

import numpy as np
import pytest

from headstart import leading
from headstart.backbone.reading import Reader
from headstart.leading import order_of_sources
from headstart.rungs import Rung
from headstart.runs import RunFolder
from headstart.settings import Settings
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job, get_strategy
from headstart.transferability.decomposed import decompose
from headstart.transferability.logme import logme
from tiny import WORDS


@pytest.fixture
def rungs(tiny_backbone):
    """A probe on each of five tiny sources, and on one that came by a detour."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    rows = Rows(tuple(" ".join(rng.choice(WORDS[:20] if k else WORDS[10:], 5)) for k in y), y, 2)
    made = []
    for k, kind in enumerate(["bert", "roberta", "gpt2", "distilbert", "mpnet", "bert"]):
        job = Job(rows, np.arange(40), [], Settings(), 0, Reader(tiny_backbone(kind, seed=k), None, 4096))
        made.append(Rung(get_strategy("probe"), f"source {k}", job, 5.0, "a detour" if k == 5 else None))
    return made


def test_the_order_is_that_of_the_evidence_and_is_remembered(rungs, tmp_path, monkeypatch):
    found = order_of_sources(rungs, RunFolder.open(tmp_path / "run", {}), "rows")
    told = {}
    for rung in rungs[:5]:
        pooled = rung.job.source.pooled(rung.job.rows.texts)
        read = pooled[:, pooled.shape[1] // 2 + 1 :].mean(axis=1)
        varies = read.std(axis=0) > 1e-6
        told[rung.source] = logme(
            decompose((read[:, varies] - read[:, varies].mean(axis=0)) / read[:, varies].std(axis=0)), rung.job.rows.y, 2
        )
    assert found == sorted(told, key=lambda source: -told[source]) and found != list(told)
    monkeypatch.setattr(leading, "_evidence", None)  # a run that goes on computes nothing anew
    assert order_of_sources(rungs, RunFolder.open(tmp_path / "run", {}), "rows") == found


def test_a_run_that_goes_on_without_one_of_its_sources_orders_those_that_are_left(rungs, tmp_path):
    others = [*rungs, replace(rungs[0], source="source 6")]
    order_of_sources(others, RunFolder.open(tmp_path / "run", {}), "rows")
    found = order_of_sources(rungs, RunFolder.open(tmp_path / "run", {}), "rows")
    assert found == order_of_sources(rungs, RunFolder.open(tmp_path / "another", {}), "rows")


def test_a_source_without_finite_numbers_is_named_and_comes_last(rungs, tmp_path, capsys):
    class Broken(Reader):
        def pooled(self, texts):
            return np.full((len(texts), self.backbone.n_blocks + 1, self.backbone.width), np.nan, dtype=np.float32)

    sound = order_of_sources([*rungs, replace(rungs[2], source="source 6")], RunFolder.open(tmp_path / "sound", {}), "rows")
    job = replace(rungs[2].job, reader=Broken(rungs[2].job.source.backbone, None, 4096))
    broken = [*rungs, replace(rungs[2], source="source 6", job=job)]
    found = order_of_sources(broken, RunFolder.open(tmp_path / "run", {}), "rows")
    assert found == [*(source for source in sound if source != "source 6"), "source 6"]
    why = "The source gives numbers that are not finite for 40 of 40 texts; choose another source."
    assert capsys.readouterr().err == f"  source 6 could not be ranked ({why})\n"
    assert order_of_sources(broken, RunFolder.open(tmp_path / "run", {}), "rows") == found  # from the journal
    assert capsys.readouterr().err == ""


def test_few_sources_and_what_is_no_class_of_a_text_stay_as_they_were_named(rungs, tmp_path):
    run = RunFolder.open(tmp_path / "run", {})
    assert order_of_sources(rungs[:4], run, "rows") == [f"source {k}" for k in range(4)]
    numbers = [replace(rung, job=replace(rung.job, rows=replace(rung.job.rows, y=np.zeros((40, 1)), n_classes=1))) for rung in rungs]
    assert order_of_sources(numbers, run, "rows") == [f"source {k}" for k in range(5)]
