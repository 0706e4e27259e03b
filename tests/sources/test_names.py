"""Text files of names, and a run that would begin from itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.errors import RunError, SourceError
from headstart.sources import adding
from headstart.sources.names import expand_names, refuse_own_source
from headstart.sources.resolve import resolve_source
from modelfiles import make_run, make_source


def test_a_text_file_stands_for_the_names_in_it_and_each_name_counts_once(tmp_path: Path) -> None:
    listed = tmp_path / "names.txt"
    listed.write_text("\ufeff# old ones\r\n tickets \n\n  # and\nhub:a/b@main # pinned\nruns/a#b\ntickets\n", encoding="utf-8")
    assert expand_names(["first", str(listed), "runs/a#b", "last"]) == ("first", "tickets", "hub:a/b@main", "runs/a#b", "last")
    assert expand_names([]) == ()


def test_a_folder_or_nothing_of_such_a_name_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    names = (str(tmp_path / "folder.txt"), str(tmp_path / "none.txt"))
    assert expand_names(names) == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# nothing\n\n", "'{}' names no source; write one a line."),
        (b"\xff\xfe\x00", "'{}' is no text file of names (not UTF-8); write one source a line."),
        (b"tickets\n{}\n", "Line 2 of '{}' names another file of names, '{}'; write its names there instead."),
    ],
)
def test_a_list_that_cannot_be_used_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    listed = tmp_path / "names.txt"
    listed.write_bytes(content.replace(b"{}", str(listed).encode()))  # the last one names itself: no endless round
    with pytest.raises(SourceError) as caught:
        expand_names([str(listed)])
    assert str(caught.value) == message.replace("{}", str(listed))


def test_the_folder_of_an_unknown_user_is_refused_in_one_sentence() -> None:
    told = "The source '~nouser/m.txt' begins with '~nouser', a folder that this machine does not know; write it out."
    for ask in (lambda name: expand_names([name]), resolve_source, adding.add_place, adding.stands_there):
        with pytest.raises(SourceError) as caught:
            ask("~nouser/m.txt")
        assert str(caught.value) == told


@pytest.mark.parametrize("word", ["x", "x/model", "x/../x", "link", "on the shelf"])
def test_a_run_is_not_its_own_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.chdir(tmp_path)
    adding.add_run(make_run(tmp_path / "x"), "on the shelf")
    (tmp_path / "link").symlink_to("x")
    with pytest.raises(RunError) as caught:
        refuse_own_source(Path("x"), ["other", word])
    assert str(caught.value) == (
        f"The run in 'x' would be its own source: {word!r} is in that folder. "
        "Name another folder with --out, or another source with --source."
    )


def test_other_sources_are_not_taken_for_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shelf_folder: Path) -> None:
    monkeypatch.chdir(tmp_path)
    adding.add_place(str(make_source(tmp_path / "xy")), "x2")
    (shelf_folder / "torn.json").write_text("{")
    refuse_own_source(Path("x"), ["xy", "x2", "torn", "nowhere", "~nouser/x", "all-MiniLM-L6-v2", "hub:a/x"])
