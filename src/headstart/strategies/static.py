"""The source's embedding output only, pooled, under a linear head: what its vocabulary alone carries over."""

from __future__ import annotations

from headstart.strategies.base import Fitted, FloatArray, with_names
from headstart.strategies.heads import choose_head
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.model import TransferModel

LAYER = 0


def out_of_fold(job: Job) -> tuple[Fitted, FloatArray]:
    """The model of all rows and logits of held-out rows."""
    reader = job.source
    rows, folds = with_names(job.rows, job.folds)
    choice = choose_head(reader.pooled(rows.texts)[:, LAYER], rows.y, rows.n_classes, folds, job.class_weight)
    model = TransferModel(reader, None, reader.backbone.n_blocks, (LAYER,), choice.head)
    return model, choice.out_of_fold_logits[: len(job.rows.y)]


def fit(job: Job) -> Fitted:
    """A head on the pooled embedding output."""
    return out_of_fold(job)[0]


STRATEGY = Strategy(
    name="static",
    transfers=True,
    needs_source=True,
    summary="the source's token embeddings, pooled, under a linear head",
    fit=fit,
    out_of_fold=out_of_fold,
)
