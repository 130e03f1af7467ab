"""The battery that every loss in the table gets: it does what its declaration says, and nothing that it must not do."""

import ast
import dataclasses
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from haloes.errors import MissingInputError
from haloes.losses._contract import Logps, LossOutput, Paired, Scored, Unpaired
from haloes.losses.table import LOSSES

every_loss = pytest.mark.parametrize("loss", [cls() for cls in LOSSES.values()], ids=list(LOSSES))
every_class = pytest.mark.parametrize("cls", LOSSES.values(), ids=list(LOSSES))


@dataclass(frozen=True)
class Side:
    """A completion: its tokens' log-probabilities under the policy, and its own under the reference."""

    tokens: Tensor
    reference: Tensor


@dataclass(frozen=True)
class Example:
    """Enough for a loss on single completions (the first side and its label) and for one on pairs (both sides)."""

    completion: Side
    desirable: bool
    rejected: Side


def make_side(rng: torch.Generator, dtype: torch.dtype) -> Side:
    length = int(torch.randint(1, 6, (1,), generator=rng))
    tokens = -torch.rand(length, generator=rng, dtype=dtype) * 3 - 0.1
    total = tokens.sum() + torch.randn((), generator=rng, dtype=dtype) * 2
    return Side(tokens.requires_grad_(), total.detach().clone().requires_grad_())


def make_examples(num: int = 6, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Example]:
    rng = torch.Generator().manual_seed(seed)
    return [Example(make_side(rng, dtype), i % 3 != 1, make_side(rng, dtype)) for i in range(num)]


def make_mismatched(num: int = 5, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """Log-ratios of more completions than the batch has examples, with a mean above zero."""
    return torch.linspace(-1.0, 4.0, num, dtype=dtype).requires_grad_()


def scored(sides: Sequence[Side], *, reference: bool) -> Scored:
    lengths = torch.tensor([len(side.tokens) for side in sides])
    policy = Logps(torch.cat([side.tokens for side in sides]), lengths)
    return Scored(policy, torch.stack([side.reference for side in sides]) if reference else None)


def evaluate(
    loss: Any,
    examples: Sequence[Example],
    mismatched: Tensor | None = None,
    *,
    reference: bool | None = None,
    pairs: bool | None = None,
) -> LossOutput:
    """Call a loss with what it declares; `reference` and `pairs` overrule its declaration."""
    mismatched = make_mismatched() if mismatched is None else mismatched
    reference = loss.needs.reference if reference is None else reference
    completions = scored([example.completion for example in examples], reference=reference)
    if loss.needs.pairs if pairs is None else pairs:
        return loss(Paired(completions, scored([example.rejected for example in examples], reference=reference)))
    desirable = torch.tensor([example.desirable for example in examples])
    return loss(Unpaired(completions, desirable, mismatched if loss.needs.mismatched else None))


def leaves(example: Example) -> list[Tensor]:
    return [
        example.completion.tokens,
        example.completion.reference,
        example.rejected.tokens,
        example.rejected.reference,
    ]


def gradients(total: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(total, tensors, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, found, strict=True)]


def same(found: LossOutput, expected: LossOutput) -> bool:
    return torch.equal(found.per_example, expected.per_example) and all(
        torch.equal(found.metrics[name], expected.metrics[name]) for name in found.metrics | expected.metrics
    )


@every_loss
def test_it_needs_the_reference_exactly_when_it_says_so(loss: Any) -> None:
    examples = make_examples()

    if loss.needs.reference:
        with pytest.raises(MissingInputError, match="reference"):
            evaluate(loss, examples, reference=False)
    else:
        assert same(evaluate(loss, examples, reference=True), evaluate(loss, examples))


@every_loss
def test_it_needs_mismatched_completions_exactly_when_it_says_so(loss: Any) -> None:
    examples = make_examples()
    if loss.needs.pairs:
        assert not loss.needs.mismatched, "a batch of pairs has no place for mismatched completions"
        return
    completions = scored([example.completion for example in examples], reference=loss.needs.reference)
    desirable = torch.tensor([example.desirable for example in examples])

    if loss.needs.mismatched:
        for nothing in (None, torch.empty(0, dtype=torch.float64)):
            with pytest.raises(MissingInputError, match="mismatched"):
                loss(Unpaired(completions, desirable, nothing))
    else:
        assert same(loss(Unpaired(completions, desirable, make_mismatched() * 1e6)), evaluate(loss, examples))


@every_loss
def test_it_needs_pairs_exactly_when_it_says_so(loss: Any) -> None:
    examples = make_examples()

    if loss.needs.pairs:
        with pytest.raises(MissingInputError, match="pairs"):
            evaluate(loss, examples, pairs=False)
    else:
        assert evaluate(loss, examples).per_example.shape == (len(examples),)


@every_loss
def test_labels_matter_exactly_when_it_says_that_it_needs_undesirable_completions(loss: Any) -> None:
    examples = make_examples()
    turned = [
        Example(e.rejected, e.desirable, e.completion)
        if loss.needs.pairs
        else dataclasses.replace(e, desirable=not e.desirable)
        for e in examples
    ]

    changed = evaluate(loss, examples).per_example != evaluate(loss, turned).per_example

    assert bool(changed.all() if loss.needs.undesirable else not changed.any())


@every_loss
def test_undesirable_completions_that_it_does_not_need_may_be_left_out(loss: Any) -> None:
    examples = make_examples()
    if loss.needs.undesirable or loss.needs.pairs:
        pytest.skip("it needs them")
    kept = [i for i, example in enumerate(examples) if example.desirable]

    alone = evaluate(loss, [examples[i] for i in kept]).per_example

    assert torch.equal(alone, evaluate(loss, examples).per_example[kept])


@every_loss
def test_gradients_reach_every_token_of_its_own_example_under_the_policy_and_nothing_else(loss: Any) -> None:
    examples, mismatched = make_examples(), make_mismatched()
    output = evaluate(loss, examples, mismatched)

    for i, own in enumerate(output.per_example):
        [to_mismatched] = gradients(own, [mismatched]) if loss.needs.mismatched else [torch.zeros(1)]
        assert not to_mismatched.any()
        for k, example in enumerate(examples):
            chosen, chosen_reference, rejected, rejected_reference = gradients(own, leaves(example))
            assert bool((chosen != 0).all() if k == i else not chosen.any())
            assert bool((rejected != 0).all() if k == i and loss.needs.pairs else not rejected.any())
            assert not chosen_reference.any()
            assert not rejected_reference.any()


@every_loss
def test_extreme_log_ratios_give_one_finite_loss_an_example_and_finite_gradients(loss: Any) -> None:
    def side(log_ratio: float, dtype: torch.dtype) -> Side:
        total = -1.0 if log_ratio > 0 else -1001.0
        tokens = torch.tensor([total / 2, total / 2], dtype=dtype, requires_grad=True)
        return Side(tokens, torch.tensor(total - log_ratio, dtype=dtype))

    for dtype in (torch.float32, torch.float64):
        for height in (-1000.0, 0.0, 1000.0):
            examples = [
                Example(side(ratio, dtype), desirable, side(other, dtype))
                for ratio in (-1000.0, 1000.0)
                for other in (-1000.0, 1000.0)
                for desirable in (True, False)
            ]
            output = evaluate(loss, examples, torch.full((3,), height, dtype=dtype))

            assert output.per_example.shape == (len(examples),)
            assert bool(output.per_example.isfinite().all())
            assert all(bool(values.isfinite().all()) for values in output.metrics.values())
            tokens = [side.tokens for e in examples for side in (e.completion, e.rejected)]
            assert all(bool(found.isfinite().all()) for found in gradients(output.per_example.sum(), tokens))


@every_loss
@pytest.mark.parametrize("label", [True, False])
def test_a_batch_of_one_label_gives_what_a_mixed_batch_gives(loss: Any, label: bool) -> None:
    examples = make_examples()
    of_label = [i for i, example in enumerate(examples) if example.desirable == label]

    alone = evaluate(loss, [examples[i] for i in of_label])

    assert torch.equal(alone.per_example, evaluate(loss, examples).per_example[of_label])


@every_loss
def test_a_batch_of_one_example_gives_what_a_whole_batch_gives(loss: Any) -> None:
    examples = make_examples()
    whole = evaluate(loss, examples)

    for i, example in enumerate(examples):
        alone = evaluate(loss, [example])

        assert torch.equal(alone.per_example, whole.per_example[i : i + 1])
        assert all(torch.equal(alone.metrics[name], values[i : i + 1]) for name, values in whole.metrics.items())


@every_loss
def test_the_order_of_examples_and_of_mismatched_completions_does_not_matter(loss: Any) -> None:
    examples, mismatched = make_examples(), make_mismatched()
    order = [3, 0, 5, 1, 4, 2]
    straight = evaluate(loss, examples, mismatched)

    turned = evaluate(loss, [examples[i] for i in order], mismatched.flip(0))

    torch.testing.assert_close(turned.per_example, straight.per_example[order], rtol=1e-14, atol=0)
    for name, values in straight.metrics.items():
        torch.testing.assert_close(turned.metrics[name], values[order], rtol=1e-14, atol=0)


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_computes_in_the_precision_of_its_input(loss: Any, dtype: torch.dtype) -> None:
    output = evaluate(loss, make_examples(dtype=dtype), make_mismatched(dtype=dtype))

    assert output.per_example.dtype == dtype
    assert all(values.dtype == dtype for values in output.metrics.values())


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
    before = [tensor.detach().clone() for example in examples for tensor in leaves(example)]

    first, second = evaluate(loss, examples, mismatched), evaluate(loss, examples, mismatched)

    assert same(first, second)
    after = [tensor for example in examples for tensor in leaves(example)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert torch.equal(mismatched, make_mismatched())


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
            setattr(loss, field.name, 0.25)
        assert dataclasses.replace(loss, **{field.name: 0.25}) != loss


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

    assert len(text.splitlines()) < 60
    assert "https://" in (ast.get_docstring(tree) or "").splitlines()[0]
    assert {field.name for field in dataclasses.fields(cls)} <= explained


@every_class
def test_its_file_imports_nothing_of_haloes_but_errors_and_the_contract(cls: type[Any]) -> None:
    tree = ast.parse(Path(inspect.getfile(cls)).read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    own = [module for module in modules if module.startswith("haloes")]

    assert all(module == "haloes.errors" or module.startswith("haloes.losses._") for module in own)


def is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
