"""`headstart check` around the checks themselves: which texts are cut off, and how findings read."""

import types

import pytest

from headstart.checking import Checked, findings_text, needs_a_hand, token_counter
from headstart.data.examples import Examples
from headstart.errors import SourceError
from headstart.records import Finding, Severity

TRAIN = Examples(("a", "b", "c"), ("x", "y", ""), (1, 2, 3), "tickets.csv", "text", "intent")


def checked(*findings):
    return Checked(TRAIN, types.SimpleNamespace(findings=findings))


@pytest.mark.parametrize("limit", [8, 16, 64])
def test_texts_are_counted_as_the_source_reads_them(limit):
    from transformers import AutoTokenizer

    from headstart.sources.resolve import resolve_source

    source = resolve_source(None)
    tokenizer = AutoTokenizer.from_pretrained(source.folder)
    words = "my card has not arrived, können Sie helfen? 我的卡还没到 🎉🎉 https://example.org/a-b_c " * 4
    texts = ["", " ", *(words[start:end] for start in (0, 7, 40) for end in range(start, start + 200, 9))]
    counter = token_counter(None, limit)
    true = [len(tokenizer(text, verbose=False)["input_ids"]) for text in texts]
    counted = counter.lengths(texts)
    assert counter.limit == limit
    assert [length > limit for length in counted] == [length > limit for length in true]
    assert [length for length in counted if length > limit] == [length for length in true if length > limit]
    assert sum(length > limit for length in true) not in (0, len(texts))


def test_the_sources_own_limit_counts_where_it_is_less():
    assert token_counter(None, 8192).limit == 256


def test_a_text_of_millions_of_characters_is_counted_at_once():
    assert token_counter(None, 32).lengths(["word " * 1_000_000, "short"])[0] > 32


def test_an_unknown_source_is_refused():
    with pytest.raises(SourceError):
        token_counter("no such source", 128)


def test_findings_are_numbered_with_rows_and_remedy():
    found = checked(
        Finding("one class", Severity.ERROR, "All is lost.", remedy="Begin anew."),
        Finding("empty text", Severity.WARNING, "25 rows are empty.", rows=(3, 7), count=25, remedy="Fill them."),
        Finding("imbalance", Severity.WARNING, "One row is odd.", rows=(9,), count=1),
        Finding("encoding", Severity.NOTE, "Strange\x1b[31m letters."),
    )
    assert findings_text(found) == (
        "tickets.csv: 3 rows, 2 labels; the text is in 'text', the label in 'intent'.\n"
        "\n"
        "  1. error: All is lost.\n"
        "     Begin anew.\n"
        "\n"
        "  2. warning: 25 rows are empty.\n"
        "     Rows 3, 7 and 23 more.\n"
        "     Fill them.\n"
        "\n"
        "  3. warning: One row is odd.\n"
        "     Row 9.\n"
        "\n"
        "  4. note: Strange\N{REPLACEMENT CHARACTER}[31m letters.\n"
        "\n"
        "1 error, 2 warnings, 1 note."
    )


def test_no_findings_are_told_too():
    assert findings_text(checked()).splitlines()[-1] == "Nothing was found."


@pytest.mark.parametrize(
    ("severities", "needed"), [([], False), ([Severity.NOTE], False), ([Severity.NOTE, Severity.WARNING], True), ([Severity.ERROR], True)]
)
def test_notes_alone_need_no_hand(severities, needed):
    assert needs_a_hand([Finding("k", severity, "m") for severity in severities]) is needed
