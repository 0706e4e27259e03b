"""What a saved model of answers takes and says, whatever finds its spans."""

from pathlib import Path

import pytest

from headstart.loaded_answers import FoundAnswer, LoadedAnswers
from headstart.strategies.spans import Span

MODEL = LoadedAnswers((), Path(), lambda texts: [Span(4, 12, 1.0, 0.5)] * len(texts), False)


def test_an_answer_is_as_its_context_has_it_in_whatever_form_that_was_given():
    context = "the red \u2016 card"  # which the model reads with another line
    questions = [("which?", context), {"question": "which?", "context": context}, {"text": "which?", "text_pair": context}]
    assert MODEL.answer(questions) == [FoundAnswer("red \u2016 ca", 4, 12, 0.5)] * 3
    assert MODEL.predict(questions) == ["red \u2016 ca"] * 3


@pytest.mark.parametrize("question", ["which?", "ab", ("which?",), ("which?", None), {"question": "which?"}, {"context": "red"}, None, 3])
def test_what_is_no_question_with_its_context_is_refused_with_its_place(question):
    with pytest.raises(TypeError) as refused:
        MODEL.predict([("which?", "the red card"), question])
    assert str(refused.value) == f'Question 2 is {question!r}; give it as (question, context) or {{"question": ..., "context": ...}}.'
