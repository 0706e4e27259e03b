import dataclasses
import html
import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from pytest import fixture
from sample import (
    HOSTILE_LABEL,
    bare_results,
    class_scores,
    confusion,
    curve,
    estimate,
    label_curve,
    layers,
    sample_results,
    sheet_of,
    trial,
)

from headstart.records import CurvePoint, LabelCurve
from headstart.report import figures
from headstart.report.labels import Box, place_labels
from headstart.report.wording import text_width


@fixture(scope="module")
def ladder():
    return figures.score_against_seconds(sample_results())


def titles(figure):
    return [title.text for title in drawings(figure)[0].iter("title")]


def drawings(figure):
    """The figure's drawings, parsed: wide first, narrow second."""
    return list(ElementTree.fromstring(f"<figure>{figure}</figure>"))


def texts(drawing):
    return ["".join(text.itertext()) for text in drawing.iter("text")]


def test_every_figure_is_drawn_wide_and_narrow(ladder):
    assert [drawing.get("class") for drawing in drawings(ladder)] == ["wide", "narrow"]


def test_every_rung_with_a_score_has_a_mark_that_says_which(ladder):
    said = titles(ladder)
    assert len(said) == 8
    assert "tfidf: 0.742 [0.714, 0.770], 1.30 s, done" in [title.replace("\xa0", " ") for title in said]


def test_the_chosen_rung_and_its_opponent_are_named(ladder):
    for drawing in drawings(ladder):
        assert {"contrastive all-MiniLM-L6-v2", "tfidf"} <= set(texts(drawing))


def test_a_rung_far_off_the_scale_stands_at_its_edge_with_its_score(ladder):
    assert "scratch 0.310" in texts(drawings(ladder)[0])
    assert figures.off_scale(sample_results())
    assert not figures.off_scale(bare_results())


def test_text_is_large_enough_to_read(ladder):
    sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", ladder)]
    assert sizes and min(sizes) >= 11


def test_figures_take_colours_and_font_from_the_page(ladder):
    assert re.findall(r"#[0-9a-f]{6}\b", ladder) == []
    assert "DejaVu" not in ladder
    assert "<style" not in ladder and "<metadata" not in ladder


def test_ids_of_all_drawings_differ_and_every_reference_has_one(ladder):
    both = ladder + figures.label_curve(label_curve(), "macro_f1", ())
    ids = re.findall(r'\sid="([^"]+)"', both)
    assert len(ids) == len(set(ids))
    references = [one or other for one, other in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', both)]
    assert references and set(references) <= set(ids)


def test_labels_cannot_reach_into_the_drawing():
    table = confusion(2)
    figure = figures.confusion_map(class_scores((HOSTILE_LABEL, "ok"), table), table)
    assert figure is not None
    assert "<script" not in figure
    # Drawn as they are: no formula, no tooltip of another mark, no reference to follow.
    assert any("$x_1$ url(#a)" in title for title in titles(figure))


def test_the_heat_map_says_every_number_that_is_not_zero():
    table = confusion(12)
    figure = figures.confusion_map(class_scores(tuple(f"class {i}" for i in range(12)), table), table)
    counts = sorted(str(cases) for row in table for cases in row if cases)
    for drawing in drawings(figure):
        assert sorted(text for text in texts(drawing) if text.isdigit()) == counts


def test_the_tip_of_a_cell_tells_the_share_of_its_row_and_which_class_was_given():
    table = ((6, 2), (1, 7))
    said = (
        html.unescape(str(figures.confusion_map(class_scores(("card", "order"), table), table))).replace("\xa0", " ").replace("\u202f", " ")
    )
    assert "2 of 8 rows of card (25 %) were given order" in said and "1 of 8 rows of order (12 %) were given card" in said


def test_more_than_twenty_classes_have_no_heat_map():
    for size, drawn in ((20, True), (21, False)):
        table = confusion(size)
        assert (figures.confusion_map(class_scores(tuple(str(i) for i in range(size)), table), table) is not None) is drawn


def test_the_label_curve_says_what_no_transfer_would_have_needed():
    said = titles(figures.label_curve(label_curve(), "macro_f1", ()))
    assert said[-1] == "tfidf would need about 2,400 labels for 0.857"


def test_the_rung_without_transfer_is_the_one_that_the_curve_names():
    curve = label_curve()
    named = dataclasses.replace(
        curve, baseline="crf", points=tuple(dataclasses.replace(p, rung=p.rung.replace("tfidf", "crf")) for p in curve.points)
    )
    assert titles(figures.label_curve(named, "macro_f1", ()))[-1] == "crf would need about 2,400 labels for 0.857"
    older = dataclasses.replace(named, baseline="")
    assert figures.without_transfer(named, ["scratch"]) == {"crf"}
    assert figures.without_transfer(older, ["scratch"]) == {"tfidf", "scratch"}


def test_nothing_to_draw_is_no_figure():
    unscored = dataclasses.replace(sample_results(), trials=(trial("full", "full", None, 0.0),))
    assert figures.score_against_seconds(unscored) is None
    assert figures.label_curve(None, "accuracy", ()) is None
    assert figures.label_curve(LabelCurve((), None), "accuracy", ()) is None
    assert figures.score_by_layer((), "accuracy") is None
    assert figures.training_curves((trial("probe", "probe", 0.5, 1.0),)) is None
    assert figures.seconds_by_stage({}) is None
    assert figures.seconds_by_stage({"check": 0.0}) is None


def test_the_best_layer_has_the_greatest_score_by_which_the_task_compares_layers():
    first = layers()[0]
    scored = tuple(dataclasses.replace(first, layer=i, score=estimate(value, 0.01)) for i, value in enumerate((0.9, 0.4, 0.6)))
    drawn = figures.score_by_layer(scored, figures.layer_metric("ner", "log_loss"))
    assert "best: layer 0, 0.900" in texts(drawings(drawn)[0]) and "entity F1, higher is better" in str(drawn)
    assert [figures.layer_metric(task, "log_loss") for task in ("classification", "pairs")] == ["accuracy"] * 2
    assert figures.layer_metric("multilabel", "micro_f1") == "micro_f1"


def test_a_curve_is_drawn_through_the_numbers_that_are_there(monkeypatch):
    nan = float("nan")
    losses = ((0.9, None), (nan, 0.8), (0.5, nan), (None, 0.6))
    points = tuple(CurvePoint(step, float(step), one, other) for step, (one, other) in enumerate(losses))
    made = trial("partial", "partial", 0.5, 1.0, curve=points)
    [ax] = sheet_of(monkeypatch, figures, lambda: figures.training_curves((made,))).figure.axes
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in ax.lines] == [([0, 2], [0.9, 0.5]), ([1, 3], [0.8, 0.6])]


def test_a_curve_without_any_number_leaves_its_panel_empty():
    points = tuple(dataclasses.replace(point, train_loss=float("nan"), validation_loss=None) for point in curve(6, 0.3))
    assert "partial" in texts(drawings(figures.training_curves((trial("partial", "partial", 0.5, 1.0, curve=points),)))[0])


def test_a_training_is_told_by_its_lowest_loss_on_validation_rows():
    points = tuple(CurvePoint(step, 1.0, validation_loss=loss) for step, loss in ((0, 0.9), (5, 0.25), (10, 0.6)))
    drawn = str(figures.training_curves((trial("partial", "partial", 0.5, 1.0, curve=points),)))
    assert "lowest 0.250" in drawn and "0.900" not in drawn


@given(st.lists(st.tuples(st.floats(0, 350), st.floats(0, 300)), max_size=30), st.integers(0, 2))
def test_names_never_cover_each_other_or_leave_the_area(spots, far):
    area = Box(0, 0, 350, 300)
    placed = [place for place in place_labels(spots, ["partial, cut 4"] * len(spots), 12.5, [], area, far) if place]
    boxes = [place.box for place in placed]
    assert all(area.holds(box) for box in boxes)
    assert far or not any(a.meets(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(abs(box.right - box.left - text_width("partial, cut 4", 12.5)) < 1e-6 for box in boxes)
