"""Advice where a run does not fit: changes of settings, cheapest first, each with the memory that it would leave."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from haloes.planning.cost_model import FLOAT32, ModelSize, StepLoad, memory

SizedLoad: TypeAlias = tuple[ModelSize, StepLoad]
"""A model with what goes through it: together they decide the memory, and a change of settings may change both."""

_HALF = 2
_WORTH = 0.99
"""A change is worth telling where it leaves less than this share of the memory."""
_BFLOAT16 = 2


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting to change."""

    setting: str
    costs: str
    """The price of it."""
    peak: int
    """Bytes at the peak with this change alone."""
    together: int
    """Bytes at the peak with this change and those before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings that could be changed, as they are."""

    budget: int
    """`train.microbatch_tokens`, as it is in force."""
    longest: int
    """Tokens of the longest example; of a pair, of both of its sequences."""
    longest_sequence: int
    max_length: int
    batch_size: int
    """`samples.batch_size`."""
    with_lora: ModelSize | None
    """The same model with adapters; None where it has them, or where its reference is not the model itself."""


@dataclass(frozen=True, slots=True)
class _Step:
    setting: str
    costs: str
    apply: Callable[[SizedLoad], SizedLoad]


def advise(sizes: ModelSize, load: StepLoad, options: Options, *, limit: int) -> list[SettingChange]:
    """Return the changes that save memory, cheapest first, until it fits with all of them; none where it fits now."""
    changes: list[SettingChange] = []
    now = sizes, load
    reached = memory(*now).peak
    for step in _steps(now, options, limit):
        if reached <= limit:
            break
        alone, together = memory(*step.apply((sizes, load))).peak, memory(*step.apply(now)).peak
        if together < _WORTH * reached:
            now, reached = step.apply(now), together
            changes.append(SettingChange(step.setting, step.costs, alone, together))
    return changes


def _steps(sized: SizedLoad, options: Options, limit: int) -> Iterator[_Step]:
    _, load = sized
    # Halved until they fit: which batch sizes are good is not known, and a power of two is easy to compare.
    at_once = options.batch_size
    while at_once > 1 and memory(*_fewer_answers(sized, at_once)).sampling > limit:
        at_once //= _HALF
    if at_once < options.batch_size:
        yield _Step(f"samples.batch_size={at_once}", "sampling takes longer", lambda s: _fewer_answers(s, at_once))
    budget = options.budget
    while budget > max(options.longest, 1) and memory(*_smaller(sized, max(budget, options.longest))).training > limit:
        budget //= _HALF
    if budget < options.budget:
        tokens = max(budget, options.longest)
        yield _Step(f"train.microbatch_tokens={budget}", "nothing but a little speed", lambda s: _smaller(s, tokens))
    if not load.checkpointing:
        yield _Step("train.gradient_checkpointing=true", "about a third more time a step", _checkpointing)
    adapters = options.with_lora
    if adapters is not None:
        yield _Step(
            "model.lora={rank: 16}", "adapters are trained instead of all weights", lambda s: _lora(s, adapters)
        )
    if load.itemsize == FLOAT32:
        yield _Step("model.dtype=bfloat16", "rounding; slow on processors without it", _half)
    # Last, as it is the only one that learns from less: only where the longest row decides the memory.
    if options.longest > options.budget:
        length = options.max_length
        while length > options.longest_sequence or length > options.max_length // _HALF:
            length //= _HALF
        share = length / options.longest_sequence
        tokens = max(int(options.longest * share), options.budget)
        yield _Step(f"tokens.max_length={length}", "longer rows are cut", lambda s: _smaller(s, tokens))


def _fewer_answers(sized: SizedLoad, most: int) -> SizedLoad:
    sizes, load = sized
    return sizes, replace(load, answers=min(load.answers, most))


def _smaller(sized: SizedLoad, tokens: int) -> SizedLoad:
    sizes, load = sized
    tokens = min(tokens, load.tokens)
    return sizes, replace(load, tokens=tokens, positions=load.positions * tokens // max(load.tokens, 1))


def _checkpointing(sized: SizedLoad) -> SizedLoad:
    sizes, load = sized
    return sizes, replace(load, checkpointing=True)


def _lora(sized: SizedLoad, adapters: ModelSize) -> SizedLoad:
    """Train adapters: with them switched off the model is the reference, so that no copy is kept."""
    _, load = sized
    return adapters, replace(load, reference=0)


def _half(sized: SizedLoad) -> SizedLoad:
    sizes, load = sized
    return sizes, replace(load, itemsize=_BFLOAT16, kept=load.kept / _HALF)
