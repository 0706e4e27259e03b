import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from headstart.strategies.free_heads import solve_free, spread_of
from headstart.strategies.heads import choose_head, choose_strength, fit_head, make_space
from headstart.strategies.outputs import Output, as_classes, one_hot, output_of, row_losses, sigmoid
from headstart.strategies.probe import leave_one_out, sort_layers

RNG = np.random.default_rng(0)


def labelled(n, d, c, seed=0):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, d)) * np.linspace(0.3, 2, d)).astype(np.float32)
    y = (x @ rng.normal(size=(d, c)) + rng.normal(size=(n, c)) - np.linspace(0, 2, c) > 0).astype(np.int64)
    return x, y


def numbered(n, d, seed=0, scale=1.0, mean=0.0):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, d)) * np.linspace(0.3, 2, d)).astype(np.float32)
    return x, (x @ rng.normal(size=(d, 1)) + rng.normal(size=(n, 1))).astype(np.float64) * scale + mean


def standard(x):
    """Columns of mean 0 and variance 1/d, as the objective sees them."""
    return (x - x.mean(axis=0)).astype(np.float64) / (x.std(axis=0, dtype=np.float64) * np.sqrt(x.shape[1]))


@pytest.mark.parametrize("shape", [(120, 8, 3), (30, 60, 2), (50, 20, 1)])
@pytest.mark.parametrize("strength", [1.0, 0.03])
def test_each_label_is_a_logistic_regression_of_scikit_learn(shape, strength):
    from sklearn.linear_model import LogisticRegression

    x, y = labelled(*shape)
    logits = fit_head(x, y, shape[2], strength=strength).logits(x)
    for k in range(shape[2]):
        one = LogisticRegression(C=1 / strength, tol=1e-10, max_iter=10_000).fit(standard(x), y[:, k])
        assert np.abs(sigmoid(logits[:, k]) - one.predict_proba(standard(x))[:, 1]).max() < 2e-3


@pytest.mark.parametrize(("n", "d"), [(120, 8), (30, 60)])
@pytest.mark.parametrize(("scale", "mean"), [(1.0, 0.0), (1000.0, 5e4), (1e-4, -3.0)])
def test_a_number_is_the_ridge_regression_of_the_closed_form_in_any_unit(n, d, scale, mean):
    x, y = numbered(n, d, scale=scale, mean=mean)
    z, centred = standard(x), y - y.mean()
    exact = z @ np.linalg.solve(z.T @ z + 0.3 * np.eye(d), z.T @ centred) + y.mean()
    assert np.abs(fit_head(x, y, 1, strength=0.3).logits(x) - exact).max() < 2e-3 * y.std()


def test_a_label_that_never_varies_gets_no_weight_and_the_odds_of_one_in_twice_the_rows():
    x, y = labelled(40, 5, 3)
    y[:, 0], y[:, 2] = 0, 1
    weight, bias = solve_free(standard(x).astype(np.float32), y, 0.1, None, 1e-4)
    assert not weight[[0, 2]].any() and weight[1].any()
    np.testing.assert_allclose(bias[[0, 2]], [-np.log(80), np.log(80)])


def test_equal_numbers_are_predicted_as_they_are():
    x, _ = numbered(20, 4)
    np.testing.assert_allclose(fit_head(x, np.full((20, 1), 7.5), 1).logits(x), 7.5, atol=1e-6)
    assert spread_of(np.full((3, 1), 7.5)) == (7.5, 1.0)


def test_sparse_rows_give_what_dense_ones_give():
    x, y = labelled(60, 10, 2)
    x[np.abs(x) < 0.5] = 0
    dense, sparse = solve_free(x, y, 0.1, None, 1e-5), solve_free(csr_matrix(x), y, 0.1, None, 1e-5)
    for one, other in zip(dense, sparse, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)


def test_a_start_changes_the_steps_and_not_the_solution():
    x, y = numbered(80, 6, scale=50, mean=200)
    z = standard(x).astype(np.float32)
    cold = solve_free(z, y, 0.1, None, 1e-6)
    warm = solve_free(z, y, 0.1, (cold[0] + 3.0, cold[1] - 40.0), 1e-6)
    for one, other in zip(cold, warm, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=0.05)


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_the_strength_is_the_one_of_least_held_out_loss(kind):
    x, y = labelled(90, 30, 3) if kind == "labels" else numbered(90, 30)
    parts = np.array_split(np.random.default_rng(1).permutation(90), 3)
    folds = [(np.setdiff1d(np.arange(90), part), np.sort(part)) for part in parts]
    choice = choose_head(x, y, y.shape[1], folds, None)
    tried = dict(choice.losses)
    assert tried[choice.strength] == min(tried.values()) and len(tried) > 1
    assert not np.isnan(choice.out_of_fold_logits).any()
    # The pooled loss by hand.
    assert tried[choice.strength] == pytest.approx(row_losses(choice.out_of_fold_logits, y).mean())
    train, _ = folds[0]
    alone = choose_strength(make_space(x).z[train], y[train], y.shape[1], [], None)
    assert np.isnan(alone[1]).all()


def test_leave_one_out_of_numbers_is_refitting_without_each_row():
    x, y = numbered(25, 4)
    space = make_space(x)
    predicted = leave_one_out(space, y, 1)
    found = []
    for penalty in (0.1, 1.0, 10.0, 100.0):
        left = []
        for i in range(25):
            keep = np.arange(25) != i
            z, t = space.z[keep].astype(np.float64), y[keep, 0]
            a = np.column_stack([z, np.ones(24)])
            w = np.linalg.solve(a.T @ a + np.diag([penalty] * z.shape[1] + [0.0]), a.T @ t)
            left.append(float(np.append(space.z[i], 1.0) @ w))
        found.append(np.array(left))
    best = min(found, key=lambda p: float(((p - y[:, 0]) ** 2).mean()))
    np.testing.assert_allclose(predicted[:, 0], best, atol=1e-3)


def test_layers_are_sorted_by_the_error_of_labels_as_of_classes():
    x, y = labelled(60, 6, 2)
    noise = RNG.normal(size=(60, 6)).astype(np.float32)
    pooled = np.stack([noise, noise[::-1], x], axis=1)
    _, errors, scores = sort_layers(pooled, y, 2, 1)
    assert min(errors, key=errors.get) == (2,)
    assert scores[2].squared_error < scores[1].squared_error and np.isnan(scores[2].accuracy)


# --- what outputs mean ---


def test_targets_say_by_shape_and_type_what_they_are():
    assert output_of(np.array([0, 2])) is Output.CLASS
    assert output_of(np.array([[0, 1]])) is Output.LABELS
    assert output_of(np.array([[0.0]])) is Output.NUMBER


@given(st.lists(st.lists(st.tuples(st.floats(-50, 50), st.booleans()), min_size=3, max_size=3), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_labels_as_rows_of_two_classes_cost_the_same(rows):
    logits = np.array([[z for z, _ in row] for row in rows])
    y = np.array([[int(on) for _, on in row] for row in rows])
    two, classes = as_classes(logits, y)
    np.testing.assert_allclose(row_losses(two, classes).reshape(y.shape).mean(axis=1), row_losses(logits, y), atol=1e-9)


def test_the_loss_of_labels_is_scikit_learns_log_loss_and_of_numbers_half_the_squared_error():
    from sklearn.metrics import log_loss, mean_squared_error

    logits, y = RNG.normal(size=(40, 3)), RNG.integers(0, 2, (40, 3))
    each = [log_loss(y[:, k], sigmoid(logits[:, k])) for k in range(3)]
    assert row_losses(logits, y).mean() == pytest.approx(np.mean(each))
    numbers = RNG.normal(size=(40, 1))
    assert row_losses(logits[:, :1], numbers).mean() == pytest.approx(mean_squared_error(numbers, logits[:, :1]) / 2)


def test_far_odds_neither_overflow_nor_lose_their_place():
    assert sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]
    assert row_losses(np.array([[1e4]]), np.array([[0]])) == pytest.approx(1e4)


def test_classes_become_ones_and_others_stay():
    assert one_hot(np.array([1, 0]), 3).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert one_hot(np.array([[1, 1]]), 2).tolist() == [[1, 1]]
