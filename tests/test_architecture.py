"""What docs/architecture.md says of the house: every room is named, and imports run from the top of its list to the bottom."""

import ast
import re
from pathlib import Path

import headstart

PACKAGE = Path(headstart.__file__).parent
PAGE = Path(__file__).resolve().parent.parent / "docs" / "architecture.md"


def listed():
    """The rooms in the order of the page."""
    block = re.search(r"```text\n(__main__.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    names = [re.split(r"\s{2,}", line)[0] for line in block.group(1).splitlines()]
    return [room.strip().rstrip("/") for name in names for room in name.split(",")]


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """The rooms that a file imports when it is imported itself: not within functions, not for types alone."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "headstart":
            rest = node.module.split(".")[1:]
            yield from rest[:1] or [alias.name for alias in node.names]


def test_every_room_is_named_once():
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__"}
    assert sorted(listed()) == sorted(rooms)


def test_imports_run_from_the_top_of_the_list_to_the_bottom():
    place = {room: number for number, room in enumerate(listed())}
    back = [
        f"{path.relative_to(PACKAGE)} imports {room}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for room in imports(path)
        if room in place and room_of(path) in place and place[room] < place[room_of(path)]
    ]
    assert back == []
