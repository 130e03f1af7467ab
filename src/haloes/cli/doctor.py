"""`haloes doctor`: what is in a feedback file, and what is wrong with it."""

from typing import Annotated

from cyclopts import Parameter


def doctor(
    source: Annotated[str, Parameter(name=["FEEDBACK"])],
    /,
    *,
    model: str | None = None,
    columns: str | None = None,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())] = (),
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
        Which column is what, where names differ: completion=answer,label=thumb.
    settings
        Settings of the sections feedback and tokens, such as tokens.max_length=1024.
    """
    from haloes.cli.flags import flag_settings
    from haloes.cli.views.output import say_lines, show
    from haloes.errors import DataError
    from haloes.feedback.doctor.advice import advise
    from haloes.feedback.doctor.examine import examine
    from haloes.feedback.doctor.render import render
    from haloes.runs.config import make_config, parse_settings
    from haloes.runs.feedback_rows import grave, open_for_doctor

    config = make_config(flag_settings(source=source, model=model, columns=columns), parse_settings(settings))
    rows = open_for_doctor(config.feedback)
    findings = examine(rows)
    advice = advise(findings)
    say_lines(render(findings, advice))
    fatal = [one.finding for one in advice if one.severity == "error"]
    if model is not None and findings.num_accepted:
        from haloes.runs.token_doctor import examine_tokens

        report = examine_tokens(config, rows)
        say_lines(report.lines)
        show(report.previews)
        fatal += report.errors
    refused = {reason: tally.num for reason, tally in findings.refusals.items()}
    if not config.feedback.skip_refused and (reasons := grave(refused, findings.num_accepted)):
        fatal.append(
            f"{sum(refused[reason] for reason in reasons)} row(s) cannot be used ({', '.join(sorted(reasons))})"
        )
    if fatal:
        raise DataError(f"{source}: `haloes train` will not start: {'; '.join(fatal)}")
