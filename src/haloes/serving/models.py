"""The models of this process, loaded one after the other while the page is there already."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext

from haloes.sampling.transformers_engine import TransformersEngine
from haloes.serving.backend import Loading


class Models:
    """Models by name; who asks for one waits until all are there."""

    def __init__(
        self,
        loaders: Mapping[str, Callable[[], TransformersEngine]],
        shown: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """
        Take what loads each model; nothing is loaded yet.

        Args:
            loaders: by name, in the order in which they are loaded.
            shown: is open while they are loaded.
        """
        self._loaders, self._shown = dict(loaders), shown
        self._there: dict[str, Future[TransformersEngine]] = {name: Future() for name in loaders}
        self.failure: Exception | None = None
        """Why no further model is loaded."""

    @property
    def names(self) -> list[str]:
        """Return the names of the models."""
        return list(self._loaders)

    def load(self) -> None:
        """Begin to load, in a thread that does not keep the process from ending."""
        threading.Thread(target=self._load, name="models", daemon=True).start()

    def loading(self) -> Loading | None:
        """Return how far the loading is; None where all are there, or it failed."""
        waiting = [name for name, there in self._there.items() if not there.done()]
        return Loading(waiting[0], len(self._there) - len(waiting), len(self._there)) if waiting else None

    async def get(self, name: str) -> TransformersEngine:
        """Return a model once all are there. Raises what kept one from being loaded."""
        # transformers sets torch's default dtype while it loads, for all threads: nothing computes meanwhile. Who stops
        # waiting takes a model from nobody else.
        engines = [await asyncio.shield(asyncio.wrap_future(there)) for there in self._there.values()]
        return engines[self.names.index(name)]

    def _load(self) -> None:
        try:
            with self._shown():
                for name, load in self._loaders.items():
                    self._there[name].set_result(load())
        except Exception as error:  # noqa: BLE001 - who waits, and who serves, is told
            self.failure = error
            for there in self._there.values():
                if not there.done():
                    there.set_exception(error)
