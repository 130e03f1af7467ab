"""
A prompt and its completion as text, cut exactly where inference cuts: what the model is given, and what it is to say.

The prompt is rendered by the tokenizer's chat template with its generation prompt, as a server does; the completion
follows, ended by the template's end-of-turn mark. Both sides are tokenised apart, so that the boundary in training is
the one in inference, whatever tokens a joint rendering would merge or drop across it.
"""

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from haloes.errors import DataError, ModelError
from haloes.records import Message, Text

PROBE = "haloes-probe"
CONTROL_KEY = "haloes_control"
"""In `tokenizer_config.json`: the control text of the model that the tokenizer was saved with. A chat template writes
it itself; without one haloes does."""

_Written: TypeAlias = Mapping[tuple[tuple[Message, ...], bool], str]
"""Messages without tools or calls, and whether the generation prompt follows, to the template's text of them."""


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

    @property
    def text(self) -> str:
        """Prompt and completion, as the model sees them."""
        return self.prompt + "".join(segment.text for segment in self.completion)


@dataclass(frozen=True, slots=True)
class Template:
    """How a tokenizer writes conversations; `chat` is False for a tokenizer without a chat template."""

    tokenizer: Any
    chat: bool
    end_of_turn: str
    """The text of the special token that ends an assistant turn; the end-of-text token where the template has none."""
    separator: str = ""
    """Whitespace that a template without an end-of-turn token writes after an answer; not the model's to say."""
    ending: str = ""
    """Text that the tokenizer has after every prompt where no chat template writes it; see `CONTROL_KEY`."""
    control: str = ""
    """Further text after every prompt, such as the control token of a model that is being made conditional."""
    written: _Written = field(default_factory=dict, compare=False, repr=False)
    """Renderings that are known already; see `with_rendered`."""

    def with_rendered(self, rows: Iterable[tuple[Text, Text, Sequence[Mapping[str, Any]]]]) -> "Template":
        """
        The same template for these rows (prompt, completion, tools), which it has rendered together.

        Equal prompts are rendered once, and all in two calls of transformers, whose preparations cost as much as one
        rendering does. What is rendered alone, as ever: rows with tools, and all where the template refuses one.
        """
        if not self.chat:
            return self
        asked: dict[tuple[Message, ...], None] = {}
        answered: dict[tuple[Message, ...], None] = {}
        for prompt, completion, tools in rows:
            before, answers = self.as_messages(prompt, "user"), self.as_messages(completion, "assistant")
            if before and _is_plain((*before, *answers[:1]), tools):
                asked[before] = None
                answered[*before, *answers[:1]] = None
        written: dict[tuple[tuple[Message, ...], bool], str] = {}
        for conversations, generation in ((asked, True), (answered, False)):
            texts = _render_together(self.tokenizer, list(conversations), generation=generation)
            written |= {(messages, generation): text for messages, text in zip(conversations, texts, strict=False)}
        return replace(self, written=written)

    def as_messages(self, text: Text, role: str) -> tuple[Message, ...]:
        """Plain text as the one message that it is in a chat."""
        return (Message(role, text),) if isinstance(text, str) else text

    def prompt(self, prompt: Text, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """The prompt as inference sees it, with the generation prompt. Raises DataError if the template refuses it."""
        if not self.chat:
            return self._plain(prompt) + self.ending + self.control
        return self._render(self.as_messages(prompt, "user"), tools, generation=True) + self.control

    def joint(self, prompt: Text, completion: Text, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """Prompt and completion as the template writes them together. Raises DataError if it refuses them."""
        if not self.chat:
            return self._plain(prompt) + self._plain(completion)
        messages = (*self.as_messages(prompt, "user"), *self.as_messages(completion, "assistant"))
        return self._render(messages, tools, generation=False)

    def render(self, prompt: Text, completion: Text, tools: Sequence[Mapping[str, Any]] = ()) -> Rendered:
        """
        The prompt and the completion's segments; turns of others after the last assistant turn are left out.

        Raises DataError when the template refuses the messages, when a completion does not begin with an assistant
        turn, or when its turns are not rendered one after the other; ModelError when messages meet a tokenizer without
        a chat template.
        """
        if not self.chat:
            answer = Segment(self._plain(completion) + self.end_of_turn, trained=True)
            return Rendered(self._plain(prompt) + self.ending + self.control, (answer,), agrees=True)
        asked, answers = self.as_messages(prompt, "user"), self.as_messages(completion, "assistant")
        if not answers or answers[0].role != "assistant":
            first = f"a turn of the role {answers[0].role!r}" if answers else "nothing"
            raise DataError(f"a completion begins with an assistant turn, and this one with {first}")
        done = text = self._render(asked, tools, generation=True)
        segments: list[Segment] = []
        agrees = True
        for k in (k for k, turn in enumerate(answers) if turn.role == "assistant"):
            before = (*asked, *answers[:k])
            seen = self._render(before, tools, generation=True) if k else text
            if not seen.startswith(done):
                raise DataError(
                    "the chat template rewrites earlier turns, so a completion of several turns cannot be trained as "
                    "it was seen; give each rated answer as a completion of its own, the earlier turns as its prompt"
                )
            if len(seen) > len(done):
                segments.append(Segment(seen[len(done) :], trained=False))
            said, as_in_joint = self._said(seen, before, answers[k], tools)
            segments.append(Segment(said, trained=True))
            agrees = agrees and as_in_joint
            done = seen + said
        return Rendered(text + self.control, tuple(segments), agrees)

    def _said(self, seen: str, before: tuple[Message, ...], answer: Message, tools: Any) -> tuple[str, bool]:
        """What the model adds to what it has `seen`, and whether the template writes the same after it."""
        joint = self._render((*before, answer), tools, generation=False)
        if answer.tool_calls:
            return self._called(joint, seen, before, answer, tools)
        if joint.startswith(seen):
            tail = self._until_end(joint[len(seen) :])
            if tail.removesuffix(self.end_of_turn).strip() == answer.content.strip():
                return tail, True
        return answer.content + self.end_of_turn, False

    def _called(
        self, joint: str, seen: str, before: tuple[Message, ...], answer: Message, tools: Any
    ) -> tuple[str, bool]:
        """Tool calls, which only the template can write; without the words that it puts into the model's mouth."""
        content, tail = answer.content.strip(), joint[len(seen) :]
        if joint.startswith(seen) and content and tail.lstrip().startswith(content):
            return self._until_end(tail), True
        probe = self._render((*before, Message("assistant", PROBE)), tools, generation=False)
        opening = probe[len(seen) : probe.rfind(PROBE)] if probe.startswith(seen) else ""
        inserted = opening if opening.strip() else ""
        if not joint.startswith(seen + inserted):
            raise DataError(
                "the chat template does not write these tool calls after what inference sees, so what the model said "
                "is unknown; give the calls as the text that the model wrote"
            )
        return self._until_end(tail[len(inserted) :]), not inserted and content in tail

    def _until_end(self, tail: str) -> str:
        cut = tail.rfind(self.end_of_turn)
        if cut >= 0:
            return tail[: cut + len(self.end_of_turn)]
        return tail.removesuffix(self.separator) + self.end_of_turn

    def _render(self, messages: tuple[Message, ...], tools: Any, *, generation: bool) -> str:
        known = self.written.get((messages, generation)) if _is_plain(messages, tools) else None
        return known if known is not None else render_messages(self.tokenizer, messages, tools, generation=generation)

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
    closing = _probe_closing(tokenizer) if chat else ""
    mark = _first_special(tokenizer, closing)
    end = mark or tokenizer.eos_token
    if not end:
        raise ModelError("the tokenizer has no end-of-text token, so a completion cannot be ended; set its eos_token")
    separator = "" if mark else closing[len(closing.rstrip()) :]
    ending = "" if chat else control_text(tokenizer)
    return Template(tokenizer=tokenizer, chat=chat, end_of_turn=end, separator=separator, ending=ending)


def control_text(tokenizer: Any) -> str:
    """The control text that the tokenizer was saved with; empty for most."""
    return str(tokenizer.init_kwargs.get(CONTROL_KEY) or "")


def with_control_text(tokenizer: Any, control: str) -> Any:
    """
    A copy of a tokenizer that knows a control text, after the one that it may know already.

    A chat template writes it after its generation prompt, for whoever uses the template; the key says it to haloes.
    """
    if not control:
        return tokenizer
    made = copy.deepcopy(tokenizer)
    made.init_kwargs[CONTROL_KEY] = control_text(tokenizer) + control
    if made.chat_template:
        made.chat_template = _controlled(made.chat_template, control)
    return made


def _controlled(chat_template: str, control: str) -> str:
    written = json.dumps(control, ensure_ascii=False)  # Jinja reads \u escapes one by one, and not as surrogate pairs
    return chat_template.removesuffix("\n") + f"{{% if add_generation_prompt %}}{{{{ {written} }}}}{{% endif %}}"


def plain_chat_template(tokenizer: Any, end: str) -> str:
    """A chat template for a tokenizer without one: its turns' words as they are, begun and ended as plain text is."""
    opened = tokenizer("", add_special_tokens=True)["input_ids"]
    begins = "{{ bos_token }}" if tokenizer.bos_token_id in opened[:1] else ""
    turns = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return f"{begins}{turns}{{% if not add_generation_prompt %}}{{{{ {json.dumps(end)} }}}}{{% endif %}}"


def render_messages(tokenizer: Any, messages: Sequence[Message], tools: Any = (), *, generation: bool) -> str:
    """The chat template's text of these messages; a template's own refusal becomes a DataError with its words."""
    from jinja2 import TemplateError

    turns = [_as_dict(message) for message in messages]
    schemas = [dict(tool) for tool in tools] or None
    try:
        text: str = tokenizer.apply_chat_template(
            turns, tools=schemas, tokenize=False, add_generation_prompt=generation
        )
    except (TemplateError, TypeError, ValueError) as error:
        # Templates refuse with raise_exception, or stumble over a value of a type that they do not expect.
        raise DataError(f"the chat template refuses these messages: {error}") from error
    return text


def _is_plain(messages: tuple[Message, ...], tools: Any) -> bool:
    """Whether it can be a key: tools and calls are mappings."""
    return not tools and not any(message.tool_calls for message in messages)


def _render_together(tokenizer: Any, conversations: Sequence[Sequence[Message]], *, generation: bool) -> list[str]:
    """The chat template's text of each conversation; of none where the template refuses one of them."""
    from jinja2 import TemplateError

    if not conversations:
        return []
    turns = [[_as_dict(message) for message in messages] for messages in conversations]
    try:
        texts: list[str] = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generation)
    except (TemplateError, TypeError, ValueError):  # whose it is, is found out when they are rendered one by one
        return []
    return texts


def special_ids(tokenizer: Any) -> frozenset[int]:
    """The tokens that are marks; words that the tokenizer does not know are none."""
    added = (number for number, token in tokenizer.added_tokens_decoder.items() if token.special)
    return frozenset([*tokenizer.all_special_ids, *added]) - {tokenizer.unk_token_id}


def _probe_closing(tokenizer: Any) -> str:
    """What the template writes after an answer."""
    turns = (Message("user", "a"), Message("assistant", PROBE))
    text = render_messages(tokenizer, turns, generation=False)
    return text[text.rfind(PROBE) + len(PROBE) :]


def _first_special(tokenizer: Any, text: str) -> str:
    special = special_ids(tokenizer)
    for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
        if token in special:
            return str(tokenizer.convert_ids_to_tokens(token))
    return ""


def _as_dict(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [_call_as_dict(call) for call in message.tool_calls]
    return turn


def _call_as_dict(call: Mapping[str, Any]) -> dict[str, Any]:
    """A tool call with its arguments as values: the OpenAI shape has them as a string of JSON, templates do not."""
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return dict(call)
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except ValueError:
        return dict(call)
    return {**call, "function": {**function, "arguments": arguments}}
