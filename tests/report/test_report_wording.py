from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from pytest import mark

from headstart.records import Estimate
from headstart.report.wording import (
    clean,
    command,
    date,
    fit,
    interval,
    level,
    number,
    percent,
    prose,
    row_list,
    rows_counted,
    seconds,
    shorten,
    size,
    span,
    squeeze,
    text_width,
)


@mark.parametrize(
    ("value", "words"),
    [
        (0.8931, "0.893"),
        (0.9996, "1.00"),
        (1.234, "1.23"),
        (12.345, "12.3"),
        (12_345.6, "12,346"),
        (0.0, "0.00"),
        (-0.0001234, "−0.000123"),
        (None, "–"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (1e-9, "0.00"),
    ],
)
def test_numbers_have_three_significant_digits(value, words):
    assert number(value) == words


def test_a_signed_zero_has_no_sign():
    assert (number(0.12, signed=True), number(-0.12, signed=True), number(0.0, signed=True)) == ("+0.120", "−0.120", "0.00")


def test_an_interval_has_as_many_decimals_as_its_value():
    assert interval(Estimate(0.8931, 0.8512, 0.9209, 121)) == "0.893 [0.851, 0.921]"
    assert interval(Estimate(0.041, 0.0221, 0.0784, 121)) == "0.041 [0.022, 0.078]"
    assert interval(Estimate(1.21, 0.9876, 1.4, 121)) == "1.21 [0.99, 1.40]"
    assert interval(None) == interval(Estimate(float("nan"), float("nan"), float("nan"), 9)) == "–"
    assert span(-0.21, -0.3, 0.0001, signed=True) == "−0.210 [−0.300, 0.000]"


@mark.parametrize(
    ("value", "words"),
    [
        (0.004, "0.00 s"),
        (0.42, "0.42 s"),
        (12.34, "12.3 s"),
        (99.99, "1 min 40 s"),
        (125.0, "2 min 5 s"),
        (3839.6, "1 h 4 min"),
        (1e9, "277,777 h 46 min"),
    ],
)
def test_seconds_are_said_as_people_say_them(value, words):
    assert seconds(value).replace("\xa0", " ") == words


@mark.parametrize(
    ("value", "words"),
    [(0, "0 bytes"), (1, "1 byte"), (1500, "1.50 kB"), (1_310_000_000, "1.31 GB"), (999_999, "1.00 MB"), (5 * 10**13, "50.0 TB")],
)
def test_bytes_have_a_decimal_unit(value, words):
    assert size(value).replace("\xa0", " ") == words


def test_percentages_are_whole_from_ten_up():
    assert [percent(share).replace("\xa0", " ") for share in (0.0, 0.012, 0.0996, 0.5, 1.0)] == ["0 %", "1.2 %", "10 %", "50 %", "100 %"]


def test_levels_are_said_to_their_last_digit():
    shown = [level(confidence).replace("\xa0", " ") for confidence in (0.5, 0.9, 0.95, 0.975, 0.999)]
    assert shown == ["50 %", "90 %", "95 %", "97.5 %", "99.9 %"]


def test_dates_are_to_the_minute_and_other_words_stay():
    assert date("2026-03-14T15:09:26+00:00") == "2026-03-14 15:09 UTC"
    assert date("yesterday") == "yesterday"


def test_row_lists_draw_neighbours_together():
    assert row_list((3, 17, 40, 41, 42, 43), 6) == "rows 3, 17, 40–43"
    assert row_list((7,), 1) == "row 7"
    assert row_list((7, 8), 12) == "rows 7, 8 and 10 more"
    assert row_list((), 0) == ""


def test_text_loses_what_a_page_cannot_hold():
    assert clean(" a\n\tb\x00c" + chr(0xD800) + "d\u202ee ") == "a b\ufffdc\ufffdde"


@given(st.text(alphabet=st.characters(exclude_categories=())), st.integers(2, 30))
def test_shortened_text_keeps_to_its_length_and_can_be_written(text, characters):
    for short in (shorten(text, characters), squeeze(text, characters)):
        assert len(short) <= characters
        assert short == clean(short)
        short.encode("utf-8")


def test_a_huge_text_is_not_read_to_its_end():
    assert shorten(" " * 10_000_000 + "a", 10) == "…"
    assert shorten("word " * 1_000_000, 12) == "word word w…"


def test_a_name_keeps_both_ends():
    assert squeeze("partial ./models/very-long-name-03", 20) == "partial ./mo…name-03"


@given(st.text(min_size=1), st.floats(60, 400))
def test_fitted_text_is_no_wider_than_asked(text, pixels):
    assert text_width(fit(text, pixels, 12.5), 12.5) <= pixels


def test_prose_escapes_all_and_sets_code():
    assert prose("run `a <b>` or <i>", 100) == Markup("run <code>a &lt;b&gt;</code> or &lt;i&gt;")
    assert prose("a lone ` stays <", 100) == Markup("a lone ` stays &lt;")


def test_a_command_breaks_before_its_options():
    assert command("headstart fit <a>.csv --text t") == Markup("<span>headstart fit &lt;a&gt;.csv</span> <span>--text t</span>")


@mark.parametrize(
    ("origin", "said"),
    [
        ("a.csv", "Row numbers count from 1 under the header of"),
        ("a.tsv.gz", "Row numbers count from 1 under the header of"),
        ("a.jsonl", "Row numbers count from 1 in"),
        ("-", "Row numbers count from 1 in"),
        ("a.txt.gz", "Rows are called by the lines on which they begin, in"),
        ("a.conll", "Rows are called by the lines on which they begin, in"),
    ],
)
def test_rows_are_called_as_their_file_counts_them(origin, said):
    assert rows_counted(origin) == said
