"""A settings file to begin with: every section with its defaults, and above each setting what it means."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from haloes.runs.config import RunConfig, as_mapping
from haloes.runs.setting_texts import json_schema

_WIDTH = 100
_NO_NAMES = frozenset({"null", "true", "false", "yes", "no", "on", "off"})
"""Words that YAML takes for something else where they have no quotes."""
_HEAD = (
    "Settings of a run, all at their defaults: change what you need, and leave out the rest if you like.",
    "To train with them: haloes train FEEDBACK --config THIS_FILE. Options such as --lr and --set go before the file.",
    "A setting in full, with where its default comes from: haloes settings KEY, such as haloes settings train.lr.",
)


def settings_text() -> str:
    """Return a YAML file with every setting at its default: `config_of_file` makes the default configuration of it."""
    schema = json_schema()
    lines = [f"# {line}" for line in _HEAD]
    return "\n".join([*lines, *_section(schema, schema, as_mapping(RunConfig()), indent="")]) + "\n"


def first_sentence(text: str) -> str:
    """Return the first sentence of a description, in one line and without its full stop."""
    return re.split(r"(?<=\.)\s+(?=[A-Z0-9`\"])", " ".join(text.split()), maxsplit=1)[0].removesuffix(".")


def _section(
    schema: Mapping[str, Any], section: Mapping[str, Any], values: Mapping[str, Any], indent: str
) -> Iterator[str]:
    """Yield the lines of a section, each setting under what it means."""
    for name, entry in section["properties"].items():
        if not indent:
            yield ""
        wrapped = textwrap.wrap(first_sentence(entry["description"]), _WIDTH - len(indent), break_long_words=False)
        yield from (f"{indent}# {line}" for line in wrapped)
        inner = next((part["$ref"] for part in [entry, *entry.get("anyOf", [])] if "$ref" in part), None)
        if inner is None:
            yield f"{indent}{name}: {_written(values[name])}"
        else:
            yield f"{indent}{name}:"
            yield from _section(schema, schema["$defs"][inner.rpartition("/")[2]], values[name], indent + "  ")


def _written(value: object) -> str:
    """Write a value in one line of YAML."""
    # JSON is YAML, but a name in quotes looks as if it had to have them.
    if isinstance(value, str) and re.fullmatch(r"[a-z]+(-[a-z]+)*", value) and value not in _NO_NAMES:
        return value
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)
