"""The saved model that writes: the stock causal class of transformers, its tokenizer with its chat template."""

from __future__ import annotations

import copy
from pathlib import Path

from headstart.export.model_folder import whole_folder, write_tokenizer
from headstart.loaded import ANSWERS as TASK
from headstart.strategies.language import WritingModel
from headstart.strategies.prompts import template_of


def save_writing_model(folder: Path, model: WritingModel, card: str) -> None:
    """Save a trained model that writes, whole or not at all; the folder holds no code.

    Raises:
        ResourceError: no room or no permission.
    """
    from headstart.sources.opening import quiet_transformers

    backbone = model.reader.backbone
    whole = model.whole
    setattr(whole.config, TASK, "generation")
    whole.config.headstart_writing = {"longest": model.longest, "continues": model.continues}
    tokenizer = copy.deepcopy(backbone.tokenizer)
    tokenizer.chat_template = template_of(tokenizer)
    # Its own pipeline writes as headstart does: the likeliest token each time, up to the same length.
    whole.generation_config.do_sample = False
    whole.generation_config.max_new_tokens = model.longest
    whole.generation_config.eos_token_id, whole.generation_config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    for name in ("temperature", "top_k", "top_p"):
        setattr(whole.generation_config, name, None)
    with whole_folder(Path(folder)) as room:
        with quiet_transformers():
            whole.save_pretrained(room)
        write_tokenizer(room, tokenizer, backbone.max_length)
        (room / "README.md").write_text(card, encoding="utf-8")
