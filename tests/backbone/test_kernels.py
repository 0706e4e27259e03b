"""The fast linear layer gives the usual numbers, is used only within its context, and is done without where it is missing or wrong."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModel

from headstart.backbone import kernels
from headstart.backbone.kernels import attention_in_float32, fast_linears, fastest_linear
from tiny import PARENTS, make_parent, make_tiny


@pytest.fixture(autouse=True)
def forget_the_choice() -> Iterator[None]:
    """The choice is made once per process; each test makes its own."""
    fastest_linear.cache_clear()
    yield
    fastest_linear.cache_clear()


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 6, bias=False), nn.LayerNorm(6))


def have_onednn() -> bool:
    try:
        kernels._onednn_linear(torch.ones(2, 3), torch.ones(4, 3), None)
    except (RuntimeError, AttributeError, NotImplementedError):
        return False
    return True


def clock_that_prefers(monkeypatch: pytest.MonkeyPatch, wanted: Callable[..., torch.Tensor]) -> None:
    monkeypatch.setattr(kernels, "_seconds", lambda linear, *_: 1.0 if linear is wanted else 2.0)


@pytest.mark.skipif(not have_onednn(), reason="this build of PyTorch has no oneDNN linear")
@pytest.mark.parametrize("shape", [(4, 12), (3, 5, 12), (1, 1, 12)])
def test_onednn_gives_the_usual_numbers_and_the_usual_forward_comes_back(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    clock_that_prefers(monkeypatch, kernels._onednn_linear)
    model, x = net(), torch.randn(shape)
    with torch.inference_mode():
        usual = model(x)
        with fast_linears(model):
            assert "forward" in model[0].__dict__ and "forward" in model[2].__dict__ and "forward" not in model[3].__dict__
            fast = model(x)
        again = model(x)
    assert fast.shape == usual.shape
    torch.testing.assert_close(fast, usual, rtol=1e-5, atol=1e-5)
    assert all("forward" not in part.__dict__ for part in model.modules())
    assert torch.equal(again, usual)


def test_the_chosen_kernel_is_the_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        calls.append(tuple(weight.shape))
        return functional.linear(x, weight, bias)

    monkeypatch.setattr(kernels, "_onednn_linear", counted)
    clock_that_prefers(monkeypatch, counted)
    assert fastest_linear() is counted
    calls.clear()
    model = net()
    with fast_linears(model):
        model(torch.randn(2, 12))
    assert calls == [(20, 12), (6, 20)]
    model(torch.randn(2, 12))
    assert len(calls) == 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_number_formats_keep_their_own_kernel(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    monkeypatch.setattr(kernels, "fastest_linear", lambda: kernels._onednn_linear)
    model = net().to(dtype)
    with fast_linears(model):
        assert all("forward" not in part.__dict__ for part in model.modules())


def test_an_error_within_restores_forward_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "fastest_linear", lambda: kernels._onednn_linear)
    model = net()
    with pytest.raises(RuntimeError, match="stop"), fast_linears(model):
        assert "forward" in model[0].__dict__
        raise RuntimeError("stop")
    assert all("forward" not in part.__dict__ for part in model.modules())


def test_a_context_within_another_leaves_the_outer_one_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "fastest_linear", lambda: kernels._onednn_linear)
    model = net()
    with fast_linears(model):
        with fast_linears(model[0]):
            assert "forward" in model[0].__dict__
        assert "forward" in model[0].__dict__ and "forward" in model[2].__dict__
    assert all("forward" not in part.__dict__ for part in model.modules())


def test_threads_share_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sees the fast kernel as long as it is within, whoever else comes and goes, and the usual forward is back in the end."""

    def kernel(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return functional.linear(x, weight, bias)

    monkeypatch.setattr(kernels, "fastest_linear", lambda: kernel)
    model, x = net().eval(), torch.randn(3, 12)
    with torch.inference_mode():
        usual = model(x)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(300):
                with torch.inference_mode(), fast_linears(model):
                    assert torch.equal(model(x), usual)
                    assert "forward" in model[0].__dict__ and "forward" in model[2].__dict__
        except BaseException as error:
            failures.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # so that they interrupt each other often
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
    assert all("forward" not in part.__dict__ for part in model.modules())


@pytest.mark.parametrize("error", [AttributeError, RuntimeError, NotImplementedError])
def test_a_missing_operator_leaves_the_usual_kernel(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def missing(*_: Any) -> torch.Tensor:
        raise error("no such operator")

    monkeypatch.setattr(kernels, "_onednn_linear", missing)
    assert fastest_linear() is functional.linear


def test_the_real_lookup_of_a_missing_operator_is_one_of_the_errors_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutOnednn:
        mkldnn = torch.ops.headstart_has_no_such_namespace

    monkeypatch.setattr(torch, "ops", WithoutOnednn)
    assert fastest_linear() is functional.linear


def test_a_kernel_that_is_wrong_is_never_used_however_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return functional.linear(x, weight, bias) + 0.1

    monkeypatch.setattr(kernels, "_onednn_linear", wrong)
    clock_that_prefers(monkeypatch, wrong)
    assert fastest_linear() is functional.linear


def test_a_kernel_that_is_hardly_faster_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_onednn_linear", lambda x, weight, bias: functional.linear(x, weight, bias))
    monkeypatch.setattr(kernels, "_seconds", lambda linear, *_: 1.0 if linear is not functional.linear else 1.14)
    assert fastest_linear() is functional.linear


# --- attention in float32 ---


@pytest.mark.parametrize("architecture", ["bert", "llama", pytest.param("gemma3_text", marks=pytest.mark.slow), "marian", "t5"])
def test_attention_is_worked_out_in_float32_and_gradients_come_nearer_to_those_of_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    """Also that every head of every block is among them, and that the model is as before behind the context."""
    folder = make_parent(tmp_path, architecture) if architecture in PARENTS else make_tiny(tmp_path, architecture)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    given = {"input_ids": torch.tensor([[5, 6, 7, 8], [6, 9, 1, 1]]), "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])}
    if architecture in PARENTS:
        given["decoder_input_ids"] = torch.tensor([[5, 6, 7], [8, 6, 5]])
    kinds: list[torch.dtype] = []
    plain = functional.scaled_dot_product_attention

    def seen(query: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        kinds.append(torch.bfloat16 if torch.is_autocast_enabled("cpu") else query.dtype)  # what autocast makes of it
        return plain(query, *args, **kwargs)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", seen)

    def gradients(precise: bool) -> torch.Tensor:
        model.zero_grad()
        kinds.clear()
        with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
            states = model(**given).last_hidden_state
        (states.float() * torch.linspace(-1, 1, states.shape[-1])).sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    exact = gradients(True)
    usual = gradients(False)
    calls = len(kinds)
    assert set(kinds) == {torch.bfloat16} and calls >= model.config.num_hidden_layers
    with attention_in_float32(nn.ModuleDict({"whole": model})):
        ours = gradients(False)
        assert kinds == [torch.float32] * calls
        torch.testing.assert_close(gradients(True), exact)  # what is float32 anyway stays as it was
    assert torch.equal(gradients(False), usual) and set(kinds) == {torch.bfloat16}
    assert (ours - exact).norm() < 0.05 * exact.norm()
    assert (ours - exact).norm() < 1.2 * (usual - exact).norm()
