"""Every setting with its default and its text, and the JSON schema of them all."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from haloes.errors import ConfigError
from haloes.runs.config import RunConfig, as_mapping
from haloes.runs.config_layers import config_adapter
from haloes.runs.setting_faults import known_keys, settings_called

SettingText: TypeAlias = tuple[Any, str]
"""A setting's default, and what it means."""


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file, with descriptions."""
    return config_adapter().json_schema()


def find_settings(name: str | None) -> dict[str, SettingText]:
    """
    Return all settings, those of a section, or one, by their keys.

    Raises ConfigError where there is none of this name, with the nearest.
    """
    texts = dict(_setting_texts(json_schema(), as_mapping(RunConfig())))
    if name is None:
        return texts
    for key in (name, *settings_called(name)):
        if found := {each: texts[each] for each in texts if each == key or each.startswith(f"{key}.")}:
            return found
    if name.startswith("loss."):
        raise ConfigError(f"{name}: what can be set depends on the loss; `haloes losses show NAME` lists it")
    near = difflib.get_close_matches(name, texts, n=1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    raise ConfigError(f"{name}: there is no such section or setting.{hint} Sections: {', '.join(known_keys([]))}")


def _setting_texts(
    schema: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = "", section: str | None = None
) -> Iterator[tuple[str, SettingText]]:
    """Yield the key of each setting of a section, or of the whole, with its default and its description."""
    for name, entry in (schema if section is None else schema["$defs"][section])["properties"].items():
        inner = next((part["$ref"] for part in [entry, *entry.get("anyOf", [])] if "$ref" in part), None)
        if inner is None:
            yield f"{prefix}{name}", (defaults[name], entry.get("description", ""))
        else:
            yield from _setting_texts(schema, defaults[name], f"{prefix}{name}.", inner.rpartition("/")[2])
