"""Sources that learnt from the target's own rows are found, through every run before them, and not judged on them."""

import shutil

import pytest

import headstart
from headstart.errors import SourceError
from headstart.runs import JOURNAL
from headstart.sources.resolve import resolve_source
from headstart.taught import refusal, remark, taught, text_digest
from small import bare, sentences, write_csv
from tiny import make_tiny


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A run on one set of rows, and a second one on others that began from the first."""
    folder = tmp_path_factory.mktemp("taught")
    make_tiny(folder / "source", "bert", blocks=2)
    first, second = sentences(60, 1), sentences(60, 2)
    write_csv(folder / "one.csv", first)
    write_csv(folder / "two.csv", second)
    write_csv(folder / "test.csv", sentences(30, 3))
    with bare():
        for name, source in (("one", "source"), ("two", "run-one")):
            headstart.fit(
                str(folder / f"{name}.csv"),
                text="text",
                label="label",
                test=str(folder / "test.csv"),
                source=str(folder / source),
                strategy="probe",
                out=str(folder / f"run-{name}"),
                store=str(folder / "store"),
                shelf=False,
                quiet=True,
                resamples=200,
            )
    return folder, [text for text, _ in first], [text for text, _ in second]


def test_a_run_knows_its_rows_and_those_of_the_run_that_it_began_with(chain):
    folder, first, second = chain
    assert taught(resolve_source(str(folder / "source"))) == frozenset()
    assert taught(resolve_source(str(folder / "run-one"))) == {text_digest(text) for text in first}
    assert taught(resolve_source(str(folder / "run-two"))) == {text_digest(text) for text in first + second}


def test_case_and_spaces_do_not_hide_a_row(chain):
    folder, first, _ = chain
    assert refusal(resolve_source(str(folder / "run-one")), [f"  {text.upper()} " for text in first]) != ""


def test_a_few_shared_texts_are_no_reason(chain):
    folder, first, _ = chain
    others = [text for text, _ in sentences(60, 5)]
    source = resolve_source(str(folder / "run-one"))
    assert refusal(source, [*others, *first[:4]]) == ""  # less than five
    assert refusal(source, [*others, *others, *first[:5]]) == ""  # less than a twentieth
    assert remark(source, [*others, *first[:4]]) == ""
    assert remark(source, others, [*others, *others, *first[:5]]) == (
        f"The source {source.name!r} was taught 5 of these 125 rows: too few to leave it out, and scores may flatter it a little."
    )
    assert refusal(source, [*others, *first[:5]]) != ""


def test_few_test_rows_are_looked_at_by_themselves(chain):
    folder, first, _ = chain
    others = [f"{text} {k}" for k in range(20) for text, _ in sentences(60, 5)]
    source = resolve_source(str(folder / "run-one"))
    assert refusal(source, others + first) == "" and refusal(source, others) == ""
    assert refusal(source, others, first) == (
        f"The source {source.name!r} was taught 60 of these 60 rows, so no score on them would be honest; "
        "name the source that it began with."
    )


def test_a_run_that_began_with_the_model_folder_of_a_run_knows_its_rows_too(chain, tmp_path):
    folder, first, second = chain
    copied = tmp_path / "two"
    shutil.copytree(folder / "run-two", copied)
    lines = (copied / JOURNAL).read_text().replace(str(folder / "run-one"), str(folder / "run-one" / "model"))
    (copied / JOURNAL).write_text(lines)
    assert taught(resolve_source(str(copied))) == {text_digest(text) for text in first + second}


def test_a_fit_from_a_run_on_the_same_rows_is_refused_and_of_several_sources_it_is_left_out(chain, tmp_path, monkeypatch):
    folder, _, _ = chain
    mine = str(folder / "run-two")
    asked = {"text": "text", "label": "label", "test": str(folder / "test.csv"), "strategy": ["tfidf", "probe"], "quiet": True}
    asked |= {"store": str(folder / "store"), "resamples": 200, "shelf": False}
    why = f"The source {mine!r} was taught 60 of these 60 rows, so no score on them would be honest; name the source that it began with."
    with pytest.raises(SourceError) as refused:
        headstart.fit(str(folder / "one.csv"), source=mine, out=str(tmp_path / "alone"), **asked)
    assert str(refused.value) == why
    with bare():
        run = headstart.fit(str(folder / "one.csv"), source=[mine, str(folder / "source")], out=str(tmp_path / "both"), **asked)
    assert why in [finding.message for finding in run.results.findings]
    assert all(trial.source in (None, str(folder / "source")) for trial in run.results.trials)


def test_a_ranking_refuses_a_source_that_was_taught_the_test_rows_as_a_fit_would(chain):
    folder, _, _ = chain
    source = str(folder / "run-one")
    with pytest.raises(SourceError) as refused:
        headstart.rank(str(folder / "two.csv"), text="text", label="label", test=str(folder / "one.csv"), source=source, quiet=True)
    assert str(refused.value) == (
        f"The source {source!r} was taught 60 of these 60 rows, so no score on them would be honest; name the source that it began with."
    )


def test_the_estimator_takes_no_source_that_was_taught_its_rows(chain):
    folder, first, _ = chain
    labels = [label for _, label in sentences(60, 1)]
    model = headstart.TransferClassifier(source=str(folder / "run-one"), store=str(folder / "store"), strategy=("probe",))
    with pytest.raises(SourceError):
        model.fit(first, labels)
