"""Translators: what they begin from, how they are trained over stored and running encoders, and what they write."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import EncoderDecoderModel, MarianMTModel

from headstart.backbone.backbone import load_backbone
from headstart.backbone.reading import Reader
from headstart.backbone.store import Store
from headstart.errors import SourceError
from headstart.settings import make_settings
from headstart.sources.resolve import resolve_source
from headstart.strategies import resuming, training, translation_start, translation_training
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job, get_strategy
from headstart.strategies.model import NO_LABEL, collate
from headstart.strategies.translation import OUTPUTS, longest_of, most_of, source_ids, target_ids, translate
from headstart.strategies.translation_start import begin, from_nothing, joined, renew, require_translator
from headstart.strategies.translation_training import Translating, fit_from_nothing, fit_translation
from headstart.strategies.vocabulary import extended, learn_again
from tiny import PARENTS, WORDS, make_parent, make_pieces, make_tiny

TEXTS = tuple(" ".join(WORDS[i : i + 2 + i % 3]) for i in range(12))
TRUE = tuple(" ".join(reversed(text.split())) + " ü" for text in TEXTS)


def rows_of(texts=TEXTS, true=TRUE):
    y = np.empty(len(true), dtype=object)
    y[:] = true
    return Rows(tuple(texts), y, 1, kinds=np.zeros(len(true), dtype=np.int64))


def job_of(reader=None, rows=None, **settings):
    rows = rows or rows_of()
    made = make_settings({"task": "translation", "precision": "float32", **settings})
    return Job(rows, np.arange(len(rows)), [], made, 0, reader=reader)


def reader_of(folder, store=None):
    return Reader(load_backbone(resolve_source(str(folder)), 40, decoder=True), store, 4096)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("parents")
    made = {name: make_parent(place / name, name) for name in PARENTS}
    return made | {"bert": make_tiny(place / "bert", "bert")}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(translation_training, "_FEWEST", 6)
    monkeypatch.setattr(translation_training, "_PASSES", 1)
    for name, size in (("WIDTH", 64), ("INNER", 128), ("BLOCKS", 1)):
        monkeypatch.setattr(translation_start, name, size)


# --- what is read ---


@pytest.mark.parametrize("name", [*PARENTS, "bert"])
def test_the_encoder_is_the_backbone_and_reads_as_it_does_in_the_whole(name, folders):
    reader = reader_of(folders[name])
    assert reader.backbone.n_blocks == (2 if name != "bert" else 4)
    start = begin(job_of(reader))
    states = reader.activations(list(TEXTS), reader.backbone.n_blocks)
    encoder = start.whole.get_encoder().eval()
    for text, found in zip(TEXTS, states, strict=True):
        ids = torch.tensor(source_ids(start.reads, [text], 40))
        with torch.inference_mode():
            wanted = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].numpy()
        np.testing.assert_allclose(found, wanted, atol=2e-6)


@pytest.mark.parametrize("name", [*PARENTS, "bert"])
def test_a_stored_encoder_gives_the_loss_of_a_running_one(name, folders, tmp_path):
    with Store(tmp_path, 2**24) as store:
        reader = reader_of(folders[name], store)
        start = begin(job_of(reader))
        whole = start.whole.eval()
        told = target_ids(start.writes, TRUE)
        ids, states = source_ids(start.reads, TEXTS, 40), reader.activations(list(TEXTS), reader.backbone.n_blocks)
        assert len({len(row) for row in ids}) > 1  # so that there is padding
        losses, gradients = [], []
        learns = [p for n, p in whole.named_parameters() if id(p) not in set(map(id, whole.get_encoder().parameters()))]
        for frozen, rows in ((False, [np.array(row) for row in ids]), (True, states)):
            items = [{"row": row, "label": np.array(label)} for row, label in zip(rows, told, strict=True)]
            model = Translating(whole, frozen, learns, frozenset()).eval()
            loss = model(**collate(items))["loss"]
            loss.backward()
            losses.append(float(loss.detach()))
            gradients.append([p.grad.clone() for p in learns if p.grad is not None])
            whole.zero_grad()
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
        for one, two in zip(*gradients, strict=True):
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-3)


def test_the_loss_is_that_of_the_stock_class_with_the_truth_smoothed(folders):
    reader = reader_of(folders["marian"])
    start = begin(job_of(reader))
    whole = start.whole.eval()
    told = target_ids(start.writes, TRUE)
    items = [{"row": np.array(row), "label": np.array(label)} for row, label in zip(source_ids(start.reads, TEXTS, 40), told, strict=True)]
    batch = collate(items)
    with torch.inference_mode():
        found = float(Translating(whole, False, [], frozenset()).eval()(**batch)["loss"])
        logits = whole(input_ids=batch["entering"], attention_mask=batch["mask"], labels=batch["labels"]).logits  # it shifts them itself
    logs, some = logits.log_softmax(dim=-1), batch["labels"] != NO_LABEL
    true = logs.gather(2, batch["labels"].clamp(min=0)[..., None])[..., 0]
    assert found == pytest.approx(float(-(0.9 * true + 0.1 * logs.mean(dim=-1))[some].mean()), rel=1e-5)


@pytest.mark.parametrize("name", PARENTS)
def test_no_translation_is_longer_than_what_the_decoder_has_places_for(name, folders):
    reader = reader_of(folders[name])
    fitted = get_strategy("full", "translation").fit(job_of(reader, rows_of(true=["card my " * 100] * len(TEXTS))))
    most = 256 if name == "t5" else 64
    assert (most_of(fitted.whole), fitted.longest) == (most, most)
    assert len(fitted.translate(TEXTS[:2])) == 2


# --- what learns ---


@pytest.mark.parametrize("name", [*PARENTS, "bert"])
@pytest.mark.parametrize("strategy", ["partial", "blocks", "full"])
def test_what_is_frozen_stays_and_the_rest_learns(name, strategy, folders, tmp_path):
    with Store(tmp_path, 2**24) as store:
        reader = reader_of(folders[name], store)
        if strategy == "blocks" and not get_strategy("blocks", "translation").suits(job_of(reader)):
            assert name == "bert"
            return
        before = {n: p.clone() for n, p in begin(job_of(reader)).whole.state_dict().items()}
        model = fit_translation(job_of(reader), strategy)
        encoder = {n for n, p in model.whole.named_parameters() if id(p) in set(map(id, model.whole.get_encoder().parameters()))}
        embeddings = {n for n in before if "shared" in n or "embed_tokens" in n or "word_embeddings" in n or "lm_head" in n}
        changed = {n for n, p in model.whole.named_parameters() if not torch.equal(p, before[n])}
        frozen = {"partial": encoder, "blocks": embeddings, "full": set()}[strategy]
        assert not changed & frozen
        never = {n for n in before if "pooler" in n}
        # Biases of keys change nothing of what attention gives, so that they hardly learn; Marian's positions are sines.
        never |= {n for n in before if name == "marian" and "embed_positions" in n}
        still = {n for n, _ in model.whole.named_parameters()} - changed - frozen - never
        assert all("bias" in n or "relative" in n for n in still), still
        assert all(not p.requires_grad for p in model.whole.parameters())


@pytest.mark.parametrize(("name", "ways"), [("marian", ["partial", "blocks", "full"]), ("bert", ["partial", "full"])])
def test_gradual_unfreezing_frees_more_at_each_stage_and_goes_on_from_the_last(name, ways, folders, tmp_path, monkeypatch):
    stages = []

    def watched(model, entering, strata, plan):
        before = {key: value.clone() for key, value in model.whole.state_dict().items()}
        curve = training.run_training(model, entering, strata, plan)
        after = {key: value.clone() for key, value in model.whole.state_dict().items()}
        stages.append((model.frozen, plan.steps, before, after))
        return curve

    monkeypatch.setattr(translation_training, "run_training", watched)
    with Store(tmp_path / "store", 10**8) as store:
        reader = reader_of(folders[name], store)
        job = job_of(reader)
        assert get_strategy("gradual", "translation").suits(job)
        found = get_strategy("gradual", "translation").fit(job)
        direct = [fit_translation(job, way, 1) for way in ways]
    assert not found.stored and [point.step for point in found.curve] == sorted({point.step for point in found.curve})
    own, single = stages[: len(ways)], stages[len(ways) :]
    assert [frozen for frozen, *_ in own] == [way == "partial" for way in ways]
    assert [steps for _, steps, *_ in own] == [6 // len(ways)] * len(ways)
    for (_, _, _, left), (_, _, begun, _) in itertools.pairwise(own):
        assert all(torch.equal(left[key], begun[key]) for key in left)
    for (_, _, begun, left), (_, _, before, after) in zip(own, single, strict=True):  # what moves is what moves in the rung by itself
        moved, wanted = ({key for key in one if not torch.equal(one[key], two[key])} for one, two in ((begun, left), (before, after)))
        assert moved == wanted
    assert len(direct) == len(ways) and all(torch.equal(found.whole.state_dict()[key], own[-1][3][key]) for key in own[-1][3])


def test_random_weights_learn_faster_than_a_sources(folders):
    backbone = reader_of(folders["bert"]).backbone
    whole = joined(copy.deepcopy(backbone.module), make_pieces("BPE"), 0)
    assert whole.enc_to_dec_proj.weight.shape == (64, 32)
    model = Translating(whole, False, list(whole.parameters()), translation_training._beside_the_encoder(whole))
    plan = translation_training._schedule(job_of(), "full")
    rates = {id(parameter): rate for parameter, rate, _ in model.learning(plan)}
    assert {rates[id(parameter)] for parameter in whole.encoder.parameters()} == {plan.learning_rate}
    random = [*whole.decoder.parameters(), *whole.enc_to_dec_proj.parameters()]
    assert {rates[id(parameter)] for parameter in random} == {plan.head_rate} and plan.head_rate > plan.learning_rate


def test_the_same_seed_gives_the_same_translator(folders):
    first, again, other = (fit_from_nothing(Job(**{**vars(job_of()), "seed": seed})) for seed in (3, 3, 4))
    weights = [model.whole.model.encoder.layers[0].fc1.weight for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("name", [*(pytest.param(name, marks=pytest.mark.slow) for name in PARENTS), "bert", None])
def test_a_training_that_was_stopped_goes_on_to_the_same_translator(name, folders, tmp_path, monkeypatch):
    """Of parents, of a new decoder on an encoder, and from nothing; dropout takes the random numbers that were next."""
    monkeypatch.setattr(resuming, "EVERY", 0.0)
    monkeypatch.setattr(resuming, "_SHARE", float("inf"))
    stop = None

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == stop:
            raise KeyboardInterrupt

    monkeypatch.setattr(training._Watch, "on_step_begin", on_step_begin, raising=False)

    def trained(kept):
        job = replace(job_of(None if name is None else reader_of(folders[name])), kept=kept)
        return fit_from_nothing(job) if name is None else fit_translation(job, "full")

    whole, stop = trained(None), 4
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path)
    stop = None
    again = trained(tmp_path)
    np.testing.assert_allclose([p.train_loss for p in again.curve], [p.train_loss for p in whole.curve], rtol=1e-5)
    outputs = [model.answer(rows_of()).outputs for model in (again, whole)]
    np.testing.assert_allclose(*outputs, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_few_pairs_are_learnt_from_nothing_and_from_an_encoder(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(translation_training, "_FEWEST", 300)
    monkeypatch.setattr(translation_training, "_DROPOUT", 0.0)
    rows, fast = rows_of(TEXTS[:4], TRUE[:4]), {"learning_rate": 1e-3}
    with Store(tmp_path, 2**24) as store:
        reader = reader_of(folders["bert"], store)
        for model in (fit_from_nothing(job_of(None, rows, **fast)), fit_translation(job_of(reader, rows, **fast), "partial")):
            said = model.answer(rows)
            assert said.answers == TRUE[:4]
            assert said.outputs.shape == (4, OUTPUTS)
            assert model.curve[0].train_loss > model.curve[-1].train_loss
        assert model.stored and reader.read == 4  # each text once, in training and in translating


# --- pieces ---


@pytest.mark.parametrize("name", PARENTS)
@pytest.mark.parametrize("learn", [extended, learn_again])
def test_a_renewed_model_says_of_shared_pieces_what_it_said(name, learn, folders):
    whole = begin(job_of(reader_of(folders[name]))).whole
    old = make_pieces("BPE")
    new = learn(old, [f"{text} {true}" for text, true in zip(TEXTS, TRUE, strict=True)] * 3)
    before, now = old.get_vocab(), new.get_vocab()
    shared = sorted(set(before) & set(now))
    assert 20 < len(shared) < len(now)
    ids = [before[piece] for piece in shared[:5]]
    first = copy.deepcopy(whole)
    renew(whole, old, new, 0)
    with torch.inference_mode():
        wanted = first(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([ids])).logits[0, :, [before[p] for p in shared]]
        here = torch.tensor([[now[piece] for piece in shared[:5]]])
        found = whole(input_ids=here, decoder_input_ids=here).logits
    torch.testing.assert_close(found[0, :, [now[p] for p in shared]], wanted, atol=1e-5, rtol=1e-4)
    assert found.shape[-1] == max(now.values()) + 1 == whole.config.vocab_size
    assert whole.get_output_embeddings().weight is whole.get_input_embeddings().weight


@pytest.mark.parametrize("vocabulary", ["extend", "new"])
def test_special_tokens_go_by_their_new_numbers_and_the_child_writes_signs_that_the_parent_lacked(vocabulary, folders):
    reader = reader_of(folders["marian"])
    model = fit_translation(job_of(reader, vocabulary=vocabulary), "full")
    config = model.whole.config
    assert model.writes.convert_ids_to_tokens([config.pad_token_id, config.eos_token_id]) == ["<pad>", "</s>"]
    assert model.writes.convert_ids_to_tokens(config.decoder_start_token_id) == "<pad>"
    assert model.writes is model.reads and not model.stored
    assert len(model.writes) == config.vocab_size
    suits = get_strategy("partial", "translation").suits
    assert not suits(job_of(reader, vocabulary=vocabulary)) and suits(job_of(reader))


def test_a_translator_writes_as_it_is_trained_and_not_as_its_parent_was_told_to(folders, tmp_path):
    whole = MarianMTModel.from_pretrained(folders["marian"])
    whole.generation_config.forced_bos_token_id, whole.generation_config.min_length = 5, 30
    whole.generation_config.bad_words_ids = [[len(make_pieces("BPE")) - 1]]
    whole.save_pretrained(tmp_path)
    make_pieces("BPE").save_pretrained(tmp_path)
    start = begin(job_of(reader_of(tmp_path), vocabulary="new"))
    settings = start.whole.generation_config
    assert (settings.forced_bos_token_id, settings.min_length, settings.bad_words_ids) == (None, None, [[start.writes.pad_token_id]])
    ids = settings.decoder_start_token_id, settings.eos_token_id, settings.pad_token_id
    assert start.writes.convert_ids_to_tokens(list(ids)) == ["<pad>", "</s>", "<pad>"]
    assert len(translate(start.whole, start.reads, start.writes, TEXTS[:2], 40, 4)) == 2


def test_dropout_is_set_on_the_shares_of_attention_only_where_it_is_a_layer(folders):
    marian = begin(job_of(reader_of(folders["marian"]))).whole
    bert = joined(copy.deepcopy(reader_of(folders["bert"]).backbone.module), make_pieces("BPE"), 0).decoder.bert
    before = marian.model.decoder.layers[0].encoder_attn.dropout
    for whole in (marian, bert):
        translation_training.set_dropout(whole, 0.25)
    layer = marian.model.decoder.layers[0]
    assert (layer.dropout, layer.encoder_attn.dropout) == (0.25, before) and before != 0.25
    assert bert.encoder.layer[0].output.dropout.p == bert.encoder.layer[0].attention.self.dropout.p == 0.25


# --- what is written ---


def test_texts_are_translated_as_one_by_one_and_blank_ones_stay_blank(folders):
    start = begin(job_of(reader_of(folders["marian"])))
    texts = [*TEXTS, "", TEXTS[0], "the"]
    found = translate(start.whole, start.reads, start.writes, texts, 40, 9)
    assert found[-3] == "" and found[-2] == found[0]
    for text, said in zip(texts, found, strict=True):
        if text:
            assert translate(start.whole, start.reads, start.writes, [text], 40, 9) == [said]
            ids = start.reads(text, return_tensors="pt")
            stock = start.whole.generate(
                **{n: ids[n] for n in ("input_ids", "attention_mask")}, num_beams=5, early_stopping=True, max_new_tokens=9
            )
            assert start.writes.decode(stock[0], skip_special_tokens=True).strip() == said


def test_of_many_held_out_rows_some_are_compared(folders, monkeypatch):
    monkeypatch.setattr("headstart.strategies.translation.MOST_COMPARED", 5)
    model = fit_from_nothing(job_of())
    outputs = model.compared(rows_of())
    assert np.flatnonzero(~np.isnan(outputs[:, 0])).tolist() == [0, 3, 6, 9]
    assert not np.isnan(outputs[[0, 3, 6, 9]]).any() and np.isnan(outputs[1]).all()


def test_targets_end_as_texts_do_and_begin_with_nothing_of_their_own(folders):
    tokenizer = make_pieces("BPE")
    assert target_ids(tokenizer, ["my card", ""]) == [tokenizer("my card")["input_ids"], [1]]
    assert [len(row) for row in target_ids(tokenizer, ["card " * 100], most=10)] == [10]
    assert target_ids(tokenizer, ["card " * 100], most=10)[0][-1] == 1
    bert = reader_of(folders["bert"]).backbone.tokenizer  # [CLS] ... [SEP], and no token that it calls an end
    [row] = target_ids(bert, ["my card"])
    assert row[-1] == bert.sep_token_id and bert.cls_token_id not in row
    assert longest_of([[1]] * 3) == 8 and longest_of([[1] * 100]) == 130 and longest_of([[1] * 1000]) == 256


def test_a_translator_from_nothing_has_a_place_for_every_token_that_is_read():
    assert from_nothing(rows_of(), 0, 1024).whole.config.max_position_embeddings == 1024
    assert from_nothing(rows_of(), 0, 64).whole.config.max_position_embeddings == 512


def test_new_decoders_stand_over_any_encoder(folders):
    backbone = reader_of(folders["bert"]).backbone
    writes = make_pieces("BPE")
    whole = joined(copy.deepcopy(backbone.module), writes, 0)
    assert isinstance(whole, EncoderDecoderModel) and isinstance(from_nothing(rows_of(), 0, 64).whole, MarianMTModel)
    assert torch.equal(
        whole.decoder.bert.embeddings.word_embeddings.weight,
        joined(copy.deepcopy(backbone.module), writes, 0).decoder.bert.embeddings.word_embeddings.weight,
    )


# --- what is refused ---


def test_an_encoder_decoder_is_for_translation_alone(folders):
    with pytest.raises(SourceError) as error:
        load_backbone(resolve_source(str(folders["marian"])), 40)
    assert str(error.value) == (
        f"The source {str(folders['marian'])!r} is an encoder-decoder (marian), which is transferred from for translation alone. "
        "Choose an encoder or a causal model."
    )


def test_a_parent_that_ends_no_text_is_refused(folders):
    reader = reader_of(folders["marian"])
    require_translator(reader.backbone)
    reader.backbone.tokenizer.eos_token = None
    with pytest.raises(SourceError) as error:
        require_translator(reader.backbone)
    assert str(error.value) == (
        f"The tokenizer of {str(folders['marian'])!r} has no token that ends a text, so no translation would end; choose another source."
    )
