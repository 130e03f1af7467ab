"""
The model's turn: what it adds to what it has seen, divided into its thought and its answer.

The text is the template's own where the template writes the answer after what inference sees, for the whitespace around
it; elsewhere it is the answer between the marks of a turn.
"""

from dataclasses import dataclass, replace

from haloes.errors import DataError
from haloes.records import Message
from haloes.thoughts import KEYS, closing_after, is_closed_at_end, opening_at_end, split_thought
from haloes.tokens.chat_renderer import ChatRenderer, Given
from haloes.tokens.template_probe import PROBE, special_marks
from haloes.tokens.turns import Turn, part_thought, same_words


@dataclass(frozen=True, slots=True)
class ModelTurns:
    """Finds the text of the model's turns in what a chat template writes."""

    chat: ChatRenderer
    trains_reasoning: bool
    """Whether an answer's reasoning is trained; else the answer is trained as it follows the reasoning."""

    def turn(self, seen: str, before: tuple[Message, ...], answer: Message, given: Given) -> Turn:
        """Return what the model adds to what it has `seen`, divided into its thought and its answer."""
        closing = opening_at_end(seen)
        thought, bare = part_thought(answer, opened=closing is not None)
        silent = self._silent_turn(seen, before, bare, given)
        if thought is None:
            return silent
        joint = self.chat.render((*before, bare), given, generation=False)
        literal = thought.lead if thought.marked else f"<think>\n{thought.lead.lstrip()}"
        tagged = literal if thought.lead else f"<think>\n{thought.text}\n</think>\n\n"
        beside = replace(bare, extra=(*bare.extra, (KEYS[0], thought.text)))
        inline = replace(bare, content=tagged + bare.content)
        # A template that puts an empty thought into an answer is one for a model that thinks. Any other writes what
        # stands inside an answer, but its model does not think.
        knows = bool(silent.thought) or (self.trains_reasoning and bool(thought.lead))
        for turn in (beside, inline) if knows else (beside,):
            text = self.chat.render_if_taken((*before, turn), given)
            if text.startswith(seen) and not same_words(text, joint):
                return self._written_turn(text[len(seen) :], bare, thought.text, silent)
        lead = ""
        if closing is not None:
            lead = self.own_words(thought.lead, seen) or f"{thought.text}\n{closing}\n\n"
        elif not is_closed_at_end(seen) and same_words(self.chat.render_if_taken((*before, inline), given), joint):
            lead = tagged  # a template that takes a thought out of an answer is for a model that writes it there
        return replace(silent, thought=lead or silent.thought, reasons=True, shows_reasoning=bool(lead))

    def _silent_turn(self, seen: str, before: tuple[Message, ...], bare: Message, given: Given) -> Turn:
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

    def _answer(self, seen: str, before: tuple[Message, ...], answer: Message, given: Given) -> tuple[str, bool]:
        """Return the text that the model adds to what it has `seen`, and whether the template writes the same."""
        joint = self.chat.render((*before, answer), given, generation=False)
        if answer.tool_calls:
            return self._tool_call(joint, seen, before, answer, given)
        content = self.own_words(answer.content, seen)
        # An answer may have a header of its own, such as a think block that is not empty.
        header = "" if self.chat.marks.header.strip() in content else self.chat.marks.header
        # The template's own tail is taken where it holds the answer and nothing else, for the whitespace around it.
        if joint.startswith(seen):
            tail = self._until_end(joint[len(seen) :])
            words = tail.removesuffix(self.chat.marks.closing)
            block = split_thought(words, opened=opening_at_end(seen) is not None)
            rest = block.rest if block and block.closed and not block.text else words
            if content.strip() in {words.strip(), words.removeprefix(header).strip(), rest.strip()} or (
                self.chat.marks.header and same_words(words, content)
            ):
                return tail, True
        return header + content + self.chat.marks.closing, False

    def own_words(self, content: str, seen: str) -> str:
        """Return an answer without what is written before it anyway: by the generation prompt, or as its header."""
        for opening in (self.chat.marks.begun if seen.endswith(self.chat.marks.begun) else "", self.chat.marks.header):
            if opening and content.lstrip().startswith(opening.strip()):
                rest = content.lstrip().removeprefix(opening.strip())
                content = rest.removeprefix(opening[len(opening.rstrip()) :])
        return content

    def _tool_call(
        self, joint: str, seen: str, before: tuple[Message, ...], answer: Message, given: Given
    ) -> tuple[str, bool]:
        """Return the text of tool calls, which only the template can write, without words that it puts before them."""
        if joint == self.chat.render_if_taken((*before, replace(answer, tool_calls=())), given):
            # Trained without them it would be an answer that nobody gave, and without words one that says nothing.
            raise DataError(
                "the chat template leaves tool calls out, so that this answer would be trained without its calls; take "
                "a model whose template writes them, or give the calls as the text that the model wrote"
            )
        # Words before the calls come as they were written, and then the calls follow as the template has them.
        content, tail = answer.content.strip(), joint[len(seen) :]
        if joint.startswith(seen) and content and tail.lstrip().startswith(content):
            return self._until_end(tail, calls=True), True
        # What the template writes before any answer shows before a made-up one; words that inference does not see were
        # not written by the model, unless it writes them before each answer.
        inserted = ""
        if not self.chat.marks.header:
            probe = self.chat.render((*before, Message("assistant", PROBE)), given, generation=False)
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
        cut = tail.rfind(self.chat.marks.closing)
        if cut >= 0:
            return tail[: cut + len(self.chat.marks.closing)]
        # Calls may end with a mark of their own, such as Harmony's <|call|>.
        if calls and tail.rstrip().endswith(special_marks(self.chat.tokenizer)):
            return tail.rstrip()
        return tail.removesuffix(self.chat.marks.separator) + self.chat.marks.closing
