"""Losses on a terminal: all of them as a table, one of them on a screen."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from haloes.guide.explain import Block, Explanation, Hyperparameter
from haloes.guide.recommend import Recommendation

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text


def overview(groups: Mapping[str, Sequence[Explanation]]) -> "list[RenderableType]":
    """Draw all losses by group: name, title, needs and source."""
    from rich.text import Text

    longest = max(len(loss.name) for group in groups.values() for loss in group)
    shown: list[RenderableType] = []
    for title, group in groups.items():
        shown += [Text(title, style="bold"), Text(""), _group(group, name_width=longest), Text("")]
    return shown


def _group(group: Iterable[Explanation], *, name_width: int) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(width=name_width, no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(ratio=1)
    table.add_column(width=16, style="dim", overflow="fold")
    for loss in group:
        table.add_row(
            Text(loss.name, style="bold cyan"), Text(loss.about.title), Text(loss.needs_text), loss.short_source
        )
    return table


def screen(loss: Explanation, judged: str) -> "list[RenderableType]":
    """
    Draw one loss: what it does, its formula, its dials, what can be set, and when to use it.

    Args:
        loss: the loss in words.
        judged: whether it is a human-aware loss, and why.
    """
    from rich.text import Text

    about = loss.about
    title = Text.assemble((loss.name, "bold cyan"), "  ", (about.title, "bold"))
    dials = (("reward", about.reward), ("reference point", about.reference_point), ("value", about.value))
    facts = (
        *dials,
        ("human-aware", judged),
        ("needs", loss.needs_text),
        ("when", about.use),
        ("source", about.source),
    )
    shown = [title, Text(""), *_paragraphs(loss.blocks), _facts(facts), Text("")]
    if loss.hyperparameters:
        shown += [_settings(loss.hyperparameters), Text("")]
    return [*shown, Text.assemble(("train with  ", "dim"), f"haloes train FILE --loss {loss.name}{_example(loss)}")]


def _paragraphs(blocks: Iterable[Block]) -> "list[RenderableType]":
    from rich.padding import Padding
    from rich.text import Text

    shown: list[RenderableType] = []
    for block in blocks:
        text = Text(block.text, style="bold green") if block.is_formula else _plain(block.text)
        shown += [Padding(text, (0, 0, 0, 4)) if block.is_formula else text, Text("")]
    return shown


def _plain(text: str) -> "Text":
    """Return text in which `code` stands out."""
    from rich.text import Text

    shown = Text()
    for i, part in enumerate(re.split(r"`([^`]+)`", text)):
        shown.append(part, style="green" if i % 2 else "")
    return shown


def _facts(facts: Iterable[tuple[str, str]]) -> "Table":
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, text in facts:
        if text:
            table.add_row(name, _plain(text))
    return table


def _settings(hyperparameters: Iterable[Hyperparameter]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("setting", no_wrap=True)
    table.add_column("default", max_width=22)
    table.add_column("meaning")
    for setting in hyperparameters:
        table.add_row(Text(setting.name, style="bold"), Text(setting.default), _plain(setting.text))
    return table


def _example(loss: Explanation) -> str:
    """Return the option that sets the first hyperparameter that is a number; empty where there is none."""
    number = next((h for h in loss.hyperparameters if re.fullmatch(r"[\d.]+", h.default)), None)
    return f" --set loss.{number.name}={number.default}" if number else ""


def recommendation(recommended: Recommendation) -> "list[RenderableType]":
    """Draw what a feedback file holds, which losses apply, which suits and why."""
    from rich.table import Table
    from rich.text import Text

    applies = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(2):
        applies.add_column(overflow="fold")
    for how, names in recommended.applies:
        applies.add_row(Text(how, style="dim"), Text(", ".join(names)))
    advice = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(2):
        advice.add_column(overflow="fold")
    for advised in recommended.advice:
        text = Text.assemble(_plain(advised.why), ". ", (f"[{advised.source.replace('`', '')}]", "dim"))
        advice.add_row(Text(advised.topic, style="dim"), Text(advised.what, style="bold cyan"), text)
    held: list[RenderableType] = [Text(fact) for fact in recommended.holds]
    return [
        *(Text("The file holds", style="bold"), *held, Text("")),
        *(Text("What applies", style="bold"), applies, Text("")),
        *(Text("What suits", style="bold"), advice, Text("")),
    ]
