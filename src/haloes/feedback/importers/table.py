"""The table of importers, in the order in which they are tried."""

from collections.abc import Iterable

from haloes.feedback.importers.contract import Importer
from haloes.feedback.importers.open_webui import OPEN_WEBUI

_IN_ORDER: Iterable[Importer] = (OPEN_WEBUI,)
IMPORTERS: dict[str, Importer] = {each.name: each for each in _IN_ORDER}
"""Every importer by its name."""
