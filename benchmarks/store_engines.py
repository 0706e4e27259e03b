"""SQLite against LMDB as the store's engine: the same rows, the same checksums, both in turn.

    python benchmarks/store_engines.py [--rounds 5] [--out benchmarks/results/store_engines.json]

Measured, each in a fresh folder, engines alternating, medians of the rounds:

- `small`: 20,000 rows of 384 float32 in 7 spaces (a text's pooled features at every layer), written in batches of 64, all read back in
  random order;
- `large`: 2,000 rows of 15,000 float32 (60 kB: a text's activations), written in batches of 64, read back in random order;
  (both: microseconds a row by the wall clock and by the processor; the processor's hold up where other work shares the cores)
- `damage`: the file of a small store, cut short or overwritten at random places, opened and read in a process of its own. What matters:
  whether that process lives, and whether it ever gives a wrong row.

SQLite is measured as the package uses it (`headstart.backbone.store.Store`, with stamps of use, eviction and sizes). LMDB stands as the
least that could do the job: one database of (space, key) -> checksum + bytes, neither stamps nor eviction, so its figures flatter it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from headstart.backbone.keys import space_key, text_key
from headstart.backbone.store import Store

BATCH = 64
GIGABYTE = 10**9


class LmdbStore:
    """The least store on LMDB: checked rows by (space, key). `sync` as LMDB means it: whether every commit waits for the disk."""

    def __init__(self, folder: Path, limit_bytes: int, sync: bool = False) -> None:
        self.environment = lmdb.open(str(folder), map_size=limit_bytes, sync=sync, metasync=sync, readahead=False, max_readers=512)

    def write(self, space: bytes, keys: Sequence[bytes], rows: np.ndarray) -> None:
        with self.environment.begin(write=True) as transaction:
            for key, row in zip(keys, rows, strict=True):
                data = row.tobytes()
                transaction.put(space + key, zlib.crc32(data, zlib.crc32(space + key)).to_bytes(4, "little") + data)

    def read_fixed(self, space: bytes, keys: Sequence[bytes], out: np.ndarray) -> np.ndarray:
        found = np.zeros(len(keys), dtype=np.bool_)
        with self.environment.begin(buffers=True) as transaction:
            for position, key in enumerate(keys):
                value = transaction.get(space + key)
                if value is not None and zlib.crc32(value[4:], zlib.crc32(space + key)) == int.from_bytes(value[:4], "little"):
                    out[position] = np.frombuffer(value, dtype="<f4", offset=4)
                    found[position] = True
        return found

    def close(self) -> None:
        self.environment.close()


ENGINES: dict[str, Callable[[Path], Store | LmdbStore]] = {
    "sqlite": lambda folder: Store(folder, 4 * GIGABYTE),
    "lmdb": lambda folder: LmdbStore(folder, 4 * GIGABYTE),
    "lmdb_sync": lambda folder: LmdbStore(folder, 4 * GIGABYTE, sync=True),
}
FILES = {"sqlite": "rows-1.sqlite", "lmdb": "data.mdb", "lmdb_sync": "data.mdb"}


def measure(engine: str, rows: int, width: int, spaces: int) -> dict[str, float]:
    """Microseconds a row for writing and reading (wall clock and processor), and the bytes of disk for each byte of row."""
    values = np.random.default_rng(0).standard_normal((rows, width), dtype=np.float32)
    keys = [text_key(str(i)) for i in range(rows)]
    names = [space_key(layer=layer) for layer in range(spaces)]
    order = np.random.default_rng(1).permutation(rows)
    shuffled = [keys[i] for i in order]
    out = np.zeros_like(values)
    folder = Path(tempfile.mkdtemp(prefix="store-engines-"))
    try:
        store = ENGINES[engine](folder)
        wall, processor = time.perf_counter(), time.process_time()
        for start in range(0, rows, BATCH):
            for name in names:
                store.write(name, keys[start : start + BATCH], values[start : start + BATCH])
        store.close()
        result = {"write": time.perf_counter() - wall, "write_cpu": time.process_time() - processor}
        disk = sum(path.stat().st_blocks * 512 for path in folder.iterdir())
        store = ENGINES[engine](folder)
        wall, processor = time.perf_counter(), time.process_time()
        for name in names:
            if not store.read_fixed(name, shuffled, out).all():
                raise SystemExit(f"{engine} lost rows.")
        result |= {"read": time.perf_counter() - wall, "read_cpu": time.process_time() - processor}
        store.close()
        if not np.array_equal(out, values[order]):
            raise SystemExit(f"{engine} gave wrong rows.")
    finally:
        shutil.rmtree(folder)
    result = {f"{name}_us_per_row": seconds / rows / spaces * 1e6 for name, seconds in result.items()}
    return {**result, "disk_per_byte": disk / (values.nbytes * spaces)}


VICTIM_ROWS = 500


def read_damaged(engine: str, folder: Path) -> None:
    """What the process of one damaged file does: read all, write all, read all. Leaves with status 3 when a row is wrong, 4 on an error."""
    values = np.random.default_rng(0).standard_normal((VICTIM_ROWS, 384), dtype=np.float32)
    keys, space = [text_key(str(i)) for i in range(VICTIM_ROWS)], space_key(layer=0)
    out = np.zeros_like(values)
    try:
        store = ENGINES[engine](folder)
        for _ in range(2):
            found = store.read_fixed(space, keys, out)
            if not np.array_equal(out[found], values[found]):
                os._exit(3)
            missing = np.flatnonzero(~found)
            store.write(space, [keys[i] for i in missing], values[missing])
        store.close()
    except Exception:
        os._exit(4)
    os._exit(0)


def damage(engine: str, trials: int) -> dict[str, int]:
    """How processes ended that met a damaged file: `sound`, `killed` by a signal, gave `wrong` rows, or raised (`error`)."""
    ends = {"sound": 0, "killed": 0, "wrong": 0, "error": 0}
    with tempfile.TemporaryDirectory(prefix="store-damage-") as name:
        base = Path(name)
        whole = base / "whole"
        whole.mkdir()
        values = np.random.default_rng(0).standard_normal((VICTIM_ROWS, 384), dtype=np.float32)
        store = ENGINES[engine](whole)
        store.write(space_key(layer=0), [text_key(str(i)) for i in range(VICTIM_ROWS)], values)
        store.close()
        sound = (whole / FILES[engine]).read_bytes()
        for trial in range(trials):
            random = np.random.default_rng(trial)
            content = bytearray(sound)
            if trial % 2:
                del content[int(random.integers(len(content))) :]
            else:
                start = int(random.integers(len(content)))
                piece = random.bytes(int(2 ** random.integers(0, 15)))
                content[start : start + len(piece)] = piece
            folder = base / str(trial)
            folder.mkdir()
            (folder / FILES[engine]).write_bytes(content)
            command = [sys.executable, __file__, "--victim", engine, str(folder)]
            status = subprocess.run(command, capture_output=True).returncode
            ends["killed" if status < 0 else {0: "sound", 3: "wrong"}.get(status, "error")] += 1
            shutil.rmtree(folder)
    return ends


def machine() -> dict[str, object]:
    """The circumstances of the figures."""
    facts: dict[str, object] = {
        "date": datetime.date.today().isoformat(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines())
        described = {key.strip(): value.strip() for key, value in lines.items()}
        facts["cpu"] = described["model name"]
        facts["cpu_flags"] = sorted({"avx2", "avx512f", "amx_tile", "pclmulqdq", "sha_ni"} & set(described["flags"].split()))
    except (OSError, KeyError):
        facts["cpu"] = platform.processor()
    facts["load_before"] = os.getloadavg()[0]
    versions = {"python": platform.python_version(), "numpy": np.__version__, "sqlite": sqlite3.sqlite_version}
    return {**facts, "versions": {**versions, "lmdb": lmdb.__version__, "liblmdb": ".".join(map(str, lmdb.version()))}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=60, help="damaged files for each engine")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "store_engines.json")
    parser.add_argument("--victim", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.victim:
        read_damaged(arguments.victim[0], Path(arguments.victim[1]))
    result: dict[str, dict[str, Any]] = {"machine": {**machine(), "rounds": arguments.rounds}}
    for job, shape in {"small": (20_000, 384, 7), "large": (2_000, 15_000, 1)}.items():
        figures: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
        for _ in range(arguments.rounds):
            for engine, measured in figures.items():
                measured.append(measure(engine, *shape))
        result[job] = {
            engine: {
                name: {
                    "median": round(statistics.median(one[name] for one in measured), 2),
                    "low": round(min(one[name] for one in measured), 2),
                    "high": round(max(one[name] for one in measured), 2),
                }
                for name in measured[0]
            }
            for engine, measured in figures.items()
        }
    result["damage"] = {engine: damage(engine, arguments.trials) for engine in ("sqlite", "lmdb")}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    result["machine"]["load_after"] = os.getloadavg()[0]
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    for job in ("small", "large"):
        print(job, *(f"{engine}: {figures}" for engine, figures in result[job].items()), sep="\n  ")
    print("damage", result["damage"])


if __name__ == "__main__":
    main()
