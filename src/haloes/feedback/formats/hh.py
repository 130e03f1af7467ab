r"""
HH-RLHF transcripts: `chosen` and `rejected` are texts of the form "\n\nHuman: ...\n\nAssistant: ...".

The prompt is the part that both share, up to their last common "\n\nAssistant:". Where the row has a `prompt` of its
own (a transcript too), `chosen` and `rejected` may hold whole transcripts or the answers alone. Blanks around turns are
removed.
"""

import os
import re
from collections.abc import Iterator

from haloes.feedback.fields import RawRow, required_value
from haloes.feedback.formats.build_pair import make_pair
from haloes.feedback.formats.contract import Format, always, no_labels
from haloes.feedback.messages import check_completion, check_prompt, clean_text, with_system
from haloes.feedback.refusals import RefusalError, short_repr
from haloes.records import Message, Pair, Where

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_ANSWER = "\n\nAssistant:"
_ROLES = {"Human": "user", "Assistant": "assistant"}


def _matches(row: RawRow) -> bool:
    texts = [row.get("chosen"), row.get("rejected"), row.get("prompt", "")]
    if not all(isinstance(text, str) for text in texts):
        return False
    return _begins(row["prompt"]) if row.get("prompt") else _begins(row["chosen"]) and _begins(row["rejected"])


def _parse(row: RawRow, where: Where) -> Iterator[Pair]:
    chosen, rejected = _text(row, "chosen"), _text(row, "rejected")
    if row.get("prompt"):
        prompt = _text(row, "prompt").rstrip().removesuffix(_ANSWER)
        chosen, rejected = _after(prompt, chosen), _after(prompt, rejected)
    else:
        common = os.path.commonprefix([chosen, rejected])  # noqa: RUF071  # by characters is what is meant
        end = common.rfind(_ANSWER)
        # At 0 both begin with the answer, and there is no prompt before it.
        if end <= 0:
            message = 'chosen and rejected share no beginning up to an "Assistant:" that could be the prompt'
            raise RefusalError("no common prompt", message)
        prompt, chosen, rejected = chosen[:end], chosen[end:], rejected[end:]
    yield make_pair(
        row,
        where,
        prompt=check_prompt(with_system(_turns(prompt, column="prompt"), row.get("system"))),
        chosen=check_completion(_turns(chosen, column="chosen"), column="chosen"),
        rejected=check_completion(_turns(rejected, column="rejected"), column="rejected"),
    )


def _begins(text: str) -> bool:
    first = _TURN.search(text)
    return first is not None and not text[: first.start()].strip()


def _text(row: RawRow, column: str) -> str:
    value = required_value(row, column)
    if not isinstance(value, str):
        raise RefusalError("wrong type", f"{column} is {short_repr(value)}, not a transcript", column=column)
    return clean_text(value, subject=f"the {column}", column=column)


def _after(prompt: str, answer: str) -> str:
    """Return the transcript of an answer, which the row gives after its prompt, or alone."""
    if _begins(answer) and answer.startswith(prompt):
        return answer[len(prompt) :]
    return answer if _begins(answer) else f"{_ANSWER} {answer}"


def _turns(transcript: str, *, column: str) -> tuple[Message, ...]:
    # Split at a pattern with a group: text before the first turn, then role, words, role, words ...
    pieces = _TURN.split(transcript)
    if pieces[0].strip():
        message = f'the {column} begins with {short_repr(pieces[0])}, not with "Human:" or "Assistant:"'
        raise RefusalError("wrong type", message, column=column)
    return tuple(Message(_ROLES[role], words.strip()) for role, words in zip(pieces[1::2], pieces[2::2], strict=True))


HH = Format(
    name="hh",
    needs='chosen, rejected as transcripts ("\\n\\nHuman: ...\\n\\nAssistant: ...")',
    matches=_matches,
    parse=_parse,
    reads=always("prompt", "chosen", "rejected", "system", "margin"),
    labels=no_labels,
)
