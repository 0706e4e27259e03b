"""Which rows of other data the target has too."""

from headstart.data.examples import Examples
from headstart.neighbouring import unlike


def test_however_many_rows_say_what_the_target_says_none_of_them_is_left():
    said = [f"the customer wrote that order {i} has not arrived yet and asks for help with it, please call back soon" for i in range(100)]
    apart = "a row about something else altogether"
    rows = Examples((*said[1:], apart), ("x",) * 100, tuple(range(1, 101)), "a.csv", "text", "label")
    assert unlike(rows, said[:1]).texts == (apart,)
