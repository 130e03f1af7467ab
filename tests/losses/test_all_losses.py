"""The battery that every loss in the table gets: it does what its declaration says, and nothing that it must not do."""

import ast
import dataclasses
import inspect
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from haloes.errors import ConfigError, MissingInputError
from haloes.losses._about import About
from haloes.losses._contract import LossOutput, Needs, Paired, Scored, Unpaired
from haloes.losses.bradley_terry import BradleyTerry
from haloes.losses.dpo import DPO
from haloes.losses.dro import DRO
from haloes.losses.halo import HALO
from haloes.losses.humanline import Humanline
from haloes.losses.kto import KTO
from haloes.losses.length_normalised import LengthNormalised
from haloes.losses.mixture import Mixture
from haloes.losses.pmpo import PMPO
from haloes.losses.ppo_value import PPOValue
from haloes.losses.sft import SFT
from haloes.losses.table import LOSSES
from haloes.losses.wpo import WPO
from loss_batches import Example, Side, evaluate, gradient, make_batch, make_examples, make_mismatched, ratio_side

MADE = {name: make() for name, make in LOSSES.items()} | {
    "bradley-terry with margins": BradleyTerry(margin=0.7, center=0.3),
    "mixture on pairs with losses on single completions": Mixture(
        losses=(WPO(), PMPO(), SFT(), DPO(beta=0.2), DPO()), weights=(1.0, 0.5, 0.1, 0.0, 2.0)
    ),
    "humanline of a length-normalised mixture": Humanline(
        loss=LengthNormalised(loss=Mixture(losses=(KTO(), PPOValue(), DRO()), weights=(1.0, 1.0, 0.5)))
    ),
}
CLASSES = {name: make for name, make in LOSSES.items() if isinstance(make, type)}

every_loss = pytest.mark.parametrize("loss", MADE.values(), ids=list(MADE))


def losses_where(applies: Callable[[Needs], bool]) -> pytest.MarkDecorator:
    """Parametrise over the losses whose needs are such."""
    some = {name: loss for name, loss in MADE.items() if applies(loss.needs)}
    return pytest.mark.parametrize("loss", some.values(), ids=list(some))


every_class = pytest.mark.parametrize("cls", CLASSES.values(), ids=list(CLASSES))
row_by_row = pytest.mark.parametrize(
    "loss", [loss for loss in MADE.values() if not loss.needs.whole_step], ids=lambda loss: type(loss).__name__
)

NEEDS = {field.name: field.metadata["need"] for field in dataclasses.fields(Needs)}
OPTIONAL = {
    "logps": "log-probabilities",
    "reference": "reference",
    "reference_tokens": "reference",
    "mismatched": "mismatched",
    "scores": "scores",
    "collision": "collision",
    "reference_kl": "KL",
    "values": "value head",
    "rewards": "reward head",
    "margins": "margins",
    "running_reward": "reward",
}
"""What a loss may declare that goes into its batch, and the word with which it misses it."""


def test_every_need_that_a_batch_holds_is_proved_to_be_declared_rightly() -> None:
    assert set(OPTIONAL) == {name for name, need in NEEDS.items() if need.held_by}
    assert {need.held_by for need in NEEDS.values() if need.held_by} == {
        field.name for kind in (Scored, Unpaired, Paired) for field in dataclasses.fields(kind)
    } - {"completions", "desirable_B", "chosen", "rejected"}


def needing(needs: Needs, **changed: Any) -> Needs:
    """These needs with some changed; whoever knows the reference's tokens knows its totals."""
    found = dataclasses.replace(needs, **changed)
    return dataclasses.replace(found, reference=found.reference or found.reference_tokens)


def same(found: LossOutput, expected: LossOutput) -> bool:
    return torch.equal(found.per_example, expected.per_example) and all(
        torch.equal(found.metrics[name], expected.metrics[name]) for name in found.metrics | expected.metrics
    )


def learnt(loss: Any, side: Side) -> Tensor:
    """What a loss moves of a completion."""
    return side.policy if loss.needs.logps else side.reward


def label_kinds(loss: Any) -> list[bool]:
    """The labels whose rows a loss learns from."""
    return [label for label in (True, False) if label or loss.needs.undesirable]


@every_loss
@pytest.mark.parametrize("need", list(OPTIONAL))
def test_what_it_declares_is_necessary_and_what_it_does_not_declare_is_not_used(loss: Any, need: str) -> None:
    examples = make_examples()
    if NEEDS[need].singles_only if loss.needs.pairs else need == "margins":
        assert not getattr(loss.needs, need), "its batches have no place for it"
        return

    if not getattr(loss.needs, need):
        more = make_batch(examples, needing(loss.needs, **{need: True}), running_reward=3.0)
        assert same(loss(more), evaluate(loss, examples, running_reward=3.0))
        return
    if need == "reference" and loss.needs.reference_tokens:
        return  # the totals are the sums of the tokens, which are proved to be necessary
    less = dataclasses.replace(loss.needs, **{need: False})
    with pytest.raises(MissingInputError, match=OPTIONAL[need]):
        loss(make_batch(examples, less))


@every_loss
def test_it_needs_pairs_exactly_when_it_says_so(loss: Any) -> None:
    examples = make_examples()

    if loss.needs.pairs:
        with pytest.raises(MissingInputError, match="pairs"):
            loss(make_batch(examples, dataclasses.replace(loss.needs, pairs=False)))
    else:
        assert evaluate(loss, examples).per_example.shape == (len(examples),)


# The label reaches the others another way: in the prompt, or as a score.
@losses_where(lambda needs: needs.control is None and not needs.scores)
def test_labels_matter_exactly_when_it_says_that_it_needs_undesirable_completions(loss: Any) -> None:
    examples = make_examples()
    turned = [
        Example(e.rejected, e.desirable, e.score, e.completion)
        if loss.needs.pairs
        else dataclasses.replace(e, desirable=not e.desirable)
        for e in examples
    ]

    changed = evaluate(loss, examples).per_example != evaluate(loss, turned).per_example

    assert bool(changed.all() if loss.needs.undesirable else not changed.any())


@losses_where(lambda needs: not (needs.undesirable or needs.pairs))
def test_undesirable_completions_that_it_does_not_need_may_be_left_out(loss: Any) -> None:
    examples = make_examples()
    kept = [i for i, example in enumerate(examples) if example.desirable]

    alone = evaluate(loss, [examples[i] for i in kept]).per_example

    assert torch.equal(alone, evaluate(loss, examples).per_example[kept])


@row_by_row
def test_gradients_reach_its_own_example_under_the_policy_and_nothing_else(loss: Any) -> None:
    examples, mismatched = make_examples(), make_mismatched()
    output = evaluate(loss, examples, mismatched=mismatched)
    declared = {"policy": "logps", "kl": "reference_kl", "value": "values", "reward": "rewards"}
    trained = {name for name, need in declared.items() if getattr(loss.needs, need)}

    for i, own in enumerate(output.per_example):
        for side in mismatched:
            assert not any(bool(g.any()) for g in gradient(own, list(side.leaves().values())))
        for k, example in enumerate(examples):
            for side in (example.completion, example.rejected):
                used = k == i and (side is example.completion or loss.needs.pairs)
                for name, leaf in side.leaves().items():
                    [found] = gradient(own, [leaf])
                    assert not found.any() or (used and name in trained)


@row_by_row
def test_some_gradient_reaches_every_completion_that_it_learns_from(loss: Any) -> None:
    examples = make_examples()
    output = evaluate(loss, examples)

    for i, example in enumerate(examples):
        if example.desirable not in label_kinds(loss) and not loss.needs.pairs:
            continue
        for side in [example.completion, *([example.rejected] if loss.needs.pairs else [])]:
            [found] = gradient(output.per_example[i], [learnt(loss, side)])
            assert found.any() or flat(loss, example, side), "no gradient, and none a little further on"


def flat(loss: Any, example: Example, side: Side) -> bool:
    """Whether the loss is only constant here, beyond a clip or a hinge: with likelier bad tokens it has a gradient."""
    chosen = side is example.completion
    good = example.desirable if not loss.needs.pairs else chosen
    by = -3.0 if good else 3.0
    moved = dataclasses.replace(side, policy=(side.reference.detach() + by).requires_grad_())
    other = example.rejected if chosen else example.completion
    opposite = dataclasses.replace(other, policy=(other.reference.detach() - by).requires_grad_())
    turned = dataclasses.replace(
        example, completion=moved if chosen else opposite, rejected=opposite if chosen else moved
    )
    [found] = gradient(evaluate(loss, [turned]).per_example.sum(), [moved.policy])
    return bool(found.any())


@every_loss
def test_extreme_log_ratios_give_one_finite_loss_an_example_and_finite_gradients(loss: Any) -> None:
    for dtype in (torch.float32, torch.float64):
        for height in (-1000.0, 0.0, 1000.0):
            examples = [
                Example(ratio_side(ratio, dtype=dtype), desirable, 1.0, ratio_side(other, dtype=dtype))
                for ratio in (-1000.0, 0.0, 1000.0)
                for other in (-1000.0, 0.0, 1000.0)
                for desirable in (True, False)
            ]
            mismatched = [ratio_side(height, dtype=dtype)] * 3
            output = evaluate(loss, examples, mismatched=mismatched, running_reward=height)

            assert output.per_example.shape == (len(examples),)
            assert bool(output.per_example.isfinite().all())
            assert all(bool(values.isfinite().all()) for values in output.metrics.values())
            leaves = [leaf for e in examples for s in (e.completion, e.rejected) for leaf in s.leaves().values()]
            assert all(bool(found.isfinite().all()) for found in gradient(output.per_example.sum(), leaves))


@row_by_row
@pytest.mark.parametrize("label", [True, False])
def test_a_batch_of_one_label_gives_what_a_mixed_batch_gives(loss: Any, label: bool) -> None:
    examples = make_examples()
    of_label = [i for i, example in enumerate(examples) if example.desirable == label]

    alone = evaluate(loss, [examples[i] for i in of_label])

    torch.testing.assert_close(alone.per_example, evaluate(loss, examples).per_example[of_label], rtol=1e-14, atol=0)


@row_by_row
def test_a_batch_of_one_example_gives_what_a_whole_batch_gives(loss: Any) -> None:
    examples = make_examples()
    whole = evaluate(loss, examples)

    for i, example in enumerate(examples):
        alone = evaluate(loss, [example])

        torch.testing.assert_close(alone.per_example, whole.per_example[i : i + 1], rtol=1e-14, atol=0)
        for name, values in whole.metrics.items():
            torch.testing.assert_close(alone.metrics[name], values[i : i + 1], rtol=1e-14, atol=0)


@every_loss
@pytest.mark.parametrize("labels", [[True], [False], [True, True], [False, False]], ids=str)
def test_a_step_of_one_label_is_finite_and_has_a_gradient_graph(loss: Any, labels: list[bool]) -> None:
    examples = [dataclasses.replace(e, desirable=label) for e, label in zip(make_examples(), labels, strict=False)]

    output = evaluate(loss, examples)

    assert output.per_example.shape == (len(labels),)
    assert bool(output.per_example.isfinite().all())
    assert output.per_example.requires_grad


@every_loss
def test_the_order_of_examples_and_of_mismatched_completions_does_not_matter(loss: Any) -> None:
    examples, mismatched = make_examples(), make_mismatched()
    order = [3, 0, 5, 1, 4, 2]
    straight = evaluate(loss, examples, mismatched=mismatched)

    turned = evaluate(loss, [examples[i] for i in order], mismatched=mismatched[::-1])

    torch.testing.assert_close(turned.per_example, straight.per_example[order], rtol=1e-12, atol=1e-14)
    for name, values in straight.metrics.items():
        torch.testing.assert_close(turned.metrics[name], values[order], rtol=1e-12, atol=1e-14)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_computes_in_the_precision_of_its_input(loss: Any, dtype: torch.dtype) -> None:
    output = evaluate(loss, make_examples(dtype=dtype), mismatched=make_mismatched(dtype=dtype))

    assert output.per_example.dtype == dtype
    assert all(values.dtype == dtype for values in output.metrics.values())


@every_loss
def test_it_returns_exactly_the_metrics_that_it_declares(loss: Any) -> None:
    assert tuple(sorted(evaluate(loss, make_examples()).metrics)) == loss.metrics


@every_loss
def test_metrics_are_one_finite_number_an_example_without_gradient(loss: Any) -> None:
    examples = make_examples()
    output = evaluate(loss, examples)

    for values in output.metrics.values():
        assert values.shape == (len(examples),)
        assert bool(values.isfinite().all())
        assert not values.requires_grad
    assert output.per_example.requires_grad


@every_loss
def test_it_leaves_its_batch_as_it_was(loss: Any) -> None:
    examples, mismatched = make_examples(), make_mismatched()
    sides = [side for e in examples for side in (e.completion, e.rejected)] + mismatched
    before = [leaf.detach().clone() for side in sides for leaf in side.leaves().values()]

    first = evaluate(loss, examples, mismatched=mismatched)

    assert same(first, evaluate(loss, examples, mismatched=mismatched))
    after: list[Tensor] = [leaf for side in sides for leaf in side.leaves().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@every_loss
def test_a_completion_without_tokens_costs_a_finite_loss(loss: Any) -> None:
    def without_tokens(side: Side) -> Side:
        none = {name: leaf[:0].detach().requires_grad_() for name, leaf in side.leaves().items() if leaf.ndim}
        return dataclasses.replace(side, **none)

    examples = [dataclasses.replace(e, completion=without_tokens(e.completion)) for e in make_examples(2)]

    assert bool(evaluate(loss, [*examples, *make_examples(2)]).per_example.isfinite().all())


# With `collision` a loss's weight depends on the policy and is held still.
@losses_where(lambda needs: not needs.collision)
def test_its_gradient_is_the_slope_of_its_value(loss: Any) -> None:
    examples = make_examples(4, seed=3)
    total = evaluate(loss, examples).per_example.sum()
    step = 1e-6

    for example in examples:
        for side in [example.completion, *([example.rejected] if loss.needs.pairs else [])]:
            moved = learnt(loss, side)
            [found] = gradient(total, [moved])
            for t in range(moved.numel()):
                ends = []
                for sign in (1, -1):
                    with torch.no_grad():
                        moved.view(-1)[t] += sign * step
                    ends.append(evaluate(loss, examples).per_example.sum().item())
                    with torch.no_grad():
                        moved.view(-1)[t] -= sign * step
                slope = (ends[0] - ends[1]) / (2 * step)
                np.testing.assert_allclose(found.view(-1)[t].item(), slope, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", list(LOSSES))
def test_it_says_what_it_is(name: str) -> None:
    about = LOSSES[name].about

    assert isinstance(about, About)
    for field in dataclasses.fields(about):
        text = getattr(about, field.name)
        assert text.strip() == text != ""
        assert len(text) < 220
    assert "arXiv" in about.source or "https://" in about.source


@every_class
def test_it_is_a_frozen_comparable_value_with_keyword_only_settings(cls: type[Any]) -> None:
    loss = cls()

    assert loss == cls()
    assert hash(loss) == hash(cls())
    assert not hasattr(loss, "__dict__"), "no slots"
    for name in ("needs", "new"):
        with pytest.raises((AttributeError, TypeError)):
            setattr(loss, name, None)
    for field in dataclasses.fields(cls):
        assert field.kw_only
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(loss, field.name, 0.375)
        default = getattr(loss, field.name)
        if isinstance(default, float):
            other = next(
                value
                for value in (0.05, 0.25, 0.5, 0.7, 1.5, 1000.0)
                if value != default and allowed(cls, field.name, value)
            )
            assert dataclasses.replace(loss, **{field.name: other}) != loss


@every_class
def test_its_file_is_short_names_its_source_and_explains_every_setting(cls: type[Any]) -> None:
    text = Path(inspect.getfile(cls)).read_text()
    tree = ast.parse(text)
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == cls.__name__]
    explained = {
        node.target.id
        for node, following in pairwise(body)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and is_docstring(following)
    }

    explanation = ast.get_docstring(tree) or ""
    assert len(text.splitlines()) - len(explanation.splitlines()) < 70
    assert "https://" in explanation.splitlines()[0]
    assert {field.name for field in dataclasses.fields(cls)} <= explained


@every_class
def test_its_file_imports_nothing_of_haloes_but_errors_and_the_contract(cls: type[Any]) -> None:
    tree = ast.parse(Path(inspect.getfile(cls)).read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    own = [module for module in modules if module.startswith("haloes")]

    allowed_parts = {"haloes.errors", "haloes.losses.components"} if cls is HALO else {"haloes.errors"}
    assert all(module in allowed_parts or module.startswith("haloes.losses._") for module in own)


def allowed(cls: type[Any], name: str, value: float) -> bool:
    try:
        cls(**{name: value})
    except ConfigError:
        return False
    return True


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
