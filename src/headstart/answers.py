"""What a model says of texts, as columns of a table: by the model's task.

Letters in shapes: n texts, c labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from headstart.data.pairs import split_pair
from headstart.data.tags import list_of_words
from headstart.errors import SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headstart.loaded import Loaded, LoadedLabels, LoadedNumber, LoadedPairs, LoadedTagger
    from headstart.loaded_answers import LoadedAnswers
    from headstart.loaded_translation import LoadedTranslator
    from headstart.loaded_writing import LoadedWriter


class Model(Protocol):
    """What predicts: `headstart.load(folder)` gives one."""

    @property
    def labels(self) -> Sequence[str]:
        """The c labels, in the order of the columns of `predict_proba`."""
        ...

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.floating[Any]]:
        """Probabilities of shape (n, c)."""
        ...


@dataclass(frozen=True)
class Form:
    """What is said of a text: the new `columns`, which of them hold `numbers`, and their values for each different text that is not
    blank.
    """

    columns: tuple[str, ...]
    numbers: frozenset[str]
    answers: Callable[[Sequence[str]], dict[str, list[Any]]]


@dataclass(frozen=True)
class _OfJoined:
    """A model of pairs that takes both texts in one."""

    labels: tuple[str, ...]
    predict_proba: Callable[[Sequence[str]], NDArray[np.floating[Any]]]


# Of what there is only one answer a text.
_ONE_ANSWER = {
    "tags": "marks entities: each word has one tag",
    "labels": "gives a text all labels that apply",
    "number": "predicts a number",
    "answers": "gives each question one answer",
    "writing": "writes one completion",
    "translation": "writes one translation",
}


def form_of(model: Model | Loaded, top: int) -> Form:
    """What a model says of a text.

    The `top` likeliest labels, each with its probability; where a text may bear several, all that apply, and the least of their
    probabilities; a number; or the tag of each word, the least probability of one within an entity, and the entities.

    Raises:
        SettingsError: `top` is above 1 for a model that has one answer.
    """
    kind = getattr(model, "form", "label")
    if kind in _ONE_ANSWER and top > 1:
        raise SettingsError(f"--top is {top}, but the model {_ONE_ANSWER[kind]}. Leave it out.")
    if kind == "tags":
        return Form(
            ("prediction", "probability", "entities"), frozenset({"probability"}), lambda texts: _marked(texts, cast("LoadedTagger", model))
        )
    if kind == "labels":
        return Form(("prediction", "probability"), frozenset({"probability"}), lambda texts: _labelled(texts, cast("LoadedLabels", model)))
    if kind == "number":
        return Form(("prediction",), frozenset({"prediction"}), lambda texts: _numbered(texts, cast("LoadedNumber", model)))
    if kind in ("writing", "translation"):
        return Form(("prediction",), frozenset(), lambda texts: _written(texts, cast("LoadedWriter | LoadedTranslator", model)))
    if kind == "answers":
        columns = ("prediction", "probability", "start", "end")
        return Form(columns, frozenset(columns[1:]), lambda texts: _answered(texts, cast("LoadedAnswers", model)))
    if kind == "pairs":
        pairs = cast("LoadedPairs", model)
        model = _OfJoined(pairs.labels, lambda texts: pairs.predict_proba([split_pair(text) for text in texts]))
    model = cast(Model, model)
    new = [name if place == 1 else f"{name}_{place}" for place in range(1, top + 1) for name in ("prediction", "probability")]
    return Form(tuple(new), frozenset(new[1::2]), lambda texts: _answers(texts, model, top))


def _different(texts: Sequence[str]) -> list[str]:
    """The different texts that are not blank."""
    return list(dict.fromkeys(text for text in texts if text.strip()))


def _labelled(texts: Sequence[str], model: LoadedLabels) -> dict[str, list[Any]]:
    """For each different text: its labels, and the least of their probabilities; None where it has none."""
    different = _different(texts)
    found: dict[str, list[Any]] = {}
    for text, row in zip(different, model.predict_proba(different), strict=True):
        given = [k for k in (-row).argsort(kind="stable").tolist() if row[k] > 0.5]
        found[text] = [[model.labels[k] for k in given], round(float(row[given].min()), 6) if given else None]
    return found


def _numbered(texts: Sequence[str], model: LoadedNumber) -> dict[str, list[Any]]:
    """For each different text: the number."""
    different = _different(texts)
    return {text: [float(f"{value:.7g}")] for text, value in zip(different, model.predict(different), strict=True)}


def _answers(texts: Sequence[str], model: Model, top: int) -> dict[str, list[Any]]:
    """For each different text that is not blank: label, probability, second label, second probability, and so on to `top`."""
    import numpy as np

    different = _different(texts)
    if not different:
        return {}
    probabilities = np.asarray(model.predict_proba(different), dtype=np.float64)  # (n, c)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]  # (n, top)
    values = np.take_along_axis(probabilities, best, axis=1).round(6).tolist()
    labels = list(model.labels)
    return {
        text: [part for number, value in zip(numbers, row, strict=True) for part in (labels[number], value)]
        for text, numbers, row in zip(different, best.tolist(), values, strict=True)
    }


def _written(texts: Sequence[str], model: LoadedWriter | LoadedTranslator) -> dict[str, list[Any]]:
    """For each different text: its completion, or its translation."""
    different = _different(texts)
    return {text: [said] for text, said in zip(different, model.predict(different), strict=True)}


def _answered(texts: Sequence[str], model: LoadedAnswers) -> dict[str, list[Any]]:
    """For each different text: its answer, how likely it is, and where it stands; of no answer no place."""
    different = _different(texts)
    found: dict[str, list[Any]] = {}
    for text, answer in zip(different, model.answer([split_pair(text) for text in different]), strict=True):
        place = [answer.start, answer.end] if answer.text else [None, None]
        found[text] = [answer.text, round(answer.probability, 6), *place]
    return found


def _marked(texts: Sequence[str], model: LoadedTagger) -> dict[str, list[Any]]:
    """For each different text that is not blank, or list of words: the words' tags, the least probability, the entities."""
    words = {text: list_of_words(text) for text in dict.fromkeys(texts) if text.strip()}
    read = {text: text if listed is None else listed for text, listed in words.items() if listed != []}
    found = {}
    for text, (tags, entities) in zip(read, model.tag(list(read.values())), strict=True):
        sure = min((entity.probability for entity in entities), default=None)
        told = [{**dataclasses.asdict(entity), "probability": round(entity.probability, 6)} for entity in entities]
        found[text] = [tags, None if sure is None else round(sure, 6), told]
    return found
