"""`haloes losses`: the losses explained, drawn, and chosen."""

from typing import Annotated

from cyclopts import App, Parameter

losses = App(
    name="losses",
    help="List the losses, with what they need and where they are from; explain, plot or recommend them.",
)
losses.command(
    "haloes.cli.losses_plot:plot",
    name="plot",
    help="Draw the human value that losses imply, against the reward of an answer, and their gradients.",
)


@losses.default
def every() -> None:
    """List the losses, with what they need and where they are from; explain, plot or recommend them."""
    from haloes.cli.views.losses import overview
    from haloes.cli.views.output import say
    from haloes.cli.views.output import show as shown
    from haloes.guide.explain import grouped

    shown(overview(grouped()))
    say("One of them in full: haloes losses show NAME")


@losses.command
def show(name: str, /) -> None:
    """Explain a loss: its formula, its dials, what can be set and where the defaults come from, when to use it.

    Parameters
    ----------
    name
        A loss of the list, or path/to/file.py:Class.
    """
    from haloes.cli.views.losses import screen
    from haloes.cli.views.output import show as shown
    from haloes.guide.explain import explain, verdict

    shown(screen(explain(name), verdict(name)))


@losses.command
def recommend(
    source: Annotated[str, Parameter(name=["FEEDBACK"])],
    /,
    *,
    columns: str | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())] = (),
) -> None:
    """Say which losses apply to a feedback file and which suits it, with weights, beta, reasons and sources.

    Parameters
    ----------
    source
        A feedback file of any format, a saved data set, or a set's name on the hub.
    columns
        Which column is what, where names differ: completion=answer,label=thumb.
    settings
        Settings of the section feedback, such as feedback.labels_from='{rule: threshold, tau: 3}'.
    """
    from haloes.cli.flags import flag_settings
    from haloes.cli.views.losses import recommendation
    from haloes.cli.views.output import show as shown
    from haloes.guide.recommend import recommend as find
    from haloes.runs.config import make_config, parse_settings

    config = make_config(flag_settings(source=source, columns=columns), parse_settings(settings))
    shown(recommendation(find(config.feedback)))


@losses.command
def theory() -> None:
    """Carry out the KTO paper's theory: three statements, each computed exactly with the losses themselves."""
    from haloes.cli.views.output import say, say_lines
    from haloes.recipes.theory import contradictory_preferences, same_preferences, vanishing_gradients

    for program in (vanishing_gradients, same_preferences, contradictory_preferences):
        say((program.__doc__ or "").strip().partition("\n")[0])
        say()
        say_lines(program.lines())
        say()


@losses.command
def page() -> None:
    """Print the documentation's page of losses, as Markdown."""
    from haloes.cli.views.output import say
    from haloes.guide.page import page as markdown

    say(markdown().rstrip())
