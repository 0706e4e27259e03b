"""A loaded backbone: its blocks, what each layer's output depends on, and the names that results are kept under.

Letters in shapes: b rows of a batch, t tokens, d width, L blocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from headstart.backbone.encoding import tell_texts_apart
from headstart.backbone.keys import space_key, tensor_digest
from headstart.errors import SourceError
from headstart.sources.opening import open_source
from headstart.sources.source import Pooling, Source

# Settings of a model's config that change nothing of what its blocks compute.
_CONFIG_NOISE = {
    *("transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype", "tokenizer_class"),
    *("id2label", "label2id", "num_labels", "problem_type", "num_hidden_layers", "n_layer", "n_layers"),
    *("output_hidden_states", "output_attentions", "return_dict", "use_cache", "is_encoder_decoder"),
}
# Families whose blocks scale what they add by how many blocks there are.
_SCALED_BY_DEPTH = {"minicpm3", "esmc"}


@dataclass(frozen=True)
class Backbone:
    """A pretrained model without a head, in evaluation mode, with everything needed to read texts.

    `prefix[k]` is a digest of all that the output of block k depends on (index 0: of the embeddings): two checkpoints that share their
    lowest k blocks share `prefix[0..k]`. `max_length` is in tokens, special tokens counted.
    `above` names the parameters that are used only after the last block (a final norm). `pairs`: texts are pairs (`data.pairs`).
    """

    source: Source
    module: nn.Module
    tokenizer: Any
    pooling: Pooling
    max_length: int
    width: int
    prefix: tuple[bytes, ...]
    above: frozenset[str]
    pairs: bool = False

    @property
    def blocks(self) -> nn.ModuleList:
        """The L blocks, lowest first."""
        return find_blocks(self.module)

    @property
    def n_blocks(self) -> int:
        """L."""
        return len(self.blocks)

    @property
    def parameters_total(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.module.parameters())

    @property
    def block_parameters(self) -> int:
        """Number of weights in the blocks: what a token costs."""
        return sum(p.numel() for p in self.blocks.parameters())


def find_blocks(module: nn.Module) -> nn.ModuleList:
    """The list of `config.num_hidden_layers` blocks of a model.

    Raises:
        SourceError: there is no such list (models that use one block several times, as ALBERT does).
    """
    wanted = int(module.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
    lists = [child for child in module.modules() if isinstance(child, nn.ModuleList) and len(child) == wanted]
    inner = {id(part) for child in lists for part in child.modules() if part is not child}
    lists = [child for child in lists if id(child) not in inner]  # a block may hold a list of as many parts
    if len(lists) != 1:
        kind = getattr(module.config, "model_type", type(module).__name__)
        raise SourceError(f"A model of type {kind!r} has no single list of {wanted} blocks, so it cannot be cut; choose another source.")
    return lists[0]


def load_backbone(source: Source, max_length: int, *, pairs: bool = False, decoder: bool = False) -> Backbone:
    """Load a checked source in float32, in evaluation mode, without running any code of the checkpoint.

    Args:
        source: from `sources.resolve`.
        max_length: tokens that are read of a text; the source's own limit applies when it is lower.
        pairs: whether the texts will be pairs.
        decoder: whether it may be an encoder-decoder, of which the encoder is the backbone.

    Raises:
        SourceError: the files turn out not to be a model that can be cut, one that cannot be read text by text, or an encoder-decoder that
            was not asked for.
    """
    from headstart.backbone.trial import try_reading  # here, for it reads through this module

    if source.decodes and not decoder:
        raise SourceError(
            f"The source {source.name!r} is an encoder-decoder ({source.model_type}), which is transferred from for translation alone. "
            "Choose an encoder or a causal model."
        )
    module, tokenizer = open_source(source)
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    limit = max_length if source.max_length is None else min(max_length, source.max_length)
    try:
        width = int(getattr(module.config, "hidden_size", 0) or getattr(module.config, "n_embd", 0) or module.config.dim)
        if pairs:
            tell_texts_apart(module, tokenizer.sep_token_id)
        untried = Backbone(source, module, tokenizer, source.pooling, limit, width, (), frozenset(), pairs)
        above = try_reading(untried)
    except SourceError:
        raise
    except Exception as error:  # whatever the code of one of transformers' many kinds of model raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise SourceError(
            f"The source {source.name!r} ({source.model_type}) cannot be read text by text ({reason}); choose another source."
        ) from error
    return replace(untried, prefix=prefix_digests(module, above), above=above)


def prefix_digests(module: nn.Module, above: frozenset[str] | None = None) -> tuple[bytes, ...]:
    """For k = 0..L, a digest of the configuration and of all weights that the output of block k depends on.

    What runs only after the last block (final norm, pooler) counts towards k = L alone; a pooler never counts, since features are made
    without it. Weights that are looked up rather than called (relative positions) count from k = 0 on: sharing less is safe. `above` is
    what `names_above` says; None: it is found out in a pass.
    """
    blocks = find_blocks(module)
    whole: dict[str, Any] = module.config.to_dict()  # type: ignore[union-attr, operator]
    noise = _CONFIG_NOISE - ({"num_hidden_layers"} if whole.get("model_type") in _SCALED_BY_DEPTH else set())
    config = {k: v for k, v in whole.items() if k not in noise}
    inside = {id(p) for block in blocks for p in block.parameters()}
    above = names_above(module) if above is None else above
    named: list[tuple[str, torch.Tensor]] = [
        (name, p) for name, p in module.named_parameters() if id(p) not in inside and "pooler" not in name
    ]
    named += [(name, b) for name, b in module.named_buffers() if not any(b is own for block in blocks for own in block.buffers())]
    below = [(name, p) for name, p in named if name not in above]
    after = [(name, p) for name, p in named if name in above]
    digests = [space_key(kind="prefix", config=json.dumps(config, sort_keys=True, default=str), below=tensor_digest(below))]
    for k, block in enumerate(blocks, start=1):
        parts = {"below": digests[-1], "block": tensor_digest(block.state_dict().items())}
        if k == len(blocks):
            parts["after"] = tensor_digest(after)
        digests.append(space_key(**parts))
    return tuple(digests)


@contextmanager
def noting_above(module: nn.Module) -> Iterator[set[str]]:
    """A context for one pass through a model; after it the set holds what `names_above` says."""
    blocks = find_blocks(module)
    called: dict[bool, set[str]] = {False: set(), True: set()}
    seen_last = False

    def watch(prefix: str, part: nn.Module) -> None:
        called[seen_last].update(f"{prefix}.{name}" if prefix else name for name, _ in part.named_parameters(recurse=False))

    def passed_last(*_: Any) -> None:
        nonlocal seen_last
        seen_last = True

    hooks = [
        part.register_forward_pre_hook(lambda part, _inputs, prefix=prefix: watch(prefix, part)) for prefix, part in module.named_modules()
    ]
    hooks.append(blocks[-1].register_forward_hook(passed_last))
    found: set[str] = set()
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
    found.update(name for name in called[True] - called[False] if "pooler" not in name)


def names_above(module: nn.Module) -> frozenset[str]:
    """Names of the parameters that only modules called after the last block hold, found by watching one small forward pass."""
    with noting_above(module) as found, torch.inference_mode():
        ids = torch.ones(1, 2, dtype=torch.long)
        module(input_ids=ids, attention_mask=torch.ones_like(ids))
    return frozenset(found)


def tokenizer_digest(tokenizer: Any) -> bytes:
    """A digest of everything that turns a text into token ids, but for how long the ids may get."""
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    # The last call leaves its truncation and padding in the tokenizer, and the next one brings its own.
    del parts["truncation"], parts["padding"]
    how = {"padding": str(tokenizer.padding_side), "split": str(tokenizer.split_special_tokens)}
    return space_key(kind="tokenizer", text=json.dumps(parts, sort_keys=True), **how)
