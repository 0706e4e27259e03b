"""What one source gave for one target, kept beside the store: ranked again, a source costs the reading of its files.

Letters in shapes: n rows, c classes, m rows of the map.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.prior import Belief, read_cases
from headstart.records import Estimate, LayerScore
from headstart.runs import digest, whole_file
from headstart.settings import Settings
from headstart.sources.identity import content_digest
from headstart.sources.source import Source
from headstart.strategies.base import FloatArray

FORMAT = 1  # raise it when the figures are computed in another way
MOST_KEPT = 1000  # files; those unused for longest go first
# Settings that change a figure of a source.
_ASKED = ("metric", "seed", "inner_folds", "max_length", "cut", "epochs", "batch_size", "budget", "confidence", "strategy", "precision")


@dataclass(frozen=True)
class Kept:
    """The figures of one source; see `records.RankedSource`.

    `held` (n, c) are held-out probabilities of its probe, `sketch` (m, m) is what it is compared by, `ahead` what more rows are expected to
    add to the probe's score, `gain` what is believed of the recommended strategy's score minus the probe's.
    """

    name: str
    held: FloatArray
    sketch: FloatArray
    ahead: float
    gain: Belief
    strategy: str
    layers: tuple[int, ...]
    blocks: int
    seconds: float
    parameters: int
    truncated_share: float
    tokens_per_word: float
    scores: dict[str, float]
    layer_scores: tuple[LayerScore, ...]


def kept_key(source: Source, content: str, settings: Settings) -> str:
    """Names everything that the figures depend on: the source's files, the target's rows, the settings, the table of measured cases.

    Raises:
        SourceError: the source's files are damaged.
    """
    from headstart import __version__

    asked = {name: getattr(settings, name) for name in _ASKED}
    own = (content_digest(source.folder), source.pooling.value, source.max_length)
    return digest(FORMAT, __version__, own, content, asked, [dataclasses.asdict(case) for case in read_cases()])


def keep(folder: Path, key: str, kept: Kept) -> Kept:
    """Write the figures, the arrays first; returns them as `recall` will, rounded to float32.

    A folder that cannot be written is passed over: they can be computed again.
    """
    place = folder / "rankings"
    held, sketch = kept.held.astype(np.float32), kept.sketch.astype(np.float32)
    plain = {f.name: getattr(kept, f.name) for f in dataclasses.fields(kept) if f.name not in ("held", "sketch")}
    plain |= {"gain": dataclasses.asdict(kept.gain), "layer_scores": [dataclasses.asdict(item) for item in kept.layer_scores]}
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
    place = folder / "rankings"
    try:
        plain = json.loads((place / f"{key}.json").read_text(encoding="utf-8"))
        with np.load(place / f"{key}.npz", allow_pickle=False) as arrays:
            held, sketch = arrays["held"].astype(np.float64), arrays["sketch"].astype(np.float64)
        os.utime(place / f"{key}.json")
        layers = tuple(LayerScore(item["source"], item["layer"], Estimate(**item["score"])) for item in plain.pop("layer_scores"))
        gain = Belief(**plain.pop("gain"))
        return Kept(held=held, sketch=sketch, gain=gain, layer_scores=layers, **{**plain, "layers": tuple(plain["layers"])})
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _prune(place: Path) -> None:
    """Leave the `MOST_KEPT` that were used last."""
    files = sorted(place.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[MOST_KEPT:]:
        path.unlink(missing_ok=True)
        path.with_suffix(".npz").unlink(missing_ok=True)
