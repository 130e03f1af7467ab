"""Settings on the terminal: several as a table, one in full."""

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from haloes.cli.views.tables import table
from haloes.runs.settings_file import first_sentence

if TYPE_CHECKING:
    from haloes.runs.config import SettingText


def settings_view(settings: "Mapping[str, SettingText]") -> Iterator[Any]:
    """Yield a table of settings with the first sentence of each, or a single one with its whole text."""
    from rich.markup import escape

    if len(settings) == 1:
        ((key, (default, text)),) = settings.items()
        yield escape(f"{key} = {json.dumps(default)}")
        yield escape(" ".join(text.split()))
        return
    rows = [(key, json.dumps(default), first_sentence(text)) for key, (default, text) in settings.items()]
    columns = ("Setting", "Default", "What it means")
    yield table("", columns, rows, whole=columns[:1])
    yield "One of them in full: haloes settings KEY. To change it: --set KEY=VALUE"
