"""Every way of weighing source rows against an independent computation, or on data where the right answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import SettingsError
from headstart.instances import agreement, boosting, class_centres, density, dsir, influence, mean_matching, nearest, sure, whole_sets
from headstart.instances.base import Neighbours, effective_rows, unit_rows
from headstart.instances.registry import get_way, known_ways
from headstart.settings import make_settings


def drawn(n=30, m=80, d=6, seed=0, texts=False):
    """Two classes along the first axis; source rows are shifted along the second."""
    rng = np.random.default_rng(seed)
    y, source_y = rng.integers(0, 2, n), rng.integers(0, 2, m)
    target, source = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    target[:, 0] += 3 * y
    source[:, 0] += 3 * source_y
    source[:, 1] += rng.uniform(0, 4, m)
    said = [" ".join(rng.choice(["red", "blue", "card", "tree"], 4)) for _ in range(n + m)] if texts else [""] * (n + m)
    return Neighbours(target.astype(np.float32), y, source.astype(np.float32), source_y, 2, said[:n], said[n:], np.arange(m) % 3, seed)


def units(given):
    mean = (given.target.mean(axis=0) + given.source.mean(axis=0)) / 2
    both = []
    for rows in (given.target, given.source):
        both.append(np.array([(row - mean) / np.linalg.norm(row - mean) for row in rows]))
    return both


# The others are in files of their own.
OF_FEATURES = [name for name in known_ways() if not get_way(name).reads]


@pytest.mark.parametrize("name", OF_FEATURES)
def test_every_way_says_what_it_is_and_gives_a_weight_for_each_row(name):
    way, given_rows = get_way(name), drawn(texts=True)
    weights = way.weigh(given_rows)
    assert way.name == name and way.summary and way.paper and way.assumes
    assert weights.shape == (80,) and np.isfinite(weights).all() and (weights >= 0).all() and weights.any()
    np.testing.assert_array_equal(weights, way.weigh(given_rows))  # the same rows, the same weights


@pytest.mark.parametrize("name", OF_FEATURES)
@pytest.mark.parametrize(("n", "m"), [(2, 3), (3, 200), (60, 2)])
def test_no_way_trips_over_few_rows_on_either_side(name, n, m):
    given_rows = drawn(n, m, texts=True)
    y = np.arange(n) % 2
    few = Neighbours(
        given_rows.target, y, given_rows.source, np.arange(m) % 2, 2, given_rows.target_texts, given_rows.source_texts, given_rows.of, 0
    )
    assert get_way(name).weigh(few).shape == (m,)


def test_an_unknown_way_is_refused_with_the_nearest():
    with pytest.raises(SettingsError) as refused:
        get_way("nearst")
    assert str(refused.value) == f"--rows-by is 'nearst'; it must be one of {', '.join(known_ways())}. Did you mean 'nearest'?"


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=20))
def test_effective_rows_lie_between_one_and_all(weights):
    values = np.array(weights)
    found = effective_rows(values)
    assert found == 0 if not (values**2).sum() else 1 - 1e-9 <= found <= len(values) + 1e-9
    assert effective_rows(np.full(7, 3.0)) == pytest.approx(7) and effective_rows(np.array([0, 0, 5.0])) == pytest.approx(1)


def test_rows_of_no_length_stay_where_they_are():
    assert unit_rows(np.ones((2, 3), dtype=np.float32), np.ones(3, dtype=np.float32)).tolist() == [[0, 0, 0]] * 2


def test_nearest_is_the_mean_cosine_to_the_three_nearest_rows():
    given_rows = drawn()
    target, source = units(given_rows)
    by_hand = [1 + np.mean(sorted((row @ other for other in target), reverse=True)[:3]) for row in source]
    np.testing.assert_allclose(nearest.weigh(given_rows), by_hand, atol=1e-5)


def test_agreement_is_the_share_of_nearness_that_bears_the_label():
    given_rows = drawn()
    target, source = units(given_rows)
    for i, weight in enumerate(agreement.weigh(given_rows)):
        cosines = target @ source[i]
        near = np.argsort(-cosines)[: agreement.NEAREST]
        mass = np.maximum(cosines[near], 0)
        same = given_rows.y[near] == given_rows.source_y[i]
        assert weight == pytest.approx((mass[same].sum() + 1 / 15) / (mass.sum() + 2 / 15), abs=1e-4)


def test_density_follows_the_true_ratio():
    rng = np.random.default_rng(0)
    target, source = rng.normal(1.0, 1.0, (300, 1)), rng.normal(0.0, 1.0, (900, 1))
    far = np.column_stack([target, rng.normal(size=300)]), np.column_stack([source, rng.normal(size=900)])
    rows = Neighbours(
        far[0].astype(np.float32),
        np.zeros(300, int),
        far[1].astype(np.float32),
        np.zeros(900, int),
        2,
        [""] * 300,
        [""] * 900,
        np.zeros(900, int),
        0,
    )
    truth = np.exp(source[:, 0] - 0.5)  # N(1, 1) over N(0, 1)
    found = density.weigh(rows)
    assert np.corrcoef(np.log(found), np.log(truth))[0, 1] > 0.97
    assert found.max() <= density.MOST and np.polyfit(np.log(truth), np.log(found), 1)[0] == pytest.approx(1.0, abs=0.2)


def test_dsir_is_the_geometric_mean_of_the_terms_ratios():
    rows = Neighbours(
        np.zeros((2, 1)),
        np.zeros(2, int),
        np.zeros((2, 1)),
        np.zeros(2, int),
        2,
        ["red red", "red tree"],
        ["red", "blue sky"],
        np.zeros(2, int),
        0,
    )
    counts = {"red": (3, 1), "red red": (1, 0), "tree": (1, 0), "red tree": (1, 0), "blue": (0, 1), "sky": (0, 1), "blue sky": (0, 1)}
    totals = [sum(pair[side] for pair in counts.values()) + dsir.BUCKETS for side in (0, 1)]

    def ratio(*terms):
        logs = [np.log((counts[t][0] + 1) / totals[0]) - np.log((counts[t][1] + 1) / totals[1]) for t in terms]
        return np.exp(np.mean(logs))

    np.testing.assert_allclose(dsir.weigh(rows), [ratio("red"), ratio("blue", "sky", "blue sky")], rtol=1e-9)


def test_mean_matching_comes_near_the_least_distance_of_a_general_solver():
    from scipy.optimize import minimize

    given_rows = drawn(20, 12, 3)
    weights = mean_matching.weigh(given_rows)
    assert weights.mean() == pytest.approx(1) and weights.max() <= mean_matching.MOST + 1e-9
    target, source = (rows.astype(np.float32) for rows in units(given_rows))
    some = np.random.default_rng(0).permutation(12)[:500]
    width = float(np.median(np.sqrt(np.maximum(2 - 2 * (source[some] @ target.T), 0))))
    z = mean_matching.kernel_features(source.astype(np.float64), width, 0)
    wanted = mean_matching.kernel_features(target.astype(np.float64), width, 0).mean(axis=0)

    def distance(shares):
        return float(((shares @ z - wanted) ** 2).sum())

    bounds = [(0, min(1.0, mean_matching.MOST / 12))] * 12
    best = minimize(distance, np.full(12, 1 / 12), bounds=bounds, constraints={"type": "eq", "fun": lambda s: s.sum() - 1}, method="SLSQP")
    assert distance(weights / 12) <= best.fun * 1.05 + 1e-6 and distance(weights / 12) < distance(np.full(12, 1 / 12))


def test_random_features_are_the_gaussian_kernel():
    rows = np.random.default_rng(0).normal(size=(20, 4))
    z = np.concatenate([mean_matching.kernel_features(rows, 1.5, seed) for seed in range(40)], axis=1) / np.sqrt(40)
    apart = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(z @ z.T, np.exp(-apart / (2 * 1.5**2)), atol=0.04)


def test_influence_is_what_a_little_more_weight_does_to_the_targets_predictions():
    """By refitting: the ridge fit with a row's weight raised, and each target row's error by the fit without it."""
    given_rows = drawn(12, 10, 3)
    features = np.concatenate([given_rows.target, given_rows.source]).astype(np.float64)
    mean, spread = features.mean(axis=0), features.std(axis=0)
    x = np.column_stack([(features - mean) / spread / np.sqrt(3), np.ones(22)])
    labels = np.eye(2)[np.concatenate([given_rows.y, given_rows.source_y])]
    weight = np.concatenate([np.ones(12), np.full(10, 1.2)])
    penalty = np.diag([influence.PENALTY * 24 / 22] * 3 + [1e-9])

    def fit(w):
        return np.linalg.solve((x * w[:, None]).T @ x + penalty, (x * w[:, None]).T @ labels)

    left_out = np.empty((12, 2))
    for j in range(12):
        without = weight.copy()
        without[j] = 0
        left_out[j] = labels[j] - x[j] @ fit(without)
    for i, found in enumerate(influence.influences(given_rows)):
        more = weight.copy()
        more[12 + i] += 1e-5
        moved = (x[:12] @ fit(more) - x[:12] @ fit(weight)) / 1e-5
        assert found == pytest.approx(float((left_out * moved).sum()), rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("way", [boosting, sure, agreement])
def test_rows_of_the_wrong_label_are_put_last(way):
    given_rows = drawn(60, 120)
    wrong = np.arange(120) % 6 == 0
    labels = np.where(wrong, 1 - given_rows.source_y, given_rows.source_y)
    turned = Neighbours(given_rows.target, given_rows.y, given_rows.source, labels, 2, [""] * 60, [""] * 120, given_rows.of, 0)
    weights = way.weigh(turned)
    assert np.median(weights[wrong]) < np.quantile(weights[~wrong], 0.1)


def test_sure_puts_rows_near_the_targets_middle_first():
    given_rows = drawn(60, 200)
    weights = sure.weigh(given_rows)
    target, source = units(given_rows)
    middle = target.mean(axis=0) / np.linalg.norm(target.mean(axis=0))
    kept = sure.likelihoods(given_rows) > sure.DOUBTED / 2
    np.testing.assert_allclose(weights[kept], ((1 + source[kept] @ middle) / 2) ** 4, atol=1e-5)
    assert kept.sum() > 150 and weights[kept].min() > weights[~kept].max(initial=0)


def test_rows_may_all_join_by_their_weights():
    from headstart.instances.graded_rows import graded

    given_rows = drawn(texts=True)
    for name in OF_FEATURES:
        weights = graded(given_rows, make_settings({"rows_by": name}))
        assert weights.mean() == pytest.approx(1.0)
        assert np.corrcoef(weights, get_way(name).weigh(given_rows))[0, 1] == pytest.approx(1.0)


def test_class_centres_is_the_cosine_to_the_middle_of_its_class():
    given_rows = drawn()
    target, source = units(given_rows)
    for row, label, weight in zip(source, given_rows.source_y, class_centres.weigh(given_rows), strict=True):
        middle = target[given_rows.y == label].mean(axis=0)
        assert weight == pytest.approx(1 + row @ middle / np.linalg.norm(middle), abs=1e-5)
    strange = replace(given_rows, source_y=np.full(80, 2), n_classes=3)  # a class of which the target has no row
    middle = target.mean(axis=0)
    np.testing.assert_allclose(class_centres.weigh(strange), 1 + source @ middle / np.linalg.norm(middle), atol=1e-5)


@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_a_head_of_weighted_rows_is_that_of_rows_repeated(seed):
    """In place of weights of 2 and 3, rows twice and three times; a weight of 0 is no row."""
    from headstart.strategies.heads import make_space, solve_path

    rng = np.random.default_rng(seed)
    z = make_space(rng.normal(size=(24, 4)).astype(np.float32)).z
    y, times = np.arange(24) % 3, rng.integers(0, 4, 24)
    times[:3] = 1
    once = solve_path(z, y, 3, 0.3, None, 1e-5, row_weight=times.astype(float))
    again = solve_path(np.repeat(z, times, axis=0), np.repeat(y, times), 3, 0.3, None, 1e-5)
    np.testing.assert_allclose(once.logits(z), again.logits(z), atol=5e-3)


def test_whole_sets_are_weighed_by_how_likely_their_own_heads_find_the_targets_labels():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    given_rows = drawn(40, 90, 4, seed=3)
    # The second set's labels are turned round, the third's are chance.
    labels = given_rows.source_y.copy()
    labels[given_rows.of == 1] = 1 - labels[given_rows.of == 1]
    labels[given_rows.of == 2] = np.arange(30) % 2
    rows = replace(given_rows, source_y=labels)
    losses = whole_sets.set_losses(rows)
    assert losses.argsort().tolist() == [0, 2, 1]
    both = StandardScaler().fit_transform(np.concatenate([rows.target, rows.source])) / np.sqrt(4)
    for k in range(3):
        # Two rows of weights that are each penalised are one that is penalised half as much.
        model = LogisticRegression(C=2 / 0.1).fit(both[40:][rows.of == k], labels[rows.of == k])
        assert losses[k] == pytest.approx(-np.log(model.predict_proba(both[:40])[np.arange(40), rows.y]).mean(), rel=0.05)
    weights = whole_sets.weigh(rows)
    target, source = units(rows)
    middle = target.mean(axis=0) / np.linalg.norm(target.mean(axis=0))
    factors = np.exp(-(losses - losses.min()) / whole_sets.SCALE)
    assert factors[0] == 1.0 > factors[2] > factors[1]
    np.testing.assert_allclose(weights, factors[rows.of] * (1 + source @ middle) / 2, rtol=1e-3)
