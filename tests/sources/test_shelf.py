"""The shelf keeps what was put there, tells what no longer holds, and never lets one bad thing spoil another."""

from __future__ import annotations

import json
import os
import shutil
import string
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import ResourceError, SourceError
from headstart.records import Estimate
from headstart.sources import adding, shelf
from headstart.sources.entries import Entry, Kind, Learned, Origin, parse_entry
from headstart.sources.files import INDEX
from headstart.sources.resolve import resolve_source
from modelfiles import make_run, make_source

WORDS = st.text(max_size=12)
NUMBERS = st.floats(allow_nan=False)
ESTIMATES = st.builds(Estimate, NUMBERS, NUMBERS, NUMBERS, st.integers(), NUMBERS)
LEARNED = st.builds(Learned, WORDS, WORDS, st.integers(), st.integers(), WORDS, ESTIMATES, WORDS, st.lists(st.integers()).map(tuple))
ENTRIES = st.builds(
    Entry,
    name=WORDS,
    kind=st.sampled_from(Kind),
    place=WORDS.map("/".__add__),
    digest=WORDS,
    files=st.lists(st.tuples(WORDS, st.integers())).map(tuple),
    task=WORDS,
    labels=st.lists(WORDS).map(tuple),
    learned=st.none() | LEARNED,
    came_from=st.none() | st.builds(Origin, WORDS, WORDS, WORDS),
    added=WORDS,
)


def names() -> list[str]:
    return [entry.name for entry in shelf.read_shelf()[0]]


def refusal(call: Any, *arguments: Any) -> str:
    with pytest.raises(SourceError) as caught:
        call(*arguments)
    return str(caught.value)


# --- what is written is what is read ---


@given(ENTRIES)
@settings(max_examples=50, deadline=None)
def test_an_entry_comes_back_from_its_file_as_it_was(entry: Entry) -> None:
    assert parse_entry(json.dumps(asdict(entry)).encode()) == entry


@given(st.text(string.printable + "äßé名~\\/.\0\ud800", max_size=200))
def test_a_name_made_of_any_place_is_one_that_a_person_may_give(place: str) -> None:
    shelf.require_good_name(shelf.default_name(place))


@given(st.text(min_size=1), st.text(min_size=1))
def test_names_share_a_file_only_where_case_and_accents_aside_they_are_the_same(left: str, right: str) -> None:
    assert (shelf.entry_path(left) == shelf.entry_path(right)) == (shelf.key(left) == shelf.key(right))
    assert shelf.entry_path(left) == shelf.entry_path(shelf.key(left))
    file = shelf.entry_path(left).name
    assert set(file) <= set(string.ascii_lowercase + string.digits + "._-~") and file[0] != "." and len(file) < 100


def test_a_finished_run_stands_there_with_task_labels_data_score_and_origin(tmp_path: Path) -> None:
    base = make_source(tmp_path / "base", fill=0.5)
    entry = adding.add_run(make_run(tmp_path / "tickets", source=str(base)))
    assert entry is not None and shelf.find("tickets") == entry
    assert (entry.name, entry.kind, entry.place) == ("tickets", Kind.RUN, str(tmp_path / "tickets"))
    assert (entry.task, entry.labels) == ("classification", ("card", "login"))
    assert entry.learned == Learned("partial", "tickets.csv", 90, 12, "macro_f1", Estimate(0.8, 0.7, 0.9, 40), "the test file", (7,))
    assert entry.came_from == Origin(str(base), str(base), adding.content_digest(base))
    assert dict(entry.files)["model.safetensors"] == (tmp_path / "tickets" / "model" / "model.safetensors").stat().st_size


def test_a_run_stands_there_with_the_task_that_it_learnt(tmp_path: Path) -> None:
    entry = adding.add_run(make_run(tmp_path / "tickets", task="regression"))
    assert entry is not None and entry.task == "regression"


def test_a_run_from_random_weights_came_from_nothing(tmp_path: Path) -> None:
    entry = adding.add_run(make_run(tmp_path / "scratch"))
    assert entry is not None and entry.came_from is None


def test_a_run_whose_journal_is_torn_or_gone_still_tells_its_sources_name(tmp_path: Path) -> None:
    run = make_run(tmp_path / "tickets", source=str(make_source(tmp_path / "base")))
    (run / "journal.jsonl").write_bytes(b'{"key": "came fr')
    entry = adding.add_run(run)
    assert entry is not None and entry.came_from == Origin(str(tmp_path / "base"), "", "")


def test_folders_packages_and_hub_names_stand_there_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_source(tmp_path / "lib" / "model_in_a_package" / "model")
    monkeypatch.syspath_prepend(tmp_path / "lib")
    folder = adding.add_place(str(make_source(tmp_path / "base", id2label={"0": "LABEL_0", "1": "LABEL_1"})))
    package = adding.add_place("model-in-a-package")
    hub = adding.add_place("hub:org/big-model@v2")
    assert [(e.name, e.kind, e.place) for e in (folder, package, hub)] == [
        ("base", Kind.FOLDER, str(tmp_path / "base")),
        ("model-in-a-package", Kind.PACKAGE, "model-in-a-package"),
        ("big-model", Kind.HUB, "hub:org/big-model@v2"),
    ]
    assert [bool(e.digest) for e in (folder, package, hub)] == [True, True, False]
    assert (folder.task, folder.labels) == ("", ())
    assert names() == ["base", "big-model", "model-in-a-package"]


def test_a_classifier_in_a_folder_brings_its_labels(tmp_path: Path) -> None:
    entry = adding.add_place(str(make_source(tmp_path / "base", id2label={"0": "yes", "1": "no"})))
    assert (entry.task, entry.labels) == ("classification", ("yes", "no"))


# --- names ---


def test_a_second_run_of_the_same_folder_name_gets_a_number_and_the_same_run_keeps_its_name(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / place / "tickets", fill=k) for k, place in enumerate("abc")]
    assert [adding.add_run(run).name for run in [*runs, *runs]] == ["tickets", "tickets-2", "tickets-3"] * 2
    assert names() == ["tickets", "tickets-2", "tickets-3"]


def test_a_run_trained_again_in_its_folder_replaces_its_entry(tmp_path: Path) -> None:
    before = adding.add_run(make_run(tmp_path / "tickets"))
    shutil.rmtree(tmp_path / "tickets")
    after = adding.add_run(make_run(tmp_path / "tickets", fill=1.0))
    assert before.digest != after.digest
    assert shelf.read_shelf() == ([after], [])


def test_a_source_whose_folder_was_moved_keeps_its_name_when_it_is_added_again(tmp_path: Path) -> None:
    adding.add_run(make_run(tmp_path / "tickets"), "Mine")
    shutil.move(tmp_path / "tickets", tmp_path / "elsewhere")
    assert adding.add_place(str(tmp_path / "elsewhere")).name == "Mine"
    assert names() == ["Mine"]


def test_a_copy_beside_its_original_is_a_source_of_its_own(tmp_path: Path) -> None:
    adding.add_run(make_run(tmp_path / "tickets"))
    shutil.copytree(tmp_path / "tickets", tmp_path / "copy")
    adding.add_place(str(tmp_path / "copy"))
    assert names() == ["copy", "tickets"]


def test_another_name_for_the_same_source_takes_the_place_of_the_first(tmp_path: Path) -> None:
    adding.add_run(make_run(tmp_path / "tickets"))
    adding.add_place("tickets", "support tickets")  # known by its name on the shelf
    assert names() == ["support tickets"]


def test_a_folder_called_as_an_installed_package_gets_a_name_that_can_be_found(tmp_path: Path) -> None:
    entry = adding.add_place(str(make_source(tmp_path / "all-MiniLM-L6-v2")))
    assert entry.name == "all-MiniLM-L6-v2-2"
    assert resolve_source(entry.name).folder == tmp_path / "all-MiniLM-L6-v2"
    assert adding.add_place("all-MiniLM-L6-v2").name == "all-MiniLM-L6-v2"


def test_a_hub_model_added_again_by_its_name_there_stays_one(tmp_path: Path) -> None:
    entry = adding.add_place("hub:org/model@v2")
    assert adding.add_place("Model") == entry
    assert adding.add_place("model", "mine") == replace(entry, name="mine")
    assert shelf.read_shelf() == ([replace(entry, name="mine")], [])


def test_a_name_that_is_taken_is_refused(tmp_path: Path, shelf_folder: Path) -> None:
    first, second = make_source(tmp_path / "one"), str(make_source(tmp_path / "two", fill=1.0))
    adding.add_place(str(first), "Tickets")
    take_off = "Choose another with --name, or take that one off with `headstart sources remove Tickets`."
    assert refusal(adding.add_place, second, "Tickets") == f"The shelf has 'Tickets' already ({first}). {take_off}"
    assert refusal(adding.add_place, second, "tickets") == (
        f"The shelf has 'Tickets' already ({first}); names that differ only in case are the same. {take_off}"
    )
    assert refusal(adding.add_place, second, "all-MiniLM-L6-v2") == (
        "'all-MiniLM-L6-v2' is the name of an installed package with a model, which would be found first; choose another with --name."
    )
    (shelf_folder / "torn.json").write_text("{")
    assert refusal(adding.add_place, second, "Torn") == (
        "The shelf's file of 'Torn' is damaged; choose another with --name, or remove it with `headstart sources remove torn`."
    )
    assert names() == ["Tickets"]


@pytest.mark.parametrize("name", ["", " x", "a/b", "a\\b", "hub:x", ".hidden", "-x", "~", "names.TXT", "two\nlines", "x" * 81])
def test_a_name_that_could_not_be_found_again_is_refused(tmp_path: Path, name: str) -> None:
    assert refusal(adding.add_place, str(make_source(tmp_path / "one")), name) == (
        f"{name!r} cannot be a name on the shelf: give 1 to 80 printable characters without / \\ and :, not beginning with "
        "'.', '-' or '~' and not ending in .txt."
    )
    assert names() == []


# --- use ---


def test_a_name_on_the_shelf_is_a_source_case_aside_and_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adding.add_run(make_run(tmp_path / "runs" / "tickets"))
    monkeypatch.chdir(tmp_path)
    source = resolve_source("Tickets")
    assert (source.name, source.folder, source.place) == (
        "Tickets",
        tmp_path / "runs" / "tickets" / "model",
        str(tmp_path / "runs" / "tickets"),
    )


def test_a_folder_wins_over_a_name_on_the_shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adding.add_run(make_run(tmp_path / "runs" / "tickets"))
    make_source(tmp_path / "tickets")
    monkeypatch.chdir(tmp_path)
    assert resolve_source("tickets").place == str(tmp_path / "tickets")


def test_a_hub_name_on_the_shelf_is_fetched_only_when_it_is_used() -> None:
    adding.add_place("hub:org/model")
    assert refusal(resolve_source, "model") == (
        "'org/model' has not been downloaded yet and HF_HUB_OFFLINE is set; unset it, or give a local folder."
    )


def flip(path: Path) -> None:
    """Other content of the same size and date."""
    state, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize(
    ("damage", "quick", "full"),
    [
        (lambda run: flip(run / "model" / "model.safetensors"), "", "its files have other content"),
        (lambda run: shutil.rmtree(run), "its folder is gone", ""),
        (lambda run: shutil.rmtree(run / "model"), "config.json is gone", ""),
        (lambda run: (run / "model" / "model.safetensors").unlink(), "model.safetensors is gone", ""),
        (lambda run: (run / "model" / "tokenizer_config.json").write_text("{}"), "tokenizer_config.json has 2 bytes, not 27", ""),
        (lambda run: (run / "model" / "vocab.txt").write_text("a"), "vocab.txt was not there before", ""),
        (lambda run: (run / "model" / "model.safetensors").rename(run / "model" / INDEX).write_text("{"), "its weights are incomplete", ""),
        (lambda run: (run / "model" / INDEX).write_text("{"), f"{INDEX} was not there before", ""),
    ],
)
def test_a_source_that_is_not_what_was_added_is_not_used_and_the_others_are(tmp_path: Path, damage: Any, quick: str, full: str) -> None:
    entry = adding.add_run(make_run(tmp_path / "tickets"))
    adding.add_place(str(make_source(tmp_path / "base")))
    assert (shelf.quick_problem(entry), shelf.problem(entry)) == ("", "")
    damage(tmp_path / "tickets")
    assert (shelf.quick_problem(entry), shelf.problem(entry)) == (quick, full or quick)
    add = "PLACE` takes it from where it is now" if quick == "its folder is gone" else f"{entry.place}` takes it as it is now"
    assert refusal(resolve_source, "tickets") == (
        f"'tickets' on the shelf is not what was added from {entry.place!r} ({full or quick}), so it is not used. "
        f"`headstart sources add {add}; `headstart sources remove tickets` takes it off the shelf."
    )
    assert resolve_source("base").folder == tmp_path / "base"


def test_a_changed_source_that_is_added_again_may_be_used(tmp_path: Path) -> None:
    adding.add_run(make_run(tmp_path / "tickets"))
    flip(tmp_path / "tickets" / "model" / "model.safetensors")
    adding.add_place("tickets")
    assert resolve_source("tickets").folder == tmp_path / "tickets" / "model"


def test_a_package_that_is_no_longer_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_source(tmp_path / "lib" / "model_that_goes" / "model")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path / "lib")
        entry = adding.add_place("model-that-goes", "gone")
    sys.path_importer_cache.clear()
    assert shelf.quick_problem(entry) == "the package model-that-goes is not installed"
    with pytest.raises(SourceError):
        resolve_source("gone")


# --- damaged files ---


def changed(**values: Any) -> str:
    """A whole entry with some values changed; ... takes one away."""
    whole = asdict(Entry("torn", Kind.HUB, "hub:a/b", "", (), "", (), None, None, "2026-11-03")) | values
    return json.dumps({name: value for name, value in whole.items() if value is not ...})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is no JSON"),
        ('{"name": "to', "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("[]", "it is no JSON object"),
        ("{}", "it lacks added"),
        (changed(digest=...), "it lacks digest"),
        (changed(name=5), "its name is '5'"),
        (changed(name="other"), "it names itself 'other'"),
        (changed(kind="model"), "its kind is 'model'"),
        (changed(kind="run", place="runs/tickets"), "its place is no absolute folder"),
        (changed(labels="card"), "its labels is no such list"),
        (changed(files=[["config.json"]]), "its files is no such list"),
        (changed(files=[["config.json", True]]), "its files is 'True'"),
        (changed(came_from="tickets"), "its came_from is no object"),
        (changed(came_from={"name": "a", "place": "b"}), "it lacks digest"),
    ],
)
def test_a_damaged_file_is_told_and_can_be_taken_away_and_the_others_are_there(content: str, reason: str, shelf_folder: Path) -> None:
    adding.add_place("hub:a/good")
    path = shelf_folder / "torn.json"
    path.write_text(content)
    entries, [damaged] = shelf.read_shelf()
    assert ([entry.name for entry in entries], damaged.name, damaged.path, damaged.reason) == (["good"], "torn", path, reason)
    assert refusal(resolve_source, "torn") == (
        f"What the shelf says of 'torn' cannot be read ({reason}, in {str(path)!r}); take it away with "
        "`headstart sources remove torn` and add the source again."
    )
    assert adding.add_place("hub:b/torn").name == "torn-2"  # what cannot be read is not written over
    assert path.read_text() == content
    assert shelf.drop("torn") == "torn"
    assert shelf.read_shelf()[1] == []


def test_what_a_newer_headstart_wrote_besides_is_passed_over(shelf_folder: Path) -> None:
    shelf_folder.mkdir()
    (shelf_folder / "torn.json").write_text(changed(colour="red"))
    assert names() == ["torn"]


def test_a_damaged_file_of_a_long_name_is_taken_away_by_the_name_that_the_list_shows(shelf_folder: Path) -> None:
    adding.add_place("hub:a/b", "Größe und Gewicht")
    [path] = shelf_folder.glob("*.json")
    path.write_text("{")
    [damaged] = shelf.read_shelf()[1]
    shelf.drop(damaged.name)
    assert not path.exists()


# --- writing, whole or not at all ---


def test_sources_added_in_the_same_instant_all_stand_there_under_different_names(tmp_path: Path) -> None:
    folders = [make_source(tmp_path / str(k) / "tickets", fill=k) for k in range(8)]
    threads = [threading.Thread(target=adding.add_place, args=(str(folder),)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries, damaged = shelf.read_shelf()
    assert damaged == []
    assert sorted(entry.place for entry in entries) == sorted(map(str, folders))
    assert {entry.name for entry in entries} == {"tickets", *(f"tickets-{k}" for k in range(2, 9))}


def test_an_add_that_fails_in_the_middle_leaves_the_shelf_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = adding.add_run(make_run(tmp_path / "tickets"))

    def full(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            shelf.put(replace(before, added="later"), None)
    assert shelf.read_shelf() == ([before], [])
    assert sorted(path.name for path in shelf.shelf_folder().iterdir()) == [".lock", "tickets.json"]


def test_a_name_that_is_not_there_cannot_be_removed_and_a_near_one_is_named(tmp_path: Path) -> None:
    adding.add_run(make_run(tmp_path / "tickets"))
    assert refusal(shelf.drop, "ticket") == (
        "There is no 'ticket' on the shelf; `headstart sources list` shows what is. Did you mean 'tickets'?"
    )
    assert refusal(shelf.drop, "../tickets/metrics") == (
        "There is no '../tickets/metrics' on the shelf; `headstart sources list` shows what is."
    )


def test_removing_takes_the_entry_and_leaves_the_model(tmp_path: Path) -> None:
    run = make_run(tmp_path / "tickets")
    adding.add_run(run, "Tickets")
    assert shelf.drop("tickets") == "Tickets"
    assert names() == []
    assert resolve_source(str(run)).folder == run / "model"


def test_the_shelf_lies_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HEADSTART_SHELF")
    assert shelf.shelf_folder() == tmp_path / ".local" / "share" / "headstart" / "shelf"
    monkeypatch.setenv("HEADSTART_SHELF", "~/mine")
    assert shelf.shelf_folder() == tmp_path / "mine"


def test_a_file_in_the_shelfs_place_is_told(shelf_folder: Path) -> None:
    shelf_folder.write_text("")
    with pytest.raises(ResourceError) as caught:
        shelf.read_shelf()
    assert str(caught.value) == (
        f"The shelf at {str(shelf_folder)!r} cannot be read (not a directory); repair it or name another in HEADSTART_SHELF."
    )
