"""Made-up conversations that show whether two programs write chats alike: with system turns, tools and thoughts."""

import re
from collections.abc import Mapping
from typing import Any

from haloes.errors import DataError
from haloes.exports.converter import THINKING, fixes_thinking
from haloes.records import Message, Prompt
from haloes.tokens.encode import Encoder

_TOOL: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Say what the weather is like.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string", "description": "A town."}},
            "required": ["place"],
        },
    },
}
_CALL: Mapping[str, Any] = {
    "id": "call00001",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"place": "Ulm"}'},
}
_ASKED = Message("user", "How is it in Ulm?")
_RESULT = Message("tool", "Rain.", extra=(("name", "weather"), ("tool_call_id", "call00001")))
_SCRIPTS = "Zwölf 12345 in 3.14 à la  carte:\n\n1. naïve\n\t- 日本語 🎉\r\n  if x<=1: return '{}'"
_THOUGHT = "<think>\nWhat is asked?\n</think>\n\nYes."


def conversations(encoder: Encoder) -> dict[str, tuple[Prompt, list[int]]]:
    """
    Return conversations by what they have, each with its token ids.

    Only those that the tokenizer's chat template knows: it may refuse a turn, pass over it without a word, or know no
    tools. Without a chat template there are texts alone.
    """
    template = str(encoder.template.tokenizer.chat_template or "")
    given = {name: prompt for name, prompt in _made(template).items() if encoder.template.chat}
    given["several scripts"] = Prompt(_SCRIPTS)
    found: dict[str, tuple[Prompt, list[int]]] = {}
    for name, prompt in given.items():
        try:
            text = encoder.template.prompt(prompt.text, prompt.tools, prompt.chat_template_kwargs)
        except DataError:
            continue
        if all(words in text for words in _words(prompt)):
            found[name] = (prompt, encoder.prompt_ids(prompt))
    return found


def _made(template: str) -> dict[str, Prompt]:
    turns = (Message("user", "Is it?"), Message("assistant", "Yes."), Message("user", "Why?"))
    system = Message("system", "Be brief.")
    made = {
        "a question": Prompt(turns[:1]),
        "several turns": Prompt(turns),
        "a system turn": Prompt((system, turns[0])),
        "a system turn and several turns": Prompt((system, *turns)),
    }
    if "think" in template:
        made["an earlier thought"] = Prompt((turns[0], Message("assistant", _THOUGHT), turns[2]))
    # Where the run fixed it, the file's template has that value for good.
    if re.search(rf"\b{THINKING}\b", template) and not fixes_thinking(template):
        for switch in (True, False):
            made[f"thinking {'on' if switch else 'off'}"] = Prompt(turns[:1], chat_template_kwargs={THINKING: switch})
    if re.search(r"\btools\b", template):
        made["tools"] = Prompt((_ASKED,), (_TOOL,))
        made["tools and a system turn"] = Prompt((system, _ASKED), (_TOOL,))
        made["a tool's result"] = Prompt((_ASKED, Message("assistant", "", (_CALL,)), _RESULT), (_TOOL,))
    return made


def _words(prompt: Prompt) -> list[str]:
    if isinstance(prompt.text, str):
        return []
    # Of earlier answers a template may leave the thoughts out on purpose.
    return [turn.content for turn in prompt.text if turn.role != "assistant"]
