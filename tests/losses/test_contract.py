"""What losses are given: ragged log-probabilities, log-ratios, and the reference point."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar

import pytest
import torch

from haloes.errors import ConfigError, MissingInputError
from haloes.losses._contract import Logps, LossOutput, Needs, Paired, Scored, Unpaired, call_loss, declared_metrics
from haloes.losses.length_normalised import LengthNormalised
from haloes.losses.mixture import Mixture
from loss_batches import make_batch, make_examples, of_ratios, scored

EVERYTHING = Needs(
    reference=True,
    reference_tokens=True,
    reference_kl=True,
    mismatched=True,
    scores=True,
    collision=True,
    values=True,
    rewards=True,
    running_reward=True,
)


def logps(*sequences: list[float]) -> Logps:
    tokens = torch.tensor([token for sequence in sequences for token in sequence], dtype=torch.float64)
    return Logps(tokens.requires_grad_(), torch.tensor([len(sequence) for sequence in sequences]))


def unpaired(mismatched: list[float] | None) -> Unpaired:
    others = None
    if mismatched is not None:
        others = of_ratios(torch.tensor(mismatched, dtype=torch.float64, requires_grad=True))
    return Unpaired(Scored(logps([-1.0])), torch.tensor([True]), others)


def test_a_sequence_has_the_sum_and_the_mean_of_its_own_tokens() -> None:
    found = logps([-1.0, -2.0], [-4.0], [-1.0, -1.0, -1.0])

    assert found.total().tolist() == [-3.0, -4.0, -3.0]
    assert found.average().tolist() == [-1.5, -4.0, -1.0]


def test_a_sequence_without_tokens_has_log_probability_zero() -> None:
    found = logps([-1.0], [], [-2.0])

    assert found.total().tolist() == [-1.0, 0.0, -2.0]
    assert found.average().tolist() == [-1.0, 0.0, -2.0]


def test_the_gradient_of_a_sum_is_one_for_its_tokens_and_zero_for_others() -> None:
    found = logps([-1.0, -2.0], [-4.0])
    [gradient] = torch.autograd.grad(found.total()[0], found.token_T)

    assert gradient.tolist() == [1.0, 1.0, 0.0]


def test_values_at_tokens_are_summed_averaged_and_spread_by_sequence() -> None:
    found = logps([-1.0, -2.0], [], [-4.0])

    assert found.sums(torch.tensor([1.0, 5.0, 7.0])).tolist() == [6.0, 0.0, 7.0]
    assert found.averages(torch.tensor([1.0, 5.0, 7.0])).tolist() == [3.0, 0.0, 7.0]
    assert found.spread(torch.tensor([1.0, 2.0, 3.0])).tolist() == [1.0, 1.0, 3.0]
    assert found.position().tolist() == [0, 1, 0]


def test_a_token_log_ratio_is_policy_minus_reference_without_gradient_to_the_reference() -> None:
    policy, reference = logps([-1.0, -2.0]), torch.tensor([-5.0, -1.0], dtype=torch.float64, requires_grad=True)
    found = Scored(policy, reference_T=reference).token_log_ratio()
    [to_reference] = torch.autograd.grad(found.sum(), [reference], allow_unused=True, materialize_grads=True)

    assert found.tolist() == [4.0, -1.0]
    assert to_reference.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", ["token_log_ratio", "collision", "reference_kl", "value"])
def test_what_was_not_given_is_missed_by_name(name: str) -> None:
    with pytest.raises(MissingInputError, match="this loss needs"):
        getattr(Scored(logps([-1.0])), name)()


@pytest.mark.parametrize("name", ["scores", "reward_so_far", "others"])
def test_what_a_batch_of_single_completions_was_not_given_is_missed_by_name(name: str) -> None:
    with pytest.raises(MissingInputError, match="this loss needs"):
        getattr(unpaired(None), name)()


def test_a_change_reaches_all_scored_completions_of_a_batch() -> None:
    def doubled(side: Scored) -> Scored:
        return Scored(Logps(2 * side.policy.token_T, side.policy.lengths_B))

    single = unpaired([3.0]).mapped(doubled)
    pair = Paired(Scored(logps([-1.0])), Scored(logps([-2.0]))).mapped(doubled)

    assert single.completions.policy.token_T.tolist() == [-2.0]
    assert single.others().policy.token_T.tolist() == [6.0]
    assert unpaired(None).mapped(doubled).mismatched is None
    assert [pair.chosen.policy.token_T.item(), pair.rejected.policy.token_T.item()] == [-2.0, -4.0]


def test_a_log_ratio_is_policy_minus_reference_without_gradient_to_the_reference() -> None:
    policy, reference = logps([-1.0, -2.0], [-4.0]), torch.tensor([-5.0, -1.0], dtype=torch.float64, requires_grad=True)
    found = Scored(policy, reference).log_ratio()
    to_policy, to_reference = torch.autograd.grad(found.sum(), (policy.token_T, reference), allow_unused=True)

    assert found.tolist() == [2.0, -3.0]
    assert to_policy.tolist() == [1.0, 1.0, 1.0]
    assert to_reference is None


def test_a_log_ratio_without_a_reference_says_what_is_missing() -> None:
    with pytest.raises(MissingInputError, match="needs reference log-probabilities, and the batch has none"):
        Scored(logps([-1.0])).log_ratio()


@pytest.mark.parametrize(
    ("mismatched", "point"),
    [([3.0], 3.0), ([1.0, 3.0], 2.0), ([-3.0, 1.0], 0.0), ([-3.0, 5.0], 1.0), ([-2.0, -1.0], 0.0), ([0.0], 0.0)],
)
def test_the_reference_point_is_the_mean_clamped_at_zero(mismatched: list[float], point: float) -> None:
    found = unpaired(mismatched).reference_point()

    assert found.item() == point
    assert found.shape == ()
    assert not found.requires_grad


@pytest.mark.parametrize("mismatched", [None, []])
def test_a_reference_point_without_mismatched_completions_says_what_is_missing(mismatched: list[float] | None) -> None:
    with pytest.raises(MissingInputError, match="needs mismatched completions"):
        unpaired(mismatched).reference_point()


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_single_completions_asked_for_pairs_say_what_is_missing(side: str) -> None:
    with pytest.raises(MissingInputError, match="needs pairs, and the batch holds single completions"):
        getattr(unpaired(None), side)


def test_a_loss_that_declares_nothing_gets_single_completions_of_both_labels_and_no_more() -> None:
    assert Needs() == Needs(pairs=False, reference=False, mismatched=False, undesirable=True)


def test_metrics_are_optional() -> None:
    assert LossOutput(torch.zeros(2)).metrics == {}


@dataclass(frozen=True)
class Own:
    """A loss from outside that returns these metrics and declares none."""

    returned: tuple[str, ...] = ()
    needs: ClassVar[Needs] = Needs()

    def __call__(self, batch: Unpaired) -> LossOutput:
        loss_B = -batch.completions.policy.total()
        return LossOutput(loss_B, dict.fromkeys(self.returned, loss_B.detach()))


@dataclass(frozen=True)
class Declaring(Own):
    """The same with a declaration."""

    metrics: ClassVar[tuple[str, ...]] = ("worth",)


def test_a_loss_that_returns_no_metrics_need_not_declare_any() -> None:
    own: Any = Own()

    assert declared_metrics(own) == ()
    assert call_loss(own, unpaired(None)).metrics == {}


def test_a_loss_that_returns_what_it_declares_is_called() -> None:
    own: Any = Declaring(returned=("worth",))

    assert list(call_loss(own, unpaired(None)).metrics) == list(declared_metrics(own)) == ["worth"]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (
            Own(("b", "a")),
            "write metrics: ClassVar[tuple[str, ...]] = ('a', 'b') in its class",
        ),
        (Declaring(("worth", "more")), 'returns the metrics "more", "worth" and declares "worth"; write'),
        (Declaring(), 'Declaring returns the metrics none and declares "worth"; write'),
    ],
    ids=["nothing declared", "too few declared", "too many declared"],
)
def test_a_loss_that_returns_other_metrics_than_it_declares_is_refused_with_the_line_to_write(
    own: Any, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        call_loss(own, unpaired(None))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda own: Mixture(losses=(own,), weights=(1.0,)),
        lambda own: LengthNormalised(loss=own),
    ],
)
def test_a_wrapper_names_the_loss_inside_that_declares_no_metrics(wrapped: Any) -> None:
    with pytest.raises(ConfigError, match="loss: Own returns the metrics"):
        wrapped(Own(("a",)))(unpaired(None))


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (Needs(), ("labels",)),
        (Needs(undesirable=False), ("good answers",)),
        (Needs(pairs=True, reference=True), ("pairs", "reference")),
        (Needs(scores=True), ("scores or labels",)),
        (Needs(scores=True, score_range=(0.0, 1.0)), ("scores 0 to 1 or labels",)),
        (Needs(reference_tokens=True, sync_every=4), ("labels", "reference by token", "reference synced")),
        (Needs(reference_kl=True), ("labels", "reference", "KL to the reference")),
        (Needs(collision=True, values=True), ("labels", "policy's peakedness", "value head")),
        (Needs(running_reward=True, whole_step=True), ("labels", "running mean reward", "undivided step")),
        (Needs(control=("a", "b")), ("labels", "control texts")),
    ],
)
def test_each_need_has_its_words(needs: Needs, words: tuple[str, ...]):
    assert needs.in_words() == words


def test_a_batch_is_narrowed_to_what_is_declared() -> None:
    whole = make_batch(make_examples(), EVERYTHING)
    assert isinstance(whole, Unpaired)

    for needs in (Needs(), Needs(reference=True, mismatched=True), Needs(scores=True, values=True), EVERYTHING):
        narrowed = needs.narrow(whole)
        expected = make_batch(make_examples(), needs)

        assert [field.name for field in fields(narrowed) if getattr(narrowed, field.name) is None] == [
            field.name for field in fields(expected) if getattr(expected, field.name) is None
        ]
        assert absent(narrowed.completions) == absent(expected.completions)  # type: ignore[union-attr]
    others = Needs(mismatched=True, reference_tokens=True).narrow(whole).others()
    assert absent(others) == {"collision_T", "reference_kl_T", "value_T", "reward_B"}, "sums of tokens are given too"


def test_a_batch_of_pairs_is_narrowed_on_both_sides() -> None:
    whole = make_batch(make_examples(), Needs(pairs=True, reference=True, collision=True, margins=True, rewards=True))
    assert isinstance(whole, Paired)

    narrowed = Needs(pairs=True, logps=False, rewards=True).narrow(whole)

    assert narrowed.margin_B is None
    assert (
        absent(narrowed.chosen) == absent(narrowed.rejected) == {field.name for field in fields(Scored)} - {"reward_B"}
    )
    assert narrowed.chosen.reward_B is whole.chosen.reward_B


def test_part_of_what_is_scored_are_some_sequences_with_their_tokens() -> None:
    examples = make_examples()
    sides = [example.completion for example in examples]
    tokens = sum(len(side.policy) for side in sides[:2])

    part, whole = scored(sides, EVERYTHING).part(slice(2), slice(tokens)), scored(sides[:2], EVERYTHING)

    for field in fields(Scored):
        if field.name != "logps":
            assert torch.equal(getattr(part, field.name), getattr(whole, field.name))
    assert torch.equal(part.policy.token_T, whole.policy.token_T)
    assert torch.equal(part.policy.lengths_B, whole.policy.lengths_B)
    assert scored(sides, Needs(logps=False)).part(slice(2), slice(tokens)) == Scored(None)


def absent(side: Scored) -> set[str]:
    return {field.name for field in fields(side) if getattr(side, field.name) is None}
