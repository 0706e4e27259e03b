"""The saved translator: the stock encoder-decoder of transformers and its tokenizer; where its two sides have pieces of their own, two.

transformers had a pipeline for translation up to its version 4; what asks the model without headstart today are the lines of `LINES`,
which stand in the card and which a fresh process runs before a run ends.
"""

from __future__ import annotations

from pathlib import Path

from headstart.export.model_folder import whole_folder, write_tokenizer
from headstart.loaded import ANSWERS as TASK
from headstart.strategies.translation import BEAMS, Translator
from headstart.strategies.translation_start import TARGET

# With `folder` the model's, `translate(text)` gives its translation.
LINES = """from pathlib import Path
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

model, reads = AutoModelForSeq2SeqLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
target = Path(folder) / "target_tokenizer"
writes = AutoTokenizer.from_pretrained(target) if target.is_dir() else reads

def translate(text):
    read = reads(text, truncation=True, return_tensors="pt")
    said = model.generate(input_ids=read["input_ids"], attention_mask=read["attention_mask"])
    return writes.decode(said[0], skip_special_tokens=True).strip()
"""


def save_translator(folder: Path, model: Translator, card: str) -> None:
    """Save a trained translator, whole or not at all; the folder holds no code.

    Raises:
        ResourceError: no room or no permission.
    """
    from headstart.sources.opening import quiet_transformers

    whole = model.whole
    setattr(whole.config, TASK, "translation")
    whole.config.headstart_translation = {"longest": model.longest}
    # Of itself it translates as headstart does.
    settings = whole.generation_config
    settings.num_beams, settings.do_sample, settings.early_stopping = BEAMS, False, True
    settings.max_new_tokens, settings.max_length = model.longest, None
    with whole_folder(Path(folder)) as room:
        with quiet_transformers():
            whole.save_pretrained(room)
        write_tokenizer(room, model.reads, model.max_length)
        if model.writes is not model.reads:
            (room / TARGET).mkdir()
            write_tokenizer(room / TARGET, model.writes, model.max_length)
        (room / "README.md").write_text(card, encoding="utf-8")
