"""`haloes losses`: the losses explained, drawn, and chosen."""

from typing import Annotated

from cyclopts import App, Parameter

from haloes.cli.flags import Out, Settings

losses = App(
    name="losses",
    help="List the losses, with what they need and where they are from; explain, plot or recommend them.",
)


@losses.default
def every() -> None:
    """List the losses, with what they need and where they are from; explain, plot or recommend them."""
    from haloes.cli.views.losses import overview
    from haloes.cli.views.output import say
    from haloes.cli.views.output import show as shown
    from haloes.guide.explain import explain_all

    shown(overview(explain_all()))
    say("One of them in full: haloes losses show NAME")


@losses.command(alias="explain")
def show(name: str, /) -> None:
    """Explain a loss: its formula, its dials, what can be set and where the defaults come from, when to use it.

    Parameters
    ----------
    name
        A loss of the list, or path/to/file.py:Class.
    """
    from haloes.losses.table import check_loss_name

    check_loss_name(name)
    from haloes.cli.views.losses import screen  # after the check, as they bring torch in
    from haloes.cli.views.output import show as shown
    from haloes.guide.explain import explain, halo_verdict

    shown(screen(explain(name), halo_verdict(name)))


@losses.command
def recommend(
    source: Annotated[str, Parameter(name=["FEEDBACK"])],
    /,
    *,
    columns: str | None = None,
    settings: Settings = (),
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
    from haloes.api.arguments import argument_settings
    from haloes.cli.views.output import say
    from haloes.cli.views.output import show as shown
    from haloes.progress.display import Display
    from haloes.runs.config_layers import make_config
    from haloes.runs.early_checks import check_feedback_exists
    from haloes.runs.read_settings import parse_settings

    config = make_config(argument_settings(feedback=source, columns=columns), parse_settings(settings))
    check_feedback_exists(config.feedback)
    from haloes.cli.views.losses import recommendation  # after the check, as they bring torch in
    from haloes.guide.recommend import recommend_losses

    with Display(patience=2.0) as progress:
        recommended = recommend_losses(config.feedback, progress)
    shown(recommendation(recommended))
    say(recommended.command)  # as it is: a line that is broken cannot be copied


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
    from haloes.guide.page import losses_page

    say(losses_page().rstrip())


@losses.command
def plot(
    names: Annotated[list[str], Parameter(name=["NAME"])],
    /,
    *,
    span: Annotated[tuple[float, float] | None, Parameter(name=["--range"], negative=())] = None,
    out: Out = None,
    settings: Settings = (),
) -> None:
    """Draw the human value that losses imply, against the reward of an answer, and their gradients.

    Desirable answers are drawn solid, undesirable ones dashed. Values are up to a constant, and 0 at 0.

    Parameters
    ----------
    names
        Losses of the list, or path/to/file.py:Class.
    span
        The rewards to look at, such as --range -20 20; by default until the slowest loss is flat.
    out
        Also write the picture as this SVG file.
    settings
        Hyperparameters, such as loss.beta=1; each is set in those losses that have it.
    """
    from haloes.cli.views.output import say, width
    from haloes.cli.views.output import show as shown
    from haloes.losses.table import check_loss_name

    for name in names:
        check_loss_name(name)
    from haloes.guide.curves import loss_panels, section_of_loss
    from haloes.report.plot import terminal
    from haloes.report.plot_svg import write_svg
    from haloes.runs.read_settings import parse_settings

    panels = loss_panels(names, settings=section_of_loss(parse_settings(settings)), span=span)
    shown(line for panel in panels for line in [*terminal(panel, width=width()), ""])
    if out is not None:
        write_svg(panels, out)
        say(f"The picture is in {out}")
