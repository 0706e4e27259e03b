"""Training from stored activations is the same training as running the frozen blocks each time, on every architecture at every cut."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from headstart.backbone.backbone import Backbone, find_blocks
from headstart.backbone.cut import Trunk, returned_items, watching
from headstart.backbone.reading import Reader
from headstart.settings import Precision
from headstart.strategies import training
from headstart.strategies.base import LinearHead, Rows
from headstart.strategies.losses import Loss
from headstart.strategies.model import TransferModel, pooled_through
from headstart.strategies.schedule import Schedule
from headstart.strategies.training import TunedModel, tune
from tiny import ARCHITECTURES, HIDDEN, WORDS, count_hooks

Tiny = Callable[..., Backbone]
BLOCKS = 4
PLAN = Schedule(
    steps=4,
    batch_size=8,
    learning_rate=1e-3,
    head_rate=5e-3,
    layer_decay=0.9,
    warmup=0.0,
    weight_decay=0.01,
    precision=Precision.FLOAT32,
    seed=3,
)


def some_rows(n: int = 16, classes: int = 3) -> Rows:
    """Texts of many lengths, one of them empty."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, length)) for length in rng.integers(1, 30, n - 1)]
    return Rows(("", *texts), np.arange(n) % classes, classes)


def some_head(classes: int = 3) -> LinearHead:
    rng = np.random.default_rng(1)
    return LinearHead(0.3 * rng.normal(size=(classes, HIDDEN)), 0.1 * rng.normal(size=classes))


@contextmanager
def noted_losses() -> Iterator[list[float]]:
    """The exact loss of every batch that is trained on."""
    losses: list[float] = []
    forward = TunedModel.forward

    # The arguments by name: the trainer reads them off.
    def noting(self: TunedModel, entering: torch.Tensor, mask: torch.Tensor | None, labels: torch.Tensor) -> Any:
        out = forward(self, entering, mask, labels)
        losses.append(float(out["loss"].detach()))
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.TunedModel, "forward", noting)
        yield losses


def tuned(backbone: Backbone, cut: int, *, stored: bool, loss: Loss = Loss.CROSS_ENTROPY) -> tuple[TransferModel, list[float]]:
    with noted_losses() as losses:
        model = tune(Reader(backbone, None, 4096), some_rows(), cut=cut, head=some_head(), schedule=PLAN, loss=loss, stored=stored)
    assert len(losses) == PLAN.steps
    return model, losses


def whole_model_logits(model: TransferModel, texts: tuple[str, ...]) -> np.ndarray:
    """Logits by the whole tuned module, one text at a time, without cut, store or batches."""
    assert model.module is not None
    backbone, rows = model.reader.backbone, []
    for text in texts:
        ids = backbone.tokenizer(text, truncation=True, max_length=backbone.max_length)["input_ids"] or [backbone.tokenizer.pad_token_id]
        with torch.inference_mode():
            out = model.module(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)).long(), output_hidden_states=True)
        states = [*out.hidden_states[:-1], out.last_hidden_state]
        hidden = torch.stack([states[layer][0] for layer in model.layers]).mean(dim=0)
        rows.append({"mean": hidden.mean(dim=0), "last": hidden[-1]}[backbone.pooling.value].double().numpy())
    return np.stack(rows) @ model.head.weight.T + model.head.bias


def every_cut(*cuts: int) -> list[Any]:
    """Every architecture at these cuts; the quick tier takes every architecture at cut 2 and one of them at every cut."""
    return [
        pytest.param(architecture, cut, marks=() if cut == 2 or architecture == "mpnet" else pytest.mark.slow)
        for architecture in ARCHITECTURES
        for cut in cuts
    ]


@pytest.mark.parametrize(("architecture", "cut"), every_cut(1, 2, 3))
def test_stored_activations_train_the_same_model_as_frozen_blocks_run_each_time(architecture: str, cut: int, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    (from_stored, losses), (from_ids, wanted) = tuned(backbone, cut, stored=True), tuned(backbone, cut, stored=False)
    np.testing.assert_allclose(losses, wanted, rtol=1e-5, atol=1e-5)
    assert len({round(loss, 3) for loss in losses}) > 1  # it learned something between the batches
    assert from_stored.module is not None and from_ids.module is not None
    other = from_ids.module.state_dict()
    before = backbone.module.state_dict()
    for name, tensor in from_stored.module.state_dict().items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=2e-4)
        changed = not torch.equal(tensor, before[name])
        assert changed == (not torch.equal(other[name], before[name])), name
    texts = ("why is my card lost", "refund", "")
    logits = from_stored.predict_logits(texts)
    np.testing.assert_allclose(logits, from_ids.predict_logits(texts), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(logits, whole_model_logits(from_stored, texts), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(from_ids.predict_logits(texts), whole_model_logits(from_ids, texts), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("architecture", "cut"), every_cut(0, 1, 2, 3))
def test_only_what_lies_above_the_cut_changes_and_the_source_stays_as_it_was(architecture: str, cut: int, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    before = copy.deepcopy(backbone.module.state_dict())
    model, _ = tuned(backbone, cut, stored=True)
    assert model.module is not None
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.module.state_dict().items())
    assert [type(block) for block in find_blocks(model.module)] == [type(block) for block in backbone.blocks]
    assert not any(p.requires_grad or p.grad is not None for p in model.module.parameters())
    assert count_hooks(model.module) == count_hooks(backbone.module)
    learned = {name for name, tensor in model.module.state_dict().items() if not torch.equal(tensor, before[name])}
    prefixes = {id(block): name for name, block in model.module.named_modules()}
    of_block = [prefixes[id(block)] + "." for block in find_blocks(model.module)]
    for k, prefix in enumerate(of_block):
        assert any(name.startswith(prefix) for name in learned) == (k >= cut)
    outside = {name for name in learned if not name.startswith(tuple(of_block))}
    assert outside >= backbone.above
    assert not any("pooler" in name for name in outside)
    assert (outside == backbone.above) == (cut > 0)


@pytest.mark.parametrize("architecture", ["bert", "gpt2"])
def test_a_model_tuned_from_cut_zero_predicts_as_the_whole_model_does(architecture: str, tiny_backbone: Tiny) -> None:
    model, _ = tuned(tiny_backbone(architecture), 0, stored=True)
    texts = some_rows().texts
    np.testing.assert_allclose(model.predict_logits(texts), whole_model_logits(model, texts), rtol=1e-4, atol=1e-5)


def test_the_contrastive_loss_is_the_same_from_stored_activations_too(tiny_backbone: Tiny) -> None:
    losses = [tuned(tiny_backbone("mpnet"), 2, stored=stored, loss=Loss.PAIRS)[1] for stored in (True, False)]
    np.testing.assert_allclose(*losses, rtol=1e-5, atol=1e-5)


# --- the trunk itself ---


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_stored_activations_give_the_last_hidden_states_of_the_uncut_model(architecture: str, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    ids = torch.randint(4, 60, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    entering: dict[int, torch.Tensor] = {}
    with torch.inference_mode(), watching(backbone.module, entering.__setitem__):
        wanted = backbone.module(input_ids=ids, attention_mask=mask).last_hidden_state
    assert list(entering) == list(range(BLOCKS))
    for cut in range(1, BLOCKS):
        trunk = Trunk(copy.deepcopy(backbone.module), cut, backbone.above, stored=True).eval()
        with torch.inference_mode():
            got = trunk(entering[cut], mask)
            assert torch.allclose(got[mask == 1], wanted[mask == 1], atol=1e-6)
            whole = trunk.restore()
            assert torch.allclose(whole(input_ids=ids, attention_mask=mask).last_hidden_state, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("architecture", "items"), [("bert", None), ("distilbert", None), ("mpnet", 1), ("deberta-v2", 2), ("llama", None)]
)
def test_what_blocks_return_is_seen(architecture: str, items: int | None, tiny_backbone: Tiny) -> None:
    assert returned_items(tiny_backbone(architecture).module) == items


@pytest.mark.parametrize("cut", [-1, 4, 9])
def test_a_cut_outside_the_blocks_is_refused(cut: int, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone("bert")
    with pytest.raises(ValueError) as caught:
        Trunk(copy.deepcopy(backbone.module), cut, backbone.above, stored=True)
    assert str(caught.value) == f"cut is {cut}; it must lie between 0 and 3"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_hidden_states_above_the_cut_are_those_of_the_uncut_model(architecture: str, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    ids = torch.randint(4, 60, (2, 7), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        out = backbone.module(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True)
        trunk = Trunk(copy.deepcopy(backbone.module), 1, backbone.above, stored=True)
        got = trunk.hidden(out.hidden_states[1], None, (4, 2, 3))
    for found, wanted in zip(got, (out.last_hidden_state, *out.hidden_states[2:4]), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("stored", "cut"), [(True, 2), (False, 2), (False, 0)])
def test_dropout_is_off(stored: bool, cut: int, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone("bert")
    trunk = Trunk(copy.deepcopy(backbone.module), cut, backbone.above, stored=stored)
    assert not any(part.training for part in trunk.train().modules())


def test_frozen_blocks_get_no_gradient_and_those_above_do(tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone("gpt2")
    trunk = Trunk(copy.deepcopy(backbone.module), 2, backbone.above, stored=False)
    trunk(torch.tensor([[5, 6, 7]]), None).square().sum().backward()
    got = {name for name, p in trunk.module.named_parameters() if p.grad is not None}
    wanted = {name for name, _ in trunk.module.named_parameters() if name.startswith(("h.2.", "h.3.", "ln_f."))}
    assert got == wanted


@pytest.mark.parametrize("architecture", ["bert", "llama"])
def test_depths_of_what_learns(architecture: str, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    for cut, depths in ((3, {3}), (1, {1, 2, 3}), (0, {-1, 0, 1, 2, 3})):
        trunk = Trunk(copy.deepcopy(backbone.module), cut, backbone.above, stored=True)
        assert {depth for depth, _ in trunk.learning(backbone.above)} == depths | ({4} if backbone.above else set())


def test_predicting_leaves_a_tuned_model_whole(tiny_backbone: Tiny) -> None:
    model, _ = tuned(tiny_backbone("bert"), 2, stored=True)
    assert model.module is not None
    blocks = list(find_blocks(model.module))
    first = model.predict_logits(["a card"])
    assert not any(part.training for part in model.module.modules())
    assert all(a is b for a, b in zip(find_blocks(model.module), blocks, strict=True))
    assert (model.predict_logits(["a card"]) == first).all()


def test_no_texts_have_no_features_above_any_cut(tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone("bert")
    for cut in (0, 2):
        trunk = Trunk(copy.deepcopy(backbone.module), cut, backbone.above, stored=True)
        assert pooled_through(trunk, Reader(backbone, None, 4096), [], (4,)).shape == (0, HIDDEN)
