"""Whole runs on translations: read, judged, saved, opened, translated with, gone on from."""

import csv
import json
import random
from dataclasses import replace

import numpy as np
import pytest
import sacrebleu
import torch
from safetensors.numpy import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import headstart
from headstart import cli
from headstart.backbone.backbone import load_backbone
from headstart.backbone.reading import Reader
from headstart.backbone.store import Store
from headstart.errors import SettingsError, SourceError
from headstart.judge.verdict import ranking_footing
from headstart.ranking.rank import rank
from headstart.ranking.task import make_task
from headstart.report.build import build_report
from headstart.runs import open_run
from headstart.settings import make_settings
from headstart.sources.resolve import resolve_source
from headstart.strategies import translation_brief, translation_start, translation_training
from headstart.strategies.ladder import Job
from headstart.strategies.translation_training import fit_translation
from headstart.target import read_target
from small import bare
from tiny import WORDS, make_causal, make_parent, make_tiny


def pairs(n, seed):
    """n different texts, each with its words turned round and a sign that no word has."""
    rng = random.Random(seed)
    rows = {}
    while len(rows) < n:
        words = rng.sample(WORDS, rng.randint(2, 4))
        rows.setdefault(" ".join(words), "ü " + " ".join(reversed(words)))
    return list(rows.items())


@pytest.fixture(scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (("WIDTH", 32), ("INNER", 64), ("BLOCKS", 1)):
            patch.setattr(translation_start, name, size)
        patch.setattr(translation_training, "_FEWEST", 8)
        patch.setattr(translation_training, "_PASSES", 1)
        yield


@pytest.fixture(scope="module")
def task(tmp_path_factory, small):
    folder = tmp_path_factory.mktemp("translation")
    make_tiny(folder / "source", "bert")
    make_parent(folder / "parent", "marian")
    for name, rows in (("train", pairs(40, 1)), ("test", pairs(12, 2))):
        with (folder / f"{name}.jsonl").open("w") as file:
            file.writelines(json.dumps({"translation": {"en": one, "de": two}}) + "\n" for one, two in rows)
    return folder


def fit(task, **settings):
    values = {"source": str(task / "source"), "test": str(task / "test.jsonl"), "store": str(task / "store"), "resamples": 100, "epochs": 1}
    values |= {"inner_folds": 2, "out": str(task / "run"), "learning_rate": 1e-3}
    return headstart.fit(str(task / "train.jsonl"), **(values | settings))


@pytest.fixture(scope="module")
def run(task):
    return fit(task, strategy=("scratch", "partial"))


def test_the_task_is_recognised_and_both_scores_are_told(run):
    results = run.results
    assert (results.task, results.metric) == ("translation", "bleu")
    assert list(results.scores) == ["bleu", "chrf"]
    assert {trial.name for trial in results.trials} == {"scratch", "partial"}
    names = {results.winner.name, results.opponent.name} if results.winner.transfers else {results.winner.name}
    assert "scratch" in names
    assert len(results.shown) == 12 and all(row.truth.startswith("ü ") for row in results.shown)
    assert [row.score for row in results.shown] == sorted(row.score for row in results.shown)
    page = build_report(results)
    assert "Translations beside the true ones" in page and "tok:13a|smooth:exp" in page
    assert "tok:13a|smooth:exp" in (run.folder / "model" / "README.md").read_text()


@pytest.mark.slow
def test_the_stock_classes_translate_as_headstart_does(task):
    for strategy, out in (("partial", "alone"), ("scratch", "nothing")):
        run = fit(task, strategy=strategy, out=str(task / out))
        texts = [text for text, _ in pairs(4, 3)]
        said = headstart.load(run.folder).predict([*texts, ""])
        assert said[-1] == "" and run.model.predict(texts) == said[:-1]
        place = run.folder / "model"
        model, reads = AutoModelForSeq2SeqLM.from_pretrained(place), AutoTokenizer.from_pretrained(place)
        assert (place / "target_tokenizer").is_dir() is (strategy == "partial")
        writes = AutoTokenizer.from_pretrained(place / "target_tokenizer") if strategy == "partial" else reads
        for text, expected in zip(texts, said, strict=False):
            read = reads(text, return_tensors="pt")
            with torch.inference_mode():
                found = model.generate(input_ids=read["input_ids"], attention_mask=read["attention_mask"])
            assert writes.decode(found[0], skip_special_tokens=True).strip() == expected


def test_every_row_of_a_file_gets_its_translation(run, task, capsys):
    rows = pairs(5, 4)
    with (task / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("nr", "en"), *enumerate([one for one, _ in rows]), (9, "")])
    assert cli.main(["predict", str(run.folder), str(task / "new.csv"), "--out", str(task / "said.csv")]) == 0
    with (task / "said.csv").open() as file:
        found = list(csv.DictReader(file))
    assert [row["prediction"] for row in found] == [*headstart.load(run.folder).predict([one for one, _ in rows]), ""]
    capsys.readouterr()


@pytest.mark.parametrize(
    "vocabulary", ["extend", pytest.param("keep", marks=pytest.mark.slow), pytest.param("new", marks=pytest.mark.slow)]
)
def test_a_child_goes_on_from_a_parent(task, vocabulary):
    run = fit(task, source=str(task / "parent"), strategy="full", vocabulary=vocabulary, out=str(task / f"child_{vocabulary}"))
    config = json.loads((run.folder / "model" / "config.json").read_text())
    parent = json.loads((task / "parent" / "config.json").read_text())
    size = {"keep": 0, "extend": 1, "new": -1}[vocabulary]
    assert (config["vocab_size"] > parent["vocab_size"]) - (config["vocab_size"] < parent["vocab_size"]) in (size, abs(size))
    assert config["model_type"] == "marian"
    with pytest.raises(SourceError, match="was taught 40 of these 40 rows"):
        fit(task, source=str(run.folder), strategy="full", out=str(task / f"refused_{vocabulary}"))
    # The child is a parent in its turn: the same texts in a third language tell nothing of what is asked.
    rows = [json.dumps({"en": one, "fr": two[::-1]}) for one, two in pairs(40, 1)]
    (task / "french.jsonl").write_text("\n".join(rows))
    settings = {"source": str(run.folder), "strategy": "full", "store": str(task / "store"), "resamples": 100, "epochs": 1}
    again = headstart.fit(str(task / "french.jsonl"), outer_folds=2, out=str(task / f"grandchild_{vocabulary}"), **settings)
    assert again.results.winner.source == str(run.folder)


@pytest.mark.slow
def test_every_rung_of_a_parent_is_on_the_ladder_and_a_run_goes_on(task, capsys):
    arguments = ["fit", str(task / "train.jsonl"), "--test", str(task / "test.jsonl"), "--source", str(task / "parent")]
    arguments += ["--store", str(task / "store"), "--inner-folds", "2", "--epochs", "1", "--resamples", "100", "--out", str(task / "all")]
    with bare():
        assert cli.main(arguments) == 0
    results = open_run(task / "all").results
    assert {trial.name for trial in results.trials} == {"scratch", "partial", "blocks", "full"}
    assert cli.main(arguments) == 0
    assert "finished already" in capsys.readouterr().err


@pytest.mark.slow
def test_parents_are_ranked_by_a_short_training(task, tmp_path, monkeypatch):
    """The score is sacreBLEU's chrF++ over what a training on the first fold translates of what the fold holds out."""
    monkeypatch.setattr(translation_brief, "STEPS", 120)
    make_causal(tmp_path / "causal", "gpt2")
    sources = [str(task / "parent"), str(task / "source"), str(tmp_path / "causal")]
    asked = {"source": sources, "test": str(task / "test.jsonl"), "store": str(task / "store"), "learning_rate": 3e-3, "metric": "chrf"}
    settings = make_settings({**asked, "resamples": 100, "precision": "float32"})
    found = rank(str(task / "train.jsonl"), settings)
    assert (found.task, found.metric) == ("translation", "chrf")
    scores = {source.name: source.probe for source in found.sources}
    assert set(scores) == set(sources)
    assert [score.value for score in scores.values()] == sorted((score.value for score in scores.values()), reverse=True)
    assert all(source.predicted.value == pytest.approx(source.probe.value) for source in found.sources)
    assert all(source.why.startswith("after a short training it has ") for source in found.sources)
    assert ranking_footing(found).startswith(
        "The chrF++ of each source after a short training, with 95 % intervals; from 40 training rows."
    )

    asked = replace(settings, task="translation")
    target = read_target(str(task / "train.jsonl"), asked)
    ranked = make_task(target, asked)
    train, held = ranked.folds[0]
    with Store(task / "store", 10**9) as store:
        backbone = load_backbone(resolve_source(sources[0]), settings.max_length, decoder=True)
        job = Job(ranked.rows.take(train), ranked.groups[train], [], asked, settings.seed, Reader(backbone, store, settings.batch_tokens))
        said = fit_translation(job, "partial", 120).translate([ranked.rows.texts[i] for i in held], beams=1)
    expected = sacrebleu.corpus_chrf(said, [[ranked.rows.y[i] for i in held]], word_order=2).score
    assert scores[sources[0]].n == len(held) and scores[sources[0]].value == pytest.approx(expected, abs=1e-6) and expected > 0


def test_a_rung_that_does_not_suit_its_source_is_refused(task):
    with pytest.raises(SettingsError) as error:
        fit(task, strategy="blocks", out=str(task / "no"))
    assert str(error.value) == f"blocks (--strategy) cannot learn from {task / 'source'}; name another source or rung."


def test_a_parent_is_refused_for_other_tasks(task, tmp_path):
    rows = "".join(f"{text},{'ab'[i % 2]}\n" for i, (text, _) in enumerate(pairs(40, 5)))
    (tmp_path / "a.csv").write_text("text,label\n" + rows)
    with pytest.raises(SourceError) as error:
        headstart.fit(str(tmp_path / "a.csv"), source=str(task / "parent"), out=str(tmp_path / "run"))
    assert str(error.value) == (
        f"The source {str(task / 'parent')!r} is an encoder-decoder (marian), which is transferred from for translation alone. "
        "Choose an encoder or a causal model."
    )


def test_adapters_on_the_decoder_are_saved_by_themselves_and_merged(task):
    run = fit(task, source=str(task / "parent"), strategy="lora", vocabulary="keep", adapter=True, out=str(task / "adapted"))
    assert run.results.winner.strategy == "lora"
    folder = run.folder / "model" / "adapter"
    told = json.loads((folder / "adapter_config.json").read_text())
    assert told["modules_to_save"] is None and all(".decoder." in f".{name}" for name in told["target_modules"])
    # What is merged is the parent's weight and the product of the two matrices, by hand.
    learnt, whole = load_file(folder / "adapter_model.safetensors"), load_file(run.folder / "model" / "model.safetensors")
    before = load_file(task / "parent" / "model.safetensors")
    name = "model.decoder.layers.0.fc1"
    low, high = (learnt[f"base_model.model.{name}.lora_{part}.weight"] for part in "AB")
    np.testing.assert_allclose(whole[f"{name}.weight"], before[f"{name}.weight"] + 2.0 * high @ low, atol=1e-5)
    assert np.abs(high).max() > 0
    encoder = [name for name in before if ".encoder." in name]
    assert encoder and all(np.array_equal(before[name], whole[name]) for name in encoder)


def test_adapters_take_a_parent_and_its_own_pieces(task):
    with pytest.raises(SettingsError) as refused:
        fit(task, source=str(task / "parent"), strategy="lora", vocabulary="new", out=str(task / "not adapted"))
    assert str(refused.value) == (
        f"lora (--strategy) cannot learn from {task / 'parent'} with --vocabulary new; keep its pieces, or name another source or rung."
    )
