"""What `headstart env` and `headstart cache` say, and which number format this machine is given."""

import gc
import os
import platform
import random
import subprocess
import sys
import weakref

import numpy as np
import pytest

from headstart import __version__, cache, environment
from headstart.backbone.store import Store
from headstart.errors import SettingsError
from headstart.settings import Precision
from headstart.sources.shelf import shelf_folder


@pytest.fixture
def fresh():
    """What is measured once per process is measured anew."""
    for cached in (environment.fast_precision, environment.gemm_speeds, environment._speeds_on):
        cached.cache_clear()
    yield
    for cached in (environment.fast_precision, environment.gemm_speeds, environment._speeds_on):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("float32", "bfloat16", "taken"),
    [
        (100e9, 180e9, Precision.BFLOAT16),  # exactly worth it
        (100e9, 179e9, Precision.FLOAT32),
        (100e9, 0.0, Precision.FLOAT32),  # the machine cannot do it
    ],
)
def test_auto_takes_bfloat16_from_1_8_times_the_speed(fresh, monkeypatch, float32, bfloat16, taken):
    monkeypatch.setattr(environment, "gemm_speeds", lambda: {Precision.FLOAT32: float32, Precision.BFLOAT16: bfloat16})
    assert environment.fast_precision() is taken
    environment.fast_precision.cache_clear()
    monkeypatch.undo()


def test_speed_is_operations_over_the_best_time(fresh, monkeypatch):
    times = iter([9.0, 9.0, 0.4, 0.9, 0.2, 0.8, 0.3, 0.7])  # a warm-up of each, then three rounds of float32 and bfloat16
    monkeypatch.setattr(environment, "_seconds", lambda left, right: next(times))
    operations = 2 * 256 * 384 * 1536
    assert environment.gemm_speeds() == {Precision.FLOAT32: operations / 0.2, Precision.BFLOAT16: operations / 0.7}
    assert list(times) == []


def test_a_format_that_the_device_lacks_has_speed_0(fresh, monkeypatch):
    import torch

    def seconds(left, right):
        if left.dtype == torch.bfloat16:
            raise RuntimeError("not implemented for 'BFloat16'")
        return 0.5

    monkeypatch.setattr(environment, "_seconds", seconds)
    speeds = environment.gemm_speeds()
    assert speeds[Precision.BFLOAT16] == 0.0
    assert speeds[Precision.FLOAT32] == 2 * 256 * 384 * 1536 / 0.5


def test_reading_is_as_fast_as_the_cpu_and_training_as_its_device(fresh, monkeypatch):
    import torch

    monkeypatch.setattr(environment, "_speeds_on", lambda place: {Precision.FLOAT32: {"cpu": 1e11, "cuda": 5e13}[place.type]})
    assert (environment.reading_speed(), environment.gemm_speeds()[Precision.FLOAT32]) == (1e11, 1e11)
    environment.gemm_speeds.cache_clear()
    monkeypatch.setattr(environment, "device", lambda: torch.device("cuda"))
    assert (environment.reading_speed(), environment.gemm_speeds()[Precision.FLOAT32]) == (1e11, 5e13)
    monkeypatch.undo()


def test_random_numbers_go_on_as_if_nothing_had_been_drawn():
    import torch

    def drawn():
        return random.random(), float(np.random.random()), float(torch.rand(()))

    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    first, second = drawn(), drawn()
    random.seed(1), np.random.seed(2), torch.manual_seed(3)
    assert drawn() == first
    with pytest.raises(KeyError), environment.random_state_kept():
        random.seed(7), np.random.seed(7), torch.manual_seed(7), drawn()
        raise KeyError
    assert drawn() == second


def test_env_says_versions_machine_speeds_and_choice(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "gemm_speeds", lambda: {Precision.FLOAT32: 150e9, Precision.BFLOAT16: 0.0})
    monkeypatch.setattr(environment, "fast_precision", lambda: Precision.FLOAT32)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    lines = dict(line.split(maxsplit=1) for line in environment.describe().splitlines() if not line.startswith("precision auto"))
    assert lines["headstart"] == __version__
    assert lines["python"] == platform.python_version()
    assert lines["float32"] == "150 GFLOP/s"
    assert lines["bfloat16"] == "not possible here"
    assert lines["store"] == str(tmp_path)
    assert lines["offline"] == "yes"
    assert int(lines["cores"]) >= 1
    assert lines["memory"].endswith(" GiB")
    assert "precision auto  float32 (bfloat16 from 1.8 times the speed of float32)" in environment.describe()


def test_facts_measure_nothing(monkeypatch):
    def measured():
        raise AssertionError("measured")

    monkeypatch.setattr(environment, "gemm_speeds", measured)
    assert set(environment.facts()) >= {"headstart", "python", "torch", "transformers", "cores", "memory", "processor", "device", "system"}


def test_the_store_lies_where_it_is_told_to(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HEADSTART_CACHE", raising=False)
    assert cache.store_folder(None) == tmp_path / ".cache" / "headstart"
    monkeypatch.setenv("HEADSTART_CACHE", "/somewhere")
    assert str(cache.store_folder(None)) == "/somewhere"
    assert str(cache.store_folder("given")) == "given"
    assert cache.store_folder("~/given") == tmp_path / "given"


def test_a_store_or_a_shelf_of_an_unknown_user_is_refused_in_one_sentence(monkeypatch):
    told = "The {} '~nouser/x' begins with '~nouser', a folder that this machine does not know; write it out."
    with pytest.raises(SettingsError) as given:
        cache.store_folder("~nouser/x")
    assert str(given.value) == told.format("store")
    monkeypatch.setenv("HEADSTART_CACHE", "~nouser/x")
    monkeypatch.setenv("HEADSTART_SHELF", "~nouser/x")
    for folder, name in ((lambda: cache.store_folder(None), "store"), (shelf_folder, "shelf")):
        with pytest.raises(SettingsError) as caught:
            folder()
        assert str(caught.value) == told.format(name)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 bytes"),
        (812, "812 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (45_300, "45.3 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (999_949, "1 MB"),
        (999_700_000_000, "1,000 GB"),
        (999_990, "1 MB"),
        (1_250_000_000, "1.25 GB"),
        (1_200_000_000_000, "1,200 GB"),
    ],
)
def test_sizes_read_as_people_say_them(count, shown):
    assert cache.show_bytes(count) == shown


def test_an_absent_store_is_told_and_not_made(tmp_path):
    absent = tmp_path / "none"
    told = f"There is no store at {absent} yet; the first run makes it."
    assert [cache.size(absent), cache.listing(absent), cache.prune(absent, to_bytes=0)] == [told] * 3
    assert not absent.exists()


def test_size_list_and_prune_of_a_store(tmp_path):
    space = bytes(16)
    with Store(tmp_path, 10**9) as store:
        store.register_space(space, {"source": "tiny", "kind": "pooled"})
        store.write(space, [bytes([n]) * 16 for n in range(100)], list(np.ones((100, 384), dtype=np.float32)))
        size = store.size_bytes()
    assert cache.size(tmp_path) == f"{tmp_path}: {cache.show_bytes(size)} in 100 rows"
    header, line = cache.listing(tmp_path).splitlines()
    assert header.split() == ["rows", "size", "last", "use", "what"]
    assert line.split()[:3] == ["100", "154", "kB"]
    assert line.endswith("  kind pooled, source tiny")
    assert cache.prune(tmp_path, to_bytes=0).startswith(f"{tmp_path}: 100 rows removed, ")
    assert cache.listing(tmp_path) == f"{tmp_path}: empty"


def test_what_stands_under_one_description_is_told_apart(tmp_path):
    keys = [bytes([n]) * 16 for n in (1, 2, 3)]
    with Store(tmp_path, 10**9) as store:
        for key, source in zip(keys, ("tiny", "tiny", "other"), strict=True):  # two models of one name
            store.register_space(key, {"source": source})
            store.write(key, [bytes(16)], [np.ones(4, dtype=np.float32)])
    told = sorted(line.split("  ")[-1] for line in cache.listing(tmp_path).splitlines()[1:])
    assert told == ["source other", "source tiny, key 01010101", "source tiny, key 02020202"]


def test_kept_rankings_count_and_go_where_nothing_shall_be_left(tmp_path):
    with Store(tmp_path, 10**9) as store:
        store.register_space(bytes(16), {})
        store.write(bytes(16), [bytes(16)], [np.ones(384, dtype=np.float32)])
        size = store.size_bytes()
    (tmp_path / cache.RANKINGS).mkdir()
    for name, content in (("a.json", 3), ("a.npz", 50_000), ("b.json", 7)):
        (tmp_path / cache.RANKINGS / name).write_bytes(bytes(content))
    whole = cache.show_bytes(size + 50_010)
    assert cache.size(tmp_path) == f"{tmp_path}: {whole} in 1 row and 2 kept rankings"
    assert cache.prune(tmp_path, to_bytes=10**9).startswith(f"{tmp_path}: 0 rows removed, ")
    assert cache.prune(tmp_path, to_bytes=0).startswith(f"{tmp_path}: 1 row and 2 kept rankings removed, ")
    assert not (tmp_path / cache.RANKINGS).exists()
    assert cache.size(tmp_path).endswith(" in 0 rows")


@pytest.mark.parametrize("word", ["much", "-1", "nan", "inf", "", " "])
def test_prune_wants_a_number_of_gb(word):
    with pytest.raises(SettingsError) as caught:
        cache.parse_gb(word)
    assert str(caught.value) == f"--to is {word!r}; it must be a number of GB, at least 0."


def test_gb_are_a_thousand_million_bytes():
    assert cache.parse_gb("2.5") == 2_500_000_000
    assert cache.parse_gb(None) == 0
    assert cache.limit_bytes(0.01) == 10_000_000


def test_cores_are_those_this_process_may_use():
    assert environment.cores() == len(os.sched_getaffinity(0))


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc can be told")
def test_memory_that_the_allocator_holds_free_goes_back_to_the_system():
    """The last of many small pieces keeps the heap's end where it is; in a process of its own, whose heap holds nothing else."""
    program = """
import resource
from headstart.environment import release_free_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

pieces = [bytearray(4000) for _ in range(30_000)]
last = pieces[-1]
pieces.clear()
held = resident()
release_free_memory()
print(held - resident())
"""
    given_back = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert int(given_back) > 100_000_000


def test_only_what_is_made_within_is_looked_through_for_garbage():
    class Ring:
        pass

    def ring():
        one, other = Ring(), Ring()
        one.other, other.other = other, one
        return weakref.ref(one)

    gc.collect()
    gc.disable()
    try:
        before = ring()
        with environment.only_new_garbage():
            within = ring()
            gc.collect()
            assert before() is not None and within() is None
        assert gc.get_freeze_count() == 0
        gc.collect()
        assert before() is None
    finally:
        gc.enable()


def test_what_the_program_has_set_aside_itself_stays_aside():
    gc.freeze()
    try:
        aside = gc.get_freeze_count()
        with environment.only_new_garbage():
            pass
        assert gc.get_freeze_count() > 0.9 * aside > 0  # a few may have been freed meanwhile
    finally:
        gc.unfreeze()
