"""
The rater of the demo: a rule that a person might hold who wants short answers from an assistant.

An answer is liked if it is

- direct: no "As an AI", no "Sure!", no praise of the question, the question not asked back;
- complete: the model ended its turn itself, with a whole sentence, and the text does not go round in circles;
- at most 50 words long.

It says nothing about whether the answer is true: that is beyond a rule, and beyond a model of this size.
"""

import re
from collections import Counter
from typing import NamedTuple

from haloes.records import Text, plain_text

MAX_WORDS = 50

ABOUT_ITSELF = re.compile(
    r"\b(as an ai|i am an ai|i'm an ai|as a language model|as an? (\w+ )?assistant)\b", re.IGNORECASE
)
PREAMBLE = re.compile(
    r"(sure|certainly|of course|absolutely|definitely|alright|okay|ok|hello|hi there|hey|thank you for|thanks for"
    r"|i'd be (happy|glad)|i'm (happy|glad)|i am (happy|glad)|(what )?an? (great|good|excellent|interesting) question"
    r"|(that's|that is) an? (\w+ )*question|(great|good|excellent|interesting) question)\b",
    re.IGNORECASE,
)
WHOLE_SENTENCE = re.compile(r"""[.!?…]["'”’)\]*]*$""")
LIST_MARK = re.compile(r"(\d+|[-*•])[.)]?")
WORD = re.compile(r"[\w']+")


class Rating(NamedTuple):
    """The verdict on one answer."""

    liked: bool
    reason: str
    """The fault; "direct, complete and short" for a liked answer."""


def rate(prompt: Text, completion: str, finished: bool) -> Rating:
    """
    Rate one answer by the rule above; the first fault found is the reason.

    Args:
        prompt: the question.
        completion: the answer's text.
        finished: whether the model ended its turn itself, rather than being cut off.
    """
    text = completion.strip()
    num_words = len(text.split())
    faults = (
        (not text, "empty"),
        (not finished, "cut off"),
        (num_words > MAX_WORDS, f"{num_words} words"),
        (ABOUT_ITSELF.search(text) or PREAMBLE.match(text), "preamble"),
        (_asks_back(plain_text(prompt), text), "asks the question back"),
        (_is_dangling(text), "does not end with a sentence"),
        (_goes_round(text), "repeats itself"),
    )
    for found, reason in faults:
        if found:
            return Rating(liked=False, reason=reason)
    return Rating(liked=True, reason="direct, complete and short")


def _asks_back(prompt: str, text: str) -> bool:
    """Return whether the answer opens with the prompt's words, or with a question that shares half of them."""
    asked, said = _words(prompt), _words(text)
    if asked and said[: len(asked)] == asked:
        return True
    opening = re.split(r"(?<=[.!?])\s|\n", text, maxsplit=1)[0]
    shared, either = set(asked) & set(_words(opening)), set(asked) | set(_words(opening))
    return opening.endswith("?") and len(shared) >= len(either) / 2


def _is_dangling(text: str) -> bool:
    """Return whether the text breaks off: no end of a sentence, or the bare mark of a list's next point."""
    return WHOLE_SENTENCE.search(text) is None or LIST_MARK.fullmatch(text.splitlines()[-1].strip()) is not None


def _goes_round(text: str) -> bool:
    """Return whether four words in a row come three times, or a sentence comes twice."""
    words = _words(text)
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    sentences = [tuple(_words(sentence)) for sentence in re.split(r"(?<=[.!?])\s+|\n+", text)]
    said = [sentence for sentence in sentences if len(sentence) > 2]  # noqa: PLR2004 - "Yes." may come twice
    return max(Counter(runs).values(), default=0) > 2 or len(set(said)) < len(said)  # noqa: PLR2004


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())
