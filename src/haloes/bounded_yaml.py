"""YAML from anybody: plain values only, and no more of them than a few lines of aliases may stand for."""

from typing import Any

import yaml
from yaml.composer import ComposerError

_MOST_VALUES = 100_000
"""Values of a document once each alias is written out; settings have some hundred."""


class BoundedLoader(yaml.SafeLoader):
    """A loader whose documents stay small when they are copied, compared or printed; every fault is a YAMLError."""

    def get_single_data(self) -> Any:
        """Return the document's value."""
        try:
            return super().get_single_data()
        except RecursionError as error:
            raise ComposerError(None, None, "nested too deeply", None) from error
        # A day that no month has, a number of 5,000 digits, a name that is a list.
        except (ArithmeticError, TypeError, ValueError) as error:
            raise yaml.YAMLError(str(error)) from error

    def get_single_node(self) -> yaml.Node | None:
        """Return the document's root, if there is one."""
        node = super().get_single_node()
        if node is not None:
            _size(node, {})
        return node


def load_yaml(text: str) -> Any:
    """Return the value of a YAML text. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=BoundedLoader)  # noqa: S506 - a SafeLoader


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node stands for; raise ComposerError where they are too many, or never end."""
    if id(node) not in known:
        known[id(node)] = _MOST_VALUES + 1  # while it is counted: within itself it has no end
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        else:
            parts = list(node.value) if isinstance(node, yaml.SequenceNode) else []
        known[id(node)] = 1 + sum(_size(part, known) for part in parts)
    if known[id(node)] > _MOST_VALUES:
        raise ComposerError(None, None, f"its aliases stand for more than {_MOST_VALUES:,} values", node.start_mark)
    return known[id(node)]
