"""The options of every verb. Those of `fit` are made from `Settings`; nothing heavy is imported, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import dataclasses
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any, NoReturn

from headstart.errors import SettingsError
from headstart.settings import Settings, flag, for_tasks, setting_types

GROUP_TITLES = {
    "data": "the data",
    "transfer": "what to transfer, and how",
    "run": "the run",
    "training": "training above the cut",
    "judging": "judging",
    "store": "the store of what was read",
}


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are SettingsErrors, and whose unknown options name the nearest known one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raise the complaint as a sentence that says where help is."""
        raise SettingsError(f"{message[:1].upper()}{message[1:].rstrip('.')}. See `{self.prog} --help`.")

    def known_options(self) -> list[str]:
        """Of this verb and of what stands under it."""
        parts = [part for action in self._actions if isinstance(action, argparse._SubParsersAction) for part in action.choices.values()]
        return [word for parser in (self, *parts) for action in parser._actions for word in action.option_strings]


class _Formatter(argparse.HelpFormatter):
    """Help texts as wide as the terminal up to 110 columns, with room for the longest option."""

    def __init__(self, prog: str) -> None:
        import shutil

        super().__init__(prog, max_help_position=30, width=min(110, shutil.get_terminal_size().columns - 2))


def _add_setting(parser: Any, item: dataclasses.Field[Any], told: str | None = None) -> None:
    """The option of one setting, with its unit, range, default and, unless it is `told` otherwise, its help as `Settings` states them."""
    meta, kind = item.metadata, setting_types()[item.name]
    text = (told or meta["help"]).replace("%", "%%") + _circumstances(item)
    # SUPPRESS: what was not given is absent, so that the config file and the defaults can fill it.
    shared: dict[str, Any] = {"dest": item.name, "default": argparse.SUPPRESS, "help": text}
    names = [flag(item.name)] + ([meta["short"]] if meta["short"] else [])
    if kind is bool:
        parser.add_argument(*names, action=argparse.BooleanOptionalAction, **shared)
    elif typing.get_origin(kind) is tuple:
        parser.add_argument(*names, action="append", metavar=meta["placeholder"], **shared)
    else:
        parser.add_argument(*names, metavar=meta["placeholder"] or _type_name(kind), **shared)


def _type_name(kind: Any) -> str:
    """How help texts name a value of this type: its choices, or what it is."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "{" + ",".join(str(member.value) for member in kind) + "}"
    return "NUMBER"


def _circumstances(item: dataclasses.Field[Any]) -> str:
    """` [default 256 tokens; 8 to 8192]`: default, unit, range and tasks, where there are any."""
    meta, default = item.metadata, item.default
    unit = f" {meta['unit']}" if meta["unit"] else ""
    parts = []
    if default is not None and default != () and not isinstance(default, bool):
        parts.append(f"default {plain(default)}{unit}")
    elif unit:
        parts.append(f"in{unit}")
    low, high = meta["low"], meta["high"]
    if low is not None:
        parts.append(f"{plain(low)} to {plain(high)}" if high is not None else f"at least {plain(low)}")
    if told := for_tasks(item):
        parts.append(told)
    return f" [{'; '.join(parts)}]" if parts else ""


def plain(value: Any) -> str:
    """A default or a bound as a person writes it: 600 for 600.0, and every digit of a great seed."""
    if isinstance(value, Enum):
        return str(value.value)
    return str(int(value)) if isinstance(value, int | float) and float(value).is_integer() else str(value)


def _add_settings(parser: Parser, names: Sequence[str], told: Mapping[str, str] = MappingProxyType({})) -> None:
    """The options of some settings, for verbs other than `fit`; `told` are the helps of those that mean something else there."""
    known = {item.name: item for item in dataclasses.fields(Settings)}
    for name in names:
        _add_setting(parser, known[name], told.get(name))


DATA_HELP = (
    "csv, tsv, json, jsonl, parquet, conll, tmx or txt file (also .gz), FIRST,SECOND (two files of parallel lines), a folder with a "
    "sub-folder per label, "
    "hub:NAME, or - for standard input"
)

_PLACES = "a folder, an installed package, an earlier run, a name on the shelf, hub:NAME, or a text file (*.txt) of these, one a line"


def fit_options(parser: Parser) -> None:
    """Every setting, in groups."""
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    parser.add_argument("--config", metavar="FILE", help="YAML file of settings by their names below; the command line wins over it")
    groups: dict[str, Any] = {}
    for item in dataclasses.fields(Settings):
        name = item.metadata["group"]
        if name not in groups:
            groups[name] = parser.add_argument_group(GROUP_TITLES.get(name, name))
        _add_setting(groups[name], item)


def check_options(parser: Parser) -> None:
    """What `check` takes."""
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    held = "file with the {} rows; it is checked too, and for rows that stand in both"
    _add_settings(parser, ["task", "text", "label", "test", "validation"], {name: held.format(name) for name in ("test", "validation")})
    parser.add_argument(
        "--source",
        metavar="SOURCE",
        help="whose tokeniser counts the texts that would be cut off; without it the embedded source's",
    )
    _add_settings(parser, ["max_length"])
    parser.add_argument(
        "--suspects", action="store_true", help="also read the texts with the source and list rows whose label is perhaps wrong"
    )
    parser.add_argument("--fix", action="store_true", help="write a cleaned copy beside the file and list what was changed")
    parser.epilog = "Exit status: 0 nothing but notes, 1 findings, 2 the data could not be checked."


def rank_options(parser: Parser) -> None:
    """What `rank` takes."""
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    parser.add_argument("--save", metavar="DIR", help="also write ranking.json and the page ranking.html into this folder")
    parser.add_argument("--scores", action="store_true", help="also print the score of every single estimator")
    told = {
        "test": "file with the test rows; rows that stand there too do not rank",
        "validation": "file with rows on which a fit would compare rungs; they rank too",
        "source": f"what to rank: {_PLACES}; repeatable; without it the embedded all-MiniLM-L6-v2 and all that stand on the shelf",
        "via": "labelled data of another task; with it, such data sets are ranked as source tasks in place of sources; repeatable",
        "strategy": "rank for training by this rung of the ladder; repeatable; without it by the one that promises most for its time",
        "budget": "time of the fit that is foretold: a rung that would take longer is not recommended",
    }
    _add_settings(parser, ["task", "text", "label", "test", "validation", "source", "via", "strategy", "cut", "max_length"], told)
    _add_settings(parser, ["budget", "metric", "seed", "quiet", "store", "store_limit", "batch_tokens"], told)


def select_options(parser: Parser) -> None:
    """What `select` takes."""
    parser.add_argument("data", metavar="DATA", help=DATA_HELP)
    parser.add_argument("--out", metavar="FILE", default="-", help="where to write; without it, or with -, standard output")
    parser.add_argument("--format", metavar="{csv,jsonl,parquet}", help="format of what is written; without it as --out is named")
    told = {
        "test": "file with the test rows; rows that stand there too are not chosen",
        "validation": "file with rows on which a fit would compare rungs; they count as the target's own",
        "source": f"whose features choose: {_PLACES}; without it the embedded all-MiniLM-L6-v2",
    }
    _add_settings(parser, ["text", "label", "test", "validation", "rows_from", "label_map", "rows_by", "rows_share", "source"], told)
    _add_settings(parser, ["max_length", "seed", "quiet", "store", "store_limit", "batch_tokens"])
    parser.epilog = "`headstart fit DATA --rows-from MORE` chooses in the same way, learns from them, and tells whether it helped."


def predict_options(parser: Parser) -> None:
    """What `predict` takes."""
    parser.add_argument("folder", metavar="RUN", help="folder of a run, or of a saved model")
    parser.add_argument("data", metavar="DATA", help="a table in any form that `fit` reads, without its label; - for standard input")
    parser.add_argument("--text", metavar="COLUMN", help="column that holds the text; without it the one that the run was trained on")
    parser.add_argument("--out", metavar="FILE", default="-", help="where to write; without it, or with -, standard output")
    parser.add_argument(
        "--format", metavar="{csv,jsonl,parquet}", help="format of what is written; without it as --out is named, csv on standard output"
    )
    parser.add_argument("--top", metavar="K", default="1", help="how many labels to give for each text, likeliest first [default 1]")
    _add_settings(parser, ["quiet"])


def report_options(parser: Parser) -> None:
    """What `report` takes."""
    parser.add_argument("folder", metavar="RUN", help="folder of a finished run")


def sources_options(parser: Parser) -> None:
    """The actions of `sources`."""
    actions = parser.add_subparsers(metavar="[list|add|describe|remove]", dest="action", parser_class=Parser, help="without it, list")
    listed = actions.add_parser("list", help="every source, a line each")
    listed.add_argument("--json", action="store_true", help="as JSON, with all that is known")
    place = "a folder (a model, or a run), an installed package, hub:NAME, or a text file (*.txt) of these, one a line"
    added = actions.add_parser("add", help="put sources on the shelf; what stands there already is taken as it is now")
    added.add_argument("names", metavar="PLACE", nargs="+", help=place)
    added.add_argument("--name", metavar="NAME", help="under which it stands there; without it the last part of its place")
    for action, what in (("describe", "say all that is known of sources, lineage too"), ("remove", "take sources off; the models stay")):
        actions.add_parser(action, help=what).add_argument("names", metavar="NAME", nargs="+", help="a name on the shelf")


def env_options(parser: Parser) -> None:
    """`env` takes nothing."""


def cache_options(parser: Parser) -> None:
    """What `cache` takes."""
    parser.add_argument(
        "action", metavar="[size|list|prune]", nargs="?", default="size", choices=["size", "list", "prune"], help="without it, size"
    )
    parser.add_argument("--to", metavar="GB", help="with prune: the size to leave; without it everything goes")
    _add_settings(parser, ["store"])
