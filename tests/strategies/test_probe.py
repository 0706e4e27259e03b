import numpy as np
import pytest

from headstart.errors import SourceError
from headstart.judge.calibration import softmax
from headstart.strategies.heads import FINAL, fit_head, log_loss, make_space, solve_path
from headstart.strategies.probe import (
    PENALTIES,
    _better_than_usual,
    candidate_layers,
    choose_probe,
    leave_one_out,
    mean_of_layers,
    usual_layers,
)


def layered(n, blocks, d, c, good, seed=0, noise=1.0):
    """Pooled features (n, L+1, d) in which only the layers `good` know the class."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % c)
    features = rng.normal(size=(n, blocks + 1, d)).astype(np.float32) * noise
    centres = rng.normal(size=(c, d)).astype(np.float32)
    for layer in good:
        features[:, layer] += centres[y]
    return features, y


def fold_rows(n, k=4, seed=0):
    parts = np.array_split(np.random.default_rng(seed).permutation(n), k)
    return [(np.concatenate([p for j, p in enumerate(parts) if j != i]), parts[i]) for i in range(k)]


@pytest.mark.parametrize(("n", "d"), [(30, 6), (12, 40)])
def test_leave_one_out_is_what_fitting_without_each_row_gives(n, d):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(n, d)).astype(np.float32), rng.integers(0, 3, n)
    space = make_space(x)
    z, targets = space.z.astype(np.float64), np.eye(3)[y]
    errors, brute = [], []
    for penalty in PENALTIES:
        predicted = np.empty((n, 3))
        for row in range(n):
            rest = np.arange(n) != row
            mean, level = z[rest].mean(axis=0), targets[rest].mean(axis=0)
            a = z[rest] - mean
            weight = np.linalg.solve(a.T @ a + penalty * np.eye(z.shape[1]), a.T @ (targets[rest] - level))
            predicted[row] = level + (z[row] - mean) @ weight
        brute.append(predicted)
        errors.append(((predicted - targets) ** 2).mean())
    assert leave_one_out(space, y, 3) == pytest.approx(brute[int(np.argmin(errors))], abs=1e-4)


def test_the_usual_layers_are_the_upper_half():
    assert usual_layers(6) == (4, 5, 6)
    assert usual_layers(1) == (1,)
    assert usual_layers(3) == (3,)
    assert usual_layers(12) == (7, 8, 9, 10, 11, 12)


@pytest.mark.parametrize("blocks", [1, 2, 3, 6, 12, 26])
def test_candidates_are_distinct_lie_above_the_embeddings_and_hold_the_usual_ones(blocks):
    candidates = candidate_layers(blocks)
    assert len(set(candidates)) == len(candidates)
    assert usual_layers(blocks) in candidates
    assert {(layer,) for layer in range(1, blocks + 1)} <= set(candidates)
    assert all(1 <= layer <= blocks for layers in candidates for layer in layers)


def test_the_layer_that_knows_the_classes_is_found():
    features, y = layered(120, 6, 20, 3, good=(2,), noise=1.5)
    choice = choose_probe(features, y, 3, fold_rows(120), None)
    assert choice.layers == (2,)
    assert [each.layer for each in choice.layer_scores] == [0, 1, 2, 3, 4, 5, 6]
    accuracies = {each.layer: each.accuracy for each in choice.layer_scores}
    assert accuracies[2] > 0.8 > 0.55 > max(accuracies[layer] for layer in accuracies if layer != 2)


def test_other_layers_must_be_better_by_more_than_a_standard_error():
    y = np.zeros(100, dtype=np.int64)
    usual = np.zeros((100, 2))
    jitter = np.where(np.arange(100) % 2, 1.0, -1.0)[:, None] * [0.5, 0.0]
    # Each row's loss swings by about 0.25 either way, so the standard error of the mean is about 0.025.
    a_little, clearly = jitter + np.array([0.10, 0.0]), jitter + np.array([0.20, 0.0])
    assert _better_than_usual({(2,): usual, (1,): a_little}, (2,), y, None) == (2,)
    assert _better_than_usual({(2,): usual, (1,): clearly}, (2,), y, None) == (1,)
    unseen = np.full((100, 2), np.nan)
    unseen[:50] = clearly[:50]
    half = usual.copy()
    half[50:] = np.nan
    assert _better_than_usual({(2,): half, (1,): unseen}, (2,), y, None) == (1,)


def test_without_folds_the_usual_layers_are_read():
    features, y = layered(40, 4, 10, 2, good=(1,))
    choice = choose_probe(features, y, 2, [], None)
    assert choice.layers == (3, 4)
    assert np.isnan(choice.out_of_fold_logits).all()


def test_the_head_is_the_one_of_the_chosen_layers_and_strength():
    features, y = layered(60, 4, 10, 3, good=(1, 2, 3, 4))
    choice = choose_probe(features, y, 3, fold_rows(60), None)
    head = fit_head(mean_of_layers(features, choice.layers), y, 3, strength=choice.strength)
    assert softmax(choice.logits(features)) == pytest.approx(softmax(head.logits(features[:, list(choice.layers)].mean(axis=1))), abs=2e-3)
    assert log_loss(choice.out_of_fold_logits, y) < np.log(3) / 2


def test_choosing_leaves_the_features_as_they_were():
    features, y = layered(40, 3, 8, 2, good=(3,))
    before = features.copy()
    choose_probe(features, y, 2, fold_rows(40), None)
    assert (features == before).all()


def test_float16_features_are_read_as_float32_would_be():
    features, y = layered(40, 3, 8, 2, good=(3,))
    half = features.astype(np.float16)
    assert choose_probe(half, y, 2, fold_rows(40), None).layers == choose_probe(half.astype(np.float32), y, 2, fold_rows(40), None).layers


def test_classes_are_weighed_in_the_folds_and_in_the_head_and_one_of_a_single_row_is_no_obstacle():
    features, y = layered(41, 2, 8, 2, good=(2,))
    y[40] = 2
    folds, weight = fold_rows(41), np.array([0.7, 0.7, 13.0])
    choice = choose_probe(features, y, 3, folds, weight)
    read = mean_of_layers(features, choice.layers)
    z = make_space(read).z
    for train, held in folds:
        by_hand = solve_path(z[train], y[train], 3, choice.strength, weight, FINAL).logits(z[held])
        assert softmax(choice.out_of_fold_logits[held]) == pytest.approx(softmax(by_hand), abs=0.01)
    by_hand, without = (fit_head(read, y, 3, strength=choice.strength, class_weight=each) for each in (weight, None))
    assert softmax(choice.head.logits(read)) == pytest.approx(softmax(by_hand.logits(read)), abs=0.01)
    assert softmax(choice.head.logits(read))[:40, 2].mean() > 2 * softmax(without.logits(read))[:40, 2].mean()


def test_a_layer_that_is_not_finite_is_refused():
    features, y = layered(30, 2, 8, 2, good=(2,))
    features[4, 1, 0] = np.inf
    with pytest.raises(SourceError) as caught:
        choose_probe(features, y, 2, fold_rows(30), None)
    assert str(caught.value) == "The source gives numbers that are not finite for 1 of 30 texts; choose another source."
