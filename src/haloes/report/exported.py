"""Files that a run's model was converted to, and how they compared with it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """One file, as `haloes export` writes it into the run's folder (`exports.jsonl`)."""

    file: str
    """Its name, without the folders of the machine on which it was made."""
    made: str
    """When, in ISO 8601."""
    compared: str
    """What was compared, and how it came out, in a sentence."""
    faults: tuple[str, ...] = ()
    """What is not as it should be; nothing where the file says what the model says."""

    @property
    def sentence(self) -> str:
        """Return what to know of the file."""
        if self.faults:
            return f"It does not say what the run's model says: {'; '.join(self.faults)}. {self.compared}"
        return self.compared
