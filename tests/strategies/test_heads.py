import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import SourceError
from headstart.judge.calibration import softmax
from headstart.settings import Metric
from headstart.strategies import heads
from headstart.strategies.base import LinearHead
from headstart.strategies.heads import (
    FINAL,
    STRENGTHS,
    Solution,
    choose_head,
    class_weights,
    fit_head,
    log_loss,
    make_space,
    solve,
    solve_path,
    uneven,
    usual_strength,
    weights_for,
)


def blobs(n, d, c, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % c)
    centres = rng.normal(size=(c, d))
    return (centres[y] + noise * rng.normal(size=(n, d)) * np.linspace(0.2, 3, d)).astype(np.float32), y


def fold_rows(n, k=4, seed=0):
    parts = np.array_split(np.random.default_rng(seed).permutation(n), k)
    return [(np.concatenate([p for j, p in enumerate(parts) if j != i]), parts[i]) for i in range(k)]


def sklearn_probabilities(x, y, strength, class_weight=None):
    """The same penalised objective by another hand: C = 1 / strength on columns of mean 0 and variance 1/d.

    With two classes scikit-learn penalises one row of weights, the difference of our two: half the penalty for the same classifier.
    """
    from sklearn.linear_model import LogisticRegression

    spread = x.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 0, 1 / (np.where(spread > 0, spread, 1) * np.sqrt((spread > 0).sum())), 0)
    z = (x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)) * scale
    weights = None if class_weight is None else dict(enumerate(class_weight))
    C = (2 if y.max() == 1 else 1) / strength
    return LogisticRegression(C=C, tol=1e-9, max_iter=10_000, class_weight=weights).fit(z, y).predict_proba(z)


@pytest.mark.parametrize("shape", [(200, 12, 4), (30, 80, 3), (60, 20, 2), (12, 500, 4)])
@pytest.mark.parametrize("strength", [1.0, 0.03])
def test_a_head_has_the_probabilities_of_scikit_learn(shape, strength):
    x, y = blobs(*shape)
    head = fit_head(x, y, shape[2], strength=strength)
    assert np.abs(softmax(head.logits(x)) - sklearn_probabilities(x, y, strength)).max() < 1e-3


def test_class_weights_enter_as_in_scikit_learn():
    x, y = blobs(150, 10, 3)
    keep = np.flatnonzero((y != 2) | (np.arange(150) % 5 == 0))
    x, y = x[keep], y[keep]
    weights = class_weights(y, 3)
    head = fit_head(x, y, 3, strength=0.1, class_weight=weights)
    assert np.abs(softmax(head.logits(x)) - sklearn_probabilities(x, y, 0.1, weights)).max() < 1e-3


@settings(max_examples=15, deadline=None)
@given(n=st.integers(6, 40), d=st.integers(1, 60), c=st.integers(2, 5), strength=st.sampled_from([3.0, 0.3, 0.03]), seed=st.integers(0, 99))
def test_the_gradient_of_the_objective_vanishes_at_the_solution(n, d, c, strength, seed):
    x, y = blobs(n, d, c, seed)
    space = make_space(x)
    found = solve_path(space.z, y, c, strength, None, 5e-4)
    slope = softmax(found.logits(space.z)) - np.eye(c)[y]
    gradient = slope.T @ space.z.astype(np.float64) + strength * found.weight
    # The objective falls from a start without weights by far more than what is left to gain, |gradient|^2 / (2 strength).
    assert (gradient**2).sum() / (2 * strength) < 1e-3
    assert np.abs(slope.sum(axis=0)).max() < 1e-2


def test_a_space_turns_rows_without_changing_their_distances():
    for n, d in ((50, 8), (8, 50)):
        x, _ = blobs(n, d, 2)
        space = make_space(x)
        standard = (x - x.mean(axis=0)) / (x.std(axis=0) * np.sqrt(d))
        assert space.z @ space.z.T == pytest.approx(standard @ standard.T, abs=1e-5)
        gram = space.z.T @ space.z
        assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-4
        assert (space.z**2).sum(axis=1).mean() == pytest.approx(1.0, abs=1e-4)


def test_a_head_gives_raw_features_the_logits_that_its_solution_gives_their_axes():
    x, y = blobs(40, 10, 3)
    x[:, 4] = 7.0
    space = make_space(x)
    found = solve_path(space.z, y, 3, 0.1, None, 1e-3)
    assert space.to_head(found).logits(x) == pytest.approx(found.logits(space.z), abs=1e-5)


def test_scale_and_shift_of_the_features_do_not_matter():
    x, y = blobs(60, 12, 3)
    plain = fit_head(x, y, 3, strength=0.1).logits(x)
    for factor, shift in ((1e15, 0.0), (1e-15, 0.0), (1.0, 300.0)):
        moved = (x * np.float32(factor) + np.float32(shift)).astype(np.float32)
        assert softmax(fit_head(moved, y, 3, strength=0.1).logits(moved)) == pytest.approx(softmax(plain), abs=2e-3)


def test_columns_that_never_vary_get_no_weight():
    x, y = blobs(40, 6, 2)
    x[:, 2] = 0.1
    head = fit_head(x, y, 2)
    assert (head.weight[:, 2] == 0).all()
    assert np.isfinite(head.logits(x)).all()


def test_features_that_are_all_constant_leave_the_shares_of_the_classes():
    y = np.array([0] * 6 + [1] * 2)
    head = fit_head(np.ones((8, 5), dtype=np.float32), y, 2)
    assert softmax(head.logits(np.ones((1, 5), dtype=np.float32)))[0] == pytest.approx([0.75, 0.25], abs=1e-3)


def test_a_class_without_rows_is_possible_but_unlikely():
    x, y = blobs(50, 8, 3)
    head = fit_head(x, np.where(y == 1, 0, y), 4, strength=0.1)
    assert (head.weight[[1, 3]] == 0).all()
    chances = softmax(head.logits(x))[:, [1, 3]]
    assert (chances > 0).all() and chances.mean() < 0.05


def test_one_class_and_one_row_a_class_are_fitted():
    x, _ = blobs(6, 9, 2)
    assert (fit_head(x, np.zeros(6, dtype=np.int64), 1).logits(x) == 0).all()
    y = np.arange(6)
    assert (fit_head(x, y, 6, strength=0.01).logits(x).argmax(axis=1) == y).all()


def test_features_that_are_not_finite_are_refused():
    x, y = blobs(40, 6, 2)
    x[[3, 9], 1] = np.nan
    x[20, 0] = np.inf
    with pytest.raises(SourceError) as caught:
        fit_head(x, y, 2)
    assert str(caught.value) == "The source gives numbers that are not finite for 3 of 40 texts; choose another source."


def test_the_choice_is_the_strength_with_the_least_held_out_loss():
    x, y = blobs(80, 12, 3, noise=6.0)
    folds = fold_rows(80)
    choice = choose_head(x, y, 3, folds, None)
    z = make_space(x).z
    brute = {}
    for strength in STRENGTHS[:7]:
        logits = np.empty((80, 3))
        for train, held in folds:
            logits[held] = solve_path(z[train], y[train], 3, strength, None, 1e-3).logits(z[held])
        brute[strength] = log_loss(logits, y)
    assert brute[choice.strength] < min(brute.values()) * 1.01
    assert dict(choice.losses)[choice.strength] == pytest.approx(brute[choice.strength], rel=0.01)
    assert log_loss(choice.out_of_fold_logits, y) == pytest.approx(brute[choice.strength], rel=0.01)
    assert softmax(choice.head.logits(x)) == pytest.approx(softmax(fit_head(x, y, 3, strength=choice.strength).logits(x)), abs=1e-3)


def test_class_weights_have_a_part_in_the_folds_and_in_the_choice_of_the_penalty():
    x, y = blobs(120, 12, 3, noise=6.0)
    keep = np.flatnonzero((y != 2) | (np.arange(120) % 5 == 0))
    x, y = x[keep], y[keep]
    folds, weight, z = fold_rows(len(y)), np.array([0.2, 0.2, 8.0]), make_space(x).z
    for strength, told in choose_head(x, y, 3, folds, weight).losses:
        logits = np.empty((len(y), 3))
        for train, held in folds:
            logits[held] = solve_path(z[train], y[train], 3, strength, weight, 1e-3).logits(z[held])
        assert told == pytest.approx(log_loss(logits, y, weight), rel=0.01)
        assert told != pytest.approx(log_loss(logits, y), rel=0.05)


def test_held_out_labels_do_not_reach_their_own_predictions(monkeypatch):
    monkeypatch.setattr(heads, "log_loss", lambda *_: 0.0)  # the penalty, which is chosen by them, is the usual one
    x, y = blobs(90, 15, 3)
    folds = fold_rows(90, 3)
    held, others = folds[0][1], folds[1][1]
    other = y.copy()
    other[held] = (y[held] + 1) % 3
    first, second = (choose_head(x, labels, 3, folds, None).out_of_fold_logits for labels in (y, other))
    np.testing.assert_array_equal(first[held], second[held])
    assert not np.allclose(first[others], second[others])


def test_noise_looks_like_noise_out_of_fold():
    x, _ = blobs(90, 15, 3)
    noise = np.random.default_rng(1).integers(0, 3, 90)
    choice = choose_head(x, noise, 3, fold_rows(90, 3), None)
    assert log_loss(choice.out_of_fold_logits, noise) > 1.0 > log_loss(choice.head.logits(x), noise)


def test_rows_that_no_fold_holds_out_are_nan_and_no_folds_take_the_usual_strength():
    x, y = blobs(40, 6, 2)
    rows = np.arange(40)
    choice = choose_head(x, y, 2, [(rows[10:], rows[:10])], None)
    assert np.isnan(choice.out_of_fold_logits[10:]).all()
    assert np.isfinite(choice.out_of_fold_logits[:10]).all()
    bare = choose_head(x, y, 2, [], None)
    assert np.isnan(bare.out_of_fold_logits).all()
    assert (bare.strength, bare.losses) == (usual_strength(2), ())


def test_many_rows_choose_on_some_folds_and_still_predict_every_row(monkeypatch):
    monkeypatch.setattr("headstart.strategies.heads.ENOUGH", 20)
    x, y = blobs(80, 6, 2)
    choice = choose_head(x, y, 2, fold_rows(80), None)
    assert np.isfinite(choice.out_of_fold_logits).all()


def test_sparse_rows_give_what_dense_rows_give():
    from scipy.sparse import csr_matrix

    z = np.random.default_rng(0).random((40, 12)).astype(np.float32)
    z[z < 0.6] = 0
    y = np.arange(40) % 3
    dense = solve_path(z, y, 3, 0.3, None, 5e-4).logits(z)
    sparse = solve_path(csr_matrix(z), y, 3, 0.3, None, 5e-4).logits(csr_matrix(z))
    assert softmax(sparse) == pytest.approx(softmax(dense), abs=1e-3)


def test_balanced_weights_make_classes_equal_and_average_one():
    y = np.array([0] * 6 + [2] * 2)
    weights = class_weights(y, 3)
    assert weights == pytest.approx([8 / 12, 1.0, 2.0])
    assert weights[y].mean() == pytest.approx(1.0)


def test_classes_are_uneven_from_one_and_a_half_times_on():
    assert not uneven(np.repeat([0, 1], [29, 20]))
    assert uneven(np.repeat([0, 1], [30, 20]))
    assert not uneven(np.repeat([0, 3], [5, 5]))
    assert not uneven(np.zeros(4, dtype=np.int64))


def test_classes_are_weighed_where_macro_f1_judges_uneven_ones_and_nowhere_else():
    y = np.repeat([0, 1], [30, 10])
    np.testing.assert_allclose(weights_for(y, 2, Metric.MACRO_F1), class_weights(y, 2))
    assert weights_for(y, 2, Metric.ACCURACY) is None and weights_for(y, 2, Metric.LOG_LOSS) is None
    assert weights_for(np.repeat([0, 1], [20, 20]), 2, Metric.MACRO_F1) is None
    assert weights_for(np.ones((40, 2), dtype=np.int64), 2, Metric.MACRO_F1) is None


def test_log_loss_is_the_weighted_mean_over_rows_that_have_logits():
    logits = np.log(np.array([[0.5, 0.5], [0.2, 0.8], [np.nan, np.nan]]))
    y = np.array([0, 1, 1])
    assert log_loss(logits, y) == pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2)
    assert log_loss(logits, y, np.array([3.0, 1.0])) == pytest.approx(-(3 * np.log(0.5) + np.log(0.8)) / 4)
    assert np.isnan(log_loss(logits[2:], y[2:]))


def test_a_solution_keeps_float64_bias_beside_float32_rows():
    solution = Solution(np.ones((2, 1)), np.array([0.0, 1e-12]))
    logits = solution.logits(np.zeros((1, 1), dtype=np.float32))
    assert logits[0, 1] == 1e-12
    assert LinearHead(solution.weight, solution.bias).scaled(2.0).bias[1] == 2e-12


def test_a_column_that_a_model_has_shut_gets_no_weight() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 6)).astype(np.float32)
    features[:, 3] *= 1e-33
    y = (features[:, 0] > 0).astype(np.int64)
    head = fit_head(features, y, 2, strength=0.1)
    assert np.abs(head.weight[:, 3]).max() == 0.0
    assert np.abs(head.weight).max() < 100


def test_a_prior_is_where_the_penalty_measures_from():
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(40, 5)).astype(np.float32), rng.integers(0, 3, 40)
    prior = Solution(rng.normal(size=(3, 5)), np.zeros(3))

    def objective(flat, strength):
        weight, bias = flat[:15].reshape(3, 5), flat[15:]
        logits = z @ weight.T + bias
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(40), y]
        return losses.sum() + 0.5 * strength * ((weight - prior.weight) ** 2).sum()

    for strength in (0.3, 3.0, 3000.0):
        found = solve(z, y, 3, strength, None, None, FINAL, prior=prior)
        wanted = minimize(objective, np.zeros(18), args=(strength,), method="BFGS", options={"gtol": 1e-6, "maxiter": 2000}).fun
        assert objective(np.concatenate([found.weight.ravel(), found.bias]), strength) == pytest.approx(wanted, rel=1e-4)
    assert np.abs(found.weight - prior.weight).max() < 0.02  # the last penalty leaves hardly anything else
