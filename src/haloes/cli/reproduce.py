"""`haloes reproduce`: experiments of the KTO paper on feedback of one's own."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

reproduce = App(name="reproduce", help="Experiments of the KTO paper, small but real, on feedback of one's own.")
reproduce.command("haloes.cli.sentiment:sentiment", name="sentiment")
Out = Annotated[Path | None, Parameter(name=["--out", "-o"])]
Settings = Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())]


@reproduce.command
def families(
    source: Annotated[str, Parameter(name=["FEEDBACK"])],
    /,
    *,
    columns: str | None = None,
    only: str | None = None,
    lrs: str = "3e-4,1e-3",
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
    from haloes.cli.views.experiments import experiment, show_families
    from haloes.errors import ConfigError
    from haloes.recipes.reproduce.families import BASELINE, METHODS
    from haloes.recipes.reproduce.families import families as compare
    from haloes.recipes.reproduce.sets import Sizes

    chosen = [name.strip() for name in only.split(",")] if only else list(METHODS)
    if unknown := set(chosen) - set(METHODS):
        raise ConfigError(f"--only: there is no method {min(unknown)!r}. There are: {', '.join(METHODS)}")
    kwargs: dict[str, Any] = {
        "sizes": Sizes(train=rows, tune=rows // 2, test=test_rows),
        "methods": [BASELINE, *(name for name in chosen if name != BASELINE)],
        "lrs": [float(lr) for lr in lrs.split(",")],
        "seeds": range(seeds),
    }
    show_families(*experiment(compare, kwargs, source=source, columns=columns, out=out, settings=settings))


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
    from haloes.cli.views.experiments import experiment, show_imbalance
    from haloes.recipes.reproduce.imbalance import imbalance as compare
    from haloes.recipes.reproduce.sets import Sizes

    kwargs: dict[str, Any] = {
        "sizes": Sizes(train=rows, tune=rows // 2, test=test_rows),
        "lr": lr,
        "shares": [float(share) for share in shares.split(",")],
        "seeds": range(seeds),
    }
    show_imbalance(*experiment(compare, kwargs, source=source, columns=columns, out=out, settings=settings))
