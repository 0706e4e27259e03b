"""Completions: how they are read, what they cost, how they are trained from stored activations, what is written."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import headstart
from headstart.backbone.backbone import load_backbone
from headstart.backbone.cut import Trunk
from headstart.backbone.reading import Reader
from headstart.data.prompts import WHOLE
from headstart.errors import SourceError
from headstart.export.writing_folder import save_writing_model
from headstart.settings import make_settings
from headstart.sources.resolve import resolve_source
from headstart.strategies.base import Rows
from headstart.strategies.batches import entering_of, packed
from headstart.strategies.completing import complete
from headstart.strategies.ladder import Job, get_strategy
from headstart.strategies.language import BYTES, EXACT, NATS, ROUGE, TOKENS, WRITTEN
from headstart.strategies.language_training import NextToken, fit_language_adapters, told_rows, tune_language, untouched
from headstart.strategies.model import NO_LABEL, collate
from headstart.strategies.output_layer import output_layer
from headstart.strategies.prompts import as_read, shortened, template_of, write
from headstart.strategies.schedule import planned_steps, schedule_of
from headstart.strategies.vocabulary import learn_vocabulary
from tiny import make_causal, make_tokenizer

PROMPTS = ("what is my card", "please cancel the order", "why", "how can i pay the money for the new card on time")
ANSWERS = ("it is lost", "good", "the price is bad and wrong", "help")


def rows_of(prompts=PROMPTS, answers=ANSWERS):
    y = np.empty(len(answers), dtype=object)
    y[:] = answers
    return Rows(tuple(prompts), y, 1, kinds=np.zeros(len(answers), dtype=np.int64))


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma3_text"])
def reader(request, tmp_path_factory):
    folder = make_causal(tmp_path_factory.mktemp(request.param), request.param)
    return Reader(load_backbone(resolve_source(str(folder)), 64), None, 4096)


def job_of(reader, **settings):
    rows = rows_of()
    made = make_settings({"task": "generation", "epochs": 3, "learning_rate": 3e-3, "precision": "float32", **settings})
    return Job(rows, np.arange(len(rows)), [], made, 0, reader=reader, cut=1)


def test_only_the_completion_and_the_end_are_told():
    tokenizer = make_tokenizer("llama")
    [row] = write(tokenizer, 64, ["my card"], ["is lost"], "</s>")
    assert row.text == "my card\nis lost</s>" and row.size == len("is lost")
    ids = tokenizer(row.text)["input_ids"]
    told = [(i, token) for i, token in zip(ids, row.told.tolist(), strict=True)]
    names = tokenizer.convert_ids_to_tokens([token for _, token in told if token != NO_LABEL])
    assert names == ["is", "lost", "</s>"] and all(i == token for i, token in told if token != NO_LABEL)


def test_what_is_too_long_loses_the_beginning_of_its_prompt():
    tokenizer = make_tokenizer("llama")
    [row] = write(tokenizer, 16, [" ".join(["card"] * 40) + " please"], ["is lost"], "</s>")
    assert len(row.told) <= 16 and row.text.endswith("card please\nis lost</s>")
    assert (row.told != NO_LABEL).sum() == 3
    [cut] = write(tokenizer, 16, ["why"], [" ".join(["money"] * 40)], "</s>")
    assert len(cut.told) == 16 and cut.size < 40 * 6  # only what is read counts


def test_a_chat_is_written_by_the_models_template_else_line_by_line():
    chat = json.dumps([{"role": "user", "content": "hi"}])
    tokenizer = make_tokenizer("llama")
    assert as_read(tokenizer, chat) == "user:\nhi\nassistant:\n"
    tokenizer.chat_template = template_of(tokenizer)  # what is saved writes the same
    assert as_read(tokenizer, chat) == "user:\nhi\nassistant:\n"
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    assert as_read(tokenizer, chat) == "<user>hi<assistant>"
    assert as_read(tokenizer, "hi") == "hi\n" and as_read(tokenizer, "hi ") == "hi "


def test_a_template_that_does_not_begin_a_text_does_so_where_it_is_saved():
    """The tokenizer begins it in training, and no pipeline lets it do so to what a template writes."""
    tokenizer, chat = make_tokenizer("llama"), [{"role": "user", "content": "why"}]
    for own in ("{{ messages[0].content }}", "{{ bos_token }}{{ messages[0].content }}", "<s>{{ messages[0].content }}"):
        tokenizer.chat_template = own
        read = tokenizer(as_read(tokenizer, json.dumps(chat)))["input_ids"]
        assert read == tokenizer("why")["input_ids"]
        tokenizer.chat_template = template_of(tokenizer)
        assert tokenizer.apply_chat_template(chat)["input_ids"] == read
    tokenizer.chat_template = {"default": "{{ messages[0].content }}", "tools": "<s>"}
    assert template_of(tokenizer) == {"default": "{{ bos_token }}{{ messages[0].content }}", "tools": "<s>"}


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("raise_exception('System role not supported')", "System role not supported"),
        ("messages[0].content + 1", 'can only concatenate str (not "int") to str'),  # a fault of the template itself
    ],
)
def test_a_chat_that_the_template_refuses_is_told_in_one_sentence(what, why):
    tokenizer = make_tokenizer("llama")
    tokenizer.name_or_path = "gemma"
    tokenizer.chat_template = "{% if messages[0].role == 'system' %}{{ " + what + " }}{% endif %}"
    with pytest.raises(SourceError) as refused:
        as_read(tokenizer, json.dumps([{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]))
    assert str(refused.value) == (
        f"The chat template of 'gemma' refuses a chat of the roles system, user ({why}). Bring such chats into the form "
        "that it takes or leave them out, or choose another source."
    )


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_prompt_that_is_too_long_keeps_its_end_behind_what_opens_a_text(name):
    tokenizer = make_tokenizer(name)
    around = len(tokenizer("")["input_ids"])
    [long, short] = shortened(tokenizer, ["card " * 40 + "please", "why"], [10, 10])
    assert (long, short) == ("card " * (9 - around) + "please", "why")
    assert shortened(tokenizer, ["x" * 40], [1]) == ["x"]


def test_chats_that_are_too_long_are_compared_by_their_ends(reader):
    chat = json.dumps([{"role": "user", "content": "card money film " * 30}])
    [found] = untouched(job_of(reader)).fitting([chat])
    assert found.endswith("card money film \nassistant:\n") and len(found) < len(chat) / 3


@pytest.mark.parametrize("prompt", ["why is it late", json.dumps([{"role": "user", "content": "why is it late"}])])
def test_a_prompt_is_read_the_same_by_itself_as_before_its_completion(prompt):
    """Pieces of bytes hold the space before a word: a prompt that ended with one would be read otherwise than in training."""
    tokenizer = learn_vocabulary(["the card is late", "why is the card late"] * 4, ends=False)
    alone, whole = (tokenizer(as_read(tokenizer, prompt) + rest)["input_ids"] for rest in ("", "the card</s>"))
    assert whole[: len(alone)] == alone and len(whole) > len(alone)


def test_costs_are_those_of_the_stock_class(reader):
    """Row by row through the causal class of transformers, its own loss over the same tokens."""
    model = untouched(job_of(reader))
    found = model.compared(rows_of())
    whole = AutoModelForCausalLM.from_pretrained(reader.backbone.source.folder).eval()
    for i, row in enumerate(model.written(PROMPTS, ANSWERS)):
        ids = torch.tensor([reader.backbone.tokenizer(row.text)["input_ids"]])
        labels = torch.from_numpy(row.told)[None]
        with torch.inference_mode():
            mean = float(whole(input_ids=ids, labels=labels).loss)
        count = int((labels != NO_LABEL).sum())
        assert found[i, NATS] == pytest.approx(mean * count, rel=1e-4)
        assert (found[i, TOKENS], found[i, BYTES]) == (count, len(ANSWERS[i]))


@pytest.mark.parametrize("rung", ["lora", "partial", pytest.param("gradual", marks=pytest.mark.slow), "full"])
def test_training_makes_the_completions_likelier_and_leaves_the_source_as_it_was(reader, rung):
    before = copy.deepcopy(reader.backbone.module.state_dict())
    job = job_of(reader, epochs=30)
    tuned = get_strategy(rung, "generation").fit(job)
    assert tuned.compared(rows_of())[:, NATS].sum() < untouched(job).compared(rows_of())[:, NATS].sum()
    after = reader.backbone.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_full_training_moves_the_embeddings_and_the_output_layer_tied_or_not(reader, tmp_path):
    tied = bool(reader.backbone.module.config.tie_word_embeddings)
    tuned = get_strategy("full", "generation").fit(job_of(reader, epochs=1))
    before, layer = reader.backbone.module.get_input_embeddings().weight, output_layer(reader.backbone).weight
    embeddings = tuned.module.get_input_embeddings().weight
    assert not torch.equal(embeddings, before) and not torch.equal(tuned.head.weight, layer)
    assert torch.equal(tuned.head.weight, embeddings) is tied
    # Adam's steps are as long as the rate: warmed up and going down again, each weight has moved by no more than all of them together.
    steps = planned_steps("full", 4, job_of(reader, epochs=1).settings)
    assert 0 < (tuned.head.weight - layer).abs().max() <= 1.1 * 3e-4 * steps
    save_writing_model(tmp_path / "model", tuned, "# a card")
    again = headstart.load(tmp_path / "model")
    assert torch.equal(again.whole.get_output_embeddings().weight, tuned.head.weight)
    assert again.predict(list(PROMPTS)) == tuned.complete(PROMPTS)


def test_blocks_above_a_cut_leave_the_output_layer_as_it_is(reader):
    tuned = get_strategy("partial", "generation").fit(job_of(reader, epochs=1))
    assert torch.equal(tuned.head.weight, output_layer(reader.backbone).weight)


def test_gradual_unfreezing_is_training_above_one_cut_after_the_other(reader):
    job = replace(job_of(reader), cut=1)
    gradual = get_strategy("gradual", "generation").fit(job)
    blocks = reader.backbone.n_blocks
    cuts = range(blocks - 1, 0, -1)
    module = copy.deepcopy(reader.backbone.module)
    plan = schedule_of(job, max(1, planned_steps("gradual", len(job.rows), job.settings) // len(cuts)))
    plan = replace(plan, learning_rate=plan.learning_rate / 2)
    for cut in cuts:
        stage = tune_language(reader, job.rows, cut=cut, schedule=plan, module=module)
    assert blocks > 2 and gradual.cut == 1
    np.testing.assert_allclose(gradual.compared(rows_of())[:, NATS], stage.compared(rows_of())[:, NATS], rtol=1e-6)


def test_from_stored_activations_and_through_the_whole_model_training_is_the_same(reader):
    job = job_of(reader)
    stored, whole = (fit_language_adapters(job, stored=stored) for stored in (True, False))
    losses = [[point.train_loss for point in model.curve if point.train_loss is not None] for model in (stored, whole)]
    assert losses[0] and losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert stored.compared(rows_of())[:, NATS] == pytest.approx(whole.compared(rows_of())[:, NATS], abs=1e-3)


def test_some_prompts_of_those_that_are_judged_are_written_and_compared(reader):
    model = untouched(job_of(reader))
    said = model.answer(rows_of())
    assert list(said.answers) == complete(model.whole, reader.backbone.tokenizer, 64, PROMPTS, model.longest)
    assert (said.outputs[:, WRITTEN] == 1).all() and (said.outputs[:, [ROUGE, EXACT]] <= 1).all()


def test_rows_are_told_their_own_tokens_alone(reader):
    told, longest = told_rows(reader, rows_of())
    assert len(told.y) == told.sizes.sum() and longest <= 64
    assert (told.y != NO_LABEL).sum() == untouched(job_of(reader)).compared(rows_of())[:, TOKENS].sum()


def test_a_training_in_bfloat16_multiplies_by_the_output_layer_in_it_and_sums_in_float32(reader):
    told, _ = told_rows(reader, rows_of())
    made = collate(entering_of(reader, told, 1).__getitems__(range(len(told))))
    found = []
    for short in (False, True):
        trunk = Trunk(copy.deepcopy(reader.backbone.module), 1, reader.backbone.above, stored=True)
        model = NextToken(trunk, output_layer(reader.backbone), reader.backbone.above)
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            loss = model(**made)["loss"]
        assert loss.dtype is torch.float32 and (model._short is not None) is short
        loss.backward()
        found.append((float(loss.detach()), torch.cat([p.grad.flatten() for p in trunk.parameters() if p.grad is not None])))
    (exact, gradient), (near, other) = found
    assert near == pytest.approx(exact, rel=5e-3) and near != exact
    assert (other - gradient).norm() < 0.05 * gradient.norm()


@pytest.mark.parametrize("stored", [False, True])
def test_packed_rows_give_the_loss_and_the_gradients_of_padded_ones(reader, stored):
    told, _ = told_rows(reader, rows_of())
    entering = entering_of(reader, told, 1 if stored else 0)
    items = entering.__getitems__(range(len(told)))
    assert len({len(item["row"]) for item in items}) > 1  # so that there is padding
    found = []
    for batch in (collate, packed):
        module = copy.deepcopy(reader.backbone.module)
        trunk = Trunk(module, 1, reader.backbone.above, stored=stored)
        model = NextToken(trunk, output_layer(reader.backbone), reader.backbone.above)
        made = batch(items)
        loss = model(**made)["loss"]
        loss.backward()
        found.append((float(loss.detach()), [p.grad.clone() for p in trunk.restore().parameters() if p.grad is not None]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert len(found[0][1]) == len(found[1][1]) > 5
    for one, two in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-3)


def test_a_packed_text_sees_nothing_of_the_one_before(reader):
    told, _ = told_rows(reader, rows_of())
    items = entering_of(reader, told, 0).__getitems__([0, 1])
    trunk = Trunk(copy.deepcopy(reader.backbone.module), 0, reader.backbone.above, stored=False)
    both = packed(items)
    alone = packed(items[1:])
    size = len(items[0]["row"])
    with torch.inference_mode():
        whole = trunk(both["entering"], None, both["positions"])[0, size:]
        torch.testing.assert_close(whole, trunk(alone["entering"], None, alone["positions"])[0], atol=1e-5, rtol=1e-4)
        other = both["entering"].clone()
        other[0, :size] = other[0, :size].flip(0)
        torch.testing.assert_close(trunk(other, None, both["positions"])[0, size:], whole, atol=1e-5, rtol=1e-4)


def test_training_on_packed_rows_learns_what_training_on_padded_ones_does(reader):
    models = [fit_language_adapters(job_of(reader, pack=pack)) for pack in (False, True)]
    losses = [model.compared(rows_of())[:, NATS] for model in models]
    before = untouched(job_of(reader)).compared(rows_of())[:, NATS]
    assert losses[0].sum() < before.sum()
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-3)


def test_a_text_without_a_prompt_is_told_whole_in_pieces():
    tokenizer = make_tokenizer("gpt2")
    text = " ".join(["card", "lost", "money", "order"] * 12)
    end = tokenizer.eos_token
    written = write(tokenizer, 16, ["say", text, "card lost"], [" it", WHOLE, WHOLE], end)
    assert [piece.row for piece in written] == [0, *[1] * (len(written) - 2), 2] and len(written) > 4
    pieces = written[1:-1]
    assert "".join(piece.text for piece in pieces) == text + end and all(len(piece.told) <= 16 for piece in pieces)
    for piece in pieces:
        assert piece.told[0] == NO_LABEL and (piece.told[1:] != NO_LABEL).all()
        ids = tokenizer(piece.text)["input_ids"]
        assert piece.told[1:].tolist() == ids[1:]
        begin = len(piece.text) - len(piece.text.lstrip()) + len(piece.text.split()[0])  # the first token is a word here
        assert piece.size == len(piece.text.removesuffix(end)) - begin
    assert as_read(tokenizer, "the card", continues=True) == "the card"


def test_the_cost_of_a_text_in_pieces_is_the_sum_over_them(reader):
    text = " ".join(["card", "lost", "money", "order"] * 30)
    rows = rows_of((text, "my card is lost"), (WHOLE, WHOLE))
    model = untouched(Job(rows, np.arange(2), [], make_settings({"task": "generation"}), 0, reader))
    assert model.continues
    outputs = model.answer(rows).outputs
    pieces = model.written([text], [WHOLE])
    assert len(pieces) > 1
    whole = model.whole
    total = 0.0
    for piece in pieces:
        ids = torch.tensor([reader.backbone.tokenizer(piece.text)["input_ids"]])
        with torch.inference_mode():
            total += float(torch.nn.functional.cross_entropy(whole(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="sum"))
    assert outputs[0, NATS] == pytest.approx(total, rel=1e-4)
    assert outputs[0, TOKENS] == sum(len(piece.told) - 1 for piece in pieces)
    assert not outputs[:, WRITTEN].any()


def test_however_long_completions_are_a_prompt_keeps_the_room_that_it_had_in_training(reader, monkeypatch):
    rows = rows_of(answers=(" ".join(["money"] * 60), *ANSWERS[1:]))
    _, longest = told_rows(reader, rows)
    assert longest == 32  # half of the 64 tokens that are read
    model = untouched(job_of(reader))
    prompts = [" ".join([word] + ["card"] * 20) for word in ("why", "what")]
    assert replace(model, longest=longest).fitting(prompts) == prompts
    heard, whole, tokenizer = [], model.whole, reader.backbone.tokenizer
    usual = whole.generate
    monkeypatch.setattr(whole, "generate", lambda *, input_ids, **rest: heard.append(input_ids.shape) or usual(input_ids, **rest))
    complete(whole, tokenizer, 64, prompts, longest)
    assert heard[0] == (2, len(tokenizer(f"{prompts[0]}\n")["input_ids"]))
