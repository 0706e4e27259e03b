"""The saved model as one ONNX file, which onnxruntime opens without torch, transformers or any code of the folder."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from headstart.errors import RunError, SettingsError
from headstart.export.verify import TOLERANCE
from headstart.loaded import Classifier, LoadedModel, load

INPUTS = ("input_ids", "attention_mask")
OUTPUT = "probabilities"
_NEEDED = ("onnx", "onnxruntime", "onnxscript")

# One ONNX file holds less than 2 GB; the weights of a larger model stand in a second file beside it.
_ONE_FILE = 1_900_000_000

# Read in the comparison: several lengths in one batch and each alone, so that both dynamic sides are used.
_TEXTS = (
    "a",
    "Where is my order?",
    "It broke after two days, and nobody answers the phone or the letters that I wrote to them.",
    "thanks a lot",
)


def check_onnx_installed() -> None:
    """See that the packages behind `--export onnx` are there, without importing them.

    Raises:
        SettingsError: one is absent.
    """
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise SettingsError(f"--export onnx needs {', '.join(absent)}; install with `pip install 'headstart[onnx]'`.")


def export_onnx(folder: str | Path, out: str | Path) -> float:
    """Write a saved model as ONNX, open it with onnxruntime and compare.

    The file takes `input_ids` and `attention_mask`, both int64 of shape (batch, tokens), and gives `probabilities`, float32 of shape
    (batch, labels). The label names stand in its metadata as JSON under `labels`; tokenise with the folder's tokenizer.json.

    Args:
        folder: a run, or its model folder.
        out: the file to write; it appears whole or not at all. Weights of 1.9 GB or more go into a second file, `out` and `.data`.

    Returns:
        The greatest absolute difference between two probabilities of torch and of onnxruntime.

    Raises:
        SettingsError: the packages of `headstart[onnx]` are absent.
        RunError: the model is one without transfer, cannot be exported, or differs by more than 1e-4.
    """
    check_onnx_installed()
    model = load(folder)
    reader = model.reader
    if not isinstance(reader, Classifier) or not isinstance(model, LoadedModel):
        raise RunError(
            f"The model in {str(model.folder)!r} is one without transfer (tfidf), which has no ONNX form; leave out --export onnx."
        )
    texts = [*_TEXTS, *(label[:200] for label in model.labels[:8])]
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as room:
        place = Path(room) / out.name
        try:
            _write(reader, model.labels, texts, place)
        except Exception as error:  # torch's exporter raises whatever its passes raise
            kind = reader.model.config.backbone_config.get("model_type")
            raise RunError(f"torch cannot export a model of type {kind!r} to ONNX ({str(error).strip().splitlines()[0]}).") from error
        difference = _compare(reader, texts, model.predict_proba(texts), place)
        if not difference <= TOLERANCE:
            raise RunError(
                f"onnxruntime gives other probabilities than torch (by up to {difference:.2g}) for {str(model.folder)!r}; nothing was kept."
            )
        for made in sorted(Path(room).iterdir(), reverse=True):  # the weights before the file that names them
            shutil.move(made, out.parent / made.name)
    return difference


def _write(reader: Classifier, labels: Sequence[str], texts: list[str], place: Path) -> None:
    """Trace the classifier on a batch, batch size and length left open, and save it."""
    import torch

    class Probabilities(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            return logits.softmax(dim=-1)

    size = sum(parameter.numel() * parameter.element_size() for parameter in reader.model.parameters())
    batch = {name: torch.from_numpy(value) for name, value in _tokens(reader, texts).items()}
    with _quiet(), torch.inference_mode():
        program = torch.onnx.export(
            Probabilities(reader.model.cpu()).eval(),
            kwargs=batch,
            dynamo=True,
            dynamic_shapes={name: {0: "batch", 1: "tokens"} for name in INPUTS},
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            verbose=False,
        )
        assert program is not None  # it is None only when a file was asked for in the old way
        program.model.metadata_props["labels"] = json.dumps(list(labels), ensure_ascii=False)
        program.save(str(place), external_data=size >= _ONE_FILE)


def _compare(reader: Classifier, texts: list[str], expected: np.ndarray[Any, Any], place: Path) -> float:
    """Greatest difference of onnxruntime's probabilities to the expected ones, all texts in one batch and each alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(place), providers=["CPUExecutionProvider"])
    together = session.run([OUTPUT], _tokens(reader, texts))[0]
    alone = np.concatenate([session.run([OUTPUT], _tokens(reader, [text]))[0] for text in texts])
    found = np.stack([together, alone])
    return float(np.nan_to_num(np.abs(found - expected), nan=1.0).max())


def _tokens(reader: Classifier, texts: list[str]) -> dict[str, Any]:
    """Token ids and mask, padded on the right, int64 of shape (batch, tokens)."""
    tokens = reader.tokenizer(texts, padding=True, truncation=True, max_length=reader.max_length, return_tensors="np")
    return {name: tokens[name].astype(np.int64) for name in INPUTS}


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporter's remarks on its own insides (absent torchvision, functions of torch that torch itself deprecated)."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
