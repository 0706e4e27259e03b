"""The report: one HTML file that needs nothing else, made from the results of a run and from nothing else."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from headstart.data.prompts import WHOLE_TEXTS
from headstart.errors import ResourceError
from headstart.judge.bleu import signature
from headstart.judge.verdict import decided_sentence, detour_sentence, rows_sentences, verdict_sentence
from headstart.records import LabelCurve, LabelPoint, Results, RowNote, TrialRecord, TrialStatus
from headstart.report import figures, rows_figures, wording
from headstart.report.marked import marked
from headstart.report.number_figure import predicted_against_true
from headstart.runs import WITHOUT, whole_file
from headstart.settings import lower_is_better, shown_metric

MAX_PAIRS = 12
MAX_CLASSES = 300
CLASSES_AT_ONCE = 12
MAX_NOTES = 12

# Where rows of their own judge: what they judged is the model that is saved.
_OWN_ROWS = ("the test file", "rows set aside")

_NOTE_KINDS = (
    ("suspect label", "Labels that may be wrong", "The model, trained without the row, gives another label and is sure of it."),
    ("hard", "Hardest rows", "The rows that a model trained without them gets most wrong."),
    ("near duplicate", "Near duplicates", "Rows that say almost the same as another one."),
)
_SUSPECTS = {
    "regression": ("Numbers that may be wrong", "They lie far from what the model, trained without the row, predicts."),
    "multilabel": ("Labels that may be wrong", "The model, trained without the row, misses a label or gives one more, and is sure of it."),
}


@dataclass(frozen=True)
class Words:
    """How the page speaks of a task: one of its classes, what is counted of them, the section about them with what is said in it, what a
    model does with a text, which scores are better where they are lower.
    """

    one: str
    many: str
    counted: str
    title: str
    verb: str
    pipeline: str
    options: str
    lead: str
    lower: str
    text: str = '"a text to {verb}"'
    own_text: str = '"a text to {verb}"'


_CODE = ", trust_remote_code=True, truncation=True"
_OF_CLASSES = Words(
    one="class",
    many="classes",
    counted="rows",
    title="What is taken for what",
    verb="label",
    pipeline="text-classification",
    options=_CODE,
    lead="",
    lower="For log-loss and calibration error lower is better.",
)
_WORDS = {
    "classification": _OF_CLASSES,
    "pairs": replace(_OF_CLASSES, text='{{"text": "one text", "text_pair": "the other"}}', own_text='("one text", "the other")'),
    "multilabel": Words(
        one="label",
        many="labels",
        counted="rows",
        title="Label by label",
        verb="label",
        pipeline="text-classification",
        options=f"{_CODE}, top_k=None",
        lead="A label counts as given where its probability is above one half; the line was drawn there on held-out rows.",
        lower="A row counts for accuracy where exactly its labels were given.",
    ),
    "regression": Words(
        one="number",
        many="numbers",
        counted="rows",
        title="Predicted against true",
        verb="rate",
        pipeline="text-classification",
        options=_CODE,
        lead="",
        lower="For the errors, which are in the unit of the numbers, lower is better.",
    ),
    "generation": Words(
        one="answer",
        many="answers",
        counted="rows",
        title="What it writes",
        verb="complete",
        pipeline="text-generation",
        options="",
        lead="",
        lower="For bits per byte and perplexity lower is better; ROUGE-L and exact match stand on the rows that were written.",
        text='"a prompt\\n", return_full_text=False',
        own_text='"a prompt"',
    ),
    "translation": Words(
        one="translation",
        many="translations",
        counted="rows",
        title="Translations beside the true ones",
        verb="translate",
        pipeline="",
        options="",
        lead="From the worst to the best by chrF++.",
        lower="BLEU and chrF++ are in points, 0 to 100.",
    ),
    "qa": Words(
        one="answer",
        many="answers",
        counted="rows",
        title="Answers in their context",
        verb="answer",
        pipeline="",
        options="",
        lead="",
        lower="Case, punctuation and articles count for nothing; of several true answers the nearest counts.",
        own_text='("a question", "a context")',
    ),
    "ner": Words(
        one="type",
        many="types of entities",
        counted="entities",
        title="Type by type",
        verb="mark",
        pipeline="token-classification",
        options=', aggregation_strategy="first"',
        lead="An entity counts as found where its first word, its last word and its type are right.",
        lower="For log-loss and calibration error lower is better.",
    ),
}


@dataclass(frozen=True)
class Pair:
    """How many of the judged rows of one class were given another; `share` of the rows of the true class."""

    true: str
    given: str
    cases: int
    share: float


@dataclass(frozen=True)
class NoteGroup:
    """Rows worth a look of one kind; `left_out` further ones are not shown."""

    title: str
    meaning: str
    notes: tuple[RowNote, ...]
    left_out: int


@dataclass(frozen=True)
class Worth:
    """What the label curve tells of transfer: its last point `reached`, and whether the rung without it lies `plainly` above that there."""

    reached: LabelPoint
    plainly: bool


def build_report(results: Results, folder: str | None = None, saved: bool = False) -> str:
    """The report as one HTML page without outside requests and without scripts.

    Args:
        results: a whole run.
        folder: the run's folder as commands on the page should name it; None writes RUN in its place.
        saved: the best rung without transfer is saved beside the winner.

    Returns:
        The page. The same arguments give the same text, byte by byte.
    """
    template = environment().get_template("report.html")
    verdict, footing = _headline(verdict_sentence(results, saved))
    without = {trial.name for trial in results.trials if not trial.transfers}
    layer_metric = figures.layer_metric(results.task, results.metric)
    return template.render(
        r=results,
        # Our own file, so nothing to escape.
        style=Markup(resources.files("headstart.report").joinpath("report.css").read_text(encoding="utf-8")),
        verdict=verdict,
        footing=footing,
        decided=decided_sentence(results),
        own_rows=results.judged_on in _OWN_ROWS,
        detour=detour_sentence(results),
        folder=folder or "RUN",
        figure_ladder=figures.score_against_seconds(results),
        off_scale=figures.off_scale(results),
        figure_labels=figures.label_curve(results.label_curve, results.metric, without),
        worth=label_worth(results.label_curve, results.metric, without),
        figure_layers=figures.score_by_layer(results.layers, layer_metric),
        layer_metric=layer_metric,
        figure_confusion=figures.confusion_map(results.class_scores, results.confusion),
        figure_numbers=predicted_against_true(results.numbers),
        figure_rows_map=rows_figures.rows_map(results.rows),
        figure_rows_curve=rows_figures.rows_curve(results.rows, results.metric),
        figure_rows_spread=rows_figures.rows_spread(results.rows),
        rows_said=rows_sentences(results),
        figure_training=figures.training_curves(results.trials),
        figure_spent=figures.seconds_by_stage(results.spent.seconds),
        ladder=ranked(results.trials, results.metric, results.winner.name),
        by_probe=any(trial.strategy == "probe" for trial in results.trials),
        unfinished=[trial for trial in results.trials if trial.status is not TrialStatus.DONE and trial.name != results.winner.name],
        splits=list(dict.fromkeys(trial.split for trial in results.trials if trial.score is not None)),
        pairs=confused_pairs(results),
        classes=sorted(results.class_scores, key=lambda score: (not score.rows, score.f1, score.label))[:MAX_CLASSES],
        labelled=dict(results.data.labels),
        note_groups=note_groups(results.worth_a_look, results.task),
        at_once=CLASSES_AT_ONCE,
        max_panels=figures.MAX_PANELS,
        lower=lower_is_better(results.metric),
        words=_words(results),
        told_apart=bool(results.class_scores or results.confusion or results.numbers or results.shown),
    )


def _words(results: Results) -> Words:
    words = _WORDS.get(results.task, _WORDS["classification"])
    if results.task == "translation" and results.shown:
        return replace(words, lower=f"{words.lower} BLEU is that of sacreBLEU: {signature([row.truth for row in results.shown])}.")
    if results.task == "generation" and all(what == WHOLE_TEXTS for what, _ in results.data.labels):
        begun = '"the beginning of a text"'
        return replace(words, lower="Lower is better for both.", text=f"{begun}, return_full_text=False", own_text=begun)
    return words


def write_report(results: Results, path: str | Path) -> None:
    """Write the report to a file, whole or not at all. Commands on the page name the file's folder as the run.

    Raises:
        ResourceError: the file cannot be written.
    """
    path = Path(path)
    page = build_report(results, str(path.parent), (path.parent / WITHOUT).exists()).encode("utf-8", errors="replace")
    try:
        with whole_file(path) as temporary:
            temporary.write_bytes(page)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ResourceError(f"The report {str(path)!r} cannot be written: {reason}. Make room or choose another folder.") from None


def confused_pairs(results: Results, most: int = MAX_PAIRS) -> list[Pair]:
    """The commonest mistakes, by number of rows, then by share of the true class."""
    labels = [score.label for score in results.class_scores]
    pairs = []
    for i, row in enumerate(results.confusion):
        total = sum(row)
        pairs += [Pair(labels[i], labels[j], cases, cases / total) for j, cases in enumerate(row) if cases and i != j]
    return sorted(pairs, key=lambda pair: (-pair.cases, -pair.share, pair.true, pair.given))[:most]


def ranked(trials: Sequence[TrialRecord], metric: str, winner: str) -> list[TrialRecord]:
    """The best first; those without a score last, in the order of the plan; a winner that was chosen without one comes first."""
    sign = 1 if lower_is_better(metric) else -1

    def place(trial: TrialRecord) -> tuple[bool, bool, float]:
        return trial.score is not None or trial.name != winner, trial.score is None, sign * trial.score.value if trial.score else 0.0

    return sorted(trials, key=place)


def label_worth(curve: LabelCurve | None, metric: str, without: Iterable[str]) -> Worth | None:
    """Where the rung with transfer ends on the label curve. `without` as in `figures.label_curve`; None: there is no such rung."""
    if curve is None:
        return None
    hollow = figures.without_transfer(curve, without)
    last = max((point.labels for point in curve.points), default=0)
    ends = [point for point in curve.points if point.labels == last]
    ours, theirs = ([point for point in ends if (point.rung in hollow) is plain] for plain in (False, True))
    if not ours:
        return None
    reached = ours[0].score
    plainly = any(p.score.high < reached.low if lower_is_better(metric) else p.score.low > reached.high for p in theirs)
    return Worth(ours[0], plainly)


def note_groups(notes: Sequence[RowNote], task: str) -> list[NoteGroup]:
    """The rows worth a look by kind; kinds that the page does not know come last, under their own name."""
    known = {kind: (title, meaning) for kind, title, meaning in _NOTE_KINDS}
    known["suspect label"] = _SUSPECTS.get(task, known["suspect label"])
    order = [*known, *dict.fromkeys(note.kind for note in notes if note.kind not in known)]
    groups = []
    for kind in order:
        own = [note for note in notes if note.kind == kind]
        title, meaning = known.get(kind, (kind.capitalize(), ""))
        if own:
            groups.append(NoteGroup(title, meaning, tuple(own[:MAX_NOTES]), max(0, len(own) - MAX_NOTES)))
    return groups


def _headline(sentence: str) -> tuple[str, str]:
    """The verdict, and apart from it its circumstances, which stand in brackets at the end: they are set smaller."""
    said, bracket, circumstances = sentence.rpartition(" (")
    if not bracket or not circumstances.endswith(")."):
        return sentence, ""
    return f"{said}.", f"{circumstances[0].upper()}{circumstances[1:-2]}."


@functools.cache
def environment() -> Environment:
    """Jinja with escaping on, and the report's ways of writing numbers as filters."""
    environment = Environment(
        loader=PackageLoader("headstart", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        clean=wording.clean,
        command=wording.command,
        count=wording.count,
        date=wording.date,
        interval=wording.interval,
        level=wording.level,
        many=wording.many,
        marked=marked,
        metric=shown_metric,
        number=wording.number,
        percent=wording.percent,
        prose=wording.prose,
        python=repr,
        rows=wording.row_list,
        seconds=wording.seconds,
        shell=shlex.quote,
        short=wording.shorten,
        size=wording.size,
        span=wording.span,
        squeeze=wording.squeeze,
        rows_counted=wording.rows_counted,
    )
    return environment
