"""
References: one in a file is the model of before, one that moves is the policy of its last sync.

Looking at either leaves the policy as it is.
"""

import gc
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fakes import VOCAB, tiny_model
from haloes.models.adapters import LoRA
from haloes.models.layout import Packed, make_packed
from haloes.models.packing_check import make_scorer
from haloes.models.policy import Policy, make_policy
from haloes.models.references import FileReference, SyncedReference
from training_jobs import disturb

ways = pytest.mark.parametrize("lora", [LoRA(rank=4), None], ids=["lora", "full"])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])


def batch() -> Packed:
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, VOCAB, n, dtype=np.int32) for n in (9, 20, 4)]
    return make_packed([(row[:3], row[3:], row[3:] >= 0) for row in rows], torch.device("cpu"))


def parked(
    folder: Path, *, kind: str = "llama", dtype: torch.dtype = torch.float32
) -> tuple[FileReference, torch.nn.Module]:
    model = tiny_model(kind, dtype=dtype)
    scorer, _ = make_scorer(model)
    return FileReference(dict(model.named_parameters()), scorer, folder=folder), model


def reference_scores(reference: FileReference) -> Tensor:
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
    before = reference_scores(reference)

    change(model)
    changed = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    assert torch.equal(reference_scores(reference), before)
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
    before = reference_scores(reference)
    with reference():
        change(model)

    assert torch.equal(reference_scores(reference), before)


def test_its_file_has_no_name_and_is_closed_with_it(tmp_path: Path):
    held = psutil.Process().num_fds()
    reference, _ = parked(tmp_path)
    assert list(tmp_path.iterdir()) == []

    del reference
    gc.collect()

    assert psutil.Process().num_fds() == held


def test_a_policy_that_trains_all_weights_keeps_no_second_copy_of_them_in_memory():
    policy = make_policy(tiny_model(), lora=None, reference=True, seed=0)

    assert isinstance(policy.reference, FileReference)


def test_without_room_for_the_file_the_copy_is_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    nowhere = tmp_path / "file"
    nowhere.write_text("not a folder")
    monkeypatch.setenv("HALOES_CACHE", str(nowhere))
    policy = make_policy(tiny_model(), lora=None, reference=True, seed=0)
    before = policy.token_logps(batch()).detach()

    disturb(policy)

    assert not isinstance(policy.reference, FileReference)
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

    monkeypatch.setattr("haloes.models.weights_file.tempfile.TemporaryFile", Full)
    with pytest.raises(OSError, match="No space left"):
        parked(tmp_path)
    assert Full.closed


# -- a reference that moves --------------------------------------------------------------------------------------------


def policy_of(lora: LoRA | None, *, dtype: torch.dtype = torch.float32) -> Policy:
    return make_policy(tiny_model(dtype=dtype), lora=lora, reference=True, seed=0, synced=True)


def synced(policy: Policy) -> SyncedReference:
    assert isinstance(policy.reference, SyncedReference)
    return policy.reference


def scores(policy: Policy) -> Tensor:
    with torch.no_grad():
        return policy.token_logps(batch())


def weights(policy: Policy) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in policy.trainable().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@ways
@dtypes
def test_at_first_it_is_the_model_before_training(lora: LoRA | None, dtype: torch.dtype):
    policy = policy_of(lora, dtype=dtype)
    before = scores(policy)

    disturb(policy)

    assert torch.equal(policy.reference_logps(batch()), before)
    assert not torch.equal(scores(policy), before)


@ways
def test_it_agrees_with_a_reference_that_never_moves(lora: LoRA | None):
    moving = disturb(policy_of(lora))
    still = disturb(make_policy(tiny_model(), lora=lora, reference=True, seed=0))

    assert torch.equal(moving.reference_logps(batch()), still.reference_logps(batch()))
    assert torch.equal(scores(moving), scores(still))


@ways
@dtypes
def test_after_a_sync_it_is_the_policy_and_stays_so_when_the_policy_moves_on(lora: LoRA | None, dtype: torch.dtype):
    policy = disturb(policy_of(lora, dtype=dtype))
    at_sync = scores(policy)

    synced(policy).sync()
    disturb(policy, seed=2)

    assert torch.equal(policy.reference_logps(batch()), at_sync)
    assert not torch.equal(scores(policy), at_sync)


@ways
@dtypes
def test_looking_at_it_leaves_the_policy_untouched(lora: LoRA | None, dtype: torch.dtype):
    policy = disturb(policy_of(lora, dtype=dtype))
    parameters, before, true = list(policy.trainable().values()), weights(policy), scores(policy)

    for _ in range(3):
        policy.reference_logps(batch())

    assert all(a is b for a, b in zip(parameters, policy.trainable().values(), strict=True))
    assert same(weights(policy), before)
    assert torch.equal(scores(policy), true)


@ways
def test_an_error_while_it_is_looked_at_leaves_the_policy_untouched(lora: LoRA | None):
    policy = disturb(policy_of(lora))
    before = weights(policy)

    with pytest.raises(KeyError), synced(policy)():
        raise KeyError

    assert same(weights(policy), before)


@ways
def test_inside_the_model_is_the_reference(lora: LoRA | None):
    policy = policy_of(lora)
    first = weights(policy)
    disturb(policy)

    with synced(policy)() as scorer, torch.no_grad():
        assert same(weights(policy), first)
        assert torch.equal(scorer.token_logps(batch()), policy.token_logps(batch()))


@ways
def test_gradients_and_optimizer_steps_go_on_as_if_nobody_had_looked(lora: LoRA | None):
    def run(*, look: bool) -> dict[str, Tensor]:
        policy = disturb(policy_of(lora))
        optimizer = torch.optim.Adam(policy.trainable().values(), lr=0.01)
        for _ in range(3):
            if look:
                policy.reference_logps(batch())
            optimizer.zero_grad()
            (-policy.token_logps(batch()).sum()).backward()
            if look:
                policy.reference_logps(batch())
            optimizer.step()
        return weights(policy)

    assert same(run(look=True), run(look=False))


@ways
def test_the_divergence_from_it_trains_the_policy_and_not_it(lora: LoRA | None):
    policy = disturb(policy_of(lora))
    kept = synced(policy).state()
    before = {name: weight.clone() for name, weight in kept.items()}

    found = policy.token_scores(batch(), kl=True).reference_kl
    assert found is not None
    found.sum().backward()

    assert float(found.detach().min()) > 0
    assert all(weight.grad is not None for weight in policy.trainable().values())
    assert same(synced(policy).state(), before)
    assert all(weight.grad is None for weight in synced(policy).state().values())


@ways
@dtypes
def test_what_is_saved_and_restored_is_the_same_reference(lora: LoRA | None, dtype: torch.dtype, tmp_path: Path):
    policy = disturb(policy_of(lora, dtype=dtype))
    synced(policy).sync()
    disturb(policy, seed=2)
    save_file(synced(policy).state(), tmp_path / "reference.safetensors")
    true = policy.reference_logps(batch())

    other = disturb(policy_of(lora, dtype=dtype), seed=3)
    unmoved = scores(other)
    synced(other).restore(load_file(tmp_path / "reference.safetensors"))

    assert torch.equal(other.reference_logps(batch()), true)
    assert torch.equal(scores(other), unmoved)


@ways
def test_a_saved_state_does_not_move_with_the_policy(lora: LoRA | None):
    policy = policy_of(lora)
    synced(policy).sync()
    state = {name: weight.clone() for name, weight in synced(policy).state().items()}

    disturb(policy)
    policy.reference_logps(batch())

    assert same(synced(policy).state(), state)


def test_it_keeps_a_copy_of_what_is_trained_and_of_nothing_else():
    adapter, whole = synced(policy_of(LoRA(rank=4))).state(), synced(policy_of(None)).state()

    assert all(".lora_" in name for name in adapter)
    assert whole.keys() == dict(tiny_model().named_parameters()).keys()


def test_a_value_head_is_no_part_of_it():
    policy = make_policy(tiny_model(), lora=None, reference=True, seed=0, synced=True, values=True)

    assert not any("value" in name for name in synced(policy).state())


def test_a_look_at_the_base_model_leaves_the_adapter_trainable_while_it_lasts():
    policy = disturb(make_policy(tiny_model("llama"), lora=LoRA(rank=4), reference=True, seed=0))
    assert policy.reference is not None

    with policy.reference():
        inside = [weight.requires_grad for weight in policy.trainable().values()]
        ours = policy.token_logps(batch())
    with policy.model.disable_adapter():
        peft_s = policy.token_logps(batch())

    assert inside
    assert all(inside)
    assert torch.equal(ours, peft_s)
    assert not torch.equal(policy.token_logps(batch()), ours)


def test_after_an_error_in_the_look_at_the_base_model_the_adapter_is_on():
    policy = disturb(make_policy(tiny_model("llama"), lora=LoRA(rank=4), reference=True, seed=0))
    before = policy.token_logps(batch())
    assert policy.reference is not None

    with pytest.raises(ZeroDivisionError), policy.reference():
        _ = 1 / 0

    assert torch.equal(policy.token_logps(batch()), before)
