"""Chats whose messages name the message before them: the way from a rated answer back to the first turn."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.values import as_id
from haloes.feedback.refusals import RefusalError, short_repr

Node: TypeAlias = Mapping[str, Any]
"""A message as the export holds it."""

_MOST_TURNS = 1000
"""Messages before an answer. All of them are its prompt: the work on a chat of which every answer is rated grows by the
square of its length, and no model was shown so many turns."""


def check_length(before: Sequence[object]) -> None:
    """Raise RefusalError where more messages stand before an answer than are read for one vote."""
    if len(before) > _MOST_TURNS:
        raise RefusalError("long chat", f"{_MOST_TURNS:,} messages and more stand before the answer")


@dataclass(frozen=True, slots=True)
class Tree:
    """The messages of one chat."""

    nodes: Mapping[str, Node]
    """Every message by its id."""
    parent: Callable[[Node], object]
    """Returns the id of the message before one; null or blank for the first."""
    _following: dict[int, list[Node]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The messages after each, once they were asked for."""
    _counted: dict[int, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    """How many of the messages before each count, as far as this was asked for."""

    def node(self, identity: str | None) -> Node:
        """Return a message. Raises RefusalError where it is not there."""
        found = self.nodes.get(identity or "")
        if found is None:
            raise RefusalError(
                "answer not in the export", f"the rated message {short_repr(identity)} is not in its chat"
            )
        return found

    def before(self, node: Node) -> list[Node]:
        """
        Return the messages on the way from the first one to this one, which is not among them.

        Raises:
            RefusalError: The way has a gap, goes in a circle, or is longer than any prompt.
        """
        way: list[Node] = []
        seen = {id(node)}
        while (name := self.parent(node)) not in (None, ""):
            node = self._earlier(name)
            check_length(way)
            if id(node) in seen:
                raise RefusalError(
                    "broken chat tree", f"the messages before the answer go in a circle, at {short_repr(name)}"
                )
            seen.add(id(node))
            way.append(node)
        return way[::-1]

    def after(self, node: Node) -> list[Node]:
        """Return the messages whose parent is this one."""
        if not self._following:
            for each in self.nodes.values():
                before = self.nodes.get(as_id(self.parent(each)) or "")
                self._following.setdefault(id(before), []).append(each)
        return self._following.get(id(node), [])

    def count_before(self, node: Node, counts: Callable[[Node], bool]) -> int:
        """
        Return how many of the messages before this one count; always asked with the same `counts`.

        Raises:
            RefusalError: The way to the first one has a gap or goes in a circle.
        """
        way: list[Node] = []
        seen = set[int]()
        # Down to one that is known: so all messages of a chat take one walk over it together.
        while id(node) not in self._counted:
            if id(node) in seen:
                raise RefusalError("broken chat tree", "the messages before the answer go in a circle")
            seen.add(id(node))
            way.append(node)
            if (name := self.parent(node)) in (None, ""):
                self._counted[id(node)] = 0
            else:
                node = self._earlier(name)
        for after in reversed(way):
            if id(after) not in self._counted:
                self._counted[id(after)] = self._counted[id(node)] + counts(node)
            node = after
        return self._counted[id(node)]

    def _earlier(self, name: object) -> Node:
        found = self.nodes.get(as_id(name) or "")
        if found is None:
            raise RefusalError("broken chat tree", f"the message {short_repr(name)} before the answer is missing")
        return found


def by_id(nodes: Iterable[object], *, key: str = "id") -> dict[str, Node]:
    """Return the messages of a list by their ids; what has none is left out."""
    return {name: node for node in nodes if isinstance(node, Mapping) and (name := as_id(node.get(key))) is not None}


@dataclass(slots=True)
class Trees:
    """The chats of an export as trees. That of the last chat is kept: the votes on one chat follow each other."""

    chats: Lookup
    """The messages of each chat by its id."""
    parent: Callable[[Node], object]
    """As in `Tree`."""
    key: str = "id"
    """Name under which a message has its id."""
    _last: tuple[str | None, Tree] | None = field(default=None, init=False, repr=False)

    def of(self, chat: str | None) -> Tree:
        """Return the tree of a chat; an empty one where the export has no message of it."""
        if self._last is None or self._last[0] != chat:
            nodes = by_id((message for _, message in self.chats.rows(chat)), key=self.key)
            self._last = chat, Tree(nodes, self.parent)
        return self._last[1]
