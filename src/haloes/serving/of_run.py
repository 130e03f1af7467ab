"""What of a run is served: its model and the one before training, and what of it can be compared."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TypeAlias

from haloes.run_files import MODEL, SAMPLES
from haloes.runs.config import FeedbackSettings
from haloes.runs.prompts import load_asked
from haloes.sampling.run import read_completions
from haloes.serving.app import Site
from haloes.serving.comparing import Contest
from haloes.serving.local import Local
from haloes.serving.models import Models
from haloes.serving.scoring import Scoring
from haloes.serving.store import Store

AFTER, BEFORE = "after", "before"
Shown: TypeAlias = Callable[[], AbstractContextManager[object]]


def models_of(run: Path, shown: Shown = nullcontext) -> Models:
    """Return a run's model and the one before training, of which none is loaded yet."""
    from haloes.runs.engines import make_transformers_engine  # brings torch in
    from haloes.runs.run_folder import read_config

    settings = read_config(run).model
    loaders = {
        AFTER: partial(make_transformers_engine, str(run), name=AFTER),
        BEFORE: partial(make_transformers_engine, settings.start, name=BEFORE, dtype=settings.dtype),
    }
    return Models(loaders, shown)


def site_of_run(run: Path, store: Store, *, prompts: str | None, shown: Shown = nullcontext) -> Site:
    """
    Return what is served of a run; its models are loaded when the server starts.

    Args:
        run: the run's folder.
        store: where answers and votes are kept.
        prompts: what is compared on; None: the run's held-out prompts.
        shown: is open while the models are loaded.
    """
    local = Local(models_of(run, shown))
    scoring = Scoring(store, local, policy=AFTER, reference=BEFORE, run=weights_of(run))
    return Site(store=store, backend=local, contest=contest_of(run, prompts), run=str(run), beside=scoring.go_on)


def weights_of(run: Path) -> str:
    """Return what stands for a run's weights without reading them: place, size and time of its model's files."""
    files = sorted(path for path in (run / MODEL).iterdir() if path.is_file())
    known = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr((str(run.resolve()), known)).encode()).hexdigest()


def contest_of(run: Path, prompts: str | None) -> Contest:
    """
    Return the comparison of a run's model with the one before, on its held-out prompts unless others are named.

    Answers that the run gave when it ended are shown before any is made: they are those that judges see as well.
    """
    answers = read_completions(run) if (run / SAMPLES).is_file() else []
    ready = {(answer.prompt_id, answer.model): answer for answer in answers if answer.model in (AFTER, BEFORE)}
    ready = {key: answer for key, answer in ready.items() if not answer.only_thinks}
    known = {} if prompts is None and not answers else load_asked(prompts or str(run), FeedbackSettings())
    return Contest(candidate=AFTER, baseline=BEFORE, prompts=known, ready=ready)
