"""Held-out numbers: the whole set, whatever the steps; and by hand where they are means."""

from pathlib import Path

import numpy as np
import pytest
import torch

from haloes.errors import MissingInputError
from haloes.training.validation import Validation, make_schedule, validate
from training_jobs import LOSSES, disturb, make_stepper, make_store, pairs, policy_for, thumbs, write_store


def found(**fields: object) -> Validation:
    defaults: dict[str, object] = {
        "loss": 0.25,
        "sequences": np.arange(4),
        "log_ratio": np.array([3.0, 1.0, -1.0, -4.0]),
        "logp": np.array([-1.0, -2.0, -3.0, -4.0]),
        "mismatched": None,
        "desirable": np.array([True, True, False, False]),
        "group": np.arange(4),
        "tokens": np.array([1, 2, 3, 4]),
        "weight": np.ones(4),
    }
    return Validation(**defaults | fields)  # type: ignore[arg-type]


def test_numbers_by_hand():
    assert found(mismatched=np.array([-1.0, 3.0])).metrics() == {
        "loss": 0.25,
        "reward/desirable": 2.0,
        "reward/undesirable": -2.5,
        "reward_margin": 4.5,
        "reference_point": 1.0,
        "reference_point/raw": 1.0,
        "reference_point/clamped": 0.0,
        "reference_point/standard_error": 2.0,
    }


def test_one_class_has_no_margin():
    assert found(desirable=np.ones(4, np.bool_)).metrics() == {"loss": 0.25, "reward/desirable": -0.25}


def test_a_loss_without_reference_is_validated_against_the_model_before_training(tmp_path: Path):
    loss = LOSSES["sft"]
    store = make_store(tmp_path / "store", loss, 4)
    stepper = make_stepper(disturb(policy_for(loss)), loss, store)
    logp_before = np.array([-1.0, -2.0, -3.0, -4.0])

    validation = validate(stepper, batch_size=4, seed=0, logp_before=logp_before)

    np.testing.assert_allclose(validation.log_ratio, validation.logp - logp_before[validation.sequences])
    with pytest.raises(MissingInputError, match="logp_before"):
        validate(stepper, batch_size=4, seed=0)


@pytest.mark.parametrize("name", list(LOSSES))
def test_every_sequence_is_scored_once_and_as_in_one_step(name: str, tmp_path: Path):
    loss = LOSSES[name]
    store = make_store(tmp_path / "store", loss, 10)
    policy = disturb(policy_for(loss))
    stepper = make_stepper(policy, loss, store, budget=50)

    validation = validate(stepper, batch_size=4, seed=0, logp_before=np.zeros(len(store)) if name == "sft" else None)

    assert sorted(validation.sequences) == list(range(len(store)))
    whole = stepper.run(make_schedule(stepper, batch_size=10, epochs=1, seed=0).step(0), backward=False)
    order = np.argsort(validation.sequences)
    np.testing.assert_allclose(validation.logp[order], whole.logp[np.argsort(whole.sequences)], rtol=1e-5, atol=1e-5)
    assert validation.desirable.tolist() == store.desirable[validation.sequences].tolist()
    assert validation.tokens.tolist() == store.trained_length[validation.sequences].tolist()
    assert validation.group.tolist() == store.group[validation.sequences].tolist()
    if name == "dpo":  # no reference point: the loss does not depend on which examples stand together
        assert validation.loss == pytest.approx(float(whole.weight @ whole.loss), rel=1e-5)


def test_the_loss_is_the_mean_over_examples_and_not_over_steps(tmp_path: Path):
    loss = LOSSES["sft"]
    store = write_store(tmp_path / "store", [*thumbs(4), *thumbs(1, seed=9)])
    stepper = make_stepper(policy_for(loss), loss, store)
    validation = validate(stepper, batch_size=4, seed=0, logp_before=np.zeros(len(store)))

    # Steps of 3 and 2 examples.
    assert validation.loss == pytest.approx(float(-validation.logp.mean()), rel=1e-6)


def test_weights_count(tmp_path: Path):
    loss = LOSSES["sft"]
    rows = [type(row)(row.prompt, row.completion, True, i, 1.0 + i) for i, row in enumerate(thumbs(5))]
    store = write_store(tmp_path / "store", rows)
    stepper = make_stepper(policy_for(loss), loss, store)
    validation = validate(stepper, batch_size=2, seed=0, logp_before=np.zeros(len(store)))

    weights = 1.0 + validation.sequences
    assert validation.loss == pytest.approx(float(-(weights @ validation.logp) / weights.sum()), rel=1e-6)


def test_the_policy_is_left_as_it_was(tmp_path: Path):
    loss = LOSSES["dpo"]
    policy = policy_for(loss)
    policy.model.train()

    validate(make_stepper(policy, loss, write_store(tmp_path / "store", pairs(3), paired=True)), batch_size=2, seed=0)

    assert policy.model.training
    assert torch.is_grad_enabled()
    assert all(weight.grad is None for weight in policy.trainable().values())
