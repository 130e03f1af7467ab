"""`haloes doctor`: what is in a feedback file, and what is wrong with it."""

from typing import Annotated

from cyclopts import Parameter

from haloes.cli.flags import Settings


def doctor(
    source: Annotated[str, Parameter(name=["FEEDBACK"])],
    /,
    *,
    model: str | None = None,
    columns: str | None = None,
    system: str | None = None,
    scrub: bool = False,
    settings: Settings = (),
) -> None:
    """Say what a feedback file holds and what is wrong with it, with file and line and what to do.

    The exit code is 2 where `haloes train` would not start with this file.

    Parameters
    ----------
    source
        A feedback file of any format, a saved data set, or a set's name on the hub.
    model
        Also look at the tokens as this model would be trained on them: the window, what is cut, and a preview.
    columns
        Which column is what, where names differ: completion=answer,label=thumb. Our names are prompt, completion,
        label, score; chosen, rejected; a, b, preference; messages, system; conversation, user, group, weight, margin.
    system
        A file with the system prompt, for rows that have none: exports of chats often lack it (feedback.system).
    scrub
        Put placeholders such as [EMAIL] for e-mail addresses, phone numbers, keys and the like (feedback.scrub).
    settings
        Settings of the sections feedback and tokens, such as tokens.max_length=1024.
    """
    from haloes.api.arguments import argument_settings, configured
    from haloes.api.feedback import training_errors
    from haloes.cli.views.output import say_lines, show
    from haloes.errors import DataError
    from haloes.feedback.doctor.render import render
    from haloes.progress.display import Display
    from haloes.runs.feedback_rows import tell_reading
    from haloes.runs.file_doctor import examine_file
    from haloes.runs.read_settings import parse_settings

    # The parts of `haloes.doctor`, each shown as soon as it is there: the tokens of a large file take their time.
    config = configured(
        None,
        argument_settings(feedback=source, model=model, columns=columns, system=system, scrub=scrub),
        parse_settings(settings),
    )
    with Display(patience=2.0) as progress:
        found = examine_file(config, progress=progress)
    say_lines([*found.reading, *render(found.findings, found.advice)])
    tokens = None
    if model is not None and found.findings.num_accepted:
        from haloes.runs.token_doctor import examine_tokens

        with Display(patience=2.0) as progress:
            tokens = examine_tokens(
                config.model.start,
                tell_reading(found.rows, progress, "encoding feedback"),
                config.tokens,
                reasoning=config.feedback.reasoning,
            )
        say_lines(tokens.lines)
        show(tokens.previews)
    if errors := training_errors(config, found.findings, found.advice, tokens):
        raise DataError(f"{source}: `haloes train` will not start: {'; '.join(errors)}")
