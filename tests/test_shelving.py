"""What `headstart sources` prints: the whole shelf at a glance, one source in full, and what was added and removed."""

import json
import os
import shutil
import time

import pytest

from headstart import cli, shelving
from headstart.errors import SourceError
from headstart.sources import adding, shelf
from modelfiles import make_run, make_source


@pytest.fixture
def family(tmp_path, monkeypatch):
    """On the shelf: `base` (a folder), `older` that began from it, `tickets` that began from `older` by its name there, and a hub model."""
    monkeypatch.setattr(adding, "_today", lambda: "2026-11-03")
    adding.add_place(str(make_source(tmp_path / "base")))
    adding.add_run(make_run(tmp_path / "older", source=str(tmp_path / "base"), fill=1.0))
    adding.add_run(make_run(tmp_path / "tickets", source="older", fill=2.0, labels=tuple(f"label {k}" for k in range(14))))
    adding.add_place("hub:org/big")
    return tmp_path


def lines(words, capsys):
    """Status and what one command line printed, output and errors."""
    status = cli.main(["sources", *words])
    out, error = capsys.readouterr()
    return status, out.splitlines(), error.splitlines()


# --- list ---


def test_an_empty_shelf_says_how_to_fill_it(capsys, shelf_folder):
    said = f"The shelf at {shelf_folder} is empty; a finished fit puts its model there, `headstart sources add PLACE` any other."
    assert lines([], capsys) == (0, [said], [])
    assert lines(["list", "--json"], capsys) == (0, ["[]"], [])


def test_the_list_is_a_table_with_a_source_a_line_and_what_is_wrong(family, capsys, shelf_folder):
    (family / "older" / "model" / "tokenizer.json").unlink()
    (shelf_folder / "torn.json").write_text("{")
    status, table, _ = lines([], capsys)
    base, torn = f"{family / 'base'}", "not usable: its file on the shelf is damaged: it is no JSON"
    wide = len(base)
    assert status == 0
    assert table == [
        f"name     kind    task            labels  rows  {'came from':<{wide}}  score",
        f"base     folder  -                    -     -  {'-':<{wide}}  -",
        f"big      hub     -                    -     -  {'-':<{wide}}  -",
        f"older    run     classification       2    90  {base}  0.80 [0.70, 0.90] macro-F1  not usable: tokenizer.json is gone",
        f"tickets  run     classification      14    90  {'older':<{wide}}  0.80 [0.70, 0.90] macro-F1",
        f"torn     -       -                    -     -  {'-':<{wide}}  {'-':<26}  {torn}",
    ]
    assert lines(["list"], capsys)[1] == table


def test_the_list_as_json_has_everything(family, capsys, shelf_folder):
    (shelf_folder / "torn.json").write_text("{")
    shutil.rmtree(family / "older")
    assert cli.main(["sources", "list", "--json"]) == 0
    told = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert {name: item["problem"] for name, item in told.items()} == {
        "base": "",
        "big": "",
        "older": "its folder is gone",
        "tickets": "",
        "torn": "its file on the shelf is damaged: it is no JSON",
    }
    assert told["tickets"]["came_from"] == {"name": "older", "place": str(family / "older"), "digest": told["older"]["digest"]}
    assert told["tickets"]["learned"]["score"] == {"value": 0.8, "low": 0.7, "high": 0.9, "n": 40, "confidence": 0.95}


def test_two_hundred_sources_are_listed_at_once_and_nothing_is_hashed(tmp_path, monkeypatch):
    first = adding.add_run(make_run(tmp_path / "run 0"))
    template = (shelf.entry_path(first.name)).read_text()
    for k in range(1, 200):
        os.symlink(tmp_path / "run 0", tmp_path / f"run {k}")
        shelf.entry_path(f"run {k}").write_text(template.replace("run 0", f"run {k}"))
    monkeypatch.setattr(shelf, "content_digest", lambda folder: pytest.fail("hashed"))
    begin = time.perf_counter()
    table = list(shelving.listing())
    assert time.perf_counter() - begin < 2.0
    assert len(table) == 201 and not [line for line in table if "not usable" in line]


def test_what_a_terminal_would_take_for_a_command_is_not_printed(tmp_path, capsys):
    adding.add_run(make_run(tmp_path / "run", labels=("\x1b[31mred", "two\nlines")))
    _, described, _ = lines(["describe", "run"], capsys)
    assert "  labels    2:  [31mred, two lines" in described


# --- describe ---


def test_describing_tells_everything_with_the_lineage(family, capsys):
    digest = shelf.find("tickets").digest
    assert lines(["describe", "Tickets", "big"], capsys) == (
        0,
        [
            "tickets",
            "  kind      run",
            f"  place     {family / 'tickets'}",
            "  state     as it was when it was added",
            "  task      classification",
            f"  labels    14: {', '.join(f'label {k}' for k in range(12))} and 2 more",
            "  data      tickets.csv: 90 rows, 12 tokens in the median text",
            "  strategy  partial",
            "  score     0.80 [0.70, 0.90] macro-F1 (40 rows, the test file, 95 % interval, seed 7)",
            "  lineage   tickets < older < base",
            f"  digest    {digest}",
            "  added     2026-11-03",
            "  use it    headstart fit DATA --source tickets",
            "",
            "big",
            "  kind      hub",
            "  place     hub:org/big",
            "  state     downloaded when it is used",
            "  task      none of its own",
            "  lineage   big",
            "  digest    none yet",
            "  added     2026-11-03",
            "  use it    headstart fit DATA --source big",
        ],
        [],
    )


def lineage(name):
    [text] = shelving.describe([name])
    return next(line for line in text.splitlines() if line.startswith("  lineage")).removeprefix("  lineage   ")


def test_an_ancestor_off_the_shelf_is_told_by_name_and_place(family):
    shelf.drop("older")
    assert lineage("tickets") == f"tickets < older ({family / 'older'})"


def test_another_model_in_an_ancestors_folder_is_not_taken_for_it(family):
    shutil.rmtree(family / "older")
    adding.add_run(make_run(family / "older", fill=9.0))
    assert lineage("older") == "older"
    assert lineage("tickets") == f"tickets < older ({family / 'older'})"


def test_an_ancestor_under_another_name_is_known_by_its_files(family):
    shutil.move(family / "older", family / "moved")
    adding.add_place(str(family / "moved"), "renamed")
    assert lineage("tickets") == "tickets < renamed < base"


@pytest.mark.parametrize(("last", "told"), [("tickets", "tickets < older < tickets"), ("older", "tickets < older < older")])
def test_a_round_in_damaged_files_is_told_once(family, last, told):
    path = shelf.entry_path("older")
    content, end = json.loads(path.read_text()), shelf.find(last)
    content["came_from"] = {"name": last, "place": end.place, "digest": end.digest}
    path.write_text(json.dumps(content))
    assert lineage("tickets") == f"{told} again: the shelf's files name each other in a round, so one of them was changed by hand"


def test_describing_reads_the_files_in_full(family):
    path = family / "tickets" / "model" / "config.json"
    path.write_text(path.read_text().replace("mean", "last"))
    [text] = shelving.describe(["tickets"])
    assert text.splitlines()[3] == "  state     not usable: its files have other content"
    assert text.splitlines()[-1] == (
        f"  mend it   `headstart sources add {family / 'tickets'}` takes it as it is now; `headstart sources remove tickets` takes it off "
        "the shelf"
    )
    assert "not usable" not in "".join(shelving.listing())  # sizes are the same: only a full reading tells


def test_one_name_that_is_not_there_keeps_no_other_from_being_described(family, capsys):
    status, out, error = lines(["describe", "ticket", "big", "nothing at all"], capsys)
    assert (status, out[0]) == (2, "big")
    assert error == [
        "headstart: There is no 'ticket' on the shelf; `headstart sources list` shows what is. Did you mean 'tickets'?",
        "headstart: There is no 'nothing at all' on the shelf; `headstart sources list` shows what is.",
    ]


# --- add, remove ---


def test_adding_says_name_kind_and_place(tmp_path, capsys):
    run, base = make_run(tmp_path / "tickets"), make_source(tmp_path / "base")
    assert lines(["add", str(run), "hub:org/big"], capsys) == (
        0,
        [f"on the shelf as 'tickets': run, 2 labels ({run})", "on the shelf as 'big': hub (hub:org/big)"],
        [],
    )
    assert lines(["add", "--name", "small", str(base)], capsys) == (0, [f"on the shelf as 'small': folder ({base})"], [])


def test_a_text_file_adds_all_that_it_names_and_one_bad_name_keeps_out_none(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_source(tmp_path / "base")
    (tmp_path / "names.txt").write_text("# mine\nbase\nnowhere\nhub:org/big\n")
    status, out, error = lines(["add", "names.txt"], capsys)
    assert (status, len(out)) == (2, 2)
    assert error == [
        "headstart: There is no source 'nowhere': no folder, no installed package with a model and nothing on the shelf has that name. "
        "To download one, give hub:NAME."
    ]
    assert [entry.name for entry in shelf.read_shelf()[0]] == ["base", "big"]


def test_one_name_for_several_places_is_refused():
    with pytest.raises(SourceError) as caught:
        list(shelving.add(["a", "b"], "c"))
    assert str(caught.value) == "--name is 'c' and 2 places are given; add them one by one, or without --name."


def test_a_run_without_transfer_cannot_be_a_source(tmp_path, capsys):
    run = make_run(tmp_path / "plain")
    (run / "model" / "config.json").write_text('{"model_type": "headstart-tfidf"}')
    assert shelving.shelve_run(run, renew=True) == ""
    status, out, error = lines(["add", str(run)], capsys)
    assert (status, out, error) == (
        2,
        [],
        [
            f"headstart: The source {str(run)!r} is a model without transfer (tfidf); there is nothing in it to transfer from. "
            "Choose another source."
        ],
    )


def test_removing_says_that_the_model_stays(family, capsys):
    status, out, error = lines(["remove", "tickets", "none", "BASE"], capsys)
    stays = "is off the shelf; the model itself stays where it is"
    assert (status, out) == (2, [f"'tickets' {stays}", f"'base' {stays}"])
    assert error == ["headstart: There is no 'none' on the shelf; `headstart sources list` shows what is."]
    assert (family / "tickets" / "model" / "config.json").exists()


# --- at the end of a run ---


def test_a_finished_run_says_under_which_name_it_stands(tmp_path):
    run = make_run(tmp_path / "tickets")
    assert shelving.shelve_run(run, renew=False) == "on the shelf as 'tickets'"
    assert shelving.shelve_run(run, renew=False) == ""
    assert shelving.shelve_run(run, renew=True) == "on the shelf as 'tickets'"


def test_a_shelf_that_cannot_be_written_fails_no_finished_run(tmp_path, monkeypatch):
    run = make_run(tmp_path / "my tickets")

    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert shelving.shelve_run(run, renew=True) == (
        "the run is finished but not on the shelf of sources (no space left on device); "
        f"`headstart sources add '{run}'` puts it there later"
    )


def test_a_shelf_that_cannot_be_read_fails_no_finished_run(tmp_path, shelf_folder):
    run = make_run(tmp_path / "tickets")
    shelf_folder.write_text("")
    assert shelving.shelve_run(run, renew=False) == (
        f"the run is finished but not on the shelf of sources (The shelf at {str(shelf_folder)!r} cannot be read (not a directory); "
        f"repair it or name another in HEADSTART_SHELF); `headstart sources add {run}` puts it there later"
    )
