"""Settings on the terminal: several as a table, one in full."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from haloes.cli.views.tables import table
from haloes.runs.settings_file import first_sentence

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions

    from haloes.runs.setting_texts import SettingText

_ROOM_FOR_TEXT = 30
"""Characters that a column of sentences has at least; where there are fewer it has a word a line."""


def settings_view(settings: "Mapping[str, SettingText]") -> Iterator[Any]:
    """Yield settings with the first sentence of each, or a single one in full."""
    from rich.markup import escape

    if len(settings) == 1:
        ((key, (default, text)),) = settings.items()
        yield escape(f"{key} = {json.dumps(default)}")
        yield escape(" ".join(text.split()))
        return
    rows = [(key, json.dumps(default), first_sentence(text)) for key, (default, text) in settings.items()]
    yield _Listing(rows)
    yield "One of them in full: haloes settings KEY. To change it: --set KEY=VALUE"


class _Listing:
    """Settings as a table; where that would have a word a line, as a list."""

    def __init__(self, rows: Sequence[tuple[str, str, str]]) -> None:
        self._rows = rows

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> Iterator[Any]:
        from rich.markup import escape
        from rich.padding import Padding

        columns = ("Setting", "Default", "What it means")
        taken = sum(max(len(row[place]) + 1 for row in self._rows) for place in (0, 1))
        if options.max_width - taken >= _ROOM_FOR_TEXT:
            yield table("", columns, self._rows, whole=columns[:1])
            return
        for key, default, sentence in self._rows:
            yield escape(f"{key} = {default}")
            yield Padding(escape(sentence), (0, 0, 0, 4))
