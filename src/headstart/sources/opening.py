"""Opening a checked source with transformers: the bare backbone and its tokenizer, and no code of the checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headstart.errors import SourceError
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


def open_source(source: Source) -> tuple[Any, Any]:
    """The bare model, float32 and in evaluation mode, and its tokenizer, padding on the right.

    A model that headstart saved holds its backbone inside a classifier: the backbone is taken out of it. Of an encoder-decoder it is the
    encoder.

    Raises:
        SourceError: the files turn out not to be such a model, or lack weights that it needs.
    """
    import torch

    with quiet_transformers():
        try:
            module, info = _open_model(source, torch.float32)
            tokenizer = open_tokenizer(source)
        except Exception as error:  # safetensors, tokenizers and transformers each have errors of their own for damaged files
            raise SourceError(
                f"The source {source.name!r} cannot be opened: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
            ) from error
    # Poolers are left out of many checkpoints and never used here.
    missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)
    if missing:
        raise SourceError(
            f"The weights of {source.name!r} lack {len(missing)} tensors that its config.json asks for, {missing[0]!r} first; "
            "copy or download the source again."
        )
    return module.eval(), tokenizer


def open_tokenizer(source: Source) -> Any:
    """The source's tokenizer, padding on the right, with a padding token where it named none (padding is masked, so any token will do)."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.folder, trust_remote_code=False, local_files_only=True)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def _open_model(source: Source, dtype: Any) -> tuple[Any, dict[str, Any]]:
    options = {"use_safetensors": True, "dtype": dtype, "output_loading_info": True, "local_files_only": True}
    if read_json(source.folder / "config.json").get("model_type") == "headstart":
        from headstart.sources.modeling_headstart import HeadstartForSequenceClassification

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
            return AutoModelForSeq2SeqLM.from_pretrained(source.folder, **options).eval()
    except Exception as error:  # as in `open_source`
        raise SourceError(
            f"The source {source.name!r} cannot be opened: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
        ) from error
