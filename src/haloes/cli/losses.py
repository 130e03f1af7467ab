"""`haloes losses`: the losses explained, drawn, and chosen."""

from cyclopts import App

losses = App(
    name="losses",
    help="List the losses, with what they need and where they are from; explain, plot or recommend them.",
)


@losses.default
def every() -> None:
    """List the losses, with what they need and where they are from; explain, plot or recommend them."""
    from haloes.cli.output import say, show
    from haloes.recipes.losses.explain import grouped
    from haloes.recipes.losses.screen import overview

    show(overview(grouped()))
    say("One of them in full: haloes losses show NAME")


@losses.command
def show(name: str, /) -> None:
    """Explain a loss: its formula, its dials, what can be set and where the defaults come from, when to use it.

    Parameters
    ----------
    name
        A loss of the list, or path/to/file.py:Class.
    """
    from haloes.cli.output import show as shown
    from haloes.recipes.losses.explain import explain
    from haloes.recipes.losses.screen import screen

    shown(screen(explain(name)))
