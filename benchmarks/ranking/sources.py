"""The sources of the ranking benchmark, each a plain model folder.

    python benchmarks/ranking/sources.py [--sources NAME ...]

MiniLM as the embedded package has it, and MPNet where its five packages are installed (benchmarks/above_the_cut.py says which); both with
random weights, as controls; and both after training on 1,000 rows of source tasks with headstart's own `full`. They lie in
benchmarks/work/ranking/sources/NAME; what is there whole is not made again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from above_the_cut import mpnet
from common import code_digest, describe_machine
from data import minilm
from ranking.targets import RANKING, SOURCE_TASKS, draw_task

BASES = ("minilm", "mpnet")
# MPNet costs eight times as much as MiniLM.
TASKS = {"minilm": SOURCE_TASKS, "mpnet": SOURCE_TASKS[:4]}
RANDOM = "random"
RANDOM_SEED = 0
# Weights are written anew; the card tells of another training, and the list of the original's training data is nothing to a source.
_NOT_COPIED = shutil.ignore_patterns("*.safetensors", "*.bin", "README.md", "data_config.json", "onnx", "openvino", ".git*", ".cache")


def names(base: str) -> list[str]:
    """The names of a base's sources: itself, with random weights, and after each source task."""
    return [base, f"{base}-{RANDOM}", *(f"{base}+{task}" for task in TASKS[base])]


def known(*, installed: bool = True) -> list[str]:
    """All names; of MPNet only where it is installed, unless `installed` is False."""
    return [name for base in BASES if not installed or base_folder(base) is not None for name in names(base)]


def base_of(name: str) -> str:
    """`minilm` of `minilm+sst2` and of `minilm-random`."""
    return name.split("+")[0].removesuffix(f"-{RANDOM}")


def base_folder(base: str) -> Path | None:
    """Where an unchanged base lies; None: it is not installed."""
    return minilm() if base == "minilm" else mpnet()


def folder_of(name: str) -> Path:
    """The folder of a source that was made.

    Raises:
        SystemExit: it was not.
    """
    folder = RANKING / "sources" / name
    if name in BASES:
        whole = base_folder(name)
        if whole is not None:
            return whole
    elif (folder / "config.json").is_file():
        return folder
    raise SystemExit(f"The source {name!r} is not in {folder}; make it with `python benchmarks/ranking/sources.py --sources {name}`.")


def make(name: str) -> Path:
    """Make a source unless it is there; returns its folder."""
    folder = RANKING / "sources" / name
    if name in BASES or (folder / "config.json").is_file():
        return folder_of(name)
    base = folder_of(base_of(name))
    module, facts, head = _randomised(base) if name.endswith(f"-{RANDOM}") else _trained(base, name.split("+")[1])
    part = folder.with_name(f".{name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(base, part, ignore=_NOT_COPIED)
    module.save_pretrained(part)
    if head is not None:
        # What the source's own head says is the input of estimators such as LEEP. Not among the model's files: a source has no head.
        (part / "head").mkdir()
        np.savez(part / "head" / "head.npz", **head)
    facts = {"name": name, "base": base_of(name), **facts, "date": describe_machine()["date"], "headstart_code": code_digest()}
    (part / "made.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    os.replace(part, folder)
    print(facts, flush=True)
    return folder


def _randomised(base: Path) -> tuple[Any, dict[str, Any], None]:
    """The architecture with the random weights that its own class begins with."""
    import torch

    module, _ = _open(base)
    with torch.random.fork_rng():
        torch.manual_seed(RANDOM_SEED)
        return type(module)(module.config).eval(), {"random_seed": RANDOM_SEED}, None


def _trained(base: Path, task: str) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The backbone after `full` with default settings on a source task; what it scores there; its head."""
    from headstart.judge.metrics import accuracy
    from headstart.strategies.ladder import get_strategy
    from ranking.truth import job_of, open_reader

    train, held = draw_task(task)
    begin = time.perf_counter()
    reader = open_reader(base, store=None)
    model: Any = get_strategy("full").fit(job_of(train, reader, seed=0))
    seconds = time.perf_counter() - begin
    facts = {
        "task": task,
        "rows": len(train),
        "classes": train.n_classes,
        "held_rows": len(held),
        "accuracy": round(accuracy(model.predict_logits(held.texts), held.y), 4),
        "seconds": round(seconds, 1),
    }
    head = {"weight": model.head.weight, "bias": model.head.bias, "layers": np.array(model.layers)}
    return model.module, facts, head


def _open(folder: Path) -> tuple[Any, Any]:
    from headstart.sources.opening import open_source
    from headstart.sources.resolve import resolve_source

    return open_source(resolve_source(str(folder)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", nargs="*", default=known(), metavar="NAME", help="only these")
    for name in parser.parse_args().sources:
        if name not in known(installed=False):
            parser.error(f"there is no source {name!r}; the names are {', '.join(known(installed=False))}")
        print(f"{name}: {make(name)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
