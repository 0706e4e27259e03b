"""A ranking in words: the table that `headstart rank` prints."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.judge.verdict import ranking_footing
from headstart.records import RankedSource, Ranking
from headstart.report.wording import clean
from headstart.settings import shown_metric


def table(ranking: Ranking, *, scores: bool = False) -> Iterator[str]:
    """A line of headings, a source a line, then what was left out and what the figures stand on.

    Args:
        ranking: what was found.
        scores: also every single estimator's score.
    """
    metric, long_texts = shown_metric(ranking.metric), "in pieces" if ranking.in_windows else "cut off"
    rows: list[tuple[str, ...]] = [("", "source", metric, "with", "seconds", "parameters", long_texts, "tokens/word")]
    for place, source in enumerate(ranking.sources, start=1):
        rows.append((_place(place, source), *_cells(source)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    left = (1, 2, 3)
    for row in rows:
        yield "  ".join(f"{cell:{'<' if i in left else '>'}{widths[i]}}" for i, cell in enumerate(row)).rstrip()
    yield ""
    for place, source in enumerate(ranking.sources, start=1):
        yield f"{place:>3}  {clean(source.name)}: {source.why}"
    if scores:
        yield ""
        yield from _scores(ranking)
    for left_out in ranking.left_out:
        yield f"left out: {clean(left_out.reason)}"
    yield ""
    yield ranking_footing(ranking)


def _place(place: int, source: RankedSource) -> str:
    return f"{place}{'=' if source.tied and place > 1 else ' '}"


def _cells(source: RankedSource) -> tuple[str, ...]:
    score = source.predicted
    return (
        clean(source.name),
        f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}]",
        source.strategy,
        f"{source.seconds:,.0f}",
        f"{source.parameters / 1e6:,.1f} M",
        f"{source.truncated_share:.0%}",
        "-" if source.tokens_per_word is None else f"{source.tokens_per_word:.2f}",
    )


def _scores(ranking: Ranking) -> Iterator[str]:
    """Every estimator's score, a source a line; - where it does not apply."""
    names = list(dict.fromkeys(name for source in ranking.sources for name in source.scores))
    width = max(len(clean(source.name)) for source in ranking.sources)
    columns = [max(len(name), 7) for name in names]
    yield "  ".join([" " * width, *(f"{name:>{w}}" for name, w in zip(names, columns, strict=True))])
    for source in ranking.sources:
        cells = [
            f"{source.scores[name]:>{w}.3f}" if name in source.scores else f"{'-':>{w}}" for name, w in zip(names, columns, strict=True)
        ]
        yield "  ".join([f"{clean(source.name):<{width}}", *cells])
