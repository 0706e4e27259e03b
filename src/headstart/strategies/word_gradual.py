"""Gradual unfreezing on words, as a schedule of cuts (`gradual.py`): from the top block down to the job's cut."""

from __future__ import annotations

from headstart.strategies.gradual import in_stages, share_of_steps
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.schedule import schedule_of
from headstart.strategies.word_model import WordModel
from headstart.strategies.word_training import tune_words, zero_head


def fit(job: Job) -> WordModel:
    """Tune above each cut in turn, with a head that begins at zero (why: `word_training.fit_words`)."""
    cuts = range(job.source.backbone.n_blocks - 1, job.cut - 1, -1)  # the head reads the last layer alone
    plan = schedule_of(job, share_of_steps(job, len(job.rows), cuts))

    def tuned(cut: int, before: WordModel | None) -> WordModel:
        head = zero_head(job) if before is None else before.head
        return tune_words(job.source, job.rows, cut=cut, head=head, schedule=plan, module=None if before is None else before.module)

    return in_stages(cuts, tuned)


STRATEGY = Strategy(
    name="gradual",
    transfers=True,
    needs_source=True,
    summary="the blocks above the cut tuned from the top down, a block more at each stage, with a head on each word",
    fit=fit,
    tunes_from=lambda job: job.cut,
    usual=False,
)
