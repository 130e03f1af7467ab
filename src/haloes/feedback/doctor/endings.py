"""Whether an answer, string or messages, looks as if it had been cut off, and whether a file's answers end at all."""

from haloes.feedback.doctor.text_signs import ends_a_sentence, is_cut_off
from haloes.records import Text

LONG_ANSWER = 8
"""Words from which an answer counts as prose, whose end shows whether a file's answers end like sentences."""


def breaks_off(text: Text) -> bool:
    """Return whether an answer looks cut off: by `text_signs.is_cut_off` of its last words, unless it calls a tool."""
    if not isinstance(text, str) and text[-1].tool_calls:
        return False
    return is_cut_off(_last_words(text))


class Ends:
    """Counts how many of a file's longer answers end as sentences do: where few do, no answer is called cut off."""

    def __init__(self) -> None:
        """Begin with none."""
        self._long = self._ended = 0

    def count(self, text: Text) -> None:
        """Count an answer."""
        words = _last_words(text)
        if len(words.split()) >= LONG_ANSWER:
            self._long += 1
            self._ended += ends_a_sentence(words)

    @property
    def are_sentences(self) -> bool:
        """Return whether at least half of the longer answers end as sentences do."""
        return 2 * self._ended >= self._long


def _last_words(text: Text) -> str:
    return text if isinstance(text, str) else text[-1].content
