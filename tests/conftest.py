"""What every test shares. Standing here, it also lets tests of all rooms import `tiny`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headstart import progress

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub: a test that reaches for a network fails at once
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch: on tiny models threads only wait for each other


_NUMBERS = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def session_shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A shelf for the runs that several tests share, and a store: nothing is ever written in those of whoever runs the tests."""
    place = tmp_path_factory.mktemp("shelves")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_SHELF", str(place / "shared"))
        patch.setenv("HEADSTART_CACHE", str(place / "store"))
        yield place


@pytest.fixture(autouse=True)
def shelf_folder(session_shelf: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shelf of this test alone; it is not there yet."""
    place = session_shelf / str(next(_NUMBERS))
    monkeypatch.setenv("HEADSTART_SHELF", str(place))
    return place


@pytest.fixture(autouse=True)
def not_quiet_any_more() -> Iterator[None]:
    """A test that asks for `--quiet` makes no other one deaf."""
    yield
    progress.set_quiet(False)


@pytest.fixture(scope="session", autouse=True)
def forked_fresh_processes() -> Iterator[None]:
    """What opens saved models is forked from a process that has imported transformers; see `forked`."""
    from forked import FreshProcesses
    from headstart.export import fresh

    processes = FreshProcesses()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fresh, "run", processes.run)
        yield
    processes.close()


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """The opened backbone of an architecture, made once; nobody may change it. Further arguments are those of `make_tiny`."""
    made: dict[Any, Any] = {}

    def get(architecture: str, *, max_length: int = 40, **how: Any) -> Any:
        from headstart.backbone.backbone import load_backbone
        from headstart.sources.resolve import resolve_source
        from tiny import make_tiny

        key = (architecture, max_length, *sorted(how.items()))
        if key not in made:
            folder = make_tiny(tmp_path_factory.mktemp("tiny"), architecture, **how)
            made[key] = load_backbone(resolve_source(str(folder)), max_length)
        return made[key]

    return get
