"""Which rows are chosen by their weights: a share of each class."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headstart.instances.with_rows import count_of, first_rows, in_turn
from headstart.settings import make_settings

rows = st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), min_size=1, max_size=40)


@given(rows, st.sampled_from([0.05, 0.25, 0.5, 1.0]))
def test_of_each_class_the_rows_of_the_greatest_weights_are_taken(pairs, share):
    y, weights = np.array([k for k, _ in pairs]), np.array([w for _, w in pairs])
    settings = make_settings({"rows_share": share})
    kept = first_rows(weights, y, settings) > 0
    assert kept.sum() == count_of(settings, y)
    for k in set(y.tolist()):
        own = y == k
        assert kept[own].sum() == max(1, round(share * own.sum()))
        if not kept[own].all():
            assert weights[own & kept].min() >= weights[own & ~kept].max()


def test_a_common_class_does_not_crowd_out_the_others():
    y = np.array([0] * 90 + [1] * 10)
    weights = np.where(y == 0, 1.0, 0.1)  # all of the common class lie nearer
    kept = first_rows(weights, y, make_settings({"rows_share": 0.2})) > 0
    assert np.bincount(y[kept]).tolist() == [18, 2]


@given(rows)
def test_a_growing_share_goes_equally_far_down_each_class(pairs):
    y, weights = np.array([k for k, _ in pairs]), np.array([w for _, w in pairs])
    order = in_turn(weights, y)
    assert sorted(order.tolist()) == list(range(len(y)))
    sizes = np.bincount(y)
    for cut in range(1, len(y)):
        taken = np.bincount(y[order[:cut]], minlength=len(sizes))
        shares = [taken[k] / sizes[k] for k in range(len(sizes)) if sizes[k]]
        assert max(shares) - min(shares) <= 1.0 / min(size for size in sizes if size) + 1e-9
    for k in set(y.tolist()):
        own = weights[order[y[order] == k]]
        assert (np.diff(own) <= 0).all()
