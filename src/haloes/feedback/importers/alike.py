"""
Calls of a tracing tool that nobody rated: which of them a person was shown, as far as those that are rated tell.

Traces also hold calls that nobody saw: titles, tools, tests. Where people rate, they rate calls of certain names, first
of their trace or inside of one. Calls of the same name and place were shown too; others may not have been.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from haloes.feedback.importers.contract import NotShown, Unrated
from haloes.feedback.importers.spans import Answered
from haloes.feedback.refusals import RefusalError
from haloes.records import Where

RULE = (
    "calls of the names that people rated, at the same place (first of their trace, or inside of one), and with a user "
    "or a conversation where all rated ones have one"
)
"""Which unrated calls count as shown, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call in a trace, whether a person rated it or not."""

    where: Where
    is_rated: bool
    answer: str | None
    """Its id, as `Vote.answer`."""
    name: str | None
    """The name that the application gives to calls of this kind."""
    is_first: bool
    """Whether it is the first of its trace, and not inside of another."""
    user: str | None
    conversation: str | None
    time: object
    read: Callable[[], Answered]
    """Reads what was asked and answered; raises RefusalError where that cannot be used."""

    @property
    def names_somebody(self) -> bool:
        """Return whether it says whose it was."""
        return self.user is not None or self.conversation is not None


def unrated_calls(calls: Callable[[], Iterator[Call]]) -> Iterator[Unrated | NotShown]:
    """Yield the answers that nobody rated and that count as shown, and the places of the other calls."""
    for call in alike(calls):
        if isinstance(call, NotShown):
            yield call
            continue
        with suppress(RefusalError):
            read = call.read()
            yield Unrated(
                where=call.where,
                completion=read.answer,
                answer=call.answer,
                number=sum(turn.role == "user" for turn in read.before),
                model=read.model,
                user=call.user,
                conversation=call.conversation,
                time=call.time,
            )


def alike(calls: Callable[[], Iterator[Call]]) -> Iterator[Call | NotShown]:
    """Yield the calls that nobody rated: those that are like the rated ones, and the places of the others."""
    kinds = set[tuple[str | None, bool]]()
    all_name = True
    for call in calls():
        if call.is_rated:
            kinds.add((call.name, call.is_first))
            all_name = all_name and call.names_somebody
    for call in calls():
        if call.is_rated:
            continue
        # Without a name nothing tells an answer from the steps before it, which are of the same user.
        is_alike = call.name is not None and (call.name, call.is_first) in kinds
        yield NotShown(call.where) if not is_alike or (all_name and not call.names_somebody) else call
