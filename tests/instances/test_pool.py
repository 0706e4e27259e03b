from collections import Counter

import pytest

from headstart.errors import DataError, SettingsError
from headstart.instances import pool as pool_module
from headstart.instances.pool import draw, joining_of, read_pool
from headstart.settings import make_settings
from headstart.target import read_target
from small import LABELS, sentences, write_csv
from tiny import make_tiny

ROWS = sentences(60, 7)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    write_csv(folder / "train.csv", ROWS[:24])
    write_csv(folder / "test.csv", ROWS[24:30])
    make_tiny(folder / "source", "bert", blocks=2)
    return folder


def read(task, *files, **settings):
    asked = make_settings(
        {"test": str(task / "test.csv"), "source": str(task / "source"), "rows_from": [str(task / name) for name in files], **settings}
    )
    return read_pool(read_target(str(task / "train.csv"), asked), asked)


def test_rows_join_by_the_name_of_their_label_and_strange_ones_are_counted(task):
    others = [(text, {"card": "Card", "login": "login"}.get(label, "weather")) for text, label in ROWS[30:]]
    path = write_csv(task / "other.csv", [*others, ("", "card"), ("no label", "")])
    found = read(task, "other.csv")
    known = [(text, label) for text, label in others if label != "weather"]
    assert list(found.texts) == [text for text, _ in known]
    assert found.y.tolist() == [{"Card": 0, "login": 1}[label] for _, label in known]
    assert found.numbers.tolist() == [i + 1 for i, (_, label) in enumerate(others) if label != "weather"]
    [one] = found.sets
    assert (one.name, one.path, one.rows, one.strange, one.shared, one.undrawn, one.used) == ("other", path, 30, 10, 0, 0, 20)
    assert [finding.message for finding in found.findings] == [
        f"2 rows of {path!r} have no text or no label; they are left out.",
        f"10 rows of {path!r} bear labels that the target does not have; they are left out: 'weather'.",
    ]


def test_rows_that_the_target_or_its_test_file_has_are_removed_and_counted(task):
    changed = [(text.upper() + " !", label) for text, label in [*ROWS[:3], *ROWS[24:27]]]  # nearly the same
    write_csv(task / "same.csv", [*changed, *ROWS[30:36]])
    found = read(task, "same.csv")
    assert list(found.texts) == [text for text, _ in ROWS[30:36]] and found.sets[0].shared == 6
    assert (
        "6 rows of" in found.findings[0].message
        and "say nearly the same as rows of the target; they are left out." in found.findings[0].message
    )


def test_several_sets_are_told_apart_and_a_map_joins_other_names(task):
    write_csv(task / "one.csv", ROWS[30:36])
    write_csv(task / "two.csv", [(text, {"card": "1", "login": "yes", "order": "c"}[label]) for text, label in ROWS[36:42]])
    (task / "map.yaml").write_text("1: card\nyes: Login\nno: order\n")
    found = read(task, "one.csv", "two.csv", label_map=str(task / "map.yaml"))
    # `yes`, `no` and `1` are words here, not the truth values and numbers that YAML makes of them.
    assert found.of.tolist() == [0] * 6 + [1] * 4
    assert found.y[6:].tolist() == [{"card": 0, "login": 1}[label] for _, label in ROWS[36:42] if label != "order"]
    assert [one.used for one in found.sets] == [6, 4]
    path = str(task / "map.yaml")
    assert f"1 label of the map {path!r} stands in no row: 'no'." in [finding.message for finding in found.findings]
    (task / "map.json").write_text('{"1": "card", "yes": "login", "c": "order"}')
    whole = read(task, "one.csv", "two.csv", label_map=str(task / "map.json"))
    assert whole.y.tolist() == [{"card": 0, "login": 1, "order": 2}[label] for _, label in ROWS[30:42]]
    assert len({whole.content(), found.content()}) == 2


def test_the_content_follows_which_set_a_row_stands_in_and_what_the_sets_are_called(task):
    for name, start, end in (("both", 30, 42), ("half", 30, 36), ("rest", 36, 42), ("less", 30, 33), ("more", 33, 42), ("other", 36, 42)):
        write_csv(task / f"{name}.csv", ROWS[start:end])
    pools = [read(task, *(f"{name}.csv" for name in names)) for names in (["both"], ["half", "rest"], ["less", "more"], ["half", "other"])]
    assert len({pool.texts for pool in pools}) == 1 and len({pool.content() for pool in pools}) == 4


def test_of_a_large_set_some_rows_are_drawn_and_it_is_said(task, monkeypatch):
    monkeypatch.setattr(pool_module, "MOST_ROWS", 10)
    path = write_csv(task / "large.csv", ROWS[30:])
    found = read(task, "large.csv")
    assert len(found) == 10 and found.sets[0].undrawn == 20 and len(set(found.numbers.tolist())) == 10
    drawn = [ROWS[30 + number - 1] for number in found.numbers.tolist()]
    assert list(found.texts) == [text for text, _ in drawn] and found.y.tolist() == [LABELS.index(label) for _, label in drawn]
    assert f"{path!r} has more rows than are looked at; 10 were drawn at random, 20 were not." in [f.message for f in found.findings]
    numbers = [read(task, "large.csv", seed=seed).numbers.tolist() for seed in (0, 0, 1)]
    assert found.numbers.tolist() == numbers[0] == numbers[1] != numbers[2]


def test_every_row_of_a_large_set_is_drawn_as_often_as_any_other(task, monkeypatch):
    monkeypatch.setattr(pool_module, "MOST_ROWS", 10)
    path = write_csv(task / "thirty.csv", ROWS[30:])
    settings = make_settings({"source": str(task / "source"), "rows_from": [path]})
    target = read_target(str(task / "train.csv"), settings)
    joining, times = joining_of(target, settings), Counter()
    for seed in range(300):
        times.update(draw(path, target.examples, settings, joining, seed=seed).drawn.rows)
    # Of 300 draws each of the 30 rows is in a hundred, give or take 8.
    assert sorted(times) == list(range(1, 31)) and min(times.values()) > 65 and max(times.values()) < 135


def test_a_text_that_comes_again_in_a_set_joins_once(task):
    path = write_csv(task / "again.csv", [*ROWS[30:36], *ROWS[30:33], (ROWS[33][0].upper(), ROWS[31][1]), (ROWS[34][0], "weather")])
    found = read(task, "again.csv")
    assert list(found.texts) == [text for text, _ in ROWS[30:36]]
    assert (found.sets[0].rows, found.sets[0].used) == (6, 6)
    [told] = found.findings
    assert told.message == f"5 rows of {path!r} repeat the text of an earlier row; they are left out, 2 with another label."
    assert told.rows == (7, 8, 9, 10, 11)
    path = write_csv(task / "once.csv", [*ROWS[30:36], ROWS[30]])
    [told] = read(task, "once.csv").findings
    assert told.message == f"1 row of {path!r} repeats the text of an earlier row; it is left out."


def test_a_set_of_one_class_is_warned_of(task):
    path = write_csv(task / "single.csv", [(text, label) for text, label in ROWS[30:] if label == "card"])
    [told] = read(task, "single.csv").findings
    assert told.message == f"The rows of {path!r} are of one class only; they can say little of what tells classes apart."


@pytest.mark.parametrize(
    ("rows", "settings", "kind", "message"),
    [
        (
            [("a text", "x"), ("another", "y")],
            {},
            DataError,
            "No label of {path!r} (--rows-from) is one of the target's. Its labels: 'x', 'y'; the target's: 'card', 'login', 'order'. "
            "Say with --label-map which stands for which.",
        ),
        (ROWS[:5], {}, DataError, "All 5 rows of {path!r} (--rows-from) say nearly the same as rows of the target."),
        ([("", "card"), ("x", "")], {}, DataError, "No row of {path!r} (--rows-from) has a text and a label."),
        (ROWS[30:], {"label_map": "{folder}/none.yaml"}, SettingsError, "There is no file '{folder}/none.yaml' (--label-map)."),
        (
            ROWS[30:],
            {"label_map": "{folder}/list.yaml"},
            SettingsError,
            "'{folder}/list.yaml' (--label-map) is no map; write a line `theirs: ours` for each label.",
        ),
        (
            ROWS[30:],
            {"label_map": "{folder}/wrong.yaml"},
            SettingsError,
            "'{folder}/wrong.yaml' (--label-map) maps 'pay' to 'ordr', which is no label of the target. Did you mean 'order'? "
            "Its labels: 'card', 'login', 'order'.",
        ),
        (
            ROWS[30:],
            {"via": ["{folder}/test.csv"]},
            SettingsError,
            "--via and --rows-from are both given; try one of them at a time, for each changes what the other is compared with.",
        ),
    ],
)
def test_what_cannot_be_joined_is_told_in_one_sentence(task, rows, settings, kind, message):
    path = write_csv(task / "bad.csv", rows)
    (task / "list.yaml").write_text("- a\n- b\n")
    (task / "wrong.yaml").write_text("pay: ordr\n")
    folder = str(task)
    given = {
        name: [v.format(folder=folder) for v in value] if isinstance(value, list) else value.format(folder=folder)
        for name, value in settings.items()
    }
    with pytest.raises(kind) as refused:
        read(task, "bad.csv", **given)
    assert str(refused.value) == message.format(path=path, folder=folder)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("train.csv", "--rows-from names {path!r}, which is the data of the target itself; name other data."),
        ("test.csv", "--rows-from names {path!r}, which is the test file of the target itself; name other data."),
        ("nothing.csv", "The rows of {path!r} (--rows-from) cannot be read: There is no file {path!r}."),
    ],
)
def test_the_targets_own_files_and_absent_ones_are_refused(task, file, message):
    with pytest.raises(DataError) as refused:
        read(task, file)
    assert str(refused.value).startswith(message.format(path=str(task / file)).removesuffix("."))


@pytest.mark.parametrize("asked", [{"label_map": "x.yaml"}, {"rows_by": "nearest"}, {"rows_share": 0.5}])
def test_how_rows_are_chosen_is_refused_without_rows_and_no_rows_are_no_pool(task, asked):
    assert read(task) is None
    with pytest.raises(SettingsError) as refused:
        read(task, **asked)
    [name] = asked
    assert str(refused.value) == f"--{name.replace('_', '-')} is given without --rows-from; name the data that it is for."


def test_rows_without_text_or_label_are_counted(task):
    path = write_csv(task / "holes.csv", [*ROWS[30:40], ("", "card"), ("no label here", ""), ("   ", "card")])
    found = read(task, "holes.csv")
    assert len(found) == 10
    [told] = [each for each in found.findings if "no label" in each.message]
    assert told.message == f"3 rows of {path!r} have no text or no label; they are left out." and told.rows == (11, 12, 13)
