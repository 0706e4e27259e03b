"""The saved model of words: a stock class of transformers that says what the trained model says."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.errors import RunError, SourceError
from headstart.export import verify as room
from headstart.export.token_folder import require_token_class, save_token_model
from headstart.export.verify import verify
from headstart.loaded import load
from headstart.sources.opening import open_source
from headstart.sources.resolve import resolve_source
from headstart.strategies.base import LinearHead
from tiny import HIDDEN

BLOCKS, LENGTH = 4, 20
LABELS = ("O", "B-späte Zeit", "I-späte Zeit", 'B-a "quoted" | type', 'I-a "quoted" | type')
ENCODERS = ("bert", "mpnet", "distilbert", "roberta", "deberta-v2")  # nothing runs behind their last block
KINDS = (*ENCODERS, "gpt2", "llama")
TEXTS = ["why is my card lost ?", "unbelievable", "I love the film , not a car !", "a refund é"]
SENTENCES = [text.split(" ") for text in TEXTS]
REFUSED = {
    "modernbert": (
        "The stock class of transformers for words, ModernBertForTokenClassification, puts more than a linear layer on the source {!r}; "
        "choose another source."
    ),
    "gemma3_text": "transformers has no class that marks words with a model of type 'gemma3_text' ({}); choose another source.",
}


@pytest.fixture(scope="session")
def words_head() -> LinearHead:
    generator = np.random.default_rng(5)
    return LinearHead(generator.normal(size=(len(LABELS), HIDDEN)), generator.normal(size=len(LABELS)))


@pytest.fixture
def save_words(tiny: Callable[[str], Any], words_head: LinearHead, tmp_path: Path) -> Callable[..., Path]:
    """Saves the tiny model of words of an architecture and returns the folder."""

    def to_folder(architecture: str, layer: int = BLOCKS, name: str = "model") -> Path:
        source = tiny(architecture)
        save_token_model(
            tmp_path / name,
            backbone_module=source.module,
            tokenizer=source.tokenizer,
            layer=layer,
            head=words_head,
            labels=LABELS,
            max_length=LENGTH,
            card="# a card\n",
        )
        return tmp_path / name

    return to_folder


def by_hand(source: Any, head: LinearHead, words: list[str], layer: int) -> np.ndarray:
    """Logits of the words of one text alone, from the whole source's hidden states at the words' first tokens."""
    encoded = source.tokenizer(words, is_split_into_words=True, truncation=True, max_length=LENGTH)
    with torch.inference_mode():
        hidden = source.module(input_ids=torch.tensor([encoded["input_ids"]]), output_hidden_states=True).hidden_states[layer][0].numpy()
    numbers = encoded.word_ids()
    return hidden[[numbers.index(i) for i in range(len(words))]] @ head.weight.T + head.bias


def stock_logits(folder: Path, words: list[str]) -> np.ndarray:
    """The same of a saved model, by transformers alone."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    model = AutoModelForTokenClassification.from_pretrained(folder).eval()
    assert type(model).__module__.startswith("transformers.models.")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(words, is_split_into_words=True, truncation=True, return_tensors="pt")
    numbers = encoded.word_ids()
    with torch.inference_mode():
        logits = model(**encoded).logits[0].numpy()
    return logits[[numbers.index(i) for i in range(len(words))]]


@pytest.mark.parametrize(
    ("architecture", "layer"), [*((kind, BLOCKS) for kind in KINDS), *((kind, layer) for kind in ENCODERS for layer in (1, 3))]
)
def test_transformers_opens_it_as_a_stock_class_that_says_what_the_parts_say_by_hand(
    architecture: str, layer: int, save_words: Callable[..., Path], tiny: Callable[[str], Any], words_head: LinearHead
) -> None:
    folder = save_words(architecture, layer)
    wanted = [by_hand(tiny(architecture), words_head, words, layer) for words in SENTENCES]
    assert np.ptp(np.concatenate(wanted), axis=0).min() > 0.1  # the words differ, so the comparison says something
    for words, logits in zip(SENTENCES, wanted, strict=True):
        np.testing.assert_allclose(stock_logits(folder, words), logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(load(folder).reader.predict_logits(TEXTS), np.concatenate(wanted), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("architecture", "layer"), [("bert", 3), ("distilbert", 2), ("gpt2", 4)])
def test_the_folder_holds_the_stock_layout_and_no_block_that_is_not_used(
    architecture: str, layer: int, save_words: Callable[..., Path], tiny: Callable[[str], Any]
) -> None:
    from safetensors.numpy import load_file

    folder = save_words(architecture, layer)
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    config = json.loads((folder / "config.json").read_text())
    assert config["id2label"] == {str(i): label for i, label in enumerate(LABELS)}
    assert config["label2id"] == {label: i for i, label in enumerate(LABELS)}
    assert config["architectures"] == [
        {"bert": "BertForTokenClassification", "distilbert": "DistilBertForTokenClassification", "gpt2": "GPT2ForTokenClassification"}[
            architecture
        ]
    ]
    assert "auto_map" not in config and (folder / "README.md").read_text() == "# a card\n"
    weights = load_file(folder / "model.safetensors")
    blocks = {part for name in weights for part in name.split(".") if part.isdigit()}
    assert blocks == {str(k) for k in range(layer)}
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer["model_max_length"] == LENGTH
    size, whole = sum(weight.size for weight in weights.values()), sum(p.numel() for p in tiny(architecture).module.parameters())
    assert size < whole if layer < BLOCKS else size > whole


def test_nothing_that_is_saved_is_changed_and_a_model_that_was_there_is_replaced(
    save_words: Callable[..., Path], tiny: Callable[[str], Any], tmp_path: Path
) -> None:
    source = tiny("bert")
    before = copy.deepcopy(source.module.state_dict()), source.module.config.to_dict(), source.tokenizer.backend_tokenizer.to_str()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old.txt").write_text("")
    save_words("bert", 2)
    after = source.module.state_dict()
    assert before[0].keys() == after.keys() and all(torch.equal(before[0][name], after[name]) for name in after)
    assert source.module.config.to_dict() == before[1] and source.tokenizer.backend_tokenizer.to_str() == before[2]
    assert [path.name for path in tmp_path.iterdir()] == ["model"] and not (tmp_path / "model" / "old.txt").exists()


@pytest.mark.parametrize(("architecture", "layer"), [("bert", 4), ("bert", 2), ("mpnet", 3), ("gpt2", 4), ("llama", 4)])
def test_a_saved_model_is_a_source_again_with_the_same_weights_as_far_as_it_goes(
    architecture: str, layer: int, save_words: Callable[..., Path], tiny: Callable[[str], Any]
) -> None:
    source = resolve_source(str(save_words(architecture, layer)))
    assert (source.max_length, source.model_type) == (LENGTH, architecture)
    module, tokenizer = open_source(source)
    assert module.config.num_hidden_layers == layer
    before = tiny(architecture).module.state_dict()
    after = {name: weight for name, weight in module.state_dict().items() if "pooler" not in name}
    assert all(torch.equal(before[name], weight) for name, weight in after.items())
    gone = {name for name in before if "pooler" not in name} - set(after)
    assert all(any(f".{k}." in name for k in range(layer, BLOCKS)) for name in gone) and (gone == set()) == (layer == BLOCKS)
    assert tokenizer(TEXTS)["input_ids"] == tiny(architecture).tokenizer(TEXTS)["input_ids"]


@pytest.mark.parametrize("architecture", KINDS)
def test_an_architecture_with_a_plain_class_is_let_through_as_it_is(architecture: str, tiny: Callable[[str], Any]) -> None:
    module = tiny(architecture).module
    before = module.config.to_dict()
    require_token_class(module, architecture)
    assert module.config.to_dict() == before


@pytest.mark.parametrize("architecture", REFUSED)
def test_an_architecture_without_a_plain_class_is_refused_and_nothing_is_written(
    architecture: str, save_words: Callable[..., Path], tiny: Callable[[str], Any], tmp_path: Path
) -> None:
    with pytest.raises(SourceError) as caught:
        require_token_class(tiny(architecture).module, "a source")
    assert str(caught.value) == REFUSED[architecture].format("a source")
    with pytest.raises(SourceError) as caught:
        save_words(architecture)
    assert str(caught.value) == REFUSED[architecture].format(str(tmp_path / "model"))
    assert list(tmp_path.iterdir()) == []


# --- opened again in a fresh process ---


def probabilities(folder: Path, texts: list[str]) -> np.ndarray:
    logits = load(folder).reader.predict_logits(texts)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", KINDS)
def test_every_architecture_says_the_same_in_a_fresh_process_without_headstart(architecture: str, save_words: Callable[..., Path]) -> None:
    folder = save_words(architecture)
    texts = [*TEXTS, "my \u0301 card", "x" * 60, "a [SEP] </s> b", "<|endoftext|> c"]
    assert verify(folder, texts, probabilities(folder, texts), words=True) < 2e-6


@pytest.mark.slow
def test_a_fresh_process_tells_the_right_probabilities_from_wrong_ones(save_words: Callable[..., Path]) -> None:
    folder = save_words("bert")
    wrong = probabilities(folder, TEXTS)
    best = wrong[7].argmax()
    wrong[7, [best, best - 1]] = wrong[7, [best - 1, best]]
    with pytest.raises(RunError) as caught:
        verify(folder, TEXTS, wrong, words=True)
    difference = float(wrong[7].max() - wrong[7, best])
    assert difference > 0.01
    assert str(caught.value) == (
        f"The model saved to {str(folder)!r} gives other probabilities than the trained one: they differ by up to {difference:.2g}, "
        "more than 0.0001. Do not use it; please report this with the versions that `headstart env` prints."
    )


def answering(monkeypatch: pytest.MonkeyPatch, folder: Path, answer: object) -> Path:
    """A folder whose fresh process is replaced by a given answer: the likeliest class of each word, and its probability."""
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    monkeypatch.setattr(room, "ask", lambda *_: np.asarray(answer, dtype=np.float64))
    return folder


EXPECTED = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.6, 0.2, 0.2]])


def test_words_of_which_no_token_is_read_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = answering(monkeypatch, tmp_path, [[0, 0.50004], [-1, 0.0], [0, 0.6]])
    assert verify(folder, ["a b", "c"], EXPECTED, words=True) == pytest.approx(4e-5)


def test_of_two_classes_that_are_equally_likely_either_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = answering(monkeypatch, tmp_path, [[1, 0.49999]])
    assert verify(folder, ["a"], np.array([[0.50001, 0.49999, 0.0]]), words=True) == pytest.approx(2e-5)


@pytest.mark.parametrize("answer", [[1, 0.3], [1, 0.5], [0, 0.4], [0, float("nan")]])
def test_another_class_or_another_probability_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: list[float]) -> None:
    folder = answering(monkeypatch, tmp_path, [answer, [2, 0.8], [0, 0.6]])
    with pytest.raises(RunError, match="gives other probabilities than the trained one"):
        verify(folder, ["a b", "c"], EXPECTED, words=True)


def test_another_number_of_words_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = answering(monkeypatch, tmp_path, [[0, 0.5], [2, 0.8]])
    with pytest.raises(RunError) as caught:
        verify(folder, ["a b", "c"], EXPECTED, words=True)
    assert str(caught.value) == f"The model saved to {str(folder)!r} answers with shape (2, 2) instead of (3, 3); do not use it."


def test_a_model_that_reads_no_word_at_all_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = answering(monkeypatch, tmp_path, [[-1, 0.0]] * 3)
    with pytest.raises(RunError) as told:
        verify(folder, ["a b", "c"], EXPECTED, words=True)
    assert str(told.value) == f"The model saved to {str(folder)!r} reads none of 3 words; do not use it."
