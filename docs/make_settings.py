"""Write docs/settings.md from the fields of `Settings`: python docs/make_settings.py."""

from __future__ import annotations

import dataclasses
import typing
from enum import Enum
from pathlib import Path
from typing import Any

from headstart.options import GROUP_TITLES
from headstart.settings import Settings, flag, for_tasks, setting_types

PAGE = Path(__file__).resolve().parent / "settings.md"
HEAD = """# Settings

Every setting of `headstart fit`: as an option, as a line of the `--config` file (its name without the leading dashes, with underscores
between words), and as an argument of `headstart.fit`. This page is made from `src/headstart/settings.py` by `python
docs/make_settings.py`; change it there.

An empty default means that it is found out or not needed; the meaning says which. "Yes" and "no" are switches: `--quiet` turns one on,
`--no-shelf` off. A setting that is for some tasks only is refused for the others. "Rungs", "the cut" and other words are explained in the
[README](../README.md#a-few-words).
"""


def plain(value: Any) -> str:
    """A default or a bound as a person writes it."""
    if value is None or value == ():
        return ""
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def values(item: dataclasses.Field[Any]) -> str:
    """What the setting can be: its choices, its range, or nothing where anything goes."""
    kind = setting_types()[item.name]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(str(member.value) for member in kind)
    low, high = plain(item.metadata["low"]), plain(item.metadata["high"])
    if low and high:
        return f"{low} to {high}"
    if low:
        return f"at least {low}"
    return "repeatable" if typing.get_origin(kind) is tuple else ""


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    group = ""
    for item in dataclasses.fields(Settings):
        meta = item.metadata
        if meta["group"] != group:
            group = meta["group"]
            title = GROUP_TITLES[group]
            lines += [f"\n## {title[:1].upper()}{title[1:]}\n", "| option | default | values | unit | meaning |", "|---|---|---|---|---|"]
        told = f"; {for_tasks(item)}" if for_tasks(item) else ""
        lines.append(f"| `{flag(item.name)}` | {plain(item.default)} | {values(item)} | {meta['unit']} | {meta['help']}{told} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
