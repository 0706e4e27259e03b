"""Whole runs on prompts with completions: read, judged, saved, opened, written with."""

import csv
import json
import random

import numpy as np
import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

import headstart
from headstart import cli
from headstart.errors import SettingsError, SourceError
from headstart.judge.verdict import ranking_footing
from headstart.ranking.rank import rank
from headstart.ranking.table import table
from headstart.report.build import build_report
from headstart.report.ranking_page import build_page
from headstart.strategies import language_scratch
from small import bare
from tiny import WORDS, make_causal, make_tiny


def told(n, seed):
    """n different prompts; the completion names their first word twice."""
    rng = random.Random(seed)
    rows = {}
    while len(rows) < n:
        words = rng.sample(WORDS, 4)
        rows.setdefault(" ".join(words), f"{words[0]} {words[0]}")
    return list(rows.items())


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generation")
    make_causal(folder / "source", "llama")
    for name, rows in (("train", told(40, 1)), ("test", told(12, 2))):
        with (folder / f"{name}.jsonl").open("w") as file:
            file.writelines(json.dumps({"instruction": "Say it twice.", "input": prompt, "output": said}) + "\n" for prompt, said in rows)
    return folder


def fit(task, **settings):
    values = {"source": str(task / "source"), "test": str(task / "test.jsonl"), "store": str(task / "store"), "resamples": 100, "epochs": 6}
    values |= {"inner_folds": 2, "out": str(task / "run"), "strategy": ("untouched", "lora"), "learning_rate": 3e-3}
    return headstart.fit(str(task / "train.jsonl"), **(values | settings))


@pytest.fixture(scope="module")
def run(task):
    return fit(task)


def test_the_task_is_recognised_and_every_score_is_told(run):
    results = run.results
    assert (results.task, results.metric) == ("generation", "bits_per_byte")
    assert list(results.scores) == ["bits_per_byte", "perplexity", "rouge_l", "exact_match"]
    assert results.winner.name == "lora" and results.opponent.name == "untouched"
    assert results.gain.value == pytest.approx(results.opponent_scores["bits_per_byte"].value - results.scores["bits_per_byte"].value)
    assert len(results.shown) == 12 and all(row.truth for row in results.shown)
    assert results.shown[0].text.startswith("Say it twice.\n\n")
    assert "What it writes" in build_report(results)


def test_the_stock_pipeline_writes_what_headstart_does(run, task):
    prompts = [f"Say it twice.\n\n{prompt}" for prompt, _ in told(3, 5)]
    said = headstart.load(run.folder).predict(prompts)
    writer = pipeline("text-generation", str(run.folder / "model"), device="cpu")
    assert said == [writer(prompt + "\n", return_full_text=False)[0]["generated_text"] for prompt in prompts]
    with pytest.raises(TypeError) as refused:
        headstart.load(run.folder).predict(prompts[0])
    assert str(refused.value) == "predict takes a list of prompts; put the single prompt into a list."


def test_a_file_is_completed_by_the_command_line(run, task):
    out = task / "said.csv"
    assert cli.main(["predict", str(run.folder), str(task / "test.jsonl"), "--out", str(out)]) == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    said = headstart.load(run.folder).predict([f"{row['instruction']}\n\n{row['input']}" for row in rows])
    assert [row["prediction"] for row in rows] == said and len(rows) == 12


def test_a_run_is_no_source_for_its_own_rows(run, task):
    with pytest.raises(SourceError) as refused:
        fit(task, source=str(run.folder), out=str(task / "again"), strategy=("untouched",))
    assert "learnt from" in str(refused.value) or "taught" in str(refused.value)


def test_what_there_is_not_is_refused_in_one_sentence(task, tmp_path):
    make_tiny(tmp_path / "bert", "bert", blocks=2)
    with pytest.raises(SourceError) as refused:
        fit(task, source=str(tmp_path / "bert"), out=str(tmp_path / "run"))
    assert "looks ahead" in str(refused.value)
    with pytest.raises(SettingsError) as refused:
        fit(task, via=str(task / "test.jsonl"), out=str(tmp_path / "run2"), test=None)
    assert (
        str(refused.value) == "--via is not there for the task generation; learn the source task by itself, and name its run with --source."
    )


def test_a_source_whose_template_refuses_a_chat_is_left_out_where_there_are_others(task, tmp_path):
    make_causal(tmp_path / "fussy", "llama")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "fussy")
    tokenizer.chat_template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ messages[0].content }}"
    tokenizer.save_pretrained(tmp_path / "fussy")
    rows = [[{"role": "user", "content": prompt}, {"role": "assistant", "content": said}] for prompt, said in told(20, 3)]
    rows[7] = [{"role": "system", "content": "be brief"}, *rows[7]]
    data = tmp_path / "chats.jsonl"
    data.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    why = (
        f"The chat template of {str(tmp_path / 'fussy')!r} refuses a chat of the roles system, user (no system). Bring such chats into the "
        "form that it takes or leave them out, or choose another source."
    )
    values = {"source": (str(tmp_path / "fussy"), str(task / "source")), "out": str(tmp_path / "run"), "strategy": ("untouched",)}
    values |= {"store": str(task / "store"), "resamples": 100, "test_share": 0.3, "few_rows": 0, "inner_folds": 2}
    with bare():
        results = headstart.fit(str(data), **values).results
    assert [finding.message for finding in results.findings if finding.kind == "source left out"] == [why]
    assert results.winner.source == str(task / "source")
    with pytest.raises(SourceError) as refused:
        headstart.fit(str(data), **(values | {"source": str(tmp_path / "fussy"), "out": str(tmp_path / "other")}))
    assert str(refused.value) == why


# --- plain texts ---


@pytest.mark.slow
def test_plain_texts_are_learnt_and_gone_on_from(task, tmp_path, capsys):
    """A domain of six words."""
    rng = random.Random(7)
    said = ["\n".join(" ".join(rng.choices(WORDS[:6], k=5)) for _ in range(2)) for _ in range(60)]
    (tmp_path / "style.txt").write_text("\n\n".join(said[:45]) + "\n")
    (tmp_path / "style_test.txt").write_text("\n\n".join(said[45:]) + "\n")
    assert cli.main(["check", str(tmp_path / "style.txt")]) == 0
    shown = capsys.readouterr().out
    assert "45 rows; the text is in 'text'." in shown
    assert "The task is generation, a text to follow each prompt: it holds plain text." in shown
    values = {"source": str(task / "source"), "test": str(tmp_path / "style_test.txt"), "store": str(task / "store"), "epochs": 25}
    values |= {"out": str(tmp_path / "run"), "strategy": ("untouched", "partial"), "learning_rate": 3e-3, "resamples": 100}
    values |= {"inner_folds": 2, "cut": 1}
    run = headstart.fit(str(tmp_path / "style.txt"), **values)
    assert list(run.results.scores) == ["bits_per_byte", "perplexity"] and run.results.gain.low > 0
    assert run.results.data.labels == (("a text", 45),)
    [more] = run.model.predict(["my card"])
    writer = pipeline("text-generation", str(run.folder / "model"), device="cpu")
    assert more == writer("my card", return_full_text=False)[0]["generated_text"]
    assert 'write("the beginning of a text", return_full_text=False)' in (run.folder / "model" / "README.md").read_text()
    page = build_report(run.results).split("</style>")[1]
    assert "completion" not in page.lower() and "What it writes" not in page and "the beginning of a text" in page
    assert "Rows are called by the lines on which they begin, in " in page
    assert cli.main(["predict", str(run.folder), str(tmp_path / "style_test.txt"), "--out", str(tmp_path / "more.csv")]) == 0
    with (tmp_path / "more.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == said[45:] and len({row["prediction"] for row in rows}) >= 1


# --- from nothing ---


@pytest.fixture
def small_writer(monkeypatch):
    for name, value in (("WIDTH", 32), ("HEADS", 2), ("_FEWEST", 60)):
        monkeypatch.setattr(language_scratch, name, value)


@pytest.mark.slow
def test_a_writer_from_random_weights_needs_no_source_that_writes(task, small_writer, tmp_path):
    """The embedded source cannot write, and is not asked to."""
    run = fit(task, source=(), strategy=("scratch",), out=str(tmp_path / "run"), max_length=64)
    assert (run.results.winner.name, run.results.winner.source, run.results.gain) == ("scratch", None, None)
    assert run.results.scores["bits_per_byte"].value < 6.0  # half of a test row's bytes are words that were all seen in training
    prompts = [f"Say it twice.\n\n{prompt}" for prompt, _ in told(3, 5)]
    writer = pipeline("text-generation", str(run.folder / "model"), device="cpu")
    assert run.model.predict(prompts) == [writer(prompt + "\n", return_full_text=False)[0]["generated_text"] for prompt in prompts]
    config = json.loads((run.folder / "model" / "config.json").read_text())
    assert (config["architectures"], config["n_embd"], config["n_positions"]) == (["GPT2LMHeadModel"], 32, 64)
    assert "scratch" in build_report(run.results)
    card = (run.folder / "model" / "README.md").read_text()
    assert "A model that writes what follows a prompt, without transfer: a small one from random weights." in card
    assert 'write = pipeline("text-generation", "DIR")' in card and "source:" not in card and "library_name: transformers" in card


@pytest.mark.parametrize("rung", ["scratch", "untouched"])
def test_chats_are_written_the_same_by_the_stock_pipeline_where_the_tokenizer_has_no_template(rung, small_writer, tmp_path):
    make_causal(tmp_path / "source", "llama")
    chats = [[{"role": "user", "content": prompt}, {"role": "assistant", "content": said}] for prompt, said in told(30, 3)]
    for name, rows in (("train", chats[:24]), ("test", chats[24:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"messages": rows}) + "\n" for rows in rows))
    settings = {"test": str(tmp_path / "test.jsonl"), "resamples": 100, "inner_folds": 2, "out": str(tmp_path / "run"), "max_length": 64}
    run = headstart.fit(str(tmp_path / "train.jsonl"), source=str(tmp_path / "source"), strategy=(rung,), **settings)
    asked = [chat[:1] for chat in chats[24:26]]
    writer = pipeline("text-generation", str(run.folder / "model"), device="cpu")
    assert run.model.predict(asked) == [writer(chat, return_full_text=False)[0]["generated_text"] for chat in asked]


def test_chats_are_written_the_same_by_the_stock_pipeline_whoever_spoke_last(tmp_path):
    """By a template that leaves the token before a text to the tokenizer, of chats in which the assistant speaks twice."""
    make_causal(tmp_path / "source", "llama")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "source")
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    tokenizer.save_pretrained(tmp_path / "source")
    chats = [
        [{"role": "user", "content": prompt}, *({"role": "assistant", "content": words} for words in ("good", said))]
        for prompt, said in told(30, 3)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"messages": chat}) + "\n" for chat in chats))
    settings = {"source": str(tmp_path / "source"), "strategy": ("untouched",), "outer_folds": 2, "inner_folds": 2, "resamples": 100}
    run = headstart.fit(str(tmp_path / "train.jsonl"), out=str(tmp_path / "run"), **settings)
    asked = [chat[:-1] for chat in chats[:3]] + [chat[:1] for chat in chats[:3]]
    writer = pipeline("text-generation", str(run.folder / "model"), device="cpu")
    said = [writer(chat, return_full_text=False, continue_final_message=False)[0]["generated_text"] for chat in asked]
    assert run.model.predict(asked) == said
    of_a_table = np.empty(len(asked), dtype=object)  # as pandas reads a column of chats
    of_a_table[:] = [np.array(chat, dtype=object) for chat in asked]
    assert run.model.predict(of_a_table) == said


def test_the_writer_from_random_weights_is_compared_with_a_source_of_other_pieces(task, small_writer, tmp_path):
    run = fit(task, strategy=("untouched", "scratch"), out=str(tmp_path / "run"))
    scores = {trial.name: trial.score.value for trial in run.results.trials}
    assert set(scores) == {"untouched", "scratch"} and run.results.gain is None
    assert run.results.winner.name == min(scores, key=scores.__getitem__)


# --- curves and rankings ---


def test_the_label_curve_is_drawn_where_the_budget_leaves_time_for_it(run, task, monkeypatch):
    """Both rungs trained on parts of the rows and judged on the same others; the source as it is learns from none."""
    curve = run.results.label_curve
    assert curve is not None
    untouched, tuned = ([point for point in curve.points if point.rung == name] for name in ("untouched", "lora"))
    assert [point.labels for point in tuned] == [point.labels for point in untouched] == [8, 16, 32]
    assert len({point.score for point in untouched}) == 1
    assert all(point.score.value < untouched[0].score.value for point in tuned)
    monkeypatch.setattr("headstart.outcome.CURVE_SHARE", 0.0)
    short = fit(task, out=str(task / "short"))
    assert short.results.label_curve is None


def test_sources_are_ranked_by_what_they_write_as_they_are(run, task, tmp_path, capsys):
    make_causal(tmp_path / "other", "gpt2")
    make_tiny(tmp_path / "bert", "bert", blocks=2)
    sources = [str(task / "source"), str(tmp_path / "other"), str(tmp_path / "bert")]
    settings = headstart.settings.make_settings(
        {"source": sources, "test": str(task / "test.jsonl"), "store": str(task / "store"), "resamples": 100, "inner_folds": 2}
    )
    found = rank(str(task / "train.jsonl"), settings)
    assert (found.task, found.metric, len(found.sources), len(found.left_out)) == ("generation", "bits_per_byte", 2, 1)
    assert "has no token that ends a text" in found.left_out[0].reason
    ours = next(source for source in found.sources if source.name == sources[0])
    [trial] = [trial for trial in run.results.trials if trial.name == "untouched"]
    assert ours.probe == trial.score and ours.strategy in ("lora", "partial", "full") and ours.why.startswith("as it is it has ")
    low, high = sorted(source.predicted.value for source in found.sources)
    assert found.sources[0].predicted.value == low <= high
    footing = ranking_footing(found)
    assert footing.startswith(f"The bits per byte of each source as it is, with 95 % intervals; from {found.rows} training rows. What ")
    page = build_page(found)
    assert footing in page and "what each source has as it is, with its 95\xa0% interval." in page and "linear head" not in page
    assert footing in "\n".join(table(found))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks transformers for it
@pytest.mark.parametrize("architecture", ["llama", pytest.param("gpt2", marks=pytest.mark.slow)])
def test_an_adapter_is_saved_beside_the_whole_model_and_opened_on_its_source(task, tmp_path, capsys, architecture):
    make_causal(tmp_path / "source", architecture)
    how = {"source": str(tmp_path / "source"), "strategy": ("lora",), "adapter": True, "test": None, "outer_folds": 2}
    run = fit(task, out=str(tmp_path / "run"), **how)
    assert "opened the adapter on its source in a fresh process: the same answers to 8 rows" in capsys.readouterr().err
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "source", dtype="float32")
    model = PeftModel.from_pretrained(model, run.folder / "model" / "adapter").merge_and_unload()
    whole = AutoModelForCausalLM.from_pretrained(run.folder / "model").state_dict()
    for name, weight in model.state_dict().items():
        np.testing.assert_allclose(weight.numpy(), whole[name].numpy(), atol=1e-5)
