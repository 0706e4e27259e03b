"""The example data holds the faults that its README lists, and no others of their kinds."""

import csv
import importlib.util
import re
from collections import Counter
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
INTENTS = 12


def rows_of(name: str) -> list[tuple[str, str]]:
    with (EXAMPLES / name).open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == ["id", "text", "label", "channel"]
        return [(row["text"], row["label"]) for row in reader]


TRAIN = rows_of("support_tickets.csv")
TEST = rows_of("support_tickets_test.csv")


def listed(fault: str) -> int:
    """The count that the README gives for the fault whose line begins so."""
    lines = re.findall(rf"^\| {re.escape(fault)}.*\| (\d+) \|$", (EXAMPLES / "README.md").read_text(encoding="utf-8"), flags=re.M)
    assert len(lines) == 1
    return int(lines[0])


def shingles(text: str) -> set[str]:
    text = " ".join(text.casefold().split())
    return {text[i : i + 5] for i in range(max(1, len(text) - 4))}


def similarity(one: set[str], other: set[str]) -> float:
    if min(len(one), len(other)) < 0.85 * max(len(one), len(other)):
        return 0.0  # too unlike in length to reach 0.85; saves most of the work
    return len(one & other) / len(one | other)


def test_rows_without_text_or_label_are_as_listed():
    assert sum(text == "" for text, _ in TRAIN) == listed("rows without text")
    assert sum(label == "" for _, label in TRAIN) == listed("rows without label")
    assert all(text and label for text, label in TEST)


def test_exact_duplicates_are_as_listed():
    repeats = Counter(row for row in TRAIN if row[0])
    assert sum(count - 1 for count in repeats.values()) == listed("exact duplicates")
    assert max(Counter(TEST).values()) == 1


def test_near_duplicates_are_as_listed():
    texts = sorted({text for text, _ in TRAIN if text})
    sets = [shingles(text) for text in texts]
    pairs = [(i, j) for i in range(len(texts)) for j in range(i) if similarity(sets[i], sets[j]) >= 0.85]
    assert len(pairs) == listed("near duplicates")


def test_texts_under_two_labels_are_as_listed():
    labels: dict[str, set[str]] = {}
    for text, label in TRAIN:
        if text:
            labels.setdefault(text, set()).add(label)
    assert sum(len(names) > 1 for names in labels.values()) == listed("texts that stand under two labels")


def test_label_spellings_and_the_rare_intent_are_as_listed():
    counts = Counter(label for _, label in TRAIN if label)
    well_spelt = {label for label in counts if re.fullmatch("[a-z_]+", label)}
    assert sum(counts[label] for label in counts if label not in well_spelt) == listed("rows with a hand-typed spelling of a label")
    assert counts["gift_card"] == listed("rows of the intent with two rows, `gift_card`")
    assert len(well_spelt - {"gift_card"}) == INTENTS
    assert min(counts[label] for label in well_spelt - {"gift_card"}) >= 40


def test_test_rows_in_training_are_as_listed():
    train_texts = {text for text, _ in TRAIN}
    assert sum(text in train_texts for text, _ in TEST) == listed("test rows whose text is also in training")
    assert set(Counter(label for _, label in TEST)) == {label for _, label in TRAIN if re.fullmatch("[a-z_]+", label)} - {"gift_card"}


def test_no_test_row_nearly_stands_in_training_unlisted():
    train = [shingles(text) for text, _ in TRAIN if text]
    test = [shingles(text) for text, _ in TEST]
    near = sum(any(similarity(one, other) >= 0.85 for other in train) for one in test)
    assert near == listed("test rows whose text is also in training")


def test_the_script_writes_the_same_bytes_again(tmp_path):
    spec = importlib.util.spec_from_file_location("make_support_tickets", EXAMPLES / "make_support_tickets.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path)
    for name in ("support_tickets.csv", "support_tickets_test.csv"):
        assert (tmp_path / name).read_bytes() == (EXAMPLES / name).read_bytes()


def test_headstart_reads_the_rows_that_the_csv_module_reads():
    from headstart.data import read

    result = read.read_examples(EXAMPLES / "support_tickets.csv", text="text", label="label")
    assert list(result.examples.texts) == [text for text, _ in TRAIN]
