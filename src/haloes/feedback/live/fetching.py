"""Fetching the pages of queries that are not there yet, one after another."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from haloes.errors import RunError
from haloes.feedback.live.pages import Page, Pages, Query
from haloes.progress.contract import Progress
from haloes.remote.client import Client, Endpoint, NoReplyError

Read = TypeVar("Read")


@dataclass(slots=True)
class Server:
    """The server, to which a connection is made when it is first asked: a finished fetch needs no key."""

    endpoint: Callable[[], Endpoint]
    _stack: ExitStack = field(default_factory=ExitStack, repr=False)
    _clients: list[Client] = field(default_factory=list, repr=False)

    def get(self, path: str, query: Mapping[str, str | int | None], read: Callable[[Any], Read]) -> Read:
        """
        Ask for something; values of the query that are None are left out.

        Raises:
            NotFoundError: There is nothing under this path.
            RunError: The server gives nothing usable.
        """
        if not self._clients:
            self._clients.append(self._stack.enter_context(Client(self.endpoint())))
        given = {name: str(value) for name, value in query.items() if value is not None}
        try:
            return self._clients[0].get(path, given, read)
        except NoReplyError as error:
            raise RunError(
                f"{self.endpoint().base_url}{path}: {error}; what was fetched is kept, and the same command goes on"
            ) from error

    def close(self) -> None:
        """Close the connections."""
        self._stack.close()


Ask: TypeAlias = Callable[[Server, Query, str | None], Page]
"""Asks the server for the page of a query at a cursor (None: the first)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetching:
    """One import: what is asked for, and what is kept."""

    server: Server
    pages: Pages
    since: datetime
    until: datetime
    """When the import began: what comes later would move the pages."""
    voters: frozenset[str]
    """Whose verdicts are asked for (`contract.Voter`)."""
    progress: Progress

    def all_pages(
        self, stream: str, queries: Iterable[Query], ask: Ask, *, noun: str, total: int | None = None
    ) -> None:
        """
        Fetch the pages of queries that are not kept yet.

        Args:
            stream: Name of the file that keeps them.
            queries: What to ask for.
            ask: Asks for a page.
            noun: What is fetched, in the plural, for the display.
            total: How much is fetched, in the unit of the display: rows, or queries where it is given.

        Raises:
            RunError: The server gives nothing usable, or the same place again and again.
        """
        places = self._places(stream)
        told = False
        for query in queries:
            key, cursor, seen = _key(query), None, set[str]()
            if key in places:
                cursor = places[key]
                if cursor is None:
                    continue
            if not told:
                self.progress.stage(f"fetching {noun}", total)
                told = True
            before: Sequence[Any] = ()
            while True:
                page = ask(self.server, query, cursor)
                # A server that takes no notice of the place would give the same page for ever.
                if (page.rows and page.rows == before) or (page.next is not None and page.next in {cursor, *seen}):
                    raise RunError(
                        f"{self.server.endpoint().base_url}: the server goes back to a page that it gave (behind "
                        f"{cursor!r}), and would never end; what was fetched is kept in {self.pages.folder}"
                    )
                self.pages.add(stream, query, cursor, page)
                self.progress.advance(len(page.rows) if total is None else page.next is None)
                if page.next is None:
                    break
                seen.add(page.next)
                cursor, before = page.next, page.rows

    def finished(self, stream: str) -> Iterable[Query]:
        """Yield the queries of which all pages are kept."""
        return (kept.query for kept in self.pages.read(stream) if kept.next is None)

    def _places(self, stream: str) -> dict[str, str | None]:
        """Return where each query that was begun goes on."""
        return {_key(kept.query): kept.next for kept in self.pages.read(stream)}


def _key(query: Query) -> str:
    return json.dumps(query, sort_keys=True)
