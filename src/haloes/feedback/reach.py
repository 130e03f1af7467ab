"""How far a reading of feedback is: the lines of its files, of which a row stands in one."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from haloes.records import Where


@dataclass(frozen=True, slots=True)
class Reach:
    """The files of a source that have rows, and how far each goes."""

    ends: Mapping[str, int] = field(default_factory=dict)
    """File -> its last line, in the order of reading."""

    @property
    def total(self) -> int | None:
        """Return the lines of all files; None where nobody knows, or all is one line, as servers write JSON."""
        return sum(self.ends.values()) if max(self.ends.values(), default=0) > 1 else None

    def done(self, where: Where | None, *, number: int) -> int:
        """Return the lines up to a row with this place and number; the number where lines say nothing."""
        if self.total is None or where is None or where.path not in self.ends:
            return number
        lines = 0
        for path, end in self.ends.items():
            if path == where.path:
                break
            lines += end
        return lines + where.line
