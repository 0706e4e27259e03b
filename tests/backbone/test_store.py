"""The store gives back what was written or nothing, through kills, damage, full disks and a second process."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.backbone.keys import space_key, text_key
from headstart.backbone.store import PruneResult, SpaceInfo, Store
from headstart.errors import ResourceError

SPACE = space_key(layer=0)
OTHER = space_key(layer=1)
MEGABYTE = 2**20


def keys_of(numbers: range | list[int]) -> list[bytes]:
    return [text_key(str(number)) for number in numbers]


def row_of(number: int, width: int = 384) -> np.ndarray:
    """A row that its number alone decides."""
    return np.random.default_rng(number).standard_normal(width, dtype=np.float32)


def rows_of(numbers: range | list[int], width: int = 384) -> np.ndarray:
    return np.stack([row_of(number, width) for number in numbers])


def read(store: Store, numbers: range | list[int], width: int = 384, space: bytes = SPACE) -> tuple[np.ndarray, np.ndarray]:
    out = np.full((len(numbers), width), np.nan, dtype=np.float32)
    return store.read_fixed(space, keys_of(numbers), out), out


def assert_right_or_absent(store: Store, numbers: range, width: int = 384) -> int:
    """Every row found is the right one to the bit; how many were found."""
    found, out = read(store, numbers, width)
    assert np.array_equal(out[found], rows_of(numbers, width)[found])
    assert np.isnan(out[~found]).all()
    return int(found.sum())


def disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def in_python(code: str, *arguments: object) -> list[str]:
    """The command that runs this code with `Store`, the helpers of this file and its arguments at hand."""
    head = "import os, sys, time, signal, numpy as np; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
    head += "from test_store import *\nfolder = Path(sys.argv[2])\n"
    return [sys.executable, "-c", head + textwrap.dedent(code), str(Path(__file__).parent), *map(str, arguments)]


# --- reading and writing ---


def test_what_was_written_is_read_in_any_order_and_by_a_later_store(tmp_path: Path) -> None:
    with Store(tmp_path, 100 * MEGABYTE) as store:
        store.write(SPACE, keys_of(range(300)), rows_of(range(300)))
    with Store(tmp_path, 100 * MEGABYTE) as store:
        wanted = [int(i) for i in np.random.default_rng(0).permutation(400)]
        found, out = read(store, wanted)
        assert [bool(f) for f in found] == [i < 300 for i in wanted]
        assert np.array_equal(out[found], rows_of([i for i in wanted if i < 300]))
        assert np.isnan(out[~found]).all()
        assert (store.stats.hits, store.stats.misses, store.stats.written, store.stats.damaged) == (300, 100, 0, 0)


def test_spaces_are_apart(tmp_path: Path) -> None:
    with Store(tmp_path, 100 * MEGABYTE) as store:
        store.write(SPACE, keys_of([1]), [row_of(1)])
        assert not read(store, [1], space=OTHER)[0].any()
        store.write(OTHER, keys_of([1]), [row_of(2)])
        assert np.array_equal(read(store, [1], space=OTHER)[1], rows_of([2]))
        assert np.array_equal(read(store, [1])[1], rows_of([1]))


def test_rows_of_many_lengths_come_back_in_shape_and_writable(tmp_path: Path) -> None:
    rows = [np.arange(t * 4, dtype=np.float32).reshape(t, 4) for t in (3, 0, 700, 1)]
    with Store(tmp_path, 100 * MEGABYTE) as store:
        store.write(SPACE, keys_of(range(4)), rows)
        back = store.read_ragged(SPACE, keys_of([2, 9, 0, 1, 3, 0]), width=4)
    assert back[1] is None
    for got, number in zip([back[0], *back[2:]], [2, 0, 1, 3, 0], strict=True):
        assert got is not None and got.flags.writeable and np.array_equal(got, rows[number])
    first, again = back[2], back[5]
    assert first is not None and again is not None
    first[:] = -1
    assert np.array_equal(again, rows[0])


def test_a_key_asked_for_twice_and_one_given_twice(tmp_path: Path) -> None:
    with Store(tmp_path, 100 * MEGABYTE) as store:
        store.write(SPACE, keys_of([1, 1, 2]), rows_of([1, 1, 2]))
        found, out = read(store, [2, 1, 2])
        assert found.all() and np.array_equal(out, rows_of([2, 1, 2]))
        assert (store.stats.written, store.stats.hits) == (2, 3)


def test_out_may_be_a_slice_of_something_larger(tmp_path: Path) -> None:
    with Store(tmp_path, 100 * MEGABYTE) as store:
        store.write(SPACE, keys_of(range(5)), rows_of(range(5)))
        whole = np.zeros((5, 3, 384), dtype=np.float32)
        assert store.read_fixed(SPACE, keys_of(range(5)), whole[:, 1]).all()
        assert np.array_equal(whole[:, 1], rows_of(range(5)))
        assert not whole[:, 0].any() and not whole[:, 2].any()
        square = np.zeros((5, 2, 192), dtype=np.float32)
        assert store.read_fixed(SPACE, keys_of(range(5)), square).all()
        assert np.array_equal(square.reshape(5, 384), rows_of(range(5)))


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    with Store(tmp_path, 100 * MEGABYTE) as store:
        store.write(SPACE, keys_of(range(50)), rows_of(range(50)))
        size = store.size_bytes()
        store.write(SPACE, keys_of(range(50)), rows_of(range(50)))
        assert store.size_bytes() == size and store.stats.written == 50


def test_nothing_asked_nothing_given(tmp_path: Path) -> None:
    with Store(tmp_path, MEGABYTE) as store:
        store.write(SPACE, [], [])
        assert read(store, [])[0].shape == (0,)
        assert store.read_ragged(SPACE, [], 4) == []
        assert store.contains(SPACE, []).shape == (0,)
        assert store.listing() == []


def test_contains_counts_neither_as_hit_nor_as_use(tmp_path: Path) -> None:
    now = [0.0]
    with Store(tmp_path, 100 * MEGABYTE, clock=lambda: now[0]) as store:
        store.write(SPACE, keys_of([1, 2]), rows_of([1, 2]))
        now[0] = 10_000.0
        assert store.contains(SPACE, keys_of([1, 3, 2, 1])).tolist() == [True, False, True, True]
        assert (store.stats.hits, store.stats.misses) == (0, 0)
        assert store.listing()[0].last_use == 0.0


def test_misuse_is_said_in_words(tmp_path: Path) -> None:
    store = Store(tmp_path, MEGABYTE)
    store.write(SPACE, keys_of([1]), [row_of(1)])
    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: store.write(SPACE, keys_of([1, 2]), [row_of(1)]), "2 keys need as many rows, not 1."),
        (lambda: store.read_fixed(SPACE, keys_of([1, 2]), np.zeros((3, 4), np.float32)), "2 keys need as many rows in `out`, not 3."),
        (
            lambda: read(store, [1], width=5),
            "A stored row has 384 values where 5 are wanted; its space must name what decides the shape.",
        ),
        (lambda: store.read_ragged(SPACE, keys_of([1]), 5), "A stored row has 384 values, no multiple of the width 5."),
        (lambda: Store(tmp_path, 1000), "limit_bytes is 1000; a store needs at least 1 MB."),
    ]
    for call, message in cases:
        with pytest.raises(ValueError) as caught:
            call()
        assert str(caught.value) == message
    store.close()
    store.close()
    with pytest.raises(ValueError) as caught:
        read(store, [1])
    assert str(caught.value) == "The store is closed."


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 40), max_size=12)), max_size=15))
def test_it_behaves_like_a_dictionary(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, list[int]]]) -> None:
    model: set[int] = set()
    with Store(tmp_path_factory.mktemp("store"), 100 * MEGABYTE) as store:
        for write, numbers in steps:
            if write:
                store.write(SPACE, keys_of(numbers), [row_of(number, 8) for number in numbers])
                model.update(numbers)
            else:
                found, out = read(store, numbers, width=8)
                assert found.tolist() == [number in model for number in numbers]
                assert all(np.array_equal(out[i], row_of(n, 8)) for i, n in enumerate(numbers) if n in model)


# --- size ---


def test_the_oldest_use_goes_first_and_the_disk_stays_within_the_limit(tmp_path: Path) -> None:
    now, limit = [0.0], 2 * MEGABYTE
    with Store(tmp_path, limit, clock=lambda: now[0]) as store:
        for start in range(0, 4000, 100):
            now[0] += 4000.0
            store.write(SPACE, keys_of(range(start, start + 100)), rows_of(range(start, start + 100)))
            assert store.contains(SPACE, keys_of(range(100))).all(), "used in every round, so never the oldest"
            read(store, range(100))
            assert disk_bytes(tmp_path) <= limit
        held = store.contains(SPACE, keys_of(range(4000)))
        newest = int(held[100:].sum())
        assert held[4000 - newest :].all(), "what is left is the newest, without a gap"
        assert store.size_bytes() > 0.7 * limit
        assert store.stats.evicted == 4000 - int(held.sum())
        assert_right_or_absent(store, range(4000))


@pytest.mark.parametrize(("width", "batch"), [(4, 7000), (384, 1000), (1024, 400), (2100, 100), (5000, 64)])
def test_the_limit_holds_for_rows_of_every_size(tmp_path: Path, width: int, batch: int) -> None:
    limit = 3 * MEGABYTE
    row = row_of(1, width)
    with Store(tmp_path, limit) as store:
        for start in range(0, batch * 4, batch):
            store.write(SPACE, keys_of(range(start, start + batch)), [row] * batch)
            assert disk_bytes(tmp_path) <= limit
        assert store.contains(SPACE, keys_of([batch * 4 - 1]))[0]
        assert store.stats.evicted > 0


def test_an_entry_larger_than_the_limit_is_not_kept_and_drives_nothing_out(tmp_path: Path) -> None:
    with Store(tmp_path, 2 * MEGABYTE) as store:
        store.write(SPACE, keys_of(range(20)), rows_of(range(20)))
        store.write(SPACE, keys_of([100, 101]), [np.zeros(MEGABYTE, np.float32), row_of(101)])
        assert store.contains(SPACE, keys_of([*range(20), 100, 101])).tolist() == [True] * 20 + [False, True]
        assert disk_bytes(tmp_path) <= 2 * MEGABYTE


def test_large_rows_turn_over_within_the_limit(tmp_path: Path) -> None:
    limit = 8 * MEGABYTE
    with Store(tmp_path, limit) as store:
        for number in range(60):
            store.write(SPACE, keys_of([number]), [row_of(number, 98_304)])
            assert disk_bytes(tmp_path) <= limit
        rows = store.read_ragged(SPACE, keys_of(range(60)), width=384)
        kept = [number for number, row in enumerate(rows) if row is not None]
        assert kept == list(range(kept[0], 60)) and len(kept) >= 12
        assert all(np.array_equal(rows[number], row_of(number, 98_304).reshape(256, 384)) for number in kept)  # type: ignore[arg-type]


def test_a_lowered_limit_takes_hold_and_gives_the_disk_back(tmp_path: Path) -> None:
    with Store(tmp_path, 20 * MEGABYTE) as store:
        store.write(SPACE, keys_of(range(9000)), rows_of(range(9000)))
    assert disk_bytes(tmp_path) > 14 * MEGABYTE
    with Store(tmp_path, 4 * MEGABYTE) as store:
        for number in range(9000, 9003):
            store.write(SPACE, keys_of([number]), [row_of(number)])
        assert store.contains(SPACE, keys_of(range(9000, 9003))).all()
    assert disk_bytes(tmp_path) <= 4 * MEGABYTE


def test_pruning_removes_the_oldest_and_shrinks_the_file(tmp_path: Path) -> None:
    now = [0.0]
    with Store(tmp_path, 50 * MEGABYTE, clock=lambda: now[0]) as store:
        for start in range(0, 6000, 1000):
            now[0] += 10.0
            store.write(SPACE, keys_of(range(start, start + 1000)), rows_of(range(start, start + 1000)))
        before = store.size_bytes()
        result = store.prune(to_bytes=before // 2)
        held = store.contains(SPACE, keys_of(range(6000)))
        assert result == PruneResult(6000 - int(held.sum()), before - store.size_bytes(), store.size_bytes())
        assert store.size_bytes() <= before // 2 < store.size_bytes() + 200_000
        assert not held[: result.entries].any() and held[result.entries :].all()
        assert disk_bytes(tmp_path) < before // 2 + 200_000
        assert store.prune(to_bytes=0).entries == 6000 - result.entries
        assert store.size_bytes() < 200_000
        store.write(SPACE, keys_of([1]), [row_of(1)])
        assert assert_right_or_absent(store, range(3)) == 1


def test_the_listing_says_what_each_space_holds(tmp_path: Path) -> None:
    now = [1000.0]
    with Store(tmp_path, 50 * MEGABYTE, clock=lambda: now[0]) as store:
        store.register_space(SPACE, {"source": "tiny", "layer": 3})
        store.register_space(SPACE, {"source": "tiny", "layer": 0})
        assert store.listing() == []
        store.write(SPACE, keys_of(range(10)), rows_of(range(10)))
        now[0] = 2000.0
        store.write(OTHER, keys_of(range(2)), [row_of(0, 100), row_of(1, 50)])
        assert store.listing() == [
            SpaceInfo(OTHER, {}, 2, 600, 2000.0),
            SpaceInfo(SPACE, {"layer": 0, "source": "tiny"}, 10, 15_360, 1000.0),
        ]


def test_use_is_stamped_once_an_hour(tmp_path: Path) -> None:
    now = [0.0]
    with Store(tmp_path, 50 * MEGABYTE, clock=lambda: now[0]) as store:
        store.write(SPACE, keys_of([1]), [row_of(1)])
        for moment, stamp in ((3599.0, 0.0), (3601.0, 3601.0), (7000.0, 3601.0)):
            now[0] = moment
            read(store, [1])
            assert store.listing()[0].last_use == stamp


# --- several processes, threads, forks and kills ---

WRITER = """
store = Store(folder, 200 * MEGABYTE)
first = int(sys.argv[3])
for start in range(first, first + 100_000, 50):
    numbers = range(start, start + 50)
    store.write(SPACE, keys_of(numbers), rows_of(numbers))
    print(start + 50, flush=True)
"""


@pytest.mark.parametrize("seconds", [0.05, 0.21, 0.43])
def test_a_kill_in_mid_write_loses_nothing_that_was_finished(tmp_path: Path, seconds: float) -> None:
    with subprocess.Popen(in_python(WRITER, tmp_path, 0), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        done = [50, *map(int, process.stdout.read().split())][-1]
    assert process.returncode == -signal.SIGKILL
    with Store(tmp_path, 200 * MEGABYTE) as store:
        assert store.contains(SPACE, keys_of(range(done))).all()
        assert done <= assert_right_or_absent(store, range(done + 50)) <= done + 50
        store.write(SPACE, keys_of(range(done + 50)), rows_of(range(done + 50)))
        assert assert_right_or_absent(store, range(done + 50)) == done + 50
        assert store.stats.damaged == 0
    check = sqlite3.connect(tmp_path / "rows-1.sqlite")
    assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    check.close()


def test_two_processes_write_and_read_at_once(tmp_path: Path) -> None:
    code = """
    store = Store(folder, 200 * MEGABYTE)
    for start in range(0, 1500, 50):
        numbers = range(start, start + 50)
        read(store, numbers)
        store.write(SPACE, keys_of(numbers), rows_of(numbers))
        assert read(store, numbers)[0].all()
    assert assert_right_or_absent(store, range(1500)) == 1500
    print(store.stats.damaged, store._handle.storing)
    """
    processes = [subprocess.Popen(in_python(code, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate() for process in processes] == [("0 True\n", "")] * 2
    with Store(tmp_path, 200 * MEGABYTE) as store:
        assert assert_right_or_absent(store, range(1500)) == 1500
        assert store.listing()[0].entries == 1500


def test_a_store_that_another_process_makes_at_this_very_moment_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other begins between two statements by which the first looks at the file, and gets half a second."""
    others: list[threading.Thread] = []

    def make() -> None:
        with Store(tmp_path, 200 * MEGABYTE) as store:
            store.write(SPACE, keys_of([1]), rows_of([1]))

    class Interrupted(sqlite3.Connection):
        def execute(self, statement: str, *rest: Any) -> sqlite3.Cursor:
            if statement.startswith("SELECT count(*)") and not others:
                others.append(threading.Thread(target=make))
                others[0].start()
                others[0].join(0.5)
            return super().execute(statement, *rest)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **how: connect(*given, **how, factory=Interrupted))
    with Store(tmp_path, 200 * MEGABYTE) as store:
        store.write(SPACE, keys_of([0]), rows_of([0]))
        others[0].join()
        assert assert_right_or_absent(store, range(2)) == 2
    assert not list(tmp_path.glob("*.damaged")) and capsys.readouterr().err == ""


def test_threads_share_a_store(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    with Store(tmp_path, 200 * MEGABYTE) as store:

        def work(first: int) -> None:
            try:
                for start in range(first, first + 400, 40):
                    numbers = range(start, start + 40)
                    store.write(SPACE, keys_of(numbers), rows_of(numbers))
                    assert read(store, numbers)[0].all()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(first,)) for first in (0, 200, 400)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert assert_right_or_absent(store, range(800)) == 800


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_parent_and_child_of_a_fork_both_go_on(tmp_path: Path) -> None:
    code = """
    store = Store(folder, 200 * MEGABYTE)
    store.write(SPACE, keys_of(range(50)), rows_of(range(50)))
    child = os.fork()
    first = 100 if child else 1000
    for start in range(first, first + 500, 50):
        numbers = range(start, start + 50)
        store.write(SPACE, keys_of(numbers), rows_of(numbers))
        assert assert_right_or_absent(store, range(50)) == 50
    if child:
        assert os.waitpid(child, 0)[1] == 0
        assert assert_right_or_absent(store, range(100, 600)) == assert_right_or_absent(store, range(1000, 1500)) == 500
        print("both")
    """
    done = subprocess.run(in_python(code, tmp_path), capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("both\n", "", 0)


# --- damage ---


def filled(folder: Path, count: int = 400) -> Path:
    with Store(folder, 200 * MEGABYTE) as store:
        store.write(SPACE, keys_of(range(count)), rows_of(range(count)))
    return folder / "rows-1.sqlite"


def test_a_flipped_bit_in_a_row_is_found_and_the_row_computed_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = filled(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.find(row_of(7).tobytes()) + 700] ^= 4
    path.write_bytes(content)
    with Store(tmp_path, 200 * MEGABYTE) as store:
        found, _ = read(store, range(400))
        assert np.flatnonzero(~found).tolist() == [7]
        assert (store.stats.damaged, store.stats.hits, store.stats.misses) == (1, 399, 1)
        assert not store.contains(SPACE, keys_of([7]))[0]
        store.write(SPACE, keys_of([7]), [row_of(7)])
        assert assert_right_or_absent(store, range(400)) == 400
    assert capsys.readouterr().err == f"1 damaged row is computed anew; the store is {str(path)!r}.\n"


def test_rows_that_changed_places_are_found_too(tmp_path: Path) -> None:
    path = filled(tmp_path)
    content = bytearray(path.read_bytes())
    left, right = content.find(row_of(7).tobytes()), content.find(row_of(8).tobytes())
    content[left : left + 1536], content[right : right + 1536] = row_of(8).tobytes(), row_of(7).tobytes()
    path.write_bytes(content)
    with Store(tmp_path, 200 * MEGABYTE) as store:
        assert np.flatnonzero(~read(store, range(400))[0]).tolist() == [7, 8]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"this is no database, but a file of some length" * 400, "file is not a database"),
        (b"\x00" * 20_000, "file is not a database"),
    ],
)
def test_a_file_that_is_no_store_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, reason: str) -> None:
    path = tmp_path / "rows-1.sqlite"
    path.write_bytes(content)
    with Store(tmp_path, 200 * MEGABYTE) as store:
        store.write(SPACE, keys_of(range(5)), rows_of(range(5)))
        assert assert_right_or_absent(store, range(9)) == 5
    assert (tmp_path / "rows-1.sqlite.damaged").read_bytes() == content
    assert capsys.readouterr().err == (
        f"The store {str(path)!r} is damaged ({reason}). "
        "It is now 'rows-1.sqlite.damaged', which you may delete, and a fresh one is begun.\n"
    )
    with Store(tmp_path, 200 * MEGABYTE) as store:
        assert assert_right_or_absent(store, range(9)) == 5
        store.prune(to_bytes=10 * MEGABYTE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows-2.sqlite"]


def test_a_database_of_another_program_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows-1.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE entries (a)")
    other.commit()
    other.close()
    with Store(tmp_path, 200 * MEGABYTE) as store:
        store.write(SPACE, keys_of([1]), [row_of(1)])
        assert read(store, [1])[0].all()
    assert capsys.readouterr().err == (
        f"The store {str(path)!r} is damaged (it is no store of this version). "
        "It is now 'rows-1.sqlite.damaged', which you may delete, and a fresh one is begun.\n"
    )


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_file_that_was_cut_short_gives_right_rows_or_none(tmp_path: Path, share: float) -> None:
    path = filled(tmp_path)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * share))
    with Store(tmp_path, 200 * MEGABYTE) as store:
        assert_right_or_absent(store, range(400))
        store.write(SPACE, keys_of(range(400)), rows_of(range(400)))
        assert_right_or_absent(store, range(400))
    with Store(tmp_path, 200 * MEGABYTE) as store:
        store.write(SPACE, keys_of(range(400)), rows_of(range(400)))
        assert assert_right_or_absent(store, range(400)) == 400


def test_damage_anywhere_gives_right_rows_or_none_and_heals(tmp_path: Path) -> None:
    sound = filled(tmp_path / "sound", 120).read_bytes()
    for seed in range(25):
        random = np.random.default_rng(seed)
        content = np.frombuffer(sound, np.uint8).copy()
        # Half of the time the damage lies in the pages that hold the structure, the rest anywhere.
        reach = 6 * 8192 if seed % 2 else len(content)
        start, length = int(random.integers(reach)), int(2 ** random.integers(0, 13))
        content[start : start + length] = random.integers(0, 256, len(content[start : start + length]), dtype=np.uint8)
        folder = tmp_path / str(seed)
        folder.mkdir()
        (folder / "rows-1.sqlite").write_bytes(content.tobytes())
        for _ in range(3):
            with Store(folder, 200 * MEGABYTE) as store:
                assert_right_or_absent(store, range(120))
                store.write(SPACE, keys_of(range(120)), rows_of(range(120)))
        with Store(folder, 200 * MEGABYTE) as store:
            assert assert_right_or_absent(store, range(120)) == 120, seed


def test_a_second_process_goes_on_when_the_first_sets_the_file_aside(tmp_path: Path) -> None:
    path = filled(tmp_path)
    code = """
    store = Store(folder, 200 * MEGABYTE)
    read(store, range(400)); print("open", flush=True)
    sys.stdin.readline()
    assert_right_or_absent(store, range(400))
    store.write(SPACE, keys_of(range(500)), rows_of(range(500)))
    assert_right_or_absent(store, range(500))
    """
    second = subprocess.Popen(in_python(code, tmp_path), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert second.stdin is not None and second.stdout is not None
    assert second.stdout.readline() == "open\n"
    with path.open("r+b") as file:
        file.write(b"overwritten by something else" * 300)
    with Store(tmp_path, 200 * MEGABYTE) as store:
        store.write(SPACE, keys_of(range(100)), rows_of(range(100)))
        second.stdin.write("\n")
        second.stdin.close()
        assert second.wait() == 0
        assert assert_right_or_absent(store, range(500)) >= 100
        store.write(SPACE, keys_of(range(100)), rows_of(range(100)))
    with Store(tmp_path, 200 * MEGABYTE) as store:
        assert assert_right_or_absent(store, range(100)) == 100
    second.stdout.close()


# --- the machine says no ---


def test_a_full_disk_stops_the_storing_and_not_the_run(tmp_path: Path) -> None:
    code = """
    import resource
    store = Store(folder, 200 * MEGABYTE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * MEGABYTE, 3 * MEGABYTE))
    for start in range(0, 5000, 50):
        numbers = range(start, start + 50)
        read(store, numbers)
        store.write(SPACE, keys_of(numbers), rows_of(numbers))
    held = assert_right_or_absent(store, range(5000))
    store.close()
    print(100 <= held < 5000)
    """
    done = subprocess.run(in_python(code, tmp_path), capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("True\n", 0)
    place = repr(str(tmp_path / "rows-1.sqlite"))
    assert done.stderr == f"The store {place} cannot be used fully (disk I/O error); this run goes on and stores nothing more.\n"
    with Store(tmp_path, 200 * MEGABYTE) as store:
        assert assert_right_or_absent(store, range(5000)) >= 100
        store.write(SPACE, keys_of(range(5000)), rows_of(range(5000)))
        assert assert_right_or_absent(store, range(5000)) == 5000


def as_nobody(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code as a user without rights; permission bits mean nothing to root."""
    # numpy loads some parts late, from where such a user may not be able to read: have them loaded before.
    drop = "row_of(0)\nif os.getuid() == 0:\n    os.setgid(65534); os.setuid(65534)\n"
    return subprocess.run(in_python(drop + textwrap.dedent(code), *arguments), capture_output=True, text=True)


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that other users reach, since pytest makes its own for one user."""
    for parent in [tmp_path, *tmp_path.parents]:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


def test_a_folder_without_write_permission_serves_for_reading(open_folder: Path) -> None:
    path = filled(open_folder)
    path.chmod(0o444)
    open_folder.chmod(0o555)
    code = """
    store = Store(folder, 200 * MEGABYTE, clock=lambda: time.time() + 10_000)
    store.register_space(SPACE, {"a": 1})
    print(assert_right_or_absent(store, range(500)))
    store.write(SPACE, keys_of(range(500)), rows_of(range(500)))
    print(assert_right_or_absent(store, range(500)), store.stats.written, store.listing()[0].entries, store.size_bytes() > 0)
    """
    done = as_nobody(code, open_folder)
    open_folder.chmod(0o755)
    assert done.stdout == "400\n400 0 400 True\n"
    assert done.stderr == f"The store {str(open_folder)!r} is read, not written: permission denied.\n"


def test_pruning_without_permission_is_a_resource_error(open_folder: Path) -> None:
    path = filled(open_folder)
    path.chmod(0o444)
    open_folder.chmod(0o555)
    code = """
    store = Store(folder, 200 * MEGABYTE)
    try:
        store.prune(to_bytes=0)
    except ResourceError as error:
        print(error)
    """
    done = as_nobody(code, open_folder)
    open_folder.chmod(0o755)
    assert done.stdout == (
        f"The store {str(path)!r} cannot be pruned: attempt to write a readonly database. Free the disk or ask for the right to write.\n"
    )


def test_an_empty_folder_without_write_permission_is_an_empty_store(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    code = """
    store = Store(folder, 200 * MEGABYTE)
    store.write(SPACE, keys_of(range(5)), rows_of(range(5)))
    print(assert_right_or_absent(store, range(5)), store.listing(), store.size_bytes(), store.prune(to_bytes=0))
    """
    done = as_nobody(code, open_folder)
    open_folder.chmod(0o755)
    assert done.stdout == "0 [] 0 PruneResult(entries=0, freed_bytes=0, size_bytes=0)\n"
    assert done.stderr == f"The store {str(open_folder)!r} is read, not written: permission denied.\n"


def test_a_folder_that_cannot_be_made_or_read_is_a_resource_error(tmp_path: Path, open_folder: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ResourceError) as caught:
        Store(file / "store", MEGABYTE)
    assert str(caught.value) == (
        f"The store's folder {str(file / 'store')!r} cannot be made: Not a directory. Choose another with --store."
    )
    open_folder.chmod(0o700)
    done = as_nobody("try:\n    Store(folder, MEGABYTE)\nexcept ResourceError as error:\n    print(error)", open_folder)
    if os.getuid() == 0:
        assert done.stdout == f"The store's folder {str(open_folder)!r} cannot be read: permission denied. Choose another with --store.\n"


# --- memory ---


def test_memory_stays_bounded(tmp_path: Path) -> None:
    code = """
    import resource
    store = Store(folder, 60 * MEGABYTE)
    row = np.ones(98_304, np.float32)
    def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    out = np.zeros((1, 98_304), np.float32)
    for number in range(50):
        store.write(SPACE, keys_of([number]), [row])
    before = peak()
    for number in range(50, 300):
        store.write(SPACE, keys_of([number]), [row])
        store.read_fixed(SPACE, keys_of([number]), out)
    print(peak() - before)
    """
    done = subprocess.run(in_python(code, tmp_path), capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40, "megabytes, after 100 MB went through"
