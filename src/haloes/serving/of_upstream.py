"""What is served of another server, and which two of its models are compared."""

from collections.abc import Sequence

from haloes.remote.client import Endpoint
from haloes.runs.config import FeedbackSettings
from haloes.runs.prompts import load_asked
from haloes.serving.app import Site
from haloes.serving.comparing import Contest
from haloes.serving.store import Store
from haloes.serving.upstream import Upstream


def site_of_upstream(endpoint: Endpoint, store: Store, *, compare: Sequence[str], prompts: str | None) -> Site:
    """
    Return what is served of another server; nothing is sent to it yet.

    Args:
        endpoint: the server.
        store: where answers and votes are kept.
        compare: the two models that are compared, the one under test first; empty for none.
        prompts: what they are compared on, beside prompts of the users' own.

    Raises:
        ConfigError: the address must not be asked, or the key is missing.
        DataError: there are no prompts.
    """
    backend = Upstream(endpoint)
    known = {} if prompts is None else load_asked(prompts, FeedbackSettings())
    contest = Contest(candidate=compare[0], baseline=compare[1], prompts=known) if compare else None
    return Site(store=store, backend=backend, contest=contest, secret=backend.key)
