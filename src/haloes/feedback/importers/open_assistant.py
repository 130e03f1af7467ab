"""
OpenAssistant: message trees, in whole (`*.trees.jsonl`) or as messages (`*.messages.jsonl`, the Parquet of the hub).

People ranked the answers to one message: rank 0 is the best. Every two neighbours in that order are a comparison, of
which the better is chosen: all pairs would follow from these, and weigh a message by the square of its answers.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from haloes.feedback.fields import RawRow
from haloes.feedback.importers.content import read_messages
from haloes.feedback.importers.contract import Compared, Imported, Importer, LeftOut
from haloes.feedback.importers.export import Export, PlacedRow
from haloes.feedback.importers.join import Lookup
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.tree import Node, Tree, by_id
from haloes.feedback.importers.values import as_id, as_list, as_map, as_number, as_text
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Message, Where

_TREE = ("message_tree_id", "tree_state", "prompt")
_MESSAGE = ("message_tree_id", "message_id", "parent_id", "text", "role", "rank")


def _recognise(export: Export) -> str | None:
    if export.with_columns(*_TREE):
        return "OpenAssistant message trees"
    return "OpenAssistant messages" if export.with_columns(*_MESSAGE) else None


def _read(export: Export) -> Iterator[Imported]:
    trees = export.with_columns(*_TREE)
    if trees is not None:
        yield from each_row(trees.rows(), _of_tree)
        return
    rows = (export.with_columns(*_MESSAGE) or export).rows
    with Lookup(rows(), lambda row: [as_id(row.get("message_tree_id"))]) as messages:
        yield from each_row(_first_of_each(rows()), lambda row, where: _of_messages(row, where, messages))
        yield from messages.faults


def _first_of_each(rows: Iterable[PlacedRow]) -> Iterator[PlacedRow]:
    """Yield the first message of every tree; messages of one tree may stand anywhere in the file."""
    seen: set[str | None] = set()
    for where, row in rows:
        # A row that cannot be read is told by the table of messages.
        if isinstance(row, Mapping) and (name := as_id(row.get("message_tree_id"))) not in seen:
            seen.add(name)
            yield where, row


def _of_messages(row: RawRow, where: Where, messages: Lookup) -> Iterator[Imported]:
    found = messages.rows(as_id(row.get("message_tree_id")))
    places = {as_id(each.get("message_id")): place for place, each in found}
    yield from _comparisons([each for _, each in found], where, places=places)


def _of_tree(row: RawRow, where: Where) -> Iterator[Imported]:
    nodes: list[Node] = []
    waiting: list[Any] = [{**as_map(row.get("prompt")), "parent_id": None}]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, Mapping):
            raise RefusalError("broken chat tree", f"a reply in the tree is {short_repr(node)}, no message")
        nodes.append({name: value for name, value in node.items() if name != "replies"})
        replies = [
            {**as_map(reply), "parent_id": node.get("message_id"), "message_tree_id": row.get("message_tree_id")}
            for reply in as_list(node.get("replies"))
        ]
        waiting += reversed(replies)
    yield from _comparisons(nodes, where, places={})


def _comparisons(nodes: list[Node], where: Where, *, places: Mapping[str | None, Where]) -> Iterator[Imported]:
    """Yield the comparisons of a tree: those of the answers to each message."""
    tree = Tree(by_id(nodes, key="message_id"), parent=lambda node: node.get("parent_id"))
    groups: dict[str | None, list[Node]] = {}
    for node in nodes:
        if node.get("role") == "assistant":
            groups.setdefault(as_id(node.get("parent_id")), []).append(node)
    for answers in groups.values():
        ranked = [(rank, node) for node in answers if (rank := _rank(node)) is not None]
        ranked.sort(key=lambda pair: pair[0])
        if len(ranked) < len(answers) and len(answers) > 1:
            unranked = (
                f"{len(answers) - len(ranked)} of {len(answers)} answers to one message are deleted or not ranked"
            )
            yield LeftOut("not a verdict", where, unranked)
        for (better, chosen), (worse, rejected) in itertools.pairwise(ranked):
            place = places.get(as_id(chosen.get("message_id")), where)
            if better == worse:
                yield LeftOut("no verdict", place, f"two answers have the same rank, {better:g}")
                continue
            try:
                yield _compared(chosen, rejected, place, tree)
            except RefusalError as refused:
                yield LeftOut(refused.reason, place, refused.message)


def _rank(node: Node) -> float | None:
    if node.get("deleted") is True or node.get("review_result") is False:
        return None
    return as_number(node.get("rank"))


def _compared(chosen: Node, rejected: Node, where: Where, tree: Tree) -> Compared:
    names = [as_id(node.get("message_id")) for node in (chosen, rejected)]
    before = tree.before(chosen)
    return Compared(
        where=where,
        messages=tuple(turn for node in before for turn in _turns(node)),
        chosen=_turns(chosen),
        rejected=_turns(rejected),
        answer=" ".join(filter(None, names)) or None,
        conversation=as_id(chosen.get("message_tree_id")) or (as_id(before[0].get("message_id")) if before else None),
        id=names[0],
        chosen_model=as_text(chosen.get("model_name")),
        rejected_model=as_text(rejected.get("model_name")),
        time=chosen.get("created_date"),
    )


def _turns(node: Node) -> tuple[Message, ...]:
    return read_messages([{"role": node.get("role"), "content": node.get("text")}])


OPEN_ASSISTANT = Importer(
    name="open-assistant",
    product="OpenAssistant",
    files="one file of trees, or of messages",
    how="oasst trees from the hub (OpenAssistant/oasst2), or the export of an own instance",
    votes="ranks: each answer is preferred to the next in rank",
    recognise=_recognise,
    read=_read,
)
