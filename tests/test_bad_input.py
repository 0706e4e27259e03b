"""What the machine or the run's own folder refuses, through the whole command line: one plain sentence, and nothing is lost."""

import errno
import os
import resource
import shutil
import sqlite3
import subprocess
import sys

import pytest

from headstart import cli, runs
from small import bare, sentences, write_csv
from tiny import make_tiny

KEPT = "run the same command again: whatever was finished is kept."
OUT_OF_MEMORY = (
    "The machine ran out of memory. Give fewer tokens a batch (--batch-tokens), shorter texts (--max-length) or a smaller source "
    f"(--source), and {KEPT}"
)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A folder with train.csv, test.csv and a tiny source."""
    folder = tmp_path_factory.mktemp("task")
    rows = sentences(120, 1)
    write_csv(folder / "train.csv", rows[:90])
    write_csv(folder / "test.csv", rows[90:])
    make_tiny(folder / "source", "bert", blocks=2)
    return folder


@pytest.fixture(autouse=True)
def quick():
    """What has tests of its own is left out."""
    with bare():
        yield


def words(task, out, **changed):
    given = {"test": task / "test.csv", "source": task / "source", "store": task / "store", "out": out, "epochs": 1, "resamples": 100}
    options = [word for name, value in (given | changed).items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return ["fit", str(task / "train.csv"), "--strategy", "tfidf", "--strategy", "probe", "--quiet", *options]


def told(capsys, *arguments):
    """Exit status and standard error of a command line."""
    status = cli.main(list(arguments))
    return status, capsys.readouterr().err


def finishes(capsys, task, out, **changed):
    """Whether the same command, given again, now ends well, leaving everything."""
    assert told(capsys, *words(task, out, **changed)) == (0, "")
    return {"metrics.json", "report.html", "model", "journal.jsonl"} <= {path.name for path in out.iterdir()}


# --- the folder ---


def test_a_file_in_the_place_of_the_run(task, tmp_path, capsys):
    place = tmp_path / "run"
    place.write_text("mine")
    assert told(capsys, *words(task, place)) == (2, f"headstart: {str(place)!r} is a file; name a folder with --out.\n")
    assert place.read_text() == "mine"


def test_a_folder_of_other_things_in_the_place_of_the_run(task, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("mine")
    message = f"headstart: The folder {str(tmp_path)!r} is not empty and holds no run; name another with --out.\n"
    assert told(capsys, *words(task, tmp_path)) == (2, message)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_another_run_in_the_place_of_the_run(task, tmp_path, capsys):
    assert finishes(capsys, task, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    message = (
        f"headstart: The folder {str(tmp_path / 'run')!r} holds another run (other data or settings: max_length); "
        "name another with --out, or remove it.\n"
    )
    assert told(capsys, *words(task, tmp_path / "run", max_length=16)) == (2, message)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


# --- a full disk ---


def full(place):
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))


@pytest.mark.parametrize(
    ("what", "target"),
    [
        pytest.param("the model", "headstart.saving.save_text_model", marks=pytest.mark.slow),
        ("the model", "headstart.saving.save_model"),
        ("the report", "headstart.report.build.write_report"),
        ("the journal's array", "headstart.runs.np.save"),
        pytest.param("run.yaml", "yaml.safe_dump", marks=pytest.mark.slow),
        ("splits.parquet", "pyarrow.parquet.write_table"),
    ],
)
def test_a_full_disk_while_something_is_written(task, tmp_path, capsys, monkeypatch, what, target):
    out = tmp_path / "run"
    with monkeypatch.context() as patched:

        def refuse(*_arguments, **_options):
            raise full(out / "file")

        if what == "the model":  # whichever kind has won
            patched.setattr("headstart.saving.save_model", refuse)
            patched.setattr("headstart.saving.save_text_model", refuse)
        patched.setattr(target, refuse)
        message = (
            f"headstart: The disk that holds {str(out / 'file')!r} is full. "
            f"Free some space, or choose another place with --out and --store, and {KEPT}\n"
        )
        assert told(capsys, *words(task, out)) == (3, message)
    assert not (out / "metrics.json").exists()
    before = (out / "journal.jsonl").read_text() if (out / "journal.jsonl").exists() else ""
    assert finishes(capsys, task, out)
    assert (out / "journal.jsonl").read_text().startswith(before)
    assert not [path for path in out.rglob(".*") if path.is_file()]


def test_a_disk_that_is_full_as_a_library_in_rust_tells_it(task, tmp_path, capsys, monkeypatch):
    from safetensors import SafetensorError

    def refuse(*_arguments, **_options):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patched:
        patched.setattr("headstart.saving.save_model", refuse)
        patched.setattr("headstart.saving.save_text_model", refuse)
        message = f"headstart: The disk is full. Free some space, or choose another place with --out and --store, and {KEPT}\n"
        assert told(capsys, *words(task, tmp_path / "run")) == (3, message)
    assert finishes(capsys, task, tmp_path / "run")


def test_a_disk_that_fills_up_within_a_line_of_the_journal_costs_that_line_only(task, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    original = runs.os.fsync
    synced = []

    def fsync(number):
        synced.append(number)
        if len(synced) == 3:
            os.ftruncate(number, os.fstat(number).st_size - 20)
            raise full(out / "journal.jsonl")
        return original(number)

    with monkeypatch.context() as patched:
        patched.setattr(runs.os, "fsync", fsync)
        assert told(capsys, *words(task, out))[0] == 3
    assert finishes(capsys, task, out)
    assert len(runs._read_journal(out / "journal.jsonl")) == 11


@pytest.mark.slow
def test_files_that_may_not_grow_any_more_in_a_process_of_its_own(task, tmp_path, capsys):
    out = tmp_path / "run"
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "import headstart.pipeline, headstart.outcome, headstart.saving, torch, transformers\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "from headstart import cli\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words(task, out)], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("headstart: ")
    assert done.stderr.splitlines()[-1].endswith(KEPT)
    assert not (out / "metrics.json").exists()
    assert finishes(capsys, task, out)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4000


# --- no permission ---


def test_a_folder_that_may_not_be_made(task, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"

    def refuse(self, *_arguments, **_options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    with monkeypatch.context() as patched:
        patched.setattr(runs.Path, "mkdir", refuse)
        message = (
            f"headstart: There is no permission to use {str(out)!r}. "
            "Change its permissions, or choose another place with --out and --store.\n"
        )
        assert told(capsys, *words(task, out)) == (3, message)
    assert finishes(capsys, task, out)


def test_a_journal_that_may_not_be_written(task, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"

    def refuse(place, mode="r", *rest, **options):
        if str(place).endswith("journal.jsonl"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))
        return open(place, mode, *rest, **options)

    with monkeypatch.context() as patched:
        patched.setattr(runs, "open", refuse, raising=False)
        message = (
            f"headstart: There is no permission to use {str(out / 'journal.jsonl')!r}. "
            "Change its permissions, or choose another place with --out and --store.\n"
        )
        assert told(capsys, *words(task, out)) == (3, message)
    assert finishes(capsys, task, out)


# --- out of memory ---


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(MemoryError(), id="python", marks=pytest.mark.slow),
        pytest.param(
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            ),
            id="torch",
        ),
        pytest.param(
            type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 20.00 MiB."),
            id="accelerator",
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.parametrize("where", ["headstart.backbone.reading.forward_batch", "headstart.strategies.probe.choose_probe"])
def test_want_of_memory(task, tmp_path, capsys, monkeypatch, error, where):
    def refuse(*_arguments, **_options):
        raise error

    changed = {"store": tmp_path / "store"}
    with monkeypatch.context() as patched:
        patched.setattr(where, refuse)
        assert told(capsys, *words(task, tmp_path / "run", **changed)) == (3, f"headstart: {OUT_OF_MEMORY}\n")
    assert finishes(capsys, task, tmp_path / "run", **changed)


# --- a damaged store ---


@pytest.fixture(scope="module")
def sound(task):
    """A folder with a finished run and the store that it filled."""
    with bare():
        assert cli.main(words(task, task / "sound" / "run", store=task / "sound" / "store")) == 0
    return task / "sound"


RARE = [pytest.param(harm, marks=pytest.mark.slow) for harm in ("cut short", "empty")]


@pytest.mark.parametrize("harm", ["overwritten", *RARE, "a flipped row"])
def test_a_damaged_store_costs_no_result(task, sound, tmp_path, capsys, harm):
    store = tmp_path / "store"
    shutil.copytree(sound / "store", store)
    [place] = store.glob("*.sqlite")
    content = place.read_bytes()
    if harm == "a flipped row":
        with sqlite3.connect(place) as connection:
            number, data = connection.execute("SELECT id, data FROM payload LIMIT 1").fetchone()
            connection.execute("UPDATE payload SET data = ? WHERE id = ?", (bytes([data[0] ^ 1]) + data[1:], number))
        connection.close()
    else:
        place.write_bytes({"overwritten": b"no database " * 500, "cut short": content[: len(content) // 2], "empty": b""}[harm])
    asked = [word for word in words(task, tmp_path / "after", store=store) if word != "--quiet"]
    status, error = told(capsys, *asked)
    assert status == 0
    assert "Traceback" not in error
    aside = f"It is now '{place.name}.damaged', which you may delete, and a fresh one is begun."
    said = {
        "overwritten": [f"The store {str(place)!r} is damaged (file is not a database). {aside}"],
        "cut short": [f"The store {str(place)!r} is damaged (database disk image is malformed). {aside}"],
        "empty": [],
        "a flipped row": [f"1 damaged row is computed anew; the store is {str(place)!r}."],
    }
    assert [line for line in error.splitlines() if "store" in line] == said[harm]
    before, after = (runs.open_run(folder).results for folder in (sound / "run", tmp_path / "after"))
    assert after.scores == before.scores
    assert after.winner.score == before.winner.score
    assert after.spent.texts_read > 0


# --- stopping it ---


def test_ctrl_c_in_mid_run_says_how_to_go_on_and_the_command_goes_on(task, tmp_path, capsys, monkeypatch):
    def stop(*_arguments, **_options):
        raise KeyboardInterrupt

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr("headstart.strategies.tfidf.fit_tfidf", stop)
        status, error = told(capsys, *words(task, out))
    assert (status, error) == (
        130,
        "headstart: Stopped. Whatever was finished is kept; to go on, run the same command again: "
        f"headstart {' '.join(words(task, out))}\n",
    )
    assert set(runs._read_journal(out / "journal.jsonl")) == {"sources", "rows that fit", "time and speed", "test file/probe/folds"}
    assert finishes(capsys, task, out)
