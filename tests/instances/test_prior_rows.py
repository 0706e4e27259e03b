"""A head that is held to what the source rows tell."""

from dataclasses import replace

import numpy as np

from headstart.backbone.reading import Reader
from headstart.instances import prior_rows


def test_labels_of_held_out_rows_have_no_say_in_what_is_said_of_them(told, tiny_backbone, monkeypatch):
    """But for how firmly the head is held, which is chosen by them and here is given."""
    job, both = told
    monkeypatch.setattr(prior_rows, "HELD", (0.1,))
    monkeypatch.setattr(prior_rows, "read_together", lambda _: both)
    job = replace(job, reader=Reader(tiny_backbone("bert"), None, 4096))
    held, others, said = job.folds[0][1], job.folds[1][1], []
    for turn in (0, 1):
        y = job.rows.y.copy()
        y[held] = (y[held] + turn) % 2
        said.append(prior_rows.out_of_fold(replace(job, rows=replace(job.rows, y=y)))[1])
    np.testing.assert_array_equal(said[0][held], said[1][held])
    assert not np.allclose(said[0][others], said[1][others])
