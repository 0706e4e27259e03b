import dataclasses
import os
import re
import time
from dataclasses import replace
from html.parser import HTMLParser

from markupsafe import Markup
from pytest import fixture, mark, raises
from sample import (
    FOLDS,
    HOSTILE_TEXT,
    RTL_TEXT,
    bare_results,
    crowded_results,
    estimate,
    sample_data_ranking,
    sample_ranking,
    sample_results,
)

from headstart.errors import ResourceError
from headstart.records import ClassScore, Detour, Estimate, Gain, Results, RowNote, Shown, SourceTask, Verdict
from headstart.report import figures, ranking_figures
from headstart.report.build import MAX_NOTES, build_report, confused_pairs, note_groups, ranked, write_report
from headstart.report.ranking_page import build_page

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Outline(HTMLParser):
    """Tags, ids, headings and visible text of a page; fails where tags are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)
        if self.open and self.open[-1] in ("h2", "h3"):
            self.headings.append(data)


@fixture(scope="module")
def page():
    return build_report(sample_results(), folder="runs/tickets")


@fixture(scope="module")
def outline(page):
    return Outline(page)


@fixture(scope="module")
def crowded():
    return build_report(crowded_results())


@fixture(scope="module")
def bare():
    return build_report(bare_results())


@fixture
def words_alone(monkeypatch):
    """Pages without their drawings, which take most of the time."""
    for room in (figures, ranking_figures):
        monkeypatch.setattr(room, "picture", lambda *_given, **_how: Markup("<svg></svg>"))


def words(outline):
    return re.sub(r"\s+", " ", "".join(outline.text))


def test_the_sections_come_in_order(outline):
    assert [heading for heading in outline.headings if heading] == [
        "Use the model",
        "What was tried",
        "What the labels are worth",
        "Which layer knows most",
        "What is taken for what",
        "Class by class",
        "Rows worth a look",
        "Labels that may be wrong",
        "Hardest rows",
        "Near duplicates",
        "The data",
        "How training went",
        "What it cost",
        "Run it again",
        "How it was measured",
        "Environment",
    ]


def test_a_bare_run_has_no_empty_sections(bare):
    assert Outline(bare).headings == [
        "Use the model",
        "What was tried",
        "What is taken for what",
        "Class by class",
        "The data",
        "What it cost",
        "Run it again",
        "How it was measured",
    ]


def test_the_page_opens_with_the_verdict_and_its_circumstances(outline):
    said = words(outline)
    assert (
        "Transfer helps: contrastive from all-MiniLM-L6-v2 reaches 0.89 [0.84, 0.94] macro-F1, 0.14 [0.08, 0.20] above tfidf, "
        "the best rung without transfer. 121 rows, one stratified test split, 95 % intervals."
    ) in said
    assert "+0.142" in said and "[+0.081, +0.204]" in said


def test_the_page_says_how_to_use_the_model(outline):
    said = words(outline)
    assert "headstart predict runs/tickets FILE.csv --out predictions.csv" in said
    assert "headstart.load('runs/tickets').predict([\"a text to label\"])" in said
    options = "trust_remote_code=True, truncation=True"
    assert f'pipeline("text-classification", \'runs/tickets/model\', {options}) classify("a text to label")' in said


@mark.parametrize(
    ("judged_on", "apart"),
    [("the test file", True), ("rows set aside", True), ("one stratified test split", False), ("5 outer folds", False)],
)
def test_the_page_says_which_rows_the_model_and_the_choice_of_it_stand_on(words_alone, judged_on, apart):
    said = words(Outline(build_report(replace(sample_results(), judged_on=judged_on))))
    none = "come from training rows only (5 of 5 training folds); the judged rows above had no part in them."
    all_rows = "come from folds of all labelled rows (5 of 5 training folds); what was judged above was decided anew"
    assert ("It is the model that was judged." in said, none in said) == (apart, apart)
    assert ("It was decided on and trained with all labelled rows" in said, all_rows in said) == (not apart, not apart)
    assert ("that of the gain also covers what folds differ" in said) is (judged_on == "5 outer folds")


def test_parts_that_decided_otherwise_are_named_escaped(words_alone):
    page = build_report(replace(sample_results(), judged_on="3 outer folds", decided=("probe <b>x", "probe <b>x", "soup")))
    assert "<b>x" not in page and "As decided anew in each fold: probe <b>x 2, soup 1." in words(Outline(page))
    same = replace(sample_results(), decided=(sample_results().winner.name,) * 3)
    assert "decided anew in each fold" not in build_report(same)


def test_a_winner_that_was_not_tried_is_told_and_stands_first(words_alone):
    results = sample_results()
    untried = results.trials[-2]
    assert untried.score is None
    said = words(Outline(build_report(replace(results, winner=untried))))
    assert f"{untried.name} was not tried on folds; it was chosen by what is expected of it, +0.0300 over the probe." in said
    assert "The chosen one, which has no score, stands first." in said and "the accent colour is the chosen rung" not in said
    assert ranked(results.trials, "macro_f1", untried.name)[0] is untried


def test_layers_are_told_by_their_own_score(words_alone):
    said = words(Outline(build_report(replace(sample_results(), metric="log_loss"))))
    assert "on the frozen features of each layer, by accuracy, each row predicted without itself." in said
    ner = words(Outline(build_page(replace(sample_ranking(), task="ner", metric="log_loss"))))
    assert "on the frozen features of each layer, by entity F1, every word predicted" in ner


def test_what_labels_are_worth_is_told_of_the_rung_and_the_rows_of_the_curve(words_alone):
    results = sample_results()
    curve = results.label_curve
    assert curve is not None
    said = words(Outline(build_report(results)))
    assert "labels without transfer2,400for the score of probe all-MiniLM-L6-v2 with 480" in said
    assert "Without transfer, about 2,400 labels would be needed to get as far as probe all-MiniLM-L6-v2 does with 480, all that" in said
    near = words(Outline(build_report(replace(results, label_curve=replace(curve, needed=400)))))
    assert "Without transfer, about 400 labels get as far as probe all-MiniLM-L6-v2 does with 480" in near
    plain, above = "Frozen features alone are worth less than no transfer here.", []
    for point in curve.points:
        lifted = estimate(point.score.value + 0.2, 0.02) if point.rung == "tfidf" else point.score
        above.append(replace(point, score=lifted))
    far = words(Outline(build_report(replace(results, label_curve=replace(curve, points=tuple(above), needed=40)))))
    assert plain not in near and plain in far


def test_classes_without_a_judged_row_stand_last_with_dashes(words_alone):
    scores = (ClassScore("none", 0.0, 0.0, 0.0, 0), ClassScore("good", 0.9, 0.9, 0.9, 9), ClassScore("poor", 0.1, 0.1, 0.1, 9))
    page = build_report(replace(sample_results(), class_scores=scores, confusion=((0, 0, 0), (0, 9, 0), (4, 4, 1))))
    cells = re.findall(r'<th scope="row" class="name">\s*(?:<[^>]*>)*(none|good|poor)', page)
    assert cells[-3:] == ["poor", "good", "none"]
    assert "none–0.00–0" in words(Outline(page))


def test_the_data_are_counted_as_they_are(words_alone):
    results = sample_results()
    data = replace(results.data, used=617, validation=40, median_tokens=128, truncated_share=0.6)
    said = words(Outline(build_report(replace(results, data=data))))
    assert "612 rows, of which 577 were used, and 40 of the validation file, in 12 classes." in said
    assert "The middle text has at least 128 tokens; 60 % of the texts are as long as is read, or longer." in said
    for task in ("regression", "translation"):
        said = words(Outline(build_report(replace(results, task=task, data=replace(data, labels=(("number", 617),))))))
        assert "and 40 of the validation file. The middle text" in said


def test_the_calibration_error_is_explained_where_it_is_told(words_alone):
    results = sample_results()
    without = {name: score for name, score in results.scores.items() if name != "calibration_error"}
    told = "mean distance between the probability given"
    assert told in build_report(results) and told not in build_report(replace(results, scores=without, opponent_scores=without))


def test_suspects_are_told_as_their_task_finds_them(words_alone):
    results = replace(sample_results(), worth_a_look=(RowNote("suspect label", 3, "text", "1", "7"),))
    numbers = words(Outline(build_report(replace(results, task="regression"))))
    assert "Numbers that may be wrong They lie far from what the model" in numbers and "is sure of it" not in numbers
    note = RowNote("suspect label", 3, "text", "a, b", "a", 0.97)
    labels = words(Outline(build_report(replace(results, task="multilabel", worth_a_look=(note,))))).replace("\xa0", " ")
    assert "a, b → predicted a (surest mistake 97 %)" in labels


def test_the_model_without_transfer_is_named_where_it_is_saved(words_alone, tmp_path):
    results = sample_results()
    assert results.gain is not None
    hurts = replace(results, gain=replace(results.gain, value=-0.1, low=-0.2, high=-0.05, verdict=Verdict.HURTS))
    pages = []
    for folder in (tmp_path, tmp_path / "without_transfer"):
        folder.mkdir(exist_ok=True)
        write_report(hurts, tmp_path / "report.html")
        pages.append((tmp_path / "report.html").read_text())
    assert ["that rung is saved too" in page for page in pages] == [False, True]


def test_a_folder_is_quoted_for_the_shell(words_alone):
    assert "headstart predict &#39;my runs; rm -rf *&#39; FILE.csv" in build_report(bare_results(), folder="my runs; rm -rf *")


def test_the_page_says_how_to_run_it_again(outline):
    assert sample_results().command in words(outline)


def test_every_rung_that_was_not_finished_has_its_reason(outline):
    said = words(outline)
    for trial in sample_results().trials:
        assert trial.name in said
        assert trial.reason in said


def test_every_number_of_the_ladder_is_in_its_table(outline):
    said = words(outline)
    assert "contrastive all-MiniLM-L6-v20.902 [0.874, 0.930]+0.041048047.0 s53.5 s2chosen" in said


def test_foreign_text_is_escaped_everywhere(page, crowded):
    for text in (page, crowded):
        assert "<script" not in text
        assert "onerror=alert(1)>" not in text
        assert "49 }}" not in text
    assert "&lt;script&gt;alert(&#39;text&#39;)&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt; {{ 7 * 7 }} &amp; &lt;/pre&gt;" in page
    assert HOSTILE_TEXT not in page


def test_text_from_right_to_left_keeps_to_its_own_place(page):
    assert f'<p dir="auto">{RTL_TEXT}</p>' in page


def test_long_text_is_shortened(page, crowded):
    assert max(len(line) for line in re.findall(r'<p dir="auto">(.*?)</p>', page)) <= 320
    assert "L" * 100 not in crowded and "w" * 400 not in crowded


@mark.parametrize("name", ["page", "bare", "crowded"])
def test_nothing_is_fetched_from_outside(name, request):
    text = request.getfixturevalue(name)
    assert "://" not in text
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", re.sub(r"url\(#a\)", "", text))
    assert re.findall(r'(?:src|srcset|data|action)="', text) == []
    assert all(link.startswith(("#", "data:,")) for link in re.findall(r'href="([^"]*)"', text))


@mark.parametrize("name", ["page", "bare", "crowded"])
def test_the_page_stays_small_and_well_formed(name, request):
    text = request.getfixturevalue(name)
    assert len(text.encode()) < 1_000_000
    outline = Outline(text)
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"][1:] for tag, attributes in outline.tags if tag == "a"}
    assert targets <= set(ids)


def test_tables_can_be_read_by_a_screen_reader(outline):
    headers = [attributes for tag, attributes in outline.tags if tag == "th"]
    assert headers and all(attributes.get("scope") in ("row", "col") for attributes in headers)
    assert all(attributes.get("aria-label") for tag, attributes in outline.tags if tag == "svg")
    assert sum(tag == "caption" for tag, _ in outline.tags) == sum(tag == "table" for tag, _ in outline.tags)


def test_the_same_results_are_the_same_page(page):
    assert build_report(sample_results(), folder="runs/tickets") == page


def test_a_page_takes_under_three_seconds_of_work():
    started = time.process_time()
    build_report(sample_results())
    assert time.process_time() - started < 3


def test_a_winner_without_transfer_stands_alone_and_needs_no_transformers(words_alone):
    results = sample_results()
    tfidf = results.opponent
    assert tfidf is not None and results.gain is not None
    gain = dataclasses.replace(results.gain, value=-0.03, low=-0.06, high=-0.01, verdict=Verdict.HURTS)
    page = build_report(dataclasses.replace(results, winner=tfidf, scores=results.opponent_scores, gain=gain))
    said = words(Outline(page))
    assert "from transformers" not in said
    assert "Transfer hurts: tfidf reaches" in said
    assert '<th scope="col">score</th><th scope="col" class="n">tfidf</th></tr>' in page


def test_many_classes_show_the_weakest_first_and_fold_the_rest(crowded):
    assert "The weakest 12 of 77 classes" in crowded
    assert "<summary>The other 65</summary>" in crowded
    assert crowded.count('<th scope="row" class="name">') == 77 + 40


def test_the_class_that_is_told_worst_stands_first(words_alone):
    scores = tuple(ClassScore(name, f1, f1, f1, 9) for name, f1 in (("fair", 0.5), ("good", 0.9), ("poor", 0.1)))
    page = build_report(replace(sample_results(), class_scores=scores, confusion=((6, 2, 1), (0, 9, 0), (4, 4, 1))))
    cells = re.findall(r'<th scope="row" class="name">\s*(?:<[^>]*>)*(fair|good|poor)', page)
    assert cells[-3:] == ["poor", "fair", "good"]


def test_notes_that_are_left_out_are_counted():
    notes = [RowNote("hard", i, "text", "a", "b") for i in range(MAX_NOTES + 5)]
    [group] = note_groups(notes, "classification")
    assert (len(group.notes), group.left_out) == (MAX_NOTES, 5)
    assert note_groups(notes[:2], "classification")[0].left_out == 0


def test_confused_pairs_are_counted_from_the_table():
    results = bare_results()
    found = [(pair.true, pair.given, pair.cases, pair.share) for pair in confused_pairs(results)]
    assert found == [("1", "0", 4, 0.4), ("0", "1", 3, 0.375)]


def test_the_ladder_is_ranked_by_the_metrics_direction():
    trials = sample_results().trials
    by_score = [trial.score.value for trial in ranked(trials, "macro_f1", "") if trial.score]
    assert by_score == sorted(by_score, reverse=True)
    assert [trial.score.value for trial in ranked(trials, "log_loss", "") if trial.score] == by_score[::-1]
    assert all(trial.score is None for trial in ranked(trials, "macro_f1", "")[-2:])


def test_the_report_is_written_whole(tmp_path):
    path = tmp_path / "run" / "report.html"
    path.parent.mkdir()
    path.write_text("an older report")
    write_report(bare_results(), path)
    assert path.read_text(encoding="utf-8") == build_report(bare_results(), folder=str(path.parent))
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_report_that_cannot_be_put_in_place_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("an older report")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with raises(ResourceError) as error:
        write_report(bare_results(), path)
    assert str(error.value) == f"The report {str(path)!r} cannot be written: no space left on device. Make room or choose another folder."
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "an older report"


def test_a_missing_folder_is_said_in_one_sentence(tmp_path):
    path = tmp_path / "gone" / "report.html"
    with raises(ResourceError) as error:
        write_report(bare_results(), path)
    assert str(error.value) == f"The report {str(path)!r} cannot be written: no such file or directory. Make room or choose another folder."


def test_the_sample_does_not_contradict_itself():
    results: Results = sample_results()
    assert [score.rows for score in results.class_scores] == [sum(row) for row in results.confusion]


def test_a_run_with_holes_still_has_a_page():
    """Every part that may be missing or unmeasured is."""
    nan = float("nan")
    results = sample_results()
    hole = dataclasses.replace(results.scores["macro_f1"], value=nan, low=nan, high=nan)
    trials = tuple(dataclasses.replace(trial, score=hole, expected=nan, seconds=nan) for trial in results.trials)
    page = build_report(
        dataclasses.replace(
            results,
            trials=trials,
            winner=trials[5],
            opponent=trials[0],
            opponent_scores=None,
            class_scores=(),
            confusion=(),
            seeds=(),
            command="",
            label_curve=dataclasses.replace(results.label_curve, needed=100),
            spent=dataclasses.replace(results.spent, seconds={"read": nan}, texts_read=0, texts_from_store=0),
        )
    )
    Outline(page)
    assert not re.search(r"\b(nan|None)\b", page)


def test_a_run_of_no_trials_and_one_class_has_a_page():
    results = bare_results()
    page = build_report(
        dataclasses.replace(results, trials=(), class_scores=results.class_scores[:1], confusion=((8,),), metric="accuracy")
    )
    assert "No judged row was given a wrong class." in words(Outline(page))


def test_the_detour_has_a_section_of_its_own_and_none_where_there_was_none(page, words_alone):
    assert "detour" not in page.lower()
    told = SourceTask("<b>reviews", "reviews.csv", "all-MiniLM-L6-v2", "via/reviews", 480, 3, Estimate(0.861, 0.78, 0.91, 120), "accuracy")
    gain = Gain("macro_f1", -0.1, -0.2, -0.05, 480, 0.95, "probe via reviews", "probe", Verdict.HURTS)
    made = build_report(replace(sample_results(), detour=Detour((told,), "<b>reviews", gain, None, None)))
    outline = Outline(made)
    assert "The detour by a source task" in outline.headings
    assert "<b>reviews" not in made
    text = " ".join("".join(outline.text).split())
    assert "The detour by <b>reviews hurts: probe via reviews stands 0.10 [0.05, 0.20] below probe, the best direct rung" in text
    assert "0.861 [0.780, 0.910]" in text
    assert "via/reviews" in text


def test_judged_rows_are_counted_against_those_they_were_taken_from(words_alone):
    few = replace(sample_results(), label_curve=None)
    file = replace(few, judged_on="the test file")
    assert f"judged rows{few.scores[few.metric].n}of {few.data.used} that were used" in words(Outline(build_report(few)))
    assert f"judged rows{few.scores[few.metric].n}the test file" in words(Outline(build_report(file)))


def test_rungs_that_were_not_run_are_no_split_of_their_own(words_alone):
    one = [replace(trial, split=FOLDS if trial.score is not None else "not run") for trial in sample_results().trials]
    assert any(trial.score is None for trial in one)
    page = build_report(replace(sample_results(), trials=tuple(one)))
    assert '<th scope="col">split</th>' not in page and "not run" not in page


def test_answers_stand_beside_the_truth_escaped(words_alone):
    shown = (Shown("what <b>is</b> it", "a <i>cat</i>", "a dog", 0.25), Shown("who", "Ada", "Ada"), Shown("why", "", "because"))
    page = build_report(replace(sample_results(), shown=shown))
    assert "<i>cat" not in page and "<b>is" not in page
    said = words(Outline(page))
    assert "what <b>is</b> it 0.250 true a <i>cat</i> given a dog" in said
    assert "who right true Ada given Ada" in said
    assert "why other true (no answer) given because" in said


def test_a_ranking_without_single_scores_has_no_section_of_them(words_alone):
    ranking = sample_ranking()
    none = replace(ranking, sources=tuple(replace(source, scores={}) for source in ranking.sources))
    with_scores, without = Outline(build_page(ranking)), Outline(build_page(none))
    assert with_scores.headings == ["Ranking", "Left out", "Which layer knows most", "Map of the sources", "Single scores", "Run it again"]
    assert [heading for heading in with_scores.headings if heading != "Single scores"] == without.headings
    assert "headstart rank tickets.csv" in words(without) and "Single scores" not in words(without)


def test_a_ranking_of_data_sets_tells_their_measures_and_draws_them_around_the_target(words_alone):
    ranking = sample_data_ranking()
    page = Outline(build_page(ranking))
    assert page.headings == ["Data sets as source tasks", "Left out", "Map of the data sets", "Run it again"]
    said = words(page)
    assert "Of 6 data sets clinc150 lies nearest. Nearest first by mmd, as all-MiniLM-L6-v2 reads 2,000 rows of the target" in said
    assert "1 clinc150300200.9800.0040.500" in said and "3 <b>bold</b> & $x$4,8002000.7800.0160.500" in said
    assert "6 marks307,2004710.4800.128\u2013" in said
    one = replace(ranking, sets=ranking.sets[:1], left_out=())
    alone = Outline(build_page(one))
    assert alone.headings == ["Data sets as source tasks", "Run it again"]  # two points make no map
    assert "clinc150 is the only data set that was compared." in words(alone)
