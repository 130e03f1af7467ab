"""What to compute in: the dtype that is named, or the faster one."""

import pytest
import torch

from haloes.models import device as dtype
from haloes.models.device import bfloat16_is_faster, choose_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize("faster", [False, True])
def test_a_named_dtype_is_taken_whatever_is_faster(faster: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dtype, "bfloat16_is_faster", lambda _: faster)

    assert choose_dtype("float32", CPU) == torch.float32
    assert choose_dtype("bfloat16", CPU) == torch.bfloat16


@pytest.mark.parametrize(("faster", "expected"), [(False, torch.float32), (True, torch.bfloat16)])
def test_auto_is_bfloat16_where_that_is_faster(faster: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dtype, "bfloat16_is_faster", lambda _: faster)

    assert choose_dtype("auto", CPU) == expected


@pytest.mark.parametrize(("rate", "faster"), [(1.2, False), (1.4, True)])
def test_bfloat16_has_to_be_clearly_faster(rate: float, faster: bool, monkeypatch: pytest.MonkeyPatch):
    rates = {torch.bfloat16: rate, torch.float32: 1.0}
    monkeypatch.setattr(dtype, "product_rate", lambda of, _: rates[of])

    assert bfloat16_is_faster(CPU) == faster
