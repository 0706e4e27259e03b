from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.export.model_folder import save_model
from headstart.sources.opening import open_source
from headstart.sources.resolve import resolve_source
from headstart.sources.source import Pooling
from headstart.strategies.base import LinearHead
from tiny import HIDDEN, make_tiny

LABELS = ("refund", "späte Lieferung 🚚", 'a "quoted" | label')
BLOCKS = 4
LENGTH = 20


@dataclass(frozen=True)
class Tiny:
    """A tiny source, opened."""

    folder: Path
    module: Any
    tokenizer: Any


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tiny]:
    """The tiny source of an architecture, made once."""
    made: dict[str, Tiny] = {}

    def get(architecture: str) -> Tiny:
        if architecture not in made:
            folder = make_tiny(tmp_path_factory.mktemp("tiny") / architecture, architecture, blocks=BLOCKS)
            made[architecture] = Tiny(folder, *open_source(resolve_source(str(folder))))
        return made[architecture]

    return get


@pytest.fixture(scope="session")
def head() -> LinearHead:
    generator = np.random.default_rng(5)
    return LinearHead(0.4 * generator.normal(size=(len(LABELS), HIDDEN)), 0.4 * generator.normal(size=len(LABELS)))


@pytest.fixture
def save(tiny: Callable[[str], Tiny], head: LinearHead, tmp_path: Path) -> Callable[..., Path]:
    """Saves the tiny classifier of an architecture and returns the folder."""

    def to_folder(architecture: str, *, pooling: Pooling = Pooling.MEAN, layers: tuple[int, ...] = (BLOCKS,), name: str = "model") -> Path:
        source = tiny(architecture)
        save_model(
            tmp_path / name,
            backbone_module=source.module,
            tokenizer=source.tokenizer,
            pooling=pooling,
            layers=layers,
            head=head,
            labels=LABELS,
            max_length=LENGTH,
            card="# a card\n",
        )
        return tmp_path / name

    return to_folder
