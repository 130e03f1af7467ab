r"""
Render a prompt and its completion as text, cut exactly where inference cuts: the model's input, and its output.

The prompt is rendered by the tokenizer's chat template with its generation prompt, as a server does; the completion
follows, ended by the template's end-of-turn mark. Both sides are tokenised apart, so that the boundary in training is
the one in inference, whatever tokens a joint rendering would merge or drop across it. With ChatML, for example:

    prompt       <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n
    completion   Hello.<|im_end|>

The line break that the template writes after the last mark is part of neither: inference has stopped by then.
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
"""Key of `tokenizer_config.json` for the control text of the model that the tokenizer was saved with. A chat template
writes it itself; without one haloes does."""

_Renderings: TypeAlias = Mapping[tuple[tuple[Message, ...], bool], str]
"""Messages without tools or calls, and whether the generation prompt follows, to the template's text of them."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a rendered conversation; `trained` where its words are the policy's own."""

    text: str
    trained: bool


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered prompt with the segments of its completion."""

    prompt: str
    completion: tuple[Segment, ...]
    agrees: bool
    """False when the template, rendering prompt and completion together, writes other words than inference sees (a
    dropped <think> block, an inserted one, a turn left out): training follows inference then, not the template."""

    @property
    def text(self) -> str:
        """Return prompt and completion as the model sees them."""
        return self.prompt + "".join(segment.text for segment in self.completion)


@dataclass(frozen=True, slots=True)
class Template:
    """The way a tokenizer writes conversations; `chat` is False for a tokenizer without a chat template."""

    tokenizer: Any
    chat: bool
    end_of_turn: str
    """Text of the special token that ends an assistant turn; the end-of-text token where the template has none."""
    separator: str = ""
    """Whitespace that a template without an end-of-turn token writes after an answer; no part of the completion."""
    ending: str = ""
    """Control text of the tokenizer after every prompt where no chat template writes it; see `CONTROL_KEY`."""
    control: str = ""
    """Further text after every prompt, such as the control token of a model that is being made conditional."""
    rendered: _Renderings = field(default_factory=dict, compare=False, repr=False)
    """Cached renderings; see `with_rendered`."""

    def with_rendered(self, rows: Iterable[tuple[Text, Text, Sequence[Mapping[str, Any]]]]) -> "Template":
        """
        Return this template with these rows (prompt, completion, tools) rendered in advance, all together.

        Equal prompts are rendered once, and all in two calls of transformers, whose preparations cost as much as one
        rendering does. Rows with tools are rendered alone later, and so are all rows where the template refuses one.
        """
        if not self.chat:
            return self
        # Two renderings a row: the prompt with the generation prompt, and the prompt with the first answer. Dicts
        # with no values are sets that keep their order.
        asked: dict[tuple[Message, ...], None] = {}
        answered: dict[tuple[Message, ...], None] = {}
        for prompt, completion, tools in rows:
            before, answers = self.as_messages(prompt, "user"), self.as_messages(completion, "assistant")
            if before and _is_plain((*before, *answers[:1]), tools):
                asked[before] = None
                answered[*before, *answers[:1]] = None
        rendered: dict[tuple[tuple[Message, ...], bool], str] = {}
        for conversations, generation in ((asked, True), (answered, False)):
            # Where the template refuses a conversation there are no texts, and nothing is cached.
            texts = _render_together(self.tokenizer, list(conversations), generation=generation)
            rendered |= {(messages, generation): text for messages, text in zip(conversations, texts, strict=False)}
        return replace(self, rendered=rendered)

    def as_messages(self, text: Text, role: str) -> tuple[Message, ...]:
        """Return plain text as a chat of one message of this role; messages unchanged."""
        return (Message(role, text),) if isinstance(text, str) else text

    def prompt(self, prompt: Text, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """Render the prompt as inference sees it, with the generation prompt. Raises DataError if it is refused."""
        if not self.chat:
            return self._plain(prompt) + self.ending + self.control
        return self._render(self.as_messages(prompt, "user"), tools, generation=True) + self.control

    def joint(self, prompt: Text, completion: Text, tools: Sequence[Mapping[str, Any]] = ()) -> str:
        """Render prompt and completion together, as the template does. Raises DataError if it refuses them."""
        if not self.chat:
            return self._plain(prompt) + self._plain(completion)
        messages = (*self.as_messages(prompt, "user"), *self.as_messages(completion, "assistant"))
        return self._render(messages, tools, generation=False)

    def render(self, prompt: Text, completion: Text, tools: Sequence[Mapping[str, Any]] = ()) -> Rendered:
        """
        Render the prompt and the completion's segments; other turns after the last assistant turn are left out.

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
        # Each assistant turn is rendered after everything that the model had seen by then. What the template adds
        # between two of them (a tool's result, role marks) is a segment that is not trained.
        done = text = self._render(asked, tools, generation=True)
        segments: list[Segment] = []
        agrees = True
        for k in (k for k, turn in enumerate(answers) if turn.role == "assistant"):
            before = (*asked, *answers[:k])
            seen = self._render(before, tools, generation=True) if k else text
            # Some templates drop the <think> blocks of earlier turns: the model saw them, and then it did not.
            if not seen.startswith(done):
                raise DataError(
                    "the chat template rewrites earlier turns, so a completion of several turns cannot be trained as "
                    "it was seen; give each rated answer as a completion of its own, the earlier turns as its prompt"
                )
            if len(seen) > len(done):
                segments.append(Segment(seen[len(done) :], trained=False))
            words, as_in_joint = self._answer(seen, before, answers[k], tools)
            segments.append(Segment(words, trained=True))
            agrees = agrees and as_in_joint
            done = seen + words
        return Rendered(text + self.control, tuple(segments), agrees)

    def _answer(self, seen: str, before: tuple[Message, ...], answer: Message, tools: Any) -> tuple[str, bool]:
        """Return the text that the model adds to what it has `seen`, and whether the template writes the same."""
        joint = self._render((*before, answer), tools, generation=False)
        if answer.tool_calls:
            return self._tool_call(joint, seen, before, answer, tools)
        # The template's own tail is taken where it holds the answer and nothing else, for the whitespace around it.
        if joint.startswith(seen):
            tail = self._until_end(joint[len(seen) :])
            if tail.removesuffix(self.end_of_turn).strip() == answer.content.strip():
                return tail, True
        return answer.content + self.end_of_turn, False

    def _tool_call(
        self, joint: str, seen: str, before: tuple[Message, ...], answer: Message, tools: Any
    ) -> tuple[str, bool]:
        """Return the text of tool calls, which only the template can write, without words that it puts before them."""
        # Words before the calls come as they were written, and then the calls follow as the template has them.
        content, tail = answer.content.strip(), joint[len(seen) :]
        if joint.startswith(seen) and content and tail.lstrip().startswith(content):
            return self._until_end(tail), True
        # What the template writes before any answer (an empty <think> block, say) shows before a made-up one; words
        # that inference does not see were not written by the model.
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
        """Cut a rendered answer after its end-of-turn mark, or add the mark where the template writes none."""
        # The last one: the answer itself may spell the mark.
        cut = tail.rfind(self.end_of_turn)
        if cut >= 0:
            return tail[: cut + len(self.end_of_turn)]
        return tail.removesuffix(self.separator) + self.end_of_turn

    def _render(self, messages: tuple[Message, ...], tools: Any, *, generation: bool) -> str:
        text = self.rendered.get((messages, generation)) if _is_plain(messages, tools) else None
        return text if text is not None else render_messages(self.tokenizer, messages, tools, generation=generation)

    def _plain(self, text: Text) -> str:
        if isinstance(text, str):
            return text
        raise ModelError(
            "the feedback holds chat messages, but this tokenizer has no chat template; give prompts and completions "
            "as plain text, or a tokenizer with a chat template (the one of the model's instruct version)"
        )


def make_template(tokenizer: Any) -> Template:
    """Detect how a tokenizer writes a conversation and ends a turn. Raises ModelError when it has no end token."""
    # Detected from a rendered answer: no field of a tokenizer says which token its template ends a turn with.
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
    """Return the control text that the tokenizer was saved with; empty for most."""
    return str(tokenizer.init_kwargs.get(CONTROL_KEY) or "")


def with_control_text(tokenizer: Any, control: str) -> Any:
    """
    Return a copy of a tokenizer that adds a control text to every prompt, after one that it may have already.

    A chat template writes it after its generation prompt, for every user of the template; `CONTROL_KEY` is for haloes.
    """
    if not control:
        return tokenizer
    controlled = copy.deepcopy(tokenizer)
    controlled.init_kwargs[CONTROL_KEY] = control_text(tokenizer) + control
    if controlled.chat_template:
        controlled.chat_template = _add_control(controlled.chat_template, control)
    return controlled


def _add_control(chat_template: str, control: str) -> str:
    written = json.dumps(control, ensure_ascii=False)  # Jinja reads \u escapes one by one, and not as surrogate pairs
    return chat_template.removesuffix("\n") + f"{{% if add_generation_prompt %}}{{{{ {written} }}}}{{% endif %}}"


def plain_chat_template(tokenizer: Any, end: str) -> str:
    """Return a chat template for a tokenizer without one: the turns' words, begun and ended as plain text is."""
    opened = tokenizer("", add_special_tokens=True)["input_ids"]
    begins = "{{ bos_token }}" if tokenizer.bos_token_id in opened[:1] else ""
    turns = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return f"{begins}{turns}{{% if not add_generation_prompt %}}{{{{ {json.dumps(end)} }}}}{{% endif %}}"


def render_messages(tokenizer: Any, messages: Sequence[Message], tools: Any = (), *, generation: bool) -> str:
    """Render messages with the chat template; a template's own refusal becomes a DataError with its words."""
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
    """Return whether messages can be a key of a dict: tools and tool calls are mappings, which cannot."""
    return not tools and not any(message.tool_calls for message in messages)


def _render_together(tokenizer: Any, conversations: Sequence[Sequence[Message]], *, generation: bool) -> list[str]:
    """Render each conversation with the chat template; return nothing where the template refuses one of them."""
    from jinja2 import TemplateError

    if not conversations:
        return []
    turns = [[_as_dict(message) for message in messages] for messages in conversations]
    try:
        texts: list[str] = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=generation)
    except (TemplateError, TypeError, ValueError):  # the refused one shows when each is rendered alone
        return []
    return texts


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Return the ids of special tokens, without that of unknown words."""
    added = (number for number, token in tokenizer.added_tokens_decoder.items() if token.special)
    return frozenset([*tokenizer.all_special_ids, *added]) - {tokenizer.unk_token_id}


def _probe_closing(tokenizer: Any) -> str:
    """Return the text that the template writes after an answer."""
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
    """Return a tool call with its arguments as values: OpenAI has them as a string of JSON, templates do not."""
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return dict(call)
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except ValueError:
        return dict(call)
    return {**call, "function": {**function, "arguments": arguments}}
