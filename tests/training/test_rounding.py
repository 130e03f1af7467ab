"""By how much rounding moves the log-probability of an answer: measured without a look at the processor."""

from pathlib import Path

import pytest
import torch

from haloes.losses.kto import KTO
from haloes.models.layout import Packed
from haloes.models.policy import Policy
from haloes.tokens.store import TokenStore
from haloes.training.rounding import measure_rounding
from training_jobs import Row, let_layouts_round, policy_for, thumbs, write_store


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Packed]:
    """The layouts that go through any policy."""
    layouts: list[Packed] = []
    original = Policy.token_logps

    def spy(self: Policy, packed: Packed, *more: object) -> torch.Tensor:
        layouts.append(packed)
        return original(self, packed, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Policy, "token_logps", spy)
    return layouts


def store_of(folder: Path, lengths: list[int]) -> TokenStore:
    rows = [Row(f"{i:03}", "a" * length, group=i) for i, length in enumerate(lengths)]
    return write_store(folder, rows, max_length=4096)


def test_it_is_the_deviation_between_answers_together_and_alone(
    tmp_path: Path, asked: list[Packed], monkeypatch: pytest.MonkeyPatch
):
    let_layouts_round(monkeypatch)
    policy = policy_for(KTO(), dtype=torch.bfloat16)
    asked.clear()

    found = measure_rounding(policy, write_store(tmp_path / "store", thumbs(5)))

    together, *alone = asked
    assert [len(packed.trained) for packed in asked] == [5, 1, 1, 1, 1, 1]
    assert (found.answers, found.tokens) == (5, sum(together.trained) / 5)
    with torch.no_grad():
        apart = policy.token_logps(together) - torch.cat([policy.token_logps(one) for one in alone])
    # That of a sum of as many independent numbers as an answer has tokens.
    assert found.nats == pytest.approx(float(apart.square().mean().sqrt()) * found.tokens**0.5, rel=1e-4)
    assert found.nats > 0


def test_in_bfloat16_it_is_a_number_and_in_float32_hardly_anything(tmp_path: Path):
    store = write_store(tmp_path / "store", thumbs(8))

    short, long = (measure_rounding(policy_for(KTO(), dtype=t), store).nats for t in (torch.bfloat16, torch.float32))

    assert 0 <= short < 5
    assert 0 <= long < 1e-3


def test_answers_of_all_lengths_are_taken_and_fewer_where_they_are_long(tmp_path: Path, asked: list[Packed]):
    policy = policy_for(KTO())
    asked.clear()

    many = measure_rounding(policy, store_of(tmp_path / "short", list(range(1, 101))))
    lengths = sorted(packed.trained[0] for packed in asked[1:])
    few = measure_rounding(policy, store_of(tmp_path / "long", [250] * 20))
    two = measure_rounding(policy, store_of(tmp_path / "longer", [1000, 1100, 1200]))

    assert (many.answers, few.answers, two.answers) == (8, 4, 2)
    assert two.tokens == 1101
    assert lengths[0] < 15
    assert lengths[-1] > 85


def test_it_is_measured_the_same_every_time_and_changes_nothing(tmp_path: Path):
    policy = policy_for(KTO(), dtype=torch.bfloat16)
    store = write_store(tmp_path / "store", thumbs(12))
    policy.model.train()
    before = {name: weight.clone() for name, weight in policy.trainable().items()}

    assert measure_rounding(policy, store) == measure_rounding(policy, store)
    assert policy.model.training
    assert all(torch.equal(weight, before[name]) for name, weight in policy.trainable().items())
