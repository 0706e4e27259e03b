"""The few lines that ask a saved model of answers without headstart: shown on its card, and run by the fresh process that checks it."""

from __future__ import annotations

# Needs `folder`, and defines `answer(question, context)`.
LINES = '''\
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
told, limit = model.config.headstart_answers, tokenizer.model_max_length


def pieces(question, context):
    """The question, shortened, and where the context is cut."""
    places = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if len(places) > told["question"]:
        question = question[: places[told["question"] - 1][1]]
    cut = {"truncation": "only_second", "max_length": told["piece"], "stride": told["shared"], "return_overflowing_tokens": True}
    read = tokenizer(question, context, return_offsets_mapping=True, **cut)
    for encoding, places in zip(read.encodings, read["offset_mapping"]):
        spans = [place for place, side in zip(places, encoding.sequence_ids) if side == 1 and place[1] > place[0]]
        yield question, spans[0][0] if spans else 0, spans[-1][1] if spans else 0


def answer(question, context):
    """The likeliest span of the context, "" where there is no answer."""
    best = (-1e9, 0, 0)
    for asked, first, last in pieces(question, context):
        read = tokenizer(asked, context[first:last], truncation=True, max_length=limit, return_tensors="pt", return_offsets_mapping=True)
        places, sides = read.pop("offset_mapping")[0].tolist(), read.encodings[0].sequence_ids
        tokens = [i for i, side in enumerate(sides) if side == 1 and places[i][1] > places[i][0]]
        with torch.inference_mode():
            said = model(**read)
        starts, ends = said.start_logits[0].double(), said.end_logits[0].double()
        for k, i in enumerate(tokens):
            for j in tokens[k : k + told["longest"]]:
                margin = float(starts[i] + ends[j] - starts[0] - ends[0])
                if margin > best[0]:
                    best = (margin, first + places[i][0], first + places[j][1])
    if told["may_abstain"] and best[0] * told["factor"] + told["shift"] <= 0:
        return ""
    return context[best[1] : best[2]].strip()
'''
