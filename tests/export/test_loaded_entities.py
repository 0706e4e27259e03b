"""A saved model of words, opened: texts or lists of words in, tags and entities out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart import loaded
from headstart.backbone.backbone import Backbone
from headstart.backbone.reading import Reader
from headstart.errors import RunError
from headstart.export.model_folder import save_text_model
from headstart.export.token_folder import save_token_model
from headstart.loaded import Entity, LoadedModel, LoadedTagger, load
from headstart.strategies.base import LinearHead
from headstart.strategies.crf import fit_crf
from headstart.strategies.word_model import WordModel
from small import TAGS, marked, word_rows
from tiny import HIDDEN

TinyBackbone = Callable[..., Backbone]
LENGTH = 20
HALF = json.loads('"\\ud800"')  # half a character
DROPPED = "\u0301"  # an accent under no letter, of which the tokenizers of these models make nothing
TEXTS = [
    "my card in paris",
    "refund",
    f"my {DROPPED} card",
    DROPPED,
    "",
    "the unbelievable car is late " * 9 + "!",
    f"a {HALF} b",
    "refund",
]


class ByWord:
    """Says of each word the class that stands in it, `anna3` is of class 3, with the probability that stands behind a stroke."""

    def __init__(self, classes: int = 5) -> None:
        self.classes = classes
        self.asked: list[list[str]] = []

    def predict_logits(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.append(list(texts))
        rows = []
        for word in " ".join(texts).split(" "):
            found = re.search(r"([0-9])(?:_([0-9]+))?$", word)
            k, sure = (int(found[1]), float(f"0.{found[2] or 9}")) if found else (0, 0.9)
            rows.append([np.log(sure) if i == k else np.log((1 - sure) / (self.classes - 1)) for i in range(self.classes)])
        return np.array(rows)


def tagger(classes: Sequence[str] = TAGS) -> LoadedTagger:
    return LoadedTagger(tuple(classes), Path("model"), ByWord(len(classes)))


@pytest.fixture
def saved(tiny_backbone: TinyBackbone, tmp_path: Path) -> Callable[..., tuple[WordModel, Path]]:
    """A model of words as it was trained, and the run folder that it was saved to."""

    def make(architecture: str, layer: int = 4) -> tuple[WordModel, Path]:
        backbone = tiny_backbone(architecture, max_length=LENGTH)
        generator = np.random.default_rng(5)
        head = LinearHead(generator.normal(size=(5, HIDDEN)), generator.normal(size=5))
        save_token_model(
            tmp_path / "run" / "model",
            backbone_module=backbone.module,
            tokenizer=backbone.tokenizer,
            layer=layer,
            head=head,
            labels=TAGS,
            max_length=LENGTH,
            card="",
        )
        return WordModel(Reader(backbone, None, 4096), None, backbone.n_blocks, layer, head), tmp_path / "run"

    return make


# --- opening ---


@pytest.mark.parametrize(("architecture", "layer"), [("bert", 4), ("bert", 2), ("mpnet", 4), ("deberta-v2", 3), ("gpt2", 4), ("llama", 4)])
def test_a_saved_model_says_what_the_trained_one_says_of_every_word(
    architecture: str, layer: int, saved: Callable[..., tuple[WordModel, Path]]
) -> None:
    """Also of a text longer than is read at once, and of words of which no token is read."""
    model, run = saved(architecture, layer)
    opened = load(run)
    assert isinstance(opened, LoadedTagger) and (opened.labels, opened.folder) == (TAGS, run / "model")
    wanted = model.predict_logits(TEXTS)
    assert np.ptp(wanted, axis=0).min() > 0.5  # the words differ, so the comparison says something
    np.testing.assert_allclose(opened.reader.predict_logits(TEXTS), wanted, rtol=1e-4, atol=1e-4)


def test_a_run_folder_and_its_model_folder_open_alike(saved: Callable[..., tuple[WordModel, Path]]) -> None:
    _, run = saved("bert")
    assert load(str(run)).predict(TEXTS) == load(run / "model").predict(TEXTS)


def test_a_field_of_words_opens_as_a_tagger_with_the_same_logits(tmp_path: Path) -> None:
    model = fit_crf(word_rows(marked(60, 1))).scaled(0.8)
    save_text_model(tmp_path / "model", model, TAGS, "# card\n", task="ner")
    opened = load(tmp_path)
    assert isinstance(opened, LoadedTagger) and opened.labels == TAGS
    assert (opened.reader.predict_logits(TEXTS) == model.predict_logits(TEXTS)).all()
    ((tags, entities),) = opened.tag(["please pay anna smith in new york !"])
    assert tags == ["O", "O", "B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O"]
    assert [(entity.text, entity.type) for entity in entities] == [("anna smith", "PER"), ("new york", "LOC")]


def test_many_texts_are_read_piece_by_piece(saved: Callable[..., tuple[WordModel, Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    opened = load(saved("bert")[1])
    assert isinstance(opened, LoadedTagger)
    whole = opened.reader.predict_logits(TEXTS * 3)
    monkeypatch.setattr(loaded, "_CHUNK", 2)
    np.testing.assert_allclose(opened.reader.predict_logits(TEXTS * 3), whole, rtol=1e-4, atol=1e-4)
    assert opened.reader.predict_logits([]).shape == (0, 5)


def test_a_lone_surrogate_stops_neither_kind_of_model(
    saved: Callable[..., tuple[WordModel, Path]], save: Callable[..., Path], tmp_path: Path
) -> None:
    opened, classifier = load(saved("gpt2")[1]), load(save("gpt2", name="classifier"))
    assert isinstance(opened, LoadedTagger) and isinstance(classifier, LoadedModel)
    (half, mark) = opened.tag([[HALF, "card"], ["?", "card"]])
    assert half[0] == mark[0]
    np.testing.assert_allclose(classifier.predict_proba([f"{HALF} card"]), classifier.predict_proba(["? card"]))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_damaged_files_are_refused_with_the_folder_and_the_remedy(saved: Callable[..., tuple[WordModel, Path]], name: str) -> None:
    folder = saved("bert")[1] / "model"
    (folder / name).write_bytes((folder / name).read_bytes()[:50])
    with pytest.raises(RunError) as caught:
        load(folder)
    message = str(caught.value)
    assert message.startswith(f"The model in {str(folder)!r} cannot be opened (") and message.endswith("); copy or train it again.")


@pytest.mark.parametrize(
    "labels", [["B-LOC", "I-LOC", "O"], ["O", "I-LOC", "B-LOC"], ["O", "LOC"], ["LABEL_0", "LABEL_1"], ["O", "B-LOC"], []]
)
def test_a_model_of_words_whose_classes_are_others_is_refused_rather_than_misread(tmp_path: Path, labels: list[str]) -> None:
    config = {"model_type": "bert", "architectures": ["BertForTokenClassification"], "id2label": dict(enumerate(labels))}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{str(tmp_path)!r} holds a model of type 'bert' that headstart did not save; transformers opens it."


# --- tags and entities ---


def test_the_words_of_a_running_text_are_found_and_its_entities_stand_where_they_say() -> None:
    text = "  Anna3_8  Smith4_7-Ruiz4_95,\nnot Paris1! "
    model = tagger()
    ((tags, entities),) = model.tag([text])
    # Words: Anna3_8, Smith4_7, -, Ruiz4_95, the comma, not, Paris1, the mark.
    assert model.reader.asked == [["Anna3_8 Smith4_7 - Ruiz4_95 , not Paris1 !"]]  # type: ignore[attr-defined]
    assert tags == ["B-PER", "I-PER", "O", "B-PER", "O", "O", "B-LOC", "O"]
    assert [(entity.text, entity.type, entity.start, entity.end) for entity in entities] == [
        ("Anna3_8  Smith4_7", "PER", 2, 19),
        ("Ruiz4_95", "PER", 20, 28),
        ("Paris1", "LOC", 34, 40),
    ]
    assert [entity.probability for entity in entities] == pytest.approx([0.7, 0.95, 0.9])


def test_a_list_of_words_counts_as_if_one_space_stood_between() -> None:
    ((tags, entities),) = tagger().tag([["in", "New1", "York2_75", "St. Louis1_6"]])
    assert tags == ["O", "B-LOC", "I-LOC", "B-LOC"]
    assert entities == [
        Entity("New1 York2_75", "LOC", 3, 16, pytest.approx(0.75)),
        Entity("St. Louis1_6", "LOC", 17, 29, pytest.approx(0.6)),
    ]


def test_a_word_with_spaces_or_without_a_letter_stays_one_word() -> None:
    model = tagger()
    ((tags, _),) = model.tag([["a b1", "", " ", "x\u2028y\t1", "c"]])
    inner, nothing = "\N{NO-BREAK SPACE}", "\N{REPLACEMENT CHARACTER}"
    assert model.reader.asked == [[f"a{inner}b1 {nothing} {nothing} x{inner}y{inner}1 c"]]  # type: ignore[attr-defined]
    assert tags == ["B-LOC", "O", "O", "B-LOC", "O"]


def test_texts_without_a_word_have_no_tags_and_shift_no_other() -> None:
    model = tagger()
    assert model.tag(["", "anna3", [], " \n", ["paris1"], []]) == [
        ([], []),
        (["B-PER"], [Entity("anna3", "PER", 0, 5, pytest.approx(0.9))]),
        ([], []),
        ([], []),
        (["B-LOC"], [Entity("paris1", "LOC", 0, 6, pytest.approx(0.9))]),
        ([], []),
    ]
    assert model.tag(["", []]) == [([], [])] * 2 and model.tag([]) == [] and model.predict([]) == []


def test_a_type_may_have_any_name() -> None:
    names = ("O", "B-späte Zeit", "I-späte Zeit", "B-x-y", "I-x-y")
    ((tags, entities),) = tagger(names).tag([["a1", "b2", "c3", "d4"]])
    assert tags == ["B-späte Zeit", "I-späte Zeit", "B-x-y", "I-x-y"]
    assert [entity.type for entity in entities] == ["späte Zeit", "x-y"]


@settings(deadline=None, max_examples=100)
@given(rows=st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(30, 99)), max_size=9), max_size=5))
def test_tags_are_whole_and_tell_the_entities_that_seqeval_reads_from_them(rows: list[list[tuple[int, int]]]) -> None:
    from seqeval.metrics.sequence_labeling import get_entities

    texts = [[f"w{k}_{sure}" for k, sure in row] for row in rows]
    for row, words, (tags, entities) in zip(rows, texts, tagger().tag(texts), strict=True):
        assert [tag == "O" for tag in tags] == [k == 0 for k, _ in row]
        before = "O"
        for tag in tags:  # BIO2: nothing goes on that did not begin
            assert tag[0] != "I" or before[1:] == tag[1:]
            before = tag
        joined = " ".join(words)
        found = get_entities(tags)
        assert [(kind, " ".join(words[first : last + 1])) for kind, first, last in found] == [
            (entity.type, entity.text) for entity in entities
        ]
        for (_, first, last), entity in zip(found, entities, strict=True):
            assert joined[entity.start : entity.end] == entity.text
            assert entity.probability == pytest.approx(min(sure for _, sure in row[first : last + 1]) / 100)


def test_predicting_gives_the_entities_alone() -> None:
    texts = ["anna3 in paris1", "nothing"]
    assert tagger().predict(texts) == [entities for _, entities in tagger().tag(texts)] != [[], []]


@pytest.mark.parametrize("ask", ["predict", "tag"])
def test_a_single_text_is_refused_rather_than_read_letter_by_letter(ask: str) -> None:
    with pytest.raises(TypeError) as caught:
        getattr(tagger(), ask)("anna3")
    assert str(caught.value) == "the model takes a list of texts; put the single text into a list."


def test_the_entities_of_an_opened_model_are_what_its_logits_say(saved: Callable[..., tuple[WordModel, Path]]) -> None:
    model, run = saved("bert")
    opened: Any = load(run)
    texts = ["why is my card lost", "the unbelievable car is late " * 9]
    for text, (tags, entities) in zip(texts, opened.tag(texts), strict=True):
        classes = model.predict_logits([" ".join(text.split())]).argmax(axis=1)
        assert [tag.rpartition("-")[2] for tag in tags] == [TAGS[k].rpartition("-")[2] for k in classes]
        assert all(text[entity.start : entity.end] == entity.text for entity in entities) and entities
