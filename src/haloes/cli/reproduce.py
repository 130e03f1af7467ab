"""`haloes reproduce`: experiments of the KTO paper on feedback of one's own."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import App, Parameter

from haloes.cli.flags import Out, Settings
from haloes.cli.views.output import say

reproduce = App(name="reproduce", help="Experiments of the KTO paper, small but real, on feedback of one's own.")
Files = Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=False)]
Result = TypeVar("Result")


@reproduce.command
def families(
    source: Annotated[str, Parameter(name=["FEEDBACK"])],
    /,
    *,
    columns: str | None = None,
    only: str | None = None,
    lrs: str = "3e-4,1e-3",
    tune_by: str = "auc",
    seeds: int = 3,
    rows: int = 128,
    test_rows: int = 160,
    out: Out = None,
    settings: Settings = (),
) -> None:
    """Compare SFT, CSFT, SLiC, offline PPO, DPO, ORPO, KTO and KTO's ablations on the same feedback and budget.

    Each method's learning rate and its own hyperparameter are tuned on answers that are set aside; the table is of
    other answers still. Stopped with Ctrl-C, the same command goes on with it.

    Parameters
    ----------
    source
        A feedback file with thumbs or pairs.
    columns
        Which column is what, where names differ: completion=answer,label=thumb.
    only
        Some of the methods, separated by commas; KTO is among them in any case.
    lrs
        Learning rates to choose from.
    tune_by
        What settings are chosen by: auc, or auc_length_controlled, of answers of about the same length.
    seeds
        Runs of each method with the settings that were chosen.
    rows
        Rated answers to train on; half as many to tune on.
    test_rows
        Rated answers to report on.
    out
        The experiment's folder; runs/families-<file> if left out.
    settings
        Any setting as section.key=value, such as model.lora.rank=16.
    """
    from haloes.feedback.containers import check_exists

    check_exists(source)
    from haloes.cli.views.experiments import show_families  # after the check, as they bring torch in
    from haloes.errors import ConfigError
    from haloes.recipes.reproduce.families import BASELINE, METHODS, TUNE_BY
    from haloes.recipes.reproduce.families import families as compare
    from haloes.recipes.reproduce.page import families_page
    from haloes.recipes.reproduce.sets import SetSizes
    from haloes.store import write_text

    methods = [name.strip() for name in only.split(",")] if only else list(METHODS)
    if unknown := set(methods) - set(METHODS):
        raise ConfigError(f"--only: there is no method {min(unknown)!r}. There are: {', '.join(METHODS)}")
    if tune_by not in TUNE_BY:
        raise ConfigError(f"--tune-by: there is no {tune_by!r}. There are: {', '.join(TUNE_BY)}")
    given: dict[str, Any] = {
        "tune_by": tune_by,
        "sizes": SetSizes(train=rows, tune=rows // 2, test=test_rows),
        "methods": [BASELINE, *(name for name in methods if name != BASELINE)],
        "lrs": [float(lr) for lr in lrs.split(",")],
        "seeds": range(seeds),
    }
    result, folder = _carry_out(compare, given, source=source, columns=columns, out=out, settings=settings)
    write_text(folder / "families.md", families_page(result))
    show_families(result)


@reproduce.command
def imbalance(
    source: Annotated[str, Parameter(name=["FEEDBACK"])],
    /,
    *,
    columns: str | None = None,
    lr: float = 1e-3,
    shares: str = "1,0.5,0.25,0.1",
    seeds: int = 3,
    rows: int = 128,
    test_rows: int = 160,
    out: Out = None,
    settings: Settings = (),
) -> None:
    """Train KTO with ever fewer desirable answers, with class weights by the paper's rule and without.

    Parameters
    ----------
    source
        A feedback file with thumbs or pairs.
    columns
        Which column is what, where names differ: completion=answer,label=thumb.
    lr
        Learning rate of all runs.
    shares
        Shares of the desirable answers that are kept.
    seeds
        Runs of each.
    rows
        Rated answers to train on, before any are left out.
    test_rows
        Rated answers to report on.
    out
        The experiment's folder; runs/imbalance-<file> if left out.
    settings
        Any setting as section.key=value.
    """
    from haloes.feedback.containers import check_exists

    check_exists(source)
    from haloes.cli.views.experiments import show_imbalance  # after the check, as they bring torch in
    from haloes.recipes.reproduce.imbalance import imbalance as compare
    from haloes.recipes.reproduce.page import imbalance_page
    from haloes.recipes.reproduce.sets import SetSizes
    from haloes.store import write_text

    given: dict[str, Any] = {
        "sizes": SetSizes(train=rows, tune=rows // 2, test=test_rows),
        "lr": lr,
        "shares": [float(share) for share in shares.split(",")],
        "seeds": range(seeds),
    }
    result, folder = _carry_out(compare, given, source=source, columns=columns, out=out, settings=settings)
    write_text(folder / "imbalance.md", imbalance_page(result))
    show_imbalance(result)


@reproduce.command
def sentiment(
    prompts: Annotated[Path, Parameter(name=["PROMPTS"])],
    test_prompts: Annotated[Path, Parameter(name=["TEST_PROMPTS"])],
    /,
    *,
    reviews: Files,
    test_reviews: Files,
    only: str = "kto,dpo,sft",
    betas: str = "0.1,0.5",
    lrs: str = "1e-3,3e-3",
    seeds: int = 1,
    most: int = 96,
    per_prompt: int = 4,
    test_most: int = 128,
    max_new_tokens: int = 40,
    wording: str = "Continue this movie review: {}",
    out: Out = None,
    settings: Settings = (),
) -> None:
    """Controlled sentiment: KTO, DPO and SFT learn from a sentiment scorer's thumbs; reward against divergence.

    The scorer is fitted here, on labelled reviews. Stopped with Ctrl-C, the same command goes on with it.

    Parameters
    ----------
    prompts
        Openings of reviews to learn on: JSONL with `prompt`.
    test_prompts
        Other openings, to measure on.
    reviews
        Labelled reviews (JSONL with `text`, and a `label` that is true for positive) to fit the scorer on; may be given
        several times.
    test_reviews
        Labelled reviews to measure the scorer on.
    only
        Some of the methods.
    betas
        For KTO and DPO.
    lrs
        Learning rates.
    seeds
        Runs of each setting.
    most
        Openings to learn on.
    per_prompt
        Continuations of each that are rated.
    test_most
        Openings to measure on.
    max_new_tokens
        Most tokens of a continuation.
    wording
        How the model is asked; {} is the opening.
    out
        The experiment's folder; runs/sentiment-<prompts> if left out.
    settings
        Any setting as section.key=value.
    """
    from haloes.cli.views.experiments import show_sentiment
    from haloes.errors import ConfigError
    from haloes.recipes.reproduce.sentiment import METHODS, SentimentSizes, openings
    from haloes.recipes.reproduce.sentiment import sentiment as compare

    methods = [name.strip() for name in only.split(",")]
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise ConfigError(f"--only: there is no method {unknown[0]!r}. There are: {', '.join(METHODS)}")
    sizes = SentimentSizes(prompts=most, per_prompt=per_prompt, test_prompts=test_most, max_new_tokens=max_new_tokens)
    given: dict[str, Any] = {
        "reviews": reviews,
        "test_reviews": test_reviews,
        "asked": openings(prompts, test_prompts, sizes, wording=wording),
        "sizes": sizes,
        "methods": methods,
        "betas": [float(beta) for beta in betas.split(",")],
        "lrs": [float(lr) for lr in lrs.split(",")],
        "seeds": range(seeds),
    }
    result, _ = _carry_out(compare, given, source=str(prompts), out=out, settings=settings)
    show_sentiment(result)


def _carry_out(
    run: Callable[..., Result],
    given: Mapping[str, Any],
    *,
    source: str,
    columns: str | None = None,
    out: Path | None,
    settings: Sequence[str],
) -> tuple[Result, Path]:
    """Carry an experiment out with a line for each of its runs; return its result and the folder that holds it."""
    from haloes.api.arguments import argument_settings
    from haloes.errors import Interrupted
    from haloes.recipes.reproduce.trials import experiment_config
    from haloes.runs.process import stop_on_interrupt
    from haloes.runs.read_settings import parse_settings

    config = experiment_config(source, argument_settings(columns=columns), parse_settings(settings))
    folder = out or Path("runs") / f"{run.__name__}-{Path(source).name.split('.')[0]}"
    began = time.perf_counter()

    def show(trial: str, done: int, total: int) -> None:
        minutes = (time.perf_counter() - began) / 60
        say(f"[{done}/{total}, {minutes:.0f} min] {trial}")

    try:
        with stop_on_interrupt() as stop:
            result = run(config, folder, stop=stop, on_run=show, **given)
    except Interrupted as stopped:
        raise KeyboardInterrupt(f"stopped; the same command goes on with what is in {folder}") from stopped
    say(f"{(time.perf_counter() - began) / 60:.0f} minutes; everything is in {folder}")
    return result, folder
