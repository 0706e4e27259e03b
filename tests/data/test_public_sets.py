"""Counts on public data sets against those in their index, which were made by other code."""

from pathlib import Path

import pytest

from headstart.data import split
from headstart.data.check import check_examples
from headstart.data.read import read_examples

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = [pytest.mark.data, pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not here")]


def read(name, part):
    files = list((DATA / name).glob(f"{part}.jsonl*"))
    return read_examples(files[0]).examples if files else None


def counts(result):
    return {found.kind: found.count for found in result.findings}


# name, rows, repeated texts inside train, test rows in train, validation rows in train: from INDEX.md, which counts 10 in trec; one more
# differs in case alone
@pytest.mark.parametrize(
    ("name", "rows", "repeated", "test_rows", "validation_rows"),
    [("banking77", 10_003, 4, 7, None), ("trec", 5_452, 71, 11, None), ("snips", 13_084, 225, 26, 15), ("acl_arc", 1_688, 418, 52, 43)],
)
def test_repeats_and_leaks_are_those_of_the_index(name, rows, repeated, test_rows, validation_rows):
    train, test, validation = (read(name, part) for part in ("train", "test", "validation"))
    assert len(train) == rows
    result = check_examples(train, test=test, validation=validation)
    assert len(train) - len(set(train.texts)) == repeated
    distinct = {(text, label) for text, label in zip(train.texts, train.labels, strict=True)}
    assert counts(result)["duplicates"] == len(train) - len(distinct)
    for kind, other, number in (("test", test, test_rows), ("validation", validation, validation_rows)):
        if other is not None:
            (found,) = [found for found in result.findings if found.kind == f"{kind} rows in train"]
            assert found.message.startswith(f"{number} {kind} rows also stand among the training rows")
            left = {text for text, usable in zip(train.texts, result.usable, strict=True) if usable}
            assert not left & set(other.texts)


def test_folds_of_banking77_have_every_class_on_both_sides_and_no_twins_across():
    train = read("banking77", "train")
    result = check_examples(train)
    classes = {label: i for i, label in enumerate(sorted(set(train.labels)))}
    import numpy as np

    y = np.array([classes[label] for label in train.labels])
    for fitted, held in split.folds(y, result.groups, 5, seed=0):
        assert set(y[held]) == set(y[fitted]) == set(range(77))
        assert not set(result.groups[fitted]) & set(result.groups[held])
        assert abs(len(held) - len(y) / 5) < 5
