"""Completions written many at once: the same as one by one through the stock class, token by token."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from headstart.strategies import completing
from headstart.strategies.completing import complete
from tiny import make_causal, make_tokenizer

PROMPTS = ("what is my card", "please cancel the order", "why", "how can i pay the money for the new card on time", "help", "")
LONGEST = 12


@pytest.fixture(params=["llama", "gpt2", "gemma3_text"])
def writer(request, tmp_path):
    """A tiny model that writes, with its tokenizer."""
    whole = AutoModelForCausalLM.from_pretrained(make_causal(tmp_path / request.param, request.param)).eval()
    return whole, make_tokenizer(request.param)


@pytest.fixture
def asked(writer, monkeypatch):
    """How many prompts each call of the model's writer got, where more than one token was asked for."""
    whole, _ = writer
    usual, found = whole.generate, []

    def generate(*, input_ids, max_new_tokens, **rest):
        if max_new_tokens > 1:
            found.append(len(input_ids))
        return usual(input_ids=input_ids, max_new_tokens=max_new_tokens, **rest)

    monkeypatch.setattr(whole, "generate", generate)
    return found


def token_by_token(whole, tokenizer, prompt, longest=LONGEST):
    ids = tokenizer(prompt + "\n" if prompt else "")["input_ids"] or [tokenizer.eos_token_id]
    first = len(ids)
    for _ in range(longest):
        with torch.inference_mode():
            ids.append(int(whole(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    return tokenizer.decode(ids[first:], skip_special_tokens=True)


def test_what_is_written_at_once_is_what_the_stock_class_writes_token_by_token(writer, asked, monkeypatch):
    whole, tokenizer = writer
    monkeypatch.setattr(completing, "AT_ONCE", 4)
    said = complete(whole, tokenizer, 64, PROMPTS, LONGEST)
    assert said == [token_by_token(whole, tokenizer, prompt) for prompt in PROMPTS]
    assert asked[:2] == [4, 2]
    assert complete(whole, tokenizer, 64, [], LONGEST) == []
    begun = complete(whole, tokenizer, 64, PROMPTS, LONGEST, begun=3)
    assert begun == [token_by_token(whole, tokenizer, prompt, 3) for prompt in PROMPTS] and begun != said


def test_a_completion_that_ends_early_ends_there_whatever_is_written_beside_it(writer, asked):
    whole, tokenizer = writer
    endless = complete(whole, tokenizer, 64, PROMPTS, LONGEST)
    ids = tokenizer(PROMPTS[0] + "\n")["input_ids"]
    with torch.inference_mode():
        third = whole.generate(input_ids=torch.tensor([ids]), do_sample=False, max_new_tokens=3, pad_token_id=0)[0, -1]
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(int(third))
    whole.generation_config.eos_token_id = None
    asked.clear()
    said = complete(whole, tokenizer, 64, PROMPTS, LONGEST)
    assert said == [token_by_token(whole, tokenizer, prompt) for prompt in PROMPTS]
    assert asked[0] == len(PROMPTS)
    assert len(said[0]) < len(endless[0])


def test_a_model_that_sees_padding_writes_each_prompt_by_itself(writer, asked, monkeypatch):
    whole, tokenizer = writer
    wanted = [token_by_token(whole, tokenizer, prompt) for prompt in PROMPTS]
    usual = whole.forward

    def blind(*, attention_mask=None, **rest):
        return usual(**rest)

    monkeypatch.setattr(whole, "forward", blind)
    assert complete(whole, tokenizer, 64, PROMPTS, LONGEST) == wanted
    assert asked == [1] * len(PROMPTS)
    asked.clear()
    monkeypatch.setattr(completing, "AT_ONCE", 2)  # where the first of them are of one length, and others shorter
    assert complete(whole, tokenizer, 64, [PROMPTS[3], PROMPTS[3], *PROMPTS], LONGEST) == [wanted[3], wanted[3], *wanted]
    assert asked == [1] * (len(PROMPTS) + 2)


def test_where_two_tokens_are_about_as_likely_a_prompt_is_written_again_by_itself(writer, asked, monkeypatch):
    whole, tokenizer = writer
    wanted = complete(whole, tokenizer, 64, PROMPTS, LONGEST)
    asked.clear()
    leads = completing._Watch.__call__

    def tied(watch, input_ids, scores):
        found = leads(watch, input_ids, scores)
        if len(scores) > 1 and len(watch.leads) == 2:
            watch.leads[-1][0] = 0.0  # the longest prompt's second token
        return found

    monkeypatch.setattr(completing._Watch, "__call__", tied)
    assert complete(whole, tokenizer, 64, PROMPTS, LONGEST) == wanted
    assert asked.count(1) >= 1 and asked[0] == len(PROMPTS)


def test_equal_logits_are_told_as_a_tie(writer):
    watch = completing._Watch()
    watch(torch.empty(0), torch.tensor([[1.0, 3.0, 3.0], [0.0, 2.0, 5.0]]))
    assert watch.leads[0].tolist() == [0.0, 3.0] and watch.first.shape == (2, 3)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_prompt_that_is_too_long_keeps_its_end(name, tmp_path, monkeypatch):
    whole, tokenizer = AutoModelForCausalLM.from_pretrained(make_causal(tmp_path, name)).eval(), make_tokenizer(name)
    around, heard, usual = len(tokenizer("")["input_ids"]), [], whole.generate
    monkeypatch.setattr(whole, "generate", lambda *, input_ids, **rest: heard.append(input_ids[0].tolist()) or usual(input_ids, **rest))
    complete(whole, tokenizer, 16, ["card " * 40 + "please"], 6)
    assert heard[0] == tokenizer("card " * (9 - around) + "please\n")["input_ids"] and len(heard[0]) == 10
