"""Opening a checked source with transformers: the bare backbone and its tokenizer, and no code of the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headstart.data.rows import counted
from headstart.errors import RunError, SourceError, out_of_memory
from headstart.sources.files import read_json
from headstart.sources.source import Source


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hold back transformers' remarks and bars ("some weights were not used": heads of other tasks, dropped on purpose)."""
    from transformers import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def read_config(folder: Path) -> Any:
    """The configuration in a model's folder, without what it says of how attention is worked out and which file holds the weights.

    transformers obeys both: it asks the hub for a kernel of that name, refuses one that is not for this machine, and opens a file of
    weights that was neither checked nor hashed. Without a word of it, attention is PyTorch's own (`sdpa`) for every class that can use
    it and the plain one (`eager`) for the others. BigBird's blocks of attention would end with the first short text that it reads, for
    good, so that what it says of a long one would hang on the texts before: it has whole attention from the start.
    """
    from transformers import AutoConfig

    from headstart.sources.modeling_headstart import HeadstartConfig

    kind = HeadstartConfig if read_json(folder / "config.json").get("model_type") == HeadstartConfig.model_type else AutoConfig
    # Nobody looks at attention's weights, which only the plain way of working it out gives.
    config: Any = kind.from_pretrained(folder, trust_remote_code=False, local_files_only=True, output_attentions=False)
    config._attn_implementation = None  # which goes on to the configurations within this one
    vars(config).pop("transformers_weights", None)
    if getattr(config, "attention_type", None) == "block_sparse":
        config.attention_type = "original_full"
    return config


@contextmanager
def opening_saved(folder: Path) -> Iterator[None]:
    """What is opened within are files of a model that headstart saved; transformers' remarks are held back.

    Raises:
        RunError: they are damaged.
    """
    try:
        with quiet_transformers():
            yield
    except RunError:
        raise
    except Exception as error:  # safetensors, json, tokenizers and transformers each have errors of their own for damaged files
        if out_of_memory(error):
            raise
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(f"The model in {str(folder)!r} cannot be opened ({why}); copy or train it again.") from error


def open_saved(kind: Any, folder: Path) -> Any:
    """A model that headstart saved, opened as a class of transformers (`AutoModelFor...`), in float32 and with `read_config`.

    Raises:
        RunError: its file of weights lacks some, which transformers would draw at random.
    """
    import torch

    options = {"use_safetensors": True, "dtype": torch.float32, "local_files_only": True, "output_loading_info": True}
    model, info = kind.from_pretrained(folder, config=read_config(folder), **options)
    missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)
    if missing:
        raise RunError(
            f"The weights of the model in {str(folder)!r} lack {counted(len(missing), 'tensor')}, {missing[0]!r} first; "
            "copy or train it again."
        )
    return model


def open_source(source: Source) -> tuple[Any, Any]:
    """The bare model, float32 and in evaluation mode, and its tokenizer, padding on the right.

    A model that headstart saved holds its backbone inside a classifier: the backbone is taken out of it. Of an encoder-decoder it is the
    encoder.

    Raises:
        SourceError: the files turn out not to be such a model, or lack weights that it needs, or its tokenizer cannot be used.
    """
    import torch

    with quiet_transformers():
        try:
            module, info = _open_model(source, torch.float32)
            tokenizer = open_tokenizer(source)
        except SourceError:
            raise
        except Exception as error:  # safetensors, tokenizers and transformers each have errors of their own for damaged files
            raise _not_opened(source, error) from error
    # Poolers are left out of many checkpoints and never used here.
    missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)
    if missing:
        raise SourceError(
            f"The weights of {source.name!r} lack {len(missing)} tensors that its config.json asks for, {missing[0]!r} first; "
            "copy or download the source again."
        )
    return module.eval(), tokenizer


def open_tokenizer(source: Source) -> Any:
    """The source's tokenizer, padding on the right, with a padding token where it named none (padding is masked, so any token will do).

    Raises:
        SourceError: it is damaged or written in Python, or has no token that can pad.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source.folder, trust_remote_code=False, local_files_only=True)
    except ImportError as error:  # kinds that only Python code can make ask for its library
        raise _slow(source) from error
    except Exception as error:  # tokenizers and transformers have errors of their own
        raise _not_opened(source, error, "The tokenizer of the source") from error
    if not tokenizer.is_fast:  # only the others tell where in a text a token stands, and what they are made of
        raise _slow(source)
    tokenizer.padding_side = "right"
    # Of a text that is too long the beginning is read, whatever the source says: the store's names and the saved model rest on it.
    tokenizer.truncation_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise SourceError(
            f"The tokenizer of {source.name!r} has no token for padding, for the end of a text or for unknown words, so that texts cannot "
            "be read together; name a pad_token in its tokenizer_config.json."
        )
    return tokenizer


def _open_model(source: Source, dtype: Any) -> tuple[Any, dict[str, Any]]:
    from headstart.sources.modeling_headstart import HeadstartConfig, HeadstartForSequenceClassification

    config = read_config(source.folder)
    options = {"config": config, "use_safetensors": True, "dtype": dtype, "output_loading_info": True, "local_files_only": True}
    if isinstance(config, HeadstartConfig):
        wrapper, info = HeadstartForSequenceClassification.from_pretrained(source.folder, **options)
        return wrapper.backbone, info
    if source.decodes:
        from transformers import AutoModelForSeq2SeqLM

        whole, info = AutoModelForSeq2SeqLM.from_pretrained(source.folder, trust_remote_code=False, **options)
        return whole.get_encoder(), info
    from transformers import AutoModel

    return AutoModel.from_pretrained(source.folder, trust_remote_code=False, **options)  # type: ignore[no-any-return]


def open_encoder_decoder(source: Source) -> Any:
    """The whole of an encoder-decoder, float32 and in evaluation mode.

    Raises:
        SourceError: its files are damaged.
    """
    import torch
    from transformers import AutoModelForSeq2SeqLM

    options = {"use_safetensors": True, "dtype": torch.float32, "trust_remote_code": False, "local_files_only": True}
    try:
        with quiet_transformers():
            return AutoModelForSeq2SeqLM.from_pretrained(source.folder, config=read_config(source.folder), **options).eval()
    except Exception as error:  # as in `open_source`
        raise _not_opened(source, error) from error


def _slow(source: Source) -> SourceError:
    return SourceError(f"The tokenizer of {source.name!r} is one of Python code, without a tokenizer.json; choose a source that has one.")


def _not_opened(source: Source, error: Exception, what: str = "The source") -> SourceError:
    """What a library's error on opening a source means for the user."""
    return SourceError(f"{what} {source.name!r} cannot be opened: {(str(error).strip() or type(error).__name__).splitlines()[0]}")
