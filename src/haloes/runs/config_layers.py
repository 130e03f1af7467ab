"""A configuration made of layers, from a file and the command line, each over the ones before it and the defaults."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haloes.errors import ConfigError
from haloes.runs.config import RunConfig, default_loss
from haloes.runs.read_settings import merge_settings, read_yaml
from haloes.runs.setting_faults import explain_faults, faults_by_setting

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def make_config(*layers: Mapping[str, Any]) -> RunConfig:
    """
    Make a configuration of nested mappings, each overriding the ones before it key by key, over the defaults.

    A `loss` section with another name than the layers before it starts afresh: hyperparameters belong to their loss.
    Raises ConfigError for an unknown key (with a suggestion) or a value of the wrong kind.
    """
    from pydantic import ValidationError

    merged: dict[str, Any] = {}
    # Merged as plain mappings: only the sum of all layers must be a whole configuration.
    for layer in layers:
        merged = _layered(merged, layer)
    merged = _layered({"loss": default_loss()}, merged)
    train = merged.get("train")
    if isinstance(train, Mapping) and train.get("shard") is False:
        # To YAML a bare off is false.
        merged["train"] = {**train, "shard": "off"}
    try:
        # As JSON a section may be a mapping while every value must be of its own type: "3" and true are no numbers.
        return config_adapter().validate_json(json.dumps(merged, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError("; ".join(explain_faults(faults) for faults in faults_by_setting(error.errors()))) from error


def config_of_file(path: Path | None, *layers: Mapping[str, Any], under: Mapping[str, Any] | None = None) -> RunConfig:
    """Make a configuration of a YAML file, if there is one, between layers; a fault in the file names the file."""
    if path is None:
        return make_config(under or {}, *layers)
    sections = read_yaml(path)
    try:
        return make_config(under or {}, sections, *layers)
    except ConfigError as error:
        try:
            make_config(sections)
        except ConfigError as own:
            raise ConfigError(f"{path}: {own}") from error
        raise


@cache
def config_adapter() -> "TypeAdapter[RunConfig]":
    """Return what checks a configuration, and describes it."""
    from pydantic import TypeAdapter

    return TypeAdapter(RunConfig)


def _layered(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one layer over others; where it names another loss than they do, their hyperparameters are not for it."""
    old, new = under.get("loss"), over.get("loss")
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        name = old.get("name", default_loss()["name"])
        if new.get("name", name) != name:
            under = {**under, "loss": {}}
    return merge_settings(under, over)
