"""
The rater of the demo: a rule that a person might hold who does not want to be lectured.

An answer is liked if it

- does not open as an encyclopedia does: with "The", "A" or "An";
- is direct: no "As an AI", no "Sure!", no praise of the question, the question not asked back;
- does not go round in circles.

It is blind to length, so that an answer's length alone cannot tell whether it is liked. It says nothing about whether
the answer is true: that is beyond a rule, and beyond a model of this size.
"""

import re
from collections import Counter
from typing import NamedTuple

from haloes.records import Text, plain_text

ARTICLE = re.compile(r"\W*(the|an?)\b", re.IGNORECASE)
ABOUT_ITSELF = re.compile(
    r"\b(as an ai|i am an ai|i'm an ai|as a language model|as an? (\w+ )?assistant)\b", re.IGNORECASE
)
PREAMBLE = re.compile(
    r"(sure|certainly|of course|absolutely|definitely|alright|okay|ok|hello|hi there|hey|thank you for|thanks for"
    r"|i'd be (happy|glad)|i'm (happy|glad)|i am (happy|glad)|(what )?an? (great|good|excellent|interesting) question"
    r"|(that's|that is) an? (\w+ )*question|(great|good|excellent|interesting) question)\b",
    re.IGNORECASE,
)
END_OF_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
WORD = re.compile(r"[\w']+")


class Rating(NamedTuple):
    """The verdict on one answer."""

    liked: bool
    reason: str
    """The fault; "opens plainly" for a liked answer."""


def rate(prompt: Text, completion: str, finished: bool) -> Rating:  # noqa: ARG001 - every rater is called with it
    """
    Rate one answer by the rule above; the first fault found is the reason.

    Args:
        prompt: the question.
        completion: the answer's text.
        finished: whether the model ended its turn itself, rather than being cut off; this rule does not mind.
    """
    text = completion.strip()
    opening = END_OF_SENTENCE.split(text, maxsplit=1)[0]
    faults = (
        (not text, "empty"),
        (ABOUT_ITSELF.search(text) or PREAMBLE.match(text), "preamble"),
        (_asks_back(plain_text(prompt), opening), "asks the question back"),
        (ARTICLE.match(text), "opens like an encyclopedia"),
        (_goes_round(text), "repeats itself"),
    )
    for found, reason in faults:
        if found:
            return Rating(liked=False, reason=reason)
    return Rating(liked=True, reason="opens plainly")


def _asks_back(prompt: str, opening: str) -> bool:
    """Return whether the answer opens with the prompt's words, or with a question that shares half of them."""
    asked, said = _words(prompt), _words(opening)
    if asked and said[: len(asked)] == asked:
        return True
    shared, either = set(asked) & set(said), set(asked) | set(said)
    return opening.endswith("?") and len(shared) >= len(either) / 2


def _goes_round(text: str) -> bool:
    """Return whether four words in a row come three times, or a sentence comes twice."""
    words = _words(text)
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    sentences = [tuple(_words(sentence)) for sentence in END_OF_SENTENCE.split(text)]
    said = [sentence for sentence in sentences if len(sentence) > 2]  # noqa: PLR2004 - "Yes." may come twice
    return max(Counter(runs).values(), default=0) > 2 or len(set(said)) < len(said)  # noqa: PLR2004


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())
