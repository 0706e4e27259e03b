"""The saved model of answers: the stock class of transformers for its architecture, and in its configuration how spans are read off it."""

from __future__ import annotations

from pathlib import Path

from headstart.export.token_folder import ANSWERS, save_token_model
from headstart.loaded import ANSWERS as TASK
from headstart.strategies.pieces import sizes
from headstart.strategies.spans import SpanModel


def save_span_model(folder: Path, model: SpanModel, card: str) -> None:
    """Save a trained model of answers, whole or not at all; the folder holds no code.

    Raises:
        SourceError: the architecture has no class that can hold it.
        ResourceError: no room or no permission.
    """
    backbone = model.reader.backbone
    question, piece, shared = sizes(backbone.max_length)
    reading = {"question": question, "piece": piece, "shared": shared, "longest": model.longest}
    deciding = {"may_abstain": model.may_abstain, "factor": model.factor, "shift": model.shift}
    save_token_model(
        folder,
        backbone_module=model.module if model.module is not None else backbone.module,
        tokenizer=backbone.tokenizer,
        layer=model.layer,
        head=model.head,
        labels=(),
        max_length=backbone.max_length,
        card=card,
        kind=ANSWERS,
        told={TASK: "qa", "headstart_answers": {**reading, **deciding}},
    )
