import numpy as np

from headstart.data.pairs import join_pair
from headstart.strategies.base import Rows
from headstart.strategies.pair_tfidf import PairTfidfModel, fit_pair_tfidf, terms_of
from headstart.strategies.tfidf import fit_tfidf

WORDS = [f"word{k}" for k in range(40)]


def rows_of(n, seed):
    """Pairs that share most of their words (class 1) or none (class 0): no word by itself says which."""
    rng = np.random.default_rng(seed)
    texts, y = [], []
    for i in range(n):
        first = list(rng.choice(WORDS, 5, replace=False))
        rest = [word for word in WORDS if word not in first]
        second = list(rng.permutation([*first[:4], rng.choice(rest)])) if i % 2 else list(rng.choice(rest, 5, replace=False))
        texts.append(join_pair(" ".join(first), " ".join(second)))
        y.append(i % 2)
    return Rows(tuple(texts), np.array(y), 2)


def test_terms_say_on_which_side_a_word_stands_and_what_is_shared():
    terms = terms_of(join_pair("Red car car", "a car")).split()
    assert terms == ["ared", "acar", "acar", "ba", "bcar", "ccar", "dred", "ea", "overlap_3", "longer_first"]
    assert terms_of(join_pair("", "")).split() == ["overlap_0", "longer_neither"]


def test_what_two_texts_share_is_learnt_where_counts_of_one_text_see_nothing():
    train, test = rows_of(120, 0), rows_of(200, 1)
    folds = [(np.arange(0, 80), np.arange(80, 120))]
    model, held = fit_pair_tfidf(train, folds, None, 0)
    right = (model.predict_logits(test.texts).argmax(axis=1) == test.y).mean()
    plain = (fit_tfidf(train, folds, None, 0)[0].predict_logits(test.texts).argmax(axis=1) == test.y).mean()
    assert right > 0.95 and right > plain + 0.15
    assert np.isnan(held[:80]).all() and not np.isnan(held[80:]).any()


def test_a_saved_model_opens_and_is_scaled_as_a_whole(tmp_path):
    rows = rows_of(40, 0)
    model, _ = fit_pair_tfidf(rows, [], None, 0)
    model.scaled(0.5, 1.0).save(tmp_path)
    np.testing.assert_allclose(
        PairTfidfModel.load(tmp_path).predict_logits(rows.texts), 0.5 * model.predict_logits(rows.texts) + 1.0, atol=1e-5
    )
