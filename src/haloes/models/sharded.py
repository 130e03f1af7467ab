"""
A policy whose weights are shards: each process holds a part of every weight, and makes one layer whole at a time.

torch's FSDP2 (`fully_shard`) gathers a layer just before its pass, forward and backward, and adds up its gradient over
the processes straight into the shards. What is outside the layers (embeddings, last norm, output layer) is a group of
its own, which `Scorer.with_weights` makes whole.

The shards of what is trained are float32, and so they are the master weights; the model computes in the run's dtype.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial, wraps
from typing import Any, Self

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

from haloes.errors import ConfigError
from haloes.models.architecture import COMPUTES_IN
from haloes.models.forward import Scorer, mark_sharded, told_before_gathering
from haloes.models.packing_check import make_scorer
from haloes.models.policy import Policy
from haloes.models.references import FileReference, SyncedReference, adapter_off, frozen
from haloes.models.unread_weights import UnreadWeights, is_stand_in, take_files, with_weights
from haloes.models.weight_shards import local, put, rows_of, whole


def shard_policy(policy: Policy, mesh: DeviceMesh) -> Policy:
    """
    Cut the weights of a policy, and of its reference, into shards, in place; the values stay what they are.

    All processes of the mesh come here together, each with the whole policy, or with one whose weights are in files
    still, of which each then reads its own rows (`haloes.models.unread_weights`). From now on a pass through it is one
    that all of them make: each with its own rows, all of them equally often.

    Args:
        policy: before training; its reference is what it is now, or another model.
        mesh: the processes, in one dimension.

    Raises:
        ConfigError: a model cannot be sharded; the message says why.
    """
    return set_up(cut(policy, mesh))


def cut(policy: Policy, mesh: DeviceMesh) -> Policy:
    """Do the part of `shard_policy` that takes no other process; nothing can be computed before `set_up`."""
    model, dtype = policy.scorer.model, policy.scorer.model.dtype
    check_shardable(policy.scorer)
    other = _other_model(policy)
    files, other_files = take_files(model), None if other is None else take_files(other.model)
    shell = _without_weights(policy.model)
    # Looked at while the weights are whole: a model of shards cannot be copied.
    earlier = policy.reference.weights() if isinstance(policy.reference, FileReference) else None
    twin = None if earlier is None else _without_weights(model)
    _shard(model, mesh, dtype)
    if files is not None:
        _fill(model, partial(_rows, files), mesh)
    reference = policy.reference
    if isinstance(reference, SyncedReference):
        begins = ShardedSyncedReference(_trained(policy), policy.scorer)
        # Trained weights that were in files until now are where the reference begins; any others may have moved.
        is_unmoved = files is not None and policy.model is model
        reference = begins if is_unmoved else ShardedSyncedReference.of(reference, _trained(policy), policy.scorer)
    elif earlier is not None:
        _shard(twin, mesh, dtype)
        _fill(twin, lambda name, rows: earlier[name][rows], mesh)
        reference = frozen(twin, policy.scorer)
    elif other is not None:
        _shard(other.model, mesh, other.model.dtype)
        if other_files is not None:
            _fill(other.model, partial(_rows, other_files), mesh)
    for head in (policy.value_head, policy.reward_head):
        if head is not None:  # whole in each process, on the device to which the shards went
            head.to(policy.device)
    return replace(policy, reference=reference, shell=shell)


def set_up(policy: Policy) -> Policy:
    """Do the other part of `shard_policy`, with all processes: try out how the model is scored on its device."""
    scorer, why = make_scorer(policy.scorer.model)
    _check_passes(scorer)
    reference, other = policy.reference, _other_model(policy)
    if isinstance(reference, ShardedSyncedReference):
        reference.score_with(scorer)
    elif other is not None:
        beside, _ = make_scorer(other.model)
        _check_passes(beside)
        reference = frozen(other.model, beside)
    elif reference is not None:
        reference = adapter_off(policy.model, scorer)
    return replace(policy, scorer=scorer, reference=reference, unpacked_because=why)


def check_shardable(scorer: Scorer) -> None:
    """Raise ConfigError where a model cannot be cut into shards that each process gathers in the same order."""
    model, why = scorer.model, None
    inside = Counter(id(p) for layer in _layers(model) for p in set(layer.parameters()))
    outside = {id(p) for p in _outside(model, _layers(model))}
    if not all(p.is_floating_point() for p in model.parameters()):
        why = "its weights are quantized (model.quantize)"
    elif any(count > 1 or key in outside for key, count in inside.items()):
        why = "several of its layers share weights"
    elif len({p.dtype for p in model.parameters()}) > 1:
        why = "it keeps some weights in another dtype than the others"
    if why is not None:
        raise _uncut(model, why)
    _check_passes(scorer)


def _check_passes(scorer: Scorer) -> None:
    if scorer.alone_above is not None:
        why = "long sequences go through it one by one, so that the processes' passes would not be equally many"
        raise _uncut(scorer.model, why)


def _uncut(model: Any, why: str) -> ConfigError:
    return ConfigError(f"train.shard=full cannot cut {type(model).__name__} into shards: {why}; set train.shard=off")


def assemble(policy: Policy, *, keep: bool) -> Policy | None:
    """
    Return the policy with its weights whole in host memory, as it is saved; it cannot compute beside the old one.

    All processes come here together, and put one weight together at a time. Beside an adapter, weights that are not
    trained stay empty, unless they are saved with it.

    Args:
        policy: returned as it is where its weights are whole.
        keep: whether this process is the one that saves; the others get None.
    """
    if policy.shell is None:
        return policy
    shell = policy.shell
    empty, found = dict(shell.named_parameters()), {}
    for name, weight in policy.model.named_parameters():
        if weight.requires_grad or policy.model is policy.scorer.model or policy.reward_head is not None:
            values = whole(weight)
            if keep:
                values = values.to("cpu", empty[name].dtype)
                found[id(empty[name])] = torch.nn.Parameter(values, requires_grad=weight.requires_grad)
    if not keep:
        return None
    # In the place of each empty weight stands its value: tied weights stay one.
    model = copy.deepcopy(shell, found)
    inner = model if policy.model is policy.scorer.model else model.get_base_model()
    return replace(policy, model=model, scorer=replace(policy.scorer, model=inner), reference=None, shell=None)


@contextmanager
def announcing(
    model: Any, tell: Callable[[], None], guarded: Callable[[], AbstractContextManager[None]]
) -> Iterator[None]:
    """Call `tell` before each pass through a model of shards inside the block, and make the pass itself `guarded`."""
    forward = model.forward

    # With the arguments of the model's own, which say what it takes.
    @wraps(forward)
    def passed(*arguments: Any, **named: Any) -> Any:
        with guarded():
            return forward(*arguments, **named)

    with told_before_gathering(model, tell, guarded):
        # First of all: the layers' own hooks gather.
        hook = model.register_forward_pre_hook(lambda *_: tell(), prepend=True)
        model.forward = passed
        try:
            yield
        finally:
            del model.forward
            hook.remove()


def models_of(policy: Policy) -> list[tuple[Any, Callable[[], bool]]]:
    """Return the models of shards of a policy and its reference, each with what tells whether it is the reference."""
    reference, model = policy.reference, policy.scorer.model
    if isinstance(reference, ShardedSyncedReference):
        return [(model, lambda: reference.is_in_place)]
    other = _other_model(policy)
    found: list[tuple[Any, Callable[[], bool]]] = [(model, lambda: False)]
    return found if other is None else [*found, (other.model, lambda: True)]


class ShardedSyncedReference(SyncedReference):
    """A reference that is synced with the policy, of shards."""

    is_in_place = False
    """Whether the model has the reference's weights now."""

    @classmethod
    def of(cls, uncut: SyncedReference, parameters: Mapping[str, torch.nn.Parameter], scorer: Scorer) -> Self:
        """Return a reference of whole weights as one of shards, beside these parameters, which are cut already."""
        found = cls(parameters, scorer)
        for name, weight in uncut.state().items():
            put(found._weights[name], weight)
        return found

    def score_with(self, scorer: Scorer) -> None:
        """Take another scorer of the same model."""
        self._scorer = scorer

    def _swap(self) -> None:
        self.is_in_place = not self.is_in_place
        # In place: FSDP gathers from memory of its own, and would not see another storage.
        for name, parameter in self._parameters.items():
            ours, theirs = local(parameter), local(self._weights[name])
            present = ours.clone()
            ours.copy_(theirs)
            theirs.copy_(present)


def _shard(model: Any, mesh: DeviceMesh, dtype: torch.dtype) -> None:
    """Cut a model's weights into shards, in place; those that are in files still are without memory after it."""
    layers = _layers(model)
    _empty_stand_ins(model)
    for part in (*layers, model):
        outside = _outside(part, layers) if part is model else part.parameters()
        for parameter in outside:
            if parameter.requires_grad:  # each layer by itself, so that all of them are never there in float32
                parameter.data = parameter.data.float()
        fully_shard(
            part,
            mesh=mesh,
            # Also what is outside the layers: between two passes nothing is whole, so that nothing can be out of date.
            reshard_after_forward=True,
            mp_policy=MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False),
        )
    setattr(model, COMPUTES_IN, dtype)
    register_fsdp_forward_method(model, mark_sharded(model, _with_weights))
    for module in model.modules():
        if isinstance(module, FSDPModule):
            # Sums, as the weights of a step's examples add up to 1 over all processes: the default is a mean, and its
            # factor of 1 another reduction, which gloo does not have.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def _with_weights(_: Any, work: Callable[[], Any]) -> Any:
    """Return what the work comes to: the body of the method that FSDP knows as a forward pass."""
    found = work()
    # A view cannot carry the hook by which the weights are gathered again in the backward pass.
    own: Any = _own(found) if isinstance(found, Tensor) else tuple(map(_own, found))
    return own


def _own(found: Any) -> Any:
    is_view = isinstance(found, Tensor) and found.requires_grad and found._base is not None  # noqa: SLF001 - no public name
    return found.clone() if is_view else found


def _fill(model: Any, rows: Callable[[str, slice], Tensor], mesh: DeviceMesh) -> None:
    """Give the shards of a model that are without memory the values of their rows, and leave all else as it is."""
    there = {name: local(weight).clone() for name, weight in model.named_parameters() if not weight.is_meta}
    buffers = [buffer.clone() for buffer in model.buffers()]
    model.to_empty(device=mesh.device_type)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if local(weight).numel():
                local(weight).copy_(there[name] if name in there else rows(name, rows_of(weight)))
        for buffer, values in zip(model.buffers(), buffers, strict=True):
            buffer.copy_(values)


def _rows(files: UnreadWeights, name: str, rows: slice) -> Tensor:
    """Return rows of a weight by its name in the model, where an adapter may be beside it."""
    return files.rows(name.replace(".base_layer.", "."), rows)


def _empty_stand_ins(model: Any) -> None:
    """Put weights without memory in the place of those that stand for weights in files: what FSDP takes for them."""
    empty: dict[int, torch.nn.Parameter] = {}
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            if is_stand_in(weight):
                made = torch.nn.Parameter(
                    torch.empty(weight.shape, dtype=weight.dtype, device="meta"), requires_grad=weight.requires_grad
                )
                # Weights that are one stay one.
                setattr(module, name, empty.setdefault(id(weight), made))


def _trained(policy: Policy) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in policy.model.named_parameters() if parameter.requires_grad}


def _without_weights(model: Any) -> Any:
    """Return a copy of a model without memory for its weights, and not to be trained."""
    return with_weights(model, lambda p: torch.nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=False))


def _other_model(policy: Policy) -> Scorer | None:
    """Return the scorer of the model that is the reference, where it is another one than the policy's."""
    with nullcontext(None) if policy.reference is None else policy.reference() as scorer:
        return None if scorer is None or scorer.model is policy.scorer.model else scorer


def _layers(model: Any) -> list[torch.nn.Module]:
    """Return the layers that are made whole one at a time: those that the architecture says belong on one device."""
    kinds = set(getattr(model, "_no_split_modules", None) or ())
    names = [name for name, module in model.named_modules() if type(module).__name__ in kinds]
    # One inside another is made whole with it.
    return [model.get_submodule(name) for name in names if not any(name.startswith(f"{outer}.") for outer in names)]


def _outside(model: Any, layers: Iterable[torch.nn.Module]) -> list[torch.nn.Parameter]:
    """Return the weights of a model that are in none of its layers."""
    inside = {id(p) for layer in layers for p in layer.parameters()}
    return [p for p in model.parameters() if id(p) not in inside]
