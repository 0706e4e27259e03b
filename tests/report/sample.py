"""Invented results of invented runs, rich and bare, for the tests of the report."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from typing import Any

from headstart.records import (
    ClassScore,
    CurvePoint,
    DataRanking,
    DataSummary,
    Estimate,
    Finding,
    Gain,
    LabelCurve,
    LabelPoint,
    LayerScore,
    LeftOut,
    RankedData,
    RankedSource,
    Ranking,
    Results,
    RowNote,
    Scores,
    Severity,
    Spent,
    TrialRecord,
    TrialStatus,
    Verdict,
)
from headstart.report.svg import Sheet

INTENTS = (
    "cancel order",
    "change address",
    "delivery late",
    "double charge",
    "forgot password",
    "gift card",
    "invoice copy",
    "missing part",
    "refund status",
    "return item",
    "speak to human",
    "warranty claim",
)
HOSTILE_TEXT = "<script>alert('text')</script><img src=x onerror=alert(1)> {{ 7 * 7 }} & </pre>"
HOSTILE_LABEL = "<script>alert('label')</script> id=\"tip-1\" $x_1$ url(#a)"
RTL_TEXT = "متى سيصل طلبي؟ لقد انتظرت أسبوعين (order 4711) ولم يصل شيء"
EMOJI_TEXT = "😡😡 still no 📦 after 3 weeks 🤷‍♀️ where is it"
FOLDS = "5 of 5 training folds"


def estimate(value: float, half: float, n: int = 480) -> Estimate:
    return Estimate(round(value, 4), round(value - half, 4), round(min(1.0, value + half), 4), n)


def trial(
    name: str,
    strategy: str,
    value: float | None,
    seconds: float,
    *,
    source: str | None = "all-MiniLM-L6-v2",
    cut: int | None = None,
    status: TrialStatus = TrialStatus.DONE,
    reason: str = "",
    curve: tuple[CurvePoint, ...] = (),
    probe: float = 0.861,
) -> TrialRecord:
    return TrialRecord(
        name=name,
        strategy=strategy,
        source=source,
        cut=cut,
        transfers=strategy not in ("tfidf", "scratch"),
        status=status,
        split=FOLDS,
        score=None if value is None else estimate(value, 0.028),
        expected=round((probe + 0.03 if value is None else value) - probe, 3),
        seconds=seconds,
        predicted_seconds=round(seconds * 1.13 + 0.4, 1),
        reason=reason,
        curve=curve,
    )


def curve(steps: int, floor: float, overfits: bool = False, score: bool = True) -> tuple[CurvePoint, ...]:
    points = []
    for step in range(1, steps + 1):
        share = step / steps
        rise = 0.5 * max(0.0, share - 0.5) if overfits else 0.0
        points.append(
            CurvePoint(
                step=step * 15,
                seconds=step * 2.5,
                train_loss=2.4 * math.exp(-3.2 * share) + 0.05,
                # Measured after every second point only: None stands between.
                validation_loss=2.3 * math.exp(-2.6 * share) + floor + rise if step % 2 == 0 else None,
                validation_score=0.9 - 0.6 * math.exp(-3 * share) if score else None,
            )
        )
    return tuple(points)


def ladder() -> tuple[TrialRecord, ...]:
    late = "it needs about 410 s and 96 s of the budget are left"
    return (
        trial("tfidf", "tfidf", 0.742, 1.3, source=None),
        trial("probe all-MiniLM-L6-v2", "probe", 0.861, 4.2, cut=6),
        trial("static all-MiniLM-L6-v2", "static", 0.71, 0.9),
        trial("probe all-mpnet-base-v2", "probe", 0.868, 21.0, source="all-mpnet-base-v2", cut=12),
        trial("partial all-MiniLM-L6-v2", "partial", 0.889, 38.0, cut=4, curve=curve(16, 0.32)),
        trial("contrastive all-MiniLM-L6-v2", "contrastive", 0.902, 47.0, cut=2, curve=curve(16, 0.25)),
        trial("partial all-mpnet-base-v2", "partial", 0.894, 188.0, source="all-mpnet-base-v2", cut=8, curve=curve(12, 0.3, overfits=True)),
        trial(
            "scratch all-MiniLM-L6-v2",
            "scratch",
            0.31,
            64.0,
            status=TrialStatus.STOPPED,
            reason="after 2 of 5 folds it could no longer win",
            curve=curve(6, 1.4),
        ),
        trial("full all-MiniLM-L6-v2", "full", None, 0.0, cut=0, status=TrialStatus.SKIPPED, reason=late),
        trial(
            "full all-mpnet-base-v2",
            "full",
            None,
            3.1,
            source="all-mpnet-base-v2",
            cut=0,
            status=TrialStatus.FAILED,
            reason="out of memory at batch size 32",
        ),
    )


def layers() -> tuple[LayerScore, ...]:
    def rise(layer: int, top: int, best: float) -> float:
        return best - 0.15 * (1 - layer / top) ** 2 - (0.02 if layer == top else 0.0)

    return tuple(
        LayerScore(source, layer, estimate(rise(layer, top, best), 0.03))
        for source, top, best in (("all-MiniLM-L6-v2", 6, 0.861), ("all-mpnet-base-v2", 12, 0.868))
        for layer in range(top + 1)
    )


def label_curve() -> LabelCurve:
    sizes = (12, 24, 48, 96, 192, 384, 480)
    points = [LabelPoint("tfidf", n, estimate(0.93 - 1.6 * n**-0.34, 0.09 / math.sqrt(n / 24))) for n in sizes]
    points += [LabelPoint("probe all-MiniLM-L6-v2", n, estimate(0.93 - 1.1 * n**-0.44, 0.07 / math.sqrt(n / 24))) for n in sizes]
    return LabelCurve(
        tuple(points),
        needed=2400,
        note="Without transfer about 2,400 labels would be needed for the same score (drawn out from 480).",
        baseline="tfidf",
    )


def confusion(classes: int, seed: int = 0) -> tuple[tuple[int, ...], ...]:
    chance = random.Random(seed)
    table = []
    for i in range(classes):
        row = [0] * classes
        row[i] = chance.randint(7, 14)
        for _ in range(chance.randint(0, 3)):
            row[(i + chance.choice((1, 2, classes - 1))) % classes] += 1
        table.append(tuple(row))
    return tuple(table)


def class_scores(labels: tuple[str, ...], table: tuple[tuple[int, ...], ...]) -> tuple[ClassScore, ...]:
    """The scores that follow from the confusion table, so that the page does not contradict itself."""
    scores = []
    for i, label in enumerate(labels):
        given, right = sum(row[i] for row in table), table[i][i]
        precision, recall = (right / given if given else 0.0), (right / sum(table[i]) if sum(table[i]) else 0.0)
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        scores.append(ClassScore(label, precision, recall, f1, sum(table[i])))
    return tuple(scores)


def findings() -> tuple[Finding, ...]:
    return (
        Finding("empty text", Severity.ERROR, "4 rows have no text.", (17, 88, 301, 455), 4, "They were left out."),
        Finding(
            "conflicting labels",
            Severity.WARNING,
            "5 texts stand under two labels.",
            (23, 24, 107, 391, 402),
            5,
            "Decide for one label, or run `headstart check tickets.csv --fix`.",
        ),
        Finding(
            "duplicate", Severity.WARNING, "31 rows repeat an earlier row word for word.", tuple(range(40, 60)), 31, "One of each was kept."
        ),
        Finding("small class", Severity.WARNING, f"The class {HOSTILE_LABEL!r} has 2 rows.", (599, 600), 2, "Add rows, or merge it."),
        Finding("imbalance", Severity.NOTE, "The largest class has 6.2 times the rows of the smallest.", (), 0, "Classes were weighted."),
    )


def worth_a_look() -> tuple[RowNote, ...]:
    long = "My parcel was due on the third and nobody can say where it is. " * 160
    return (
        RowNote("suspect label", 212, "i want my money back for order 8812, its been 3 weeks", "warranty claim", "refund status", 0.97),
        RowNote("suspect label", 77, HOSTILE_TEXT, HOSTILE_LABEL, "double charge", 0.93),
        RowNote("suspect label", 140, RTL_TEXT, "gift card", "delivery late", 0.91),
        RowNote("hard", 305, long, "delivery late", "missing part", 0.41),
        RowNote("hard", 91, EMOJI_TEXT, "delivery late", "refund status", 0.38),
        RowNote("hard", 18, "a" * 400, "speak to human", "invoice copy", 0.22),
        RowNote("near duplicate", 333, "where is my parcel??", "delivery late", other_row=41),
        RowNote("near duplicate", 402, "hab mein Passwort vergessen", "forgot password", other_row=12),
    )


def scores(value: float, n: int = 121) -> Scores:
    return {
        "accuracy": estimate(value + 0.01, 0.046, n),
        "macro_f1": estimate(value, 0.05, n),
        "log_loss": Estimate(round(1.6 * (1 - value) + 0.1, 4), round(1.6 * (1 - value), 4), round(1.6 * (1 - value) + 0.22, 4), n),
        "calibration_error": Estimate(0.041, 0.022, 0.078, n),
    }


def sample_results() -> Results:
    """A run that went well on 600 support messages, with everything that a report can show."""
    trials = ladder()
    winner, opponent = trials[5], trials[0]
    table = confusion(len(INTENTS))
    return Results(
        title="tickets",
        created="2026-03-14T15:09:26+00:00",
        data=DataSummary("tickets.csv", 612, 577, 121, tuple((label, 70 - 5 * i) for i, label in enumerate(INTENTS)), 14, 0.012),
        findings=findings(),
        metric="macro_f1",
        seeds=(0, 1),
        judged_on="one stratified test split",
        trials=trials,
        winner=winner,
        opponent=opponent,
        scores=scores(0.893),
        opponent_scores=scores(0.751),
        gain=Gain("macro_f1", 0.142, 0.081, 0.204, 121, 0.95, winner.name, opponent.name, Verdict.HELPS),
        class_scores=class_scores(INTENTS, table),
        confusion=table,
        layers=layers(),
        label_curve=label_curve(),
        worth_a_look=worth_a_look(),
        spent=Spent(
            {
                "check": 0.4,
                "read texts": 26.2,
                "compare rungs": 318.0,
                "label curve": 8.1,
                "train the winner": 39.5,
                "judge": 2.2,
                "save": 3.8,
            },
            texts_read=1154,
            texts_from_store=8655,
            store_bytes=38_400_000,
            peak_memory=1_310_000_000,
        ),
        command="headstart fit tickets.csv --text text --label intent --source all-MiniLM-L6-v2 --source ./all-mpnet-base-v2 --budget 10m",
        environment={
            "headstart": "0.1.0",
            "python": "3.11.2",
            "torch": "2.13.0+cpu",
            "transformers": "5.23.0",
            "machine": "2 cores, AVX2, 8 GB",
        },
    )


def bare_results() -> Results:
    """The least that a run can leave: one rung, no opponent, two classes, nothing measured besides."""
    only = trial("probe all-MiniLM-L6-v2", "probe", 0.61, 0.8, cut=6, probe=0.61)
    table = ((5, 3), (4, 6))
    return dataclasses.replace(
        sample_results(),
        title="x",
        created="yesterday",
        data=DataSummary("-", 18, 18, 18, (("0", 8), ("1", 10)), 3, 0.0),
        findings=(),
        trials=(only,),
        winner=only,
        opponent=None,
        scores=scores(0.61, 18),
        opponent_scores=None,
        gain=None,
        class_scores=class_scores(("0", "1"), table),
        confusion=table,
        layers=(),
        label_curve=None,
        worth_a_look=(),
        seeds=(0,),
        spent=Spent({}, 18, 0, 0, 210_000_000),
        command="headstart fit -",
        environment={},
    )


def crowded_results() -> Results:
    """Forty rungs, 77 classes with hostile names, log-loss as the metric, and transfer that hurts."""
    chance = random.Random(7)
    kinds = ("probe", "partial", "contrastive", "full")
    trials = [trial("tfidf", "tfidf", 0.82, 1.9, source=None)]
    for i in range(39):
        source = f"./models/{'very-' * (i % 9)}long-name-of-a-source-{i:02d}"
        steps = curve(10, 0.2, score=False) if i % 4 else ()
        trials.append(
            trial(
                f"{kinds[i % 4]} {source}",
                kinds[i % 4],
                chance.uniform(0.4, 0.8),
                chance.uniform(2, 4000),
                source=source,
                cut=i % 7,
                curve=steps,
            )
        )
    trials = [dataclasses.replace(one, expected=-(one.expected or 0.0)) for one in trials]  # of log-loss less is better
    broken = "a\x00b" + chr(0xD800) + "c"
    hostile = (HOSTILE_LABEL, "ب" * 60, "😀" * 50, "标签" * 40, "L" * 10_000, "", "   ", broken)
    labels = (*hostile, *(f"intent number {i}" for i in range(69)))
    table = confusion(len(labels), seed=3)
    return dataclasses.replace(
        sample_results(),
        title="banking " * 20,
        metric="log_loss",
        data=DataSummary("B" * 300 + ".csv", 13_083, 13_001, 3080, tuple((label, 130) for label in labels), 12, 0.0),
        trials=tuple(trials),
        winner=trials[1],
        opponent=trials[0],
        gain=Gain("log_loss", -0.21, -0.33, -0.1, 3080, 0.9, trials[1].name, trials[0].name, Verdict.HURTS),
        class_scores=class_scores(labels, table),
        confusion=table,
        layers=tuple(LayerScore(f"./models/{'very-' * i}long-{i}", k, estimate(0.5 + k / 30, 0.03)) for i in range(9) for k in range(13)),
        label_curve=dataclasses.replace(label_curve(), needed=None, note="tfidf would not get there with ten times the labels."),
        worth_a_look=tuple(dataclasses.replace(note, row=i, text="w" * 100_000) for i in range(12) for note in worth_a_look()),
        command="headstart fit " + "B" * 300 + ".csv",
    )


def sample_ranking() -> Ranking:
    """Eight sources, two of them near each other on the map, with long and foreign names, and one left out."""
    rng = random.Random(5)
    names = (
        "all-MiniLM-L6-v2",
        "all-mpnet-base-v2",
        "runs/a-rather-long-folder-name-of-an-earlier-run-on-support-tickets",
        "hub:somebody/<b>bold</b> & $x$",
        "tickets",
        "all-MiniLM-L6-v2 via sst2",
        "\u8bc4\u8bba\u6a21\u578b",
        "random",
    )
    sources = []
    for at, name in enumerate(names):
        value = 0.84 - 0.03 * at - 0.00008 * at**4
        scores = {"logme": 0.2 - 0.1 * at, "hscore": 9.0 - at, "ridge": value - 0.05} | ({"leep": -1.4} if at == 4 else {})
        place = (rng.uniform(-1, 1), rng.uniform(-1, 1)) if at != 1 else (sources[0].place[0] + 0.01, sources[0].place[1])
        sources.append(
            RankedSource(
                name=name,
                predicted=estimate(value, 0.06),
                probe=estimate(value - 0.04, 0.04),
                tied=at < 3,
                strategy=("full", "partial", "probe")[at % 3],
                layers=(4, 5, 6),
                blocks=6,
                seconds=3.0 * 4**at,
                parameters=22_700_000 * (at + 1),
                truncated_share=0.07 * (at == 2),
                tokens_per_word=1.3 + 0.2 * at,
                why="a probe on layers 4 to 6 of 6 has 0.80; full is expected to change that by +0.04",
                scores=scores,
                layer_scores=tuple(LayerScore(name, k, estimate(value - 0.2 + 0.03 * k, 0.03)) for k in range(7)),
                place=place,
            )
        )
    reason = "The source 'old-bert' has only pickled weights (pytorch_model.bin), which can run code when opened, and headstart opens none."
    left_out = (LeftOut("old-bert", reason),)
    return Ranking(
        "tickets",
        "2026-01-02T03:04:05+00:00",
        "macro_f1",
        2000,
        5412,
        14,
        False,
        tuple(sources),
        left_out,
        12.5,
        "headstart rank tickets.csv",
    )


def sample_data_ranking() -> DataRanking:
    """Six data sets, two of them in the same place, one of texts without words, and one left out."""
    names = ("clinc150", "reviews-of-" + "very-" * 12 + "many-things", "<b>bold</b> & $x$", "\u8bc4\u8bba", "snips", "marks")
    sets = tuple(
        RankedData(
            name=name,
            path=f"{name}.csv",
            rows=300 * 4**at,
            classes=2 + 9 * at,
            left_out=at % 2,
            scores={"mean_similarity": 0.98 - 0.1 * at, "mmd": 0.004 * 2**at, "vocabulary": math.nan if name == "marks" else 0.5},
            place=(0.2 * min(at, 4), 0.1 * (min(at, 4) % 3) - 0.1),
        )
        for at, name in enumerate(names)
    )
    left_out = (LeftOut("one.csv", "The source task 'one.csv' (--via) cannot be learnt: All 60 usable rows bear the same label, 'same'."),)
    when = "2026-01-02T03:04:05+00:00"
    command = "headstart rank tickets.csv --via clinc150.csv"
    return DataRanking("tickets", when, "all-MiniLM-L6-v2", 2000, "mmd", sets, left_out, 12.5, command)


def sheet_of(monkeypatch: Any, room: Any, draw: Callable[[], Any]) -> Sheet:
    """The wide sheet of the figure that `draw` has a module of figures make, as it is before it becomes SVG."""
    plots: list[Callable[[Sheet], None]] = []
    monkeypatch.setattr(room, "picture", lambda name, label, plot, **_how: plots.append(plot))
    draw()
    sheet = Sheet(800.0, 400.0, False)
    plots[0](sheet)
    return sheet
