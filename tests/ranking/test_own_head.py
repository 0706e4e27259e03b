"""What a source's own classification head says, against transformers' own pipeline."""

import json

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification, pipeline

from headstart.backbone.backbone import load_backbone
from headstart.backbone.reading import Reader
from headstart.ranking.own_head import said_by_own_head
from headstart.ranking.rank import rank
from headstart.settings import make_settings
from headstart.sources.resolve import resolve_source
from small import sentences, write_csv
from tiny import WORDS, make_tiny

TEXTS = tuple(" ".join(WORDS[i : i + 1 + i % 4]) for i in range(9))


def make_classifier(folder, architecture, **config):
    make_tiny(folder, architecture, blocks=2)
    model = AutoModelForSequenceClassification.from_pretrained(folder, **{"num_labels": 3, **config})
    model.config.pad_token_id = model.config.pad_token_id or 0
    model.save_pretrained(folder)
    return folder


def said(folder):
    backbone = load_backbone(resolve_source(str(folder)), 64)
    return said_by_own_head(backbone, Reader(backbone, None, 4096).pooled(TEXTS), TEXTS, 64)


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "gpt2"])
def test_a_stock_head_says_what_the_pipeline_says(architecture, tmp_path):
    folder = make_classifier(tmp_path, architecture)
    tell = pipeline("text-classification", str(folder), top_k=None)
    tell.tokenizer.pad_token = tell.tokenizer.pad_token or tell.tokenizer.eos_token
    wanted = [{one["label"]: one["score"] for one in given} for given in tell(list(TEXTS))]
    np.testing.assert_allclose(said(folder), [[row[f"LABEL_{k}"] for k in range(3)] for row in wanted], atol=1e-5)


def test_what_is_no_head_of_classes_says_nothing(tmp_path):
    assert said(make_tiny(tmp_path / "bare", "bert", blocks=2)) is None
    assert said(make_classifier(tmp_path / "number", "bert", num_labels=1)) is None
    assert said(make_classifier(tmp_path / "several", "bert", problem_type="multi_label_classification")) is None
    named = make_tiny(tmp_path / "named", "bert", blocks=2)  # it says that it has a head, and has none
    config = json.loads((named / "config.json").read_text())
    (named / "config.json").write_text(json.dumps({**config, "architectures": ["BertForSequenceClassification"]}))
    assert said(named) is None


def test_a_stock_classifier_is_ranked_with_its_own_head_too(tmp_path):
    data = write_csv(tmp_path / "rows.csv", sentences(60, 3))
    asked = {"source": [str(make_classifier(tmp_path / "stock", "bert"))], "store": str(tmp_path / "store"), "resamples": 100}
    [ranked] = rank(data, make_settings(asked)).sources
    assert ranked.scores["leep"] < 0 and ranked.scores["nce"] <= 0
