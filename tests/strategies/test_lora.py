"""Low-rank adapters above the cut: where they stand, that they alone learn, that merged and stored change nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from headstart.backbone.backbone import Backbone
from headstart.backbone.cut import Trunk
from headstart.backbone.reading import Reader
from headstart.settings import Precision, Settings
from headstart.strategies import schedule, training
from headstart.strategies.adapter import add_adapters, linear_layers, merge_adapters
from headstart.strategies.base import LinearHead, Rows
from headstart.strategies.gradual import fit as fit_gradually
from headstart.strategies.gradual import stages_of
from headstart.strategies.ladder import Job, get_strategy
from headstart.strategies.lora import RANK, fit_adapters
from headstart.strategies.schedule import schedule_of
from headstart.strategies.word_training import tune_words
from tiny import ARCHITECTURES, WORDS

Tiny = Callable[..., Backbone]


def job_on(backbone: Backbone, cut: int = 2, task: str | None = None) -> Job:
    """24 rows of 3 classes by their words, or 6 sentences of four words."""
    rng = np.random.default_rng(0)
    y = np.arange(24) % 3
    settings = Settings(epochs=2, batch_size=8, precision=Precision.FLOAT32, task=task)
    if task == "ner":
        texts = tuple(" ".join(rng.choice(WORDS[20 * k : 20 * k + 20], 1)[0] for k in y[4 * i : 4 * i + 4]) for i in range(6))
        rows = Rows(texts, y, 3, np.full(6, 4), np.arange(6) % 2)
    else:
        rows = Rows(tuple(" ".join(rng.choice(WORDS[20 * k : 20 * k + 20], 6)) for k in y), y, 3)
    return Job(rows, np.arange(len(rows)), [], settings, seed=0, reader=Reader(backbone, None, 4096), cut=cut)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_adapters_stand_on_every_linear_layer_above_the_cut_and_merged_give_the_same(architecture: str, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    module = copy.deepcopy(backbone.module)
    names = linear_layers(module, 2)
    # Four blocks alike, half of them above the cut; no layer outside the blocks has one.
    assert len(names) == len(linear_layers(module, 0)) / 2 and len(names) >= 2 * 4
    only = add_adapters(module, 2, 3, 6, seed=1)
    assert len(only) == 2 * len(names)
    trunk = Trunk(module, 2, backbone.above, stored=False, only=only)
    assert {name for name, p in trunk.module.named_parameters() if p.requires_grad} == only
    ids = torch.arange(3, 13)[None]
    wanted = backbone.module(input_ids=ids).last_hidden_state
    assert torch.allclose(module(input_ids=ids).last_hidden_state, wanted, atol=1e-6)  # B is zero at first
    generator = torch.Generator().manual_seed(2)
    for name, parameter in module.named_parameters():
        if name in only:
            parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    before = module(input_ids=ids).last_hidden_state
    assert (before - wanted).abs().max() > 1e-2
    adapter = merge_adapters(module, 3, 6)
    assert torch.allclose(module(input_ids=ids).last_hidden_state, before, atol=1e-5)
    assert set(module.state_dict()) == set(backbone.module.state_dict())
    # By hand: W + alpha / r * B A.
    layer = adapter.layers[0]
    change = 2.0 * adapter.weights[f"{layer}.lora_B.weight"] @ adapter.weights[f"{layer}.lora_A.weight"]
    old, new = (m.get_submodule(layer).weight for m in (backbone.module, module))
    assert torch.allclose(new, old + (change.T if adapter.transposed else change), atol=1e-5)


@pytest.mark.parametrize("architecture", ["mpnet", "gpt2", "modernbert"])
def test_adapters_learn_from_stored_activations_as_from_frozen_blocks_run_each_time(architecture: str, tiny_backbone: Tiny) -> None:
    job = job_on(tiny_backbone(architecture))
    stored, run = (fit_adapters(job, rank=4, alpha=8, rate=5.0, stored=stored) for stored in (True, False))
    losses = [[point.train_loss for point in model.curve] for model in (stored, run)]
    assert len(losses[0]) == 6
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-5)
    assert losses[0][-1] < losses[0][0]
    np.testing.assert_allclose(stored.predict_logits(job.rows.texts), run.predict_logits(job.rows.texts), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("task", [None, "ner"])
def test_the_base_stays_as_it_is_and_the_change_has_the_rank(
    task: str | None, tiny_backbone: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FEWEST_WORD_STEPS", 6)
    backbone = tiny_backbone("bert")
    before = {name: tensor.clone() for name, tensor in backbone.module.state_dict().items()}
    job = job_on(backbone, task=task)
    fitted = get_strategy("lora", task).fit(job)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.module.state_dict().items())
    assert fitted.adapter is not None and fitted.module is not None and fitted.adapter.rank == RANK
    changed = {name for name, tensor in fitted.module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"{name}.weight" for name in fitted.adapter.layers} == {f"{n}.weight" for n in linear_layers(backbone.module, 2)}
    name = "encoder.layer.3.output.dense.weight"
    difference = (fitted.module.state_dict()[name] - before[name]).double()
    assert int((torch.linalg.svdvals(difference) > 1e-5).sum()) <= RANK < min(difference.shape)
    assert fitted.predict_logits(job.rows.texts).shape == (24, 3)


@pytest.mark.parametrize(
    ("blocks", "cut", "wanted"), [(6, 2, (3, 2)), (6, 0, (3, 2, 1, 0)), (6, 5, (5,)), (12, 4, (6, 5, 4)), (4, 1, (2, 1))]
)
def test_gradual_unfreezing_goes_down_a_block_at_a_time_to_the_cut(blocks: int, cut: int, wanted: tuple[int, ...]) -> None:
    assert stages_of(blocks, cut) == wanted


def test_gradual_unfreezing_trains_each_stage_from_where_the_last_one_ended(tiny_backbone: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.strategies import gradual

    seen = []

    def watched(*args, **named):
        module = named["module"]
        begun = None if module is None else copy.deepcopy(module.state_dict())
        model = training.tune(*args, **named)
        seen.append((named["cut"], begun, copy.deepcopy(model.module.state_dict()), model.curve[-1].step))
        return model

    monkeypatch.setattr(gradual, "tune", watched)
    backbone = tiny_backbone("bert")
    model = fit_gradually(job_on(backbone, cut=1))
    source = backbone.module.state_dict()
    (high, none, after_high, steps), (low, begun, after_low, more) = seen
    assert (high, low, none, steps, more) == (2, 1, None, 3, 3)
    assert all(torch.equal(begun[name], tensor) for name, tensor in after_high.items())
    name = "encoder.layer.1.output.dense.weight"
    assert torch.equal(after_high[name], source[name]) and not torch.equal(after_low[name], source[name])
    assert torch.equal(after_low["encoder.layer.0.output.dense.weight"], source["encoder.layer.0.output.dense.weight"])
    assert model.cut == 1 and [point.step for point in model.curve] == [1, 2, 3, 4, 5, 6]
    rows = replace(job_on(backbone, cut=1)).rows
    assert np.isfinite(model.predict_logits(rows.texts)).all()


def test_gradual_unfreezing_on_words_is_training_above_one_cut_after_the_other(
    tiny_backbone: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FEWEST_WORD_STEPS", 9)
    backbone = tiny_backbone("bert")
    job = job_on(backbone, cut=1, task="ner")
    model = get_strategy("gradual", "ner").fit(job)
    assert (model.cut, [point.step for point in model.curve]) == (1, list(range(1, 10)))
    # By hand: three steps above cut 3, three above cut 2 and three above cut 1, each from what the one before left.
    head, module = LinearHead(np.zeros((3, backbone.width)), np.zeros(3)), None
    for cut in (3, 2, 1):
        stage = tune_words(job.source, job.rows, cut=cut, head=head, schedule=schedule_of(job, 3), module=module)
        head, module = stage.head, stage.module
    np.testing.assert_allclose(model.predict_logits(job.rows.texts), stage.predict_logits(job.rows.texts), atol=1e-6)
    source, learnt = backbone.module.state_dict(), model.module.state_dict()
    changed = {int(name.split(".")[2]) for name, tensor in learnt.items() if ".layer." in name and not torch.equal(tensor, source[name])}
    assert changed == {1, 2, 3}
