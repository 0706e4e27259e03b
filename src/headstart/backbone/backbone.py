"""A loaded backbone: its blocks, what each layer's output depends on, and the names that results are kept under.

Letters in shapes: b rows of a batch, t tokens, d width, L blocks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from headstart.backbone.keys import space_key, tensor_digest
from headstart.errors import SourceError
from headstart.sources.source import Pooling, Source

# Settings of a model's config that change nothing of what its blocks compute.
_CONFIG_NOISE = frozenset(
    "transformers_version _name_or_path architectures dtype torch_dtype id2label label2id num_labels problem_type num_hidden_layers "
    "n_layer n_layers output_hidden_states output_attentions return_dict use_cache is_encoder_decoder tokenizer_class".split()
)


@dataclass(frozen=True)
class Backbone:
    """A pretrained model without a head, in evaluation mode, with everything needed to read texts.

    `prefix[k]` is a digest of all that the output of block k depends on (index 0: of the embeddings): two checkpoints that share their
    lowest k blocks share `prefix[0..k]`. `max_length` is in tokens, special tokens counted.
    """

    source: Source
    module: nn.Module
    tokenizer: Any
    pooling: Pooling
    max_length: int
    width: int
    prefix: tuple[bytes, ...]

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


def find_blocks(module: nn.Module) -> nn.ModuleList:
    """The list of `config.num_hidden_layers` blocks of a model.

    Raises:
        SourceError: there is no such list (models that use one block several times, as ALBERT does).
    """
    wanted = int(module.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
    lists = [child for child in module.modules() if isinstance(child, nn.ModuleList) and len(child) == wanted]
    if len(lists) != 1:
        kind = getattr(module.config, "model_type", type(module).__name__)
        raise SourceError(f"A model of type {kind!r} has no single list of {wanted} blocks, so it cannot be cut; choose another source.")
    return lists[0]


def load_backbone(source: Source, max_length: int) -> Backbone:
    """Load a checked source in float32, in evaluation mode, without running any code of the checkpoint.

    Args:
        source: from `sources.resolve`.
        max_length: tokens that are read of a text; the source's own limit applies when it is lower.

    Raises:
        SourceError: the files turn out not to be a model that can be cut.
    """
    module, tokenizer = _load_files(source)
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    limit = max_length if source.max_length is None else min(max_length, source.max_length)
    width = int(getattr(module.config, "hidden_size", 0) or getattr(module.config, "n_embd", 0) or module.config.dim)
    return Backbone(source, module, tokenizer, source.pooling, limit, width, prefix_digests(module))


def _load_files(source: Source) -> tuple[nn.Module, Any]:
    """The bare model and its tokenizer, from safetensors and json alone."""
    from transformers import AutoModel, AutoTokenizer, logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()  # "some weights were not used": heads of other tasks, dropped on purpose
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.folder, trust_remote_code=False)
        module: nn.Module = AutoModel.from_pretrained(
            source.folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, attn_implementation="sdpa"
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise SourceError(f"The source {source.name!r} cannot be opened: {str(error).splitlines()[0]}") from error
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return module, tokenizer


def prefix_digests(module: nn.Module) -> tuple[bytes, ...]:
    """For k = 0..L, a digest of the configuration and of all weights that the output of block k depends on.

    What runs only after the last block (final norm, pooler) counts towards k = L alone; a pooler never counts, since features are made
    without it. Weights that are looked up rather than called (relative positions) count from k = 0 on: sharing less is safe.
    """
    blocks = find_blocks(module)
    config = {k: v for k, v in module.config.to_dict().items() if k not in _CONFIG_NOISE}  # type: ignore[union-attr]
    inside = {id(p) for block in blocks for p in block.parameters()}
    above = _called_after_blocks(module, blocks)
    named = [(name, p) for name, p in module.named_parameters() if id(p) not in inside]
    named += [(name, b) for name, b in module.named_buffers() if not any(b is own for block in blocks for own in block.buffers())]
    below = [(name, p) for name, p in named if id(p) not in above]
    after = [(name, p) for name, p in named if id(p) in above and "pooler" not in name]
    digests = [space_key(kind="prefix", config=json.dumps(config, sort_keys=True, default=str), below=tensor_digest(below))]
    for k, block in enumerate(blocks, start=1):
        parts = {"below": digests[-1], "block": tensor_digest(block.state_dict().items())}
        if k == len(blocks):
            parts["after"] = tensor_digest(after)
        digests.append(space_key(**parts))
    return tuple(digests)


def _called_after_blocks(module: nn.Module, blocks: nn.ModuleList) -> set[int]:
    """Ids of parameters of the modules that run only after the last block, found by watching one small forward pass."""
    seen_last = False
    early: set[int] = set()
    late: set[int] = set()

    def watch(part: nn.Module, _inputs: Any) -> None:
        (late if seen_last else early).update(id(p) for p in part.parameters(recurse=False))

    def passed_last(*_: Any) -> None:
        nonlocal seen_last
        seen_last = True

    hooks = [part.register_forward_pre_hook(watch) for part in module.modules()]
    hooks.append(blocks[-1].register_forward_hook(passed_last))
    try:
        with torch.inference_mode():
            ids = torch.ones(1, 2, dtype=torch.long)
            module(input_ids=ids, attention_mask=torch.ones_like(ids))
    finally:
        for hook in hooks:
            hook.remove()
    return late - early


def tokenizer_digest(tokenizer: Any) -> bytes:
    """A digest of everything that turns a text into token ids."""
    return space_key(kind="tokenizer", text=tokenizer.backend_tokenizer.to_str(), padding=str(tokenizer.padding_side))


def kept_lengths(ids: Sequence[Sequence[int]]) -> list[int]:
    """Number of tokens of each tokenised text."""
    return [len(row) for row in ids]
