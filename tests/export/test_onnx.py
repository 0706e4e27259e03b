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


def test_a_file_that_says_something_else_is_not_kept(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_write", lambda _reader, _labels, _texts, place: place.write_text("x"))
    monkeypatch.setattr(room, "_compare", lambda *_: 0.25)
    folder = save("bert")
    with pytest.raises(RunError) as caught:
        export_onnx(folder, folder.parent / "model.onnx")
    assert str(caught.value) == f"onnxruntime gives other probabilities than torch (by up to 0.25) for {str(folder)!r}; nothing was kept."
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
        f"The model in {str(tmp_path)!r} is one without transfer (tfidf), which has no ONNX form; leave out --export onnx."
    )
