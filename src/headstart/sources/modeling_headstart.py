"""A text classifier: any backbone, pooled token vectors of one or several layers, one linear layer.

This file is copied into every saved model and stands alone: it needs torch and transformers, nothing else. `transformers` runs it when
`trust_remote_code=True` is given; headstart itself opens a saved model with its own copy of this file and never with the folder's.

Letters in shapes: b texts in the batch, t tokens, d width of the backbone, c labels.
"""

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class HeadstartConfig(PretrainedConfig):  # type: ignore[misc]
    """What is needed to build the classifier.

    `backbone_config` is the configuration of the backbone as a plain dictionary, with its `model_type`. `pooling` is `mean`, `cls`, `last`
    or `max`. `layers` are the layers whose pooled vectors are averaged: 0 is the embedding output, k the output of block k, and the number
    of blocks is the backbone's last hidden state, after its final norm where it has one; None means the last alone. `pairs` is whether it
    reads two texts together.
    """

    model_type = "headstart"

    def __init__(
        self,
        backbone_config: dict[str, Any] | None = None,
        pooling: str = "mean",
        layers: list[int] | None = None,
        pairs: bool = False,
        **kwargs: Any,
    ) -> None:
        self.backbone_config = backbone_config
        self.pooling = pooling
        self.layers = layers
        self.pairs = pairs
        super().__init__(**kwargs)


def pool(states: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """One vector for each text, (b, d), of token vectors (b, t, d) and a mask (b, t) that is 1 where a token counts.

    Padding may stand on either side.
    """
    if how == "mean":
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
    if how == "max":
        return states.masked_fill(mask.unsqueeze(-1) == 0, torch.finfo(states.dtype).min).amax(dim=1)
    if how not in ("cls", "last"):
        raise ValueError(f"The pooling is {how!r}; it must be mean, cls, last or max.")
    kept = (mask != 0).long()
    positions = torch.arange(mask.shape[1], device=mask.device)
    index = (kept * positions).argmax(dim=1) if how == "last" else kept.argmax(dim=1)
    return states[torch.arange(states.shape[0], device=states.device), index]


class HeadstartForSequenceClassification(PreTrainedModel):  # type: ignore[misc]
    """The backbone, the pooling and a linear layer on the mean of the pooled layers."""

    config_class = HeadstartConfig
    base_model_prefix = "backbone"

    def __init__(self, config: HeadstartConfig) -> None:
        super().__init__(config)
        settings = dict(config.backbone_config or {})
        backbone_config = AutoConfig.for_model(settings.pop("model_type"), **settings)
        backbone_config.use_cache = False  # a classifier never generates
        backbone_config._attn_implementation = None  # transformers' own choice, never a kernel that the folder names
        self.num_labels = config.num_labels
        self.backbone = AutoModel.from_config(backbone_config)
        self.blocks = backbone_config.num_hidden_layers
        self.layers = [self.blocks] if config.layers is None else list(config.layers)
        self.classifier = nn.Linear(backbone_config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput | tuple[torch.Tensor, ...]:
        """Logits of shape (b, c), and the loss when `labels` are given: by `config.problem_type` cross-entropy of (b,), binary
        cross-entropy of (b, c), or the squared error of (b, 1).

        `token_type_ids` are accepted because many tools send them, and used for pairs alone: a single text has one type, which every
        model assumes.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        several = self.layers != [self.blocks]
        types = {"token_type_ids": token_type_ids} if self.config.pairs and token_type_ids is not None else {}
        outputs = self.backbone(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=several, return_dict=True, **types)
        pooled = [
            pool(
                outputs.last_hidden_state if layer == self.blocks else outputs.hidden_states[layer],
                attention_mask,
                self.config.pooling,
            )
            for layer in self.layers
        ]
        features = pooled[0] if len(pooled) == 1 else torch.stack(pooled).mean(dim=0)
        logits = self.classifier(features)
        loss = None
        if labels is not None and self.config.problem_type == "multi_label_classification":
            loss = nn.functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        elif labels is not None and self.config.problem_type == "regression":
            loss = nn.functional.mse_loss(logits, labels.to(logits.dtype).reshape(logits.shape))
        elif labels is not None:
            loss = nn.functional.cross_entropy(logits, labels)
        if return_dict is False:
            return (logits,) if loss is None else (loss, logits)
        return SequenceClassifierOutput(loss=loss, logits=logits)
