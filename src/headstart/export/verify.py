"""Law 4, saved is trained: a saved model is opened again in a fresh process and must give the same probabilities.

The fresh process does what a stranger would do: `transformers.pipeline("text-classification", DIR, trust_remote_code=True)`, without
headstart. A model without transfer has no such way; it is opened with `headstart.load`, in a fresh process too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.pairs import split_pair
from headstart.errors import RunError
from headstart.export.answer_program import LINES as ANSWER_LINES
from headstart.export.fresh import ask
from headstart.export.translator_folder import LINES as TRANSLATION_LINES
from headstart.sources.resolve import WITHOUT_TRANSFER

TOLERANCE = 1e-4

_WITH_TRANSFORMERS = """
import json, sys
from transformers import pipeline
folder, ask, answer = sys.argv[1:]
texts = json.load(open(ask, encoding="utf-8"))
classify = pipeline("text-classification", folder, trust_remote_code=True, device="cpu")
assert "headstart" not in sys.modules
rows = classify(texts, top_k=None, truncation=True, batch_size=8)
columns = [classify.model.config.id2label[i] for i in range(classify.model.config.num_labels)]
scores = [{entry["label"]: entry["score"] for entry in row} for row in rows]
json.dump([[row[label] for label in columns] for row in scores], open(answer, "w"))
"""

_WORDS_WITH_TRANSFORMERS = """
import json, sys
from transformers import pipeline
folder, ask, answer = sys.argv[1:]
texts = json.load(open(ask, encoding="utf-8"))
mark = pipeline("token-classification", folder, ignore_labels=[], device="cpu")
assert "headstart" not in sys.modules
number = mark.model.config.label2id
found = []
for text, entries in zip(texts, mark(texts, batch_size=8)):
    start = 0
    for word in text.split(" "):
        # A word is what its first token is taken for; a token may begin with the space before it.
        first = next((entry for entry in entries if start < entry["end"] <= start + len(word)), None)
        found.append([-1, 0.0] if first is None else [number[first["entity"]], float(first["score"])])
        start += len(word) + 1
json.dump(found, open(answer, "w"))
"""

# What `export.adapter_folder` tells its readers to do, put into the same program in place of the model itself.
_TEXT_ADAPTER = """
config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=True)
model.backbone = AutoModel.from_pretrained(source)
"""
_WORD_ADAPTER = """
model = AutoModelForTokenClassification.from_pretrained(source, config=AutoConfig.from_pretrained(folder))
"""
# The source takes over how the model writes: the number of pieces, and which end a text.
_WRITING_ADAPTER = """
model = {kind}.from_pretrained(source, dtype="float32")
model.generation_config = {before}.generation_config
"""
# By task: the stock class, where a program holds its model, and the pipeline that takes another.
_WRITES = {"generation": ("AutoModelForCausalLM", "write.model", "write"), "translation": ("AutoModelForSeq2SeqLM", "model", "")}
_ANSWER_ADAPTER = """
model = AutoModelForQuestionAnswering.from_pretrained(source, config=AutoConfig.from_pretrained(folder))
"""
_ADAPTER = """
import json, sys
from peft import PeftModel
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForQuestionAnswering, AutoModelForSeq2SeqLM
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification
folder = sys.argv[1]
source = json.load(open(folder + "/adapter/adapter_config.json", encoding="utf-8"))["base_model_name_or_path"]
"""
_PEFT = 'model = PeftModel.from_pretrained(model, folder + "/adapter").merge_and_unload().float().eval()\n'


def _on_adapter(program: str, opening: str, pipe: str) -> str:
    """The program with the source under the adapter for the model that its pipeline `pipe` holds; "": it has a `model` itself."""
    head, rest = program.split('assert "headstart"', 1)
    put_in = f"{pipe}.model = model\n" if pipe else ""
    return f'{head}{_ADAPTER}{opening}{_PEFT}{put_in}assert "headstart"{rest}'


_WITH_HEADSTART = """
import json, sys
import headstart
from headstart.judge.calibration import softmax
folder, ask, answer = sys.argv[1:]
texts = json.load(open(ask, encoding="utf-8"))
model = headstart.load(folder)
if hasattr(model, "predict_proba"):
    rows = model.predict_proba(texts).tolist()
elif hasattr(model, "tag"):
    rows = softmax(model.reader.predict_logits(texts)).tolist()
else:
    rows = [[number] for number in model.predict(texts)]
json.dump(rows, open(answer, "w"))
"""

_WITH_HEADSTART_ANSWERS = """
import json, sys
import headstart
folder, ask, answer = sys.argv[1:]
texts = json.load(open(ask, encoding="utf-8"))
json.dump(headstart.load(folder).predict(texts), open(answer, "w"))
"""


def verify(
    folder: Path,
    texts: Sequence[str],
    expected_probabilities: NDArray[np.floating],
    *,
    words: bool,
    pairs: bool = False,
    adapter: bool = False,
) -> float:
    """Open a saved model in a fresh process and compare its probabilities, or its numbers.

    Args:
        folder: the model folder.
        texts: some texts, none of them empty; a few dozen tell as much as all.
        expected_probabilities: what the trained model said of them, (u, c), in the order of the saved labels.
        pairs: the texts are pairs.
        words: each word has a class; then the likeliest class and its probability are compared, for the pipeline tells no others.
        adapter: ask not the model but the source under the adapter in the model's folder.

    Returns:
        The greatest absolute difference between two probabilities; of numbers as a share of the greatest.

    Raises:
        RunError: the model does not open, or differs by more than 1e-4.
    """
    folder = Path(folder).resolve()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    plain = config.get("model_type") == WITHOUT_TRANSFER
    numbers = "regression" in (config.get("task"), config.get("problem_type"))
    expected = np.asarray(expected_probabilities, dtype=np.float64)
    program = _WITH_HEADSTART if plain else _WORDS_WITH_TRANSFORMERS if words else _WITH_TRANSFORMERS
    if adapter:
        program = _on_adapter(program, _WORD_ADAPTER if words else _TEXT_ADAPTER, "mark" if words else "classify")
    found = np.asarray(ask(folder, program, as_given(texts, pairs)), dtype=np.float64)
    if words and not plain and found.shape == (len(expected), 2):
        # Of a word of which no token is read there is nothing to compare.
        given = expected[found[:, 0] >= 0]
        found = found[found[:, 0] >= 0]
        if len(expected) and not len(given):
            raise RunError(f"The model saved to {str(folder)!r} reads none of {len(expected)} words; do not use it.")
        named = given[np.arange(len(given)), found[:, 0].astype(np.int64)]
        found, expected = np.column_stack([found[:, 1], named]), np.column_stack([named, given.max(axis=1)])
    if found.shape != expected.shape:
        raise RunError(f"The model saved to {str(folder)!r} answers with shape {found.shape} instead of {expected.shape}; do not use it.")
    # A NaN on either side is a difference, not an agreement.
    scale = float(np.abs(expected).max(initial=0.0)) or 1.0 if numbers else 1.0
    difference = float(np.nan_to_num(np.abs(found - expected) / scale, nan=1.0).max(initial=0.0))
    if difference > TOLERANCE:
        raise RunError(
            f"The model saved to {str(folder)!r} gives other probabilities than the trained one: they differ by up to {difference:.2g}, "
            f"more than {TOLERANCE:g}. Do not use it; please report this with the versions that `headstart env` prints."
        )
    return difference


# Tokens of a completion that are compared: a pipeline writes one prompt after the other.
BEGUN = 32
# What a stranger would do with a model that answers with texts, by task: the texts in `ask`, as `as_given` gives them, the answers out.
_ANSWERS = {
    "generation": f"""
import json, sys
from transformers import pipeline
folder, ask, out = sys.argv[1:]
asked = json.load(open(ask, encoding="utf-8"))
write = pipeline("text-generation", folder, device="cpu")
assert "headstart" not in sys.modules
how = {{"return_full_text": False, "max_new_tokens": min({BEGUN}, write.model.generation_config.max_new_tokens)}}
how["continue_final_message"] = False  # of a chat that ends with the assistant's words
said = [write(prompt, **how)[0]["generated_text"] for prompt in asked]
json.dump([text if isinstance(text, str) else text[-1]["content"] for text in said], open(out, "w"))
""",
    "translation": f"""
import json, sys
folder, ask, out = sys.argv[1:]
{TRANSLATION_LINES}
assert "headstart" not in sys.modules
json.dump([translate(text) for text in json.load(open(ask, encoding="utf-8"))], open(out, "w"))
""",
    "qa": f"""
import json, sys
folder, ask, out = sys.argv[1:]
{ANSWER_LINES}
assert "headstart" not in sys.modules
texts = json.load(open(ask, encoding="utf-8"))
json.dump([answer(text["text"], text["text_pair"]) for text in texts], open(out, "w"))
""",
}


def verify_answers(folder: Path, task: str, asked: Sequence[Any], expected: Sequence[str], *, adapter: bool = False) -> None:
    """Open a saved model that answers with texts in a fresh process and compare its answers, which must be the same.

    Args:
        folder: the model folder.
        task: the name of its task.
        asked: some texts as people give them.
        expected: what the trained model answered.
        adapter: ask not the model but the source under the adapter in the model's folder.

    Raises:
        RunError: the model does not open, or answers otherwise, or there is nothing to ask it.
    """
    folder = Path(folder).resolve()
    if not asked:
        raise RunError(f"No row can be read on which the model saved to {str(folder)!r} could be compared; do not use it.")
    plain = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type") == WITHOUT_TRANSFER
    program = _WITH_HEADSTART_ANSWERS if plain else _ANSWERS[task]
    if adapter:
        if task == "qa":
            program = _on_adapter(program, _ANSWER_ADAPTER, "")
        else:
            kind, before, pipe = _WRITES[task]
            # The lines that translate hold their model under the name that the source gets, so what it knew is read first.
            opening = _WRITING_ADAPTER.format(kind=kind, before="own")
            program = _on_adapter(program.replace('assert "headstart"', f'own = {before}\nassert "headstart"', 1), opening, pipe)
    found = ask(folder, program, list(asked))
    other = [i for i, (one, two) in enumerate(zip(found, expected, strict=True)) if one != two]
    if other:
        raise RunError(
            f"The model saved to {str(folder)!r} answers otherwise than the trained one: {found[other[0]]!r} instead of "
            f"{expected[other[0]]!r} to one of {len(asked)} texts. Do not use it; please report this with the versions that "
            "`headstart env` prints."
        )


def as_given(texts: Sequence[str], pairs: bool) -> list[Any]:
    """Texts as people give them to a pipeline, and to `headstart.load`."""
    return [dict(zip(("text", "text_pair"), split_pair(text), strict=True)) for text in texts] if pairs else list(texts)
