"""What this machine is, and what headstart makes of it: the words of `headstart env`, and the choice of a number format."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import platform
import random
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from headstart import __version__
from headstart.errors import HeadstartError
from headstart.settings import Precision

if TYPE_CHECKING:
    import torch

# The matrices of a middle-sized backbone's feed-forward layer: width 384, four times as wide inside. A CPU is given few tokens, so that a
# product takes some milliseconds and is done within its share of a busy core: longer ones came out at half of the speed.
TOKENS, TOKENS_OF_CPU, WIDTH, INNER = 2048, 256, 384, 1536
MEASURE_SECONDS = 0.04  # for each number format
# bfloat16 keeps 8 bits of a number: it has to be worth the coarser weights, and the copies between formats.
WORTH_IT = 1.8
PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "numpy", "scipy", "scikit-learn", "pyarrow", "safetensors")


def device() -> torch.device:
    """Where models are trained: the first CUDA device, else the CPU. Texts are read on the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def expand_home(path: str | Path, what: str, error: type[HeadstartError]) -> Path:
    """The path with ~ and ~USER as the folder of that user. `what` names the path in the message of the `error` that is raised.

    Raises:
        HeadstartError: this machine knows no folder of that user.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = Path(path).parts[0]
        raise error(f"{what} {str(path)!r} begins with {user!r}, a folder that this machine does not know; write it out.") from None


@functools.cache
def fast_precision() -> Precision:
    """The number format of training that `--precision auto` takes here, measured once per process.

    bfloat16 where this machine multiplies it at least 1.8 times as fast as float32, else float32.
    """
    speeds = gemm_speeds()
    return Precision.BFLOAT16 if speeds[Precision.BFLOAT16] >= WORTH_IT * speeds[Precision.FLOAT32] else Precision.FLOAT32


def reading_speed() -> float:
    """Floating point operations a second of one matrix product in float32 where texts are read."""
    import torch

    speeds = gemm_speeds() if device().type == "cpu" else _speeds_on(torch.device("cpu"))
    return speeds[Precision.FLOAT32]


@functools.cache
def gemm_speeds() -> Mapping[Precision, float]:
    """Floating point operations a second of one matrix product in float32 and bfloat16 where models are trained; 0.0 where that device
    cannot do it."""
    return _speeds_on(device())


@functools.cache
def _speeds_on(place: torch.device) -> Mapping[Precision, float]:
    """See `gemm_speeds`.

    The best of as many runs as fit into 0.04 s for each, three at least, in turn: other work on the machine only ever slows, and
    slows both.
    """
    import torch

    tokens = TOKENS_OF_CPU if place.type == "cpu" else TOKENS
    pairs = {}
    for precision, kind in ((Precision.FLOAT32, torch.float32), (Precision.BFLOAT16, torch.bfloat16)):
        try:
            pair = torch.ones(tokens, WIDTH, dtype=kind, device=place), torch.ones(WIDTH, INNER, dtype=kind, device=place)
            _seconds(*pair)  # the first run pays for memory and the choice of a kernel
            pairs[precision] = pair
        except (RuntimeError, TypeError):  # this device knows no such format
            continue
    best = dict.fromkeys(pairs, float("inf"))
    spent, runs = 0.0, 0
    while runs < 3 or spent < MEASURE_SECONDS * len(pairs):
        for precision, pair in pairs.items():
            seconds = _seconds(*pair)
            best[precision] = min(best[precision], seconds)
            spent += seconds
        runs += 1
    operations = 2.0 * tokens * WIDTH * INNER
    return {precision: operations / best[precision] if precision in best else 0.0 for precision in (Precision.FLOAT32, Precision.BFLOAT16)}


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    """How long one product takes, to its end."""
    import torch

    with torch.inference_mode():
        begin = time.perf_counter()
        torch.mm(left, right)
        if left.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Main memory that this process may use: the machine's, or its container's limit where that is less. None: the system does not say."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            whole = min(whole, int(Path(place).read_text()))
        except (OSError, ValueError):  # no such file, or `max`: no limit
            continue
    return whole


def release_free_memory() -> None:
    """Give back to the system what the allocator holds free, where it can be told to (glibc).

    Tensors of ever other sizes leave holes that it keeps: a process that read 100,000 short texts grew from 0.9 to 1.9 GB and used 0.3.
    """
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """Within, garbage is looked for among the objects made there, and not among those of every library that was imported.

    A collection over half a million of them takes a quarter of a second, and a training asks for one as it begins. At the end what was made
    within and is out of reach is collected; then everything is looked at again. Where the program has set objects aside itself
    (`gc.freeze`), its own choice is left as it is.
    """
    own = not gc.get_freeze_count()
    if own:
        gc.freeze()
    try:
        yield
    finally:
        gc.collect()  # a few new objects can hold much: a trainer and its model hold each other, and the optimiser with them
        if own:
            gc.unfreeze()


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Afterwards the random numbers of Python, NumPy and PyTorch go on as if none had been drawn within: a training seeds them, and whoever
    asked for it draws from them too."""
    import numpy as np
    import torch

    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else []):
        try:
            yield
        finally:
            random.setstate(of_python)
            np.random.set_state(of_numpy)


def processor() -> str:
    """The processor's name, or its architecture where the system does not say."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of headstart, Python and the packages under it; `not installed` where one is missing."""
    found = {"headstart": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def facts() -> dict[str, str]:
    """Everything about this machine that a result depends on, as short words; nothing is measured."""
    memory = memory_bytes()
    place = device()
    return {
        **versions(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": str(cores()),
        "memory": f"{memory / 2**30:.1f} GiB" if memory is not None else "unknown",
        "device": _device_name(place),
    }


def _device_name(place: torch.device) -> str:
    import torch

    if place.type != "cuda":
        return place.type
    shown = torch.cuda.get_device_properties(place)
    return f"{shown.name}, {shown.total_memory / 2**30:.0f} GiB"


def describe() -> str:
    """The facts, the measured speed of matrix products, and the number format that follows from it, line by line."""
    from headstart.cache import store_folder
    from headstart.sources.shelf import shelf_folder

    lines = dict(facts())
    for precision, speed in gemm_speeds().items():
        lines[precision.value] = f"{speed / 1e9:,.0f} GFLOP/s" if speed else "not possible here"
    lines["precision auto"] = f"{fast_precision().value} (bfloat16 from {WORTH_IT} times the speed of float32)"
    lines["store"] = str(store_folder(None))
    lines["shelf"] = str(shelf_folder())
    lines["offline"] = "yes" if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE") else "no"
    lines["interpreter"] = sys.executable
    wide = max(map(len, lines))
    return "\n".join(f"{name:<{wide}}  {value}" for name, value in lines.items())
