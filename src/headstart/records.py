"""What one room of the house tells another: plain frozen data, all of it writable as JSON.

The journal, `metrics.json` and the report hold these and nothing else. Letters in shapes: n rows, c classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Severity(str, Enum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Verdict(str, Enum):
    """What transfer did for the target, read off the paired interval of the gain."""

    HELPS = "helps"
    UNCLEAR = "no clear difference"
    HURTS = "hurts"
    NOT_COMPARED = "not compared"


class TrialStatus(str, Enum):
    """What became of a planned trial."""

    DONE = "done"
    STOPPED = "stopped"  # it could no longer win
    SKIPPED = "skipped"  # never begun: no time, or no hope
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or worth knowing, about the data.

    `rows` are row numbers as a person counts them: the first row under the header is 1. At most 20 are kept; `count` is the true number.
    """

    kind: str
    severity: Severity
    message: str
    rows: tuple[int, ...] = ()
    count: int = 0
    remedy: str = ""


@dataclass(frozen=True)
class Estimate:
    """A number with its circumstances. `low` and `high` bound the interval of the stated confidence; `n` rows stand behind it."""

    value: float
    low: float
    high: float
    n: int
    confidence: float = 0.95


Scores = dict[str, Estimate]
"""Everything the judge says of one set of predictions, by the metrics' names, in the order in which people want to see them."""


@dataclass(frozen=True)
class ClassScore:
    """One class on the judged rows. `precision`, `recall` and `f1` lie in [0, 1]; `rows` is how many bear the label."""

    label: str
    precision: float
    recall: float
    f1: float
    rows: int


@dataclass(frozen=True)
class Gain:
    """The winner minus the best rung without transfer, paired row by row, in the metric's own unit (positive: transfer is better)."""

    metric: str
    value: float
    low: float
    high: float
    n: int
    confidence: float
    winner: str
    opponent: str
    verdict: Verdict


@dataclass(frozen=True)
class CurvePoint:
    """One point of a learning curve. `step` counts optimiser steps, `seconds` since the trial began. None: not measured there."""

    step: int
    seconds: float
    train_loss: float | None = None
    validation_loss: float | None = None
    validation_score: float | None = None


@dataclass(frozen=True)
class TrialRecord:
    """One rung tried on one source, as the last decision saw it.

    `score` stands on folds (`split` names how) of the rows that decision was made on: the training rows where rows of their own judge the
    run, else all labelled rows, for then what is judged was decided anew without them. None: it was not tried. `expected` is what was
    believed at the end of its score minus that of the probe (without one, of the first that was trained); positive is better.
    """

    name: str
    strategy: str
    source: str | None
    cut: int | None
    transfers: bool
    status: TrialStatus
    split: str
    score: Estimate | None
    expected: float | None
    seconds: float
    predicted_seconds: float
    reason: str = ""
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True)
class LayerScore:
    """The frozen features of one layer under a light head. `layer` 0 is the embedding output, `layer` k the output of block k."""

    source: str
    layer: int
    score: Estimate


@dataclass(frozen=True)
class LabelPoint:
    """Score of one rung after `labels` training labels, on rows that were not among them."""

    rung: str
    labels: int
    score: Estimate


@dataclass(frozen=True)
class LabelCurve:
    """Score against number of labels of two rungs: the task's light ones on frozen features and without transfer, or, of a task that has
    no such pair, the best with transfer and the best without, trained.

    `needed` is how many labels `baseline`, the rung without transfer, would have needed for the score of the other at its most labels;
    None: more than ten times those, or not to be told from the curve. `baseline` "": there is none, or the file is older than its name.
    """

    points: tuple[LabelPoint, ...]
    needed: int | None
    note: str = ""
    baseline: str = ""


@dataclass(frozen=True)
class Mark:
    """An entity in a text, from character `start` to before `end`. `by` is `label`, `model`, or `both` where they agree."""

    start: int
    end: int
    type: str
    by: str


@dataclass(frozen=True)
class RowNote:
    """A row worth a look. `kind` is `hard`, `suspect label` or `near duplicate`; `other_row` is the twin of a near duplicate. `marks` are
    the entities of a text in which some are marked.
    """

    kind: str
    row: int
    text: str
    label: str
    predicted: str = ""
    probability: float | None = None
    other_row: int | None = None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Spent:
    """What the run cost. Seconds by stage, texts read and texts that the store already held, bytes on disk, peak memory in bytes."""

    seconds: dict[str, float]
    texts_read: int
    texts_from_store: int
    store_bytes: int
    peak_memory: int


@dataclass(frozen=True)
class DataSummary:
    """The data as the run used it: a file of `rows`; `used` are those that were learnt from, `validation` rows of a file of their own among
    them. Tokens are counted of what is read, so no text has more than that; `truncated_share` of the texts have as many.
    """

    name: str
    rows: int
    used: int
    test_rows: int
    labels: tuple[tuple[str, int], ...]
    median_tokens: int
    truncated_share: float
    validation: int = 0


@dataclass(frozen=True)
class SourceTask:
    """A source task that was learnt before the target (`--via`).

    `source` is what it began with, `run` the folder of its own run within the target's. It was learnt from `rows` rows; `left_out` others
    say nearly the same as rows of the target. `score`, of its own `metric`, stands on rows of the task that were set aside.
    """

    name: str
    data: str
    source: str
    run: str
    rows: int
    left_out: int
    score: Estimate
    metric: str


def names_by(source: str, task: str) -> tuple[str, str]:
    """What a source is called once a task was learnt from it: as that left it, and half way back."""
    return f"{source} via {task}", f"{source} half via {task}"


@dataclass(frozen=True)
class Detour:
    """What going by source tasks gave.

    `gain` is the best rung by a source task minus the best direct one that transfers; None: one of them could not be judged. `task` is the
    source task that the former went by, "" for none. `before` and `after` are the scores of the winner's source task on its rows that were
    set aside, before and after the target's training, with the source task's own head; None: the winner went the direct way.
    """

    tasks: tuple[SourceTask, ...]
    task: str
    gain: Gain | None
    before: Estimate | None
    after: Estimate | None


@dataclass(frozen=True)
class SourceRows:
    """One set of neighbouring rows: of `rows` with text and label, `strange` bear labels that the target does not have, `shared` say nearly
    the same as rows of the target, `undrawn` were never looked at; of the `used` ones `chosen` were chosen. `alone` is the gain of a probe
    that learns from this set beside the target's rows over one that learns from no source row, on the target's folds; None: not measured.
    """

    name: str
    data: str
    rows: int
    strange: int
    shared: int
    undrawn: int
    used: int
    chosen: int
    alone: Gain | None = None


@dataclass(frozen=True)
class SharePoint:
    """Score of a probe on the target's rows and so many source rows, those put first, on folds of the target's training rows."""

    rows: int
    score: Estimate


@dataclass(frozen=True)
class MapPoint:
    """A row on the map: `kind` is `target`, `chosen` or `left` (a source row that was not chosen)."""

    x: float
    y: float
    kind: str


@dataclass(frozen=True)
class NeighbourRows:
    """What rows of neighbouring data gave.

    `way` chose `chosen` of them, by scores of which `histogram` counts rows from the least to the greatest in equal steps. `learnt`: the
    winner learnt from them. `gains` are those of the best rung with source rows over the best without, and of the chosen rows over all
    rows and over as many random ones, on the judged rows. `first` and `last` are source rows that were put first and last, in which
    `predicted` names the set and `probability` is the score; `map` are some rows in the plane. `labels_worth` says in a sentence how many
    labels of the target's own would be needed for the same score without them; "": that was not measured. `effective` is how many
    equally weighted rows all scores together are as many as (Kish); 0: it was not told. `histogram_chosen` counts the chosen rows in the
    steps of `histogram`; (): an older file.
    """

    way: str
    sets: tuple[SourceRows, ...]
    chosen: int
    learnt: bool
    gains: tuple[Gain, ...]
    curve: tuple[SharePoint, ...]
    histogram: tuple[int, ...]
    first: tuple[RowNote, ...]
    last: tuple[RowNote, ...]
    map: tuple[MapPoint, ...]
    labels_worth: str = ""
    effective: float = 0.0
    histogram_chosen: tuple[int, ...] = ()


@dataclass(frozen=True)
class Shown:
    """A judged row with what the winner answered: its text, the true answer, the given one; `score` of the two, where there is one for a
    single row. `marks` show answers that stand in the text.
    """

    text: str
    truth: str
    answer: str
    score: float | None = None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Results:
    """A whole run: what `metrics.json` holds and what the report is made of.

    `judged_on` says in words which rows the final scores stand on; `opponent` is None when no rung without transfer was asked for;
    `confusion[i][j]` counts judged rows of class i that were given class j, in the order of `class_scores`. `detour` None: no source task
    was asked for. `task` is the kind of task. `numbers` are pairs of truth and prediction, where numbers are predicted, `shown`
    some judged rows with their answers, where texts are.
    `rows` None: no rows of neighbouring data were given. `decided` are the winners' names of the parts that were judged, on which `scores`
    and `gain` stand: each part decides anew without its judged rows; (): an older file.
    """

    title: str
    created: str
    data: DataSummary
    findings: tuple[Finding, ...]
    metric: str
    seeds: tuple[int, ...]
    judged_on: str
    trials: tuple[TrialRecord, ...]
    winner: TrialRecord
    opponent: TrialRecord | None
    scores: Scores
    opponent_scores: Scores | None
    gain: Gain | None
    class_scores: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    layers: tuple[LayerScore, ...]
    label_curve: LabelCurve | None
    worth_a_look: tuple[RowNote, ...]
    spent: Spent
    command: str
    environment: dict[str, str] = field(default_factory=dict)
    detour: Detour | None = None
    task: str = "classification"
    numbers: tuple[tuple[float, float], ...] = ()
    shown: tuple[Shown, ...] = ()
    rows: NeighbourRows | None = None
    decided: tuple[str, ...] = ()


@dataclass(frozen=True)
class RankedSource:
    """A source as it was ranked on training rows of the target.

    `predicted` is the score of `strategy`, the one recommended, trained on all rows, in the target's metric, with its interval; `probe` the
    held-out score of a linear head on its frozen features. `tied`: not to be told from the first. `layers` serve the head best, of
    `blocks`. `seconds` are those of the recommended training. `tokens_per_word` shows whether its vocabulary fits (None: the texts
    have no spaces between words); `truncated_share` of the texts are longer than it reads. `scores` are single estimators by name.
    `place` is where it stands on the map of sources.
    """

    name: str
    predicted: Estimate
    probe: Estimate
    tied: bool
    strategy: str
    layers: tuple[int, ...]
    blocks: int
    seconds: float
    parameters: int
    truncated_share: float
    tokens_per_word: float | None
    why: str
    scores: dict[str, float]
    layer_scores: tuple[LayerScore, ...]
    place: tuple[float, float]


@dataclass(frozen=True)
class LeftOut:
    """A source that was not ranked, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Ranking:
    """Sources for one target, best first: what `headstart rank` prints and saves.

    `rows` were read of the `all_rows` that a fit would learn from. `judged_by_folds`: outer folds would judge it on the same rows.
    `in_windows`: what is longer than a source reads is read in pieces, else cut off.
    """

    title: str
    created: str
    metric: str
    rows: int
    all_rows: int
    classes: int
    judged_by_folds: bool
    sources: tuple[RankedSource, ...]
    left_out: tuple[LeftOut, ...]
    seconds: float
    command: str = ""
    task: str = "classification"
    in_windows: bool = False


@dataclass(frozen=True)
class RankedData:
    """A labelled data set as a source task: `rows` that could be learnt from, `left_out` ones that the target has too, scores by name; nan
    where a measure cannot be taken of its texts. `place` is that on the map, where the target stands at (0, 0).
    """

    name: str
    path: str
    rows: int
    classes: int
    left_out: int
    scores: dict[str, float]
    place: tuple[float, float]


@dataclass(frozen=True)
class DataRanking:
    """Data sets for one target, nearest first by the measure `ordering`, and those that cannot be learnt from: what `headstart rank --via`
    prints and saves. `source` read the texts of `rows` target rows.
    """

    title: str
    created: str
    source: str
    rows: int
    ordering: str
    sets: tuple[RankedData, ...]
    left_out: tuple[LeftOut, ...]
    seconds: float
    command: str = ""
