"""
A prompt and its completion as text, cut exactly where inference cuts: what the model is given, and what it is to say.

The prompt is rendered by the tokenizer's chat template with its generation prompt, as a server does; the completion
follows, ended by the template's end-of-turn mark. Both sides are tokenised apart, so that the boundary in training is
the one in inference, whatever tokens a joint rendering would merge or drop across it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from haloes.errors import DataError, ModelError
from haloes.records import Message, Text

PROBE = "haloes-probe"


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a rendered conversation; `trained` where the policy's own words stand."""

    text: str
    trained: bool


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt with its completion's segments, and whether the template's joint rendering reads the same."""

    prompt: str
    completion: tuple[Segment, ...]
    agrees: bool
    """False when the template renders prompt and completion together in other words than inference would see them in
    (a dropped <think> block, an inserted one, a turn left out): training follows inference then, not the template."""


@dataclass(frozen=True, slots=True)
class Template:
    """How a tokenizer writes conversations; `chat` is False for a tokenizer without a chat template."""

    tokenizer: Any
    chat: bool
    end_of_turn: str
    """The text of the special token that ends an assistant turn; the end-of-text token where the template has none."""

    def as_messages(self, text: Text, role: str) -> tuple[Message, ...]:
        """Plain text as the one message that it is in a chat."""
        return (Message(role, text),) if isinstance(text, str) else text

    def prompt(self, prompt: Text, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """The prompt as inference sees it, with the generation prompt. Raises DataError if the template refuses it."""
        if not self.chat:
            return self._plain(prompt)
        return self._render(self.as_messages(prompt, "user"), tools, generation=True)

    def render(self, prompt: Text, completion: Text, tools: Sequence[Mapping[str, Any]] = ()) -> Rendered:
        """
        The prompt and the completion's segments.

        Raises DataError when the template refuses the messages, when messages meet a tokenizer without a chat template,
        or when a completion of several turns is not rendered turn by turn.
        """
        if not self.chat:
            answer = Segment(self._plain(completion) + self.end_of_turn, trained=True)
            return Rendered(self._plain(prompt), (answer,), agrees=True)
        asked = self.as_messages(prompt, "user")
        answers = self.as_messages(completion, "assistant")
        text = self._render(asked, tools, generation=True)
        if len(answers) > 1:
            return Rendered(text, self._turns(asked, answers, tools), agrees=True)
        segment, agrees = self._answer(text, asked, answers[0], tools)
        return Rendered(text, (segment,), agrees)

    def _answer(self, prompt: str, asked: tuple[Message, ...], answer: Message, tools: Any) -> tuple[Segment, bool]:
        joint = self._render((*asked, answer), tools, generation=False)
        if joint.startswith(prompt):
            tail = self._until_end(joint[len(prompt) :])
            said = tail.removesuffix(self.end_of_turn)
            if answer.tool_calls or said.strip() == answer.content.strip():
                return Segment(tail, trained=True), True
        return Segment(answer.content + self.end_of_turn, trained=True), False

    def _turns(self, asked: tuple[Message, ...], answers: tuple[Message, ...], tools: Any) -> tuple[Segment, ...]:
        segments: list[Segment] = []
        done = self._render(asked, tools, generation=True)
        for k, answer in enumerate(answers):
            if answer.role != "assistant":
                continue
            before = self._render((*asked, *answers[:k]), tools, generation=True)
            after = self._render((*asked, *answers[: k + 1]), tools, generation=False)
            if not (before.startswith(done) and after.startswith(before)):
                raise DataError(
                    "the chat template rewrites earlier turns, so a completion of several turns cannot be trained as "
                    "it was seen; give each rated answer as a completion of its own, the earlier turns as its prompt"
                )
            if len(before) > len(done):
                segments.append(Segment(before[len(done) :], trained=False))
            said = self._until_end(after[len(before) :])
            segments.append(Segment(said, trained=True))
            done = before + said
        return tuple(segments)

    def _until_end(self, tail: str) -> str:
        cut = tail.rfind(self.end_of_turn)
        return tail[: cut + len(self.end_of_turn)] if cut >= 0 else tail + self.end_of_turn

    def _render(self, messages: Sequence[Message], tools: Any, *, generation: bool) -> str:
        return render_messages(self.tokenizer, messages, tools, generation=generation)

    def _plain(self, text: Text) -> str:
        if isinstance(text, str):
            return text
        raise ModelError(
            "the feedback holds chat messages, but this tokenizer has no chat template; give prompts and completions "
            "as plain text, or a tokenizer with a chat template (the one of the model's instruct version)"
        )


def make_template(tokenizer: Any) -> Template:
    """Find out how this tokenizer writes a conversation and ends a turn. Raises ModelError when it has no end token."""
    chat = bool(tokenizer.chat_template)
    end = _probe_end_of_turn(tokenizer) if chat else ""
    end = end or (tokenizer.eos_token or "")
    if not end:
        raise ModelError("the tokenizer has no end-of-text token, so a completion cannot be ended; set its eos_token")
    return Template(tokenizer=tokenizer, chat=chat, end_of_turn=end)


def render_messages(tokenizer: Any, messages: Sequence[Message], tools: Any = (), *, generation: bool) -> str:
    """The chat template's text of these messages; a template's own refusal becomes a DataError with its words."""
    from jinja2 import TemplateError

    turns = [_as_dict(message) for message in messages]
    try:
        text: str = tokenizer.apply_chat_template(
            turns, tools=list(tools) or None, tokenize=False, add_generation_prompt=generation
        )
    except TemplateError as error:
        raise DataError(f"the chat template refuses these messages: {error}") from error
    return text


def _probe_end_of_turn(tokenizer: Any) -> str:
    turns = (Message("user", "a"), Message("assistant", PROBE))
    text = render_messages(tokenizer, turns, generation=False)
    tail = text[text.rfind(PROBE) + len(PROBE) :]
    special = set(tokenizer.all_special_ids) | {
        number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    for token in tokenizer(tail, add_special_tokens=False)["input_ids"]:
        if token in special:
            return str(tokenizer.convert_ids_to_tokens(token))
    return ""


def _as_dict(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [dict(call) for call in message.tool_calls]
    return turn
