"""Explanations of losses, gathered from their classes and presets, so that nothing is said twice."""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from itertools import pairwise
from typing import Any

from haloes.losses._about import About
from haloes.losses._contract import Needs
from haloes.losses.definition import is_halo
from haloes.losses.make import hyperparameters, loss_maker, loss_settings
from haloes.losses.presets import Maker, Preset
from haloes.losses.table import LOSSES

REQUIRED = "required"
"""The default of a hyperparameter that has none."""
_UNTOLD = "As in the formula."


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph of a docstring."""

    text: str
    """The paragraph in one line; a formula keeps its lines."""
    is_formula: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameter:
    """A number or part of a loss that can be set."""

    name: str
    default: str
    """The default as a configuration would write it, or `REQUIRED`."""
    text: str
    """Explanation of its effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A loss explained."""

    name: str
    """Its name in the table, or path/to/file.py:Class."""
    about: About
    """Empty texts where a user's loss says nothing about itself, but for its title."""
    blocks: tuple[Block, ...]
    """Its docstring: what it does in a sentence, its formula, and what is to be known."""
    needs: tuple[str, ...]
    """Needs in a few words each; for a loss that is made of parts, those with its default parts."""
    hyperparameters: tuple[Hyperparameter, ...]
    has_parts: bool
    """Whether it is made of dials or of other losses."""

    @property
    def needs_text(self) -> str:
        """Join all that it needs into a line."""
        return ("by default " if self.has_parts else "") + ", ".join(self.needs)

    @property
    def short_source(self) -> str:
        """Shorten its source to the first arXiv number or address; all of it where there is neither."""
        address = re.search(r"arXiv \d{4}\.\d{4,5}|https?://[^\s,]+", self.about.source)
        return address.group().removeprefix("https://") if address else self.about.source


def explain(name: str) -> Explanation:
    """Explain a loss of the table or of a user's file; raise ConfigError where there is none of this name."""
    maker = loss_maker(name)
    documented = maker.make if isinstance(maker, Preset) else maker
    defaults = _hyperparameters(maker)
    about = getattr(maker, "about", None)
    values = [value for value, _ in defaults.values()]
    return Explanation(
        name=name,
        about=about if isinstance(about, About) else _empty_about(documented.__name__),
        blocks=blocks(documented),
        needs=_needs_in_words(maker),
        hyperparameters=tuple(
            Hyperparameter(name=key, default=_in_a_word(value), text=text or _UNTOLD)
            for key, (value, text) in defaults.items()
        ),
        has_parts=any(
            is_dataclass(part) for value in values for part in (value if isinstance(value, tuple) else [value])
        ),
    )


def explain_all() -> dict[str, list[Explanation]]:
    """Explain all losses of the table, in its order, under the titles of its groups."""
    return {title: [explain(name) for name in names] for title, names in LOSSES.groups.items()}


def _needs_in_words(maker: Maker) -> tuple[str, ...]:
    """Say what a loss needs, in a few words each; of one that wraps another, which has no default, that it depends."""
    if inspect.Parameter.empty in hyperparameters(maker).values() and not isinstance(
        getattr(maker, "needs", None), Needs
    ):
        return ("what its settings say",)
    return needs_of(maker).in_words()


def needs_of(maker: Maker) -> Needs:
    """Return what a loss with its default hyperparameters needs."""
    declared = getattr(maker, "needs", None)
    needs: Needs = declared if isinstance(declared, Needs) else maker().needs
    return needs


def halo_verdict(name: str) -> str:
    """
    Say whether a loss with its default hyperparameters is a human-aware loss: "yes: ..." or "no: ...".

    Empty where there are no defaults, and where a user's loss cannot be called as the check calls it.
    """
    maker = loss_maker(name)
    if inspect.Parameter.empty in hyperparameters(maker).values():
        return ""
    try:
        answer = is_halo(maker())
    except Exception:
        if name in LOSSES:
            raise
        return ""  # explaining somebody's unfinished loss must not fail for its fault
    return f"{'yes' if answer else 'no'}: {answer.reason}"


def blocks(documented: Callable[..., Any] | type[Any]) -> tuple[Block, ...]:
    """Split the docstring of a class or function into paragraphs, the indented ones as formulas; empty without one."""
    text = inspect.getdoc(documented) or ""
    if text.startswith(f"{documented.__name__}("):  # a dataclass without a docstring is given its signature
        return ()
    parts = text.split("\n\n")
    return tuple(_block(part) for part in parts if part.strip())


def field_texts(cls: type[Any]) -> dict[str, str]:
    """Collect the strings under the fields of a class, each in one line; none where its source is not at hand."""
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
    """Walk the fields of a value, then of its fields' values, and so on: the class, name and value of each."""
    if isinstance(value, tuple):
        for item in value:
            yield from fields_within(item)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return
    own = [(type(value), field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    yield from own
    for _, _, inner in own:
        yield from fields_within(inner)


def _empty_about(title: str) -> About:
    return About(title=title, source="", reward="", reference_point="", value="", use="")


def _hyperparameters(maker: Maker) -> dict[str, tuple[Any, str]]:
    """Return the default and the text of each. A preset takes both from what it sets, where it says None or nothing."""
    defaults = hyperparameters(maker)
    if not isinstance(maker, Preset):
        texts = field_texts(maker)
        return {name: (value, texts.get(name, "")) for name, value in defaults.items()}
    # A preset's parameters are fields of what it makes; the outermost field of a name is the one that it sets.
    set_by: dict[str, tuple[Any, str]] = {}
    for cls, name, value in fields_within(maker()):
        set_by.setdefault(name, (value, field_texts(cls).get(name, "")))
    return {
        name: (set_by[name][0] if value is None else value, set_by.get(name, (None, ""))[1])
        for name, value in defaults.items()
    }


def _in_a_word(value: Any) -> str:
    """Write a default as a word: a part by its name."""
    if value is inspect.Parameter.empty:
        return REQUIRED
    if isinstance(value, tuple):
        return ", ".join(_in_a_word(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    settings = loss_settings(value)
    return str(settings["name"]) if isinstance(settings, Mapping) else str(settings)


def _block(text: str) -> Block:
    if text.startswith("    "):
        return Block(textwrap.dedent(text).rstrip(), is_formula=True)
    return Block(" ".join(text.split()), is_formula=False)
