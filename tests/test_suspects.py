"""`check --suspects`: wrong labels that were planted are found by models that did not see them."""

import pytest

from headstart import cli
from headstart.errors import SourceError
from small import LABELS, sentences, write_csv
from tiny import make_tiny

PLANTED = (5, 20, 52)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("suspects")
    rows = sentences(150, 1)
    for number in PLANTED:
        text, label = rows[number - 1]
        rows[number - 1] = (text, LABELS[(LABELS.index(label) + 1) % 3])
    write_csv(folder / "rows.csv", rows)
    make_tiny(folder / "source", "bert", blocks=2)
    return folder


def test_planted_wrong_labels_are_found(task, capsys, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(task / "store"))
    words = ["check", str(task / "rows.csv"), "--text", "text", "--label", "label", "--source", str(task / "source")]
    assert cli.main(words) == 0
    assert "perhaps wrong" not in capsys.readouterr().out
    assert cli.main([*words, "--suspects"]) == cli.FOUND
    lines = capsys.readouterr().out.splitlines()
    [at] = [i for i, line in enumerate(lines) if "perhaps wrong: models that did not see the row disagree." in line]
    shown = {int(word) for word in lines[at + 1].removeprefix("     Rows ").removeprefix("     Row ").rstrip(".").replace(",", "").split()}
    assert set(PLANTED) <= shown and len(shown) < 20
    assert lines[at + 2] == "     Look at these rows, most suspect first."


def test_of_tasks_without_such_heads_one_sentence_is_said(tmp_path, capsys):
    rows = "".join(f"a short sentence number {k},ein kurzer Satz mit Nummer {k}\n" for k in range(30))
    (tmp_path / "pairs.csv").write_text("en,de\n" + rows)
    (tmp_path / "prompts.csv").write_text("prompt,completion\n" + rows)
    for name, task in (("pairs.csv", "translation"), ("prompts.csv", "generation")):
        cli.main(["check", str(tmp_path / name), "--suspects"])
        told = capsys.readouterr()
        assert f"note: Labels of the task {task} are not looked through for suspects.\n     Leave --suspects out." in told.out
        assert told.err == ""


def test_what_stands_in_the_way_of_suspects_is_told_with_the_other_findings(task, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(task / "store"))
    write_csv(tmp_path / "one.csv", [(text, "a") for text, _ in sentences(30, 1)])
    assert cli.main(["check", str(tmp_path / "one.csv"), "--source", str(task / "source"), "--suspects"]) == cli.FOUND
    told = capsys.readouterr()
    assert "  1. error: All 30 usable rows of" in told.out and told.err == ""
    assert (
        "note: Labels are not looked through for suspects, for nothing can be learned from these rows.\n"
        "     Do what the errors ask for first." in told.out
    )
    texts = [f"{text} and the rest of a sentence of some length" for text, _ in sentences(2, 1)]
    write_csv(tmp_path / "few.csv", [(text + end, label) for text, label in zip(texts, "ab", strict=True) for end in (" now", " now!")])
    cli.main(["check", str(tmp_path / "few.csv"), "--source", str(task / "source"), "--suspects"])
    alike = "rows that are nearly the same, or about one context, are not"
    assert f"     The 4 rows are too few for folds: no class has two separate rows ({alike}); add rows." in capsys.readouterr().out


def test_findings_are_told_where_the_source_cannot_be_opened(task, capsys, monkeypatch):
    def refuse(settings):
        raise SourceError("The source is damaged; copy it again.")

    monkeypatch.setattr("headstart.suspects.open_means", refuse)
    rows = str(task / "rows.csv")
    assert cli.main(["check", rows, "--text", "text", "--label", "label", "--source", str(task / "source"), "--suspects"]) == 2
    told = capsys.readouterr()
    assert told.out.startswith(f"{rows}: 150 rows, 3 labels; the text is in 'text', the label in 'label'.")
    assert told.err == "headstart: The source is damaged; copy it again.\n"
