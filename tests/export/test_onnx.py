from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.errors import RunError, SettingsError
from headstart.export import onnx as room
from headstart.export.onnx import check_onnx_installed, export_onnx
from headstart.loaded import load
from headstart.loaded_writing import LoadedWriter
from headstart.sources.source import Pooling
from tiny import ARCHITECTURES

TEXTS = ["why is my card lost", "a", "I love this film so much that I cried, really!"]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_onnxruntime_gives_the_probabilities_of_torch_for_any_batch_and_length(architecture: str, save: Callable[..., Path]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = save(architecture, layers=(1, 4))
    out = folder.parent / "export" / "model.onnx"
    assert export_onnx(folder, out) < 1e-5
    assert [path.name for path in out.parent.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(out))
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("input_ids", "tensor(int64)", ["batch", "tokens"]),
        ("attention_mask", "tensor(int64)", ["batch", "tokens"]),
    ]
    model = load(folder)
    assert tuple(json.loads(session.get_modelmeta().custom_metadata_map["labels"])) == model.labels
    ids = [model.reader.tokenizer(text, truncation=True)["input_ids"] for text in TEXTS]  # type: ignore[attr-defined]
    rows = np.array([row + [0] * (30 - len(row)) for row in ids])
    mask = np.array([[1] * len(row) + [0] * (30 - len(row)) for row in ids])
    found = session.run(["probabilities"], {"input_ids": rows, "attention_mask": mask})[0]
    np.testing.assert_allclose(found, model.predict_proba(TEXTS), atol=1e-5)


@pytest.mark.slow
def test_the_embedded_source_exports(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from headstart.export.model_folder import save_model
    from headstart.sources.opening import open_source
    from headstart.sources.resolve import resolve_source
    from headstart.strategies.base import LinearHead

    source = resolve_source(None)
    module, tokenizer = open_source(source)
    head = LinearHead(np.random.default_rng(0).normal(size=(5, 384)), np.zeros(5))
    parts: dict[str, Any] = {"backbone_module": module, "tokenizer": tokenizer, "pooling": source.pooling, "layers": (6,), "head": head}
    save_model(tmp_path / "model", **parts, labels="abcde", max_length=256, card="")
    assert export_onnx(tmp_path, tmp_path / "model.onnx") < 1e-5


PAIRS = [("why is my card lost", "it was stolen"), ("a", "b"), ("I love this film", "so much that I cried, really!")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "output", "pairs"),
    [("bert", "labels", False), ("bert", "number", False), ("bert", "class", True), ("roberta", "class", True)],
)
def test_labels_numbers_and_pairs_are_what_the_saved_model_says(
    architecture: str, output: str, pairs: bool, tiny: Callable[[str], Any], tmp_path: Path
) -> None:
    """Tokenised by the folder's own tokenizer, a pair as two texts, as a person would without headstart."""
    onnxruntime = pytest.importorskip("onnxruntime")
    from tokenizers import Tokenizer

    from headstart.export.model_folder import save_model
    from headstart.strategies.base import LinearHead
    from headstart.strategies.outputs import Output

    source = tiny(architecture)
    width = source.module.config.hidden_size
    head = LinearHead(
        np.random.default_rng(0).normal(size=(1 if output == "number" else 3, width)),
        np.array([0.5, -1.0, 2.0])[: 1 if output == "number" else 3],
    )
    parts: dict[str, Any] = {"backbone_module": source.module, "tokenizer": source.tokenizer, "pooling": Pooling.MEAN, "layers": (1, 2)}
    labels = ("number",) if output == "number" else ("a", "b", "c")
    save_model(tmp_path / "model", **parts, head=head, labels=labels, max_length=40, card="", output=Output(output), pairs=pairs)
    assert export_onnx(tmp_path, tmp_path / "model.onnx") < 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    [name] = [out.name for out in session.get_outputs()]
    assert name == ("numbers" if output == "number" else "probabilities")
    model, tokenizer = load(tmp_path), Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json"))
    tokenizer.no_padding()
    asked: Any = PAIRS if pairs else TEXTS
    wanted = np.array(model.predict(asked))[:, None] if output == "number" else model.predict_proba(asked)  # type: ignore[union-attr]
    for row, text in zip(wanted, asked, strict=True):
        ids = np.array([(tokenizer.encode(*text) if pairs else tokenizer.encode(text)).ids])
        np.testing.assert_allclose(session.run([name], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0], row, atol=1e-5)


@pytest.mark.slow
def test_words_are_what_the_pipeline_says_of_their_tokens(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from transformers import pipeline

    from headstart.export.token_folder import save_token_model
    from headstart.strategies.base import LinearHead

    source = tiny("bert")
    head = LinearHead(np.random.default_rng(0).normal(size=(3, source.module.config.hidden_size)), np.zeros(3))
    parts: dict[str, Any] = {
        "backbone_module": source.module,
        "tokenizer": source.tokenizer,
        "layer": source.module.config.num_hidden_layers,
    }
    save_token_model(tmp_path / "model", **parts, head=head, labels=("O", "B-X", "I-X"), max_length=40, card="")
    assert export_onnx(tmp_path, tmp_path / "model.onnx") < 1e-5
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    mark = pipeline("token-classification", str(tmp_path / "model"), ignore_labels=[], device="cpu")
    for text in TEXTS:
        ids = mark.tokenizer(text, return_tensors="np")["input_ids"].astype(np.int64)
        found = session.run(["probabilities"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]
        wanted = {entry["index"]: (entry["entity"], entry["score"]) for entry in mark(text)}
        for place, (label, score) in wanted.items():
            assert ("O", "B-X", "I-X")[int(found[place].argmax())] == label
            assert found[place].max() == pytest.approx(float(score), abs=1e-5)
        assert wanted


def test_a_file_that_says_something_else_is_not_kept(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_write", lambda _model, _texts, place: place.write_text("x"))
    monkeypatch.setattr(room, "_compare", lambda *_: 0.25)
    folder = save("bert")
    with pytest.raises(RunError) as caught:
        export_onnx(folder, folder.parent / "model.onnx")
    assert str(caught.value) == f"onnxruntime gives other values than torch (by up to 0.25) for {str(folder)!r}; nothing was kept."
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_absent_packages_are_named_with_the_extra_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else find(name))
    with pytest.raises(SettingsError) as caught:
        check_onnx_installed()
    assert str(caught.value) == "--export onnx needs onnx, onnxruntime, onnxscript; install with `pip install 'headstart[onnx]'`."


def test_a_model_without_transfer_has_no_onnx_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "check_onnx_installed", lambda: None)
    monkeypatch.setattr(room, "load", lambda folder: load.__globals__["LoadedModel"](("a", "b"), Path(folder), object()))
    with pytest.raises(RunError) as caught:
        export_onnx(tmp_path, tmp_path / "model.onnx")
    assert str(caught.value) == (
        f"The model in {str(tmp_path)!r} is one without transfer, which has no ONNX form; leave out --export onnx."
    )


def test_a_model_that_answers_with_texts_has_no_onnx_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "check_onnx_installed", lambda: None)
    monkeypatch.setattr(room, "load", lambda folder: LoadedWriter((), Path(folder), None, None, 8, False))
    with pytest.raises(RunError) as caught:
        export_onnx(tmp_path, tmp_path / "model.onnx")
    assert str(caught.value) == (
        f"The model in {str(tmp_path)!r} is one that answers with texts, which has no ONNX form; leave out --export onnx."
    )
