"""`haloes refusals`: how many answers refuse, by a judge."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from haloes.api.arguments import JudgeName
from haloes.cli.flags import NO_JUDGE_OPTIONS, JudgeOptions, Out, Settings


def refusals(
    answers: Annotated[Path, Parameter(name=["ANSWERS"])],
    /,
    *,
    kind: Annotated[JudgeName, Parameter(name=["--judge", "-j"])],
    out: Out = None,
    model: str | None = None,
    judging: JudgeOptions = NO_JUDGE_OPTIONS,
    most: int | None = None,
    again: Annotated[bool, Parameter(negative=())] = False,
    seed: int = 0,
    settings: Settings = (),
) -> None:
    """Ask a judge whether each answer refuses; stopped, the same command goes on with it.

    `haloes eval` looks for phrases, which find between 0.2 and 0.9 of a model's refusals. A judge reads each answer
    twice, with its two possible replies in either order. How often it is wrong stands in no interval: GPT-4, as the
    authors of XSTest asked it, found 0.16 to 0.91 of a model's refusals. Read some of its verdicts.

    Parameters
    ----------
    answers
        A run's folder (its answers before and after training), or a file of answers, of one model or several.
    kind
        http: a chat model on an OpenAI-compatible server; local: a language model in this process; rule: a Python
        function. No reward model, which reads no question.
    out
        The file of judgements (.jsonl); refusals.jsonl in the run's folder, or here.
    model
        Who judges: a name on the server, or a model's folder or hub name.
    judging.rule
        package.module:function or file.py:function, called with (prompt, first, second): the prompt ends with the
        answer, and the two are statements about it, that it refuses and that it does not, in either order; gives back
        "first" or "second", whichever is true, or None.
    judging.template
        The judge's prompt: a file; refusal if left out.
    most
        Ask about the answers to so many prompts at most.
    again
        Ask again where an earlier reply holds no verdict, which otherwise stays as it is.
    seed
        Of the delimiters around the texts; sent to the server.
    settings
        Further settings of the judge, such as timeout=30, concurrency=8, price_prompt=2.5.
    """
    import haloes.api.judging
    from haloes.cli.views.judging import judging_into, left_undone, say_refusals
    from haloes.cli.views.output import say
    from haloes.errors import RunError
    from haloes.runs.read_settings import parse_settings

    file = out or haloes.api.judging.refusals_path(answers)
    with judging_into(file) as progress:
        asked = haloes.api.judging.refusals(
            answers,
            judge=kind,
            out=file,
            model=model,
            **asdict(judging),
            most=most,
            again=again,
            seed=seed,
            settings=parse_settings(settings),
            progress=progress,
        )
    say_refusals(asked)
    if asked.report is not None:
        say(f"Report: {asked.report}")
    if (text := left_undone(asked)) is not None:
        raise RunError(text)
