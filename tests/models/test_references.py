"""A reference in a file: it is the model of before, and looking at it leaves neither the policy nor itself changed."""

import gc
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from torch import Tensor

from fakes import VOCAB, tiny_model
from haloes.models.forward import make_scorer
from haloes.models.layout import Packed, make_packed
from haloes.models.policy import make_policy
from haloes.models.references import Parked
from training_jobs import disturb

dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


def batch() -> Packed:
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, VOCAB, n, dtype=np.int32) for n in (9, 20, 4)]
    return make_packed([(row[:3], row[3:], row[3:] >= 0) for row in rows], torch.device("cpu"))


def parked(folder: Path, *, kind: str = "llama", dtype: torch.dtype = torch.float32) -> tuple[Parked, torch.nn.Module]:
    model = tiny_model(kind, dtype=dtype)
    scorer, _ = make_scorer(model)
    return Parked(dict(model.named_parameters()), scorer, folder=folder), model


def scores(reference: Parked) -> Tensor:
    with torch.no_grad(), reference() as scorer:
        return scorer.token_logps(batch())


def change(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.5)


@dtypes
@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_it_stays_the_model_of_before_while_that_is_trained(tmp_path: Path, kind: str, dtype: torch.dtype):
    reference, model = parked(tmp_path, kind=kind, dtype=dtype)
    before = scores(reference)

    change(model)
    changed = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    assert torch.equal(scores(reference), before)
    assert all(torch.equal(weight, changed[name]) for name, weight in model.named_parameters())


def test_the_model_is_itself_again_after_an_error_inside(tmp_path: Path):
    reference, model = parked(tmp_path)
    change(model)
    own = [weight.data_ptr() for weight in model.parameters()]

    with pytest.raises(KeyError), reference():
        raise KeyError

    assert [weight.data_ptr() for weight in model.parameters()] == own


def test_weights_that_are_one_are_one_inside_too(tmp_path: Path):
    reference, model = parked(tmp_path)
    with reference():
        tied = {weight.data_ptr() for weight in model.parameters()}
        assert len(tied) == len(list(model.parameters()))
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight  # type: ignore[operator]


def test_whoever_writes_to_it_changes_nothing(tmp_path: Path):
    reference, model = parked(tmp_path)
    before = scores(reference)
    with reference():
        change(model)

    assert torch.equal(scores(reference), before)


def test_its_file_has_no_name_and_is_closed_with_it(tmp_path: Path):
    held = psutil.Process().num_fds()
    reference, _ = parked(tmp_path)
    assert list(tmp_path.iterdir()) == []

    del reference
    gc.collect()

    assert psutil.Process().num_fds() == held


def test_a_policy_that_trains_all_weights_keeps_no_second_copy_of_them_in_memory():
    policy = make_policy(tiny_model(), lora=None, reference=True, seed=0)

    assert isinstance(policy.reference, Parked)


def test_without_room_for_the_file_the_copy_is_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    nowhere = tmp_path / "file"
    nowhere.write_text("not a folder")
    monkeypatch.setenv("HALOES_CACHE", str(nowhere))
    policy = make_policy(tiny_model(), lora=None, reference=True, seed=0)
    before = policy.token_logps(batch()).detach()

    disturb(policy)

    assert not isinstance(policy.reference, Parked)
    assert torch.equal(policy.reference_logps(batch()), before)


def test_a_disk_that_fills_up_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    class Full:
        closed = False

        def __init__(self, **_: object) -> None: ...

        def tell(self) -> int:
            return 0

        def seek(self, _: int) -> None: ...

        def write(self, _: object) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            Full.closed = True

    monkeypatch.setattr("haloes.models.references.tempfile.TemporaryFile", Full)
    with pytest.raises(OSError, match="No space left"):
        parked(tmp_path)
    assert Full.closed
