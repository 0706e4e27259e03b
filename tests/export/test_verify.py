from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headstart.errors import RunError
from headstart.export import fresh
from headstart.export import verify as room
from headstart.export.model_folder import save_text_model
from headstart.export.verify import verify
from headstart.loaded import load
from tiny import ARCHITECTURES

RUN = fresh.run  # collected before anything is replaced
TEXTS = ["why is my card lost", "a", "I love this film so much that I cried, really!", "money " * 50]


@pytest.fixture(autouse=True)
def processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """As headstart starts them; the other rooms' tests fork theirs."""
    monkeypatch.setattr(fresh, "run", RUN)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_says_the_same_in_a_fresh_process_without_headstart(architecture: str, save: Callable[..., Path]) -> None:
    folder = save(architecture, layers=(1, 4))
    assert verify(folder, TEXTS, load(folder).predict_proba(TEXTS), words=False) < 2e-6


def test_a_fresh_process_tells_the_right_probabilities_from_wrong_ones(save: Callable[..., Path]) -> None:
    folder = save("bert")
    wrong = load(folder).predict_proba(TEXTS)
    wrong[2] = np.roll(wrong[2], 1)
    with pytest.raises(RunError) as caught:
        verify(folder, TEXTS, wrong, words=False)
    difference = float(np.abs(load(folder).predict_proba(TEXTS) - wrong).max())
    assert str(caught.value) == (
        f"The model saved to {str(folder)!r} gives other probabilities than the trained one: they differ by up to {difference:.2g}, "
        "more than 0.0001. Do not use it; please report this with the versions that `headstart env` prints."
    )


@pytest.mark.slow
def test_a_model_that_does_not_open_is_told_with_the_last_line_of_the_process(save: Callable[..., Path]) -> None:
    folder = save("bert")
    (folder / "modeling_headstart.py").write_text("raise RuntimeError('spoilt')\n")
    with pytest.raises(RunError) as caught:
        verify(folder, TEXTS, np.zeros((4, 3)), words=False)
    assert str(caught.value) == f"The model saved to {str(folder)!r} does not open in a fresh process: RuntimeError: spoilt"


def answering(monkeypatch: pytest.MonkeyPatch, folder: Path, answer: object, **config: str) -> Path:
    """A folder whose fresh process is replaced by a given answer."""
    (folder / "config.json").write_text(json.dumps({"model_type": "headstart", **config}))
    monkeypatch.setattr(room, "ask", lambda *_: np.asarray(answer, dtype=np.float64))
    return folder


def test_a_difference_is_measured_and_rounding_is_let_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = answering(monkeypatch, tmp_path, [[0.5, 0.5], [0.25, 0.75]])
    assert verify(folder, ["a", "b"], np.array([[0.50005, 0.49995], [0.25, 0.75]]), words=False) == pytest.approx(5e-5)


@pytest.mark.parametrize("answer", [[[float("nan"), 0.5]], [[0.5002, 0.4998]]])
def test_a_number_that_is_none_or_too_far_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    with pytest.raises(RunError, match="gives other probabilities than the trained one"):
        verify(answering(monkeypatch, tmp_path, answer), ["a"], np.array([[0.5, 0.5]]), words=False)


@pytest.mark.parametrize("config", [{"problem_type": "regression"}, {"model_type": "headstart-tfidf", "task": "regression"}])
@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e9])
def test_numbers_are_compared_as_a_share_of_the_greatest(
    unit: float, config: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = answering(monkeypatch, tmp_path, unit * np.array([[2000.1], [3.0]]), **config)
    assert verify(folder, ["a", "b"], unit * np.array([[2000.0], [3.0]]), words=False) == pytest.approx(0.1 / 2000)
    with pytest.raises(RunError, match=r"they differ by up to 0\.00045, more than"):
        verify(folder, ["a", "b"], unit * np.array([[2001.0], [3.0]]), words=False)
    folder = answering(monkeypatch, tmp_path, [[0.0]], **config)
    assert verify(folder, ["a"], np.array([[0.0]]), words=False) == 0.0


def test_another_number_of_labels_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = answering(monkeypatch, tmp_path, [[0.5, 0.5]])
    with pytest.raises(RunError) as caught:
        verify(folder, ["a"], np.array([[0.2, 0.3, 0.5]]), words=False)
    assert str(caught.value) == f"The model saved to {str(folder)!r} answers with shape (1, 2) instead of (1, 3); do not use it."


def test_a_model_without_transfer_is_opened_in_a_fresh_process_too(tmp_path: Path) -> None:
    from headstart.strategies.base import Rows
    from headstart.strategies.tfidf import fit_tfidf

    texts = ("my card is lost", "lost card again", "refund my money", "I want a refund", "where is my card", "refund it now")
    model, _ = fit_tfidf(Rows(texts, np.array([0, 0, 1, 1, 0, 1]), 2), [], None, 0)
    save_text_model(tmp_path / "model", model, ("card", "refund"), "# card\n", task="classification")
    assert verify(tmp_path / "model", texts, load(tmp_path).predict_proba(texts), words=False) < 1e-12


def test_a_model_that_is_asked_nothing_is_not_taken_for_the_trained_one(tmp_path: Path) -> None:
    with pytest.raises(RunError) as refused:
        room.verify_answers(tmp_path, "generation", [], [])
    assert str(refused.value) == f"No row can be read on which the model saved to {str(tmp_path)!r} could be compared; do not use it."


def test_a_fresh_process_ends_with_the_one_that_began_it(tmp_path: Path) -> None:
    """Killed in the middle of a comparison, a run leaves nothing behind that works on."""
    waits = "import time\nopen('begun', 'w').write(str(os.getpid()))\ntime.sleep(60)\nopen('ended', 'w').write('')"
    begins = f"import os\nfrom headstart.export import fresh\nfresh.run({waits!r}, [], {str(tmp_path)!r}, os.environ)"
    process = subprocess.Popen([sys.executable, "-c", begins])
    begun = tmp_path / "begun"
    while not begun.exists() or not begun.read_text():
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    process.wait()
    for _ in range(500):
        try:
            os.kill(int(begun.read_text()), 0)
        except ProcessLookupError:
            break
        time.sleep(0.02)
    else:
        raise AssertionError("it is still there")
    assert not (tmp_path / "ended").exists()


def test_a_fresh_process_tells_its_status_and_its_complaint(tmp_path: Path) -> None:
    assert RUN("import sys\nprint(sys.argv[1], file=sys.stderr)\nsys.exit(3)", ["ä"], str(tmp_path), os.environ) == (3, "ä\n")
    assert RUN("", [], str(tmp_path), os.environ) == (0, "")
