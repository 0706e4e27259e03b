"""The source's embedding output only, pooled, under a linear head: what its vocabulary alone carries over."""

from __future__ import annotations

from headstart.strategies.base import Fitted, FloatArray
from headstart.strategies.heads import choose_head
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.model import TransferModel

LAYER = 0


def out_of_fold(job: Job) -> tuple[Fitted, FloatArray]:
    """The model of all rows and logits of held-out rows."""
    reader = job.source
    features = reader.pooled(job.rows.texts)[:, LAYER]
    choice = choose_head(features, job.rows.y, job.rows.n_classes, job.folds, job.class_weight)
    return TransferModel(reader, None, reader.backbone.n_blocks, (LAYER,), choice.head), choice.out_of_fold_logits


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
