"""Text from outside as a person may safely see it; what is printed or put into a page passes here."""

import unicodedata

_KEPT = frozenset(
    "\n\t\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}\N{SOFT HYPHEN}\N{LEFT-TO-RIGHT MARK}\N{RIGHT-TO-LEFT MARK}"
)
_UNSAFE = frozenset({"Cc", "Cf", "Cs"})
"""Unicode's categories of control characters, format characters, and halves of surrogate pairs."""


class _Shown(dict[int, int | str]):
    """For `str.translate`: each character's code, or what stands for it."""

    def __missing__(self, code: int) -> int | str:
        char = chr(code)
        is_unsafe = unicodedata.category(char) in _UNSAFE and char not in _KEPT
        return "\N{REPLACEMENT CHARACTER}" if is_unsafe else code


_SHOWN = _Shown()


def readable(text: str) -> str:
    """
    Return a text as a person may safely see it, in a page or a terminal; markup stays markup.

    Control and format characters could move a terminal's cursor, write the clipboard, or make text read in another
    order than it is stored (U+202E): each becomes a visible replacement character. The joiners and marks that scripts
    and emoji need stay.
    """
    # Most text has none of them, and "printable" is quickly asked; it knows no line breaks.
    return text if text.isprintable() else text.replace("\r\n", "\n").translate(_SHOWN)
