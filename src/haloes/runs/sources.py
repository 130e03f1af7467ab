"""
The files of feedback that a run reads, as they were when it read them: a log may grow while its run trains.

A resumed run goes on with what it read. What was added at the end of a file since then is no part of it; a file whose
old part changed is another one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from haloes.runs.config import FeedbackSettings
from haloes.runs.feedback_rows import feedback_source
from haloes.store import is_gzipped

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A file, folder or data set of feedback, as far as the run reads it."""

    path: str
    digest: str
    """Hash of its bytes, or what a data set carries in place of one."""
    size: int | None
    """How many of its bytes the run reads; None of what is no file."""
    added: int = 0
    """Bytes that were added since."""

    @property
    def note(self) -> str:
        """Return in a sentence that it has grown."""
        return f"{self.path} has grown by {self._in_words()} since this run began: they are not part of it"

    def _in_words(self) -> str:
        if is_gzipped(self.path):
            return f"{self.added:,} bytes"
        with Path(self.path).open("rb") as stream:
            stream.seek(self.size or 0)
            lines = sum(1 for line in stream if line.strip())
        return f"{lines:,} line{'' if lines == 1 else 's'}"


def read_sources(settings: FeedbackSettings, sizes: Sequence[int | None] = ()) -> list[Source]:
    """
    Hash the source and, where there is one, the file of held-out rows; raise DataError for one that cannot be read.

    Args:
        settings: where they are, and how they are read.
        sizes: how many bytes an earlier part of the run read of each; nothing for a new run.
    """
    found = []
    for i, path in enumerate(path for path in (settings.source, settings.validation) if path):
        source = feedback_source(path, settings)
        if Path(path).is_file():
            found.append(_read_file(Path(path), sizes[i] if i < len(sizes) else None))
        else:
            found.append(Source(path, source.fingerprint(), None))
    return found


def _read_file(path: Path, size: int | None) -> Source:
    """Hash as many bytes as were read earlier, where new lines follow them, and else all."""
    code, done = hashlib.sha256(), 0
    with path.open("rb") as stream:
        if size is not None and _is_followed_by_lines(path, size):
            while done < size and (block := stream.read(min(_BLOCK, size - done))):
                code.update(block)
                done += len(block)
            return Source(str(path), code.hexdigest(), done, path.stat().st_size - done)
        while block := stream.read(_BLOCK):
            code.update(block)
            done += len(block)
    return Source(str(path), code.hexdigest(), done)


def _is_followed_by_lines(path: Path, size: int) -> bool:
    """Return whether a file has more bytes than these, and its line ends with them."""
    if not 0 < size < path.stat().st_size:
        return False
    with path.open("rb") as stream:
        stream.seek(size - 1)
        # A compressed log grows by whole parts.
        return b"\n" in stream.read(2) or is_gzipped(path)
