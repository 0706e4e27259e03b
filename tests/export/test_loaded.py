from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from headstart import loaded
from headstart.errors import RunError
from headstart.loaded import load
from headstart.sources import opening
from tiny import make_causal, make_parent, make_tiny

TEXTS = ["why is my card lost", "a", "I love this film so much", "money", "a"]


def refusal(folder: Path) -> str:
    with pytest.raises(RunError) as caught:
        load(folder)
    return str(caught.value)


def test_a_run_folder_and_its_model_folder_open_alike_in_the_order_of_the_texts(save: Callable[..., Path]) -> None:
    folder = save("bert")
    run, model = load(folder.parent), load(str(folder))
    probabilities = model.predict_proba(TEXTS)
    assert run.labels == model.labels == ("refund", "späte Lieferung 🚚", 'a "quoted" | label')
    assert np.array_equal(run.predict_proba(TEXTS), probabilities)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(model.predict_proba(TEXTS[::-1])[::-1], probabilities, atol=1e-6)


def test_the_folder_of_an_unknown_user_is_refused_in_one_sentence() -> None:
    told = "The model '~nouser/x' begins with '~nouser', a folder that this machine does not know; write it out."
    assert refusal(Path("~nouser/x")) == told


def test_many_texts_are_read_piece_by_piece(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(save("bert"))
    whole = model.predict_proba(TEXTS * 3)
    monkeypatch.setattr(loaded, "_CHUNK", 2)
    np.testing.assert_allclose(model.predict_proba(TEXTS * 3), whole, atol=1e-6)


def test_no_texts_empty_texts_and_very_long_ones_are_answered(save: Callable[..., Path]) -> None:
    for architecture in ("bert", "gpt2"):
        model = load(save(architecture))
        assert model.predict_proba([]).shape == (0, 3) and model.predict([]) == []
        assert np.isfinite(model.predict_proba(["", "money " * 100_000])).all()


def test_a_single_text_is_refused_rather_than_read_letter_by_letter(save: Callable[..., Path]) -> None:
    with pytest.raises(TypeError) as caught:
        load(save("bert")).predict("money")
    assert str(caught.value) == "predict_proba takes a list of texts; put the single text into a list."


def test_the_code_in_the_folder_is_never_run(save: Callable[..., Path]) -> None:
    folder = save("bert")
    before = load(folder).predict_proba(TEXTS)
    (folder / "modeling_headstart.py").write_text("raise RuntimeError('it was run')")
    assert np.array_equal(load(folder).predict_proba(TEXTS), before)


def test_folders_without_a_model_of_headstart_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x") == f"There is no folder {str(tmp_path / 'x')!r}; give the folder of a run, or its model folder."
    assert refusal(tmp_path) == f"{str(tmp_path)!r} holds no model (no config.json); give the folder of a run, or its model folder."
    (tmp_path / "run.yaml").write_text("")
    assert refusal(tmp_path) == f"The run {str(tmp_path)!r} has no model yet; give its command again to finish it."
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert refusal(tmp_path) == f"{str(tmp_path)!r} holds a model of type 'bert' that headstart did not save; transformers opens it."
    (tmp_path / "config.json").write_text("{")
    assert refusal(tmp_path) == (
        f"{str(tmp_path / 'config.json')!r} is damaged; run the command of its run.yaml again, or copy the model again."
    )


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_damaged_files_are_refused_with_the_folder_and_the_remedy(save: Callable[..., Path], name: str) -> None:
    folder = save("bert")
    (folder / name).write_bytes((folder / name).read_bytes()[:50])
    message = refusal(folder)
    assert message.startswith(f"The model in {str(folder)!r} cannot be opened (") and message.endswith("); copy or train it again.")


def test_weights_that_the_file_lacks_are_not_drawn_at_random(save: Callable[..., Path]) -> None:
    folder = save("bert")
    whole = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in whole.items() if not name.startswith("classifier")}, folder / "model.safetensors")
    assert refusal(folder) == (
        f"The weights of the model in {str(folder)!r} lack 2 tensors, 'classifier.bias' first; copy or train it again."
    )


def test_want_of_memory_is_no_damaged_file_and_an_error_without_words_has_its_name(
    save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save("bert")
    for error in (MemoryError(), RuntimeError("[enforce fail] can't allocate memory: you tried to allocate 9 bytes")):
        monkeypatch.setattr(opening, "read_config", lambda place, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(type(error)):
            load(folder)
    monkeypatch.setattr(opening, "read_config", lambda place: (_ for _ in ()).throw(AssertionError()))
    assert refusal(folder) == f"The model in {str(folder)!r} cannot be opened (AssertionError); copy or train it again."


def test_an_adapter_beside_the_weights_is_refused_rather_than_put_on_them(save: Callable[..., Path]) -> None:
    folder = save("bert")
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_text("{}")  # where headstart keeps its own
    load(folder)
    (folder / "adapter_config.json").write_text("{}")
    assert refusal(folder) == (
        f"The model in {str(folder)!r} has an adapter beside its weights (adapter_config.json), which headstart did not put there; "
        "move that file out of the folder."
    )


@pytest.mark.parametrize("within", [False, True])
def test_how_attention_is_worked_out_is_not_for_the_folder_to_say(save: Callable[..., Path], within: bool) -> None:
    folder = save("bert")
    before = load(folder).predict_proba(TEXTS)
    config = json.loads((folder / "config.json").read_text())
    (config["backbone_config"] if within else config)["attn_implementation"] = "kernels-community/some-kernel"
    (folder / "config.json").write_text(json.dumps(config))
    model = load(folder)
    assert model.reader.model.backbone.config._attn_implementation == "sdpa"
    assert np.array_equal(model.predict_proba(TEXTS), before)


def words_model(folder: Path) -> Any:
    from transformers import AutoModelForTokenClassification

    make_tiny(folder, "bert")
    labels = ["O", "B-a", "I-a"]
    named = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    AutoModelForTokenClassification.from_pretrained(folder, **named).save_pretrained(folder)
    return lambda model: model.reader.model


def answers_model(folder: Path) -> Any:
    from transformers import AutoModelForQuestionAnswering

    make_tiny(folder, "bert")
    model = AutoModelForQuestionAnswering.from_pretrained(folder)
    model.config.headstart_task = "qa"
    model.config.headstart_answers = {"may_abstain": False, "longest": 8, "factor": 1.0, "shift": 0.0}
    model.save_pretrained(folder)
    return lambda model: model.find.__self__.model


def writing_model(folder: Path) -> Any:
    make_causal(folder, "gpt2")
    edit(folder, headstart_task="generation", headstart_writing={"longest": 8})
    return lambda model: model.whole


def translating_model(folder: Path) -> Any:
    make_parent(folder)
    edit(folder, headstart_task="translation", headstart_translation={"longest": 8})
    return lambda model: model.whole


def edit(folder: Path, **entries: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | entries))


@pytest.mark.parametrize("make", [words_model, answers_model, writing_model, translating_model])
def test_how_attention_is_worked_out_is_not_for_a_folder_of_any_task_to_say(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    of = make(tmp_path)
    edit(tmp_path, attn_implementation="kernels-community/some-kernel")
    assert of(load(tmp_path)).config._attn_implementation == "sdpa"


def test_importing_the_door_imports_no_torch() -> None:
    program = "import sys; import headstart.loaded; print({'torch', 'transformers', 'sklearn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "set()\n"
