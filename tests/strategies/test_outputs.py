"""What outputs mean, by shape and type of what is to be predicted; and what models say of rows."""

import numpy as np
import pytest

from headstart.strategies.base import Rows, Said
from headstart.strategies.outputs import Output, output_of, said_of


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.array([0, 2, 1]), Output.CLASS),
        (np.array([[0, 1], [1, 1]]), Output.LABELS),
        (np.array([[0.5], [1.0]]), Output.NUMBER),
        (np.array(["ja", ""], dtype=object), Output.TEXT),
    ],
)
def test_shape_and_type_say_what_is_predicted(y, kind):
    assert output_of(y) is kind


class Parrot:
    """Says every text again; the one output is 1 where that is the true answer."""

    reader = None

    def answer(self, rows):
        return Said(np.array([[float(text == true)] for text, true in zip(rows.texts, rows.y, strict=True)]), rows.texts)


def test_a_model_of_texts_is_asked_for_answers_and_any_other_for_outputs():
    rows = Rows(("ja", "nein"), np.array(["ja", "ja"], dtype=object), 1, kinds=np.zeros(2, dtype=int))
    said = said_of(Parrot(), rows)
    assert said.answers == ("ja", "nein") and said.outputs.tolist() == [[1.0], [0.0]]

    class Classes:
        def predict_logits(self, texts):
            return np.array([[len(text), 0.0] for text in texts])

    said = said_of(Classes(), Rows(("ja", "nein"), np.array([0, 1]), 2))
    assert said.answers == () and said.outputs.tolist() == [[2.0, 0.0], [4.0, 0.0]]


def test_rows_with_texts_are_taken_with_their_answers():
    rows = Rows(("a", "b", "c"), np.array(["x", "y", "z"], dtype=object), 1, kinds=np.zeros(3, dtype=int))
    assert rows.take([2, 0]).y.tolist() == ["z", "x"] and rows.take([2, 0]).strata.tolist() == [0, 0]
