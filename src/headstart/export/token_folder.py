"""The saved model of words or of answers: the stock class of transformers, backbone and one linear layer on every token.

`AutoModelForTokenClassification` opens the former and `pipeline("token-classification")` runs it with nothing else installed;
`AutoModelForQuestionAnswering` opens the latter. A head that reads a
lower layer than the last is saved behind a backbone that ends there. Architectures whose stock class puts more than a linear layer on the
last hidden states (ModernBERT: a dense layer and a norm) cannot hold such a head and are refused before anything is trained.

Letters in shapes: d width, c classes of a word, L blocks.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headstart.backbone.backbone import find_blocks
from headstart.backbone.encoding import knows_types
from headstart.errors import SourceError
from headstart.export.model_folder import NOT_KEPT, whole_folder, write_tokenizer
from headstart.strategies.base import LinearHead

WORDS, ANSWERS = "AutoModelForTokenClassification", "AutoModelForQuestionAnswering"
# What such a class does with a text, for people.
_DOES = {WORDS: "marks words", ANSWERS: "finds answers"}
_FOR = {WORDS: "words", ANSWERS: "answers"}


def require_token_class(module: Any, name: str, kind: str = WORDS) -> None:
    """Raise where the architecture has no stock class of this kind that can hold a linear head on tokens.

    Raises:
        SourceError: there is none, or it puts more than a linear layer on the last hidden states.
    """
    _stock_class(copy.deepcopy(module.config), name, kind)


def token_places(module: Any, name: str, kind: str = WORDS) -> tuple[str, str]:
    """Where in the stock class of this kind the backbone and the head stand: of words `bert` and `classifier`.

    Raises:
        SourceError: as `require_token_class`.
    """
    _, body, place = _stock_class(copy.deepcopy(module.config), name, kind)
    return body, place


def _stock_class(config: Any, name: str, kind: str) -> tuple[Any, str, str]:
    """An empty model of the stock class, and where in it the backbone and the head stand."""
    import torch
    import transformers
    from torch import nn

    config.num_labels = 2
    try:
        with torch.device("meta"):
            model = getattr(transformers, kind).from_config(config)
    except (ValueError, KeyError, AttributeError):
        of = getattr(config, "model_type", type(config).__name__)
        raise SourceError(
            f"transformers has no class that {_DOES[kind]} with a model of type {of!r} ({name}); choose another source."
        ) from None
    body = model.base_model_prefix
    others = [(place, part) for place, part in model.named_modules() if place and place.split(".")[0] != body]
    heads = [place for place, part in others if isinstance(part, nn.Linear)]
    plain = all(isinstance(part, nn.Linear | nn.Dropout) for _, part in others)
    if not hasattr(model, body) or len(heads) != 1 or not plain:
        raise SourceError(
            f"The stock class of transformers for {_FOR[kind]}, {type(model).__name__}, puts more than a linear layer on the source "
            f"{name!r}; choose another source."
        )
    return model, body, heads[0]


def save_token_model(
    folder: Path,
    *,
    backbone_module: Any,
    tokenizer: Any,
    layer: int,
    head: LinearHead,
    labels: Sequence[str],
    max_length: int,
    card: str,
    kind: str = WORDS,
    told: Mapping[str, Any] | None = None,
) -> None:
    """Save a model of words or answers. A folder that was there before is replaced in one step. Nothing that is passed in is changed.

    Args:
        folder: where to; its parents are made.
        backbone_module: the bare transformers model, L blocks, width d.
        tokenizer: its tokenizer.
        layer: the layer that the head acts on, in [1, L]; below L the saved model has so many blocks.
        head: weight (c, d) and bias (c,).
        labels: the c names of a word's classes; of answers none.
        max_length: tokens that are read at once.
        card: the text of README.md.
        kind: `WORDS` or `ANSWERS`.
        told: further entries of config.json; None: there are none.

    Raises:
        SourceError: the architecture has no class that can hold such a head.
        ResourceError: no room or no permission.
    """
    import torch
    import transformers
    from torch import nn

    from headstart.sources.opening import quiet_transformers

    config = type(backbone_module.config)(**{k: v for k, v in backbone_module.config.to_dict().items() if k not in NOT_KEPT})
    model, body, place = _stock_class(copy.deepcopy(config), str(folder), kind)
    config.num_hidden_layers = layer
    if labels:
        config.id2label, config.label2id = dict(enumerate(labels)), {label: i for i, label in enumerate(labels)}
    else:
        config.num_labels = 2
    for name, value in (told or {}).items():
        setattr(config, name, value)
    with torch.device("meta"):
        model = getattr(transformers, kind).from_config(config)
    dtype = next(backbone_module.parameters()).dtype
    state = _shorter(backbone_module, layer)
    own = {name for name, _ in getattr(model, body).named_parameters()} | {name for name, _ in getattr(model, body).named_buffers()}
    getattr(model, body).load_state_dict({name: value for name, value in state.items() if name in own}, strict=False, assign=True)
    linear = model.get_submodule(place)
    linear.weight = nn.Parameter(torch.tensor(head.weight, dtype=dtype))
    if linear.bias is None:
        raise SourceError(f"The stock class {type(model).__name__} has a head without a bias; choose another source.")
    linear.bias = nn.Parameter(torch.tensor(head.bias, dtype=dtype))
    with whole_folder(Path(folder)) as room:
        with quiet_transformers():
            model.save_pretrained(room)
        write_tokenizer(room, tokenizer, max_length, types=kind == ANSWERS and knows_types(backbone_module))
        (room / "README.md").write_text(card, encoding="utf-8")


def _shorter(module: Any, layer: int) -> dict[str, Any]:
    """The weights of a model without the blocks from `layer` on."""
    blocks = find_blocks(module)
    dropped = {id(tensor) for block in list(blocks)[layer:] for tensor in block.state_dict(keep_vars=True).values()}
    return {name: tensor.detach() for name, tensor in module.state_dict(keep_vars=True).items() if id(tensor) not in dropped}
