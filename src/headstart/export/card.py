"""The model card: what the saved model is, how it was made and measured, and what it is not for."""

from __future__ import annotations

import math
from typing import Any

import yaml

from headstart.data.prompts import WHOLE_TEXTS
from headstart.data.rows import counted
from headstart.export.answer_program import LINES
from headstart.export.translator_folder import LINES as TRANSLATION_LINES
from headstart.judge.bleu import signature
from headstart.judge.verdict import verdict_sentence
from headstart.records import Estimate, Results, TrialStatus, names_by
from headstart.settings import shown_metric
from headstart.sources.embedded import MODEL_ID, NAME
from headstart.sources.resolve import HUB
from headstart.sources.source import Source

# What the hub calls our scores: type, name and further entries.
_HUB_METRICS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "accuracy": ("accuracy", "Accuracy", {}),
    "macro_f1": ("f1", "Macro F1", {"args": {"average": "macro"}}),
    "log_loss": ("log_loss", "Log-loss", {}),
    "entity_f1": ("f1", "Entity F1", {}),
    "micro_f1": ("f1", "Micro-F1", {}),
    "spearman": ("spearmanr", "Spearman's correlation", {}),
    "pearson": ("pearsonr", "Pearson's correlation", {}),
    "rmse": ("rmse", "Root mean squared error", {}),
    "answer_f1": ("f1", "Answer F1", {}),
    "exact_match": ("exact_match", "Exact match", {}),
    "precision": ("precision", "Precision", {}),
    "recall": ("recall", "Recall", {}),
    "calibration_error": ("expected_calibration_error", "Calibration error", {}),
}
_CALLS = {
    "multilabel": 'classify("a text", truncation=True, top_k=None)',
    "pairs": 'classify({"text": "one text", "text_pair": "the other"}, truncation=True)',
}
# What the scores of the pipeline are, where they are not the probabilities of classes.
_MEANING = {
    "multilabel": """A label applies where its score is above 0.5: the line was drawn where F1 is greatest on held-out rows, so that
scores of rare labels lie above the frequencies with which they are right.

""",
    "regression": "The score is the number.\n\n",
}
_LIMITS = {
    "multilabel": "- Each label is judged by itself: that two of them exclude each other is not known to it.",
    "generation": "- What it writes reads well whether or not it is true: nothing checks it.",
    "translation": "- A translation may read well and say something else: nothing checks it.",
    "qa": "- It finds what stands in the context word for word, one run of words: it neither counts nor concludes.",
    "regression": "- Beyond the numbers of its training data it has seen nothing, and its answers there are worth little.",
}
# What the hub calls models that do not classify texts; and the tasks whose long texts are read whole, in windows.
_KINDS = {"ner": "token-classification", "qa": "question-answering", "generation": "text-generation", "translation": "translation"}
_IN_WINDOWS = ("ner", "qa")
_MOST_LABELS = 200  # named in the card; config.json names all
_LONGEST_LABEL = 60


def model_card(results: Results, source: Source | None, *, max_length: int | None = None, language: str | None = None) -> str:
    """The text of the saved model's README.md.

    Args:
        results: the finished run.
        source: what the winner started from; None for a model without transfer.
        max_length: tokens that are read of a text; None where no such limit applies.
        language: the code of the texts' language (`en`); None: not known, and left out.
    """
    front = yaml.safe_dump(_metadata(results, source, language), sort_keys=False, allow_unicode=True, width=1000)
    sections = [
        f"# {results.title}",
        f"{_kind(results, source)}\n\n{verdict_sentence(results)}",
        f"## How to use it\n\n{_usage(results, source)}",
        f"## Labels\n\n{_labels(results)}",
        f"## How it was made\n\n{_making(results, source, max_length)}",
        f"## How it was measured\n\n{_measured(results)}",
        f"## Intended use and limits\n\n{_limits(results, max_length)}",
    ]
    return f"---\n{front}---\n\n" + "\n\n".join(sections) + "\n"


def base_model(source: Source) -> str | None:
    """The source's name on the hub; None when it is only a folder or a package."""
    if NAME in (source.name, source.place):
        return MODEL_ID
    place = source.place or source.name  # a name on the shelf may stand for a model of the hub
    return place.removeprefix(HUB).partition("@")[0] if place.startswith(HUB) else None


def _metadata(results: Results, source: Source | None, language: str | None) -> dict[str, Any]:
    """The front matter that the hub and its tools read; a key that is not known is left out."""
    kind = _KINDS.get(results.task, "text-classification")
    on_hub = results.data.name.startswith(HUB)
    data = results.data.name.removeprefix(HUB)
    entry = {
        "task": {"type": kind, "name": kind.replace("-", " ").capitalize()},
        "dataset": {"type": data if on_hub else "custom", "name": data, "split": results.judged_on},
        "metrics": [_hub_metric(name, estimate) for name, estimate in results.scores.items() if not math.isnan(estimate.value)],
    }
    wanted = {
        "language": language,
        "license": source.licence if source else None,
        "library_name": "transformers" if source or results.task in ("generation", "translation") else "headstart",
        "pipeline_tag": kind,
        "tags": [kind, "headstart", *(["transfer-learning"] if source else [])],
        "base_model": base_model(source) if source else None,
        "datasets": [data.partition("@")[0]] if on_hub else None,
        "metrics": [
            kind for kind in dict.fromkeys(_HUB_METRICS.get(name, (name,))[0] for name in results.scores) if kind in ("accuracy", "f1")
        ],
        "model-index": [{"name": results.title, "results": [entry]}],
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _hub_metric(name: str, estimate: Estimate) -> dict[str, Any]:
    kind, title, extra = _HUB_METRICS.get(name, (name, shown_metric(name), {}))
    return {"type": kind, "name": title, "value": round(estimate.value, 4), **extra}


def _kind(results: Results, source: Source | None) -> str:
    if results.task == "qa":
        what = "A model that finds the answer to a question in a context"
        how = "the sentence that shares the rarest words with the question, or a part of it"
    elif results.task == "generation":
        what, how = "A model that writes what follows a prompt", "a small one from random weights"
        if source is not None and not results.winner.transfers:
            return f"{what}: {base_model(source) or source.name}, as it is."
    elif results.task == "translation":
        if source is None:
            return "A translator, without transfer: a small one from random weights."
        return f"A translator, transferred from {base_model(source) or source.name}."
    elif results.task == "ner":
        what = f"A model that marks {counted(len(results.data.labels), 'type')} of entities"
        how = "a conditional random field on words and their shapes"
    else:
        labels = counted(len(results.data.labels), "label")
        what = {"multilabel": f"A model that gives a text any of {labels}", "regression": "A model that predicts a number for a text"}.get(
            results.task, f"A {'text' if results.task != 'pairs' else 'pair'} classifier with {labels}"
        )
        how = "words and characters weighed by a linear model"
    return f"{what}, without transfer: {how}." if source is None else f"{what}, transferred from {base_model(source) or source.name}."


def _usage(results: Results, source: Source | None) -> str:
    text = {"pairs": '("one text", "the other")', "qa": '("a question", "a context")', "generation": '"a prompt"'}.get(
        results.task, '"a text"'
    )
    own = f'```python\nimport headstart\n\nheadstart.load("DIR").predict([{text}])\n```'
    if results.task == "translation":
        return f"""DIR is this folder.

{own}

Without headstart, with `folder = "DIR"`, the same comes of `translate(text)`:

```python
{TRANSLATION_LINES}```"""
    if results.task == "generation":
        whole = all(what == WHOLE_TEXTS for what, _ in results.data.labels)
        given = "the beginning of a text" if whole else "a prompt\\n"
        reads = (
            "It goes on from where a text stops. headstart does the same:"
            if whole
            else "A plain prompt ends with a line break, as in training; a chat is given as a list of messages. headstart sees to either:"
        )
        return f"""DIR is this folder.

```python
from transformers import pipeline

write = pipeline("text-generation", "DIR")
write("{given}", return_full_text=False)
```

{reads}

{own}"""
    if source is None:
        return f"DIR is this folder.\n\n{own}"
    if results.task == "qa":
        return f"""DIR is this folder.

{own}

`answer` in place of `predict` also gives an answer's place and probability. Without headstart, with `folder = "DIR"`, the same answers
come of `answer(question, context)`:

```python
{LINES}```"""
    if results.task == "ner":
        return f"""DIR is this folder.

```python
from transformers import pipeline

mark = pipeline("token-classification", "DIR", aggregation_strategy="first")
mark("a text")
```

A word is what its first token is taken for. Texts longer than the model reads at once are read in windows by headstart, which also
takes lists of words:

{own}"""
    call = _CALLS.get(results.task, 'classify("a text", truncation=True)')
    return f"""DIR is this folder.

```python
from transformers import pipeline

classify = pipeline("text-classification", "DIR", trust_remote_code=True)
{call}
```

{_MEANING.get(results.task, "")}`trust_remote_code=True` is asked for because no class of transformers puts a linear layer on pooled
token vectors of this kind: it runs
`modeling_headstart.py` of this folder, about a hundred lines that you can read first. Without it:

{own}"""


def _labels(results: Results) -> str:
    if results.task in ("generation", "translation"):
        return "It has none: what it gives is text."
    rows = [f"| {_cell(label)} | {count:,} |" for label, count in results.data.labels[:_MOST_LABELS]]
    more = len(results.data.labels) - _MOST_LABELS
    tail = f"\n\nand {more:,} more; `config.json` names all." if more > 0 else ""
    head = "| type | entities |" if results.task == "ner" else "| label | rows |"
    return f"{head}\n|---|---:|\n" + "\n".join(rows) + tail


def _making(results: Results, source: Source | None, max_length: int | None) -> str:
    winner = results.winner
    lines = [f"- strategy: {winner.strategy}"]
    if source is not None:
        lines.append(
            f"- source: {source.name} ({source.model_type}, {source.pooling.value} pooling, licence {source.licence or 'not stated'})"
        )
        lines += [f"- of the source: {note}" for note in source.notes]
        lines += _way(results)
    if winner.cut is not None:
        lines.append(f"- cut: the lowest {winner.cut} blocks stayed frozen")
    if max_length is not None:
        at_once = " at once" if results.task == "qa" else ""
        lines.append(f"- length: {max_length:,} tokens of a text are read{at_once}")
    lines.append(f"- data: {results.data.name}, {results.data.used - results.data.validation:,} of {results.data.rows:,} rows used")
    lines.append(f"- seeds: {', '.join(str(seed) for seed in results.seeds)}")
    lines.append(f"- made {results.created} by `{results.command}`")
    tried = [trial for trial in results.trials if trial.status is TrialStatus.DONE and trial.score is not None]
    if len(tried) > 1:
        rows = [f"| {_cell(t.name)} | {_number(t.score)} | {t.seconds:,.0f} |" for t in tried if t.score is not None]
        lines.append(
            f"\nWhat was tried, by {shown_metric(results.metric)} on training rows:\n\n| rung | score | seconds |\n|---|---|---:|\n"
            + "\n".join(rows)
        )
    return "\n".join(lines)


def _way(results: Results) -> list[str]:
    """By which source tasks the winner's weights came, where they did not come directly."""
    source, tasks = results.winner.source, results.detour.tasks if results.detour else ()
    return [
        f"- on the way: {task.name} ({task.rows:,} rows of {task.data}) was learnt first, from {task.source}"
        for task in tasks
        if source in names_by(task.source, task.name)
    ]


def _measured(results: Results) -> str:
    table = "\n".join(f"| {shown_metric(name)} | {_number(estimate)} |" for name, estimate in results.scores.items())
    main = results.scores[results.metric]
    opening = f"Judged on {results.judged_on} ({main.n:,} rows); the brackets are {100 * main.confidence:g} % intervals."
    if results.task == "translation" and results.shown:
        opening += f" BLEU is that of sacreBLEU: `{signature([row.truth for row in results.shown])}`."
    return f"{opening}\n\n| | |\n|---|---|\n{table}"


def _limits(results: Results, max_length: int | None) -> str:
    lines = [
        "- It is made for texts like those of its training data; on other texts the figures above say nothing.",
        "- It knows no other types of entities than these, and marks a word once: entities within entities are not told."
        if results.task == "ner"
        else _LIMITS.get(
            results.task, "- It always answers with one of its labels, also when none fits; a low probability is the only sign."
        ),
    ]
    if max_length is not None and results.task == "generation":
        lines.append(
            f"- It reads {max_length:,} tokens, of a prompt with its completion. Of a longer prompt `headstart predict` leaves out the "
            "beginning; the pipeline ends with an error."
        )
    elif max_length is not None and results.task not in _IN_WINDOWS:
        lines.append(f"- What stands after the first {max_length:,} tokens of a text is not read.")
    small = [score.label for score in results.class_scores if score.rows < 10]
    if small:
        named = ", ".join(_cell(label) for label in small[:10]) + (" and others" if len(small) > 10 else "")
        lines.append(f"- Judged on fewer than ten {'entities' if results.task == 'ner' else 'rows'} each, so hardly measured: {named}.")
    lines.append(
        "- What is skewed in its training data or its source is skewed in it. Check it on your own texts before it decides about people."
    )
    return "\n".join(lines)


def _number(estimate: Estimate) -> str:
    return "–" if math.isnan(estimate.value) else f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _cell(text: str) -> str:
    """A label that cannot break out of its table cell or be read as markup."""
    flat = " ".join(text.split())
    short = flat if len(flat) <= _LONGEST_LABEL else flat[: _LONGEST_LABEL - 1] + "…"
    for sign in "\\|`*_[]<>":
        short = short.replace(sign, "\\" + sign)
    return short
