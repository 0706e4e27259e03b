import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_union

from headstart.errors import RunError
from headstart.judge.calibration import softmax
from headstart.settings import Settings
from headstart.strategies import tfidf
from headstart.strategies.base import Rows
from headstart.strategies.heads import log_loss, solve_path
from headstart.strategies.ladder import Job
from headstart.strategies.tfidf import TfidfModel, fit_tfidf

OPENINGS = ["please", "hello", "i wonder", "can you", "it seems", "well", "today", "again"]
CORES = [
    ["refund my money", "charge back", "money back now"],
    ["reset password", "cannot log in", "login fails"],
    ["slow app", "screen freezes", "app crash"],
]


def tickets(n=48):
    rng = np.random.default_rng(5)
    y = np.arange(n) % 3
    return Rows(tuple(f"{rng.choice(OPENINGS)} {rng.choice(CORES[k])} {rng.choice(OPENINGS)}" for k in y), y, 3)


def fold_rows(n, k=4):
    parts = np.array_split(np.random.default_rng(0).permutation(n), k)
    return [(np.concatenate([p for j, p in enumerate(parts) if j != i]), parts[i]) for i in range(k)]


def test_words_tell_the_classes_apart_on_rows_that_were_held_out():
    rows = tickets()
    model, logits = fit_tfidf(rows, fold_rows(48), None, 0)
    assert (logits.argmax(axis=1) == rows.y).mean() > 0.9
    assert model.predict_logits(["where is my refund, money", "password reset!", "the app freezes"]).argmax(axis=1).tolist() == [0, 1, 2]


def test_the_fit_on_inner_products_is_logistic_regression_on_the_terms():
    rows = tickets(30)
    model, _ = fit_tfidf(rows, fold_rows(30), None, 0)
    reader = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\b\w+\b"),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
    x = reader.fit_transform(rows.texts)
    counts = tfidf._read(rows.texts)[1]
    penalty = tfidf._fit_dense(counts, rows.y, 3, fold_rows(30), None).strength
    peer = LogisticRegression(C=1 / penalty, tol=1e-9, max_iter=10_000).fit(x, rows.y)
    texts = [*rows.texts, "my password froze", "nothing known here"]
    assert softmax(model.predict_logits(texts)) == pytest.approx(peer.predict_proba(reader.transform(texts)), abs=0.01)


def test_a_saved_model_gives_the_same_logits_to_the_last_bit(tmp_path):
    rows = tickets()
    texts = [*rows.texts, "", "Grüße 你好", "frozen 'quotes' \"and\" \n lines"]
    model, _ = fit_tfidf(Rows((*rows.texts[:-1], "Größe 你好吗 \u2028 😀"), rows.y, 3), fold_rows(48), None, 0)
    model.save(tmp_path / "model")
    again = TfidfModel.load(tmp_path / "model")
    assert (again.predict_logits(texts) == model.predict_logits(texts)).all()
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["tfidf.json", "tfidf.safetensors"]


@pytest.mark.parametrize("harm", ["nothing", "no weights", "cut off", "other terms", "not json"])
def test_a_folder_without_a_whole_model_is_refused(tmp_path, harm):
    fit_tfidf(tickets(), [], None, 0)[0].save(tmp_path)
    terms, weights = tmp_path / "tfidf.json", tmp_path / "tfidf.safetensors"
    if harm == "nothing":
        terms.unlink()
    elif harm == "no weights":
        weights.unlink()
    elif harm == "cut off":
        weights.write_bytes(weights.read_bytes()[:-50])
    elif harm == "other terms":
        terms.write_text('{"format": 1, "terms": {"word": ["one"], "char_wb": ["two"]}}')
    else:
        terms.write_text("{")
    with pytest.raises(RunError) as caught:
        TfidfModel.load(tmp_path)
    assert str(caught.value) == f"The folder {str(tmp_path)!r} does not hold a whole TF-IDF model; run the fit again into another folder."


def test_texts_without_any_term_leave_the_shares_of_the_classes():
    rows = Rows(("", " ", "", ""), np.array([0, 0, 0, 1]), 2)
    model, logits = fit_tfidf(rows, [(np.array([0, 1, 3]), np.array([2]))], None, 0)
    assert softmax(model.predict_logits(["", "anything"])) == pytest.approx(np.array([[0.75, 0.25]] * 2), abs=1e-3)
    assert np.isfinite(logits[2]).all()


def test_an_unknown_text_gets_the_bias_alone():
    model, _ = fit_tfidf(tickets(), [], None, 0)
    assert model.predict_logits(["你好"])[0] == pytest.approx(model.bias)
    assert model.predict_logits([]).shape == (0, 3)


def test_only_the_beginning_of_a_very_long_text_is_read():
    model, _ = fit_tfidf(tickets(), [], None, 0)
    long = "money back " * 5000
    assert (model.predict_logits([long]) == model.predict_logits([long[: tfidf.MOST_CHARACTERS]])).all()


def test_scaling_multiplies_logits():
    model, _ = fit_tfidf(tickets(), [], None, 0)
    texts = ["reset my password", ""]
    assert model.scaled(0.5).predict_logits(texts) == pytest.approx(model.predict_logits(texts) * 0.5)


def test_the_same_rows_give_the_same_model():
    rows = tickets()
    first, second = (fit_tfidf(rows, fold_rows(48), None, 0) for _ in range(2))
    assert (first[1] == second[1]).all()
    assert (first[0].weight == second[0].weight).all()


def test_many_rows_fit_on_sparse_counts_and_each_fold_on_its_own_rows_alone(monkeypatch):
    monkeypatch.setattr(tfidf, "DENSE_UP_TO", 60)
    rows, folds = tickets(90), fold_rows(90)
    rows.y[::10] = (rows.y[::10] + 1) % 3  # wrong, as only a head that has learnt them would say of these rows
    model, logits = fit_tfidf(rows, folds, None, 0)
    counts = tfidf._read(rows.texts)[1]
    penalty = tfidf._fit_sparse(counts, rows.y, 3, folds, None, 0).strength
    peer = LogisticRegression(C=1 / penalty, tol=1e-9, max_iter=10_000)
    for train, held in folds:
        expected = peer.fit(counts[train], rows.y[train]).predict_proba(counts[held])
        assert softmax(logits[held]) == pytest.approx(expected, abs=0.01)
    assert softmax(model.predict_logits(rows.texts)) == pytest.approx(peer.fit(counts, rows.y).predict_proba(counts), abs=0.01)


def test_class_weights_make_the_rare_class_likelier():
    rows = tickets(60)
    keep = np.flatnonzero((rows.y != 2) | (np.arange(60) < 9))
    rows = rows.take(keep)
    plain, _ = fit_tfidf(rows, [], None, 0)
    weighted, _ = fit_tfidf(rows, [], np.array([1.0, 1.0, 6.0]), 0)
    assert (softmax(weighted.predict_logits(["hello"]))[0, 2]) > softmax(plain.predict_logits(["hello"]))[0, 2]


def test_logits_out_of_fold_come_from_the_other_rows():
    rows = tickets(30)
    counts = tfidf._read(rows.texts)[1]
    train, held = np.arange(20), np.arange(20, 30)
    fit = tfidf._fit_dense(counts, rows.y, 3, [(train, held)], None)
    alone = solve_path(counts[train], rows.y[train], 3, fit.strength, None, 5e-4).logits(counts[held])
    # Heads on folds are fitted loosely, so the comparison is of what they say rather than of digits.
    assert (fit.logits[held].argmax(axis=1) == alone.argmax(axis=1)).all()
    assert log_loss(fit.logits[held], rows.y[held]) == pytest.approx(log_loss(alone, rows.y[held]), abs=0.03)
    assert np.isnan(fit.logits[train]).all()


def test_a_word_that_only_a_class_is_called_by_counts_for_that_class():
    texts, y = ("my parcel is late", "it has not come", "money back please", "you took it twice"), np.array([0, 0, 1, 1])
    folds = [(np.array([0, 2]), np.array([1, 3])), (np.array([1, 3]), np.array([0, 2]))]
    said = {}
    for names in ((), ("zzzz", "qqqq")):
        job = Job(Rows(texts, y, 2, names=names), np.arange(4), folds, Settings(), 0)
        model, held = tfidf.STRATEGY.out_of_fold(job)
        assert held.shape == (4, 2) and not np.isnan(held).any()
        said[names] = model.predict_logits(["zzzz", "qqqq"]).argmax(axis=1).tolist()
    assert said["zzzz", "qqqq"] == [0, 1]
    assert len(set(said[()])) == 1  # in letters that no row has
