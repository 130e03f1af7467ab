"""The identity of a run: hashes, by name, of what decides its result. It must not change until the run is done."""

from collections.abc import Mapping

from haloes.errors import RunError


def changed_names(earlier: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """
    Return the names of what changed between a run's earlier identity and the present one.

    A name that the earlier one lacks has not changed: an older haloes hashed less.
    """
    return [name for name, value in now.items() if name in earlier and earlier[name] != value]


def refuse_changes(earlier: Mapping[str, str], now: Mapping[str, str], *, was: str, kept: str = "") -> None:
    """
    Raise RunError where a run's identity differs from the earlier one, naming what changed.

    Args:
        earlier: the identity that the run had.
        now: the identity that the run has.
        was: the beginning of the message: what was written, ending in "by" or "with".
        kept: where the original is, in brackets; empty where nothing of it is kept.
    """
    changed = changed_names(earlier, now)
    if changed:
        raise RunError(
            f"{was} another {' and '.join(changed)}; restore the original{kept and ' '}{kept}, start a new run, "
            "or go on with the changed one all the same: --allow-changes"
        )
