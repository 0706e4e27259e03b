"""The lines that ask a model of answers without headstart, beside headstart's own."""

import numpy as np
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

import headstart
from headstart.backbone.backbone import load_backbone
from headstart.backbone.reading import Reader
from headstart.export.answer_program import LINES
from headstart.export.span_folder import save_span_model
from headstart.sources.resolve import resolve_source
from headstart.strategies.base import LinearHead
from headstart.strategies.spans import SpanModel
from tiny import HIDDEN, WORDS, make_tiny


def test_white_space_that_a_tokenizer_counts_to_a_word_is_no_part_of_an_answer(tmp_path):
    """So do those of DeBERTa-v3, Llama and GPT-2."""
    make_tiny(tmp_path / "source", "bert", blocks=2)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "source")
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_next")
    tokenizer.save_pretrained(tmp_path / "source")
    reader = Reader(load_backbone(resolve_source(str(tmp_path / "source")), 32, pairs=True), None, 4096)
    head = LinearHead(np.random.default_rng(0).normal(size=(2, HIDDEN)), np.zeros(2))
    save_span_model(tmp_path / "model", SpanModel(reader, None, 2, 2, head, 4, False), "")
    asks: dict[str, object] = {"folder": str(tmp_path / "model")}
    exec(LINES, asks)
    questions = [("which card", " ".join(WORDS[first : first + 12])) for first in range(20)]
    found = headstart.load(tmp_path / "model").answer(questions)
    assert [answer.text for answer in found] == [asks["answer"](*question) for question in questions]  # type: ignore[operator]
    for answer, (_, context) in zip(found, questions, strict=True):
        assert answer.text and answer.text == answer.text.strip() == context[answer.start : answer.end]
    assert any(answer.start for answer in found)  # not all begin where their context does
