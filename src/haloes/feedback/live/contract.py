"""The contract of a live source."""

from collections.abc import Callable
from dataclasses import dataclass

from haloes.feedback.live.fetching import Fetching
from haloes.remote.client import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSource:
    """One tool whose feedback is fetched from its server."""

    name: str
    """Name on the command line, such as "langfuse"."""
    product: str
    """Name of the tool, such as "Langfuse"."""
    importer: str
    """Name of the importer that reads the pages."""
    endpoint: Callable[[], Endpoint]
    """
    Returns the server, from variables of the environment; the keys themselves stay there. Raises ConfigError where one
    is missing, and says which.
    """
    fetch: Callable[[Fetching], None]
    """Fetches what is not there yet."""
