"""What the heads on frozen features and the rung without transfer are worth, against scikit-learn's, and which layers to read.

    python benchmarks/heads.py            all draws, a quarter of an hour on two cores; features are kept in benchmarks/work/features
    python benchmarks/heads.py --quick    two sets, one seed

Every side learns from the same rows and is scored on the same test rows (at most 1,000, drawn once). MiniLM, mean pooling.

- `sklearn`: LogisticRegression(C=1) on length-normalised features of the last layer, the usual recipe
- `last`, `usual`, `probe`: headstart's head on the last layer, on the mean over the upper half of the blocks, and on what folds choose
- `tfidf`: headstart's rung without transfer; `svc`, `logistic`: LinearSVC(C=1) and LogisticRegression(C=10) on words in runs of 1 and 2
  and characters in runs of 2 to 5
- `choice`: seconds of choosing the penalty on five folds and fitting; `grid`: the same choice by GridSearchCV over LogisticRegression
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from common import RESULTS, WORK, describe_machine
from data import Labelled, Task, few, minilm

EIGHT = ("trec", "tweeteval_emotion", "sst5", "subj", "mr", "acl_arc", "csabstruct", "tweeteval_hate", "banking77")
MORE = EIGHT[:-1]
TEST_ROWS = 1000


def features_of(texts: tuple[str, ...]) -> np.ndarray:
    """Mean-pooled features of every layer, (n, L+1, d), read once and kept."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    path = WORK / "features" / (hashlib.sha256("\0".join(texts).encode()).hexdigest()[:24] + ".npy")
    if path.exists():
        return np.load(path)
    tokenizer, model = AutoTokenizer.from_pretrained(minilm()), AutoModel.from_pretrained(minilm()).eval()
    ids = [tokenizer(text, truncation=True, max_length=128)["input_ids"] for text in texts]
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    found = np.zeros((len(ids), model.config.num_hidden_layers + 1, model.config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        for at in range(0, len(order), 64):
            batch = order[at : at + 64]
            encoded = tokenizer.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="pt")
            mask = encoded["attention_mask"].float()[:, :, None]
            layers = model(**encoded, output_hidden_states=True).hidden_states
            found[batch] = torch.stack([(layer * mask).sum(1) / mask.sum(1) for layer in layers], dim=1).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, found)
    return found


def some_test_rows(task: Task) -> Labelled:
    """At most `TEST_ROWS` of the test rows, those with labels that training rows bear."""
    known = set(task.labels)
    usable = [i for i, label in enumerate(task.test.labels) if label in known]
    return task.test.take(np.sort(np.random.default_rng(99).permutation(usable)[:TEST_ROWS]))


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What the work gives, its seconds, and its processor seconds, which other work on the machine disturbs less."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, round(time.perf_counter() - wall, 3), round(time.process_time() - processor, 3)


def one_draw(name: str, per_class: int, seed: int) -> dict[str, Any]:
    """Accuracy of every side on one draw, and what the sides cost."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_union
    from sklearn.svm import LinearSVC

    from headstart.strategies.base import Rows
    from headstart.strategies.heads import choose_head, class_weights, uneven
    from headstart.strategies.probe import choose_probe, mean_of_layers, usual_layers
    from headstart.strategies.tfidf import fit_tfidf

    task = few(name, per_class, seed)
    test = some_test_rows(task)
    number = {label: k for k, label in enumerate(task.labels)}
    y, truth = np.array([number[label] for label in task.train.labels]), np.array([number[label] for label in test.labels])
    c = len(number)
    x, z = features_of(task.train.texts), features_of(test.texts)
    folds = list(StratifiedKFold(min(5, int(np.bincount(y).min())), shuffle=True, random_state=seed).split(y, y))
    weights = class_weights(y, c) if uneven(y) else None
    last = x.shape[1] - 1

    def score(predicted: np.ndarray) -> float:
        return float((predicted == truth).mean())

    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    scores: dict[str, float] = {}
    scores["sklearn"] = score(LogisticRegression(C=1, max_iter=2000).fit(unit(x[:, last]), y).predict(unit(z[:, last])))
    choice, *choice_seconds = timed(lambda: choose_head(x[:, last], y, c, folds, weights))
    scores["last"] = score(choice.head.logits(z[:, last]).argmax(axis=1))
    usual = usual_layers(last)
    scores["usual"] = score(
        choose_head(mean_of_layers(x, usual), y, c, folds, weights).head.logits(mean_of_layers(z, usual)).argmax(axis=1)
    )
    probe, *probe_seconds = timed(lambda: choose_probe(x, y, c, folds, weights))
    scores["probe"] = score(probe.logits(z).argmax(axis=1))
    (model, _), *tfidf_seconds = timed(lambda: fit_tfidf(Rows(task.train.texts, y, c), folds, weights, seed))
    scores["tfidf"] = score(model.predict_logits(test.texts).argmax(axis=1))
    reader = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
    words, words_test = reader.fit_transform(task.train.texts), reader.transform(test.texts)
    scores["svc"] = score(LinearSVC(C=1).fit(words, y).predict(words_test))
    if c < 20:  # scikit-learn's takes minutes beyond that
        scores["logistic"] = score(LogisticRegression(C=10, max_iter=300).fit(words, y).predict(words_test))
    seconds = {"choice": choice_seconds, "probe": probe_seconds, "tfidf": tfidf_seconds}
    if seed == 0:
        grid = GridSearchCV(
            LogisticRegression(max_iter=2000), {"C": [1, 3, 10, 30, 100]}, cv=folds, scoring="neg_log_loss", error_score="raise"
        )
        _, *seconds["grid"] = timed(lambda: grid.fit(unit(x[:, last]), y))
    return {
        "data": name,
        "per_class": per_class,
        "seed": seed,
        "rows": len(y),
        "classes": c,
        "layers": list(probe.layers),
        "strength": probe.strength,
        "accuracy": {side: round(value, 4) for side, value in scores.items()},
        "seconds": seconds,
    }


def summary(draws: list[dict[str, Any]]) -> dict[str, Any]:
    """For each number of rows a class: every side's mean accuracy, and its gain over `sklearn` or `svc` by set, in points."""
    found = {}
    for per_class in sorted({draw["per_class"] for draw in draws}):
        these = [draw for draw in draws if draw["per_class"] == per_class]
        found[f"{per_class} a class"] = {
            "probe over sklearn": _gains(these, "probe", "sklearn"),
            "usual over sklearn": _gains(these, "usual", "sklearn"),
            "last over sklearn": _gains(these, "last", "sklearn"),
            "tfidf over svc": _gains(these, "tfidf", "svc"),
            "tfidf over logistic": _gains(these, "tfidf", "logistic"),
        }
    return found


def _gains(draws: list[dict[str, Any]], side: str, peer: str) -> dict[str, float]:
    """Points of accuracy by set, mean over seeds, and their mean over sets."""
    by_set: dict[str, list[float]] = {}
    for draw in draws:
        if peer in draw["accuracy"]:
            by_set.setdefault(draw["data"], []).append(100 * (draw["accuracy"][side] - draw["accuracy"][peer]))
    means = {name: round(statistics.mean(values), 2) for name, values in by_set.items()}
    return {"mean": round(statistics.mean(means.values()), 2), **means} if means else {}


def main() -> None:
    """Run every draw and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two sets, one seed; results go to benchmarks/work")
    given = parser.parse_args()
    plan = [(name, 8) for name in EIGHT] + [(name, 64) for name in MORE] + [("banking77", 26)]
    if given.quick:
        plan = [("trec", 8), ("mr", 8)]
    draws = []
    for name, per_class in plan:
        for seed in range(1 if given.quick or (name, per_class) == ("banking77", 26) else 3):
            draws.append(one_draw(name, per_class, seed))
            print(name, per_class, seed, draws[-1]["accuracy"], flush=True)
    path: Path = (WORK if given.quick else RESULTS) / "heads.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": describe_machine(), "summary": summary(draws), "draws": draws}, indent=1) + "\n")
    print(json.dumps(summary(draws), indent=1))


if __name__ == "__main__":
    main()
