"""From a name to a checked source: a folder, an installed package, an earlier run, a name on the shelf, or a model on the hub.

Everything is checked from the files alone, in milliseconds and without torch, so that a bad source is refused before any work is done.
Only a name that begins with `hub:`, or that the shelf knows as one of these, touches a network.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.errors import SourceError, out_of_memory
from headstart.settings import did_you_mean
from headstart.sources import embedded, files, shelf
from headstart.sources.entries import Entry
from headstart.sources.names import LIST_ENDING, given_path
from headstart.sources.package import package_folder
from headstart.sources.source import Pooling, Source

HUB = "hub:"
WRAPPER = "headstart"  # the model type of what headstart saves: a backbone inside a classifier
WITHOUT_TRANSFER = "headstart-tfidf"

# What is fetched from the hub: weights without pickle, configuration, tokenizer, template of a chat, card. No code.
_DOWNLOADED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.spm", "bpe.codes", "*.tiktoken", "*.jinja", "README.md"]
_NOT_DOWNLOADED = ["onnx/*", "openvino/*", "coreml/*", "original/*"]

# Families that number positions from the padding's id on: the first positions are never used.
_OFFSET_POSITIONS = {
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "roberta-prelayernorm",
    "camembert",
    "mpnet",
    "longformer",
    "data2vec-text",
    "xmod",
    "ibert",
    "lilt",
    "luke",
    "mluke",
    "markuplm",
    "layoutlmv3",
    "esm",
}

# Families that read from left to right, so that only the last token has seen the whole text.
_CAUSAL = re.compile(
    r"(gpt|llama|mistral|mixtral|ministral|qwen|gemma|phi|opt$|bloom|falcon|olmo|smollm|stablelm|granite|mpt$|cohere|starcoder|glm|"
    r"exaone|codegen|deepseek|nemotron|mamba|rwkv|xglm|lfm|helium|persimmon|dbrx|jamba)"
)


def resolve_source(name: str | None) -> Source:
    """Find and check a pretrained source.

    Args:
        name: a folder (a model, or an earlier run), an installed package that carries a model folder, a name on the shelf, or `hub:NAME`
            with an optional `@REVISION`; None: the embedded all-MiniLM-L6-v2. What comes first in this order is meant.

    Raises:
        SourceError: it is missing, half downloaded, pickled, inconsistent, of a kind that cannot be used, wants to run its own code, or
            is not what was put on the shelf.
    """
    if name is None or shelf.key(name) == shelf.key(embedded.NAME):  # names are the same where only case differs
        folder = package_folder(embedded.NAME)
        if folder is None:
            raise SourceError(
                f"The embedded source is not installed; run `pip install {embedded.REQUIREMENT}`, or name another with --source."
            )
        return _check(embedded.NAME, folder, embedded.NAME)
    if not name.strip():
        raise SourceError("The name of a source is empty; give a folder, an installed package, a name on the shelf or hub:NAME.")
    if name.startswith(HUB):
        return _check(name, _download(name), name)
    return _check(name, *_find_here(name))


def resolve_another(name: str | None, known: dict[Path, str]) -> Source:
    """One of several sources, as `resolve_source`; `known` gets the name of each by its folder.

    Raises:
        SourceError: likewise, or it is one of those already `known`, under another name.
    """
    source, asked = resolve_source(name), embedded.NAME if name is None else name
    first = known.setdefault(source.folder.resolve(), asked)
    if first != asked:
        raise SourceError(f"The source {asked!r} is the same model as {first!r}, in {str(source.folder)!r}; it is looked at once.")
    return source


def _check(name: str, folder: Path, place: str) -> Source:
    """The source in a folder, after every check that files allow; a value of a kind that no one foresaw is a fault of the source too."""
    try:
        return _checked(name, folder, place)
    except IsADirectoryError as error:
        raise SourceError(f"{str(error.filename)!r} is a folder, not a file; copy or download the source {name!r} again.") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0].rstrip(".")
        raise SourceError(f"The files of the source {name!r} cannot be understood ({reason}); copy or download it again.") from error


def _checked(name: str, folder: Path, place: str) -> Source:
    folder = _model_folder(name, folder)
    config = files.read_json(folder / "config.json")
    model_type = str(config.get("model_type", ""))
    if model_type == WITHOUT_TRANSFER:
        raise SourceError(
            f"The source {name!r} is a model without transfer (tfidf); there is nothing in it to transfer from. Choose another source."
        )
    saved = model_type == WRAPPER
    backbone = config.get("backbone_config") or {} if saved else config
    _check_kind(name, folder, backbone)
    _check_weights(name, folder, backbone)
    pooling, notes = files.sentence_pooling(folder)
    if saved:
        pooling = Pooling(config.get("pooling", "mean"))
    return Source(
        name=name,
        folder=folder,
        pooling=pooling or _usual_pooling(backbone),
        max_length=_max_length(folder, backbone),
        model_type=str(backbone["model_type"]),
        licence=files.card_licence(folder),
        notes=notes,
        place=place,
        decodes=bool(backbone.get("is_encoder_decoder")),
    )


def _find_here(name: str) -> tuple[Path, str]:
    """The folder that a name means on this machine, and its place: the same, said so that it holds from everywhere."""
    path = given_path(name)
    if path.is_dir():
        return path, str(path.resolve())
    if path.exists():
        raise SourceError(f"The source {name!r} is a file; give the folder that holds the model.")
    package = package_folder(name)
    if package is not None:
        return package, name
    entry = shelf.find(name)
    if entry is not None:
        return _off_the_shelf(entry), entry.place
    if name.casefold().endswith(LIST_ENDING):
        raise SourceError(f"There is no text file {name!r} with names of sources; check the path.")
    if re.fullmatch(r"\w[\w.-]*/[\w.-]+(@[\w./-]+)?", name):
        raise SourceError(f"There is no folder {name!r}. If you mean the model of that name on the hub, {HUB}{name} downloads it.")
    raise SourceError(
        f"There is no source {name!r}: no folder, no installed package with a model and nothing on the shelf has that name. "
        f"To download one, give {HUB}NAME.{did_you_mean(name, [embedded.NAME, *(entry.name for entry in shelf.read_shelf()[0])])}"
    )


def _off_the_shelf(entry: Entry) -> Path:
    """The folder of a source on the shelf, after its files were compared with what was added."""
    shelf.require_unchanged(entry)
    return shelf.model_folder(entry) or _download(entry.place)


def hub_name(name: str) -> tuple[str, str]:
    """Repository and revision ("" for the newest) that `hub:NAME` or `hub:NAME@REVISION` asks for.

    Raises:
        SourceError: it is no such name.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    repository, _, revision = name.removeprefix(HUB).partition("@")
    try:
        validate_repo_id(repository)
    except HFValidationError:
        raise SourceError(f"{name!r} names no model of the hub; write {HUB}OWNER/NAME or {HUB}OWNER/NAME@REVISION.") from None
    return repository, revision


def _download(name: str) -> Path:
    """Fetch a model of the hub (or find it in the hub's own cache) and return its folder."""
    repository, revision = hub_name(name)
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=_DOWNLOADED, ignore_patterns=_NOT_DOWNLOADED))
    except GatedRepoError:
        raise SourceError(
            f"The hub gives {repository!r} only to those who accepted its terms; do so on its page and log in with `hf auth login`."
        ) from None
    except RevisionNotFoundError:
        raise SourceError(f"The hub's model {repository!r} has no revision {revision!r}.") from None
    except RepositoryNotFoundError:
        raise SourceError(
            f"The hub has no public model {repository!r}; check the spelling, or log in with `hf auth login` if it is private."
        ) from None
    except LocalEntryNotFoundError:
        if constants.HF_HUB_OFFLINE:
            raise SourceError(
                f"{repository!r} has not been downloaded yet and HF_HUB_OFFLINE is set; unset it, or give a local folder."
            ) from None
        raise SourceError(
            f"{repository!r} has not been downloaded yet and the hub cannot be reached; try again, or give a local folder."
        ) from None
    except Exception as error:  # the libraries under the hub's have errors of their own for a connection that breaks
        if out_of_memory(error):
            raise
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceError(f"Downloading {repository!r} failed ({why}); try again, or give a local folder.") from None


def _model_folder(name: str, folder: Path) -> Path:
    """The folder itself, or the `model` folder of an earlier run."""
    if (folder / "config.json").is_file():
        return folder
    if (folder / "model" / "config.json").is_file():
        return folder / "model"
    if (folder / "run.yaml").is_file():
        raise SourceError(f"The run {name!r} has no model yet; give its command again to finish it.")
    if files.stray_files(folder, (".incomplete",)):
        raise SourceError(_half(name, "it holds files ending in .incomplete"))
    if files.stray_files(folder, (".gguf",)):
        raise SourceError(f"The source {name!r} holds GGUF weights; headstart reads safetensors. Take the original model instead.")
    inner = files.transformer_folder(folder)
    if inner:
        raise SourceError(
            f"The source {name!r} keeps its transformer in its folder {inner!r}, as sentence-transformers once did; open it with a current "
            "release and save it again."
        )
    raise SourceError(f"The source {name!r} has no config.json, so it is no model folder; give the folder that the model was saved to.")


def _check_kind(name: str, folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse models that need code of their own, and kinds that headstart cannot use."""
    model_type = str(config.get("model_type", ""))
    if not model_type:
        raise SourceError(f"The config.json of {name!r} names no model_type; save the model again with a current transformers.")
    if not _known(model_type):
        from importlib.metadata import version

        if config.get("auto_map"):
            raise SourceError(
                f"The source {name!r} asks to run code that came with it (model type {model_type!r}); headstart never does. "
                "Choose a model that transformers itself knows."
            )
        raise SourceError(
            f"transformers {version('transformers')} does not know the model type {model_type!r} of {name!r}; a newer one may."
        )
    tokenizer = files.read_json(folder / "tokenizer_config.json").get("auto_map")
    if tokenizer and not (folder / "tokenizer.json").is_file():
        raise SourceError(
            f"The tokenizer of {name!r} asks to run code that came with it; headstart never does. Choose a model with a tokenizer.json."
        )


def _known(model_type: str) -> bool:
    """Whether the installed transformers has this kind of model; read from its table's text, since importing it takes seconds."""
    spec = importlib.util.find_spec("transformers")
    for place in (spec.submodule_search_locations if spec else None) or []:
        for table in ("auto_mappings.py", "configuration_auto.py"):
            path = Path(place) / "models" / "auto" / table
            if path.is_file() and f'("{model_type}", "' in path.read_text(encoding="utf-8"):
                return True
    from transformers import CONFIG_MAPPING

    return model_type in CONFIG_MAPPING


def _check_weights(name: str, folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse weights that are absent, pickled, cut off, under an adapter, not the published ones, or not those of the tokenizer."""
    weights = files.weight_files(folder)
    if not weights:
        if files.stray_files(folder, (".incomplete",)) or any((folder / ".cache").glob("**/*.incomplete")):
            raise SourceError(_half(name, "it holds files ending in .incomplete"))
        pickled = files.stray_files(folder, files.PICKLED_ENDINGS)
        if pickled:
            raise SourceError(
                f"The source {name!r} has only pickled weights ({pickled[0]}), which can run code when opened, and headstart opens none. "
                'If you trust them, convert them once: python -c "from transformers import AutoModel; '
                f"AutoModel.from_pretrained('{folder}').save_pretrained('{folder}')\""
            )
        if (folder / files.ADAPTER).is_file():
            raise SourceError(f"The source {name!r} is an adapter, not a whole model; merge it into its base model and save that.")
        raise SourceError(f"The source {name!r} has no weights ({files.WEIGHTS}); copy or download it again.")
    if (folder / files.ADAPTER).is_file():  # transformers would put it on the weights without a word
        raise SourceError(
            f"The source {name!r} has an adapter beside its weights ({files.ADAPTER}); merge it into the model and save that, "
            "or move that file out of the folder."
        )
    if files.stray_files(folder, (".incomplete",)):
        raise SourceError(_half(name, "it holds files ending in .incomplete"))
    shapes: dict[str, list[int]] = {}
    for path in weights:
        shapes |= files.read_shapes(path)
    rows, known = files.embedding_rows(shapes), files.vocabulary_size(folder)
    stated = config.get("vocab_size")
    if rows is not None and known is not None and known > rows:
        raise SourceError(
            f"The tokenizer of {name!r} has {known:,} tokens and its weights have embeddings for {rows:,}: "
            "they do not belong together. Save the model with its own tokenizer."
        )
    if rows is not None and stated is not None and int(stated) != rows:
        raise SourceError(
            f"The config.json of {name!r} says {int(stated):,} tokens and its weights have embeddings for {rows:,}: "
            "they do not belong together. Copy or download the source again."
        )
    if folder == package_folder(embedded.NAME):
        embedded.check_weights(weights[0])


def _half(name: str, why: str) -> str:
    return f"The source {name!r} is half downloaded: {why}. Copy or download it again."


def _usual_pooling(config: Mapping[str, Any]) -> Pooling:
    """What suits a model that names no pooling: the last token of a causal one, the mean of any other."""
    architectures = [str(name) for name in config.get("architectures") or []]
    causal = any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in architectures) or _CAUSAL.match(str(config["model_type"]))
    return Pooling.LAST if causal and not config.get("use_bidirectional_attention") else Pooling.MEAN


def _max_length(folder: Path, config: Mapping[str, Any]) -> int | None:
    """The smallest of the limits that the source names, in tokens; None when it names none."""
    limits = [files.sentence_length(folder)]
    config = config.get("encoder") or config  # of an encoder and a decoder joined it is the encoder that reads
    positions = next((config[key] for key in ("max_position_embeddings", "n_positions", "n_ctx") if config.get(key)), None)
    if positions:
        padding = config.get("pad_token_id")
        skipped = (1 if padding is None else int(padding)) + 1 if config["model_type"] in _OFFSET_POSITIONS else 0
        limits.append(int(positions) - skipped)
    stated = files.read_json(folder / "tokenizer_config.json").get("model_max_length")
    if stated and stated < 1e9:  # transformers writes 1e30 for "unlimited"
        limits.append(int(stated))
    return min((limit for limit in limits if limit and limit > 0), default=None)
