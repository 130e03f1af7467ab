"""The identity of a run: hashes, by name, of what decides its result. It must not change until the run is done."""

from collections.abc import Mapping

from haloes.errors import RunError


def refuse_changes(earlier: Mapping[str, str], now: Mapping[str, str], *, was: str) -> None:
    """
    Raise RunError where a run's identity differs from the earlier one, naming what changed.

    Args:
        earlier: the identity that the run had. A name that it lacks refuses nothing: an older haloes hashed less.
        now: the identity that the run has.
        was: the beginning of the message: what was written, ending in "by" or "with".
    """
    changed = [name for name, value in now.items() if name in earlier and earlier[name] != value]
    if changed:
        raise RunError(
            f"{was} another {' and '.join(changed)}; restore the original, start a new run, "
            "or go on with the changed one all the same: --allow-changes"
        )
