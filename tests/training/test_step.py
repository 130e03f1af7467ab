"""
One step's arithmetic: the same however it is split, and the same as the formula over a plain padded forward.

The oracle knows transformers, the paper's formulas and which examples the step holds; nothing else of haloes.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fakes import tiny_model
from haloes.batches.collate import packed_rows
from haloes.batches.schedule import Step
from haloes.losses._contract import Loss, LossOutput, Needs
from haloes.losses.bco import BCO
from haloes.losses.dpo import DPO
from haloes.losses.kto import KTO
from haloes.losses.sft import SFT
from haloes.models.adapters import LoRA
from haloes.models.dropout import set_dropout
from haloes.models.forward import Scorer
from haloes.models.offload import offloaded
from haloes.models.policy import Policy
from haloes.models.reference_cache import ReferenceCache
from haloes.tokens.store import TokenStore
from haloes.training import completion_logps
from haloes.training import step as step_module
from haloes.training.prefetch import prefetch
from haloes.training.step import Stepper, Table
from haloes.training.validation import make_schedule
from training_jobs import (
    EVERY,
    LOSSES,
    disturb,
    let_layouts_round,
    make_stepper,
    make_store,
    policy_for,
    rows_for,
    thumbs,
    write_store,
)

losses = pytest.mark.parametrize("name", list(LOSSES))

SPLITS: list[dict[str, Any]] = [{"most": 1}, {"most": 8}, {"budget": 60, "most": 5}]

DISTURBANCES = (0, 1, 2)
"""Seeds of changes to the policy that put the raw reference point below zero, above, and above."""


def first_step(stepper: Stepper, *, batch_size: int = 32) -> Step:
    return make_schedule(stepper, batch_size=batch_size, epochs=1, seed=3).step(0)


def gradients(policy: Policy) -> dict[str, Tensor]:
    return {name: p.grad.double() for name, p in policy.trainable().items() if p.grad is not None}


def run(policy: Policy, loss: Loss[Any], store: TokenStore, **split: Any) -> tuple[Table, dict[str, Tensor]]:
    for weight in policy.trainable().values():
        weight.grad = None
    stepper = make_stepper(policy, loss, store, **split)
    table = stepper.run(first_step(stepper), backward=True)
    return table, gradients(policy)


def numbers(table: Table) -> dict[str, np.ndarray]:
    found = {"loss": table.loss, "weight": table.weight, **table.metrics}
    optional = {
        "logp": table.logp,
        "log_ratio": table.log_ratio,
        "mismatched": table.mismatched,
        "reward": table.reward,
    }
    return found | {name: values for name, values in optional.items() if values is not None}


def assert_same(found: Mapping[str, Any], true: Mapping[str, Any], *, atol: float) -> None:
    assert found.keys() == true.keys()
    for name, values in true.items():
        np.testing.assert_allclose(np.asarray(found[name]), np.asarray(values), rtol=1e-4, atol=atol, err_msg=name)


@losses
@pytest.mark.parametrize("lora", [None, LoRA(rank=4)], ids=["full", "lora"])
def test_a_step_is_the_same_however_it_is_split(name: str, lora: LoRA | None, tmp_path: Path):
    loss = LOSSES[name]
    store = make_store(tmp_path / "store", loss, 32)
    policy = disturb(policy_for(loss, lora=lora), seed=13)
    whole, whole_gradients = run(policy, loss, store)

    assert whole.mismatched is None or whole.mismatched.mean() > 0.1  # a clamped one would hide how it was made
    for split in SPLITS:
        table, split_gradients = run(policy, loss, store, **split)

        assert_same(numbers(table), numbers(whole), atol=2e-5)
        assert_same(split_gradients, whole_gradients, atol=2e-5)


@pytest.mark.parametrize("name", ["kto", "dpo"])
def test_what_prompts_share_changes_no_step(name: str, tmp_path: Path):
    loss = LOSSES[name]
    rows = thumbs(16, per_prompt=2, system="You are a helpful assistant. ")
    store = write_store(tmp_path / "store", rows, paired=loss.needs.pairs)
    policy = disturb(policy_for(loss))
    whole, whole_gradients = run(policy, loss, store)

    table, alone = run(policy, loss, store, most=1, budget=1)
    model = tiny_model()
    model.load_state_dict(policy.model.state_dict())
    oracle(loss, store, table.step, model, tiny_model()).mean().backward()

    assert_same(numbers(table), numbers(whole), atol=2e-5)
    assert_same(alone, whole_gradients, atol=2e-5)
    assert_same(whole_gradients, {n: p.grad for n, p in model.named_parameters()}, atol=2e-5)


@pytest.mark.parametrize("lora", [None, LoRA(rank=4)])
def test_mismatched_completions_that_go_on_from_their_prompts_change_nothing(
    lora: LoRA | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loss = KTO(beta=1.0)
    store = make_store(tmp_path / "store", loss, 16)
    policy = disturb(policy_for(loss, lora=lora), seed=13)
    table, gradient = run(policy, loss, store, reuse_prompt_cache=False)
    fed: list[int] = []
    states = Scorer.states

    def count(scorer: Scorer, packed: Any, prefix_cache: Any = None) -> Tensor:
        fed.append(packed.num_tokens)
        return states(scorer, packed, prefix_cache)

    monkeypatch.setattr(Scorer, "states", count)
    again, same = run(policy, loss, store, reuse_prompt_cache=True)
    answers = sum(int(store.completion_length[y]) for y in again.step.mismatched)

    assert_same(numbers(again), numbers(table), atol=2e-5)
    assert_same(same, gradient, atol=2e-5)
    assert fed[-1] <= answers  # no prompt is fed in again


@losses
def test_micro_batches_made_ready_by_another_thread_change_not_a_bit(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loss = LOSSES[name]
    store = make_store(tmp_path / "store", loss, 16)
    policy = disturb(policy_for(loss))
    here, gradients_here = run(policy, loss, store, most=2, budget=80)

    for module in (step_module, completion_logps):
        monkeypatch.setattr(module, "prefetch", partial(prefetch, ahead=2))
    table, ahead = run(policy, loss, store, most=2, budget=80)

    for found, true in ((numbers(table), numbers(here)), (ahead, gradients_here)):
        assert found.keys() == true.keys()
        assert all(np.array_equal(np.asarray(found[key]), np.asarray(true[key])) for key in true)


@pytest.mark.parametrize("name", ["kto", "dpo"])
def test_offloaded_activations_change_not_a_bit(name: str, tmp_path: Path):
    loss = LOSSES[name]
    store = make_store(tmp_path / "store", loss, 8)
    policy = disturb(policy_for(loss))
    stepper = make_stepper(policy, loss, store, most=3)
    parked: list[int] = []

    def counting() -> Any:
        parked.append(1)
        return offloaded(list(policy.model.parameters()), worth=1)

    elsewhere = dataclasses.replace(stepper, activations=counting)
    kept = stepper.run(first_step(stepper), backward=True)
    expected = gradients(policy)
    policy.model.zero_grad()
    table = elsewhere.run(first_step(elsewhere), backward=True)

    assert len(parked) == len(stepper.micro_batches(table.step)) > 1
    for found, true in ((numbers(table), numbers(kept)), (gradients(policy), expected)):
        assert all(np.array_equal(np.asarray(found[key]), np.asarray(true[key])) for key in true)


@losses
def test_micro_batches_keep_their_limits(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    loss = LOSSES[name]
    store = make_store(tmp_path / "store", loss, 32)
    policy = policy_for(loss)
    sizes = []
    original = Scorer.states

    def spy(self: Scorer, packed: Any, prefix_cache: Any = None) -> Tensor:
        if self is policy.scorer:
            sizes.append(packed.num_tokens)
        return original(self, packed, prefix_cache)

    monkeypatch.setattr(Scorer, "states", spy)
    run(policy, loss, store, budget=60)

    assert len(sizes) > 5
    assert max(sizes) <= 60


# -- the oracle ------------------------------------------------------------------------------------------------------


def totals(model: Any, rows: list[tuple[Any, Any]]) -> Tensor:
    """log p(completion | prompt) of each row, from the logits of one padded batch."""
    whole = [torch.tensor(np.concatenate(row)).long() for row in rows]
    ids = torch.nn.utils.rnn.pad_sequence(whole, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(w)) for w in whole], batch_first=True)
    logits = model(input_ids=ids, attention_mask=mask.long()).logits[:, :-1]
    logps = torch.log_softmax(logits, dim=-1).gather(2, ids[:, 1:, None]).squeeze(2)
    return torch.stack([logps[i, len(x) - 1 : len(x) + len(y) - 1].sum() for i, (x, y) in enumerate(rows)])


def row(store: TokenStore, x: int, y: int) -> tuple[Any, Any]:
    return store.read(x).prompt, store.read(y).completion


def oracle(loss: Any, store: TokenStore, step: Step, model: Any, reference: Any) -> Tensor:
    """The losses of the step's examples, by the formulas of the papers."""
    if isinstance(loss, SFT):
        return -totals(model, [row(store, i, i) for i in step.examples])
    if isinstance(loss, DPO):
        chosen, rejected = ([row(store, 2 * i + k, 2 * i + k) for i in step.examples] for k in (0, 1))
        with torch.no_grad():
            base = totals(reference, chosen) - totals(reference, rejected)
        return -torch.log(torch.sigmoid(loss.beta * (totals(model, chosen) - totals(model, rejected) - base)))
    matched = [row(store, i, i) for i in step.examples]
    mismatched = [row(store, x, y) for x, y in zip(step.examples, step.mismatched, strict=True)]
    with torch.no_grad():
        base = totals(reference, matched)
        z0 = torch.clamp((totals(model, mismatched) - totals(reference, mismatched)).mean(), min=0)
    r = totals(model, matched) - base
    desirable = torch.tensor(store.desirable[step.examples])
    value = torch.sigmoid(loss.beta * torch.where(desirable, r - z0, z0 - r))
    weight = torch.where(desirable, loss.desirable_weight, loss.undesirable_weight)
    return weight * (1 - value)


@losses
@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_a_step_is_the_formula_over_a_plain_padded_forward(name: str, disturbance: int, tmp_path: Path):
    loss = LOSSES[name]
    store = make_store(tmp_path / "store", loss, 12)
    policy = disturb(policy_for(loss), seed=disturbance)
    table, found = run(policy, loss, store, budget=60)
    model = tiny_model()
    model.load_state_dict(policy.model.state_dict())

    per_example = oracle(loss, store, table.step, model, tiny_model())
    per_example.mean().backward()

    np.testing.assert_allclose(table.loss, per_example.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert_same(found, {n: p.grad for n, p in model.named_parameters()}, atol=1e-5)


def test_the_reference_points_above_lie_on_both_sides_of_the_clamp(tmp_path: Path):
    # Otherwise the test above would not notice a clamp that is missing.
    loss = LOSSES["kto"]
    store = make_store(tmp_path / "store", loss, 12)
    raw = []
    for disturbance in DISTURBANCES:
        table, _ = run(disturb(policy_for(loss), seed=disturbance), loss, store)
        assert table.mismatched is not None
        raw.append(float(table.mismatched.mean()))

    assert min(raw) < -0.05 < 0.05 < max(raw)


# -- what a step is at the start -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lora", [None, LoRA(rank=4)], ids=["full", "lora"])
@pytest.mark.parametrize("split", [{}, {"most": 1}, {"budget": 60}], ids=str)
def test_the_first_loss_is_half_the_class_weights(lora: LoRA | None, split: dict[str, Any], tmp_path: Path):
    loss = KTO(desirable_weight=1.5, undesirable_weight=0.75)
    store = write_store(tmp_path / "store", thumbs(16, desirable=(True, False, False)))
    policy = policy_for(loss, lora=lora)
    policy.model.train()

    table, _ = run(policy, loss, store, **split)

    desirable = int(store.desirable.sum())
    assert float(table.weight @ table.loss) == pytest.approx((1.5 * desirable + 0.75 * (16 - desirable)) / 32, rel=1e-6)
    assert table.log_ratio is not None
    assert float(np.abs(table.log_ratio).max()) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("lora", [None, LoRA(rank=4)], ids=["full", "lora"])
def test_policy_and_reference_start_equal_to_the_bit_where_they_are_laid_out_alike(
    dtype: torch.dtype, lora: LoRA | None, tmp_path: Path
):
    loss = KTO()
    store = write_store(tmp_path / "store", thumbs(16, per_prompt=2))
    policy = policy_for(loss, lora=lora, dtype=dtype)

    for members in ([0], [3, 9], list(range(16))):
        packed = packed_rows([store.read(i) for i in members], policy.device)
        assert torch.equal(policy.token_logps(packed), policy.reference_logps(packed))


@pytest.fixture
def rounding_of_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    let_layouts_round(monkeypatch)


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("lora", [None, LoRA(rank=4)], ids=["full", "lora"])
@pytest.mark.parametrize(
    "split", [{}, {"most": 1}, {"budget": 60}, {"budget": 60, "reuse_prompt_cache": False}, {"most": 3}], ids=str
)
@pytest.mark.usefixtures("rounding_of_layouts")
def test_the_first_log_ratios_are_zero_exactly_however_the_layout_rounds(
    lora: LoRA | None, split: dict[str, Any], cached: bool, tmp_path: Path
):
    loss = KTO()
    store = write_store(tmp_path / "store", thumbs(16, per_prompt=2))
    policy = policy_for(loss, lora=lora, dtype=torch.bfloat16)
    cache = ReferenceCache(tmp_path / "cache") if cached else None

    table, _ = run(policy, loss, store, cache=cache, **split)

    assert table.log_ratio is not None
    assert table.mismatched is not None
    assert not table.log_ratio.any()
    assert not table.mismatched.any()


@pytest.mark.parametrize("name", ["dpo", "humanline", "wpo"])
@pytest.mark.usefixtures("rounding_of_layouts")
def test_pairs_and_tokens_of_the_reference_are_laid_out_as_the_policys_too(name: str, tmp_path: Path):
    loss = EVERY[name]
    policy = policy_for(loss, dtype=torch.bfloat16)

    table, _ = run(policy, loss, make_store(tmp_path / "store", loss, 12), most=5)

    assert table.log_ratio is not None
    assert not table.log_ratio.any()


@pytest.mark.usefixtures("rounding_of_layouts")
def test_a_cache_that_was_filled_in_other_layouts_leaves_the_first_step_at_zero_and_shows_their_rounding_later(
    tmp_path: Path,
):
    loss = KTO()
    store = write_store(tmp_path / "store", thumbs(16))
    policy = policy_for(loss, dtype=torch.bfloat16)
    run(policy, loss, store, cache=ReferenceCache(tmp_path / "cache"), most=1)
    stepper = make_stepper(policy, loss, store, cache=ReferenceCache(tmp_path / "cache"))
    step = first_step(stepper)

    first = stepper.run(step, backward=True)
    later = stepper.run(dataclasses.replace(step, index=1), backward=True)

    assert first.log_ratio is not None
    assert first.mismatched is not None
    assert later.log_ratio is not None
    assert not first.log_ratio.any()
    assert not first.mismatched.any()
    assert later.log_ratio.any()


def test_the_first_loss_of_dpo_is_log_two(tmp_path: Path):
    loss = DPO()
    table, _ = run(policy_for(loss), loss, make_store(tmp_path / "store", loss, 8), most=3)

    assert table.loss == pytest.approx(np.log(2), abs=1e-5)


# -- the parts -------------------------------------------------------------------------------------------------------


@losses
def test_rows_count_by_their_weight(name: str, tmp_path: Path):
    loss = LOSSES[name]
    rows = [dataclasses.replace(r, weight=1.0 + r.group % 3) for r in rows_for(loss, 9)]
    store = write_store(tmp_path / "store", rows, paired=loss.needs.pairs)
    policy = disturb(policy_for(loss))
    table, found = run(policy, loss, store, most=2)
    model = tiny_model()
    model.load_state_dict(policy.model.state_dict())
    weights = 1.0 + table.step.examples % 3

    per_example = oracle(loss, store, table.step, model, tiny_model())
    (per_example * torch.tensor(weights / weights.sum())).sum().backward()

    assert table.weight == pytest.approx(weights / weights.sum())
    assert_same(found, {n: p.grad for n, p in model.named_parameters()}, atol=1e-5)


@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_rows_count_by_their_weight_however_few_are_in_a_step(name: str, tmp_path: Path):
    loss = LOSSES[name]
    rows = [dataclasses.replace(r, weight=(9.0, 1.0, 0.5)[r.group % 3]) for r in rows_for(loss, 6)]
    store = write_store(tmp_path / "store", rows, paired=loss.needs.pairs)
    policy = disturb(policy_for(loss))
    _, whole = run(policy, loss, store)
    for weight in policy.trainable().values():
        weight.grad = None
    stepper = make_stepper(policy, loss, store)
    schedule = make_schedule(stepper, batch_size=1, epochs=1, seed=3)
    for i in range(schedule.num_steps):
        stepper.run(schedule.step(i), backward=True)

    # One example a step: by its share of the step alone each would count as much as any other.
    assert_same({n: g / 6 for n, g in gradients(policy).items()}, whole, atol=1e-5)


@pytest.mark.parametrize("label", [True, False])
def test_a_step_of_one_label_is_fine(label: bool, tmp_path: Path):
    loss = LOSSES["kto"]
    store = write_store(tmp_path / "store", thumbs(6, desirable=(label,)))
    policy = disturb(policy_for(loss))
    table, found = run(policy, loss, store, most=4)
    model = tiny_model()
    model.load_state_dict(policy.model.state_dict())

    oracle(loss, store, table.step, model, tiny_model()).mean().backward()

    assert np.isfinite(table.loss).all()
    assert_same(found, {n: p.grad for n, p in model.named_parameters()}, atol=1e-5)


def test_a_step_of_one_row_borrows_its_mismatched_completion(tmp_path: Path):
    loss = LOSSES["kto"]
    store = make_store(tmp_path / "store", loss, 5)
    policy = disturb(policy_for(loss))
    stepper = make_stepper(policy, loss, store)
    step = first_step(stepper, batch_size=1)

    table = stepper.run(step, backward=True)

    assert step.mismatched.tolist() != step.examples.tolist()
    with torch.no_grad():
        true = oracle(loss, store, step, policy.model, tiny_model())
    assert table.loss == pytest.approx(true.numpy(), rel=1e-4)


def test_validation_leaves_no_gradient(tmp_path: Path):
    loss = LOSSES["kto"]
    policy = policy_for(loss)
    stepper = make_stepper(policy, loss, make_store(tmp_path / "store", loss, 4))

    stepper.run(first_step(stepper), backward=False)

    assert not gradients(policy)


def test_dropout_is_in_the_trained_scores_and_nowhere_else(tmp_path: Path):
    loss = LOSSES["kto"]
    store = make_store(tmp_path / "store", loss, 8)
    policy = disturb(policy_for(loss, kind="gpt2"))
    still, _ = run(policy, loss, store, most=3)
    set_dropout(policy.model, 0.5)
    policy.model.train()
    torch.manual_seed(0)

    dropped, _ = run(policy, loss, store, most=3)

    assert policy.model.training
    assert still.mismatched is not None
    assert dropped.mismatched is not None
    assert still.log_ratio is not None
    assert dropped.log_ratio is not None
    np.testing.assert_array_equal(dropped.mismatched, still.mismatched)
    assert float(np.abs(dropped.logp - still.logp).max()) > 0.1
    # What is left of the ratio is the reference, which did not change either.
    np.testing.assert_allclose(dropped.logp - dropped.log_ratio, still.logp - still.log_ratio, rtol=0, atol=1e-10)


@pytest.mark.parametrize("reuse", [False, True])
def test_mismatched_completions_give_no_gradient(reuse: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    loss = LOSSES["kto"]
    policy = disturb(policy_for(loss))
    store = make_store(tmp_path / "store", loss, 6)
    recorded = []
    original = Scorer.states

    def spy(self: Scorer, packed: Any, prefix_cache: Any = None) -> Tensor:
        found = original(self, packed, prefix_cache)
        if self is policy.scorer:
            recorded.append((found.requires_grad, len(packed.piece_lengths)))
        return found

    monkeypatch.setattr(Scorer, "states", spy)
    run(policy, loss, store, reuse_prompt_cache=reuse)

    # The reference first, as the policy after it: (x, y') of the whole step without gradient and (x, y), which has one
    # in the policy alone; the other way round where y' goes on from x.
    assert recorded == [(False, 6), (False, 6), (reuse, 6), (not reuse, 6)]


def test_a_custom_loss_is_called_on_chosen_and_rejected_of_the_same_pair(tmp_path: Path):
    loss = DPO()
    store = make_store(tmp_path / "store", loss, 5)
    policy = disturb(policy_for(loss))
    table, _ = run(policy, loss, store, most=2)
    assert table.log_ratio is not None

    margins = table.log_ratio[:5] - table.log_ratio[5:]

    assert table.sequences.tolist() == [*(2 * table.step.examples), *(2 * table.step.examples + 1)]
    np.testing.assert_allclose(table.loss, np.log1p(np.exp(-loss.beta * margins)), rtol=1e-5)
    np.testing.assert_array_equal(table.metrics["accuracy"], margins > 0)


# -- what other losses declare ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Spy:
    """A loss that remembers what it was given."""

    needs: Needs
    given: list[Any] = dataclasses.field(default_factory=list)

    def __call__(self, batch: Any) -> LossOutput:
        self.given.append(batch)
        sides = [batch.chosen, batch.rejected] if self.needs.pairs else [batch.completions]
        return LossOutput(-sum(side.policy.total() for side in sides))

    def batches(self, **fields: Any) -> list[Any]:
        """All that it was given by a step."""
        policy = disturb(policy_for(self))
        self.given.clear()
        run(policy, self, **fields)
        return self.given


def test_tokens_of_the_reference_reach_the_loss_beside_their_own_sequences(tmp_path: Path):
    spy = Spy(Needs(reference_tokens=True, mismatched=True))
    store = make_store(tmp_path / "store", spy, 9)

    batches = spy.batches(store=store, most=2)

    assert len(batches) == 5
    for batch in batches:
        for side in (batch.completions, batch.others()):
            assert side.reference_T.shape == side.policy.token_T.shape
            torch.testing.assert_close(side.policy.sums(side.reference_T), side.reference_B, rtol=0, atol=1e-4)
    # The reference is the model before it was disturbed.
    base = totals(
        tiny_model(), [row(store, i, i) for i in first_step(make_stepper(policy_for(spy), spy, store)).examples]
    )
    found = torch.cat([batch.completions.reference_B for batch in batches])
    torch.testing.assert_close(found.sort().values, base.detach().sort().values, rtol=0, atol=1e-4)
    # Mismatched completions are those of the whole step, in every micro-batch the same.
    assert all(len(batch.others().policy.lengths_B) == 9 for batch in batches)
    assert all(torch.equal(batch.others().reference_T, batches[0].others().reference_T) for batch in batches)


def test_tokens_of_the_reference_are_cut_into_chosen_and_rejected(tmp_path: Path):
    spy = Spy(Needs(pairs=True, reference_tokens=True, collision=True, reference_kl=True, values=True))

    batches = spy.batches(store=make_store(tmp_path / "store", spy, 5), most=2)

    for batch in batches:
        for side in (batch.chosen, batch.rejected):
            torch.testing.assert_close(side.policy.sums(side.reference_T), side.reference_B, rtol=0, atol=1e-4)
            given = (side.collision_T, side.reference_kl_T, side.value_T)
            assert all(part.shape == side.policy.token_T.shape for part in given)


def test_what_was_not_asked_for_is_not_given(tmp_path: Path):
    spy = Spy(Needs())

    [batch] = spy.batches(store=make_store(tmp_path / "store", spy, 5))

    side = batch.completions
    parts = (side.reference_B, side.reference_T, side.collision_T, side.reference_kl_T, side.value_T)
    assert parts == (None,) * 5
    assert (batch.mismatched, batch.score_B, batch.running_reward) == (None, None, None)


@pytest.mark.parametrize("split", [{"most": 1}, {"budget": 1}, {"most": 2, "budget": 30}], ids=str)
def test_a_step_of_a_whole_step_loss_is_not_split(split: dict[str, Any], tmp_path: Path):
    spy = Spy(Needs(whole_step=True))

    [batch] = spy.batches(store=make_store(tmp_path / "store", spy, 9), **split)

    assert len(batch.desirable_B) == 9


def test_scores_reach_the_loss_beside_their_own_completions(tmp_path: Path):
    spy = Spy(Needs(scores=True))
    rows = [dataclasses.replace(r, score=i / 8, completion="ab" * i) for i, r in enumerate(thumbs(9)) if i]

    batches = spy.batches(store=write_store(tmp_path / "store", rows), most=3)

    assert len(batches) == 3
    for batch in batches:
        tokens = batch.completions.policy.lengths_B  # two letters a score's eighth, and the end of turn
        assert batch.scores().tolist() == ((tokens - 1) / 16).tolist()


@pytest.mark.parametrize("reward", [0.0, -2.5])
def test_the_running_reward_reaches_the_loss(reward: float, tmp_path: Path):
    loss = BCO(beta=0.4)
    store = make_store(tmp_path / "store", loss, 8)
    stepper = make_stepper(disturb(policy_for(loss)), loss, store, most=3)

    table = stepper.run(first_step(stepper), backward=True, running_reward=reward)

    assert table.log_ratio is not None
    margin = 0.4 * (table.log_ratio - reward) * np.where(store.desirable[table.sequences], 1, -1)
    np.testing.assert_allclose(table.loss, np.log1p(np.exp(-margin)), rtol=1e-5)


NAMES = [name for name, loss in EVERY.items() if name not in LOSSES and not loss.needs.whole_step]


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_any_loss_is_the_same_however_it_is_split(name: str, tmp_path: Path):
    loss = EVERY[name]
    store = make_store(tmp_path / "store", loss, 8)
    policy = disturb(policy_for(loss), seed=13)
    whole, whole_gradients = run(policy, loss, store)
    table, split_gradients = run(policy, loss, store, budget=60, most=3)

    # A unit of the gradient is its largest number: of SPPO's, whose loss begins at 500000, those are thousands.
    unit = max(1.0, *(float(g.abs().max()) for g in whole_gradients.values()))
    assert_same(numbers(table), numbers(whole), atol=2e-5 * max(1.0, float(np.abs(whole.loss).max())))
    assert_same(
        {n: g / unit for n, g in split_gradients.items()}, {n: g / unit for n, g in whole_gradients.items()}, atol=2e-5
    )
