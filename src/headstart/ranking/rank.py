"""`headstart rank`: which source to start from, told from one reading of some training rows.

A source's predicted score is what a linear probe on its frozen features scores on folds, drawn out along its learning curve to all rows,
plus what the table of measured cases expects the recommended strategy to add to a probe. Rows that a fit would set aside as its test rows,
or that stand in a test file, are not looked at.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from headstart.candidates import asked_strategies
from headstart.cost import CostModel
from headstart.data.examples import Examples
from headstart.errors import HeadstartError, SettingsError, SourceError
from headstart.progress import say
from headstart.ranking.kept import Kept, keep, kept_key, recall
from headstart.ranking.measure import measure
from headstart.ranking.order import in_order
from headstart.ranking.task import make_task
from headstart.records import DataRanking, LeftOut, Ranking
from headstart.settings import Precision, Settings
from headstart.sources.names import expand_names
from headstart.sources.resolve import resolve_another
from headstart.target import read_target
from headstart.tasks.registry import deciding_metric, reads_in_windows, require_settings_of
from headstart.taught import refusal


def rank(data: str | Path | Examples, settings: Settings, *, command: str = "") -> Ranking:
    """Rank sources for a target.

    Args:
        data: a file or folder of labelled texts, or examples.
        settings: what was asked; without `source`, the embedded one and all that stand on the shelf are ranked.
        command: the command line that asked, for the page; "" in Python.

    Raises:
        DataError: the data cannot be read or learnt from.
        SourceError: none of the sources can be used.
    """
    from headstart.backbone.store import Store
    from headstart.cache import limit_bytes, store_folder
    from headstart.environment import fast_precision, gemm_speeds, reading_speed

    begin = time.perf_counter()
    named = list(dict.fromkeys(expand_names(settings.source)))
    candidates, left_out = ([(name, name) for name in named], []) if named else every_known_source()
    settings = replace(settings, source=tuple(place for _, place in candidates))
    target = read_target(data, settings)
    settings = replace(settings, task=target.task)
    require_settings_of(settings, target.task)
    asked_strategies(settings)
    deciding_metric(settings)
    task = make_task(target, settings)
    precision = fast_precision() if settings.precision is Precision.AUTO else settings.precision
    cost = CostModel(gemm_speeds()[precision], reading_speed())
    folder = store_folder(settings.store)
    found: list[Kept] = []
    known: dict[Path, str] = {}
    with Store(folder, limit_bytes(settings.store_limit)) as store:
        for at, (name, place) in enumerate(candidates):
            if len(candidates) > 1:
                say(f"ranking {at + 1} of {len(candidates)}: {name}")
            try:
                source = replace(resolve_another(place, known), name=name)
                if why := refusal(source, *target.parts_taught()):
                    raise SourceError(why)
                key = kept_key(source, task.target.content(), settings)
                measured = recall(folder, key) or keep(folder, key, measure(source, task, store, cost))
                own = tuple(replace(item, source=name) for item in measured.layer_scores)  # another name may have had the same files
                found.append(replace(measured, name=name, layer_scores=own))
            except (SourceError, SettingsError) as error:
                left_out.append(LeftOut(name, str(error)))
    if not found:
        last = left_out[-1].reason
        raise SourceError(last if len(left_out) == 1 else f"None of the {len(left_out)} sources can be used; the last one: {last}")
    return Ranking(
        title=task.target.name,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        metric=deciding_metric(settings).value,
        rows=len(task.picked),
        all_rows=len(task.learn),
        classes=task.target.rows.n_classes,
        task=target.task,
        judged_by_folds=task.judged_by_folds,
        sources=tuple(in_order(found, task)),
        left_out=tuple(left_out),
        seconds=time.perf_counter() - begin,
        command=command,
        in_windows=reads_in_windows(target.task),
    )


def every_known_source() -> tuple[list[tuple[str, str]], list[LeftOut]]:
    """Name and place of the embedded source and of every entry of the shelf, and what of the shelf cannot be looked at, with the reason.

    Nothing is fetched from the hub unless it is named, and a model that stands there twice, or is the embedded one, is looked at once.
    """
    from headstart.sources import embedded, shelf
    from headstart.sources.entries import Kind
    from headstart.sources.package import package_folder

    entries, damaged = shelf.read_shelf()
    left_out = [LeftOut(item.name, f"The file of {item.name!r} on the shelf is damaged: {item.reason}.") for item in damaged]
    found, folders = [(embedded.NAME, embedded.NAME)], {package_folder(embedded.NAME)}
    for entry in entries:
        what = "it lies on the hub; name it with --source to have it fetched" if entry.kind is Kind.HUB else shelf.problem(entry)
        if what:
            left_out.append(LeftOut(entry.name, f"{entry.name!r} on the shelf is not ranked: {what}."))
        elif (folder := shelf.model_folder(entry)) not in folders:
            folders.add(folder)
            found.append((entry.name, entry.place))
    return found, left_out


def require_folder(folder: Path) -> None:
    """Raise where a ranking cannot be saved, so that nobody waits for it first."""
    if folder.exists() and not folder.is_dir():
        raise HeadstartError(f"{str(folder)!r} is a file; name a folder with --save.")


def save_ranking(ranking: Ranking | DataRanking, folder: Path) -> Path:
    """Write ranking.json and the page ranking.html into a folder, each whole or not at all; returns the page's path."""
    from headstart.report.ranking_page import write_page
    from headstart.runs import as_json, whole_file

    require_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "ranking.json") as temporary:
        temporary.write_text(as_json(ranking), encoding="utf-8")
    write_page(ranking, folder / "ranking.html")
    return folder / "ranking.html"
