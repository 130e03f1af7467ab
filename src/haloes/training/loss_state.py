"""The state that a loss needs from one step to the next, beside weights and moments."""

from collections.abc import Mapping

import torch
from torch import Tensor

from haloes.errors import ConfigError, RunError
from haloes.losses._contract import Needs
from haloes.models.policy import Policy
from haloes.models.references import SyncedReference
from haloes.training.step_table import Table

_REWARD = "running_reward"


class LossState:
    """The mean reward so far, and a reference that is synced with the policy from time to time."""

    def __init__(self, needs: Needs, policy: Policy) -> None:
        """
        Start before the first step.

        Raises ConfigError when the loss wants its reference synced and the policy's cannot be.
        """
        self._sync_every, self._before_update = needs.sync_every, needs.sync_before_update
        self._synced = policy.reference if isinstance(policy.reference, SyncedReference) else None
        if needs.sync_every is not None and self._synced is None:
            raise ConfigError("this loss syncs its reference with the policy; make the policy with synced=True")
        self._sum, self._count = 0.0, 0

    @property
    def running_reward(self) -> float:
        """Return the mean log-ratio over the sequences of all steps so far, in nats; 0 before the first."""
        return self._sum / max(self._count, 1)

    def before_update(self, *, step: int) -> None:
        """Follow a step whose gradient is there and whose update is not: `step` steps will be done with it."""
        if self._before_update:
            self._sync_if_due(step)

    def update(self, table: Table, *, step: int) -> None:
        """Follow a step's table, after its update: `step` steps are done with it."""
        # A sum and a count, not a mean of means: steps differ in size.
        if table.log_ratio is not None:
            self._sum += float(table.log_ratio.sum())
            self._count += len(table.log_ratio)
        if not self._before_update:
            self._sync_if_due(step)

    def _sync_if_due(self, step: int) -> None:
        if self._sync_every is not None and self._synced is not None and step % self._sync_every == 0:
            self._synced.sync()

    def state(self) -> dict[str, Tensor]:
        """Return everything that has to be saved, by name."""
        reward = torch.tensor([self._sum, self._count], dtype=torch.float64)
        weights = {} if self._synced is None else self._synced.state()
        return {_REWARD: reward, **{f"reference/{name}": weight for name, weight in weights.items()}}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put a saved state back. Raises RunError when it is of another reference than this run's."""
        own = {name: value.shape for name, value in self.state().items()}
        if self._synced is not None and {name: value.shape for name, value in state.items()} != own:
            raise RunError("the checkpoint holds another reference than this run's; start a new run in another folder")
        self._sum, self._count = float(state[_REWARD][0]), int(state[_REWARD][1])
        if self._synced is not None:
            self._synced.restore({name.removeprefix("reference/"): state[name] for name in state if name != _REWARD})
