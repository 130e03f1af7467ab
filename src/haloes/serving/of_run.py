"""What of a run is served: its model and the one before training, and what of it can be compared."""

from pathlib import Path

from haloes.run_files import SAMPLES
from haloes.runs.config import FeedbackSettings
from haloes.runs.prompts import load_asked
from haloes.sampling.run import read_completions
from haloes.serving.app import Site
from haloes.serving.comparing import Contest
from haloes.serving.local import Local
from haloes.serving.store import Store

AFTER, BEFORE = "after", "before"


def models_of(run: Path) -> Local:
    """Load a run's model and the one before training."""
    from haloes.runs.engines import make_engine  # brings torch in
    from haloes.runs.run_folder import read_config
    from haloes.sampling.transformers_engine import TransformersEngine

    settings = read_config(run).model
    engines = {
        AFTER: make_engine(str(run), name=AFTER),
        BEFORE: make_engine(settings.start, name=BEFORE, dtype=settings.dtype),
    }
    return Local({name: engine for name, engine in engines.items() if isinstance(engine, TransformersEngine)})


def site_of_run(run: Path, store: Store, *, prompts: str | None) -> Site:
    """
    Load what is served of a run.

    Args:
        run: the run's folder.
        store: where answers and votes are kept.
        prompts: what is compared on; None: the run's held-out prompts.
    """
    contest = contest_of(run, prompts)
    return Site(store=store, backend=models_of(run), contest=contest, run=str(run))


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
