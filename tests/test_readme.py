"""What the documents say can be done can be done: commands parse, links lead somewhere, tables and versions are up to date."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import headstart
from headstart import cli
from headstart.strategies.ladder import known_strategies

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "examples" / "README.md"]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def code_lines(language: str) -> list[tuple[str, str]]:
    """The lines of all code blocks in this language, each with the name of its document; comments and empty lines left out."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), flags=re.M | re.S):
            found += [(document.name, line.split(" #")[0].strip()) for line in block.splitlines() if line.strip()]
    return found


COMMANDS = [line for _, line in code_lines("sh")]


def test_the_readme_shows_the_two_commands():
    assert "make demo" in COMMANDS
    assert "| `make test` |" in README
    assert "make test\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_make_target_in_the_documents_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    said = {
        word for document in DOCUMENTS for word in re.findall(r"(?:^|`)make ([a-z-]+)(?=\s|`)", document.read_text(encoding="utf-8"), re.M)
    }
    assert {"demo", "test"} <= said
    assert said <= targets


@pytest.mark.parametrize("line", sorted({line for line in COMMANDS if line.startswith("headstart ")}))
def test_every_headstart_command_in_the_documents_parses(line):
    parser, _ = cli._make_parsers()
    parsed, unknown = parser.parse_known_args(shlex.split(line)[1:])
    assert unknown == []
    assert cli.make_settings(cli._given(parsed))


def test_the_readme_has_a_command_of_every_verb():
    assert {shlex.split(line)[1] for line in COMMANDS if line.startswith("headstart ")} == set(cli._make_parsers()[1])


def test_options_named_in_the_readme_exist():
    _, verbs = cli._make_parsers()
    known = {option for verb in verbs.values() for option in verb.known_options()}
    assert set(re.findall(r"`(--[a-z-]+)", README)) <= known


def test_python_in_the_readme_uses_public_names_only():
    blocks = re.findall(r"^```python\n(.*?)^```", README, flags=re.M | re.S)
    assert blocks
    for block in blocks:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "headstart":
                assert node.attr in headstart.__all__
            if isinstance(node, ast.ImportFrom) and node.module == "headstart":
                assert {alias.name for alias in node.names} <= set(headstart.__all__)


def test_the_table_of_the_ladder_has_every_rung():
    rungs = re.findall(r"^\| `([a-z]+)` \|", README, flags=re.M)
    assert sorted(rungs) == sorted(known_strategies())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_the_documents_lead_somewhere(document):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_page_of_settings_is_up_to_date():
    spec = importlib.util.spec_from_file_location("make_settings", ROOT / "docs" / "make_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run `python docs/make_settings.py`"


def test_project_package_and_changelog_name_one_version():
    project = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.M)
    newest = re.search(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M)
    assert project[1] == headstart.__version__ == newest[1]


def test_pinned_versions_satisfy_what_the_project_asks_for():
    from packaging.requirements import Requirement

    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            pins.setdefault(pin.name.lower(), []).append(next(iter(pin.specifier)).version)
    arrays = re.findall(
        r"^(?:dependencies|dev|onnx|hub|benchmarks) = (\[.*?\])$", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M | re.S
    )
    asked = [Requirement(text) for array in arrays for text in ast.literal_eval(array)]
    assert len(asked) > 20
    for requirement in asked:
        versions = pins[requirement.name.lower()]
        assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_the_makefile_says_what_is_wrong_when_no_python_is_found(tmp_path):
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    done = subprocess.run(["make", "-s", "PYTHON=", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "headstart needs Python 3.10 or newer and found none; install one, or say make PYTHON=/path/to/python."
    )


def test_the_makefile_says_what_is_wrong_when_python_cannot_make_an_environment(tmp_path):
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    poor = tmp_path / "python"
    poor.write_text(f'#!/bin/sh\n[ "$2" = venv ] && exit 1\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    poor.chmod(0o755)
    done = subprocess.run(["make", "-s", f"PYTHON={poor}", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[:2] == [
        f"{poor} could not make a virtual environment, most likely because it lacks ensurepip; on Debian and Ubuntu",
        "'apt install python3-venv' adds it. Then run the same command again.",
    ]
    assert not (tmp_path / ".venv" / ".made").exists()


def test_the_findings_shown_in_the_readme_are_what_check_prints(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    command = next(line for line in COMMANDS if line.startswith("headstart check examples/"))
    assert cli.main(shlex.split(command)[1:]) == cli.FOUND
    printed = capsys.readouterr().out.splitlines()
    shown = re.search(r"^```text\n(examples/.*?)^```", README, flags=re.M | re.S)[1].splitlines()
    assert len(shown) > 10
    assert [line for line in shown if line not in printed] == []
