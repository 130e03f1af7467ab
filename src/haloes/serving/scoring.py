"""Implied rewards of logged answers, computed one at a time while nobody waits for an answer."""

import sys
import traceback
from asyncio import wrap_future
from collections.abc import Callable
from functools import partial
from sqlite3 import Connection

import anyio
import anyio.to_thread

from haloes.errors import UserError
from haloes.feedback.refusals import RefusalError
from haloes.readable import readable
from haloes.serving.local import Local
from haloes.serving.records import NotKeptError
from haloes.serving.store import Store

_PAUSE = 1.0
"""Seconds until it is looked again whether there is something to do."""


class Scoring:
    """Fills the store with rewards; what is done stays when the server is stopped."""

    def __init__(self, store: Store, local: Local, *, policy: str, reference: str, run: str) -> None:
        """
        Take what is needed; nothing is computed yet.

        Args:
            store: where the answers are.
            local: has the models.
            policy: name of the run's model.
            reference: name of the model before training.
            run: stands for the run's weights: rewards by others are forgotten.
        """
        self._store, self._local = store, local
        self._policy, self._reference, self._run = policy, reference, run

    async def go_on(self) -> None:
        """Compute rewards until it is cancelled; a fault of ours ends it, with its traceback, and nothing else."""
        try:
            await self._go_on()
        except Exception:  # noqa: BLE001 - chats go on
            sys.stderr.write(readable(traceback.format_exc()) + "haloes serve: the queue goes by time from here on\n")

    async def _go_on(self) -> None:
        from haloes.serving import implied_reward as ir  # brings torch in

        try:
            policy, reference = [await self._local.model(name) for name in (self._policy, self._reference)]
        except UserError:  # the server ends with it
            return
        encode = await anyio.to_thread.run_sync(ir.encoded, policy)
        await self._write(partial(ir.forget_rewards, run=self._run))

        async def reward_of(logged: ir.Logged) -> float | None:
            try:
                answer = await anyio.to_thread.run_sync(encode, logged)
                # Each pass waits for its turn, so that a chat waits for one pass at most.
                after = await self._local.when_idle(lambda: ir.logp(policy.model, answer))
                return after - await self._local.when_idle(lambda: ir.logp(reference.model, answer))
            except (UserError, RefusalError):  # such as one that the template refuses
                return None

        while True:
            logged = await anyio.to_thread.run_sync(self._store.read, ir.next_logged)
            if logged is None:
                await anyio.sleep(_PAUSE)
                continue
            reward = await reward_of(logged)
            await self._write(partial(ir.add_reward, number=logged.number, reward=reward, run=self._run))

    async def _write(self, work: Callable[[Connection], None]) -> None:
        """Have something written; on a full disk once there is room again."""
        while True:
            try:
                return await wrap_future(self._store.write(work))
            except NotKeptError:
                await anyio.sleep(_PAUSE)
