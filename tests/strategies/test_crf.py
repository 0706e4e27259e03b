"""The field of words without transfer: its marginals by other hands, its features, its file."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pycrfsuite
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import RunError
from headstart.settings import Settings
from headstart.strategies import crf
from headstart.strategies.base import Rows
from headstart.strategies.crf import CrfModel, fit_crf, log_marginals, word_features
from headstart.strategies.ladder import Job, get_strategy
from small import marked, word_rows


def probabilities(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def rows_of(texts: list[str], y: list[int], classes: int) -> Rows:
    sizes = np.array([text.count(" ") + 1 for text in texts])
    return Rows(tuple(texts), np.array(y), classes, sizes, np.zeros(len(texts), dtype=np.int64))


# --- marginals ---


@settings(deadline=None, max_examples=80)
@given(words=st.integers(1, 5), classes=st.integers(1, 4), seed=st.integers(0, 10_000), spread=st.sampled_from([0.1, 3.0, 30.0]))
def test_marginals_are_those_of_all_sequences_of_tags_one_by_one(words: int, classes: int, seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    state, transition = spread * rng.normal(size=(words, classes)), spread * rng.normal(size=(classes, classes))
    weight = {
        tags: sum(state[i, tag] for i, tag in enumerate(tags)) + sum(transition[pair] for pair in itertools.pairwise(tags))
        for tags in itertools.product(range(classes), repeat=words)
    }
    whole = np.logaddexp.reduce(list(weight.values()))
    wanted = np.array(
        [
            [np.logaddexp.reduce([value for tags, value in weight.items() if tags[i] == tag]) - whole for tag in range(classes)]
            for i in range(words)
        ]
    )
    found = log_marginals(state, transition)
    np.testing.assert_allclose(np.exp(found), np.exp(wanted), atol=1e-9)
    np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-7)


def test_a_long_text_has_marginals_that_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    found = log_marginals(20 * rng.normal(size=(3000, 5)), 20 * rng.normal(size=(5, 5)))
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, atol=1e-9)
    assert log_marginals(np.empty((0, 5)), np.zeros((5, 5))).shape == (0, 5)


def crfsuite_marginals(rows: Rows, texts: list[str], folder: Path) -> np.ndarray:
    """What CRFsuite itself says after the same training."""
    trainer = pycrfsuite.Trainer(verbose=False, params={"c1": 0.1, "c2": 0.1, "max_iterations": 100, "feature.possible_transitions": True})
    end = 0
    for text, size in zip(rows.texts, rows.sizes, strict=True):
        trainer.append(word_features(text.split(" ")), [str(k) for k in rows.y[end : end + size]])
        end += size
    trainer.train(str(folder / "model"))
    tagger = pycrfsuite.Tagger()
    tagger.open(str(folder / "model"))
    found = []
    for text in texts:
        tagger.set(word_features(text.split(" ")))
        known = tagger.labels()
        found += [
            [tagger.marginal(str(k), i) if str(k) in known else 0.0 for k in range(rows.n_classes)] for i in range(text.count(" ") + 1)
        ]
    tagger.close()
    return np.array(found)


def test_the_tensors_give_the_marginals_of_crfsuite_on_words_seen_and_not(tmp_path: Path) -> None:
    sentences = marked(60, 1)
    rows, others = word_rows(sentences[:40]), word_rows(sentences[40:])
    texts = [*rows.texts[:10], *others.texts, "Zaphod never was in Paris", "x"]
    found = probabilities(fit_crf(rows).predict_logits(texts))
    np.testing.assert_allclose(found, crfsuite_marginals(rows, texts, tmp_path), atol=1e-3)
    assert np.ptp(found, axis=0).min() > 0.5


def test_words_like_those_of_the_file_that_the_weights_are_taken_from_are_words_as_any(tmp_path: Path) -> None:
    texts = ["(1) --> 2: 0.5", "STATE_FEATURES = {", "} : word=a a\N{NO-BREAK SPACE}", "\N{NO-BREAK SPACE}b \u3000c \x85 \u2028x"]
    rows = rows_of(texts, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2], 3)
    found = probabilities(fit_crf(rows).predict_logits(texts))
    np.testing.assert_allclose(found, crfsuite_marginals(rows, texts, tmp_path), atol=1e-3)
    assert found.argmax(axis=1).tolist() == rows.y.tolist()


# --- features ---


def test_the_features_of_a_word_are_its_own_and_those_of_its_neighbours() -> None:
    first, second, third, fourth = word_features(["Anna", "saw", "3", "Oslo"])
    anna = ["word=anna", "shape=Xxx", "suffix=na", "suffix=nna", "prefix=an", "prefix=ann"]
    saw = ["word=saw", "shape=xx", "suffix=aw", "prefix=sa"]
    three, oslo = ["word=3", "shape=9"], ["word=oslo", "shape=Xxx", "suffix=lo", "suffix=slo", "prefix=os", "prefix=osl"]
    assert sorted(first) == sorted(["bias", *anna, "first", *(f"+1:{name}" for name in saw), "+2:word=3", "+2:shape=9"])
    assert sorted(second) == sorted(
        ["bias", *saw, *(f"-1:{name}" for name in anna), *(f"+1:{name}" for name in three), "+2:word=oslo", "+2:shape=Xxx"]
    )
    assert sorted(third) == sorted(
        ["bias", *three, *(f"-1:{name}" for name in saw), "-2:word=anna", "-2:shape=Xxx", *(f"+1:{name}" for name in oslo)]
    )
    assert sorted(fourth) == sorted(["bias", *oslo, *(f"-1:{name}" for name in three), "-2:word=saw", "-2:shape=xx", "last"])


@pytest.mark.parametrize(
    ("word", "shape"),
    [("Hello", "Xxx"), ("2024", "99"), ("U.S.", "X.X."), ("McDonald", "XxXxx"), ("iPhone7", "xXxx9"), ("...", ".."), ("你好吗", "你好吗")],
)
def test_a_shape_tells_cases_and_digits_and_shortens_runs(word: str, shape: str) -> None:
    ((*names,),) = word_features([word])
    assert f"shape={shape}" in names and {"first", "last"} <= set(names)


# --- training ---


def test_names_are_told_in_sentences_that_were_not_seen() -> None:
    sentences = marked(100, 1)
    rows, others = word_rows(sentences[:60]), word_rows(sentences[60:])
    guessed = fit_crf(rows).predict_logits(others.texts).argmax(axis=1)
    assert (guessed == others.y).mean() > 0.95 and (guessed == others.y)[others.y > 0].mean() > 0.9


def test_training_is_the_same_each_time() -> None:
    rows = word_rows(marked(20, 1))
    first, again = fit_crf(rows), fit_crf(rows)
    assert first.features == again.features
    assert (first.state == again.state).all() and (first.transition == again.transition).all()


@pytest.mark.parametrize(
    ("texts", "y"),
    [
        (["my card in paris", "a lost card", "paris"], [0, 0, 0, 1, 0, 0, 0, 1]),
        (["a", "b", "c", "d"], [0, 1, 0, 1]),  # the penalty leaves no weight of what all words have
        (["a b", "c d"], [0, 0, 0, 0]),
        (["a b", "c d"], [1, 1, 1, 1]),
    ],
)
def test_a_class_that_no_word_bears_is_never_likely(texts: list[str], y: list[int]) -> None:
    found = probabilities(fit_crf(rows_of(texts, y, 4)).predict_logits([*texts, "paris", "zebra", "paris zebra paris"]))
    assert found[:, [2, 3]].max() < 1e-9
    assert (found[:, [k for k in range(2) if k not in y]] < 1e-9).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_a_lone_surrogate_is_a_question_mark() -> None:
    half = json.loads('"\\ud800"')
    model = fit_crf(rows_of([f"{half} in paris", "a card"], [0, 0, 1, 0, 0], 2))
    assert (model.predict_logits([f"{half} in oslo"]) == model.predict_logits(["? in oslo"])).all()
    assert "word=?" in {name.rpartition(":")[2] for name in model.features}


def test_held_out_words_are_told_by_a_field_of_the_others() -> None:
    rows = word_rows(marked(24, 1))
    folds = [(np.arange(8, 24), np.arange(8)), (np.setdiff1d(np.arange(24), np.arange(8, 16)), np.arange(8, 16))]
    rung = get_strategy("crf", "ner")
    job = Job(rows, np.arange(24), folds, Settings(task="ner"), 0)
    assert rung.out_of_fold is not None
    model, logits = rung.out_of_fold(job)
    row_of = np.repeat(np.arange(24), rows.sizes)
    for train, held in folds:
        alone = fit_crf(word_rows([marked(24, 1)[i] for i in train]))
        assert (logits[np.isin(row_of, held)] == alone.predict_logits([rows.texts[i] for i in held])).all()
    assert np.isnan(logits[row_of >= 16]).all()
    assert (model.predict_logits(rows.texts) == rung.fit(job).predict_logits(rows.texts)).all()
    assert (rung.name, rung.transfers, rung.needs_source, rung.tunes_from, rung.reads) == ("crf", False, False, None, None)


# --- the model ---


@pytest.fixture(scope="module")
def model() -> CrfModel:
    return fit_crf(word_rows(marked(20, 1)))


def test_texts_are_told_one_by_one_in_their_order(model: CrfModel) -> None:
    texts = ["anna smith in oslo", "", "nothing known here", "paris", "anna smith in oslo"]
    whole = model.predict_logits(texts)
    assert whole.shape == (4 + 1 + 3 + 1 + 4, 5)
    assert (whole == np.concatenate([model.predict_logits([text]) for text in texts])).all()
    assert model.predict_logits([]).shape == (0, 5)


def test_scaling_scales_the_logits_and_leaves_the_model(model: CrfModel) -> None:
    logits = model.predict_logits(["anna in oslo"])
    np.testing.assert_allclose(model.scaled(0.5).scaled(3.0).predict_logits(["anna in oslo"]), 1.5 * logits)
    assert model.sharpness == 1.0


def test_a_saved_model_gives_the_same_logits_to_the_last_bit(tmp_path: Path) -> None:
    rows = rows_of(["Größe 你好吗 🚚", 'a "quoted" \\ word', "anna in oslo"], [0, 1, 2, 0, 1, 0, 0, 1, 0, 2], 3)
    model = fit_crf(rows).scaled(0.7)
    model.save(tmp_path)
    texts = [*rows.texts, "", "Grüße 你好", "unknown"]
    assert (CrfModel.load(tmp_path).predict_logits(texts) == model.predict_logits(texts)).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crf.json", "crf.safetensors"]


@pytest.mark.parametrize("harm", ["nothing", "no weights", "cut off", "other features", "not json", "a list", "another model"])
def test_a_folder_without_a_whole_model_is_refused(model: CrfModel, tmp_path: Path, harm: str) -> None:
    model.save(tmp_path)
    names, weights = tmp_path / "crf.json", tmp_path / "crf.safetensors"
    if harm == "nothing":
        names.unlink()
    elif harm == "no weights":
        weights.unlink()
    elif harm == "cut off":
        weights.write_bytes(weights.read_bytes()[:-50])
    elif harm == "other features":
        names.write_text('{"format": 1, "features": ["word=one"]}')
    elif harm == "not json":
        names.write_text("{")
    elif harm == "a list":
        names.write_text("[]")
    else:
        CrfModel(model.features, model.state, model.transition[:2, :2]).save(tmp_path)
    with pytest.raises(RunError) as caught:
        CrfModel.load(tmp_path)
    assert str(caught.value) == f"The folder {str(tmp_path)!r} does not hold a whole CRF; run the fit again into another folder."


def test_no_file_of_the_library_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crf.tempfile, "tempdir", str(tmp_path))
    fit_crf(rows_of(["a b"], [0, 1], 2))
    assert list(tmp_path.iterdir()) == []
