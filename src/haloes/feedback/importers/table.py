"""The table of importers, in the order in which they are tried."""

from collections.abc import Iterable

from haloes.feedback.importers.argilla import ARGILLA
from haloes.feedback.importers.chainlit import CHAINLIT
from haloes.feedback.importers.chat_ui import CHAT_UI
from haloes.feedback.importers.chatgpt import CHATGPT
from haloes.feedback.importers.contract import Importer
from haloes.feedback.importers.dify import DIFY
from haloes.feedback.importers.gradio import GRADIO
from haloes.feedback.importers.label_studio import LABEL_STUDIO
from haloes.feedback.importers.librechat import LIBRECHAT
from haloes.feedback.importers.open_assistant import OPEN_ASSISTANT
from haloes.feedback.importers.open_webui import OPEN_WEBUI
from haloes.feedback.importers.vercel_chat import VERCEL_CHAT

_IN_ORDER: Iterable[Importer] = (
    OPEN_WEBUI,
    LIBRECHAT,
    CHAT_UI,
    VERCEL_CHAT,
    DIFY,
    CHAINLIT,
    CHATGPT,
    GRADIO,
    OPEN_ASSISTANT,
    ARGILLA,
    LABEL_STUDIO,
)
IMPORTERS: dict[str, Importer] = {each.name: each for each in _IN_ORDER}
"""Every importer by its name."""
