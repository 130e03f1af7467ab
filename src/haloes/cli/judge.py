"""`haloes judge`: which of two models' answers are preferred."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def judge(
    answers: Annotated[Path, Parameter(name=["ANSWERS"])],
    other: Annotated[Path | None, Parameter(name=["OTHER"])] = None,
    /,
    *,
    kind: Annotated[Literal["http", "local", "reward", "reward-model", "rule"], Parameter(name=["--judge", "-j"])],
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    model: str | None = None,
    base_url: str | None = None,
    key_env: str | None = None,
    rule: str | None = None,
    template: str | None = None,
    candidate: str | None = None,
    baseline: str | None = None,
    canaries: int = 0,
    most: int | None = None,
    seed: int = 0,
    settings: Annotated[tuple[str, ...], Parameter(name=["--set", "-s"], negative=())] = (),
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
    base_url
        The server, such as http://localhost:8000/v1.
    key_env
        The NAME of the environment variable that holds the server's key.
    rule
        package.module:function or file.py:function, called with (prompt, first, second); gives back "first", "second",
        "tie", None, or a number in [0, 1] for the first.
    template
        The judge's prompt: kto-paper, alpaca-eval, mt-bench, or a file.
    candidate
        Which model of ANSWERS, where the file has several.
    baseline
        Which model it is compared with, where the file has several.
    canaries
        For so many prompts, mix in an answer that only asks to be chosen, and report how often it wins.
    most
        Compare the answers to so many prompts at most.
    seed
        Of the delimiters around the answers and of the canaries; sent to the server.
    settings
        Further settings of the judge, such as timeout=30, concurrency=8, price_prompt=2.5, tie_margin=0.05.
    """
    from haloes.cli.views.judging import fail_if_unanswered, refresh_report, say_before, say_judged
    from haloes.cli.views.progress import TerminalDisplay
    from haloes.judging.pairs import first_prompts, read_pairs
    from haloes.judging.run import canary_path, judge_pairs
    from haloes.judging.table import make_judge
    from haloes.run_files import JUDGEMENTS
    from haloes.runs.config import parse_settings

    flags = {"model": model, "base_url": base_url, "key_env": key_env, "rule": rule, "template": template}
    given = {name: value for name, value in flags.items() if value is not None}
    made = make_judge(kind, {**parse_settings(settings), **given})
    paired = first_prompts(read_pairs(answers, other, candidate=candidate, baseline=baseline), most)
    file = out or (answers if answers.is_dir() else Path()) / JUDGEMENTS
    total = 2 * (len(paired.pairs) + min(canaries, paired.num_prompts))
    try:
        with TerminalDisplay() as display:
            say_before(paired, display.note)
            display.stage(f"judging by {made.identity.name}", total)
            judged = judge_pairs(made, paired, file, num_canaries=canaries, seed=seed, progress=display.advance)
    except KeyboardInterrupt as stopped:
        message = f"stopped; what was judged is in {file}, and the same command goes on with it"
        raise KeyboardInterrupt(message) from stopped
    say_judged(judged, paired, file, canary_path(file))
    refresh_report(file.parent)
    fail_if_unanswered(judged)
