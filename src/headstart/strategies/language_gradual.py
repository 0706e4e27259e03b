"""Gradual unfreezing on completions, as a schedule of cuts (`gradual.py`): from the top block down to the job's cut."""

from __future__ import annotations

import copy

from headstart.strategies.gradual import in_stages, share_of_steps
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.language import WritingModel
from headstart.strategies.language_training import tune_language, work_of, writing_schedule


def fit(job: Job) -> WritingModel:
    """Tune above each cut in turn; the embeddings, and with them a tied output layer, stay as they are."""
    lowest = max(1, job.cut)
    cuts = range(max(lowest, job.source.backbone.n_blocks - 1), lowest - 1, -1)  # the output layer reads the last layer alone
    plan = writing_schedule(job, share_of_steps(job, len(job.rows), cuts), lowest)

    def tuned(cut: int, before: WritingModel | None) -> WritingModel:
        module = copy.deepcopy(job.source.backbone.module) if before is None else before.module
        assert module is not None  # a stage leaves one
        return tune_language(job.source, job.rows, cut=cut, schedule=plan, module=module, pack=job.settings.pack)

    return in_stages(cuts, tuned)


STRATEGY = Strategy(
    name="gradual",
    transfers=True,
    needs_source=True,
    summary="the blocks above the cut tuned from the top down, a block more at each stage",
    fit=fit,
    tunes_from=lambda job: max(1, job.cut),
    work=lambda job, share: work_of("gradual", job, share),
    usual=False,
)
