"""What a source's own classification head says of some rows: what LEEP and NCE look at.

A head that headstart saved stands on features that are there already. That of a stock class (`...ForSequenceClassification`) may be of any
shape, so the whole model is run once more over the rows.

Letters in shapes: n rows, L blocks, d width, s classes of the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.judge.calibration import softmax
from headstart.sources import files
from headstart.sources.head import OTHER_PROBLEMS, saved_head
from headstart.strategies.base import FloatArray
from headstart.strategies.probe import mean_of_layers

if TYPE_CHECKING:
    from headstart.backbone.backbone import Backbone

_STOCK = "ForSequenceClassification"


def said_by_own_head(backbone: Backbone, pooled: NDArray[np.float32], texts: Sequence[str], batch_tokens: int) -> FloatArray | None:
    """Probabilities (n, s) of the source's own classes for each text; None where it has no head that tells one class of a text.

    Args:
        backbone: the source.
        pooled: (n, L+1, d) its features of the texts.
        texts: the rows.
        batch_tokens: tokens of a batch.
    """
    head = saved_head(backbone.source)
    if head is not None:
        return softmax(mean_of_layers(pooled, head.layers).astype(np.float64) @ head.weight.T + head.bias)
    config = files.read_json(backbone.source.folder / "config.json")
    kinds = config.get("architectures")
    stock = isinstance(kinds, list) and any(str(kind).endswith(_STOCK) for kind in kinds)
    if not stock or config.get("problem_type") in OTHER_PROBLEMS:
        return None
    try:
        logits = _stock_logits(backbone, texts, batch_tokens)
    except Exception:  # whatever the code of one of transformers' many heads raises: the other figures stand without it
        return None
    return None if logits is None or not np.isfinite(logits).all() else softmax(logits)


def _stock_logits(backbone: Backbone, texts: Sequence[str], batch_tokens: int) -> FloatArray | None:
    """Logits (n, s) of the stock class; None where its head is not among the weights, or has one output."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from headstart.backbone.batching import in_turn, plan_batches
    from headstart.backbone.encoding import encode, tell_texts_apart
    from headstart.backbone.kernels import fast_linears
    from headstart.backbone.reading import pad
    from headstart.sources.opening import quiet_transformers, read_config

    folder, filler = backbone.source.folder, backbone.tokenizer.pad_token_id or 0
    options = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True, "local_files_only": True}
    with quiet_transformers():
        model, info = AutoModelForSequenceClassification.from_pretrained(
            folder, config=read_config(folder), trust_remote_code=False, **options
        )
    if info["missing_keys"] or model.config.num_labels < 2:
        return None
    model.config.pad_token_id = filler  # causal classes look for the last token that is none
    if backbone.pairs:
        tell_texts_apart(model.base_model, backbone.tokenizer.sep_token_id)
    ids = [row or [filler] for row in encode(backbone.tokenizer, texts, backbone.max_length, pairs=backbone.pairs)]
    logits = np.empty((len(texts), model.config.num_labels))
    with torch.inference_mode(), fast_linears(model.eval()):
        for batch in in_turn(plan_batches([len(row) for row in ids], batch_tokens)):
            rows, mask = pad([ids[i] for i in batch], filler)
            logits[list(batch)] = model(input_ids=rows, attention_mask=mask).logits.double().numpy()
    return logits
