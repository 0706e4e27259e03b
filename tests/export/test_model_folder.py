from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from headstart.errors import ResourceError
from headstart.export.model_folder import proven_folder, save_model, save_text_model, whole_folder
from headstart.loaded import load
from headstart.sources.opening import open_source
from headstart.sources.resolve import resolve_source
from headstart.sources.source import Pooling
from headstart.strategies.base import LinearHead
from tiny import ARCHITECTURES, HIDDEN, make_tokenizer

BLOCKS, LENGTH = 4, 20
TEXTS = ["why is my card lost", "a", "I love this film so much that I cried, really!", "money", "a", "please refund my order"]
LAYERS = {"last": (BLOCKS,), "mixed": (0, 2, BLOCKS)}
# Every pooling meets every kind of model somewhere in the table.
POOLINGS = dict(
    zip(
        ARCHITECTURES,
        [Pooling.MEAN, Pooling.CLS, Pooling.MAX, Pooling.LAST, *[Pooling.MEAN] * 2, Pooling.LAST, Pooling.MAX, Pooling.LAST],
        strict=True,
    )
)


def by_hand(source: Any, head: LinearHead, text: str, pooling: Pooling, layers: tuple[int, ...]) -> np.ndarray:
    """Probabilities of one text alone, from what is seen to enter each block: no padding, no batch, none of the package's code."""
    entered: list[np.ndarray] = []

    def see(_block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        entered.append((args[0] if args else kwargs["hidden_states"])[0].numpy())

    lists = [part for part in source.module.modules() if isinstance(part, torch.nn.ModuleList) and len(part) == BLOCKS]
    hooks = [block.register_forward_pre_hook(see, with_kwargs=True) for block in lists[0]]
    ids = source.tokenizer(text, truncation=True, max_length=LENGTH)["input_ids"]
    with torch.no_grad():
        last = source.module(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()
    for hook in hooks:
        hook.remove()
    pool = {Pooling.MEAN: lambda h: h.mean(0), Pooling.CLS: lambda h: h[0], Pooling.LAST: lambda h: h[-1], Pooling.MAX: lambda h: h.max(0)}
    features = np.mean([pool[pooling]([*entered, last][layer]) for layer in layers], axis=0)
    logits = head.weight @ features + head.bias
    return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_a_saved_model_says_what_its_parts_say_by_hand(
    architecture: str, layers: tuple[int, ...], save: Callable[..., Path], tiny: Callable[[str], Any], head: LinearHead
) -> None:
    pooling = POOLINGS[architecture]
    model = load(save(architecture, pooling=pooling, layers=layers))
    expected = [by_hand(tiny(architecture), head, text, pooling, layers) for text in TEXTS]
    found = model.predict_proba(TEXTS)
    assert np.ptp(found, axis=0).max() > 0.02  # the texts differ, so the comparison says something
    np.testing.assert_allclose(found, expected, atol=5e-6)
    assert model.predict(TEXTS) == [model.labels[i] for i in np.argmax(expected, axis=1)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_model_is_a_source_again_with_the_same_weights_tokens_and_pooling(
    architecture: str, save: Callable[..., Path], tiny: Callable[[str], Any]
) -> None:
    source = resolve_source(str(save(architecture, pooling=Pooling.MAX)))
    assert (source.pooling, source.max_length, source.model_type) == (Pooling.MAX, LENGTH, architecture)
    module, tokenizer = open_source(source)
    before, after = tiny(architecture).module.state_dict(), module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert tokenizer(TEXTS)["input_ids"] == tiny(architecture).tokenizer(TEXTS)["input_ids"]


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "gemma3_text"])
def test_transformers_opens_a_saved_model_with_the_code_in_its_folder(
    architecture: str, save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])  # transformers puts the cache on the path
    folder = save(architecture, layers=(1, BLOCKS))
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True).eval()
    assert type(model).__module__.startswith("transformers_modules.")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    assert set(batch) == {"input_ids", "attention_mask"}
    with torch.no_grad():
        probabilities = model(**batch).logits.softmax(dim=1).numpy()
    ours = load(folder)
    np.testing.assert_allclose(probabilities, ours.predict_proba(TEXTS), atol=2e-6)
    assert tuple(model.config.id2label[i] for i in range(3)) == ours.labels


def test_the_folder_holds_the_hugging_face_layout_and_no_pickle(save: Callable[..., Path]) -> None:
    folder = save("bert")
    assert {path.name for path in folder.iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "modeling_headstart.py",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = json.loads((folder / "config.json").read_text())
    assert config["label2id"] == {"refund": 0, "späte Lieferung 🚚": 1, 'a "quoted" | label': 2}
    assert config["architectures"] == ["HeadstartForSequenceClassification"]
    assert "dtype" not in config["backbone_config"]
    assert oct(folder.stat().st_mode & 0o777) == "0o755"


def test_a_configuration_without_a_padding_token_is_saved_too(tmp_path: Path, head: LinearHead) -> None:
    """As CodeGen's, which does not know the name."""
    from transformers import CodeGenConfig, CodeGenModel

    tokenizer = make_tokenizer("gpt2")
    sizes = {"n_embd": HIDDEN, "n_head": 4, "n_layer": BLOCKS, "n_positions": 64, "rotary_dim": 4}
    module = CodeGenModel(CodeGenConfig(vocab_size=len(tokenizer), **sizes)).eval()
    tokenizer.pad_token = tokenizer.eos_token
    save_model(
        tmp_path / "model",
        backbone_module=module,
        tokenizer=tokenizer,
        pooling=Pooling.LAST,
        layers=(1, BLOCKS),
        head=head,
        labels=("a", "b", "c"),
        max_length=LENGTH,
        card="",
    )
    expected = [by_hand(SimpleNamespace(module=module, tokenizer=tokenizer), head, text, Pooling.LAST, (1, BLOCKS)) for text in TEXTS]
    np.testing.assert_allclose(load(tmp_path / "model").predict_proba(TEXTS), expected, atol=1e-5)


def test_saving_takes_no_setting_of_the_last_call_along_and_leaves_the_tokenizer_as_it_was(
    save: Callable[..., Path], tiny: Callable[[str], Any]
) -> None:
    tokenizer = tiny("bert").tokenizer
    tokenizer(TEXTS, truncation=True, max_length=5, padding=True)
    before = tokenizer.backend_tokenizer.to_str(), tokenizer.model_max_length
    folder = save("bert")
    assert (tokenizer.backend_tokenizer.to_str(), tokenizer.model_max_length) == before
    saved = json.loads((folder / "tokenizer.json").read_text())
    assert (saved["truncation"], saved["padding"]) == (None, None)
    assert json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"] == LENGTH


def test_a_model_that_was_there_is_replaced_and_nothing_else_is_left(save: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old.txt").write_text("")
    folder = save("bert")
    assert not (folder / "old.txt").exists() and (folder / "config.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failure_in_the_middle_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old.txt").write_text("")
    with pytest.raises(RuntimeError, match="stop"), whole_folder(tmp_path / "model") as place:
        (place / "new.txt").write_text("")
        raise RuntimeError("stop")
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["model", "model/old.txt"]


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "permission is denied"), (errno.EROFS, "the disk is read-only")],
)
def test_a_full_or_forbidden_disk_is_said_in_words(tmp_path: Path, number: int, words: str) -> None:
    with pytest.raises(ResourceError) as caught, whole_folder(tmp_path / "model"):
        raise OSError(number, os.strerror(number))
    assert str(caught.value) == f"The model cannot be saved to {str(tmp_path / 'model')!r}: {words}. Make room or choose another folder."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("layers", "labels", "message"),
    [
        ((), ("a", "b"), "layers is []; it must name at least one of the layers 0 to 4."),
        ((5,), ("a", "b"), "layers is [5]; it must name at least one of the layers 0 to 4."),
        ((4,), ("a", "b", "c"), "The head has 2 rows for 3 different labels; it must have one for each."),
        ((4,), ("a", "a"), "The head has 2 rows for 1 different labels; it must have one for each."),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    layers: tuple[int, ...], labels: tuple[str, ...], message: str, tiny: Callable[[str], Any], tmp_path: Path
) -> None:
    source = tiny("bert")
    with pytest.raises(ValueError) as caught:
        save_model(
            tmp_path / "model",
            backbone_module=source.module,
            tokenizer=source.tokenizer,
            pooling=Pooling.MEAN,
            layers=layers,
            head=LinearHead(np.zeros((2, HIDDEN)), np.zeros(2)),
            labels=labels,
            max_length=LENGTH,
            card="",
        )
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_transfer_is_saved_with_its_labels_and_loads(tmp_path: Path) -> None:
    from headstart.strategies.base import Rows
    from headstart.strategies.tfidf import fit_tfidf

    texts = ("my card is lost", "lost card again", "refund my money", "I want a refund", "where is my card", "refund it now")
    model, _ = fit_tfidf(Rows(texts, np.array([0, 0, 1, 1, 0, 1]), 2), [], None, 0)
    save_text_model(tmp_path / "model", model, ("card", "refund"), "# card\n", task="classification")
    loaded = load(tmp_path)
    assert loaded.labels == ("card", "refund")
    assert loaded.predict(["a lost card", "a refund"]) == ["card", "refund"]
    logits = model.predict_logits(texts)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loaded.predict_proba(texts), expected, atol=1e-12)


def test_what_a_kill_left_half_saved_is_cleared_away(tmp_path):
    for name in ("model-unproven", ".model-unproven.a1b2", ".model.c3d4"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "report.html").write_text("")
    with proven_folder(tmp_path / "model") as place:
        place.mkdir()
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model-unproven", "report.html"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model", "report.html"]
