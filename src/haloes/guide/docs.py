"""What the source of a loss says about it: its docstring in blocks, and the texts under its fields."""

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph of a docstring."""

    text: str
    """In one line; a formula keeps its lines."""
    is_formula: bool


def blocks(documented: Callable[..., Any] | type[Any]) -> tuple[Block, ...]:
    """The docstring of a class or function: paragraphs, the indented ones as formulas; empty if it has none."""
    text = inspect.getdoc(documented) or ""
    if text.startswith(f"{documented.__name__}("):  # a dataclass without a docstring is given its signature
        return ()
    parts = text.split("\n\n")
    return tuple(_block(part) for part in parts if part.strip())


def _block(text: str) -> Block:
    if text.startswith("    "):
        return Block(textwrap.dedent(text).rstrip(), is_formula=True)
    return Block(" ".join(text.split()), is_formula=False)


def field_texts(cls: type[Any]) -> dict[str, str]:
    """The strings that stand under the fields of a class, each in one line; nothing where its source is not at hand."""
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        return {}
    node = ast.parse(source).body[0]
    body = node.body if isinstance(node, ast.ClassDef) else []
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def fields_within(value: Any) -> Iterator[tuple[type[Any], str, Any]]:
    """The class, name and value of every field of a value, then of the values of its fields, and so on."""
    if isinstance(value, tuple):
        for item in value:
            yield from fields_within(item)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return
    found = [(type(value), field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    yield from found
    for _, _, inner in found:
        yield from fields_within(inner)
