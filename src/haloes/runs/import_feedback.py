"""Feedback from a tool's server: its pages into a folder, and what they hold as canonical records."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError, DataError, RunError
from haloes.feedback.importers.reader import ExportReader
from haloes.feedback.live.contract import LiveSource
from haloes.feedback.live.fetching import Fetching, Server
from haloes.feedback.live.pages import Pages
from haloes.feedback.live.since import read_since
from haloes.feedback.live.table import SOURCES
from haloes.locks import hold_folder
from haloes.progress.contract import Progress
from haloes.remote.client import Endpoint
from haloes.runs.config import FeedbackSettings
from haloes.runs.convert import Written, write_records
from haloes.runs.feedback_rows import feedback_source
from haloes.store import read_json, write_json

_REQUEST = ".import.json"
"""File in the folder of pages that says what they are of. Its name begins with a dot: it is no data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import wrote."""

    pages: Path
    """Folder of the pages."""
    written: Written


def pages_folder(out: Path, source: str) -> Path:
    """Return the folder beside `out` in which a source's pages are kept."""
    return out.with_name(f"{out.name.partition('.')[0]}.{source}")


def import_records(
    name: str, out: Path, settings: FeedbackSettings, *, since: str, pairs: bool, progress: Progress
) -> Imported:
    """
    Fetch the feedback of a live source, as far as its pages are not kept already, and write it as records.

    Args:
        name: the live source.
        out: `.jsonl`, `.jsonl.gz` or `.parquet`, written whole or not at all.
        settings: how the pages are read; `source` and `format` are theirs.
        since: how far back (see `read_since`).
        pairs: write pairs instead of single labelled answers.
        progress: told how far it is.

    Raises:
        ConfigError: no such source, a key is missing, or it is to be said which of several scores is meant.
        RunError: the server gives nothing usable, or the folder holds another import.
        DataError: no row can be used.
    """
    source = _source(name)
    if not out.name.endswith((".jsonl", ".jsonl.gz", ".parquet")):
        raise ConfigError(f"{out}: give a name that ends in .jsonl, .jsonl.gz or .parquet")
    folder = pages_folder(out, source.name)
    with hold_folder(folder):
        _fetch(source, folder, settings, since=since, progress=progress)
        settings = replace(settings, source=str(folder), format=source.importer)
        _check_metric(settings, source)
        return Imported(pages=folder, written=write_records(settings, out, pairs=pairs, progress=progress))


def _source(name: str) -> LiveSource:
    if name not in SOURCES:
        raise ConfigError(f"{name!r} is none of the sources that can be imported from: {', '.join(SOURCES)}")
    return SOURCES[name]


def _fetch(source: LiveSource, folder: Path, settings: FeedbackSettings, *, since: str, progress: Progress) -> None:
    from_time, until, address = _asked(folder, source, since)
    with closing(Server(_the_same(source.endpoint, address))) as server:
        source.fetch(
            Fetching(
                server=server,
                pages=Pages(folder),
                since=from_time,
                until=until,
                voters=frozenset(settings.voters),
                progress=progress,
            )
        )
    kept = Pages(folder)
    if not any(page.rows for path in folder.glob("*.jsonl") for page in kept.read(path.stem)):
        whose = " or ".join(settings.voters)
        raise DataError(
            f"{source.product} has no scores of {whose} voters since {since}; to ask again, delete {folder}"
        )
    progress.note(f"pages of {source.product} up to {until:%Y-%m-%d %H:%M} UTC are kept in {folder}")


def _the_same(endpoint: Callable[[], Endpoint], address: str) -> Callable[[], Endpoint]:
    """Return the function that gives the endpoint, and refuses another server than that of the pages."""

    def the_same() -> Endpoint:
        made = endpoint()
        if made.base_url != address:
            raise RunError(f"the pages that are kept are of {address}, and not of {made.base_url}; give another --out")
        return made

    return the_same


def _asked(folder: Path, source: LiveSource, since: str) -> tuple[datetime, datetime, str]:
    """Return the times and the server that an import is of: those of the first call, which a later one goes on with."""
    path = folder / _REQUEST
    if path.is_file() and any(folder.glob("*.jsonl")):
        return _asked_before(path, since)
    now = datetime.now(UTC)
    from_time = read_since(since, now=now)
    address = source.endpoint().base_url  # a missing key is told before anything is written
    times = {"from": from_time.isoformat(), "until": now.isoformat()}
    write_json(path, {"source": source.name, "server": address, "since": since, **times})
    return from_time, now, address


def _asked_before(path: Path, since: str) -> tuple[datetime, datetime, str]:
    request: Any = read_json(path)
    try:
        said, address = str(request["since"]), str(request["server"])
        from_time, until = (datetime.fromisoformat(request[name]) for name in ("from", "until"))
    except (TypeError, LookupError, ValueError) as error:
        raise DataError(f"{path}: this does not say what was fetched; delete {path.parent}, and fetch anew") from error
    if said != since:
        raise RunError(
            f"{path.parent} holds the pages of an import since {said}, and not since {since}; give another --out, or "
            f"delete that folder to fetch anew"
        )
    return from_time, until, address


def _check_metric(settings: FeedbackSettings, source: LiveSource) -> None:
    """Raise ConfigError where scores have several names and none was chosen, or none has the name that was."""
    reader = feedback_source(settings.source, replace(settings, metric=None)).reader
    names = reader.first_look().metrics if isinstance(reader, ExportReader) else {}
    shown = ", ".join(f"{name!r} ({count})" for name, count in names.items())
    if settings.metric is None and len(names) > 1:
        raise ConfigError(f"{source.product} has scores of {len(names)} names: {shown}; choose one with --score NAME")
    if settings.metric is not None and names and settings.metric not in names:
        raise ConfigError(f"{source.product} has no score {settings.metric!r} there; it has {shown}")
