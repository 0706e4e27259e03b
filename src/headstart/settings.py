"""Every setting of headstart: its type, unit, range, default and meaning, in one place.

The command line's options, the `--config` file, `run.yaml` and the documentation are all made from the fields of `Settings`.
Nothing else in the package holds a default.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from headstart.errors import SettingsError


class Metric(str, Enum):
    """What decides between rungs. All of them are reported."""

    ACCURACY = "accuracy"
    MACRO_F1 = "macro_f1"
    LOG_LOSS = "log_loss"
    ENTITY_F1 = "entity_f1"
    MICRO_F1 = "micro_f1"
    SPEARMAN = "spearman"
    PEARSON = "pearson"
    ANSWER_F1 = "answer_f1"
    EXACT_MATCH = "exact_match"
    BLEU = "bleu"
    CHRF = "chrf"
    BITS_PER_BYTE = "bits_per_byte"
    ROUGE_L = "rouge_l"

    @property
    def higher_is_better(self) -> bool:
        """Whether a greater value is the better one."""
        return self not in (Metric.LOG_LOSS, Metric.BITS_PER_BYTE)

    @property
    def full(self) -> float:
        """The greatest value of a score that has one: 1, of those that are written in points 100; of losses nothing is said."""
        return 100.0 if self in (Metric.BLEU, Metric.CHRF) else 1.0

    @property
    def shown(self) -> str:
        """The name as people write it: macro-F1."""
        names = {
            Metric.MACRO_F1: "macro-F1",
            Metric.LOG_LOSS: "log-loss",
            Metric.ENTITY_F1: "entity F1",
            Metric.MICRO_F1: "micro-F1",
            Metric.SPEARMAN: "Spearman's correlation",
            Metric.PEARSON: "Pearson's correlation",
            Metric.ANSWER_F1: "answer F1",
            Metric.EXACT_MATCH: "exact match",
            Metric.BLEU: "BLEU",
            Metric.CHRF: "chrF++",
            Metric.BITS_PER_BYTE: "bits per byte",
            Metric.ROUGE_L: "ROUGE-L",
        }
        return names.get(self, self.value)


def by_scale(*, share: float, loss: float, bits: float | None = None) -> dict[Metric, float]:
    """A number in every metric's own unit: of scores as a share of their greatest value, of losses in nats, and of bits a byte, of which a
    hundredth is much (None: as of losses)."""
    found = {metric: share * metric.full if metric.higher_is_better else loss for metric in Metric}
    return found if bits is None else {**found, Metric.BITS_PER_BYTE: bits}


def lower_is_better(name: str) -> bool:
    """Whether a smaller value of the score of this name is the better one; False of those that decide nothing."""
    return name in set(Metric) and not Metric(name).higher_is_better


def shown_metric(name: str) -> str:
    """A score's name as people write it, also of one that decides nothing: calibration error."""
    special = {"r2": "variance explained", "rmse": "root mean squared error"}
    return Metric(name).shown if name in set(Metric) else special.get(name, name.replace("_", " "))


class Precision(str, Enum):
    """The number format of training above the cut. Reading below it is always float32."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Vocabulary(str, Enum):
    """The pieces of words that a translator writes and reads when it goes on from a parent."""

    KEEP = "keep"
    EXTEND = "extend"
    NEW = "new"


class Export(str, Enum):
    """Further forms of the saved model."""

    NONE = "none"
    ONNX = "onnx"


def _setting(
    default: Any,
    help: str,
    *,
    group: str,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    short: str = "",
    placeholder: str = "",
    tasks: tuple[str, ...] = (),
) -> Any:
    """A dataclass field that carries what help texts and checks need.

    `low` and `high` are inclusive. `placeholder` names the value in help texts (None: the type's name). `tasks`: the tasks that it is for
    alone; (): all.
    """
    return field(
        default=default,
        metadata={
            "help": help,
            "group": group,
            "unit": unit,
            "low": low,
            "high": high,
            "short": short,
            "placeholder": placeholder,
            "tasks": tasks,
        },
    )


# Tasks that a setting can be for alone: those whose rungs set rows aside to stop by, and those that are trained above a cut.
_STOPPED = ("classification", "pairs", "multilabel", "regression")
_CUT = (*_STOPPED, "ner", "qa", "generation")


@dataclass(frozen=True)
class Settings:
    """What a run was asked to do. `None` always means "not given"; the help of the field says what happens then."""

    # --- the data ---
    task: str | None = _setting(
        None,
        "what is predicted: classification (a label for each text), pairs (one for two texts together), multilabel (any number of labels), "
        "regression (a number), ner (entities), qa (answers in a context), translation (a text in another language) or generation (what "
        "follows a prompt); without it the columns decide",
        group="data",
        placeholder="TASK",
    )
    text: str | None = _setting(
        None,
        "column that holds the text, for pairs both as FIRST,SECOND; not needed if only one column can be it",
        group="data",
        placeholder="COLUMN",
    )
    label: str | None = _setting(
        None, "column that holds the label; not needed if only one column can be it", group="data", placeholder="COLUMN"
    )
    test: str | None = _setting(
        None,
        "file with the test rows; without it some rows are set aside for the judge or, if they are few, outer folds judge",
        group="data",
        placeholder="FILE",
    )
    validation: str | None = _setting(
        None,
        "file with rows on which rungs are compared, in place of folds of the training rows; the rung that is chosen learns from them too, "
        "and without a test file they take part in the judging like any others",
        group="data",
        placeholder="FILE",
    )

    # --- transfer ---
    source: tuple[str, ...] = _setting(
        (),
        "what to transfer from: a folder, an installed package, an earlier run, a name on the shelf (see headstart sources), or hub:NAME; "
        "or a text file (*.txt) of such names, one a line; repeatable; without it the embedded all-MiniLM-L6-v2",
        group="transfer",
        placeholder="SOURCE",
    )
    via: tuple[str, ...] = _setting(
        (),
        "labelled data of another task that is learnt first, in a run of its own; the target is tried from the weights that this leaves, "
        "from half way back, and directly; repeatable",
        group="transfer",
        placeholder="DATA",
    )
    rows_from: tuple[str, ...] = _setting(
        (),
        "neighbouring data with the labels of the target; rows of it are chosen, and learnt beside the target's own if that helps; "
        "repeatable",
        group="transfer",
        tasks=("classification",),
        placeholder="DATA",
    )
    label_map: str | None = _setting(
        None,
        "YAML or JSON file that says which label of the target a label of --rows-from stands for (`theirs: ours`); labels with the same "
        "name need no line",
        group="transfer",
        tasks=("classification",),
        placeholder="FILE",
    )
    rows_by: str = _setting(
        "sure",
        "how rows of --rows-from are chosen: sure, nearest, class_centres, agreement, density, dsir, mean_matching, influence, "
        "block_influence, boosting or whole_sets",
        group="transfer",
        tasks=("classification",),
        placeholder="WAY",
    )
    rows_share: float = _setting(
        0.25, "share of the rows of --rows-from that is chosen", group="transfer", low=0.001, high=1, tasks=("classification",)
    )
    strategy: tuple[str, ...] = _setting(
        (), "try only this rung of the ladder; repeatable; without it the planner chooses", group="transfer", placeholder="NAME"
    )
    cut: int | None = _setting(
        None,
        "blocks kept frozen, counted from the input: 0 trains all, the number of blocks trains none; without it a third is frozen",
        group="transfer",
        unit="blocks",
        low=0,
        tasks=_CUT,
    )
    vocabulary: Vocabulary = _setting(
        Vocabulary.KEEP,
        "for a translator that goes on from an encoder-decoder: keep its pieces of words, extend them by those of the new texts, or learn "
        "new ones; embeddings of shared pieces are carried over, others are drawn from the mean and spread of the old",
        group="transfer",
        tasks=("translation",),
    )
    max_length: int = _setting(
        256,
        "longest text that is read at once, if the source can; longer ones are cut off, for entities and answers read in pieces",
        group="transfer",
        unit="tokens",
        low=8,
        high=8192,
    )

    # --- the run ---
    budget: float = _setting(
        600.0, "time for the whole run: a number of seconds, or 90s, 10m, 2h", group="run", unit="seconds", low=1.0, placeholder="TIME"
    )
    metric: Metric | None = _setting(
        None,
        "the score that decides between rungs; without it the task's usual one: macro_f1 (classification, pairs), micro_f1 (multilabel), "
        "spearman (regression), entity_f1 (ner), answer_f1 (qa), bleu (translation) or bits_per_byte (generation)",
        placeholder="NAME",
        group="run",
    )
    seed: int = _setting(0, "seed of every random choice", group="run", low=0, high=2**32 - 1)
    out: str | None = _setting(None, "folder of the run; without it runs/NAME, with the name of the data", group="run", placeholder="DIR")
    shelf: bool = _setting(True, "put the finished run on the shelf, as a source for later runs", group="run")
    export: Export = _setting(Export.NONE, "also save the model in this form", group="run")
    adapter: bool = _setting(
        False,
        "if lora wins, also save what it learnt as an adapter for peft, with its head, in model/adapter; needs --strategy lora",
        group="run",
    )
    dry_run: bool = _setting(False, "print the plan (trials, seconds, memory, disk) and stop", group="run")
    quiet: bool = _setting(False, "no progress bars and no messages on the way, only warnings and the result", group="run")

    # --- training above the cut ---
    learning_rate: float = _setting(3e-4, "peak learning rate of the top block", group="training", low=1e-7, high=1.0)
    layer_decay: float = _setting(
        0.9, "each block's learning rate as a share of that of the block above it", group="training", low=0.1, high=1.0, tasks=_CUT
    )
    epochs: int = _setting(
        4,
        "passes over the training rows (for answers twice as many, for completions half); entities, answers, translations and few rows "
        "take a least number of steps whatever is said here",
        group="training",
        low=1,
        high=1000,
    )
    batch_size: int = _setting(
        32,
        "rows in one training step; for entities, answers and completions a quarter of it",
        group="training",
        unit="rows",
        low=2,
        high=4096,
    )
    pack: bool = _setting(
        False,
        "put the texts of a step into one row, one after the other, none seeing another, in place of batches of like length, which are "
        "faster on a CPU",
        group="training",
        tasks=("generation",),
    )
    warmup: float = _setting(0.1, "share of the steps over which the learning rate rises", group="training", low=0.0, high=1.0)
    weight_decay: float = _setting(0.01, "weight decay of AdamW", group="training", low=0.0, high=1.0)
    patience: int = _setting(
        2,
        "passes without a better validation loss after which training stops; from 3,000 training rows on, since some are set aside for it",
        group="training",
        unit="passes",
        low=1,
        tasks=_STOPPED,
    )
    precision: Precision = _setting(
        Precision.AUTO,
        "number format of training; auto takes bfloat16 if this machine multiplies it much faster",
        group="training",
    )

    # --- judging ---
    test_share: float = _setting(
        0.2,
        "share of the rows that is set aside for the judge if there is no test file and rows are many (see --few-rows)",
        group="judging",
        low=0.05,
        high=0.5,
    )
    outer_folds: int = _setting(5, "outer folds of the judge if there is no test file and rows are few", group="judging", low=2, high=20)
    few_rows: int = _setting(1500, "with fewer rows than this outer folds judge, else one test split", group="judging", unit="rows", low=0)
    inner_folds: int = _setting(5, "folds of the training rows on which rungs are compared", group="judging", low=2, high=20)
    confidence: float = _setting(0.95, "coverage of every interval", group="judging", low=0.5, high=0.999)
    resamples: int = _setting(2000, "bootstrap resamples behind every interval", group="judging", low=100, high=100_000)

    # --- the store ---
    store: str | None = _setting(
        None, "folder of the store; without it $HEADSTART_CACHE, else ~/.cache/headstart", group="store", placeholder="DIR"
    )
    store_limit: float = _setting(
        10.0, "greatest size of the store; what has not been used for longest goes first", group="store", unit="GB", low=0.01
    )
    batch_tokens: int = _setting(4096, "tokens read in one batch", group="store", unit="tokens", low=64)

    def __post_init__(self) -> None:
        problems = []
        for item in dataclasses.fields(self):
            problems += _range_problems(item, getattr(self, item.name))
        if self.adapter and "lora" not in self.strategy:
            problems.append("--adapter saves what the rung lora learns, and that is not asked for; add --strategy lora.")
        if self.adapter and self.via:
            problems.append("--adapter stands on a source's own weights, and --via trains from others; leave one of the two out.")
        if problems:
            raise SettingsError(problems)


def flag(name: str) -> str:
    """The command-line option of a setting: `max_length` is `--max-length`."""
    return "--" + name.replace("_", "-")


def for_tasks(item: dataclasses.Field[Any]) -> str:
    """The tasks that a setting is for alone: `for the task ner`, `for the tasks ner and qa`; "" where it is for all."""
    tasks = item.metadata["tasks"]
    if not tasks:
        return ""
    *others, last = tasks
    return f"for the tasks {', '.join(others)} and {last}" if others else f"for the task {last}"


def _range_problems(item: dataclasses.Field[Any], value: Any) -> list[str]:
    """What is wrong with a number that lies outside its field's range; empty when nothing is."""
    low, high = item.metadata["low"], item.metadata["high"]
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return []
    unit = f" {item.metadata['unit']}" if item.metadata["unit"] else ""
    if low is not None and high is not None and not low <= value <= high:
        return [f"{flag(item.name)} is {value:g}{unit}; it must lie between {low:g} and {high:g}."]
    if not math.isfinite(value):
        return [f"{flag(item.name)} is {value:g}{unit}; it must be a finite number."]
    if low is not None and not value >= low:
        return [f"{flag(item.name)} is {value:g}{unit}; it must be at least {low:g}."]
    return []


def parse_seconds(text: str | float) -> float:
    """Seconds from a number or from `90s`, `10m`, `2h`.

    Raises:
        SettingsError: the text is none of these.
    """
    factors = {"s": 1.0, "m": 60.0, "h": 3600.0}
    word = str(text).strip().lower()
    number, factor = (word[:-1], factors[word[-1]]) if word[-1:] in factors else (word, 1.0)
    try:
        return float(number) * factor
    except ValueError:
        raise SettingsError(f"--budget is {str(text)!r}; give seconds as a number, or a number with s, m or h, as in 90s or 10m.") from None


def _convert(name: str, kind: Any, value: Any) -> Any:
    """A value from a config file or a command line in the type of its field.

    Raises:
        SettingsError: the value cannot be read as that type.
    """
    value = _plain(value)
    if name == "budget":
        return parse_seconds(value)
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not types.NoneType)
    for part in value if isinstance(value, list | tuple) else (value,):
        if not isinstance(part, str | int | float | Path | Enum):
            raise SettingsError(f"{flag(name)} is a {type(part).__name__}; it must be a name, a path or a number.")
    if typing.get_origin(kind) is tuple:
        return tuple(str(part) for part in value) if isinstance(value, list | tuple) else (str(value),)
    if isinstance(kind, type) and issubclass(kind, Enum):
        choices = [str(member.value) for member in kind]
        if value not in choices:
            raise SettingsError(f"{flag(name)} is {value!r}; it must be one of {', '.join(choices)}.{did_you_mean(str(value), choices)}")
        return kind(value)
    if kind is bool and not isinstance(value, bool):
        raise SettingsError(f"{flag(name)} is {value!r}; it must be true or false.")
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise SettingsError(f"{flag(name)} is {value!r}; it must be a whole number.")
    try:
        return kind(value)
    except (TypeError, ValueError):
        wanted = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise SettingsError(f"{flag(name)} is {value!r}; it must be {wanted}.") from None


def _plain(value: Any) -> Any:
    """A value of NumPy's, as a search over `np.arange(2, 5)` gives them, as Python's own; an array as a list; all others as they are."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.tolist() if type(value).__module__ == "numpy" else value


def did_you_mean(word: str, known: typing.Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest known word, or nothing when none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def setting_types() -> dict[str, Any]:
    """The type of every setting by name."""
    return typing.get_type_hints(Settings)


def make_settings(values: dict[str, Any]) -> Settings:
    """Settings from plain values, as a command line or a YAML file gives them; what is absent, or None, takes its default.

    Raises:
        SettingsError: unknown names, values of the wrong type, or outside their range; all of them at once.
    """
    kinds = setting_types()
    problems: list[str] = []
    converted: dict[str, Any] = {}
    for name, value in values.items():
        if name not in kinds:
            problems.append(f"There is no setting {name!r}.{did_you_mean(name, kinds)}")
            continue
        if value is None:  # a name without a value in YAML
            continue
        try:
            converted[name] = _convert(name, kinds[name], value)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return Settings(**converted)


def read_config(path: str | Path) -> dict[str, Any]:
    """The plain values of a YAML file of settings.

    Raises:
        SettingsError: the file is absent, no YAML, or no mapping.
    """
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"There is no config file {str(path)!r}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"The config file {str(path)!r} is not YAML: {str(error).splitlines()[0]}.") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"The config file {str(path)!r} must hold `name: value` lines, not a {type(values).__name__}.")
    return {str(name): value for name, value in values.items()}


def as_plain(settings: Settings) -> dict[str, Any]:
    """Settings as values that YAML can hold; `make_settings(as_plain(s)) == s`."""

    def plain(value: Any) -> Any:
        if isinstance(value, Enum):
            return value.value
        return list(value) if isinstance(value, tuple) else value

    return {item.name: plain(getattr(settings, item.name)) for item in dataclasses.fields(settings)}
