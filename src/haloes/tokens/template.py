r"""
Render a prompt and its completion as text, cut exactly where inference cuts: the model's input, and its output.

The prompt is rendered by the tokenizer's chat template with its generation prompt, as a server does; the completion
follows, ended by the template's end-of-turn mark. Both sides are tokenised apart, so that the boundary in training is
the one in inference, whatever tokens a joint rendering would merge or drop across it. With ChatML, for example:

    prompt       <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n
    completion   Hello.<|im_end|>

The line break that the template writes after the last mark is part of neither: inference has stopped by then.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from haloes.errors import DataError, ModelError
from haloes.records import Message, Text
from haloes.thoughts import KEYS, closing_after, is_closed_at_end, opening_at_end, split_thought
from haloes.tokens.chat_template import control_text
from haloes.tokens.rendering import MERGE_HINT, render_messages, render_together
from haloes.tokens.template_probe import (
    PROBE,
    Marks,
    probe_template,
    probe_tool_template,
    special_marks,
    without_ends,
)
from haloes.tokens.turns import Segment, Turn, as_gone_on, join_segments, part_thought, same_words

_Renderings: TypeAlias = Mapping[tuple[tuple[Message, ...], bool], str]
"""Messages without tools or calls, and whether the generation prompt follows, to the template's text of them."""


Tools: TypeAlias = Sequence[Mapping[str, Any]]
"""Definitions of the tools that a prompt offers."""
Kwargs: TypeAlias = Mapping[str, Any]
"""Variables of the chat template that a row sets, such as enable_thinking."""
TextRow: TypeAlias = tuple[Text, Text, Tools] | tuple[Text, Text, Tools, Kwargs]
"""Prompt, completion, tools, and variables of the template."""
_Given: TypeAlias = tuple[Tools, Kwargs | None]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A rendered prompt with the segments of its completion."""

    prompt: str
    completion: tuple[Segment, ...]
    agrees: bool
    """False when the template, rendering prompt and completion together, writes other words than inference sees (a
    dropped <think> block, a turn left out): training follows inference then, not the template."""
    reasons: bool = False
    """Whether a turn of the completion came with the reasoning before it."""
    shows_reasoning: bool = False
    """Whether that reasoning stands in a segment; where the template has no place for it, it is left out."""

    @property
    def text(self) -> str:
        """Return prompt and completion as the model sees them."""
        return self.prompt + "".join(segment.text for segment in self.completion)


@dataclass(frozen=True, slots=True)
class Template:
    """The way a tokenizer writes conversations; `chat` is False for a tokenizer without a chat template."""

    tokenizer: Any
    chat: bool
    marks: Marks
    """How the model's turn begins and ends."""
    ends: tuple[str, ...]
    """Texts that end a turn or a text for this tokenizer; an answer that spells one at its end means it."""
    ending: str = ""
    """Control text of the tokenizer after every prompt where no chat template writes it; see `CONTROL_KEY`."""
    control: str = ""
    """Further text after every prompt, such as the control token of a model that is being made conditional."""
    trains_reasoning: bool = False
    """Whether an answer's reasoning is trained; else the answer is trained as it follows the reasoning."""
    tools_differ: bool = False
    """True where the template for tools writes the model's turn otherwise than the one without."""
    rendered: _Renderings = field(default_factory=dict, compare=False, repr=False)
    """Cached renderings; see `with_rendered`."""

    @property
    def end_of_turn(self) -> str:
        """Return the text of the token at which inference stops."""
        return self.marks.end_of_turn

    def with_rendered(self, rows: Iterable[TextRow]) -> "Template":
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
        for prompt, completion, *given in rows:
            before, answers = self.as_messages(prompt, "user"), self.as_messages(completion, "assistant")
            if before and not any(given) and _is_plain((*before, *answers[:1])):
                asked[before] = None
                answered[*before, *answers[:1]] = None
        rendered: dict[tuple[tuple[Message, ...], bool], str] = {}
        for conversations, generation in ((asked, True), (answered, False)):
            # Where the template refuses a conversation there are no texts, and nothing is cached.
            texts = render_together(self.tokenizer, list(conversations), generation=generation, parts=self.marks.parts)
            rendered |= {(messages, generation): text for messages, text in zip(conversations, texts, strict=False)}
        return replace(self, rendered=rendered)

    def as_messages(self, text: Text, role: str) -> tuple[Message, ...]:
        """Return a text as a chat of one message of this role, or messages; without ends that answers spell out."""
        messages = (Message(role, text),) if isinstance(text, str) else text
        if not any(turn.role == "assistant" and self.bare(turn.content) != turn.content for turn in messages):
            return messages
        return tuple(
            replace(turn, content=self.bare(turn.content)) if turn.role == "assistant" else turn for turn in messages
        )

    def bare(self, answer: str) -> str:
        """Return an answer without the ends of turn or text that it spells out at its end."""
        return without_ends(answer, self.ends)

    def spoken(self, written: str) -> str:
        """Return the words of what a model wrote as its turn, special tokens included: without header and closing."""
        marks, special = self.marks, special_marks(self.tokenizer)
        header = marks.header.strip()
        if header and written.lstrip().startswith(header):
            written = self._own_words(written, "")
        elif any(mark in header for mark in special):
            # Other channels may come first, such as Harmony's analysis; the words are in the last.
            written = written.rpartition(marks.header)[2]
        written = written.removesuffix(marks.closing.removesuffix(marks.end_of_turn))
        return self.without_marks(written)

    def without_marks(self, written: str) -> str:
        """Return what a model wrote without special tokens."""
        for mark in special_marks(self.tokenizer):
            written = written.replace(mark, "")
        return written

    def prompt(self, prompt: Text, tools: Tools = (), kwargs: Kwargs | None = None) -> str:
        """Render the prompt as inference sees it, with the generation prompt. Raises DataError if it is refused."""
        if not self.chat:
            return self._plain(prompt) + self.ending + self.control
        return self._render(self.as_messages(prompt, "user"), (tools, kwargs), generation=True) + self.control

    def joint(self, prompt: Text, completion: Text, tools: Tools = (), kwargs: Kwargs | None = None) -> str:
        """Render prompt and completion together, as the template does. Raises DataError if it refuses them."""
        if not self.chat:
            return self._plain(prompt) + self.bare(self._plain(completion))
        answers = self.as_messages(completion, "assistant")
        if not self.trains_reasoning:
            answers = tuple(part_thought(turn)[1] if turn.role == "assistant" else turn for turn in answers)
        return self._render((*self.as_messages(prompt, "user"), *answers), (tools, kwargs), generation=False)

    def render(self, prompt: Text, completion: Text, tools: Tools = (), kwargs: Kwargs | None = None) -> Rendered:
        """
        Render the prompt and the completion's segments; other turns after the last assistant turn are left out.

        Raises DataError when the template refuses the messages, when a completion does not begin with an assistant
        turn, or when its turns are not rendered one after the other; ModelError when messages meet a tokenizer without
        a chat template.
        """
        if not self.chat:
            turn = self._plain_turn(self.bare(self._plain(completion)))
            return self._rendered(
                self._plain(prompt) + self.ending, turn.segments(trains_reasoning=self.trains_reasoning), [turn]
            )
        given = (tools, kwargs)
        asked, answers = self.as_messages(prompt, "user"), self.as_messages(completion, "assistant")
        if not answers or answers[0].role != "assistant":
            first = f"a turn of the role {answers[0].role!r}" if answers else "nothing"
            raise DataError(f"a completion begins with an assistant turn, and this one with {first}")
        # Each assistant turn is rendered after everything that the model had seen by then. What the template adds
        # between two of them (a tool's result, role marks) is a segment that is not trained.
        done = text = self._render(asked, given, generation=True)
        segments: list[Segment] = []
        turns: list[Turn] = []
        for k in (k for k, turn in enumerate(answers) if turn.role == "assistant"):
            before = (*asked, *answers[:k])
            seen = self._render(before, given, generation=True) if k else text
            if turns:
                turns[-1] = as_gone_on(turns[-1], seen.removeprefix(done))
                segments += turns[-1].segments(trains_reasoning=self.trains_reasoning)
                done += turns[-1].text
            if len(seen) > len(done):
                segments.append(Segment(seen[len(done) :], trained=False))
            turns.append(self._turn(seen, before, answers[k], given))
            done = seen
        return self._rendered(text, [*segments, *turns[-1].segments(trains_reasoning=self.trains_reasoning)], turns)

    def _rendered(self, prompt: str, segments: Sequence[Segment], turns: Sequence[Turn]) -> Rendered:
        return Rendered(
            prompt=prompt + self.control,
            completion=join_segments(segments),
            agrees=all(turn.agrees for turn in turns),
            reasons=any(turn.reasons for turn in turns),
            shows_reasoning=any(turn.shows_reasoning for turn in turns),
        )

    def _plain_turn(self, answer: str) -> Turn:
        """Return an answer where no template says how a thought is written: as it stands."""
        thought = split_thought(answer)
        lead = thought.lead if thought and thought.closed else ""
        return Turn(
            lead,
            answer.removeprefix(lead) + self.end_of_turn,
            agrees=True,
            reasons=bool(lead),
            shows_reasoning=bool(lead),
        )

    def _turn(self, seen: str, before: tuple[Message, ...], answer: Message, given: _Given) -> Turn:
        """Return what the model adds to what it has `seen`, divided into its thought and its answer."""
        closing = opening_at_end(seen)
        thought, bare = part_thought(answer, opened=closing is not None)
        silent = self._silent_turn(seen, before, bare, given)
        if thought is None:
            return silent
        joint = self._render((*before, bare), given, generation=False)
        literal = thought.lead if thought.marked else f"<think>\n{thought.lead.lstrip()}"
        tagged = literal if thought.lead else f"<think>\n{thought.text}\n</think>\n\n"
        beside = replace(bare, extra=(*bare.extra, (KEYS[0], thought.text)))
        inline = replace(bare, content=tagged + bare.content)
        # A template that puts an empty thought into an answer is one for a model that thinks. Any other writes what
        # stands inside an answer, but its model does not think.
        knows = bool(silent.thought) or (self.trains_reasoning and bool(thought.lead))
        for turn in (beside, inline) if knows else (beside,):
            text = self._render_if_taken((*before, turn), given)
            if text.startswith(seen) and not same_words(text, joint):
                return self._written_turn(text[len(seen) :], bare, thought.text, silent)
        lead = ""
        if closing is not None:
            lead = self._own_words(thought.lead, seen) or f"{thought.text}\n{closing}\n\n"
        elif not is_closed_at_end(seen) and same_words(self._render_if_taken((*before, inline), given), joint):
            lead = tagged  # a template that takes a thought out of an answer is for a model that writes it there
        return replace(silent, thought=lead or silent.thought, reasons=True, shows_reasoning=bool(lead))

    def _silent_turn(self, seen: str, before: tuple[Message, ...], bare: Message, given: _Given) -> Turn:
        """Return a turn without a thought: with the empty block that the template, or an opened thought, asks for."""
        closing = opening_at_end(seen)
        tail, agrees = self._answer(seen, before, bare, given)
        block = split_thought(tail, opened=closing is not None)
        if block and block.closed and not block.text:
            # Whitespace that the answer begins with is its own, unless the template took it away.
            own = bare.content[: len(bare.content) - len(bare.content.lstrip())]
            lead = block.lead.removesuffix(own)
            lead = lead if lead != lead.rstrip() else block.lead
            return Turn(lead, tail.removeprefix(lead), agrees)
        # The model would go on thinking: the answer is not what comes next.
        return Turn(f"\n{closing}\n\n" if closing else "", tail, agrees)

    def _written_turn(self, tail: str, bare: Message, thought: str, silent: Turn) -> Turn:
        """Return a turn whose thought the template writes itself."""
        after = max(tail.find(thought), 0) + len(thought)
        cut = closing_after(tail, after)
        if cut is None:
            cut = max(tail.find(bare.content.strip(), after), after)
        answer = self._until_end(tail[cut:], calls=bool(bare.tool_calls))
        written = bare.content.strip() in answer
        return Turn(tail[:cut], answer if written else silent.answer, written, reasons=True, shows_reasoning=True)

    def _answer(self, seen: str, before: tuple[Message, ...], answer: Message, given: _Given) -> tuple[str, bool]:
        """Return the text that the model adds to what it has `seen`, and whether the template writes the same."""
        joint = self._render((*before, answer), given, generation=False)
        if answer.tool_calls:
            return self._tool_call(joint, seen, before, answer, given)
        content = self._own_words(answer.content, seen)
        # An answer may have a header of its own, such as a think block that is not empty.
        header = "" if self.marks.header.strip() in content else self.marks.header
        # The template's own tail is taken where it holds the answer and nothing else, for the whitespace around it.
        if joint.startswith(seen):
            tail = self._until_end(joint[len(seen) :])
            words = tail.removesuffix(self.marks.closing)
            block = split_thought(words, opened=opening_at_end(seen) is not None)
            rest = block.rest if block and block.closed and not block.text else words
            if content.strip() in {words.strip(), words.removeprefix(header).strip(), rest.strip()} or (
                self.marks.header and same_words(words, content)
            ):
                return tail, True
        return header + content + self.marks.closing, False

    def _own_words(self, content: str, seen: str) -> str:
        """Return an answer without what is written before it anyway: by the generation prompt, or as its header."""
        for opening in (self.marks.begun if seen.endswith(self.marks.begun) else "", self.marks.header):
            if opening and content.lstrip().startswith(opening.strip()):
                rest = content.lstrip().removeprefix(opening.strip())
                content = rest.removeprefix(opening[len(opening.rstrip()) :])
        return content

    def _tool_call(
        self, joint: str, seen: str, before: tuple[Message, ...], answer: Message, given: _Given
    ) -> tuple[str, bool]:
        """Return the text of tool calls, which only the template can write, without words that it puts before them."""
        # Words before the calls come as they were written, and then the calls follow as the template has them.
        content, tail = answer.content.strip(), joint[len(seen) :]
        if joint.startswith(seen) and content and tail.lstrip().startswith(content):
            return self._until_end(tail, calls=True), True
        # What the template writes before any answer shows before a made-up one; words that inference does not see were
        # not written by the model, unless it writes them before each answer.
        inserted = ""
        if not self.marks.header:
            probe = self._render((*before, Message("assistant", PROBE)), given, generation=False)
            opening = probe[len(seen) : probe.rfind(PROBE)] if probe.startswith(seen) else ""
            # An empty block of thoughts stays, as a part that is not trained.
            inserted = opening if opening.strip() and split_thought(opening) is None else ""
        if not joint.startswith(seen + inserted):
            raise DataError(
                "the chat template does not write these tool calls after what inference sees, so what the model said "
                "is unknown; give the calls as the text that the model wrote"
            )
        return self._until_end(tail[len(inserted) :], calls=True), not inserted and content in tail

    def _until_end(self, tail: str, *, calls: bool = False) -> str:
        """Cut a rendered answer after its end-of-turn mark, or add the mark where the template writes none."""
        # The last one: the answer itself may spell the mark.
        cut = tail.rfind(self.marks.closing)
        if cut >= 0:
            return tail[: cut + len(self.marks.closing)]
        # Calls may end with a mark of their own, such as Harmony's <|call|>.
        if calls and tail.rstrip().endswith(special_marks(self.tokenizer)):
            return tail.rstrip()
        return tail.removesuffix(self.marks.separator) + self.marks.closing

    def _render(self, messages: tuple[Message, ...], given: _Given, *, generation: bool) -> str:
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

    def _render_if_taken(self, messages: tuple[Message, ...], given: _Given) -> str:
        """Render an answer with its thought; empty where the template refuses them together, as gpt-oss's may."""
        try:
            return self._render(messages, given, generation=False)
        except DataError:
            return ""

    def _plain(self, text: Text) -> str:
        if isinstance(text, str):
            return text
        raise ModelError(
            "the feedback holds chat messages, but this tokenizer has no chat template; give prompts and completions "
            "as plain text, or a tokenizer with a chat template (the one of the model's instruct version)"
        )


def make_template(tokenizer: Any) -> Template:
    """
    Detect how a tokenizer writes a conversation and ends a turn.

    Raises:
        DataError: the chat template refuses the plainest conversation.
        ModelError: there is no end token, or the chat template cannot be trained by; see `probe_template`.
    """
    end = tokenizer.eos_token
    if tokenizer.chat_template:
        _check_names(tokenizer)
        marks = probe_template(tokenizer)
        with_tools = probe_tool_template(tokenizer)
        ends = tuple(dict.fromkeys(filter(None, (marks.closing, marks.end_of_turn, end))))
        return Template(tokenizer, chat=True, marks=marks, ends=ends, tools_differ=with_tools not in {None, marks})
    if not end:
        raise ModelError("the tokenizer has no end-of-text token, so a completion cannot be ended; set its eos_token")
    return Template(tokenizer, chat=False, marks=Marks(end, end), ends=(end,), ending=control_text(tokenizer))


def _check_names(tokenizer: Any) -> None:
    """Raise ModelError for several chat templates none of which is for conversations without tools."""
    templates = tokenizer.chat_template
    if isinstance(templates, dict) and "default" not in templates:
        raise ModelError(
            f"the tokenizer has several chat templates ({', '.join(templates)}) and none that is called default; give "
            "a tokenizer with one template"
        )


def _is_plain(messages: tuple[Message, ...]) -> bool:
    """Return whether equal messages have equal texts: 1 and True, as values of calls, are equal and are not."""
    return not any(
        message.tool_calls or (message.extra and not all(isinstance(value, str) for _, value in message.extra))
        for message in messages
    )
