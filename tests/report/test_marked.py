import html
import re

from headstart.records import Mark
from headstart.report.marked import marked


def test_what_stands_in_marks_and_around_them_is_escaped_and_stands_once():
    text = "<b>we</b> met Ada & Bob <i>there</i>"
    marks = (Mark(14, 17, "<PER>", "both"), Mark(14, 23, "ORG", "model"), Mark(20, 23, "PER", "label"))
    page = str(marked(text, marks, 300))
    assert "<b>" not in page and "<i>" not in page and "<PER>" not in page
    plain = html.unescape(re.sub(r"<small>.*?</small>|</?mark[^>]*>", "", page))
    assert plain == text  # the longer of two marks that begin together stands, and nothing of the text is lost or said twice
    assert re.findall(r'<mark class="(\w+)"', page) == ["model"]
    apart = str(marked(text, (marks[0], marks[2]), 300))
    assert re.findall(r'<mark class="(\w+)" title="([^"]+)">(\w+)', apart) == [
        ("both", "label and model", "Ada"),
        ("label", "the label only", "Bob"),
    ]
    assert "<small>&lt;PER&gt;</small>" in apart


def test_a_mark_beyond_the_text_that_is_shown_is_left_out():
    short = str(marked("<b>we</b> met Ada", (Mark(14, 17, "PER", "both"),), 12))
    assert "<mark" not in short and short.endswith("…") and "<b>" not in short
