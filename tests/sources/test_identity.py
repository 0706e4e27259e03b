"""A source is its content: names, dates and cards do not matter, every byte that a vector depends on does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from headstart.sources.identity import content_digest, identifying_files
from modelfiles import make_source, write_json


def test_a_copy_has_the_digest_of_the_original_whatever_its_name_dates_and_card(tmp_path: Path) -> None:
    folder = make_source(tmp_path / "one")
    copy = shutil.copytree(folder, tmp_path / "two")
    (copy / "README.md").write_text("# other words")
    for path in copy.iterdir():
        os.utime(path, (1, 1))
    assert content_digest(copy) == content_digest(folder)
    assert len(content_digest(folder)) == 32


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "modules.json", "1_Pooling/config.json"),
        *("source.spm", "bpe.codes", "chat_template.jinja", "target_tokenizer/tokenizer.json"),
    ],
)
def test_one_changed_byte_changes_the_digest_though_size_and_date_stay(tmp_path: Path, name: str) -> None:
    folder = make_source(tmp_path)
    write_json(folder / "modules.json", [])
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    write_json(folder / "target_tokenizer" / "tokenizer.json", {"model": {}})
    for pieces in ("source.spm", "bpe.codes", "chat_template.jinja"):
        (folder / pieces).write_text("pieces")
    before, files, path = content_digest(folder), identifying_files(folder), folder / name
    state, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert content_digest(folder) != before
    assert identifying_files(folder) == files


def test_what_stands_in_one_file_is_not_what_stands_in_two(tmp_path: Path) -> None:
    left, right = make_source(tmp_path / "left"), make_source(tmp_path / "right")
    (left / "vocab.txt").write_text("ab")
    (left / "merges.txt").write_text("")
    (right / "vocab.txt").write_text("")
    (right / "merges.txt").write_text("ab")
    assert content_digest(left) != content_digest(right)


def test_every_shard_of_the_weights_counts(tmp_path: Path) -> None:
    folder = make_source(tmp_path)
    (folder / "model.safetensors").unlink()
    for k in (1, 2):
        save_file({f"w{k}": np.zeros(3, np.float32)}, folder / f"part-{k}.safetensors")
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"w1": "part-1.safetensors", "w2": "part-2.safetensors"}})
    assert {"part-1.safetensors", "part-2.safetensors", "model.safetensors.index.json"} <= {name for name, _ in identifying_files(folder)}
    before = content_digest(folder)
    save_file({"w2": np.ones(3, np.float32)}, folder / "part-2.safetensors")
    assert content_digest(folder) != before


def test_where_one_whole_file_stands_beside_shards_it_is_the_one_that_counts(tmp_path: Path) -> None:
    """As transformers has it, which opens the whole file."""
    folder = make_source(tmp_path)
    save_file({"w1": np.zeros(3, np.float32)}, folder / "part-1.safetensors")
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"w1": "part-1.safetensors"}})
    names = {name for name, _ in identifying_files(folder)}
    assert "model.safetensors" in names and "part-1.safetensors" not in names
    before = content_digest(folder)
    make_source(tmp_path, fill=1.0)
    assert content_digest(folder) != before
