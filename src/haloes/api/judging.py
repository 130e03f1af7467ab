"""Have a judge compare answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haloes.api.arguments import JudgeLike, PathLike, ProgressLike, path_of, showing, without_none
from haloes.judging.run import JudgingOutcome, judge_pairs, judge_several
from haloes.results import Score
from haloes.run_files import JUDGEMENTS, REFUSALS, is_run


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeResult(JudgingOutcome):
    """Judgements of a candidate's answers against a baseline's."""

    candidate: str
    baseline: str
    path: Path
    """The file of judgements."""
    report: Path | None
    """The page of the run whose answers were judged, with the new numbers; None where the file lies in no run."""


def judge(
    answers: PathLike,
    other: PathLike | None = None,
    *,
    judge: JudgeLike,
    out: PathLike | None = None,
    model: PathLike | None = None,
    base_url: str | None = None,
    key_env: str | None = None,
    rule: str | None = None,
    template: str | None = None,
    candidate: str | None = None,
    baseline: str | None = None,
    canaries: int = 0,
    most: int | None = None,
    again: bool = False,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: ProgressLike = "auto",
) -> JudgeResult:
    """
    Have a judge compare two models' answers, in both orders; a call that was stopped continues when repeated.

    Example:
        judged = haloes.judge("runs/first", judge="rule", rule="rules.py:shorter")
        print(judged.candidate, judged.baseline, [judgement.verdict for judgement in judged.judgements])

    Args:
        answers: a run's folder (its answers after training against those before), or a file of answers: the
            candidate's.
        other: another file or run, whose answers they are compared with.
        judge: "http", a chat model on an OpenAI-compatible server; "local", a language model in this process;
            "reward", a reward model; "rule", a Python function by its name; or the function itself, as of `rule`.
        out: the file of judgements (.jsonl); judgements.jsonl in the run's folder, or in the current one.
        model: the judge's name on the server, or a model's folder or hub name; for a reward model also its run's
            folder.
        base_url: the server, such as http://localhost:8000/v1.
        key_env: the NAME of the environment variable that holds the server's key.
        rule: package.module:function or file.py:function, called with (prompt, first, second); it returns "first",
            "second", "tie", None, or a number in [0, 1] for the first.
        template: the judge's prompt: "kto-paper", "alpaca-eval", "mt-bench", or a file.
        candidate: which model of `answers`, where the file has several.
        baseline: which model it is compared with, where the file has several.
        canaries: for this many prompts, mix in an answer that only asks to be chosen.
        most: compare the answers to this many prompts at most.
        again: ask again where an earlier reply holds no verdict, which otherwise stays as it is.
        seed: seed of the delimiters around the answers and of the canaries; sent to the server.
        settings: further settings of the judge, such as {"timeout": 30, "tie_margin": 0.05}.
        progress: told how far the judging is; shown in a terminal or notebook if left out, None for silence.

    Returns:
        The judgements, and where they are.

    Raises:
        ConfigError: the judge cannot be made from these arguments.
        DataError: a file cannot be read, or nothing can be paired.
        RunError: the judge is gone, or `out` holds judgements of something else; what was judged is kept.
    """
    from haloes.evaluation.evaluate import write_judged_report
    from haloes.evaluation.judged import comparison_notes
    from haloes.judging.pairs import first_prompts, read_pairs
    from haloes.judging.table import given_judge

    path = judgements_path(answers) if out is None else path_of(out)
    # Judges know the settings that are theirs alone, so that one that is not theirs is refused by name.
    flags = {"model": model, "base_url": base_url, "key_env": key_env, "rule": rule, "template": template}
    made = given_judge(judge, {**(settings or {}), **without_none(flags)})
    other_path = None if other is None else path_of(other)
    paired = first_prompts(read_pairs(path_of(answers), other_path, candidate=candidate, baseline=baseline), most)
    with showing(progress) as shown:
        for note in comparison_notes(paired):
            shown.note(note)
        shown.stage(f"judging by {made.identity.name}", 2 * (len(paired.pairs) + min(canaries, paired.num_prompts)))
        outcome = judge_pairs(made, paired, path, num_canaries=canaries, again=again, seed=seed, advance=shown.advance)
    return JudgeResult(
        candidate=paired.candidate,
        baseline=paired.baseline,
        path=path,
        judgements=outcome.judgements,
        canaries=outcome.canaries,
        num_new=outcome.num_new,
        unanswered=outcome.unanswered,
        report=write_judged_report(path.parent) if is_run(path.parent) else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalResult(JudgingOutcome):
    """What a judge said of whether each answer refuses, and the rates that follow."""

    scores: tuple[Score, ...]
    """By model the judge's rate, and of the same answers that of the phrases that `haloes eval` looks for."""
    path: Path
    """The file of judgements."""
    report: Path | None
    """The page of the run whose answers were judged; None where the file lies in no run."""


def refusals(
    answers: PathLike,
    *,
    judge: JudgeLike,
    out: PathLike | None = None,
    model: PathLike | None = None,
    base_url: str | None = None,
    key_env: str | None = None,
    rule: str | None = None,
    template: str | None = None,
    most: int | None = None,
    again: bool = False,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: ProgressLike = "auto",
) -> RefusalResult:
    """
    Ask a judge whether each answer refuses, in both orders of the two replies; a call that was stopped continues.

    Example:
        asked = haloes.refusals("runs/first", judge="rule", rule="rules.py:declines")
        print([(score.variant, score.label, score.value, score.low, score.high) for score in asked.scores])

    Args:
        answers: a run's folder (its answers before and after training), or a file of answers, of one model or several.
        judge: "http", "local", "rule", or a function, as of `haloes.judge`; no reward model, which reads no question.
        out: the file of judgements (.jsonl); refusals.jsonl in the run's folder, or in the current one.
        model: the judge's name on the server, or a model's folder or hub name.
        base_url: the server, such as http://localhost:8000/v1.
        key_env: the NAME of the environment variable that holds the server's key.
        rule: package.module:function or file.py:function, called with (prompt, first, second): the prompt is the
            conversation with the answer as its last turn, and the two are `haloes.judging.refusals.REFUSES` and
            `DOES_NOT` in either order; it returns "first" or "second", whichever is true, or None.
        template: the judge's prompt, a file; "refusal" if left out.
        most: ask about the answers to this many prompts at most.
        again: ask again where an earlier reply holds no verdict, which otherwise stays as it is.
        seed: seed of the delimiters around the texts; sent to the server.
        settings: further settings of the judge, such as {"timeout": 30}.
        progress: told how far the judging is; shown in a terminal or notebook if left out, None for silence.

    Returns:
        The judgements, where they are, and the rates. An answer of which the judge says one thing in one order and the
        other in the other has no verdict, and counts in no rate.

    Raises:
        ConfigError: the judge cannot be made from these arguments, or is a reward model.
        DataError: a file cannot be read, or holds no answers.
        RunError: the judge is gone, or `out` holds judgements of something else; what was judged is kept.
    """
    from haloes.evaluation.evaluate import write_judged_report
    from haloes.evaluation.refusals import refusal_scores
    from haloes.judging.pairs import first_prompts
    from haloes.judging.refusals import refusal_judge, refusal_pairs
    from haloes.sampling.run import read_completions

    path = refusals_path(answers) if out is None else path_of(out)
    flags = {"model": model, "base_url": base_url, "key_env": key_env, "rule": rule, "template": template}
    made = refusal_judge(judge, {**(settings or {}), **without_none(flags)})
    given = read_completions(path_of(answers))
    sets = [first_prompts(paired, most) for paired in refusal_pairs(given)]
    with showing(progress) as shown:
        shown.stage(f"asking {made.identity.name} about refusals", sum(2 * len(paired.pairs) for paired in sets))
        outcome = judge_several(made, sets, path, again=again, seed=seed, advance=shown.advance)
    return RefusalResult(
        scores=tuple(refusal_scores(outcome.judgements, given)),
        path=path,
        judgements=outcome.judgements,
        canaries=outcome.canaries,
        num_new=outcome.num_new,
        unanswered=outcome.unanswered,
        report=write_judged_report(path.parent) if is_run(path.parent) else None,
    )


def refusals_path(answers: PathLike) -> Path:
    """Return where judgements on refusals go if nobody says so."""
    return (Path(answers) if Path(answers).is_dir() else Path()) / REFUSALS


def judgements_path(answers: PathLike) -> Path:
    """Return where judgements go if nobody says so: into the run whose answers are judged, or the current folder."""
    return (Path(answers) if Path(answers).is_dir() else Path()) / JUDGEMENTS
