"""What one source gave for one target, kept beside the store: ranked again, a source costs the reading of its files.

Letters in shapes: u units (words, where each word has a class; else rows), c classes, m rows of the map.
"""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.cache import RANKINGS
from headstart.prior import Belief, read_cases
from headstart.records import Estimate, LayerScore
from headstart.runs import digest, whole_file
from headstart.settings import Settings
from headstart.sources.identity import content_digest
from headstart.sources.source import Source
from headstart.strategies.base import FloatArray
from headstart.transferability.registry import known_estimators

FORMAT = 9  # raise it when the figures are computed in another way
MOST_BYTES = 200_000_000  # what was used last stays
# Settings that change a figure of a source.
_ASKED = (
    "task",
    "metric",
    "seed",
    "inner_folds",
    "few_rows",
    "test_share",
    "max_length",
    "cut",
    "epochs",
    "batch_size",
    "budget",
    "confidence",
    "resamples",
    "strategy",
    "precision",
    # Of translations, whose sources are trained a little before they are compared.
    "learning_rate",
    "layer_decay",
    "warmup",
    "weight_decay",
    "patience",
    "vocabulary",
    "pack",
)


@dataclass(frozen=True)
class Kept:
    """The figures of one source; see `records.RankedSource`.

    `held` (u, c) are held-out outputs of its probe, of the units of all rows, and `probe` their score; `sketch` (m, m) is what it is
    compared by. `ahead` is what more rows are expected to add to the probe's score, with its standard error `ahead_error`; `gain` what is
    believed of the recommended strategy's score minus the probe's. Both are positive where the score gets better.
    """

    name: str
    held: FloatArray
    sketch: FloatArray
    probe: Estimate
    ahead: float
    ahead_error: float
    gain: Belief
    strategy: str
    layers: tuple[int, ...]
    blocks: int
    seconds: float
    parameters: int
    truncated_share: float
    tokens_per_word: float | None
    scores: dict[str, float]
    layer_scores: tuple[LayerScore, ...]


def kept_key(source: Source, content: str, settings: Settings) -> str:
    """Names everything that the figures depend on: the source's files, the target's rows, the settings, the table of measured cases.

    Raises:
        SourceError: the source's files are damaged.
    """
    from headstart import __version__
    from headstart.backbone.reading import RELEASE

    asked = {name: getattr(settings, name) for name in _ASKED}
    own = (content_digest(source.folder), source.pooling.value, source.max_length)
    table = [dataclasses.asdict(case) for case in read_cases(settings.task)]
    return digest(FORMAT, __version__, RELEASE, own, content, asked, table, known_estimators())


def keep(folder: Path, key: str, kept: Kept) -> Kept:
    """Write the figures, the arrays first; returns them as `recall` will, rounded to float32.

    A folder that cannot be written is passed over: they can be computed again.
    """
    place = folder / RANKINGS
    held, sketch = kept.held.astype(np.float32), kept.sketch.astype(np.float32)
    plain = {f.name: getattr(kept, f.name) for f in dataclasses.fields(kept) if f.name not in ("held", "sketch")}
    plain |= {"gain": dataclasses.asdict(kept.gain), "probe": dataclasses.asdict(kept.probe)}
    plain |= {"layer_scores": [dataclasses.asdict(item) for item in kept.layer_scores]}
    try:
        place.mkdir(parents=True, exist_ok=True)
        with whole_file(place / f"{key}.npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, held=held, sketch=sketch)
        with whole_file(place / f"{key}.json") as temporary:
            temporary.write_text(json.dumps(plain), encoding="utf-8")
        _prune(place)
    except OSError:
        pass
    return dataclasses.replace(kept, held=held.astype(np.float64), sketch=sketch.astype(np.float64))


def recall(folder: Path, key: str) -> Kept | None:
    """The figures of this key; None where there are none, or they are damaged."""
    place = folder / RANKINGS
    try:
        plain = json.loads((place / f"{key}.json").read_text(encoding="utf-8"))
        with open(place / f"{key}.npz", "rb") as file, np.load(file, allow_pickle=False) as arrays:
            held, sketch = arrays["held"].astype(np.float64), arrays["sketch"].astype(np.float64)
        os.utime(place / f"{key}.json")
        layers = tuple(LayerScore(item["source"], item["layer"], Estimate(**item["score"])) for item in plain.pop("layer_scores"))
        gain, probe = Belief(**plain.pop("gain")), Estimate(**plain.pop("probe"))
        return Kept(held=held, sketch=sketch, gain=gain, probe=probe, layer_scores=layers, **{**plain, "layers": tuple(plain["layers"])})
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


def _prune(place: Path) -> None:
    """Remove what was unused for longest beyond `MOST_BYTES`, and arrays whose figures a kill kept from being written."""
    used = 0
    for path in sorted(place.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        arrays = path.with_suffix(".npz")
        used += path.stat().st_size + (arrays.stat().st_size if arrays.exists() else 0)
        if used > MOST_BYTES:
            path.unlink(missing_ok=True)
            arrays.unlink(missing_ok=True)
    for arrays in place.glob("[!.]*.npz"):
        if not arrays.with_suffix(".json").exists():
            arrays.unlink(missing_ok=True)
