"""Activations that wait elsewhere: the same gradients to the bit, with and without checkpointing; parameters stay."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fakes import VOCAB, tiny_model
from haloes.errors import ConfigError
from haloes.models import offload
from haloes.models.layout import Packed, make_packed
from haloes.models.offload import check_offload, offloaded
from haloes.models.packing_check import make_scorer
from haloes.models.quiet import quiet

CPU = torch.device("cpu")


def rows() -> Packed:
    rng = np.random.default_rng(0)
    whole = [rng.integers(0, VOCAB, 30, dtype=np.int32) for _ in range(3)]
    return make_packed([(ids[:9], ids[9:], ids[9:] >= 0) for ids in whole], CPU)


def gradients(model: Any, logps: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    logps.sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_offloaded_activations_give_the_same_gradients_to_the_bit(
    kind: str, checkpointing: bool, monkeypatch: pytest.MonkeyPatch
):
    model = tiny_model(kind)
    scorer, _ = make_scorer(model)
    if checkpointing:
        with quiet():
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    expected = gradients(model, scorer.token_logps(rows()))
    parked: list[int] = []
    back = offload._brought_back
    monkeypatch.setattr(
        offload, "_brought_back", lambda kept: (parked.append(isinstance(kept, offload.OffloadedTensor)), back(kept))[1]
    )

    with offloaded(list(model.parameters()), worth=1):
        logps = scorer.token_logps(rows())
    found = gradients(model, logps)

    assert sum(parked) > 3
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.equal(found[name], expected[name]), name


def test_parameters_and_small_tensors_stay_where_they_are():
    weight = torch.nn.Parameter(torch.randn(40, 40))
    hidden, small = torch.randn(50, 40, requires_grad=True), torch.randn(4, requires_grad=True)
    kept: list[Any] = []
    context = offloaded([weight], worth=40 * 40 * 4)
    pack = context.pack_hook
    context.pack_hook = lambda tensor: kept.append(pack(tensor)) or kept[-1]

    with context:
        (hidden @ weight.T).sum() + (small * small).sum()

    moved = [item for item in kept if isinstance(item, offload.OffloadedTensor)]
    assert [item.host.shape for item in moved] == [(50, 40)]
    assert moved[0].host.data_ptr() != hidden.data_ptr()
    assert len(kept) == 4


def test_without_a_gpu_there_is_nowhere_to_move_activations_to():
    with pytest.raises(ConfigError, match=r"train\.activation_offload .* this run computes on cpu"):
        check_offload(CPU)


def test_a_gpu_has_host_memory_beside_its_own():
    check_offload(torch.device("cuda"))
