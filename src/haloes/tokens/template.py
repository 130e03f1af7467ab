r"""
Render a prompt and its completion as text, cut exactly where inference cuts: the model's input, and its output.

The prompt is rendered by the tokenizer's chat template with its generation prompt, as a server does; the completion
follows, ended by the template's end-of-turn mark. Both sides are tokenised apart, so that the boundary in training is
the one in inference, whatever tokens a joint rendering would merge or drop across it. With ChatML, for example:

    prompt       <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n
    completion   Hello.<|im_end|>

The line break that the template writes after the last mark is part of neither: inference has stopped by then.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from haloes.errors import DataError, ModelError
from haloes.records import Message, Text
from haloes.thoughts import split_thought
from haloes.tokens.chat_renderer import ChatRenderer, Kwargs, Tools
from haloes.tokens.chat_template import control_text
from haloes.tokens.model_turns import ModelTurns
from haloes.tokens.template_probe import (
    Marks,
    probe_template,
    probe_tool_template,
    special_marks,
    without_ends,
)
from haloes.tokens.turns import Segment, Turn, as_gone_on, join_segments, part_thought

TextRow: TypeAlias = tuple[Text, Text, Tools] | tuple[Text, Text, Tools, Kwargs]
"""Prompt, completion, tools, and variables of the template."""


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

    renderer: ChatRenderer
    chat: bool
    ends: tuple[str, ...]
    """Texts that end a turn or a text for this tokenizer; an answer that spells one at its end means it."""
    ending: str = ""
    """Control text of the tokenizer after every prompt where no chat template writes it; see `CONTROL_KEY`."""
    control: str = ""
    """Further text after every prompt, such as the control token of a model that is being made conditional."""
    trains_reasoning: bool = False
    """Whether an answer's reasoning is trained; else the answer is trained as it follows the reasoning."""

    @property
    def tokenizer(self) -> Any:
        """Return the tokenizer whose template it is."""
        return self.renderer.tokenizer

    @property
    def marks(self) -> Marks:
        """Return how the model's turn begins and ends."""
        return self.renderer.marks

    @property
    def _turns(self) -> ModelTurns:
        return ModelTurns(self.renderer, trains_reasoning=self.trains_reasoning)

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
        messages = (
            (self.as_messages(prompt, "user"), self.as_messages(completion, "assistant"))
            for prompt, completion, *given in rows
            if not any(given)
        )
        return replace(self, renderer=self.renderer.with_rendered(messages))

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
            written = self._turns.own_words(written, "")
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
        return self.renderer.render(self.as_messages(prompt, "user"), (tools, kwargs), generation=True) + self.control

    def joint(self, prompt: Text, completion: Text, tools: Tools = (), kwargs: Kwargs | None = None) -> str:
        """Render prompt and completion together, as the template does. Raises DataError if it refuses them."""
        if not self.chat:
            return self._plain(prompt) + self.bare(self._plain(completion))
        answers = self.as_messages(completion, "assistant")
        if not self.trains_reasoning:
            answers = tuple(part_thought(turn)[1] if turn.role == "assistant" else turn for turn in answers)
        return self.renderer.render((*self.as_messages(prompt, "user"), *answers), (tools, kwargs), generation=False)

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
        done = text = self.renderer.render(asked, given, generation=True)
        segments: list[Segment] = []
        turns: list[Turn] = []
        for k in (k for k, turn in enumerate(answers) if turn.role == "assistant"):
            before = (*asked, *answers[:k])
            seen = self.renderer.render(before, given, generation=True) if k else text
            if turns:
                turns[-1] = as_gone_on(turns[-1], seen.removeprefix(done))
                segments += turns[-1].segments(trains_reasoning=self.trains_reasoning)
                done += turns[-1].text
            if len(seen) > len(done):
                segments.append(Segment(seen[len(done) :], trained=False))
            turns.append(self._turns.turn(seen, before, answers[k], given))
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
        renderer = ChatRenderer(tokenizer, marks, tools_differ=with_tools not in {None, marks})
        return Template(renderer, chat=True, ends=ends)
    if not end:
        raise ModelError("the tokenizer has no end-of-text token, so a completion cannot be ended; set its eos_token")
    return Template(ChatRenderer(tokenizer, Marks(end, end)), chat=False, ends=(end,), ending=control_text(tokenizer))


def _check_names(tokenizer: Any) -> None:
    """Raise ModelError for several chat templates none of which is for conversations without tools."""
    templates = tokenizer.chat_template
    if isinstance(templates, dict) and "default" not in templates:
        raise ModelError(
            f"the tokenizer has several chat templates ({', '.join(templates)}) and none that is called default; give "
            "a tokenizer with one template"
        )
