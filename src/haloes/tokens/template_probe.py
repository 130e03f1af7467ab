r"""
What a chat template does, found out by rendering made-up words: no field of a tokenizer says any of it.

The turn of the model is written in three places: by the generation prompt (what inference sees), in a conversation that
ends with it (the joint rendering), and in one that goes on. What stands between the generation prompt and the words in
the joint rendering is not seen at inference, so the model has to write it (Harmony's `<|channel|>final<|message|>`), or
the template writes it in place of words that the answer lacks (Qwen3's empty <think> block, which is not in earlier
turns). Which of the two is told by the earlier turns.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from haloes.errors import DataError, ModelError
from haloes.records import Message
from haloes.tokens.chat_template import control_text
from haloes.tokens.rendering import render_messages

PROBE, _ASKED, _OTHER = "haloes-probe", "haloes-question", "haloes-words"
_CALL = {"id": "haloes000", "type": "function", "function": {"name": "haloes", "arguments": {}}}
_TOOL = {"type": "function", "function": {"name": "haloes", "description": "", "parameters": {"type": "object"}}}


@dataclass(frozen=True, slots=True)
class Marks:
    """How a template writes a turn of the model, and the words of each role."""

    end_of_turn: str
    """Text of the special token that ends the model's turn; the end-of-text token where the template has none."""
    closing: str
    """What the model writes after its words, `end_of_turn` last: Cohere's "<|END_RESPONSE|><|END_OF_TURN_TOKEN|>"."""
    separator: str = ""
    """Whitespace that a template without an end-of-turn token writes after an answer; no part of the completion."""
    header: str = ""
    """What the model itself writes before its words: Harmony's "<|channel|>final<|message|>"."""
    begun: str = ""
    """What the generation prompt writes of the answer itself: the "<think>" of DeepSeek-R1."""
    parts: frozenset[str] = frozenset()
    """Roles whose words the template wants as a list of parts."""
    unwritten: frozenset[str] = frozenset()
    """Roles whose words the template leaves out."""

    @property
    def framed(self) -> bool:
        """Return whether the model writes more around its words than the end of its turn."""
        return bool(self.header) or self.closing != self.end_of_turn


def probe_template(tokenizer: Any, tools: Sequence[Any] = ()) -> Marks:
    """
    Find out how the chat template writes a conversation.

    Args:
        tokenizer: with a chat template.
        tools: tools that are offered, for templates of their own.

    Raises:
        DataError: the template refuses the plainest conversation.
        ModelError: the template does not write what was said, it cannot be told what of an answer the model writes, or
            there is no end-of-text token.
    """
    parts, unwritten = find_parts(tokenizer, tools)

    def text(*turns: Message, generation: bool = False) -> str:
        return render_messages(tokenizer, turns, tools, generation=generation, parts=parts)

    asked, answer = Message("user", _ASKED), Message("assistant", PROBE)
    seen = text(asked, generation=True).removesuffix(control_text(tokenizer))
    opened, _, after = text(asked, answer).rpartition(PROBE)
    try:
        earlier, _, later = text(asked, answer, Message("user", _OTHER)).rpartition(PROBE)
    except DataError:  # a template for a single question
        earlier, later = opened, after
    ending = _ending(tokenizer, after[: _alike(after, later)]) or _ending(tokenizer, after)
    end = ending[1] if ending else tokenizer.eos_token
    if not end:
        raise ModelError("the tokenizer has no end-of-text token, so a completion cannot be ended; set its eos_token")
    begun = seen[_alike(seen, earlier) :]
    opening = opened[_alike(seen, opened) :]
    if opening.strip() and not opened.startswith(seen):
        raise _untold(opening, f"inference begins the answer with {begun!r} instead")
    if opening.strip() and not (earlier.endswith(opening) or begun.strip()):
        if not _is_recognised(text, asked, opening, opened):
            raise _untold(opening, "it stands before the last answer alone")
        opening = ""  # in place of words that the answer lacks
    return Marks(
        end_of_turn=end,
        closing=ending[0] if ending else end,
        separator="" if ending else after[len(after.rstrip()) :],
        header=opening if opening.strip() else "",
        begun=begun if begun.strip() else "",
        parts=parts,
        unwritten=unwritten,
    )


def probe_tool_template(tokenizer: Any) -> Marks | None:
    """Return the marks of the template that is used where tools are offered; None where it is the same template."""
    if not isinstance(tokenizer.chat_template, dict) or "tool_use" not in tokenizer.chat_template:
        return None
    return probe_template(tokenizer, (_TOOL,))


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Return the ids of special tokens, without that of unknown words."""
    added = (number for number, token in tokenizer.added_tokens_decoder.items() if token.special)
    return frozenset([*tokenizer.all_special_ids, *added]) - {tokenizer.unk_token_id}


def special_marks(tokenizer: Any) -> tuple[str, ...]:
    """Return the texts of special tokens, without that of unknown words."""
    return tuple(map(str, tokenizer.convert_ids_to_tokens(sorted(special_ids(tokenizer)))))


def _alike(one: str, other: str) -> int:
    """Return the number of characters with which both texts begin."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def find_parts(tokenizer: Any, tools: Sequence[Any] = ()) -> tuple[frozenset[str], frozenset[str]]:
    """
    Return the roles whose words the template wants in parts, and those whose words it leaves out.

    Raises DataError where the template refuses the plainest conversation, ModelError where it loses all words.
    """
    turns = (Message("user", _ASKED), Message("assistant", PROBE))
    pair = frozenset({"user", "assistant"})
    tried = (frozenset[str](), pair, frozenset({"user"}), frozenset({"assistant"}))
    parts = _first_written(tokenizer, turns, (_ASKED, PROBE), tried, tools)
    if parts is None:
        raise ModelError(
            "the chat template does not write the words of user and assistant, as a text or in parts, so all prompts "
            "would be the same; give a tokenizer with the template of the model's instruct version"
        )
    unwritten = set()
    call = Message("assistant", "", (_CALL,))
    returned = Message("tool", _OTHER, extra=(("name", "haloes"), ("tool_call_id", "haloes000")))
    for role, more in (
        ("system", (Message("system", _OTHER), turns[0])),
        ("tool", (turns[0], call, returned)),
    ):
        try:
            found = _first_written(tokenizer, more, (_OTHER,), (parts, parts | {role}), tools)
        except DataError:  # refused, as rows with such a turn will be, with the template's own words
            continue
        if found is None:
            unwritten.add(role)
        else:
            parts = found
    return parts, frozenset(unwritten)


def _first_written(
    tokenizer: Any,
    turns: Sequence[Message],
    words: Sequence[str],
    tried: Sequence[frozenset[str]],
    tools: Sequence[Any],
) -> frozenset[str] | None:
    """
    Return the first choice of roles in parts under which the template writes these words; None where it never does.

    Raises DataError with the template's words where it refuses each.
    """
    refused: list[DataError] = []
    for parts in tried:
        try:
            text = render_messages(tokenizer, turns, tools, generation=False, parts=parts)
        except DataError as error:
            refused.append(error)
            continue
        # Parts that are put into a text as they are show their names.
        if all(word in text for word in words) and not (parts and ("'type'" in text or '"type"' in text)):
            return parts
    if len(refused) == len(tried):
        raise refused[0]
    return None


def _ending(tokenizer: Any, closing: str) -> tuple[str, str] | None:
    """Return what a turn is closed with, up to the special token at which inference stops, and that token."""
    special = special_ids(tokenizer)
    run: list[str] = []
    for token in tokenizer(closing, add_special_tokens=False)["input_ids"]:
        if token in special:
            run.append(str(tokenizer.convert_ids_to_tokens(token)))
            if token == tokenizer.eos_token_id:
                break
        elif run:
            break
    if not run:
        return None
    end = closing.find(run[0])
    for mark in run:
        end = closing.find(mark, end) + len(mark)
    return closing[:end].strip(), run[-1]


def _is_recognised(text: Any, asked: Message, opening: str, opened: str) -> bool:
    """Return whether an answer that has the opening itself is not given a second one."""
    try:
        rendered: str = text(asked, Message("assistant", opening + PROBE))
    except DataError:
        return False
    return rendered.startswith(opened + PROBE)


def _untold(opening: str, why: str) -> ModelError:
    return ModelError(
        f"the chat template writes {opening!r} before an answer, and {why}: it cannot be told whether the model writes "
        "it; set tokens.chat_template_kwargs so that the generation prompt and the answer agree, or give a tokenizer "
        "whose template does"
    )


def without_ends(text: str, ends: Collection[str]) -> str:
    """Return an answer without the ends of turn or text that it ends with, and the whitespace after them."""
    while True:
        bare = text.rstrip()
        end = next((end for end in ends if bare.endswith(end)), None)
        if end is None:
            return text
        text = bare.removesuffix(end)
