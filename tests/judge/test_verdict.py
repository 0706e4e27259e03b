from __future__ import annotations

from dataclasses import replace

import pytest

from headstart.judge.verdict import collapsed, decided_sentence, detour_sentence, verdict_sentence
from headstart.records import DataSummary, Detour, Estimate, Gain, Results, Spent, TrialRecord, TrialStatus, Verdict


def trial(name, strategy, source=None, transfers=True, value=0.8, status=TrialStatus.DONE):
    score = None if value is None else Estimate(value, value - 0.1, value + 0.1, 100)
    return TrialRecord(name, strategy, source, None, transfers, status, "5 folds of the training rows", score, None, 1.0, 1.0)


WINNER = trial("partial from all-MiniLM-L6-v2", "partial", "all-MiniLM-L6-v2")
TFIDF = trial("tfidf", "tfidf", transfers=False)


def results(gain, winner=WINNER, metric="macro_f1", judged_on="one stratified test split", beside=()):
    estimate = Estimate(0.914, 0.8801, 0.94, 1230)
    return Results(
        title="tickets",
        created="2026-01-01T00:00:00Z",
        data=DataSummary("tickets", 6150, 6150, 1230, (("a", 3000), ("b", 3150)), 10.0, 0.0),
        findings=(),
        metric=metric,
        seeds=(0,),
        judged_on=judged_on,
        trials=(winner, TFIDF, *beside),
        winner=winner,
        opponent=TFIDF,
        scores={"accuracy": estimate, "macro_f1": estimate, "log_loss": estimate, "calibration_error": estimate},
        opponent_scores=None,
        gain=gain,
        class_scores=(),
        confusion=(),
        layers=(),
        label_curve=None,
        worth_a_look=(),
        spent=Spent({}, 0, 0, 0, 0),
        command="headstart fit",
    )


def gain(value, low, high, verdict, metric="macro_f1", winner=WINNER.name, opponent="tfidf"):
    return Gain(metric, value, low, high, 1230, 0.95, winner, opponent, verdict)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            results(gain(0.12, 0.08, 0.16, Verdict.HELPS)),
            "Transfer helps: partial from all-MiniLM-L6-v2 reaches 0.91 [0.88, 0.94] macro-F1, 0.12 [0.08, 0.16] above tfidf, "
            "the best rung without transfer (1,230 rows, one stratified test split, 95 % intervals).",
        ),
        (
            results(gain(-0.05, -0.08, -0.02, Verdict.HURTS, "accuracy"), metric="accuracy"),
            "Transfer hurts: partial from all-MiniLM-L6-v2 reaches 0.91 [0.88, 0.94] accuracy, 0.05 [0.02, 0.08] below tfidf, "
            "the best rung without transfer; the training rows did not show it "
            "(1,230 rows, one stratified test split, 95 % intervals).",
        ),
        (
            results(gain(0.012, -0.02, 0.04, Verdict.UNCLEAR), judged_on="5 outer folds"),
            "Transfer makes no clear difference: partial from all-MiniLM-L6-v2 reaches 0.91 [0.88, 0.94] macro-F1, "
            "0.01 [-0.02, 0.04] above tfidf, the best rung without transfer (1,230 rows, 5 outer folds, 95 % intervals).",
        ),
        (
            results(gain(0.2, 0.1, 0.3, Verdict.HELPS, "log_loss"), metric="log_loss"),
            "Transfer helps: partial from all-MiniLM-L6-v2 reaches 0.91 [0.88, 0.94] log-loss, 0.20 [0.10, 0.30] better than tfidf, "
            "the best rung without transfer (1,230 rows, one stratified test split, 95 % intervals).",
        ),
        (  # a lower bound just above 0 must not read as 0
            results(gain(0.01, 0.001, 0.019, Verdict.HELPS)),
            "Transfer helps: partial from all-MiniLM-L6-v2 reaches 0.91 [0.88, 0.94] macro-F1, 0.010 [0.001, 0.019] above tfidf, "
            "the best rung without transfer (1,230 rows, one stratified test split, 95 % intervals).",
        ),
        (
            results(None),
            "Transfer was not compared: partial from all-MiniLM-L6-v2 reaches 0.91 [0.88, 0.94] macro-F1, and no rung without transfer "
            "was judged beside it (1,230 rows, one stratified test split, 95 % interval).",
        ),
        (
            results(gain(0.0, 0.0, 0.0, Verdict.NOT_COMPARED)),
            "Transfer was not compared: partial from all-MiniLM-L6-v2 reaches 0.91 [0.88, 0.94] macro-F1, and no rung without transfer "
            "was judged beside it (1,230 rows, one stratified test split, 95 % interval).",
        ),
        (
            results(None, winner=TFIDF),
            "Transfer was not tried: tfidf, a rung without transfer, reaches 0.91 [0.88, 0.94] macro-F1 "
            "(1,230 rows, one stratified test split, 95 % interval).",
        ),
        (
            results(None, winner=TFIDF, beside=(WINNER,)),
            "Transfer did not win: tfidf, a rung without transfer, reaches 0.91 [0.88, 0.94] macro-F1 "
            "(1,230 rows, one stratified test split, 95 % interval).",
        ),
        (
            results(gain(-0.03, -0.05, -0.01, Verdict.HURTS, winner="probe from M"), winner=TFIDF),
            "Transfer hurts: tfidf reaches 0.91 [0.88, 0.94] macro-F1, and probe from M, the best rung with transfer, stands "
            "0.03 [0.01, 0.05] below it (1,230 rows, one stratified test split, 95 % intervals).",
        ),
    ],
)
def test_the_verdict_is_one_sentence_with_its_circumstances(given, sentence):
    assert verdict_sentence(given) == sentence


def test_the_rung_without_transfer_is_said_to_be_saved_only_where_it_is():
    hurts, helps = results(gain(-0.05, -0.08, -0.02, Verdict.HURTS)), results(gain(0.12, 0.08, 0.16, Verdict.HELPS))
    said = "the training rows did not show it, so that rung is saved too, in without_transfer/ (1,230 rows"
    assert said in verdict_sentence(hurts, saved=True)
    assert [("saved" in verdict_sentence(given)) for given in (hurts, helps)] == [False, False]


def test_parts_that_decided_otherwise_are_told():
    given = results(None)
    split, folds = (WINNER.name, "probe"), ("probe", "soup", "partial", "probe", "partial")
    assert decided_sentence(given) == decided_sentence(replace(given, decided=(WINNER.name,) * 5)) == ""
    assert decided_sentence(replace(given, decided=split[1:])) == "As decided anew without the judged rows: probe."
    assert decided_sentence(replace(given, decided=folds)) == "As decided anew in each fold: probe 2, partial 2, soup 1."


BY = "probe from M via sst2"


@pytest.mark.parametrize(
    ("detour", "sentence"),
    [
        (None, ""),
        (
            Detour((), "", None, None, None),
            "The detour was not compared: no rung by it and no direct one could be judged side by side.",
        ),
        (
            Detour((), "sst2", gain(-0.13, -0.2, -0.06, Verdict.HURTS, winner=BY, opponent="probe from M"), None, None),
            "The detour by sst2 hurts: probe from M via sst2 stands 0.13 [0.06, 0.20] below probe from M, the best direct rung "
            "(1,230 rows, one stratified test split, 95 % interval).",
        ),
        (
            Detour(
                (),
                "sst2",
                gain(0.1, 0.04, 0.16, Verdict.HELPS, winner=BY, opponent="probe from M"),
                Estimate(0.86, 0.78, 0.91, 120),
                Estimate(0.5, 0.41, 0.59, 120),
            ),
            "The detour by sst2 helps: probe from M via sst2 stands 0.10 [0.04, 0.16] above probe from M, the best direct rung "
            "(1,230 rows, one stratified test split, 95 % interval). On the way to the saved model the source task's own score went from "
            "0.86 [0.78, 0.91] to 0.50 [0.41, 0.59] macro-F1 (120 rows set aside).",
        ),
        (
            Detour((), "sst2", gain(0.0, -0.05, 0.05, Verdict.UNCLEAR, winner=BY, opponent="probe from M"), None, None),
            "The detour by sst2 makes no clear difference: probe from M via sst2 stands 0.00 [-0.05, 0.05] above probe from M, the best "
            "direct rung (1,230 rows, one stratified test split, 95 % interval).",
        ),
    ],
)
def test_the_detour_is_told_with_its_circumstances(detour, sentence):
    assert detour_sentence(replace(results(None), detour=detour)) == sentence


def test_weights_that_rest_on_few_rows_are_told():
    assert collapsed(49.6, 1000) == "The scores rest on few rows: together they weigh as much as 50 equal ones of 1,000."
    assert collapsed(500.0, 1000) == "" and collapsed(0.0, 1000) == ""
