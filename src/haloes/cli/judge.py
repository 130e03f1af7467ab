"""`haloes judge`: which of two models' answers are preferred."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from haloes.api.arguments import JudgeName
from haloes.cli.flags import NO_JUDGE_OPTIONS, JudgeOptions, Out, Settings


def judge(
    answers: Annotated[Path, Parameter(name=["ANSWERS"])],
    other: Annotated[Path | None, Parameter(name=["OTHER"])] = None,
    /,
    *,
    kind: Annotated[JudgeName, Parameter(name=["--judge", "-j"])],
    out: Out = None,
    model: str | None = None,
    judging: JudgeOptions = NO_JUDGE_OPTIONS,
    candidate: str | None = None,
    baseline: str | None = None,
    canaries: int = 0,
    most: int | None = None,
    again: Annotated[bool, Parameter(negative=())] = False,
    seed: int = 0,
    settings: Settings = (),
) -> None:
    """Have a judge compare two models' answers, in both orders; stopped, the same command goes on with it.

    Parameters
    ----------
    answers
        A run's folder (its answers after training against those before), or a file of answers: the candidate's.
    other
        Another file or run, whose answers they are compared with.
    kind
        http: a chat model on an OpenAI-compatible server; local: a language model in this process; reward: a reward
        model, such as `haloes train PAIRS --loss bradley-terry` makes; rule: a Python function.
    out
        The file of judgements (.jsonl); judgements.jsonl in the run's folder, or here.
    model
        Who judges: a name on the server, or a model's folder or hub name; for a reward model also its run's folder.
    judging.rule
        package.module:function or file.py:function, called with (prompt, first, second); gives back "first", "second",
        "tie", None, or a number in [0, 1] for the first.
    candidate
        Which model of ANSWERS, where the file has several.
    baseline
        Which model it is compared with, where the file has several.
    canaries
        For so many prompts, mix in an answer that only asks to be chosen, and report how often it wins.
    most
        Compare the answers to so many prompts at most.
    again
        Ask again where an earlier reply holds no verdict, which otherwise stays as it is.
    seed
        Of the delimiters around the answers and of the canaries; sent to the server.
    settings
        Further settings of the judge, such as timeout=30, concurrency=8, price_prompt=2.5, tie_margin=0.05.
    """
    import haloes.api.judging
    from haloes.cli.views.judging import judging_into, left_undone, say_judged
    from haloes.cli.views.output import say
    from haloes.errors import RunError
    from haloes.runs.read_settings import parse_settings

    file = out or haloes.api.judging.judgements_path(answers)
    with judging_into(file) as progress:
        judged = haloes.api.judging.judge(
            answers,
            other,
            judge=kind,
            out=file,
            model=model,
            **asdict(judging),
            candidate=candidate,
            baseline=baseline,
            canaries=canaries,
            most=most,
            again=again,
            seed=seed,
            settings=parse_settings(settings),
            progress=progress,
        )
    say_judged(judged)
    if judged.report is not None:
        say(f"Report: {judged.report}")
    if (text := left_undone(judged)) is not None:
        raise RunError(text)
