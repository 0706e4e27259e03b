"""The head of a tuned model: which layers it reads, where it begins, and how it is fitted once the blocks have learnt."""

from __future__ import annotations

from dataclasses import replace

from headstart.strategies.base import LinearHead, Rows
from headstart.strategies.heads import fit_head, usual_strength
from headstart.strategies.ladder import Job
from headstart.strategies.model import TransferModel
from headstart.strategies.outputs import Output, output_of
from headstart.strategies.probe import mean_of_layers, usual_layers

# Tuned features of the training rows lie closer together than those of new rows; a firmer penalty keeps the head from trusting them.
FIRMER = 3.0


def tuned_layers(blocks: int, cut: int) -> tuple[int, ...]:
    """What the head of a tuned model reads: of the layers that serve a probe best, those above the cut."""
    return tuple(layer for layer in usual_layers(blocks) if layer > cut)


def start_head(job: Job, train: Rows, cut: int) -> LinearHead:
    """A head on the frozen features of the layers that will be tuned: where tuning begins.

    It is fitted on the rows that `train` alone: one that knew those set aside for early stopping would do better on them than any tuning.
    """
    rows = train.named()
    features = mean_of_layers(job.source.pooled(rows.texts), tuned_layers(job.source.backbone.n_blocks, cut))
    return fit_head(features, rows.y, rows.n_classes, class_weight=job.class_weight)


def with_fitted_head(tuned: TransferModel, job: Job) -> TransferModel:
    """The model with a head that is fitted on what its tuned blocks make of all of the job's rows, where each has one class.

    The head that learnt with the blocks lags behind them: fitted anew it was half a point to two points more accurate on average with 8 to
    200 rows a class. Heads of several labels and of numbers stay as they are: fitted on features that have seen their own rows they lost
    up to 8 points (docs/log.md).
    """
    if output_of(job.rows.y) is not Output.CLASS:
        return tuned
    rows = job.rows.named()
    strength = FIRMER * usual_strength(rows.n_classes)
    head = fit_head(tuned.features(rows.texts), rows.y, rows.n_classes, strength=strength, class_weight=job.class_weight)
    return replace(tuned, head=head)
