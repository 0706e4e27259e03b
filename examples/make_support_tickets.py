"""Write support_tickets.csv and support_tickets_test.csv from support_messages.txt, faults and all.

    python examples/make_support_tickets.py

Only the standard library, and no random numbers: whatever is picked is picked by the digest of its text, so that every Python writes the
same bytes. README.md beside this file lists the faults; tests/test_example_data.py counts them in the files.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEST_ROWS_PER_INTENT = 13
RARE_INTENT = "gift_card"  # two messages, both in the training file

# What is planted, all of it in the training file but `shared_with_test`, which repeats training rows in the test file.
EMPTY_TEXTS = 3
EMPTY_LABELS = 2
EXACT_DUPLICATES = 8
NEAR_DUPLICATES = 6
SHARED_WITH_TEST = 5
# Texts that stand a second time under another label; each is one that a tired person could file there.
CONFLICTS = {
    "I cancelled my order yesterday but it still shows as active": "login",
    "Payment failed but the money was taken from my account.": "refund",
    "Received a damaged package, several plates are broken. Order 29014.": "wrong_item",
    "My order is being sent to my old address! Please change it.": "delivery_late",
}
# Labels as somebody typed them by hand: intent, and how one of its rows spells it.
LABEL_SPELLINGS = (("refund", "Refund "), ("refund", "REFUND"), ("login", "Login"), ("delivery_late", "delivery late"))

Row = tuple[str, str]  # text and label


def read_messages(path: Path) -> list[Row]:
    """The messages in the order of the file."""
    rows: list[Row] = []
    intent = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            intent = line[1:-1]
        elif line and not line.startswith("#"):
            rows.append((line.replace("\\n", "\n"), intent))
    return rows


def in_fixed_order(rows: list[Row], salt: str) -> list[Row]:
    """The rows in an order that looks random and is the same everywhere; another salt gives another order."""
    return sorted(rows, key=lambda row: hashlib.sha256(f"{salt}|{row[1]}|{row[0]}".encode()).digest())


def retyped(text: str, how: int) -> str:
    """The same message as if sent again in a hurry."""
    return (text.upper(), text + "!!", text.replace("'", "").replace(",", ""))[how % 3]


def split(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Training and test rows, the same number of test rows of every intent but the rare one."""
    train, test = [], []
    for intent in sorted({label for _, label in rows}):
        members = in_fixed_order([row for row in rows if row[1] == intent], "split")
        planted = [row for row in members if row[0] in CONFLICTS]
        others = [row for row in members if row[0] not in CONFLICTS]
        tested = 0 if intent == RARE_INTENT else TEST_ROWS_PER_INTENT
        test += others[:tested]
        train += others[tested:] + planted
    return train, test


def plant(train: list[Row], test: list[Row]) -> tuple[list[Row], list[Row]]:
    """The same rows with the faults among them; no message bears two faults."""
    sound = in_fixed_order([row for row in train if row[0] not in CONFLICTS and row[1] != RARE_INTENT], "faults")
    train = list(train)

    def take(count: int, shortest: int = 0) -> list[Row]:
        taken = [row for row in sound if len(row[0]) >= shortest][:count]
        for row in taken:
            sound.remove(row)
        return taken

    for _, label in take(EMPTY_TEXTS):
        train.append(("", label))
    for row in take(EMPTY_LABELS):
        train[train.index(row)] = (row[0], "")
    train += take(EXACT_DUPLICATES)
    # Long ones with a comma or an apostrophe to lose, so that every way of retyping changes something and the twins stay alike.
    long = [row for row in sound if len(row[0]) >= 60 and "," in row[0]][:NEAR_DUPLICATES]
    for how, (text, label) in enumerate(long):
        sound.remove((text, label))
        train.append((retyped(text, how), label))
    train += CONFLICTS.items()
    for intent, spelling in LABEL_SPELLINGS:
        row = next(row for row in sound if row[1] == intent)
        sound.remove(row)
        train[train.index(row)] = (row[0], spelling)
    test = test + take(SHARED_WITH_TEST)
    return in_fixed_order(train, "train"), in_fixed_order(test, "test")


def channel(text: str) -> str:
    """Where the message came in: long ones more often by mail. It says nothing of the intent."""
    choices = ("email", "email", "app") if len(text) > 60 else ("chat", "app", "email")
    return choices[hashlib.sha256(text.encode()).digest()[0] % 3]


def write(path: Path, rows: list[Row], first_id: int) -> None:
    """One CSV file: id, text, label, channel."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "text", "label", "channel"])
        for number, (text, label) in enumerate(rows, start=first_id):
            writer.writerow([f"T{number:04d}", text, label, channel(text)])


def main(folder: Path = HERE) -> None:
    """Write both files into the folder."""
    train, test = plant(*split(read_messages(HERE / "support_messages.txt")))
    write(folder / "support_tickets.csv", train, 1)
    write(folder / "support_tickets_test.csv", test, 1 + len(train))


if __name__ == "__main__":
    main()
