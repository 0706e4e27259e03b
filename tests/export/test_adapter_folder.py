"""The adapter beside the model: opened by peft on the source in a fresh process it says the same, its head with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from headstart import saving
from headstart.backbone.backbone import load_backbone
from headstart.backbone.reading import Reader
from headstart.data.pairs import join_pair, split_pair
from headstart.errors import RunError, SettingsError
from headstart.export.verify import verify
from headstart.judge.calibration import softmax
from headstart.settings import Precision, Settings
from headstart.sources.modeling_headstart import HeadstartConfig, HeadstartForSequenceClassification
from headstart.sources.resolve import resolve_source
from headstart.strategies import schedule
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job, get_strategy
from tiny import WORDS, make_tiny


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "task"), [("bert", "classification"), ("roberta", "ner")])
def test_the_adapter_on_its_source_says_the_same_and_is_refused_without_its_head(
    architecture: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FEWEST_WORD_STEPS", 6)
    monkeypatch.setattr(saving, "model_card", lambda *_args, **_named: "# a card\n")
    backbone = load_backbone(resolve_source(str(make_tiny(tmp_path / "source", architecture))), 40)
    rng = np.random.default_rng(0)
    words = task == "ner"
    texts = tuple(" ".join(rng.choice(WORDS, 4)) for _ in range(12))
    y = np.arange(48) % 3 if words else np.arange(12) % 3
    rows = Rows(texts, y, 3, np.full(12, 4) if words else None, np.arange(12) % 2 if words else None)
    settings = Settings(task=task, epochs=2, batch_size=8, precision=Precision.FLOAT32, learning_rate=1e-3)
    job = Job(rows, np.arange(12), [], settings, seed=0, reader=Reader(backbone, None, 4096), cut=2)
    model = get_strategy("lora", task).fit(job).scaled(0.5)
    labels = ("O", "B-a", "I-a") if words else ("a", "b", "c")
    target: Any = SimpleNamespace(rows=rows, labels=labels, task=task)
    told: list[str] = []
    monkeypatch.setattr(saving, "say", told.append)
    saving.save_winner(tmp_path / "model", model, target, None, adapter=True)  # type: ignore[arg-type]
    assert len(told) == 2 and told[1].startswith("opened the adapter on its source in a fresh process: greatest difference ")
    folder = tmp_path / "model" / "adapter"
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    wanted = np.asarray(softmax(model.predict_logits(texts)))
    assert verify(tmp_path / "model", texts, wanted, words=words, adapter=True) < 1e-5  # merged and adapter agree
    # The classic loss: the adapter's file without the head, or with another, opens as well and says something else.
    weights = load_file(folder / "adapter_model.safetensors")
    head = [name for name in weights if "lora_" not in name]
    assert sorted(name.rpartition(".")[2] for name in head) == ["bias", "weight"]
    save_file({name: -tensor if name in head else tensor for name, tensor in weights.items()}, folder / "adapter_model.safetensors")
    with pytest.raises(RunError, match="gives other probabilities than the trained one"):
        verify(tmp_path / "model", texts, wanted, words=words, adapter=True)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks transformers for it
@pytest.mark.parametrize("task", ["classification", "pairs", "multilabel", "regression"])
def test_the_adapter_opened_on_its_source_gives_the_trained_outputs_head_included(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, by the lines that `export.adapter_folder` tells its readers; a fresh one is asked above."""
    monkeypatch.setattr(saving, "model_card", lambda *_args, **_named: "# a card\n")
    monkeypatch.setattr(saving, "verify", lambda *_args, **_named: 0.0)
    pairs = task == "pairs"
    backbone = load_backbone(resolve_source(str(make_tiny(tmp_path / "source", "bert"))), 40, pairs=pairs)
    rng = np.random.default_rng(0)
    texts = tuple(" ".join(rng.choice(WORDS, 4)) for _ in range(24))
    texts = tuple(map(join_pair, texts[:12], texts[12:])) if pairs else texts[:12]
    y = {
        "multilabel": rng.integers(0, 2, size=(12, 3)),
        "regression": rng.normal(40.0, 9.0, size=(12, 1)),
    }.get(task, np.arange(12) % 3)
    labels = ("number",) if task == "regression" else ("a", "b", "c")
    rows = Rows(texts, y, len(labels))
    settings = Settings(task=task, epochs=2, batch_size=8, precision=Precision.FLOAT32, learning_rate=1e-3)
    job = Job(rows, np.arange(12), [], settings, seed=0, reader=Reader(backbone, None, 4096), cut=2)
    model = get_strategy("lora", task).fit(job).scaled(0.5, 0.25)
    target: Any = SimpleNamespace(rows=rows, labels=labels, task=task)
    saving.save_winner(tmp_path / "model", model, target, None, adapter=True)  # type: ignore[arg-type]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "source")
    sides = zip(*map(split_pair, texts), strict=True) if pairs else [list(texts)]
    read = tokenizer(*sides, padding=True, return_token_type_ids=pairs, return_tensors="pt")  # types as the saved tokenizer tells them

    def said_with(change: Callable[[str, torch.Tensor], torch.Tensor]) -> Any:
        file = tmp_path / "model" / "adapter" / "adapter_model.safetensors"
        kept = load_file(file)
        save_file({name: change(name, tensor) for name, tensor in kept.items()}, file)
        whole = HeadstartForSequenceClassification(HeadstartConfig.from_pretrained(tmp_path / "model"))
        whole.backbone = AutoModel.from_pretrained(tmp_path / "source")
        adapted = PeftModel.from_pretrained(whole, tmp_path / "model" / "adapter").eval()
        save_file(kept, file)
        with torch.inference_mode():
            return adapted(**read).logits.numpy()

    wanted = model.predict_logits(texts)
    assert wanted.shape == (12, len(labels))
    np.testing.assert_allclose(said_with(lambda name, tensor: tensor), wanted, rtol=1e-4, atol=1e-4)
    # Neither the head nor what the blocks learnt is there by chance.
    for part in ("classifier", "lora_B"):
        changed = said_with(lambda name, tensor, part=part: 0.0 * tensor if part in name else tensor)
        assert np.abs(changed - wanted).max() > 1e-3


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "--adapter saves what the rung lora learns, and that is not asked for; add --strategy lora."),
        (
            {"strategy": ("lora",), "via": ("a.csv",)},
            "--adapter stands on a source's own weights, and --via trains from others; leave one of the two out.",
        ),
    ],
)
def test_an_adapter_that_cannot_be_is_refused_at_once(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings(adapter=True, **asked)
    assert caught.value.problems == [message]
