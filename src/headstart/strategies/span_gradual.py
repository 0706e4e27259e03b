"""Gradual unfreezing on where answers begin and end, as a schedule of cuts (`gradual.py`): from the top block down to the job's cut."""

from __future__ import annotations

from headstart.strategies.gradual import in_stages, share_of_steps
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.schedule import schedule_of
from headstart.strategies.span_training import tune_spans
from headstart.strategies.spans import SpanModel


def fit(job: Job) -> SpanModel:
    """Tune above each cut in turn, with a head that begins at zero (why: `word_training.fit_words`)."""
    cuts = range(job.source.backbone.n_blocks - 1, job.cut - 1, -1)  # the head reads the last layer alone
    plan = schedule_of(job, share_of_steps(job, len(job.rows), cuts))

    def tuned(cut: int, before: SpanModel | None) -> SpanModel:
        module, head = (None, None) if before is None else (before.module, before.head)
        return tune_spans(job.source, job.rows, cut=cut, schedule=plan, module=module, head=head)

    return in_stages(cuts, tuned)


STRATEGY = Strategy(
    name="gradual",
    transfers=True,
    needs_source=True,
    summary="the blocks above the cut tuned from the top down, a block more at each stage, with a head for starts and ends",
    fit=fit,
    tunes_from=lambda job: job.cut,
    usual=False,
)
