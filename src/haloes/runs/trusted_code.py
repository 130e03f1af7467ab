"""
Whose code a resumed run may run: a run's folder may come from anybody, and its `config.yaml` names Python files.

What this user trained with is written down outside of all runs, in the user's state folder, as one small file for each
class or function with the hashes of its files; and for each server that judged, with the name of its key. It is not in
the cache, which may be shared with others or deleted. Where there is no such file, as on another machine, the user is
asked to look, and to say `--trust-run-code`.
"""

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from haloes.errors import RunError
from haloes.run_files import CONFIG
from haloes.runs.config import RunConfig, as_mapping
from haloes.runs.named_code import named_code, sha256, sources
from haloes.runs.run_folder import check_identity
from haloes.runs.user_code import code_identity, code_of
from haloes.store import write_json

_SERVER = "judge's server"
_WRITABLE_BY_OTHERS = 0o022


def state_dir() -> Path:
    """Return `$XDG_STATE_HOME/haloes`, else `~/.local/state/haloes`; it need not exist yet."""
    given = os.environ.get("XDG_STATE_HOME")
    return (Path(given) if given else Path.home() / ".local" / "state") / "haloes"


def remember(config: RunConfig) -> str | None:
    """Write down that this user runs what a configuration names; return why it cannot be written, if so."""
    for _, record in _reached(as_mapping(config)):
        try:
            path = _place(record)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(path, record)
        except (OSError, RuntimeError) as error:  # a home that is read-only, or none
            return (
                f"that this run's own code is yours cannot be written down ({error}); to resume it, add "
                "--trust-run-code"
            )
    return None


def check_resumed_code(
    run_dir: Path, config: RunConfig, *given: Mapping[str, Any], allow_changes: bool, trusted: bool
) -> None:
    """
    Refuse code and servers that a resumed run names, before anything is imported or asked.

    Args:
        run_dir: the run's folder.
        config: the settings that the run is resumed with.
        given: those of them that the user has given now, whose code is the user's word.
        allow_changes: whether the code may be another than the run was started with.
        trusted: whether the user says that the code of this run may be run.

    Raises:
        RunError: it is another than the run was started with, or not known to be this user's.
    """
    sections = as_mapping(config)
    if not allow_changes:
        check_identity(run_dir, code_identity(tuple(code_of(named_code(sections)))))
    if trusted:
        return
    said = [_is_about(record) for layer in given for _, record in _reached(layer)]
    strange = [
        f"{setting} is {_shown(record)}"
        for setting, record in _reached(sections)
        if _is_about(record) not in said and not _is_known(record)
    ]
    if strange:
        raise RunError(
            f"{run_dir / CONFIG} names what you have not trained with before: {'; '.join(strange)}. Read it, and if "
            f"you trust it: haloes resume --trust-run-code {shlex.quote(str(run_dir))}"
        )


def _reached(sections: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the settings that lead to code or to a server, each with what is known of that."""
    for code in named_code(sections):
        place, _, attribute = code.name.rpartition(":")
        if not place.endswith(".py"):
            yield code.setting, {"role": code.role, "name": code.name, "files": _hashes(code.file)}
        # What is not there cannot be run; who loads it tells of it.
        elif code.file is not None:
            name = f"{code.file.absolute()}:{attribute}"
            yield code.setting, {"role": code.role, "name": name, "files": _hashes(code.file)}
    judge = (sections.get("watch") or {}).get("judge") or {}
    if url := judge.get("base_url"):
        # It is sent the key that lies in this variable.
        yield "watch.judge.base_url", {"role": _SERVER, "name": str(url), "key": judge.get("key_env"), "files": {}}


def _is_about(record: Mapping[str, Any]) -> tuple[str, str]:
    return record["role"], record["name"]


def _hashes(file: Path | None) -> dict[str, str]:
    """Return the hash of each file that belongs to a Python file, by its place."""
    found = {} if file is None else sources(file)
    return {str(path.absolute()): sha256(content) for path, content in found.items()}


def _is_known(record: Mapping[str, Any]) -> bool:
    """Return whether this user trained with this very code or server."""
    # The script that runs now is the user's word.
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is not None and record["name"].rpartition(":")[0] == str(Path(script).absolute()):
        return True
    try:
        path = _place(record)
        # A folder that others can write says nothing of this user.
        folder = path.parent.stat()
        return path.is_file() and folder.st_uid == os.getuid() and not folder.st_mode & _WRITABLE_BY_OTHERS
    except (OSError, RuntimeError):
        return False


def _place(record: Mapping[str, Any]) -> Path:
    return state_dir() / "code" / f"{hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()}.json"


def _shown(record: Mapping[str, Any]) -> str:
    """Return what a record is about in words, with the hash of each file."""
    files = ", ".join(f"{path} with sha256 {digest}" for path, digest in record["files"].items())
    key = f" (which is sent the key in {record['key']})" if record.get("key") else ""
    return f"{record['name']}{key}{files and f' ({files})'}"
