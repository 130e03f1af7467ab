"""`haloes reproduce sentiment`: reward against divergence, with a simulated human."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from haloes.cli.views.output import say, show

if TYPE_CHECKING:
    from haloes.recipes.reproduce.sentiment import Sentiment

Files = Annotated[tuple[Path, ...], Parameter(negative=(), consume_multiple=False)]


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
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())] = (),
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
    from haloes.cli.views.experiments import experiment
    from haloes.errors import ConfigError
    from haloes.recipes.reproduce.sentiment import METHODS, Sizes, openings
    from haloes.recipes.reproduce.sentiment import sentiment as compare

    methods = [name.strip() for name in only.split(",")]
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise ConfigError(f"--only: there is no method {unknown[0]!r}. There are: {', '.join(METHODS)}")
    sizes = Sizes(prompts=most, per_prompt=per_prompt, test_prompts=test_most, max_new_tokens=max_new_tokens)
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
    found, _ = experiment(compare, given, source=str(prompts), out=out, settings=settings)
    show_sentiment(found)


def show_sentiment(found: "Sentiment") -> None:
    """The points as a table."""
    from haloes.cli.views.tables import table

    if found.scorer is not None:
        score = found.scorer
        say(f"The scorer tells {score.value:.1%} ({score.low:.1%} to {score.high:.1%}) of held-out reviews right.")
    say(f"It likes {found.liked} of {found.rated} continuations that the methods learn from.")
    columns = ("Run", "Liked (95%)", "KL, nats (95%)", "Unbeaten")
    rows = [
        (
            point.name,
            f"{point.liked.value:.1%} ({point.liked.low:.1%} to {point.liked.high:.1%})",
            f"{point.kl.value:.2f} ({point.kl.low:.2f} to {point.kl.high:.2f})",
            "yes" if point.on_frontier else "",
        )
        for point in sorted(found.points, key=lambda point: point.kl.value)
    ]
    prompts = found.points[0].liked.num_clusters
    show([table(f"Continuations of {prompts} other openings", columns, rows, whole=columns)])
    say("Unbeaten: no other run is liked more at no more divergence.")
