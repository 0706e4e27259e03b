"""The saved model: a folder in the Hugging Face layout, written whole or not at all.

The classifier is headstart's own small class (`modeling_headstart.py`, copied into the folder), not a stock one of transformers. The
stock `...ForSequenceClassification` classes were looked at one by one and none can hold a linear head on a mean: BERT, RoBERTa, MPNet,
DeBERTa and DistilBERT read the first token alone and put a dense layer and a tanh, GELU or ReLU before the classifier; ModernBERT can
take the mean but puts a dense layer and a norm before it; GPT-2, Llama and Gemma read the last token but their `score` has no bias. None
can average several layers.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from headstart.backbone.encoding import knows_types
from headstart.errors import HeadstartError, ResourceError
from headstart.sources import modeling_headstart
from headstart.sources.resolve import WITHOUT_TRANSFER
from headstart.sources.source import Pooling
from headstart.strategies.base import LinearHead
from headstart.strategies.outputs import Output

CODE = "modeling_headstart.py"
_AUTO_MAP = {
    "AutoConfig": "modeling_headstart.HeadstartConfig",
    "AutoModelForSequenceClassification": "modeling_headstart.HeadstartForSequenceClassification",
}
# Of the backbone's configuration: what belongs to the checkpoint that it came from.
NOT_KEPT = (
    "dtype",
    "torch_dtype",
    "transformers_version",
    "_name_or_path",
    "architectures",
    "id2label",
    "label2id",
    "problem_type",
    "auto_map",
)


# What transformers calls them: its pipeline turns outputs into scores by it.
PROBLEMS = {
    Output.CLASS: "single_label_classification",
    Output.LABELS: "multi_label_classification",
    Output.NUMBER: "regression",
}


class TextModel(Protocol):
    """A model without transfer that can save itself (`strategies.tfidf.TfidfModel`, `strategies.crf.CrfModel`)."""

    def save(self, folder: Path) -> None:
        """Write everything that loading needs into an existing folder."""
        ...


def save_model(
    folder: Path,
    *,
    backbone_module: Any,
    tokenizer: Any,
    pooling: Pooling,
    layers: Sequence[int],
    head: LinearHead,
    labels: Sequence[str],
    max_length: int,
    card: str,
    output: Output = Output.CLASS,
    pairs: bool = False,
) -> None:
    """Save a classifier, or what predicts labels or a number: backbone, pooling, averaged layers and linear head, with tokenizer and card.

    A folder that was there before is replaced in one step. Nothing that is passed in is changed.

    Args:
        folder: where to; its parents are made.
        backbone_module: the bare transformers model, L blocks, width d.
        tokenizer: its tokenizer; it is saved as padding and cutting on the right, at `max_length`.
        pooling: how one vector is made of a layer's token vectors.
        layers: layers in [0, L] whose pooled vectors are averaged; 0 is the embedding output, L the last hidden state.
        head: weight (c, d) and bias (c,).
        labels: the c label names in the head's order, all different.
        max_length: tokens that are read of a text.
        card: the text of README.md.
        output: what the head's outputs are.
        pairs: it reads two texts together.

    Raises:
        ValueError: layers, head and labels do not fit each other.
        ResourceError: no room or no permission.
    """
    config = _make_config(backbone_module, pooling, layers, head, labels, output, pairs)
    with whole_folder(Path(folder)) as place:
        _write_model(place, config, backbone_module, head)
        write_tokenizer(place, tokenizer, max_length, types=pairs and knows_types(backbone_module))
        # UTF-8 without change of line ends, so that the copy is the file that headstart itself runs.
        (place / CODE).write_bytes(Path(modeling_headstart.__file__).read_bytes())
        (place / "README.md").write_text(card, encoding="utf-8")


def save_text_model(folder: Path, model: TextModel, labels: Sequence[str], card: str, *, task: str) -> None:
    """Save a model without transfer, its task, its label names and its card. A folder that was there before is replaced in one step.

    Raises:
        ResourceError: no room or no permission.
    """
    config = {
        "model_type": WITHOUT_TRANSFER,
        "task": task,
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    with whole_folder(Path(folder)) as place:
        model.save(place)
        (place / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (place / "README.md").write_text(card, encoding="utf-8")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` when the block ends without an error; else nothing is left of it.

    Raises:
        ResourceError: no room or no permission.
    """
    place: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        place.chmod(0o755)  # mkdtemp makes it private; a model is as readable as any file of its owner
        yield place
        _swap(place, folder)
    except OSError as error:
        reasons = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the quota is used up", errno.EROFS: "the disk is read-only"}
        reasons |= {errno.EACCES: "permission is denied", errno.EPERM: "permission is denied"}
        if error.errno not in reasons:
            raise
        raise ResourceError(
            f"The model cannot be saved to {str(folder)!r}: {reasons[error.errno]}. Make room or choose another folder."
        ) from error
    finally:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def proven_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its place when the block ends without an error; else nothing is left of it. What is saved there
    is proven there, so that a model which did not stand the proof is never where one is looked for.

    Raises:
        HeadstartError: as within, with the name that was asked for.
    """
    place = folder.with_name(f"{folder.name}-unproven")
    for left in (place, *folder.parent.glob(f".{folder.name}.*"), *folder.parent.glob(f".{place.name}.*")):  # by a kill
        shutil.rmtree(left, ignore_errors=True)
    try:
        yield place
        _swap(place, folder)
    except HeadstartError as error:
        raise type(error)(str(error).replace(str(place), str(folder))) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _swap(place: Path, folder: Path) -> None:
    """Rename `place` to `folder`, moving what was there out of the way first and deleting it last."""
    if not folder.exists():
        os.rename(place, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    os.rename(folder, old / "was")
    os.rename(place, folder)
    shutil.rmtree(old, ignore_errors=True)


def _make_config(
    module: Any, pooling: Pooling, layers: Sequence[int], head: LinearHead, labels: Sequence[str], output: Output, pairs: bool
) -> Any:
    """The configuration of the classifier, after a check that its parts fit."""
    from headstart.sources.modeling_headstart import HeadstartConfig

    blocks = int(module.config.num_hidden_layers)
    if not layers or not all(0 <= layer <= blocks for layer in layers):
        raise ValueError(f"layers is {list(layers)}; it must name at least one of the layers 0 to {blocks}.")
    if head.weight.shape[0] != len(labels) or len(set(labels)) != len(labels):
        raise ValueError(f"The head has {head.weight.shape[0]} rows for {len(set(labels))} different labels; it must have one for each.")
    backbone = {name: value for name, value in module.config.to_dict().items() if name not in NOT_KEPT}
    return HeadstartConfig(
        backbone_config=backbone,
        pooling=pooling.value,
        layers=[int(layer) for layer in layers],
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        problem_type=PROBLEMS[output],
        pairs=pairs,
        pad_token_id=getattr(module.config, "pad_token_id", None),  # CodeGen's configuration has no such name
        auto_map=_AUTO_MAP,
    )


def _write_model(place: Path, config: Any, module: Any, head: LinearHead) -> None:
    """config.json and model.safetensors. The wrapper is built without memory and then given the real parts."""
    import torch
    from torch import nn

    from headstart.sources.modeling_headstart import HeadstartForSequenceClassification
    from headstart.sources.opening import quiet_transformers

    with torch.device("meta"):
        wrapper = HeadstartForSequenceClassification(config)
    dtype = next(module.parameters()).dtype
    wrapper.backbone = module
    wrapper.classifier.weight = nn.Parameter(torch.tensor(head.weight, dtype=dtype))
    wrapper.classifier.bias = nn.Parameter(torch.tensor(head.bias, dtype=dtype))
    with quiet_transformers():
        wrapper.save_pretrained(place)


def write_tokenizer(place: Path, tokenizer: Any, max_length: int, *, types: bool = False) -> None:
    """The tokenizer's files, set to read as headstart reads, whatever was last asked of the object. `types`: it tells types of tokens."""
    tokenizer.save_pretrained(place)
    _edit(
        place / "tokenizer_config.json",
        {
            "model_max_length": max_length,
            "padding_side": "right",
            "truncation_side": "right",
            "model_input_names": ["input_ids", *(["token_type_ids"] if types else []), "attention_mask"],
        },
    )
    # A fast tokenizer remembers its last call's cutting and padding; a saved one has none of its own.
    if (place / "tokenizer.json").is_file():
        _edit(place / "tokenizer.json", {"truncation": None, "padding": None})


def _edit(path: Path, changes: dict[str, Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    if any(content.get(name, ...) != value for name, value in changes.items()):
        path.write_text(json.dumps(content | changes, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
