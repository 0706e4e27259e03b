"""A source task first, then the target: on a tiny source and small invented tasks."""

import csv
import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import f1_score

import headstart
from headstart import budget, candidates, deciding, detours, pipeline, runs
from headstart.backbone.backbone import load_backbone
from headstart.errors import DataError, SettingsError, SourceError
from headstart.export.token_folder import require_token_class
from headstart.settings import make_settings
from headstart.sources import shelf
from headstart.sources.identity import content_digest
from headstart.sources.resolve import resolve_source
from headstart.target import read_target
from headstart.taught import refusal
from small import LABELS, bare, marked, sentences, without_times, write_csv, write_marked
from tiny import make_tiny

RUNGS = ("tfidf", "probe", "partial")
# What the target says too: a training row in other letters, a test row with more spaces, a training row with a letter more.
SHARED = 3


def other_rows():
    """96 rows of another task with two labels; the last three say what rows of the target say."""
    rows = [(text, "about money" if label == "card" else "about other things") for text, label in sentences(93, 7)]
    own = [text for text, _ in sentences(90, 1)]
    return [
        *rows,
        (own[0].upper(), "about money"),
        (own[70].replace(" ", "  "), "about other things"),
        (own[5] + "s", "about money"),
    ]


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A folder with train.csv (60 rows), test.csv (30 others), other.csv (the source task) and a tiny source."""
    folder = tmp_path_factory.mktemp("detours")
    rows = sentences(90, 1)
    write_csv(folder / "train.csv", rows[:60])
    write_csv(folder / "test.csv", rows[60:])
    write_csv(folder / "other.csv", other_rows())
    make_tiny(folder / "source", "bert", blocks=2)
    return folder


@pytest.fixture(scope="module", autouse=True)
def quick():
    """What has tests of its own is left out, and trials, which hang on what a clock says."""
    with pytest.MonkeyPatch.context() as patch, bare():
        patch.setattr("headstart.planner._next", lambda *given: None)
        yield


@pytest.fixture(scope="module")
def whole(task, quick):
    """A finished run whose winner went half the way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deciding, "decide", deciding_for(f"partial from {task / 'source'} half via other"))
        return fit(task, "whole")


@pytest.fixture(scope="module")
def direct(task, quick):
    """A finished run whose winner went directly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deciding, "decide", deciding_for(f"probe from {task / 'source'}"))
        return fit(task, "direct", strategy=("static", "probe", "scratch"))


def deciding_for(rung):
    """The planner, but for its choice of winner."""
    original = deciding.decide

    def decide(rungs, **how):
        decision = original(rungs, **how)
        chosen = next((r for r in rungs if r.name == rung), None)
        if chosen is None:  # the source task's own run
            return decision
        way = {"direct" if chosen.detour is None else "via": chosen}
        return replace(decision, winner=chosen, transfer=chosen, **way)

    return decide


def settings_of(task, **settings):
    values = {
        "test": str(task / "test.csv"),
        "source": str(task / "source"),
        "via": str(task / "other.csv"),
        "strategy": RUNGS,
        "store": str(task / "store"),
        "epochs": 1,
        "budget": 1e6,  # so that no choice hangs on what a clock says
        "resamples": 100,
    } | settings
    return {name: value for name, value in values.items() if value is not None}


def fit(task, out, **settings):
    return headstart.fit(str(task / "train.csv"), **settings_of(task, out=str(task / out), **settings))


def journal(folder):
    lines = (folder / "journal.jsonl").read_text().splitlines()
    return {entry["key"]: entry for entry in map(json.loads, lines)}


def judged(folder, rung, part="test file"):
    [entry] = [entry for key, entry in journal(folder).items() if key.startswith(f"{part}/judged {rung} x ")]
    return np.load(folder / "trials" / entry["arrays"]["logits"])


def model_weights(folder):
    return load_file(folder / "model" / "model.safetensors")


# --- the source task ---


def test_the_source_task_is_a_finished_run_of_its_own_on_the_shelf(task):
    run = fit(task, "shelved", strategy="probe")
    stage = runs.open_run(run.folder / "via" / "other")
    assert stage.results.title == "other"
    assert stage.results.judged_on == "rows set aside"
    assert stage.model.labels == ("about money", "about other things")
    entries = {entry.name: entry for entry in shelf.read_shelf()[0]}
    assert set(entries) == {"other", "shelved"}
    assert entries["other"].came_from.digest == content_digest(task / "source")
    assert entries["other"].place == str(stage.folder.resolve())


def test_rows_that_the_target_has_too_are_told_and_not_learnt(whole, task):
    def shingles(text):
        text = " ".join(text.casefold().split())
        return {text[i : i + 5] for i in range(max(1, len(text) - 4))}

    own = [shingles(text) for text, _ in sentences(90, 1)]
    near = [any(len(a & b) / len(a | b) >= 0.85 for b in own) for a in (shingles(text) for text, _ in other_rows())]
    assert sum(near) == SHARED
    [told] = whole.results.detour.tasks
    assert told.left_out == SHARED
    stage = whole.folder / "via" / "other"
    assert pq.read_table(stage / "splits.parquet").num_rows + told.score.n == 93
    assert max(pq.read_table(stage / "splits.parquet")["row"].to_pylist()) <= 93
    [finding] = [finding for finding in whole.results.findings if finding.kind == "source task rows left out"]
    place = str(task / "other.csv")
    assert finding.message == f"3 rows of the source task {place!r} say nearly the same as rows of the target; they are not learnt from."


def test_a_source_task_gets_as_many_rows_as_its_share_of_the_budget_allows(task):
    settings = make_settings(settings_of(task))
    target = read_target(str(task / "train.csv"), settings)
    [other] = detours.read_tasks(target, settings)
    with candidates.open_means(settings) as means:
        means.cost.training_speed = 1.0  # operations a second: nothing is affordable
        few = detours._affordable(other, settings, means, str(task / "source"), 24.0)
    assert few == 32  # sixteen for each of two labels
    some = detours._first_rows(other.target, few, 0)
    assert len(some.rows) == len(some.groups) == len(some.origin) == 32
    assert set(some.rows.y) == {0, 1}
    assert [some.examples.texts[i] for i in some.origin] == list(some.rows.texts)


def test_where_the_budget_is_too_short_for_the_source_task_that_is_said_at_the_start(task, monkeypatch, capsys):
    monkeypatch.setattr(detours, "trial_seconds", lambda rung, cost, share=1.0: 370.0 * share)  # 5 s for each of 74 rows
    monkeypatch.setattr(budget, "trial_seconds", lambda rung, cost, share=1.0: 10.0)
    told = {}
    for seconds in (500.0, 230.0, 100.0):
        pipeline.plan(str(task / "train.csv"), make_settings(settings_of(task, budget=seconds, out=str(task / "planned"))))
        told[seconds] = capsys.readouterr().err
    # 20 s around it and two trainings of 10 s take the target's run. Of 500 s the source task may take 200: 18 rows in twice their time,
    # but 16 of each of two labels are learnt in any case, in 20 + 160 s.
    said = (
        "The budget of {} s is too short: even the cheapest rung, tfidf, needs about 220 s in all, 180 s of them for what is learnt before"
    )
    assert "too short" not in told[500.0] and "too short" not in told[230.0]
    assert told[100.0].endswith(f"{said.format(100)} (--via).\n")


# --- the weights ---


def test_half_way_back_is_the_mean_of_both_models_weights(whole, task):
    direct = load_backbone(resolve_source(str(task / "source")), 64)
    variants = detours.open_variants(direct, whole.folder / "via" / "other", "other", 64)
    full, half = variants[0.0], variants[0.5]
    before, after = load_file(task / "source" / "model.safetensors"), model_weights(whole.folder / "via" / "other")
    weights = dict(half.module.named_parameters())
    moved = 0
    for name, weight in weights.items():
        if "pooler" not in name:
            torch.testing.assert_close(weight, (before[name] + after[f"backbone.{name}"]) / 2, rtol=0, atol=1e-7)
            torch.testing.assert_close(dict(full.module.named_parameters())[name], after[f"backbone.{name}"], rtol=0, atol=0)
            moved += not torch.equal(before[name], after[f"backbone.{name}"])
    assert moved > 0
    assert (full.source.name, half.source.name) == (f"{task / 'source'} via other", f"{task / 'source'} half via other")
    # One of two blocks was frozen, so what was read up to there need not be read again.
    assert full.prefix[:2] == half.prefix[:2] == direct.prefix[:2]
    assert len({direct.prefix[2], full.prefix[2], half.prefix[2]}) == 3


def test_a_winner_that_went_half_the_way_is_saved_as_it_was_judged(whole):
    texts = [text for text, _ in sentences(90, 1)[60:]]
    logits = judged(whole.folder, whole.results.winner.name)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(whole.model.predict_proba(texts), powers / powers.sum(axis=1, keepdims=True), atol=1e-5)
    card = (whole.folder / "model" / "README.md").read_text()
    [told] = whole.results.detour.tasks
    assert f"- on the way: other ({told.rows} rows of {told.data}) was learnt first, from {told.source}\n" in card


# --- what is told ---


def test_a_winner_that_went_directly_tells_the_gain_and_no_forgetting(direct, task):
    told = direct.results.detour
    assert told.gain.opponent == f"probe from {task / 'source'}"
    assert (told.before, told.after) == (None, None)


def test_the_direct_way_is_always_a_rung_and_random_weights_are_tried_once(direct, task):
    source = str(task / "source")
    assert {trial.name for trial in direct.results.trials} == {
        f"static from {source}",
        f"probe from {source}",
        f"probe from {source} via other",
        f"probe from {source} half via other",
        f"scratch from {source}",
    }


def test_the_gain_of_the_detour_is_the_paired_difference_on_the_judged_rows(whole, task):
    y = [label for _, label in sentences(90, 1)[60:]]

    def macro_f1(rung):
        return f1_score(y, [LABELS[k] for k in judged(whole.folder, rung).argmax(axis=1)], average="macro")

    gain = whole.results.detour.gain
    assert gain.winner == f"partial from {task / 'source'} half via other"
    assert gain.opponent in {f"probe from {task / 'source'}", f"partial from {task / 'source'}"}
    assert gain.value == pytest.approx(macro_f1(gain.winner) - macro_f1(gain.opponent))
    assert gain.low <= gain.value <= gain.high
    assert gain.n == 30


def test_forgetting_is_told_on_rows_of_the_source_task_that_were_not_learnt(whole):
    """The source task's head on the saved backbone, put together from the two files and read text by text."""
    from transformers import AutoTokenizer

    from headstart.sources.modeling_headstart import HeadstartConfig, HeadstartForSequenceClassification

    stage = whole.folder / "via" / "other"
    learnt = set(pq.read_table(stage / "splits.parquet")["row"].to_pylist())
    held = [row for number, row in enumerate(other_rows()[:93], 1) if number not in learnt]
    tokenizer = AutoTokenizer.from_pretrained(stage / "model")
    model = HeadstartForSequenceClassification(HeadstartConfig.from_pretrained(stage / "model")).eval()
    names = [model.config.id2label[k] for k in range(2)]

    def score(weights):
        model.load_state_dict(weights, strict=False)
        with torch.inference_mode():
            answers = [names[int(model(**tokenizer(text, return_tensors="pt")).logits.argmax())] for text, _ in held]
        return f1_score([label for _, label in held], answers, average="macro")

    own, final = model_weights(stage), model_weights(whole.folder)
    head = {name: weight for name, weight in own.items() if name.startswith("classifier")}
    body = {name: weight for name, weight in final.items() if name.startswith("backbone")}
    told = whole.results.detour
    assert told.before.n == told.after.n == len(held)
    assert told.before.value == pytest.approx(score(own))
    assert told.after.value == pytest.approx(score(body | head))


def test_a_source_task_is_learnt_from_each_source_apart(task):
    """Also where the sources' names would give folders of one name."""
    sources = tuple(str(make_tiny(task / name, "bert", blocks=2, seed=seed)) for seed, name in enumerate(["a b", "a-b"]))
    run = fit(task, "several", source=sources, strategy="probe")
    assert [(one.name, one.source) for one in run.results.detour.tasks] == [("other", source) for source in sources]
    assert len({one.run for one in run.results.detour.tasks}) == 2
    for one in run.results.detour.tasks:
        assert runs.open_run(run.folder / one.run).results.scores["macro_f1"] == one.score
    assert len(run.results.trials) == 2 + 2 * 2


def test_a_source_that_was_taught_the_source_task_takes_the_direct_way_alone(task, capsys):
    source = str(task / "source")
    taught = headstart.fit(str(task / "other.csv"), source=source, strategy="probe", store=str(task / "store"), out=str(task / "taught"))
    settings = make_settings(settings_of(task))
    [other] = detours.read_tasks(read_target(str(task / "train.csv"), settings), settings)
    why = refusal(resolve_source(str(taught.folder)), *other.target.parts_taught())
    told = f"The source task 'other' (--via) is not learnt from {str(taught.folder)!r}. {why}"
    assert why.startswith(f"The source {str(taught.folder)!r} was taught ")
    capsys.readouterr()
    run = fit(task, "one way", source=(str(taught.folder), source), strategy="probe")
    assert f"  {told}" in capsys.readouterr().err.splitlines()
    assert [finding.message for finding in run.results.findings if finding.kind == "source task left out"] == [told]
    assert [(one.name, one.source) for one in run.results.detour.tasks] == [("other", source)]
    ways = {trial.source for trial in run.results.trials}
    assert ways == {str(taught.folder), source, f"{source} via other", f"{source} half via other"}
    with pytest.raises(SourceError) as caught:
        fit(task, "no way", source=str(taught.folder), strategy="probe")
    assert str(caught.value) == told


def test_a_source_of_which_no_model_of_the_source_task_can_be_made_takes_the_direct_way_alone(task, tmp_path):
    names = [str(task / "source"), str(make_tiny(tmp_path / "modern", "modernbert", blocks=2))]
    settings = make_settings(settings_of(task, via=write_marked(tmp_path / "marked.jsonl", marked(60, 2)), source=names))
    tasks = detours.read_tasks(read_target(str(task / "train.csv"), settings), settings)
    with candidates.open_means(settings) as means:
        ways = detours.possible_ways(tasks, means, pipeline.unfit_for)
        assert [(one.name, source) for one, source in ways] == [("marked", names[0])]
        with pytest.raises(SourceError) as caught:
            require_token_class(means.readers[names[1]].backbone.module, names[1])
        [left] = means.findings
        assert (left.kind, left.message) == (
            "source task left out",
            f"The source task 'marked' (--via) is not learnt from {names[1]!r}. {caught.value}",
        )


def test_a_way_that_turns_out_not_to_go_is_left_out_and_the_others_go_on(task, monkeypatch):
    sources = tuple(str(make_tiny(task / name, "bert", blocks=2, seed=seed)) for seed, name in enumerate(["sound", "broken"]))
    take = detours._take

    def broken(task, source, *given):
        if source == sources[1]:
            raise SourceError("It gives no numbers.")
        return take(task, source, *given)

    monkeypatch.setattr(detours, "_take", broken)
    run = fit(task, "one of two ways", source=sources, strategy="probe")
    assert [one.source for one in run.results.detour.tasks] == [sources[0]]
    [left] = [finding.message for finding in run.results.findings if finding.kind == "source task left out"]
    assert left == f"The source task 'other' (--via) is not learnt from {sources[1]!r}. It gives no numbers."


def test_two_source_tasks_of_one_name_are_told_apart_and_a_repeated_one_is_read_once(task):
    (task / "more").mkdir()
    more = write_csv(task / "more" / "other.csv", sentences(60, 9))
    settings = make_settings(settings_of(task, via=(str(task / "other.csv"), more, more)))
    found = detours.read_tasks(read_target(str(task / "train.csv"), settings), settings)
    assert [(one.name, one.target.name) for one in found] == [("other", "other"), ("other-2", "other-2")]


def test_results_of_a_run_without_detours_open_as_before(task):
    run = fit(task, "none", via=None, strategy="probe")
    assert run.results.detour is None
    assert "via" not in (run.folder / "run.yaml").read_text()
    plain = json.loads((run.folder / "metrics.json").read_text())
    del plain["detour"]
    (run.folder / "metrics.json").write_text(json.dumps(plain))
    assert runs.open_run(run.folder).results == run.results


def test_the_plan_tells_the_source_task(task):
    plan = pipeline.plan(str(task / "train.csv"), make_settings(settings_of(task, out=str(task / "planned"))))
    assert plan.splitlines()[-1] == (
        "first the source task (other, 74 rows at most, 19 set aside, 3 left out), within 40 % of the budget; then every rung that "
        "transfers is also tried from the weights as they were left, and from half way back"
    )
    assert not (task / "planned").exists()


# --- a kill loses nothing ---


class Killed(BaseException):
    """Nothing in the package catches this."""


def test_a_run_stopped_within_and_between_the_stages_goes_on_to_the_same_results(task, whole, monkeypatch):
    monkeypatch.setattr(deciding, "decide", deciding_for(f"partial from {task / 'source'} half via other"))
    original, done = runs.RunFolder._note, []

    def note(self, key, result):
        original(self, key, result)
        done.append((self.path.name, key))
        raise Killed

    monkeypatch.setattr(runs.RunFolder, "_note", note)
    for _ in range(100):
        try:
            resumed = fit(task, "resumed")
            break
        except Killed:
            pass
    assert len(done) == len(set(done)) > 10  # no work was done twice
    assert {name for name, _ in done} == {"resumed", "other"}

    def compared(run):
        results = run.results
        again = replace(results, trials=(), winner=None, opponent=None, spent=None, created="", command="", environment={}, findings=())
        return [without_times(trial) for trial in results.trials], again

    assert compared(resumed) == compared(whole)
    for folder in ("", "via/other"):
        ours, theirs = (model_weights(run.folder / folder) for run in (resumed, whole))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_another_source_task_in_the_same_folder_is_another_run(task, whole):
    write_csv(task / "changed.csv", other_rows()[:60])
    with pytest.raises(headstart.RunError) as caught:
        fit(task, "whole", via=str(task / "changed.csv"))
    assert str(caught.value) == (
        f"The folder {str(whole.folder)!r} holds another run (other data or settings: changed, other); "
        "name another with --out, or remove it."
    )


def test_a_file_that_is_named_in_two_ways_is_one_source_task_and_another_of_its_name_has_a_number(tmp_path):
    (tmp_path / "further").mkdir()
    files = [tmp_path / "set.csv", tmp_path / "further" / "SET.csv"]
    for path in files:
        path.write_text("text,label\n")
    first, other = map(str, files)
    assert detours.task_names([first, f"{tmp_path}/further/../set.csv", other, "hub:a/set", "hub:a/set"]) == {
        first: "set",
        other: "SET-2",
        "hub:a/set": "set-3",
    }


# --- what is refused ---


def write_table(path, columns, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return str(path)


def refused(task, **settings):
    """What is said; nothing is begun."""
    with pytest.raises((DataError, SettingsError)) as caught:
        fit(task, "refused", **settings)
    assert not (task / "refused").exists()
    return str(caught.value)


def test_a_source_task_with_one_class_is_refused(task):
    place = write_table(task / "one.csv", ["text", "label"], [(text, "same") for text, _ in sentences(20, 5)])
    assert refused(task, via=place) == (
        f"The source task {place!r} (--via) cannot be learnt: All 20 usable rows of {place!r} bear the same label, 'same'. "
        "Give rows of at least two labels, or name another column with --label. These options name the target's columns; of this file, "
        "columns that are called the same are read ('text' and 'label')."
    )


def test_a_source_task_without_rows_is_refused(task):
    place = write_table(task / "empty.csv", ["text", "label"], [])
    assert refused(task, via=place) == (
        f"The source task {place!r} (--via) cannot be learnt: {place!r} has a header and no rows; add labelled texts."
    )


def test_a_source_task_that_is_not_there_is_refused(task):
    place = str(task / "nowhere.csv")
    with pytest.raises(DataError) as caught:
        headstart.check(place)
    assert refused(task, via=place) == f"The source task {place!r} (--via) cannot be learnt: {caught.value}"


def test_a_source_task_with_unclear_columns_is_refused(task):
    place = write_table(task / "columns.csv", ["id", "body", "kind"], [(1, "a text", "x")])
    assert refused(task, via=place) == (
        f"The source task {place!r} (--via) cannot be learnt: it has no columns that are plainly text and label; call them so, or as in "
        "the target's data ('text' and 'label'). Its columns: 'id', 'body', 'kind'."
    )


def test_columns_may_be_called_as_in_the_target_or_as_usual(task):
    mine = write_table(task / "mine.csv", ["id", "body", "kind"], [(i, *row) for i, row in enumerate(sentences(30, 4))])
    target = read_target(mine, make_settings({"text": "body", "label": "kind", "source": str(task / "source")}))
    like_mine = write_table(task / "like.csv", ["kind", "id", "body"], [(label, 0, text) for text, label in sentences(30, 5)])
    for place in (like_mine, str(task / "other.csv")):
        settings = make_settings({"text": "body", "label": "kind", "via": place, "source": str(task / "source")})
        [other] = detours.read_tasks(target, settings)
        assert (other.target.examples.text_column, other.target.examples.label_column) in {("body", "kind"), ("text", "label")}
        assert len(other.target.labels) in (2, 3)


@pytest.mark.parametrize(("file", "what"), [("train.csv", "data"), ("test.csv", "test file")])
def test_the_targets_own_rows_are_no_source_task(task, file, what):
    place = str(task / file)
    assert refused(task, via=place) == f"--via names {place!r}, which is the {what} of the target itself; name the data of another task."


def test_a_copy_of_the_targets_rows_is_no_source_task(task):
    place = write_csv(task / "copy.csv", sentences(90, 1)[10:40])
    data = str(task / "train.csv")
    assert refused(task, via=place) == (
        f"The source task {place!r} (--via) cannot be learnt: all of its 30 rows say nearly the same as rows of {data!r}."
    )


def test_standard_input_is_no_source_task(task):
    assert refused(task, via="-") == "--via is '-'; the data of a source task must be a file, a folder or hub:NAME."


@pytest.mark.parametrize("rungs", [("tfidf", "scratch"), ("static",)])
def test_a_source_task_without_a_rung_that_goes_on_from_it_is_refused(task, rungs):
    told = "--via is given, and none of the rungs asked for ({}) goes on from what a source task leaves; add one with --strategy."
    assert refused(task, strategy=rungs) == told.format(", ".join(rungs))
