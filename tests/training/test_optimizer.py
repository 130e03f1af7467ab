"""float32 weights behind bfloat16 parameters, and the optimizers by hand."""

import math
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from haloes.errors import ConfigError
from haloes.training.microbatch_size import MOMENTS
from haloes.training.optimizer import Masters, check_optimizer, make_masters, make_optimizer
from haloes.training.settings import TrainSettings

EIGHT_BITS = TrainSettings(optimizer="adamw8bit", lr=5e-6)
CPU = torch.device("cpu")


def parameter(*values: float, dtype: torch.dtype = torch.bfloat16) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor(values, dtype=dtype))


def add_gradient(weight: Tensor, gradient: float | Tensor) -> None:
    (weight * torch.as_tensor(gradient, dtype=weight.dtype)).sum().backward()


def test_gradients_of_many_micro_batches_are_added_up_in_float32():
    # 1 + 1/512 is 1 in bfloat16: added up there, the small gradients would all be lost.
    weight = parameter(0.5)
    masters = make_masters({"w": weight})

    for gradient in [1.0] + [1 / 512] * 1000:
        add_gradient(weight, gradient)

    (total,) = masters.gradients()
    assert total.dtype == torch.float32
    assert total.tolist() == [1 + 1000 / 512]
    assert weight.grad is None


def test_small_updates_are_kept_where_bfloat16_would_lose_them():
    weight = parameter(1.0)
    masters = make_masters({"w": weight})
    optimizer = make_optimizer(masters, TrainSettings(optimizer="adamw", lr=1e-4))
    for _ in range(40):
        add_gradient(weight, 1.0)
        masters.gradients()
        optimizer.step()
        masters.publish()
        masters.zero_grad()

    # AdamW with a constant gradient moves by lr a step; bfloat16 has no number between 1 and 1 - 2^-8.
    assert masters.weights["w"].item() == pytest.approx(1 - 40 * 1e-4, abs=1e-6)
    assert weight.item() == 1 - 2**-8


def test_publishing_rounds_to_the_models_dtype():
    weight = parameter(1.0)
    masters = make_masters({"w": weight})
    masters.weights["w"].fill_(1.003)

    masters.publish()

    assert weight.dtype == torch.bfloat16
    assert weight.item() == torch.tensor(1.003).bfloat16().item()


def test_float32_parameters_are_their_own_masters():
    weight = parameter(1.0, dtype=torch.float32)
    masters = make_masters({"w": weight})

    assert masters.weights["w"] is weight
    add_gradient(weight, 2.0)
    add_gradient(weight, 3.0)
    assert masters.gradients()[0].tolist() == [5.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weight_without_gradient_has_zeros(dtype: torch.dtype):
    masters = make_masters({"a": parameter(1.0, 2.0, dtype=dtype), "b": parameter(3.0, dtype=dtype)})
    add_gradient(masters.parameters["b"], 4.0)

    assert [gradient.tolist() for gradient in masters.gradients()] == [[0.0, 0.0], [4.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zero_grad_forgets(dtype: torch.dtype):
    masters = make_masters({"w": parameter(1.0, dtype=dtype)})
    add_gradient(masters.parameters["w"], 4.0)
    masters.zero_grad()

    assert masters.gradients()[0].tolist() == [0.0]


def test_a_second_run_gets_the_gradients_once_the_first_is_released():
    weight = parameter(1.0)
    first = make_masters({"w": weight})
    first.release()
    second = make_masters({"w": weight})

    add_gradient(weight, 2.0)

    assert second.gradients()[0].tolist() == [2.0]
    assert first.gradients()[0].tolist() == [0.0]


def one_step(settings: TrainSettings, *, start: float, gradients: list[float]) -> float:
    masters = make_masters({"w": parameter(start, dtype=torch.float32)})
    optimizer = make_optimizer(masters, settings)
    for gradient in gradients:
        add_gradient(masters.parameters["w"], gradient)
        optimizer.step()
        masters.zero_grad()
    return masters.weights["w"].item()


def test_adamw_by_hand():
    # Two steps with betas 0.9 and 0.999: the decay is lr * 0.5 of the weight, apart from the gradient.
    m1, v1 = 0.1 * 2, 0.001 * 4
    w1 = 1 * (1 - 0.01 * 0.5) - 0.01 * (m1 / 0.1) / (math.sqrt(v1 / 0.001) + 1e-8)
    m2, v2 = 0.9 * m1 + 0.1 * -1, 0.999 * v1 + 0.001 * 1
    w2 = w1 * (1 - 0.01 * 0.5) - 0.01 * (m2 / (1 - 0.81)) / (math.sqrt(v2 / (1 - 0.999**2)) + 1e-8)
    settings = TrainSettings(optimizer="adamw", lr=0.01, weight_decay=0.5)

    assert one_step(settings, start=1.0, gradients=[2.0, -1.0]) == pytest.approx(w2, abs=1e-6)


def test_rmsprop_by_hand():
    # Smoothing 0.99; the decay is added to the gradient.
    g1 = 2 + 0.5 * 1
    v1 = 0.01 * g1**2
    w1 = 1 - 0.01 * g1 / (math.sqrt(v1) + 1e-8)
    g2 = -1 + 0.5 * w1
    v2 = 0.99 * v1 + 0.01 * g2**2
    w2 = w1 - 0.01 * g2 / (math.sqrt(v2) + 1e-8)
    settings = TrainSettings(optimizer="rmsprop", lr=0.01, weight_decay=0.5)

    assert one_step(settings, start=1.0, gradients=[2.0, -1.0]) == pytest.approx(w2, abs=1e-6)


def test_the_weights_keep_their_order():
    masters = make_masters({name: parameter(float(i)) for i, name in enumerate("cab")})
    optimizer = make_optimizer(masters, TrainSettings(lr=5e-6))

    assert isinstance(masters, Masters)
    assert list(masters.weights) == ["c", "a", "b"]
    assert [weight.item() for weight in optimizer.param_groups[0]["params"]] == [0.0, 1.0, 2.0]


def uneven(step: int, count: int) -> torch.Tensor:
    """Gradients of both signs and many sizes: where all are equal, eight bits hold the moments exactly."""
    return torch.sin(torch.arange(count) * 0.7 + step) * torch.logspace(-3, 0, count)


def moved(name: str, gradient: Callable[[int], float | Tensor]) -> Tensor:
    """By how much ten steps of an optimizer move 8,192 weights."""
    start = torch.linspace(-1, 1, 8192)
    weight = torch.nn.Parameter(start.clone())
    masters = make_masters({"w": weight})
    optimizer = make_optimizer(masters, TrainSettings(optimizer=name, lr=0.01))  # type: ignore[arg-type]
    for step in range(10):
        add_gradient(weight, gradient(step))
        optimizer.step()
        masters.publish()
        masters.zero_grad()
    return weight.detach() - start


def test_adamw_with_moments_in_8_bits_moves_weights_like_adamw():
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    whole, eight_bits = (moved(name, lambda step: 1.0 + step % 3) for name in ("adamw", "adamw8bit"))

    # Ten steps of about 0.01. One gradient for all weights: eight bits hold such moments exactly, or nearly so.
    assert float(whole.mean()) == pytest.approx(-0.1, abs=0.01)
    torch.testing.assert_close(eight_bits, whole, rtol=0, atol=2e-3)


def test_with_uneven_gradients_the_8_bits_show_and_the_weights_still_move_alike():
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    whole, eight_bits = (moved(name, lambda step: uneven(step, 8192)) for name in ("adamw", "adamw8bit"))

    # Single weights with small moments are off; as a whole the two move alike.
    assert float((eight_bits - whole).abs().max()) > 1e-4
    assert float(torch.corrcoef(torch.stack([whole, eight_bits]))[0, 1]) > 0.95
    assert float(eight_bits.norm() / whole.norm()) == pytest.approx(1, abs=0.1)


def test_the_moments_of_adamw8bit_are_in_eight_bits_and_take_what_a_plan_says():
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 8192))
    masters = make_masters({"w": weight})
    optimizer = make_optimizer(masters, EIGHT_BITS)
    add_gradient(weight, uneven(0, 8192))
    optimizer.step()

    state = {name: value for name, value in optimizer.state[weight].items() if isinstance(value, torch.Tensor)}
    assert [state[name].dtype for name in ("state1", "state2")] == [torch.uint8] * 2
    # The tables of the 256 values that a byte stands for are one object, which all weights share.
    own = sum(value.nbytes for name, value in state.items() if not name.startswith("qmap"))
    assert own / weight.numel() == pytest.approx(MOMENTS["adamw8bit"], rel=0.05)


@pytest.mark.parametrize("name", ["adamw", "rmsprop"])
def test_the_moments_of_the_others_take_what_a_plan_says(name: str):
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 8192))
    masters = make_masters({"w": weight})
    optimizer = make_optimizer(masters, TrainSettings(optimizer=name, lr=5e-6))  # type: ignore[arg-type]
    add_gradient(weight, uneven(0, 8192))
    optimizer.step()

    held = sum(value.nbytes for value in optimizer.state[weight].values() if isinstance(value, torch.Tensor))
    assert held / weight.numel() == pytest.approx(MOMENTS[name], rel=0.05)


def stand_in(monkeypatch: pytest.MonkeyPatch, step: Any) -> None:
    """bitsandbytes with an AdamW whose step is this."""

    class AdamW8bit(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            del closure
            step(self)

    package, optim = ModuleType("bitsandbytes"), ModuleType("bitsandbytes.optim")
    optim.AdamW8bit = AdamW8bit  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bitsandbytes", package)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", optim)


def moving(optimizer: torch.optim.Optimizer) -> None:
    with torch.no_grad():
        for weight in optimizer.param_groups[0]["params"]:
            weight.sub_(weight.grad)


def failing(_: torch.optim.Optimizer) -> None:
    raise RuntimeError("no kernel image is available")


def test_an_optimizer_that_is_not_installed_is_refused_before_the_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.delitem(sys.modules, "bitsandbytes.optim", raising=False)

    with pytest.raises(ConfigError, match=r"needs bitsandbytes .*: pip install 'haloes\[bitsandbytes\]'"):
        check_optimizer(EIGHT_BITS, CPU)


@pytest.mark.parametrize(
    ("step", "why"),
    [(failing, "RuntimeError: no kernel image"), (lambda _: None, "a step left the weights where they were")],
)
def test_an_optimizer_that_cannot_run_here_is_refused_before_the_run(
    step: Any, why: str, monkeypatch: pytest.MonkeyPatch
):
    stand_in(monkeypatch, step)

    with pytest.raises(ConfigError, match=rf"cannot compute it on cpu \({why}.* take train\.optimizer=adamw"):
        check_optimizer(EIGHT_BITS, CPU)


def test_an_optimizer_that_runs_is_fine(monkeypatch: pytest.MonkeyPatch):
    stand_in(monkeypatch, moving)

    check_optimizer(EIGHT_BITS, CPU)
    check_optimizer(TrainSettings(), CPU)
