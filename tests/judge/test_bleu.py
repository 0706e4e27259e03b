"""BLEU and chrF++ from sums over rows, beside sacreBLEU's own of the whole corpus."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from headstart.judge import bleu, measures
from headstart.tasks import translation_judge

WORD = st.sampled_from(["der", "Hund", "läuft", "(a)", "!", "über", "3.5", "x-y", '"ja"', "nein,", "€"])
TEXT = st.lists(WORD, max_size=8).map(" ".join)
CORPUS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(CORPUS)
def test_the_sums_give_sacrebleus_scores(pairs):
    said, true = (list(side) for side in zip(*pairs, strict=True))
    assert float(bleu.bleu_of(bleu.bleu_sums(said, true).sum(axis=0))) == pytest.approx(BLEU().corpus_score(said, [true]).score, abs=1e-9)
    wanted = CHRF(word_order=2).corpus_score(said, [true]).score
    assert float(bleu.chrf_of(bleu.chrf_sums(said, true).sum(axis=0))) == pytest.approx(wanted, abs=1e-9)


def test_many_totals_are_scored_at_once():
    said, true = ["ein Hund läuft", "die Katze", "nein"], ["ein Hund läuft schnell weg", "die Katze schläft", "ja"]
    for sums_of, value in ((bleu.bleu_sums, bleu.bleu_of), (bleu.chrf_sums, bleu.chrf_of)):
        sums = sums_of(said, true)
        totals = np.stack([sums[:2].sum(axis=0), sums.sum(axis=0), sums[2]], axis=1)
        assert value(totals).tolist() == [pytest.approx(float(value(totals[:, j]))) for j in range(3)]


@pytest.mark.parametrize(
    ("texts", "how"),
    [
        (["Ein Hund."], "13a"),
        (["一只狗在草地上跑。", "两个人"], "zh"),
        (["犬が草の上を走っている。"], "char"),
        (["หมากำลังวิ่ง"], "char"),
        ([], "13a"),
        (["Das Wort 犬 ist japanisch und bedeutet Hund"], "13a"),
    ],
)
def test_scripts_without_spaces_are_parted_as_sacrebleu_parts_them(texts, how):
    assert bleu.tokenization(texts) == how
    assert f"tok:{how}" in bleu.signature(texts) and "smooth:exp" in bleu.signature(texts)
    if texts:
        said = [text[: len(text) // 2 + 1] for text in texts]
        wanted = BLEU(tokenize=how).corpus_score(said, [texts]).score
        assert float(bleu.bleu_of(bleu.bleu_sums(said, texts).sum(axis=0))) == pytest.approx(wanted, abs=1e-9)


def test_the_interval_in_points_is_that_of_resampled_rows():
    rng = np.random.default_rng(0)
    words = ["a", "b", "c", "d", "e"]
    true = [" ".join(rng.choice(words, 12)) for _ in range(80)]
    said = [" ".join(word if rng.random() < 0.8 else "z" for word in text.split()) for text in true]
    sums = bleu.bleu_sums(said, true)
    found = measures.estimate(translation_judge.BLEU, sums, groups=None, confidence=0.95, resamples=2000, seed=1)
    assert found.value == pytest.approx(BLEU().corpus_score(said, [true]).score)
    draws = [float(bleu.bleu_of(sums[rng.integers(80, size=80)].sum(axis=0))) for _ in range(1000)]
    assert (found.high - found.low) / 2 == pytest.approx(1.99 * np.std(draws), rel=0.12)
    assert 0 <= found.low < found.value < found.high <= 100


def test_a_gain_in_points_is_told_from_none():
    rng = np.random.default_rng(0)
    true = [" ".join(rng.choice(["a", "b", "c", "d"], 10)) for _ in range(60)]
    good, bad = ([" ".join(w if rng.random() < p else "z" for w in text.split()) for text in true] for p in (0.9, 0.6))
    sums = [bleu.bleu_sums(said, true) for said in (good, bad)]
    how = {"metric": "bleu", "winner": "w", "opponent": "o", "groups": None, "folds": None, "confidence": 0.95}
    how["metric"] = translation_judge.Metric.BLEU
    gain = measures.paired_gain(translation_judge.BLEU, *sums, **how, resamples=500, seed=0)
    assert gain.low > 0 and gain.value == pytest.approx(BLEU().corpus_score(good, [true]).score - BLEU().corpus_score(bad, [true]).score)
    none = measures.paired_gain(translation_judge.BLEU, sums[0], sums[0], **how, resamples=500, seed=0)
    assert none.value == 0 and none.low < 0 < none.high
