"""The page of a ranking: one HTML file that needs nothing else, made like the report."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from markupsafe import Markup

from headstart.judge.verdict import RANKED_WITHOUT_PROBE, nearness_footing, ranking_footing
from headstart.records import DataRanking, Ranking
from headstart.report import figures, ranking_figures
from headstart.report.build import environment
from headstart.runs import whole_file


def build_page(ranking: Ranking | DataRanking) -> str:
    """The ranking as one HTML page without outside requests and without scripts. The same ranking gives the same text."""
    return _of_sources(ranking) if isinstance(ranking, Ranking) else _of_data_sets(ranking)


def _of_data_sets(ranking: DataRanking) -> str:
    return (
        environment()
        .get_template("data_ranking.html")
        .render(
            r=ranking,
            footing=nearness_footing(ranking),
            style=_style(),
            figure_nearness=ranking_figures.nearness(ranking.sets, ranking.ordering),
            figure_map=ranking_figures.data_map(ranking.title, ranking.sets),
            measures=list(ranking.sets[0].scores),
            max_sources=ranking_figures.MAX_SOURCES,
        )
    )


def _style() -> Markup:
    return Markup(resources.files("headstart.report").joinpath("report.css").read_text(encoding="utf-8"))


def _of_sources(ranking: Ranking) -> str:
    layers = [item for source in ranking.sources for item in source.layer_scores]
    return (
        environment()
        .get_template("ranking.html")
        .render(
            r=ranking,
            best=ranking.sources[0],
            tied=[source for source in ranking.sources[1:] if source.tied],
            footing=ranking_footing(ranking),
            how=RANKED_WITHOUT_PROBE.get(ranking.task, ""),
            style=_style(),
            figure_predicted=ranking_figures.predicted_scores(ranking.sources, ranking.metric),
            figure_layers=figures.score_by_layer(layers, figures.layer_metric(ranking.task, ranking.metric)),
            layer_metric=figures.layer_metric(ranking.task, ranking.metric),
            figure_map=ranking_figures.source_map(ranking.sources),
            estimators=list(dict.fromkeys(name for source in ranking.sources for name in source.scores)),
            max_panels=figures.MAX_PANELS,
            max_sources=ranking_figures.MAX_SOURCES,
        )
    )


def write_page(ranking: Ranking | DataRanking, path: Path) -> None:
    """Write the page, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(build_page(ranking).encode("utf-8", errors="replace"))
