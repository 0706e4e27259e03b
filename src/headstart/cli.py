"""The verbs of the command line: parse, call, print. No logic.

Nothing heavy is imported before a verb runs, so that every `--help` answers at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import io
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headstart import __version__, options
from headstart.errors import HeadstartError, ResourceError, SettingsError, out_of_memory
from headstart.options import Parser
from headstart.settings import Settings, did_you_mean, make_settings, read_config

FOUND = 1  # exit status of `check` when something needs a hand
INTERRUPTED = 130  # 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE: the reader of our output went away


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    Args:
        arguments: the words after `headstart`; None: those of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # an ASCII terminal can say most of it; standard error does so by itself
    # The libraries below talk about their own business on standard error; what matters to a person, headstart says itself.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        try:
            status = _parse_and_call(words)
        except SystemExit as done:  # argparse has printed the help or the version
            status = int(done.code or 0)
        if sys.stdout is not None:  # closed by whoever began it
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        if words[0] in ("fit", "rank"):
            _complain(f"Stopped. Whatever was finished is kept; to go on, run the same command again: {_command(words)}")
        else:
            _complain("Stopped before the end.")
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output once more at its end; that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        told = explain(error, words[0] if words else "")
        if told is None or os.environ.get("HEADSTART_DEBUG") == "1":
            raise
        _complain(str(told))
        return told.exit_status


def explain(error: BaseException, verb: str) -> HeadstartError | None:
    """The error as a sentence that helps with this verb, or None when it is a fault of headstart's own."""
    if isinstance(error, HeadstartError):
        return error
    fits = verb == "fit"
    again = "run the same command again: whatever was finished is kept." if fits else "run the same command again."
    if out_of_memory(error):
        lighter = "Give fewer tokens a batch (--batch-tokens), shorter texts (--max-length) or a smaller source (--source)"
        return ResourceError(f"The machine ran out of memory. {lighter if fits else 'Close other programs'}, and {again}")
    error = _of_the_system(error)
    if not isinstance(error, OSError):
        return None
    place = repr(error.filename) if error.filename else ""
    elsewhere = {"fit": ", or choose another place with --out and --store", "predict": ", or choose another place with --out"}.get(verb, "")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(f"The disk{f' that holds {place}' if place else ''} is full. Free some space{elsewhere}, and {again}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ResourceError(f"There is no permission to use {place or 'a file'}. Change its permissions{elsewhere}.")
    if error.errno in (errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EIO, errno.EFBIG, errno.EMFILE, errno.ENFILE):
        return ResourceError(f"{place or 'A file'} cannot be used: {str(error.strerror).lower()}. Check the path and {again}")
    return None


def _of_the_system(error: BaseException) -> BaseException:
    """The operating system's own error where a library tells it in words alone, as those in Rust do (safetensors, tokenizers)."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    return error if told is None or isinstance(error, OSError) else OSError(int(told[1]), os.strerror(int(told[1])))


def _complain(message: str) -> None:
    """Say what went wrong on standard error, one problem a line."""
    for line in message.splitlines():
        print(f"headstart: {line}", file=sys.stderr)


def _command(words: Sequence[str]) -> str:
    """The command line as a person can type it again."""
    return shlex.join(["headstart", *words])


def _parse_and_call(words: list[str]) -> int:
    parser, verbs = _make_parsers()
    if not words:
        parser.print_help(sys.stderr)
        return SettingsError.exit_status
    if not words[0].startswith("-") and words[0] not in verbs:
        raise SettingsError(f"There is no verb {words[0]!r}; the verbs are {', '.join(verbs)}.{did_you_mean(words[0], verbs)}")
    parsed, unknown = parser.parse_known_args(words)
    if unknown:
        raise SettingsError(_unknown_words(unknown, parsed.verb, verbs[parsed.verb]))
    run: Callable[[argparse.Namespace, list[str]], int] = parsed.run
    return run(parsed, words)


def _unknown_words(words: list[str], verb: str, parser: Parser) -> list[str]:
    """A complaint for every unknown option, or for what is too much. A word behind an unknown option is taken for its value."""
    problems = []
    for before, word in zip(["", *words], words, strict=False):
        if word.startswith("-"):
            name = word.split("=", 1)[0]
            problems.append(f"`headstart {verb}` has no option {name}.{did_you_mean(name, parser.known_options())}")
        elif not before.startswith("-"):
            problems.append(f"`headstart {verb}` does not know what to do with {word!r}. See `headstart {verb} --help`.")
    return problems


def _make_parsers() -> tuple[Parser, dict[str, Parser]]:
    """The parser of the whole line, and that of each verb by its name."""
    parser = Parser(
        prog="headstart",
        description="Transfer learning with language models: where from, how, and whether it helps.",
        epilog="`headstart VERB --help` tells the options of a verb. HEADSTART_DEBUG=1 shows where in the code an error arose.",
    )
    parser.add_argument("--version", action="version", version=f"headstart {__version__}")
    choices = parser.add_subparsers(metavar="VERB", dest="verb", parser_class=Parser, required=True)
    described: list[tuple[str, str, Callable[[Parser], None], Callable[[argparse.Namespace, list[str]], int]]] = [
        ("check", "say what is wrong with labelled data, before any model is loaded", options.check_options, _check),
        ("fit", "find the best way to transfer, train it, judge it, save it", options.fit_options, _fit),
        ("rank", "say which sources, or source tasks, to start from, without training any", options.rank_options, _rank),
        ("select", "choose rows of neighbouring data that a target can learn from, and write them", options.select_options, _select),
        ("predict", "label a file of any size with the model of a run", options.predict_options, _predict),
        ("report", "write the report of a run again and say where it is", options.report_options, _report),
        ("sources", "list, add, describe or remove what stands on the shelf of sources", options.sources_options, _sources),
        ("env", "say what this machine is and what headstart makes of it", options.env_options, _env),
        ("cache", "show or prune the store of what was read", options.cache_options, _cache),
    ]
    verbs = {}
    for name, what, add_options, run in described:
        verbs[name] = choices.add_parser(name, help=what, description=f"{what[:1].upper()}{what[1:]}.")
        add_options(verbs[name])
        # argparse would list all options before the first useful word of the help.
        places = [str(action.metavar) for action in verbs[name]._get_positional_actions()]
        verbs[name].usage = " ".join([f"headstart {name}", *places, "[OPTIONS]"])
        verbs[name].set_defaults(run=run)
    return parser, verbs


# --- verbs ---


def _given(parsed: argparse.Namespace) -> dict[str, Any]:
    """The settings that the command line names."""
    names = {item.name for item in dataclasses.fields(Settings)}
    return {name: value for name, value in vars(parsed).items() if name in names}


def _fit(parsed: argparse.Namespace, words: list[str]) -> int:
    begin = time.perf_counter()  # loading the libraries takes seconds of a person's budget too
    settings = make_settings((read_config(parsed.config) if parsed.config else {}) | _given(parsed))
    from headstart import pipeline, progress

    progress.set_quiet(settings.quiet)
    if settings.dry_run:
        print(pipeline.plan(parsed.data, settings))
        return 0
    print(pipeline.fit(parsed.data, settings, command=_command(words), begin=begin).summary())
    return 0


def _check(parsed: argparse.Namespace, words: list[str]) -> int:
    settings = make_settings({name: value for name, value in _given(parsed).items() if name != "source"})
    from headstart import checking

    checked = checking.check_data(
        parsed.data,
        task=settings.task,
        text=settings.text,
        label=settings.label,
        test=settings.test,
        validation=settings.validation,
        source=parsed.source,
        max_length=settings.max_length,
    )
    try:
        if parsed.suspects:
            from headstart.suspects import suspected_labels

            source = (parsed.source,) if parsed.source else ()
            checked = checking.with_findings(checked, suspected_labels(checked, dataclasses.replace(settings, source=source)))
    finally:  # what was found without a model is told, whatever becomes of the suspects
        print(checking.findings_text(checked))
    if parsed.fix:
        from headstart.data.clean import write_cleaned
        from headstart.tasks.registry import DEFAULT

        single, answers = checked.task == DEFAULT, checked.task == "qa"
        print("", *write_cleaned(checked.train, checked.result, single_labels=single, answers=answers), sep="\n")
    return FOUND if checking.needs_a_hand(checked.result.findings) else 0


def _rank(parsed: argparse.Namespace, words: list[str]) -> int:
    settings = make_settings(_given(parsed))
    from headstart import progress
    from headstart.ranking import data_sets, table
    from headstart.ranking.rank import rank, require_folder, save_ranking
    from headstart.records import DataRanking, Ranking

    progress.set_quiet(settings.quiet)
    if parsed.save is not None:
        require_folder(Path(parsed.save))
    found: Ranking | DataRanking
    if settings.via:
        found = data_sets.rank_data(parsed.data, settings, command=_command(words))
        lines = data_sets.data_table(found)
    else:
        found = rank(parsed.data, settings, command=_command(words))
        lines = table.table(found, scores=parsed.scores)
    for line in lines:
        print(line)
    if parsed.save is not None:
        print(f"page  {save_ranking(found, Path(parsed.save))}")
    return 0


def _select(parsed: argparse.Namespace, words: list[str]) -> int:
    given = _given(parsed)
    out, format = parsed.out, parsed.format
    settings = make_settings({name: value for name, value in given.items() if name != "out"})
    from headstart import progress
    from headstart.instances.select import select_rows

    progress.set_quiet(settings.quiet)
    done = select_rows(parsed.data, settings, out=out, format=format)
    for line in done.noticed:
        _complain(line)
    for path, chosen, used in done.by_set:
        _complain(f"{path}: {chosen:,} of {used:,} rows")
    return 0


def _predict(parsed: argparse.Namespace, words: list[str]) -> int:
    from headstart import predict, progress

    progress.set_quiet(getattr(parsed, "quiet", False))
    done = predict.predict_file(
        parsed.folder, parsed.data, out=parsed.out, format=parsed.format, top=predict.parse_top(parsed.top), text=parsed.text
    )
    for line in done.warnings:
        _complain(line)
    return 0


def _report(parsed: argparse.Namespace, words: list[str]) -> int:
    from headstart import runs

    print(runs.rewrite_report(parsed.folder))
    return 0


def _sources(parsed: argparse.Namespace, words: list[str]) -> int:
    from headstart import shelving

    if parsed.action == "add":
        lines = shelving.add(parsed.names, parsed.name)
    elif parsed.action == "describe":
        lines = shelving.describe(parsed.names)
    elif parsed.action == "remove":
        lines = shelving.remove(parsed.names)
    else:
        lines = shelving.listing_json() if getattr(parsed, "json", False) else shelving.listing()
    for line in lines:
        print(line)
    return 0


def _env(parsed: argparse.Namespace, words: list[str]) -> int:
    from headstart import environment

    print(environment.describe())
    return 0


def _cache(parsed: argparse.Namespace, words: list[str]) -> int:
    from headstart import cache

    folder = cache.store_folder(getattr(parsed, "store", None))
    if parsed.to is not None and parsed.action != "prune":
        raise SettingsError("--to says what prune leaves; give it as in `headstart cache prune --to 2`.")
    if parsed.action == "prune":
        print(cache.prune(folder, to_bytes=cache.parse_gb(parsed.to)))
    else:
        print(cache.listing(folder) if parsed.action == "list" else cache.size(folder))
    return 0
