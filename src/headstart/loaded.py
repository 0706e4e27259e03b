"""A saved model, opened: texts in, label names or probabilities out.

Letters in shapes: n texts, c labels.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headstart.data.given import texts_of
from headstart.data.pairs import join_pair
from headstart.data.tags import OUTSIDE, spans_of, tag_names, words_of
from headstart.environment import expand_home
from headstart.errors import RunError
from headstart.settings import Settings
from headstart.sources.files import ADAPTER
from headstart.sources.resolve import WITHOUT_TRANSFER, WRAPPER
from headstart.strategies.outputs import sigmoid

if TYPE_CHECKING:
    from headstart.loaded_answers import LoadedAnswers
    from headstart.loaded_translation import LoadedTranslator
    from headstart.loaded_writing import LoadedWriter

FloatArray = NDArray[np.float64]

# Texts that are tokenised at once: bounds the memory of a call with millions of texts.
_CHUNK = 4096


class Reads(Protocol):
    """What says how likely the labels are, or the number: a `Classifier`, or a model without transfer."""

    def predict_logits(self, texts: Sequence[str]) -> FloatArray:
        """Logits of shape (n, c)."""
        ...


def _listed(texts: Iterable[Any], who: str, may_be: Callable[[Any], bool] = lambda text: isinstance(text, str)) -> list[Any]:
    """The texts as a list.

    Raises:
        TypeError: a single text stands for a list of texts: its letters would be taken for texts.
        DataError: a table of several columns, or one of them is no text.
    """
    if isinstance(texts, str):
        raise TypeError(f"{who} a list of texts; put the single text into a list.")
    return texts_of(texts, may_be)


@dataclass(frozen=True)
class LoadedModel:
    """A trained classifier, opened from `folder`. `labels` are the c label names in the order of the columns of `predict_proba`."""

    labels: tuple[str, ...]
    folder: Path
    reader: Reads

    def predict_proba(self, texts: Sequence[str]) -> FloatArray:
        """How likely each label is for each text: shape (n, c), rows sum to 1."""
        texts = _listed(texts, "predict_proba takes")
        if not texts:
            return np.zeros((0, len(self.labels)))
        logits = np.asarray(self.reader.predict_logits(texts), dtype=np.float64)
        logits = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(logits / logits.sum(axis=1, keepdims=True))

    def predict(self, texts: Sequence[str]) -> list[str]:
        """The most likely label of each text."""
        return [self.labels[i] for i in self.predict_proba(texts).argmax(axis=1)]


Pair = tuple[str, str] | Mapping[str, str]
"""Two texts, or `{"text": first, "text_pair": second}` as the pipelines of transformers take them."""


@dataclass(frozen=True)
class LoadedPairs:
    """A trained classifier of pairs of texts, opened from `folder`. `labels` are the c names, in the order of `predict_proba`."""

    form: ClassVar = "pairs"
    labels: tuple[str, ...]
    folder: Path
    reader: Reads

    def predict_proba(self, pairs: Sequence[Pair]) -> FloatArray:
        """How likely each label is for each pair: shape (n, c), rows sum to 1."""
        return LoadedModel(self.labels, self.folder, self.reader).predict_proba([_joined(pair) for pair in pairs])

    def predict(self, pairs: Sequence[Pair]) -> list[str]:
        """The most likely label of each pair."""
        return [self.labels[i] for i in self.predict_proba(pairs).argmax(axis=1)]


def _joined(pair: Pair) -> str:
    sides = (pair.get("text"), pair.get("text_pair")) if isinstance(pair, Mapping) else pair
    if not isinstance(sides, tuple | list | np.ndarray) or len(sides) != 2 or not all(isinstance(side, str) for side in sides):
        raise TypeError(f"a pair of two texts is taken, not {pair!r}.")
    return join_pair(str(sides[0]), str(sides[1]))


@dataclass(frozen=True)
class LoadedLabels:
    """A trained model that gives any number of labels, opened from `folder`. `labels` are the c names, in the order of `predict_proba`."""

    form: ClassVar = "labels"
    labels: tuple[str, ...]
    folder: Path
    reader: Reads

    def predict_proba(self, texts: Sequence[str]) -> FloatArray:
        """How likely each label is for each text by itself: shape (n, c). The line lies at one half; F1 was greatest there on rows that
        the model had not seen, so that of rare labels these are above the frequencies with which they are right."""
        texts = _listed(texts, "predict_proba takes")
        if not texts:
            return np.zeros((0, len(self.labels)))
        return sigmoid(np.asarray(self.reader.predict_logits(texts), dtype=np.float64))

    def predict(self, texts: Sequence[str]) -> list[list[str]]:
        """The labels of each text, those of the highest probability first; an empty list where none applies."""
        rows = self.predict_proba(texts)
        return [[self.labels[k] for k in np.argsort(-row, kind="stable") if row[k] > 0.5] for row in rows]


@dataclass(frozen=True)
class LoadedNumber:
    """A trained model that predicts a number, opened from `folder`."""

    form: ClassVar = "number"
    labels: tuple[str, ...]
    folder: Path
    reader: Reads

    def predict(self, texts: Sequence[str]) -> list[float]:
        """The number of each text."""
        texts = _listed(texts, "predict takes")
        return np.asarray(self.reader.predict_logits(texts), dtype=np.float64)[:, 0].tolist() if texts else []


@dataclass(frozen=True)
class Entity:
    """An entity in a text: its words as they stand there from character `start` to before `end`, and the least probability of its words."""

    text: str
    type: str
    start: int
    end: int
    probability: float


@dataclass(frozen=True)
class LoadedTagger:
    """A trained model of words, opened from `folder`. `labels` are the names of a word's classes: `O`, then `B-` and `I-` of each type."""

    form: ClassVar = "tags"
    labels: tuple[str, ...]
    folder: Path
    reader: Reads

    def predict(self, texts: Sequence[str | Sequence[str]]) -> list[list[Entity]]:
        """The entities of each text. A text is a string, whose words are found, or a list of words, which count as if one space stood
        between."""
        return [entities for _, entities in self.tag(texts)]

    def tag(self, texts: Sequence[str | Sequence[str]]) -> list[tuple[list[str], list[Entity]]]:
        """The tag of each word of each text, in BIO2, and the entities."""
        read = [_words_in(text) for text in _listed(texts, "the model takes", _is_text_or_words)]
        joined = [" ".join(_one_word(running[a:b]) for a, b in places) for running, places in read if places]
        logits = np.asarray(self.reader.predict_logits(joined), dtype=np.float64) if joined else np.zeros((0, len(self.labels)))
        logits = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = logits / logits.sum(axis=1, keepdims=True)
        found, at = [], 0
        for running, places in read:
            found.append(self._tagged(running, places, probabilities[at : at + len(places)]))
            at += len(places)
        return found

    def _tagged(self, running: str, places: Sequence[tuple[int, int]], probabilities: FloatArray) -> tuple[list[str], list[Entity]]:
        y, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
        spans = spans_of(y, np.array([len(y)]))
        tags, entities = [OUTSIDE] * len(y), []
        for first, last, kind in zip(spans.start.tolist(), spans.end.tolist(), spans.kind.tolist(), strict=True):
            name = self.labels[2 * kind].partition("-")[2]
            tags[first:last] = [f"B-{name}"] + [f"I-{name}"] * (last - first - 1)
            start, end = places[first][0], places[last - 1][1]
            entities.append(Entity(running[start:end], name, start, end, float(sure[first:last].min())))
        return tags, entities


def _is_text_or_words(text: Any) -> bool:
    return isinstance(text, str) or (isinstance(text, list | tuple) and all(isinstance(word, str) for word in text))


def _words_in(text: str | Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """A running text and where its words stand in it."""
    if isinstance(text, str):
        return text, words_of(text)
    words = list(text)
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    return " ".join(words), [(int(end) - len(word), int(end)) for word, end in zip(words, ends, strict=True)]


def _one_word(word: str) -> str:
    """A word without spaces within, and never empty: so that words stay apart by single spaces."""
    return "\N{NO-BREAK SPACE}".join(word.split()) or "\N{REPLACEMENT CHARACTER}"


Loaded: TypeAlias = (
    "LoadedModel | LoadedPairs | LoadedLabels | LoadedNumber | LoadedTagger | LoadedAnswers | LoadedTranslator | LoadedWriter"
)
"""What `load` gives: by the task of the model."""
_OF_TEXTS: dict[str, Callable[[tuple[str, ...], Path, Reads], Loaded]] = {
    "classification": LoadedModel,
    "pairs": LoadedPairs,
    "multilabel": LoadedLabels,
    "regression": LoadedNumber,
}
# What opens a model that answers with texts, by the task that stands in its config.json: a module, and a function of the folder.
ANSWERS = "headstart_task"
_OPENERS = {
    "qa": "headstart.loaded_answers:open_answers",
    "translation": "headstart.loaded_translation:open_translator",
    "generation": "headstart.loaded_writing:open_writer",
}
_BY_PROBLEM = {"multi_label_classification": "multilabel", "regression": "regression"}


def load(folder: str | Path) -> Loaded:
    """Open a model that headstart saved, with headstart's own code and never with code from the folder.

    Args:
        folder: the folder of a run, or its `model` folder, or a copy of that.

    Raises:
        RunError: there is no such model, its files are damaged, an adapter lies among them, or the path begins with the folder of a user
            whom this machine does not know.
    """
    place = _model_folder(expand_home(folder, "The model", RunError))
    if (place / ADAPTER).is_file():  # headstart keeps adapters in a folder of their own; transformers would put this one on the weights
        raise RunError(
            f"The model in {str(place)!r} has an adapter beside its weights ({ADAPTER}), which headstart did not put there; "
            "move that file out of the folder."
        )
    config = _read_config(place)
    opener = _opener(config)
    if opener:
        module, _, name = opener.partition(":")
        answering: Loaded = getattr(importlib.import_module(module), name)(place)
        return answering
    labels = _labels(config)
    if config.get("model_type") != WITHOUT_TRANSFER:
        if _of_words(config):
            return LoadedTagger(labels, place, Tagger(place))
        kind = "pairs" if config.get("pairs") else _BY_PROBLEM.get(str(config.get("problem_type")), "classification")
        return _OF_TEXTS[kind](labels, place, Classifier(place))
    if config.get("task") == "ner":
        from headstart.strategies.crf import CrfModel

        return LoadedTagger(labels, place, CrfModel.load(place))
    if config.get("task") == "pairs":
        from headstart.strategies.pair_tfidf import PairTfidfModel

        return LoadedPairs(labels, place, PairTfidfModel.load(place))
    from headstart.strategies.tfidf import TfidfModel

    return _OF_TEXTS.get(str(config.get("task")), LoadedModel)(labels, place, TfidfModel.load(place))


def _opener(config: dict[str, Any]) -> str:
    """What opens a model that answers with texts; "" for any other."""
    task = config.get("task") if config.get("model_type") == WITHOUT_TRANSFER else config.get(ANSWERS)
    return _OPENERS.get(str(task), "")


def _labels(config: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(config["id2label"][key]) for key in sorted(config.get("id2label", {}), key=int))


def _of_words(config: dict[str, Any]) -> bool:
    """Whether a model's configuration is of one that marks words, by the classes that headstart gives them."""
    stock = any(str(name).endswith("ForTokenClassification") for name in config.get("architectures") or ())
    return stock and _labels(config) == tag_names([name.partition("-")[2] for name in _labels(config)[1::2]])


def _model_folder(folder: Path) -> Path:
    for place in (folder / "model", folder):
        if (place / "config.json").is_file():
            return place
    if not folder.exists():
        raise RunError(f"There is no folder {str(folder)!r}; give the folder of a run, or its model folder.")
    if (folder / "run.yaml").is_file():
        raise RunError(f"The run {str(folder)!r} has no model yet; give its command again to finish it.")
    raise RunError(f"{str(folder)!r} holds no model (no config.json); give the folder of a run, or its model folder.")


def _read_config(place: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((place / "config.json").read_text(encoding="utf-8"))
        model_type = config.get("model_type")
    except (ValueError, AttributeError):
        raise RunError(
            f"{str(place / 'config.json')!r} is damaged; run the command of its run.yaml again, or copy the model again."
        ) from None
    if model_type not in (WRAPPER, WITHOUT_TRANSFER) and not _of_words(config) and not _opener(config):
        raise RunError(f"{str(place)!r} holds a model of type {str(model_type)!r} that headstart did not save; transformers opens it.")
    return config


class Classifier:
    """The saved classifier and its tokenizer, on the GPU where there is one."""

    def __init__(self, place: Path) -> None:
        import torch
        from transformers import AutoTokenizer

        from headstart.backbone.encoding import tell_texts_apart
        from headstart.sources.modeling_headstart import HeadstartForSequenceClassification
        from headstart.sources.opening import open_saved, opening_saved

        with opening_saved(place):
            model = open_saved(HeadstartForSequenceClassification, place)
            tokenizer = AutoTokenizer.from_pretrained(place, config=model.config, trust_remote_code=False, local_files_only=True)
        self.pairs = bool(model.config.pairs)
        if self.pairs:
            tell_texts_apart(model.backbone, tokenizer.sep_token_id)
        self.model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = tokenizer
        self.max_length = int(tokenizer.model_max_length)
        self.batch_tokens = Settings().batch_tokens

    def predict_logits(self, texts: Sequence[str]) -> FloatArray:
        """Logits of shape (n, c), in the order of the texts; equal texts of a chunk are read once."""
        logits = np.empty((len(texts), self.model.num_labels))
        for start in range(0, len(texts), _CHUNK):
            chunk = texts[start : start + _CHUNK]
            distinct = {text: i for i, text in enumerate(dict.fromkeys(chunk))}
            logits[start : start + _CHUNK] = self._read(list(distinct))[[distinct[text] for text in chunk]]
        return logits

    def _read(self, texts: list[str]) -> FloatArray:
        import torch

        from headstart.backbone.batching import in_turn, plan_batches
        from headstart.backbone.encoding import encode
        from headstart.backbone.kernels import fast_linears
        from headstart.backbone.reading import pad

        filler = self.tokenizer.pad_token_id or 0
        # A causal model's tokenizer makes nothing of an empty text; the model needs one token at least.
        ids = [row or [filler] for row in encode(self.tokenizer, texts, self.max_length, pairs=self.pairs)]
        logits = np.empty((len(texts), self.model.num_labels))
        with torch.inference_mode(), fast_linears(self.model):
            for batch in in_turn(plan_batches([len(row) for row in ids], self.batch_tokens)):
                rows, mask = pad([ids[i] for i in batch], filler)
                rows = rows.to(self.model.device)
                answer = self.model(input_ids=rows, attention_mask=None if mask is None else mask.to(self.model.device))
                logits[batch] = answer.logits.float().cpu().numpy()
        return logits


class Tagger:
    """The saved model of words and its tokenizer, on the GPU where there is one."""

    def __init__(self, place: Path) -> None:
        import torch
        from transformers import AutoModelForTokenClassification, AutoTokenizer

        from headstart.sources.opening import open_saved, opening_saved

        with opening_saved(place):
            model = open_saved(AutoModelForTokenClassification, place)
            tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False, local_files_only=True)
        linear = [part for part in model.modules() if isinstance(part, torch.nn.Linear)]
        # What the head says of a word of which no token is read; it stands behind the backbone.
        self.unread = linear[-1].bias.detach().numpy() if linear[-1].bias is not None else np.zeros(model.config.num_labels)
        self.model = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = tokenizer
        self.max_length = int(tokenizer.model_max_length)
        self.batch_tokens = Settings().batch_tokens

    def predict_logits(self, texts: Sequence[str]) -> FloatArray:
        """Logits (u, c) of the words of each text, which stand with one space between; long texts are read in windows."""
        import torch

        from headstart.backbone.batching import in_turn, plan_batches
        from headstart.backbone.kernels import fast_linears
        from headstart.backbone.reading import pad
        from headstart.strategies.windows import ABSENT, make_windows

        windows = make_windows(self.tokenizer, self.max_length, texts)
        sizes = np.array([text.count(" ") + 1 for text in texts], dtype=np.int64)
        starts = np.cumsum(sizes) - sizes
        logits = np.tile(self.unread.astype(np.float64), (int(sizes.sum()), 1))
        filler = self.tokenizer.pad_token_id or 0
        for start in range(0, len(windows), _CHUNK):
            part = windows[start : start + _CHUNK]
            rows_of = self.tokenizer([window.text for window in part], truncation=True, max_length=self.max_length)["input_ids"]
            ids = [row or [filler] for row in rows_of]  # as in `Classifier`
            with torch.inference_mode(), fast_linears(self.model):
                for batch in in_turn(plan_batches([len(row) for row in ids], self.batch_tokens)):
                    rows, mask = pad([ids[i] for i in batch], filler)
                    rows = rows.to(self.model.device)
                    answer = self.model(input_ids=rows, attention_mask=None if mask is None else mask.to(self.model.device))
                    for i, states in zip(batch, answer.logits.float().cpu().numpy(), strict=True):
                        low, high = part[i].own
                        tokens = part[i].tokens[low:high]
                        known = np.flatnonzero(tokens != ABSENT)
                        logits[starts[part[i].row] + part[i].first + low + known] = states[tokens[known]]
        return logits
