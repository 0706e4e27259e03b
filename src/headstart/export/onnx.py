"""The saved model as one ONNX file, which onnxruntime opens without torch, transformers or any code of the folder."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.backbone.encoding import encode
from headstart.data.pairs import join_pair
from headstart.errors import RunError, SettingsError, out_of_memory
from headstart.export.verify import TOLERANCE
from headstart.loaded import Classifier, Loaded, LoadedLabels, LoadedNumber, Tagger, load

if TYPE_CHECKING:
    import torch

INPUTS = ("input_ids", "attention_mask")
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

    The file takes `input_ids` and `attention_mask`, both int64 of shape (batch, tokens), and gives `probabilities`, float32: of texts and
    pairs (batch, labels), of words (batch, tokens, labels), where a word is what its first token is taken for; or `numbers` (batch, 1).
    The names of labels stand in its metadata as JSON under `labels`; tokenise with the folder's tokenizer.json, a pair as two texts.

    Args:
        folder: a run, or its model folder.
        out: the file to write; it appears whole or not at all. Weights of 1.9 GB or more go into a second file, `out` and `.data`.

    Returns:
        The greatest absolute difference between two probabilities of torch and of onnxruntime; of numbers as a share of the greatest.

    Raises:
        SettingsError: the packages of `headstart[onnx]` are absent.
        RunError: the model is one without transfer or answers with texts, cannot be exported, or differs by more than 1e-4.
    """
    check_onnx_installed()
    model = load(folder)
    reader = getattr(model, "reader", None)
    if not isinstance(reader, Classifier | Tagger):
        kind = "that answers with texts" if getattr(model, "form", "") in ("answers", "writing", "translation") else "without transfer"
        raise RunError(f"The model in {str(model.folder)!r} is one {kind}, which has no ONNX form; leave out --export onnx.")
    texts = [*_TEXTS, *(label[:200] for label in model.labels[:8])]
    if isinstance(reader, Classifier) and reader.pairs:
        texts = [join_pair(text, other) for text, other in zip(texts, texts[::-1], strict=True)]
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as room:
        place = Path(room) / out.name
        try:
            _write(model, texts, place)
        except Exception as error:  # torch's exporter raises whatever its passes raise
            config = reader.model.config
            kind = (getattr(config, "backbone_config", None) or {}).get("model_type") or config.model_type
            if out_of_memory(error):
                raise
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RunError(
                f"torch cannot export a model of type {kind!r} to ONNX ({why}). All else is finished and saved; leave out --export onnx."
            ) from error
        difference = _compare(model, texts, place)
        if not difference <= TOLERANCE:
            raise RunError(
                f"onnxruntime gives other values than torch (by up to {difference:.2g}) for {str(model.folder)!r}; nothing was kept."
            )
        for made in sorted(Path(room).iterdir(), reverse=True):  # the weights before the file that names them
            shutil.move(made, out.parent / made.name)
    return difference


def output_name(model: Loaded) -> str:
    """What the file's one output is called."""
    return "numbers" if isinstance(model, LoadedNumber) else "probabilities"


def _as_said(model: Loaded, logits: torch.Tensor) -> torch.Tensor:
    """What a model's logits say to people: probabilities, of labels each by itself, or the numbers as they are."""
    if isinstance(model, LoadedNumber):
        return logits
    return logits.sigmoid() if isinstance(model, LoadedLabels) else logits.softmax(dim=-1)


def _write(model: Loaded, texts: list[str], place: Path) -> None:
    """Trace the model on a batch, batch size and length left open, and save it."""
    import torch

    class Said(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return _as_said(model, self.inner(input_ids=input_ids, attention_mask=attention_mask).logits)

    inner = _reader_of(model).model
    size = sum(parameter.numel() * parameter.element_size() for parameter in inner.parameters())
    batch = {name: torch.from_numpy(value) for name, value in _tokens(_reader_of(model), texts).items()}
    with _quiet(), torch.inference_mode():
        program = torch.onnx.export(
            Said(inner.cpu()).eval(),
            kwargs=batch,
            dynamo=True,
            dynamic_shapes={name: {0: "batch", 1: "tokens"} for name in INPUTS},
            input_names=list(INPUTS),
            output_names=[output_name(model)],
            verbose=False,
        )
        assert program is not None  # it is None only when a file was asked for in the old way
        program.model.metadata_props["labels"] = json.dumps(list(model.labels), ensure_ascii=False)
        program.save(str(place), external_data=size >= _ONE_FILE)


def _compare(model: Loaded, texts: list[str], place: Path) -> float:
    """Greatest difference of what onnxruntime says to what torch says of each text alone: all texts in one batch, and each alone."""
    import onnxruntime
    import torch

    reader, name = _reader_of(model), output_name(model)
    session = onnxruntime.InferenceSession(str(place), providers=["CPUExecutionProvider"])
    together = session.run([name], _tokens(reader, texts))[0]
    by_torch, alone = [], []
    for text in texts:
        tokens = _tokens(reader, [text])
        with torch.inference_mode():
            asked = {key: torch.from_numpy(value) for key, value in tokens.items()}
            by_torch.append(_as_said(model, reader.model(**asked).logits)[0].float().numpy())
        alone.append(session.run([name], tokens)[0][0])
    scale = max(float(np.abs(expected).max(initial=0.0)) for expected in by_torch) or 1.0 if name == "numbers" else 1.0
    greatest = 0.0
    for expected, *both in zip(by_torch, alone, together, strict=True):
        # Of words a batch has padding behind the row's own tokens.
        for found in (row[: len(expected)] if expected.ndim == 2 else row for row in both):
            greatest = max(greatest, float(np.nan_to_num(np.abs(found - expected) / scale, nan=1.0).max(initial=0.0)))
    return greatest


def _reader_of(model: Loaded) -> Classifier | Tagger:
    reader = getattr(model, "reader", None)
    assert isinstance(reader, Classifier | Tagger)  # all others have been refused
    return reader


def _tokens(reader: Classifier | Tagger, texts: list[str]) -> dict[str, Any]:
    """Token ids and mask, padded on the right, int64 of shape (batch, tokens)."""
    rows = encode(reader.tokenizer, texts, reader.max_length, pairs=isinstance(reader, Classifier) and reader.pairs)
    longest = max(map(len, rows))
    filler = reader.tokenizer.pad_token_id or 0
    ids = np.array([row + [filler] * (longest - len(row)) for row in rows], dtype=np.int64)
    mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows], dtype=np.int64)
    return dict(zip(INPUTS, (ids, mask), strict=True))


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
