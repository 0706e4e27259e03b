"""The rung without transfer for words: a linear-chain conditional random field on features of the word and its neighbours.

Lafferty, McCallum and Pereira 2001; the features are the usual ones of named entities (word, its shape, prefixes, suffixes, the same of
the words beside it). CRFsuite (Okazaki 2007) trains it by L-BFGS with both penalties; its weights are taken out of it and kept as
tensors, and what a word is most likely comes from the forward-backward recursions here, so that no file of its own format is opened.

Letters in shapes: n texts, u words of all texts, w words of one, c classes, v features.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headstart.errors import RunError
from headstart.runs import whole_file
from headstart.strategies.base import Fitted, FloatArray, Rows
from headstart.strategies.ladder import Job, Strategy

PENALTIES = {"c1": 0.1, "c2": 0.1}  # of the sums of weights and of their squares
STEPS = 100
FILE = "crf.safetensors"


class CrfModel:
    """A trained field. `features` names the v rows of `state` (v, c); `transition` (c, c) leads from a class to the next.

    Its logits are the logarithms of each word's marginal probabilities, times `sharpness`.
    """

    def __init__(self, features: tuple[str, ...], state: FloatArray, transition: FloatArray, sharpness: float = 1.0) -> None:
        self.features, self.state, self.transition, self.sharpness = features, state, transition, sharpness
        self._place = {name: i for i, name in enumerate(features)}

    def predict_logits(self, texts: Sequence[str]) -> FloatArray:
        """Logits (u, c) of the words of each text, which stand with one space between."""
        parts = [self.sharpness * log_marginals(self._potentials(text), self.transition) for text in texts]
        return np.concatenate(parts) if parts else np.empty((0, self.state.shape[1]))

    def scaled(self, factor: float, shift: float = 0.0) -> CrfModel:
        """The same model with all logits multiplied by `factor`; a shift of all classes alike would change nothing."""
        return CrfModel(self.features, self.state, self.transition, self.sharpness * factor)

    def _potentials(self, text: str) -> FloatArray:
        """What a word's own features say of its class, (w, c)."""
        words = [[self._place[name] for name in names if name in self._place] for names in word_features(text.split(" "))]
        return np.array([self.state[known].sum(axis=0) for known in words])

    def save(self, folder: str | Path) -> None:
        """Write `crf.safetensors`, then `crf.json` into a folder. Each file appears whole or not at all."""
        from safetensors.numpy import save

        arrays = {"state": self.state, "transition": self.transition, "sharpness": np.array([self.sharpness])}
        with whole_file(Path(folder) / FILE) as temporary:
            temporary.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
        with whole_file(Path(folder) / "crf.json") as temporary:
            temporary.write_text(json.dumps({"format": 1, "features": list(self.features)}, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> CrfModel:
        """Open what `save` wrote; the logits are the same to the last bit.

        Raises:
            RunError: the folder does not hold a whole model.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            features = tuple(json.loads((Path(folder) / "crf.json").read_text(encoding="utf-8"))["features"])
            arrays = load((Path(folder) / FILE).read_bytes())
            state, transition, sharpness = (arrays[name] for name in ("state", "transition", "sharpness"))
            whole = state.shape == (len(features), len(transition)) and transition.shape[0] == transition.shape[1]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            whole = False
        if not whole:
            raise RunError(f"The folder {str(folder)!r} does not hold a whole CRF; run the fit again into another folder.")
        return cls(features, state, transition, float(sharpness[0]))


def word_features(words: Sequence[str]) -> list[list[str]]:
    """The features of each word by their names."""
    own = [_of_word(word.encode("utf-8", "replace").decode("utf-8")) for word in words]  # CRFsuite takes no lone surrogate
    found = []
    for i, features in enumerate(own):
        names = ["bias", *features]
        for step in (-2, -1, 1, 2):
            beside = i + step
            if 0 <= beside < len(words):
                names += [f"{step:+d}:{name}" for name in (own[beside] if abs(step) == 1 else own[beside][:2])]
            elif abs(step) == 1:
                names.append("first" if step < 0 else "last")
        found.append(names)
    return found


def _of_word(word: str) -> list[str]:
    lower = word.lower()
    shape = "".join("X" if c.isupper() else "x" if c.islower() else "9" if c.isdigit() else c for c in word)
    short = "".join(c for i, c in enumerate(shape) if i < 2 or not c == shape[i - 1] == shape[i - 2])
    ends = [f"suffix={lower[-k:]}" for k in (2, 3) if len(word) > k] + [f"prefix={lower[:k]}" for k in (2, 3) if len(word) > k]
    return [f"word={lower}", f"shape={short}", *ends]


def log_marginals(state: FloatArray, transition: FloatArray) -> FloatArray:
    """Logarithms of each word's class probabilities, (w, c), by the forward-backward recursions; each row's exponentials sum to 1."""
    forward, backward = np.empty_like(state), np.zeros_like(state)
    if not len(state):
        return state
    forward[0] = state[0]
    for i in range(1, len(state)):
        forward[i] = state[i] + _log_sum(forward[i - 1][:, None] + transition)
    for i in range(len(state) - 2, -1, -1):
        backward[i] = _log_sum((transition + (state[i + 1] + backward[i + 1])[None, :]).T)
    both = forward + backward
    return np.asarray(both - _log_sum(both.T)[:, None])


def _log_sum(values: FloatArray) -> FloatArray:
    """The logarithm of the sum of exponentials along axis 0."""
    most = values.max(axis=0)
    return np.asarray(most + np.log(np.exp(values - most).sum(axis=0)))


def fit_crf(rows: Rows) -> CrfModel:
    """Train on all words of these rows."""
    import pycrfsuite

    assert rows.sizes is not None  # words have sizes
    trainer = pycrfsuite.Trainer(verbose=False, params={**PENALTIES, "max_iterations": STEPS, "feature.possible_transitions": True})
    ends = np.cumsum(rows.sizes)
    for text, end, size in zip(rows.texts, ends, rows.sizes, strict=True):
        trainer.append(pycrfsuite.ItemSequence(word_features(text.split(" "))), [str(k) for k in rows.y[end - size : end]])
    with tempfile.TemporaryDirectory(prefix="headstart-crf-") as room:
        path = str(Path(room) / "model")
        trainer.train(path)
        tagger = pycrfsuite.Tagger()
        tagger.open(path)
        info = tagger.info()
        tagger.close()
    features = tuple(sorted({"bias", *(name for name, _ in info.state_features)}))  # the penalty may leave out any of them
    place = {name: i for i, name in enumerate(features)}
    state = np.zeros((len(features), rows.n_classes))
    # A class that no word bears is never likely.
    missing = np.setdiff1d(np.arange(rows.n_classes), rows.y)
    for (name, label), weight in info.state_features.items():
        state[place[name], int(label)] = weight
    transition = np.zeros((rows.n_classes, rows.n_classes))
    for (before, after), weight in info.transitions.items():
        transition[int(before), int(after)] = weight
    transition[:, missing] = transition[missing, :] = _NEVER
    state[place["bias"], missing] = _NEVER
    return CrfModel(features, state, transition)


_NEVER = -50.0  # the logarithm of a probability that is as good as none


def _out_of_fold(job: Job) -> tuple[Fitted, FloatArray]:
    logits = np.full((len(job.rows.y), job.rows.n_classes), np.nan)
    for train, held in job.folds:
        logits[job.rows.units(held)] = fit_crf(job.rows.take(train)).predict_logits([job.rows.texts[i] for i in held])
    return fit_crf(job.rows), logits


STRATEGY = Strategy(
    name="crf",
    transfers=False,
    needs_source=False,
    summary="a conditional random field on words, their shapes and neighbours",
    fit=lambda job: fit_crf(job.rows),
    out_of_fold=_out_of_fold,
)
