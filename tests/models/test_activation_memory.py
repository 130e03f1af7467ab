"""What waits for the backward pass, counted."""

import pytest
import torch

from fakes import tiny_model
from haloes.models.activation_memory import activation_bytes, counting
from haloes.models.policy import make_policy


def test_each_storage_counts_once_and_the_models_own_not_at_all():
    layer = torch.nn.Linear(8, 4, bias=False)
    x = torch.ones(16, 8, requires_grad=True)
    with counting(layer) as counted:
        y = layer(x)  # keeps x; the weight is its own
        z = y * y  # keeps y, twice
    assert z.requires_grad
    assert counted.bytes == 4 * (16 * 8 + 16 * 4)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_token_leaves_less_in_a_narrower_dtype_and_nothing_stays_behind(kind: str):
    wide = make_policy(tiny_model(kind), lora=None, reference=False, seed=0)
    narrow = make_policy(tiny_model(kind, dtype=torch.bfloat16), lora=None, reference=False, seed=0)

    assert activation_bytes(narrow) < activation_bytes(wide)
    assert all(weight.grad is None for weight in wide.trainable().values())
    assert activation_bytes(wide) == activation_bytes(wide)
