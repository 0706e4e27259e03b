"""The plan that `fit --dry-run` prints: trials, predicted seconds, memory and disk.

Letters in shapes: n rows, d width, L blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headstart.rungs import Rung, expectation, trial_seconds
from headstart.tasks.registry import deciding_metric

if TYPE_CHECKING:
    from headstart.cost import CostModel
    from headstart.settings import Settings
    from headstart.target import Part, Target

_FLOAT = 4  # bytes
# A training step holds the weights that learn, their gradients and two moments, and copies of activations for the way back.
_STATES, _ACTIVATIONS = 4, 24
# Of a training that is kept while it runs: the weights that learn and their two moments.
_KEPT = 3


def describe_plan(
    target: Target, parts: Sequence[Part], rungs: Sequence[Rung], cost: CostModel, settings: Settings, seconds: float, beside: int
) -> str:
    """The plan in words.

    Args:
        target: the data.
        parts: how it will be judged.
        rungs: the candidates on the first part's rows.
        cost: predicts seconds.
        settings: what was asked.
        seconds: what the decision on the first part's rows may take; one on more rows may take more.
        beside: texts that are read beside the target's labelled rows, of neighbouring rows or without labels.
    """
    from headstart.strategies.batches import HELD_BYTES
    from headstart.strategies.resuming import EVERY

    decisions = len(parts) + (0 if parts[0].judge is None else 1)
    last = f", {seconds * len(target.rows) / len(parts[0].learn):,.0f} s for the last" if decisions > 1 else ""
    labels = f", {target.rows.n_classes} labels" if target.labels else ""  # of answers in words there are none
    lines = [
        f"{len(target.rows):,} usable rows of {len(target.examples):,}{labels}; judged on {_judges(target, parts)}",
        f"{decisions} decision{'s' if decisions > 1 else ''} within {settings.budget:,.0f} s: {seconds:,.0f} s each{last}",
        "",
        f"{'rung':<28}{'expected':>10}{'seconds':>9}  what it does",
    ]
    reading: dict[str, float] = {}
    disk: dict[str, float] = {}
    kept: set[tuple[str, int]] = set()  # cuts whose activations the store holds
    memory = unfinished = 0.0
    for rung in sorted(rungs, key=lambda rung: trial_seconds(rung, cost)):
        belief = expectation(rung, deciding_metric(settings))
        lines.append(f"{rung.name:<28}{belief.mean:>+10.3f}{trial_seconds(rung, cost):>9.0f}  {rung.strategy.summary}")
        reader = rung.job.reader
        if reader is None:
            continue
        backbone, tokens = reader.backbone, rung.tokens * len(target.rows)
        name = backbone.source.name
        reading[name] = cost.reading(tokens + beside * rung.tokens, backbone.block_parameters)
        disk.setdefault(name, (len(target.rows) + beside) * (backbone.n_blocks + 1) * backbone.width * _FLOAT)
        if rung.strategy.tunes_from is not None:
            lowest = rung.strategy.tunes_from(rung.job)
            learning = backbone.parameters_total if lowest == 0 else backbone.block_parameters * (1 - lowest / backbone.n_blocks)
            held = min(HELD_BYTES, tokens * backbone.width * _FLOAT) if lowest else 0.0
            step = settings.batch_size * rung.tokens * backbone.width * backbone.n_blocks * _FLOAT * _ACTIVATIONS
            memory = max(memory, backbone.parameters_total * _FLOAT + learning * _STATES * _FLOAT + held + step)
            if trial_seconds(rung, cost) > EVERY:
                unfinished = max(unfinished, learning * _KEPT * _FLOAT)
            if lowest and (name, lowest) not in kept:
                kept.add((name, lowest))
                disk[name] += tokens * backbone.width * _FLOAT
    lines += [
        "",
        "expected: score minus the probe's, from the table of measured sets; the planner tries what is worth its seconds",
        "reading: " + "; ".join(f"{name} {seconds:,.1f} s" for name, seconds in reading.items()) if reading else "reading: none",
        f"memory: about {1.0 + memory / 1e9:.1f} GB; disk: about {sum(disk.values()) / 1e6:,.0f} MB in the store"
        + (f", {unfinished / 1e6:,.0f} MB while a training runs that can be gone on with" if unfinished else ""),
    ]
    return "\n".join(lines)


def _judges(target: Target, parts: Sequence[Part]) -> str:
    if target.test is not None:
        return f"the {len(target.test):,} rows of the test file"
    if len(parts) > 1:
        return f"{len(parts)} outer folds"
    assert parts[0].judge is not None  # without a test file every part has rows of its own
    return f"one test split of {len(parts[0].judge):,} rows"
