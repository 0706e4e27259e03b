"""The command line: quick help, options made from the settings, and errors in plain sentences."""

import dataclasses
import errno
import io
import os
import re
import subprocess
import sys
import time
import types

import pytest

from headstart import __version__, cli, options
from headstart.errors import DataError, ResourceError, RunError, SettingsError
from headstart.settings import Metric, Settings, flag, for_tasks, setting_types

VERBS = ["check", "fit", "predict", "rank", "select", "report", "sources", "env", "cache"]
HEAVY = ["torch", "transformers", "numpy", "sklearn", "scipy", "pyarrow", "matplotlib", "pandas", "tqdm", "yaml", "lmdb"]


def headstart(*words, **options):
    """The command line in a process of its own."""
    return subprocess.run([sys.executable, "-m", "headstart", *words], capture_output=True, text=True, check=False, **options)


def told(capsys, *words):
    """Exit status and standard error of one command line."""
    status = cli.main(words)
    return status, capsys.readouterr().err


@pytest.fixture
def pipeline(monkeypatch):
    """A stand-in for the engine; set `.error` to make `fit` raise it."""
    calls = []

    def fit(data, settings, *, command, begin):
        calls.append((data, settings, command))
        assert 0 <= time.perf_counter() - begin < 60
        if made.error is not None:
            raise made.error
        return types.SimpleNamespace(summary=lambda: "Transfer helps.")

    made = types.SimpleNamespace(fit=fit, plan=lambda data, settings: f"the plan for {data}", calls=calls, error=None)
    monkeypatch.setitem(sys.modules, "headstart.pipeline", made)
    monkeypatch.setattr("headstart.pipeline", made, raising=False)  # `from headstart import pipeline` looks here first
    return made


# --- help ---


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_answers_at_once(verb):
    words = [verb, "--help"] if verb else ["--help"]
    best = float("inf")
    for _ in range(6):  # the least of some runs: other work on the machine only ever slows
        begin = time.perf_counter()
        done = headstart(*words)
        best = min(best, time.perf_counter() - begin)
        assert done.returncode == 0
        assert done.stdout.startswith(f"usage: headstart {verb}".rstrip())
        if best < 0.4:
            return
    assert best < 0.4


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_imports_nothing_heavy(verb):
    script = (
        "import sys, headstart, headstart.cli\n"
        f"headstart.cli.main({[verb, '--help'] if verb else ['--help']!r})\n"
        f"print('HEAVY', *(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY"


@pytest.mark.parametrize("item", dataclasses.fields(Settings), ids=lambda item: item.name)
def test_fit_has_an_option_for_every_setting_with_its_default_and_range(item, capsys):
    cli.main(["fit", "--help"])
    words = " ".join(capsys.readouterr().out.split())
    meta, kind = item.metadata, setting_types()[item.name]
    assert f" {flag(item.name)}" in words
    if meta["low"] is not None and meta["high"] is not None:
        told = "; for the task" if meta["tasks"] else "]"
        assert f"{options.plain(meta['low'])} to {options.plain(meta['high'])}{told}" in words
    assert not meta["tasks"] or f"{for_tasks(item)}]" in words
    if kind is int and isinstance(item.default, int):
        assert f"[default {item.default}" in words


def test_without_a_verb_the_help_goes_to_standard_error(capsys):
    status, error = told(capsys)
    assert status == 2
    assert error.startswith("usage: headstart [-h] [--version] VERB")


def test_version_is_the_packages(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"headstart {__version__}\n"


# --- parsing ---


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["fitt", "x"],
            "There is no verb 'fitt'; the verbs are check, fit, rank, select, predict, report, sources, env, cache. Did you mean 'fit'?",
        ),
        (["fit"], "The following arguments are required: DATA. See `headstart fit --help`."),
        (["predict", "run"], "The following arguments are required: DATA. See `headstart predict --help`."),
        (["fit", "x", "--bugdet", "90"], "`headstart fit` has no option --bugdet. Did you mean '--budget'?"),
        (["fit", "x", "--bugdet=90"], "`headstart fit` has no option --bugdet. Did you mean '--budget'?"),
        (["fit", "x", "--max_length", "90"], "`headstart fit` has no option --max_length. Did you mean '--max-length'?"),
        (["fit", "x", "--bud", "90"], "`headstart fit` has no option --bud. Did you mean '--budget'?"),  # no silent abbreviation
        (["fit", "x", "y"], "`headstart fit` does not know what to do with 'y'. See `headstart fit --help`."),
        (["fit", "x", "--seed"], "Argument --seed: expected one argument. See `headstart fit --help`."),
        (["fit", "x", "--seed", "-1"], "--seed is -1; it must lie between 0 and 4.29497e+09."),
        (["fit", "x", "--cut", "two"], "--cut is 'two'; it must be a whole number."),
        (
            ["fit", "x", "--metric", "macrof1"],
            "--metric is 'macrof1'; it must be one of accuracy, macro_f1, log_loss, entity_f1, micro_f1, "
            "spearman, pearson, answer_f1, exact_match, bleu, chrf, bits_per_byte, rouge_l. Did you mean 'macro_f1'?",
        ),
        (
            ["fit", "x", "--budget", "soon"],
            "--budget is 'soon'; give seconds as a number, or a number with s, m or h, as in 90s or 10m.",
        ),
        (["fit", "x", "--config", "no.yaml"], "There is no config file 'no.yaml'."),
        (["cache", "--to", "2"], "--to says what prune leaves; give it as in `headstart cache prune --to 2`."),
        (["sources", "add"], "The following arguments are required: PLACE. See `headstart sources add --help`."),
        (["sources", "add", "x", "--nam", "y"], "`headstart sources` has no option --nam. Did you mean '--name'?"),
        (["predict", "run", "x", "--top", "0"], "--top is 0; it must be at least 1."),
        (["predict", "run", "x", "--format", "xml"], "--format is 'xml'; it must be one of csv, jsonl, parquet."),
    ],
)
def test_what_cannot_be_understood_is_told_with_the_nearest_name(words, message, capsys):
    assert told(capsys, *words) == (2, f"headstart: {message}\n")


def test_all_problems_are_told_at_once(capsys):
    status, error = told(capsys, "fit", "x", "--epochs", "many", "--cut", "two")
    assert (status, sorted(error.splitlines())) == (
        2,
        ["headstart: --cut is 'two'; it must be a whole number.", "headstart: --epochs is 'many'; it must be a whole number."],
    )
    status, error = told(capsys, "fit", "x", "--seeed", "1", "--bugdet", "2")
    assert error.splitlines() == [
        "headstart: `headstart fit` has no option --seeed. Did you mean '--seed'?",
        "headstart: `headstart fit` has no option --bugdet. Did you mean '--budget'?",
    ]


def test_options_reach_the_settings_and_nothing_else_changes(pipeline, capsys):
    words = ["fit", "a b.csv", "--text", "t", "--source", "one", "--source", "two", "--budget", "2m", "--metric", "accuracy", "--quiet"]
    assert cli.main([*words, "--strategy", "probe"]) == 0
    [(data, settings, command)] = pipeline.calls
    assert data == "a b.csv"
    assert settings == Settings(text="t", source=("one", "two"), budget=120.0, metric=Metric.ACCURACY, quiet=True, strategy=("probe",))
    assert command == ("headstart fit 'a b.csv' --text t --source one --source two --budget 2m --metric accuracy --quiet --strategy probe")
    assert capsys.readouterr().out == "Transfer helps.\n"


def test_the_command_line_wins_over_the_config_file(pipeline, tmp_path):
    (tmp_path / "c.yaml").write_text("epochs: 3\nseed: 7\nquiet: true\nsource: [a, b]\n")
    cli.main(["fit", "x", "--config", str(tmp_path / "c.yaml"), "--epochs", "5", "--no-quiet"])
    assert pipeline.calls[0][1] == Settings(epochs=5, seed=7, quiet=False, source=("a", "b"))


def test_an_unknown_name_in_the_config_file_is_told(pipeline, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("epoch: 3\n")
    status, error = told(capsys, "fit", "x", "--config", str(tmp_path / "c.yaml"))
    assert (status, error) == (2, "headstart: There is no setting 'epoch'. Did you mean 'epochs'?\n")


def test_dry_run_prints_the_plan_and_fits_nothing(pipeline, capsys):
    assert cli.main(["fit", "x.csv", "--dry-run"]) == 0
    assert capsys.readouterr().out == "the plan for x.csv\n"
    assert pipeline.calls == []


# --- errors ---

OUT_OF_MEMORY = (
    "The machine ran out of memory. Give fewer tokens a batch (--batch-tokens), shorter texts (--max-length) or a smaller source "
    "(--source), and run the same command again: whatever was finished is kept."
)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DataError("The file is odd."), 2, "The file is odd."),
        (SettingsError(["One.", "Two."]), 2, "One.\nheadstart: Two."),
        (RunError("In the way."), 2, "In the way."),
        (ResourceError("The machine said no."), 3, "The machine said no."),
        (MemoryError(), 3, OUT_OF_MEMORY),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"), 3, OUT_OF_MEMORY),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory."), 3, OUT_OF_MEMORY),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/x/model.safetensors"),
            3,
            "The disk that holds 'runs/x/model.safetensors' is full. Free some space, or choose another place with --out and --store, "
            "and run the same command again: whatever was finished is kept.",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            3,
            "The disk is full. Free some space, or choose another place with --out and --store, "
            "and run the same command again: whatever was finished is kept.",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs/x"),
            3,
            "There is no permission to use 'runs/x'. Change its permissions, or choose another place with --out and --store.",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "runs/x"),
            3,
            "There is no permission to use 'runs/x'. Change its permissions, or choose another place with --out and --store.",
        ),
        (
            IsADirectoryError(errno.EISDIR, "Is a directory", "runs"),
            3,
            "'runs' cannot be used: is a directory. Check the path and run the same command again: whatever was finished is kept.",
        ),
    ],
)
def test_what_a_person_can_put_right_is_one_sentence_without_traceback(pipeline, capsys, error, status, message):
    pipeline.error = error
    assert told(capsys, "fit", "x") == (status, f"headstart: {message}\n")


@pytest.mark.parametrize(
    ("error", "verb", "message"),
    [
        (MemoryError(), "predict", "The machine ran out of memory. Close other programs, and run the same command again."),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "predict",
            "The disk is full. Free some space, or choose another place with --out, and run the same command again.",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "check", "The disk is full. Free some space, and run the same command again."),
        (
            PermissionError(errno.EACCES, "Permission denied", "x.csv"),
            "check",
            "There is no permission to use 'x.csv'. Change its permissions.",
        ),
    ],
)
def test_no_verb_is_told_to_use_options_that_it_does_not_have(error, verb, message):
    assert str(cli.explain(error, verb)) == message


def test_debugging_shows_the_traceback(pipeline, monkeypatch):
    monkeypatch.setenv("HEADSTART_DEBUG", "1")
    pipeline.error = DataError("The file is odd.")
    with pytest.raises(DataError):
        cli.main(["fit", "x"])


def test_a_fault_of_our_own_is_not_hidden(pipeline):
    pipeline.error = ValueError("a bug")
    with pytest.raises(ValueError, match="a bug"):
        cli.main(["fit", "x"])


def test_ctrl_c_says_how_to_go_on(pipeline, capsys):
    pipeline.error = KeyboardInterrupt()
    status, error = told(capsys, "fit", "my data.csv", "--seed", "3")
    assert (status, error) == (
        130,
        "headstart: Stopped. Whatever was finished is kept; to go on, run the same command again: headstart fit 'my data.csv' --seed 3\n",
    )


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    # `true` closes the pipe at once; the shell tells headstart's status, and standard error must stay empty.
    script = "import sys, time; from headstart import cli, options; time.sleep(0.5); sys.exit(cli.main(sys.argv[1:]))"
    command = f'"{sys.executable}" -c "{script}" cache --store {tmp_path / "none"} | true; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{cli.BROKEN_PIPE}\n", "")


def test_options_of_sources_may_stand_on_either_side_of_the_places(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr("headstart.shelving.add", lambda places, name: calls.append((places, name)) or ["done"])
    assert [cli.main(["sources", "add", *words]) for words in (["a", "b"], ["a", "--name", "n"], ["--name", "n", "a"])] == [0, 0, 0]
    assert calls == [(["a", "b"], None), (["a"], "n"), (["a"], "n")]
    assert capsys.readouterr().out == "done\n" * 3


def test_what_a_terminal_cannot_say_is_written_in_escapes(tmp_path, monkeypatch):
    rows = "".join(f"a question about number {k},été\nan answer to number {k},hiver\n" for k in range(9))
    (tmp_path / "a.csv").write_text("text,label\n" + rows + "one more,ÉTÉ\n", encoding="utf-8")
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", terminal)
    assert cli.main(["check", str(tmp_path / "a.csv")]) == cli.FOUND
    terminal.flush()
    said = terminal.buffer.getvalue()
    assert rb"1 label is spelled in more than one way: '\xe9t\xe9' and '\xc9T\xc9'." in said


# --- the other verbs, as far as they are only wired here ---


def test_cache_says_size_lists_and_prunes(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "none"))
    for words in (["cache"], ["cache", "list"], ["cache", "prune", "--to", "1"], ["cache", "--store", str(tmp_path / "none")]):
        assert cli.main(words) == 0
        assert capsys.readouterr().out == f"There is no store at {tmp_path / 'none'} yet; the first run makes it.\n"


def test_report_of_a_folder_without_a_finished_run_says_so(tmp_path, capsys):
    status, error = told(capsys, "report", str(tmp_path))
    assert (status, error) == (
        2,
        f"headstart: The folder {str(tmp_path)!r} holds no finished run; run the same `headstart fit` again to finish it.\n",
    )


def test_predict_writes_to_standard_output_and_warns_on_standard_error(tmp_path, capsysbinary, monkeypatch):
    class Model:
        labels = ("a", "b")

        def predict_proba(self, texts):
            return [[0.75, 0.25]] * len(texts)

    monkeypatch.setitem(sys.modules, "headstart.loaded", types.SimpleNamespace(load=lambda folder: Model()))
    (tmp_path / "in.csv").write_text('n,text\n1,hi\n2,""\n')
    assert cli.main(["predict", "run", str(tmp_path / "in.csv"), "--top", "2"]) == 0
    out, error = capsysbinary.readouterr()
    assert out == b"n,text,prediction,probability,prediction_2,probability_2\n1,hi,a,0.75,b,0.25\n2,,,,,\n"
    assert error == b"headstart: 1 row of 2 without a text got no prediction.\n"


def test_predict_without_a_run_says_so(tmp_path, capsys):
    (tmp_path / "in.csv").write_text("text\nhi\n")
    status, error = told(capsys, "predict", str(tmp_path / "none"), str(tmp_path / "in.csv"))
    assert status == 2
    assert re.fullmatch(r"headstart: There is no folder '.*none'; give the folder of a run, or its model folder\.\n", error)


def test_the_command_line_touches_no_environment_that_is_set(monkeypatch):
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "info")
    cli.main(["--version"])
    assert os.environ["TRANSFORMERS_VERBOSITY"] == "info"
