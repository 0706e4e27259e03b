"""Of many sources, which are looked at first.

A probe of each, fold by fold, in every decision, would take a short budget for itself. What ranks sources in closed form from features that
are there anyway costs next to nothing; so it says in which order they are probed, until their share of the time is spent.

Letters in shapes: n rows, d width, L blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from headstart.errors import SourceError
from headstart.progress import say
from headstart.rungs import Rung
from headstart.runs import RunFolder, digest
from headstart.strategies.base import Rows
from headstart.strategies.heads import make_space
from headstart.strategies.ladder import Job
from headstart.strategies.outputs import Output, output_of
from headstart.strategies.probe import mean_of_layers, usual_layers
from headstart.transferability.decomposed import decompose
from headstart.transferability.logme import logme

FEW = 4  # so many sources are all probed, in the order in which they were named
LEAST = 2  # however short the time
SHARE = 0.5  # of a decision's time, for probing


def order_of_sources(rungs: Sequence[Rung], run: RunFolder, label: str) -> list[str | None]:
    """The sources of some rungs, detours apart, the most promising first; as they were named where they are few, or do not tell classes.

    Args:
        rungs: of one decision, all on the same rows.
        run: remembers the scores.
        label: names the rows, for the journal.
    """
    rows = rungs[0].job.rows
    jobs = {rung.source: rung.job for rung in rungs if rung.job.reader is not None and rung.detour is None}
    if len(jobs) <= FEW or not can_be_ranked(rows):
        return list(jobs)
    # Of a run that goes on a source may have gone, so the key names them.
    key = f"{label}/order of sources {digest([str(name) for name in jobs])}"
    scores = run.remember(key, lambda: {"scores": [_evidence(source, job) for source, job in jobs.items()]})["scores"]
    return [source for _, source in sorted(zip(scores, jobs, strict=True), key=lambda pair: -pair[0])]


def can_be_ranked(rows: Rows) -> bool:
    """Whether the evidence of a source can be told in closed form: where each row has one class."""
    return output_of(rows.y) is Output.CLASS and rows.sizes is None


def _evidence(source: str | None, job: Job) -> float:
    """LogME of the features (n, d) that a probe usually reads; -inf, which is said, of a source that gives no finite numbers."""
    features = mean_of_layers(job.source.pooled(job.rows.texts), usual_layers(job.source.backbone.n_blocks))
    try:
        return logme(decompose(make_space(features).z), job.rows.y, job.rows.n_classes)
    except SourceError as error:
        say(f"  {source} could not be ranked ({error})")
        return -math.inf
