"""`TransferClassifier`: headstart's decision and training as a scikit-learn estimator. No judge, no report, no run folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from headstart.data.given import is_missing, texts_of
from headstart.data.spelling import composed
from headstart.environment import random_state_kept
from headstart.errors import DataError
from headstart.progress import set_quiet
from headstart.settings import Settings, as_plain, make_settings

# Plain values, and tuples for lists: what scikit-learn accepts as defaults.
_DEFAULT: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in as_plain(Settings()).items()}


class TransferClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
    """A text classifier that finds out by itself where to transfer from and how.

    It takes texts as they are: put it behind steps that give strings, not behind a vectoriser. Every parameter is the setting of the same
    name, with its meaning, range and default (`headstart fit --help` lists them); they are checked in `fit`, as scikit-learn asks.
    Text is no matrix, so `n_features_in_` is not set.

    Attributes:
        classes_: the labels in sorted order, shape (c,), of the type that `fit` was given.
        model_: the trained model: `predict_proba(texts)`, and `labels`, the classes as strings in the order of its columns.
    """

    def __init__(
        self,
        *,
        source: str | Sequence[str] = _DEFAULT["source"],
        strategy: str | Sequence[str] = _DEFAULT["strategy"],
        cut: int | None = _DEFAULT["cut"],
        max_length: int = _DEFAULT["max_length"],
        budget: float | str = _DEFAULT["budget"],
        metric: str = _DEFAULT["metric"],
        seed: int = _DEFAULT["seed"],
        learning_rate: float = _DEFAULT["learning_rate"],
        layer_decay: float = _DEFAULT["layer_decay"],
        epochs: int = _DEFAULT["epochs"],
        batch_size: int = _DEFAULT["batch_size"],
        patience: int = _DEFAULT["patience"],
        precision: str = _DEFAULT["precision"],
        inner_folds: int = _DEFAULT["inner_folds"],
        store: str | None = _DEFAULT["store"],
        store_limit: float = _DEFAULT["store_limit"],
        batch_tokens: int = _DEFAULT["batch_tokens"],
        quiet: bool = _DEFAULT["quiet"],
    ) -> None:
        self.source = source
        self.strategy = strategy
        self.cut = cut
        self.max_length = max_length
        self.budget = budget
        self.metric = metric
        self.seed = seed
        self.learning_rate = learning_rate
        self.layer_decay = layer_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.patience = patience
        self.precision = precision
        self.inner_folds = inner_folds
        self.store = store
        self.store_limit = store_limit
        self.batch_tokens = batch_tokens
        self.quiet = quiet

    def fit(self, X: Iterable[str], y: ArrayLike) -> TransferClassifier:
        """Choose a way of transferring on these rows and train it.

        Args:
            X: n texts: a list, an array of shape (n,) or (n, 1), or a column of a table.
            y: n labels, all strings or all numbers.

        Returns:
            The estimator itself.

        Raises:
            SettingsError: a parameter outside its range.
            DataError: texts that are no strings, another number of labels than texts, fewer than two classes, or labels that are empty or
                differ in white space around them or in Unicode form alone.
        """
        settings = make_settings(self.get_params(deep=False))
        texts, labels = _texts(X), _labels(y)
        if len(texts) != len(labels):
            raise DataError(f"There are {len(texts)} texts and {len(labels)} labels; give one label for each text.")
        if not texts:
            raise DataError("There are no texts; a classifier needs at least two classes.")
        classes, numbers = np.unique(labels, return_inverse=True)
        names = _names(classes)
        if len(classes) < 2:
            raise DataError(f"All {len(labels)} labels are the same ({names[0]!r}); a classifier needs at least two classes.")
        from headstart.in_memory import train_classifier

        set_quiet(settings.quiet)
        with random_state_kept():
            self.model_ = train_classifier(texts, [names[number] for number in numbers], settings)
        self.classes_ = classes
        return self

    def predict_proba(self, X: Iterable[str]) -> NDArray[np.float64]:
        """Probability of every class for every text, shape (n, c), columns in the order of `classes_`; 0 for a class of which no row could
        be used, since its texts were empty or it is a rare spelling of another."""
        check_is_fitted(self)
        found = np.asarray(self.model_.predict_proba(_texts(X)), dtype=np.float64)
        place = {name: column for column, name in enumerate(self.model_.labels)}
        columns = [place.get(name) for name in _names(self.classes_)]
        return np.column_stack([np.zeros(len(found)) if column is None else found[:, column] for column in columns])

    def predict(self, X: Iterable[str]) -> NDArray[Any]:
        """The likeliest class of every text, shape (n,), of the type of `classes_`."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[likeliest])

    def __sklearn_tags__(self) -> Any:
        """Texts in one dimension, no matrix."""
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags


def _texts(X: Iterable[str]) -> list[str]:
    """X as a list of texts.

    Raises:
        DataError: one text in place of many, a matrix of several columns, or an element that is no string.
    """
    if isinstance(X, str):
        raise DataError("X is one string; give a list of texts, as in [text].")
    return texts_of(X)


def _names(classes: NDArray[Any]) -> list[str]:
    """Classes as a table's labels are read: as strings, composed, without white space around them.

    Raises:
        DataError: one is empty, or two are the same then.
    """
    names = [composed(str(label).strip()) for label in classes.tolist()]
    for place, name in enumerate(names):
        if not name:
            raise DataError(f"One of the labels is {classes[place]!r}, which names no class; leave its rows out.")
        if name in names[:place]:
            same = classes[names.index(name)]
            raise DataError(f"The labels {same!r} and {classes[place]!r} differ in white space or Unicode form alone; make them one.")
    return names


def _labels(y: ArrayLike) -> NDArray[Any]:
    """y as an array of shape (n,): of objects for strings (a long label would widen all of a string array), else of numbers.

    Raises:
        DataError: a matrix, a missing label, strings among numbers, or numbers that measure rather than name.
    """
    labels = np.asarray(y, dtype=object)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels.ravel()
    if labels.ndim != 1:
        raise DataError(f"y has the shape {labels.shape}; give one label for each text.")
    plain = labels.tolist()
    for row, label in enumerate(plain):
        if is_missing(label):
            raise DataError(f"y[{row}] is {label!r}; every text needs a label.")
        if isinstance(label, str) != isinstance(plain[0], str):
            raise DataError(f"y[0] is {plain[0]!r} and y[{row}] is {label!r}; the labels must be all strings or all numbers.")
        if isinstance(label, float) and not label.is_integer():
            raise DataError(f"y[{row}] is {label!r}, which looks like a measured number; a classifier needs classes.")
    return labels if plain and isinstance(plain[0], str) else np.asarray(plain)
