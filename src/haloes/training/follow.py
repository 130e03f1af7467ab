"""
What the main process does alone with a model whose weights are shards: the other processes follow it, pass by pass.

Answers, divergences and rehearsals are the main process's, which alone shows progress and writes files. Each of its
passes makes every layer whole, which takes all processes: before it, it tells them, and they go along with two tokens.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Literal, TypeAlias, TypeVar, cast

import torch

from haloes.errors import ModelError
from haloes.models.forward import is_sharded
from haloes.models.own_logits import FAILURES, brief
from haloes.models.policy import Policy
from haloes.training.distributed import Ranks
from haloes.training.equal_passes import two_tokens

T = TypeVar("T")
_Pass: TypeAlias = Literal["policy", "reference", "end"]


def on_main(policy: Policy, ranks: Ranks, work: Callable[[], T]) -> T | None:
    """
    Do work in the main process alone, and return there what it comes to; None in the others.

    All processes come here together. Where weights are shards the others follow the work's passes through the policy
    and its reference until it is done; else they go on at once.
    """
    if ranks.count == 1 or not is_sharded(policy.scorer.model):
        return work() if ranks.is_main else None
    try:
        if not ranks.is_main:
            _follow(policy, ranks)
            return None
        # Not at the top: it takes seconds, which a run without shards does not need.
        from haloes.models.sharded import announcing, models_of

        with ExitStack() as announced:
            for model, is_reference in models_of(policy):
                announced.enter_context(announcing(model, partial(_tell, ranks, is_reference), _final))
            found = work()
    except _PassFailed as failed:
        raise _explained(failed.error, policy) from failed
    ranks.broadcast("end")
    return found


def from_main(policy: Policy, ranks: Ranks, work: Callable[[], T]) -> T:
    """Do work as `on_main`, and return what it comes to, which JSON can say, on all processes."""
    return ranks.broadcast(cast("T", on_main(policy, ranks, work)))  # the other ones' is not looked at


class _PassFailed(BaseException):
    """
    A pass failed in this process, amid which the others wait.

    Whatever tries one way after the other catches failures, and would go on to the next: a pass that the others are not
    at. So this is none of those that it catches.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@contextmanager
def _final() -> Iterator[None]:
    """Raise _PassFailed where anything fails inside the block."""
    try:
        yield
    except Exception as error:
        raise _PassFailed(error) from error


def _explained(error: Exception, policy: Policy) -> Exception:
    """Return what a pass's failure means for the run; the error itself where it says so."""
    if not isinstance(error, FAILURES) or isinstance(error, torch.OutOfMemoryError):
        return error
    name = type(policy.scorer.model).__name__.removeprefix("FSDP")
    return ModelError(
        f"{name} failed while it answered or was measured, which all processes do together "
        f"where each holds a part of every weight ({brief(error)}): set train.shard=off, or leave answers out with "
        "samples.prompts=0"
    )


def _tell(ranks: Ranks, is_reference: Callable[[], bool]) -> None:
    """Tell the other processes of the pass that comes next."""
    ranks.broadcast("reference" if is_reference() else "policy")


def _follow(policy: Policy, ranks: Ranks) -> None:
    """Go along with every pass of the main process, until it is done, however long it works in between."""
    layout = two_tokens(policy)
    while True:
        coming: _Pass = ranks.broadcast("end")  # the main process's word, and not this one
        if coming == "end":
            return
        with policy.scoring(), _final():
            (policy.reference_logps if coming == "reference" else policy.token_logps)(layout)
