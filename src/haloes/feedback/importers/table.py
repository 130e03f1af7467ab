"""The table of importers, in the order in which they are tried."""

from collections.abc import Iterable

from haloes.feedback.importers.argilla import ARGILLA
from haloes.feedback.importers.chainlit import CHAINLIT
from haloes.feedback.importers.chat_ui import CHAT_UI
from haloes.feedback.importers.chatgpt import CHATGPT
from haloes.feedback.importers.collected import COLLECTED
from haloes.feedback.importers.contract import Importer
from haloes.feedback.importers.dify import DIFY
from haloes.feedback.importers.gradio import GRADIO
from haloes.feedback.importers.helicone import HELICONE
from haloes.feedback.importers.label_studio import LABEL_STUDIO
from haloes.feedback.importers.langfuse import LANGFUSE
from haloes.feedback.importers.langsmith import LANGSMITH
from haloes.feedback.importers.librechat import LIBRECHAT
from haloes.feedback.importers.mlflow import MLFLOW
from haloes.feedback.importers.open_assistant import OPEN_ASSISTANT
from haloes.feedback.importers.open_webui import OPEN_WEBUI
from haloes.feedback.importers.opik import OPIK
from haloes.feedback.importers.otel_genai import OTEL_GENAI
from haloes.feedback.importers.phoenix import PHOENIX
from haloes.feedback.importers.portkey import PORTKEY
from haloes.feedback.importers.vercel_chat import VERCEL_CHAT
from haloes.feedback.importers.weave import WEAVE

_IN_ORDER: Iterable[Importer] = (
    COLLECTED,
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
    LANGFUSE,
    LANGSMITH,
    MLFLOW,
    PHOENIX,
    OTEL_GENAI,
    OPIK,
    WEAVE,
    HELICONE,
    PORTKEY,
)
IMPORTERS: dict[str, Importer] = {each.name: each for each in _IN_ORDER}
"""Every importer by its name."""
