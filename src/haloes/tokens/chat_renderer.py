"""A tokenizer's chat template as a renderer of messages: alone, or many together in advance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from haloes.errors import DataError
from haloes.records import Message
from haloes.tokens.rendering import MERGE_HINT, render_messages, render_together
from haloes.tokens.template_probe import Marks

Renderings: TypeAlias = Mapping[tuple[tuple[Message, ...], bool], str]
"""Messages without tools or calls, and whether the generation prompt follows, to the template's text of them."""
Tools: TypeAlias = Sequence[Mapping[str, Any]]
"""Definitions of the tools that a prompt offers."""
Kwargs: TypeAlias = Mapping[str, Any]
"""Variables of the chat template that a row sets, such as enable_thinking."""
Given: TypeAlias = tuple[Tools, Kwargs | None]
"""What a row sets beside its messages."""


@dataclass(frozen=True, slots=True)
class ChatRenderer:
    """Renders messages by a tokenizer's chat template."""

    tokenizer: Any
    marks: Marks
    """How the model's turn begins and ends."""
    tools_differ: bool = False
    """True where the template for tools writes the model's turn otherwise than the one without."""
    rendered: Renderings = field(default_factory=dict, compare=False, repr=False)
    """Cached renderings; see `with_rendered`."""

    def render(self, messages: tuple[Message, ...], given: Given, *, generation: bool) -> str:
        """Render messages, with the generation prompt if asked. Raises DataError where the template refuses them."""
        tools, kwargs = given
        if tools and self.tools_differ:
            raise DataError(
                "the tokenizer's chat template for tools ends or begins an answer otherwise than its default one; give "
                "the rows with tools and those without to runs of their own, with a tokenizer of one template each"
            )
        if self.marks.unwritten and (lost := self.marks.unwritten & {message.role for message in messages}):
            hint = MERGE_HINT if "system" in lost else ""
            raise DataError(
                f"the chat template does not write the words of {max(lost)} turns, so they would be lost{hint}"
            )
        text = None if tools or kwargs or not _is_plain(messages) else self.rendered.get((messages, generation))
        if text is not None:
            return text
        return render_messages(
            self.tokenizer, messages, tools, generation=generation, kwargs=kwargs, parts=self.marks.parts
        )

    def render_if_taken(self, messages: tuple[Message, ...], given: Given) -> str:
        """Render an answer with its thought; empty where the template refuses them together, as gpt-oss's may."""
        try:
            return self.render(messages, given, generation=False)
        except DataError:
            return ""

    def with_rendered(self, rows: Iterable[tuple[tuple[Message, ...], tuple[Message, ...]]]) -> "ChatRenderer":
        """
        Return this renderer with rows of prompt and answers rendered in advance, all together.

        Two renderings a row: the prompt with the generation prompt, and the prompt with the first answer. Those of
        which equal messages may have other texts are rendered alone later, and all where the template refuses one.
        """
        # Dicts with no values are sets that keep their order.
        asked: dict[tuple[Message, ...], None] = {}
        answered: dict[tuple[Message, ...], None] = {}
        for prompt, answers in rows:
            if prompt and _is_plain((*prompt, *answers[:1])):
                asked[prompt] = None
                answered[*prompt, *answers[:1]] = None
        rendered: dict[tuple[tuple[Message, ...], bool], str] = {}
        for conversations, generation in ((asked, True), (answered, False)):
            # Where the template refuses a conversation there are no texts, and nothing is cached.
            texts = render_together(self.tokenizer, list(conversations), generation=generation, parts=self.marks.parts)
            rendered |= {(messages, generation): text for messages, text in zip(conversations, texts, strict=False)}
        return replace(self, rendered=rendered)


def _is_plain(messages: tuple[Message, ...]) -> bool:
    """Return whether equal messages have equal texts: 1 and True, as values of calls, are equal and are not."""
    return not any(
        message.tool_calls or (message.extra and not all(isinstance(value, str) for _, value in message.extra))
        for message in messages
    )
