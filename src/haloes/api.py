"""
The commands as Python functions, with the same arguments, defaults and power.

Nothing here prints: what a command shows comes back as a record, and `progress` is told how far the work is.
What is slow to import is imported where it is used, so that `import haloes` takes no time.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from haloes.errors import ConfigError
from haloes.records import Completion, Feedback, Judgement, Pair
from haloes.run_files import JUDGEMENTS, is_run
from haloes.sampling._contract import EngineName

if TYPE_CHECKING:
    from haloes.feedback.doctor.findings import DataAdvice, Findings
    from haloes.losses._contract import Loss
    from haloes.online_rounds.rounds import CurvePoint
    from haloes.planning.plan import Plan
    from haloes.report.compared import ComparedRuns
    from haloes.results import Evaluation
    from haloes.runs.align import Run
    from haloes.runs.callbacks import Progress
    from haloes.runs.config import RunConfig
    from haloes.runs.token_doctor import TokenReport
    from haloes.sampling._contract import NoAnswer

PathLike: TypeAlias = str | Path
FeedbackLike: TypeAlias = str | Path | Iterable[Feedback | Pair]
"""A file, a saved data set, a set's name on the hub, or records."""
ConfigLike: TypeAlias = str | Path | Mapping[str, Any]
"""A YAML file with settings, or nested mappings such as {"train": {"lr": 1e-4}}."""
Columns: TypeAlias = str | Mapping[str, str | None]
"""Which column is what: "completion=answer,label=thumb", or the same as a mapping."""
JudgeName: TypeAlias = Literal["http", "local", "reward", "reward-model", "rule"]

_BENCH_BATCH_SIZE = 8
"""Questions at once. The argument's default is None, so that one that cannot take effect is noticed."""


# --- results of calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a feedback file holds, and what is wrong with it."""

    findings: "Findings"
    """Counts of rows, labels, prompts, lengths and faults."""
    advice: "tuple[DataAdvice, ...]"
    """What follows from them for training, the worst first."""
    tokens: "TokenReport | None"
    """The rows as tokens of a model; None where no model was named, or no row can be used."""
    errors: tuple[str, ...]
    """Why `haloes.train` would not start with this file; empty where it would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What was written as canonical records, and what was left out."""

    path: Path
    num_written: int
    refused: Mapping[str, int]
    """Number of rows that were left out, by reason, the most frequent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleResult:
    """A file of completions after sampling."""

    path: Path
    num_prompts: int
    num_answers: int
    """Completions that the file holds now."""
    num_new: int
    """Completions that this call added."""
    unanswered: "tuple[NoAnswer, ...]"
    """Prompts without a completion, each with its reason; the same call asks them again."""

    def completions(self) -> list[Completion]:
        """Read the completions from the file."""
        from haloes.sampling.run import read_completions

        return read_completions(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeResult:
    """Judgements of a candidate's answers against a baseline's."""

    candidate: str
    baseline: str
    path: Path
    """The file of judgements."""
    judgements: tuple[Judgement, ...]
    canaries: tuple[Judgement, ...]
    """Judgements of answers that only ask to be chosen."""
    num_new: int
    """Judgements that were not in the file before."""
    unanswered: tuple[str, ...]
    """Why a comparison has no judgement; the same call asks for it again."""
    report: Path | None
    """The page of the run whose answers were judged, with the new numbers; None where the file lies in no run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """An evaluation and where it was written."""

    numbers: "Evaluation"
    path: Path
    """The numbers as JSON."""
    report: Path | None
    """The page of the run that was evaluated, with the new numbers; None where no run's own numbers were written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineResult:
    """The models of online rounds, from the first to that of the last round."""

    points: "tuple[CurvePoint, ...]"
    """Rating and divergence on held-out prompts: of the first model, then of the model after each round."""
    num_held_out: int
    """Held-out prompts that all of them answered."""
    folder: Path
    curve: Path
    """The points as JSON."""
    last_run: Path
    """The run of the last round, which `haloes.export` takes."""


# --- a run: planned, trained, resumed, exported


def train(
    feedback: FeedbackLike | None = None,
    *,
    config: ConfigLike | None = None,
    model: PathLike | None = None,
    loss: "Loss[Any] | str | None" = None,
    validation: FeedbackLike | None = None,
    columns: Columns | None = None,
    out: PathLike | None = None,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    allow_changes: bool = False,
    progress: "Progress | None" = None,
) -> "Run":
    """
    Align a model with feedback, and measure it on held-out prompts.

    Example:
        run = haloes.train("thumbs.jsonl", model="model", loss=haloes.KTO(beta=0.1), out="runs/first")
        for score in run.scores:
            print(score.name, score.variant, score.value, (score.low, score.high))

    Args:
        feedback: a file, a saved data set, a set's name on the hub, or records; may be left out where the
            configuration names it.
        config: a YAML file with settings, or nested mappings such as {"train": {"lr": 1e-4}}.
        model: a folder, a name on the hub, a .gguf file, or "embedded" (the default, SmolLM2-135M-Instruct).
        loss: a loss such as `haloes.KTO(beta=0.1)`, or a name; KTO with class weights from the data if left out.
        validation: held-out feedback; otherwise a tenth of the prompts is held out.
        columns: which column is what, where names differ: "completion=answer,label=thumb" or a mapping.
        out: the run's folder; runs/<file>-<loss>-<number> if left out.
        settings: nested mappings like those of `config`, over all other arguments.
        resume: continue the run that `out` holds, which was started with the same arguments.
        allow_changes: resume even if the data, the tokenizer, the model or the settings are not what they were.
        progress: told how far the run is.

    Returns:
        The finished run: its folder and its scores.

    Raises:
        UserError: something that the user can put right; nothing is left half-written.
        Interrupted: Ctrl-C; the run was saved and can be resumed.
    """
    from haloes.runs.align import align
    from haloes.runs.run_folder import new_run_dir

    run_config = _configured(
        config,
        argument_settings(feedback=feedback, model=model, loss=loss, validation=validation, columns=columns),
        settings,
    )
    if out is None and resume:
        raise ConfigError("resume=True continues the run in a folder; say which: out=...")
    # A loss that was given stands in for the configuration's, unless the settings change its hyperparameters.
    given_loss = None if isinstance(loss, str) or "loss" in (settings or {}) else loss
    return align(
        run_config,
        new_run_dir(run_config) if out is None else Path(out),
        loss=given_loss,
        resume=resume,
        allow_changes=allow_changes,
        display=progress,
    )


def resume(
    run: PathLike,
    *,
    allow_changes: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress: "Progress | None" = None,
) -> "Run":
    """
    Continue a run that was stopped, from its newest intact checkpoint.

    Example:
        run = haloes.resume("runs/first")
        print(run.num_steps, run.was_finished)

    Args:
        run: the run's folder.
        allow_changes: continue even if the data, the tokenizer, the model or the settings are not what they were.
        settings: settings to change; those that decide memory only (train.microbatch_tokens) may differ.
        progress: told how far the run is.

    Returns:
        The finished run; at once where nothing was left to do.

    Raises:
        UserError: there is no run, or it is no longer the same.
        Interrupted: Ctrl-C; the run was saved and can be resumed.
    """
    from haloes.runs.align import align
    from haloes.runs.run_folder import read_config

    config = read_config(Path(run), settings or {})
    return align(config, Path(run), resume=True, allow_changes=allow_changes, display=progress)


def plan(
    feedback: FeedbackLike | None = None,
    *,
    config: ConfigLike | None = None,
    model: PathLike | None = None,
    loss: "Loss[Any] | str | None" = None,
    validation: FeedbackLike | None = None,
    columns: Columns | None = None,
    memory: float | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: "Progress | None" = None,
) -> "Plan":
    """
    Find out what a run will take in memory, time and disk, from a few of its own steps, and whether it fits.

    Example:
        plan = haloes.plan("thumbs.jsonl", model="model", memory=16)
        print(plan.fits, plan.training / 2**30, sum(plan.seconds.values()))

    Args:
        feedback: as for `haloes.train`; or a YAML file with settings that names it.
        config: as for `haloes.train`, and so are the arguments up to `columns`.
        model: the model to align.
        loss: a loss or its name.
        validation: held-out feedback.
        columns: which column is what.
        memory: memory that the run may take, in GiB; what is free on the device if left out.
        settings: nested mappings, over all other arguments.
        progress: told how far the planning is.

    Returns:
        The plan, in bytes and seconds; `fits` says whether the run would start.

    Raises:
        UserError: what `haloes.train` would refuse of the configuration, the data or the model.
    """
    from haloes.planning.plan import make_plan
    from haloes.report.numbers import GIB

    if isinstance(feedback, str | Path) and Path(feedback).suffix in {".yaml", ".yml"}:
        if config is not None:
            raise ConfigError(f"{feedback} and {config} are both settings; give one of them")
        config, feedback = feedback, None
    if memory is not None and not memory > 0:
        raise ConfigError(f"--memory must be positive, got {memory:g}")
    given = argument_settings(feedback=feedback, model=model, loss=loss, validation=validation, columns=columns)
    run_config = _configured(config, given, settings)
    return make_plan(run_config, limit=None if memory is None else int(memory * GIB), display=progress)


def export(run: PathLike, folder: PathLike) -> Path:
    """
    Merge a run's adapter into its base model, as a plain folder that any tool of the field loads.

    An adapter that was trained beside a base in four bits is merged into the base in full precision: what the merged
    model says may differ a little from what was measured.

    Example:
        haloes.export("runs/first", "aligned")

    Args:
        run: a finished run's folder.
        folder: a new folder for the merged model, its tokenizer and its model card.

    Returns:
        The new folder.

    Raises:
        RunError: the run has no model yet, or `folder` holds something.
        ModelError: the base model cannot be loaded.
    """
    from haloes.runs.export import export_model

    return export_model(Path(run), Path(folder))


# --- feedback: examined, converted


def doctor(
    feedback: FeedbackLike,
    *,
    model: PathLike | None = None,
    columns: Columns | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Diagnosis:
    """
    Find what a feedback file holds and what is wrong with it, with file and line and what to do.

    Example:
        diagnosis = haloes.doctor("thumbs.jsonl")
        print(diagnosis.findings.num_accepted, diagnosis.errors)
        for advice in diagnosis.advice:
            print(advice.severity, advice.finding, advice.action)

    Args:
        feedback: a file of any format, a saved data set, a set's name on the hub, or records.
        model: also look at the tokens as this model would be trained on them.
        columns: which column is what, where names differ.
        settings: settings of the sections feedback and tokens, such as {"tokens": {"max_length": 1024}}.

    Returns:
        What was found; `errors` says why training would not start.

    Raises:
        UserError: the file as a whole, the settings or the model cannot be used.
    """
    from haloes.feedback.doctor.advice import advise
    from haloes.feedback.doctor.examine import examine
    from haloes.runs.feedback_rows import open_for_doctor

    config = _configured(None, argument_settings(feedback=feedback, model=model, columns=columns), settings)
    rows = open_for_doctor(config.feedback)
    findings = examine(rows)
    advice = tuple(advise(findings))
    tokens = None
    # The tokenizer is loaded only if it is asked for: looking at a file needs no model and no torch.
    if model is not None and findings.num_accepted:
        from haloes.runs.token_doctor import examine_tokens

        tokens = examine_tokens(config.model.name, rows, max_length=config.tokens.max_length)
    errors = training_errors(config, findings, advice, tokens)
    return Diagnosis(findings=findings, advice=advice, tokens=tokens, errors=errors)


def convert(
    feedback: FeedbackLike,
    out: PathLike,
    *,
    to: Literal["single", "pairs"] = "single",
    columns: Columns | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Conversion:
    """
    Write feedback of any format as canonical records (JSONL, or Parquet by its name), which TRL reads too.

    Example:
        conversion = haloes.convert("thumbs.jsonl", "pairs.jsonl", to="pairs")
        print(conversion.num_written, dict(conversion.refused))

    Args:
        feedback: a file of any format, a saved data set, a set's name on the hub, or records.
        out: the file to write: .jsonl, .jsonl.gz or .parquet.
        to: single answers with a label (pairs are taken apart), or pairs (answers to the same prompt are matched).
        columns: which column is what, where names differ.
        settings: settings of the section feedback, such as {"feedback": {"labels_from": {"rule": "mean"}}}.

    Returns:
        How many records were written, and how many rows were left out for which reason.

    Raises:
        DataError: the feedback cannot be read, or no row of it can be used; nothing is written then.
        ConfigError: a setting is wrong, or the ending of `out` is none of these.
    """
    from haloes.runs.convert import write_records

    config = _configured(None, argument_settings(feedback=feedback, columns=columns), settings)
    written, refused = write_records(config.feedback, Path(out), pairs=to == "pairs", seed=config.train.seed)
    return Conversion(path=Path(out), num_written=written, refused=dict(refused.most_common()))


# --- answers: sampled, judged, evaluated, compared


def sample(
    model: PathLike,
    prompts: PathLike,
    *,
    out: PathLike,
    engine: EngineName = "transformers",
    base_url: str | None = None,
    key_env: str | None = None,
    name: str | None = None,
    n: int = 1,
    most: int | None = None,
    everything: bool = False,
    columns: Columns | None = None,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 64,
    settings: Mapping[str, Any] | None = None,
    progress: "Progress | None" = None,
) -> SampleResult:
    """
    Sample a model's completions of prompts into a file of records; a call that was stopped continues when repeated.

    Example:
        sampled = haloes.sample("runs/first", "prompts.txt", out="answers.jsonl", max_new_tokens=16)
        for completion in sampled.completions():
            print(completion.prompt_id, completion.completion)

    Args:
        model: a run's folder, a model's or adapter's folder, a hub name, a .gguf file, "embedded", or a name on a
            server.
        prompts: a run's folder (its held-out prompts), a feedback file (its held-out part), a file of prompts (.txt, a
            prompt a line, or .jsonl with `prompt`), or "everyday", a built-in list.
        out: the file of completions, JSONL.
        engine: "transformers" in this process, "vllm" where it is installed, or "http" for an OpenAI-compatible server.
        base_url: the server, such as http://localhost:8000/v1.
        key_env: the NAME of the environment variable that holds the server's key.
        name: what to call the model in the records.
        n: completions of each prompt; above 1 it takes a temperature.
        most: answer this many of the prompts at most.
        everything: all prompts of a feedback file, not only the held-out ones.
        columns: of a feedback file, which column is what.
        max_new_tokens: maximum tokens of a completion; one that is cut off is marked.
        temperature: 0 takes the likeliest token each time.
        top_p: the likeliest tokens with this total probability are drawn from.
        seed: seed of the draws; completion k of a prompt has seed + k.
        batch_size: completions at once.
        settings: how a feedback file is read, such as {"feedback": {"validation_share": 0.2}}.
        progress: told how far the sampling is.

    Returns:
        The file, with what is new in it and what is still missing.

    Raises:
        ConfigError: arguments that do not fit together.
        DataError: there are no prompts, or `out` holds something else than completions.
        ModelError: the model cannot be loaded.
        RunError: `out` holds completions that were made otherwise, or cannot be written.
    """
    from haloes.runs.callbacks import NullProgress
    from haloes.runs.prompts import load_prompts
    from haloes.sampling._contract import Decoding
    from haloes.sampling.run import check_request, sample_to_file

    for option, value in (("n", n), ("batch_size", batch_size)):
        if value < 1:
            raise ConfigError(f"sample.{option} must be at least 1, got {value}")
    path, progress = Path(out), progress or NullProgress()
    decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
    seeds = range(seed, seed + n)
    # Everything that can be refused is refused before a model is loaded.
    check_request(path, decoding, seeds)
    config = _configured(None, argument_settings(feedback=prompts, columns=columns), settings)
    asked = load_prompts(str(prompts), config.feedback, everything=everything, most=most, seed=config.train.seed)
    from haloes.runs.engines import make_engine  # here, as it brings torch in

    answering = make_engine(
        str(model), engine=engine, name=name, batch_size=batch_size, base_url=base_url, key_env=key_env
    )
    progress.stage(f"answers of {answering.name}", len(asked) * n)
    sampled = sample_to_file(answering, asked, path, decoding=decoding, seeds=seeds, progress=progress.advance)
    return SampleResult(
        path=path,
        num_prompts=len(asked),
        num_answers=sampled.answers,
        num_new=sampled.fresh,
        unanswered=sampled.unanswered,
    )


def judge(
    answers: PathLike,
    other: PathLike | None = None,
    *,
    judge: JudgeName,
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
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: "Progress | None" = None,
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
            "reward", a reward model; "rule", a Python function.
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
        seed: seed of the delimiters around the answers and of the canaries; sent to the server.
        settings: further settings of the judge, such as {"timeout": 30, "tie_margin": 0.05}.
        progress: told what is compared, and how far the judging is.

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
    from haloes.judging.run import judge_pairs
    from haloes.judging.table import make_judge
    from haloes.runs.callbacks import NullProgress

    path = judgements_path(answers) if out is None else Path(out)
    progress = progress or NullProgress()
    # Judges know the settings that are theirs alone, so that one that is not theirs is refused by name.
    flags = {"model": model, "base_url": base_url, "key_env": key_env, "rule": rule, "template": template}
    asked = make_judge(judge, {**(settings or {}), **_given(flags)})
    other_path = None if other is None else Path(other)
    paired = first_prompts(read_pairs(Path(answers), other_path, candidate=candidate, baseline=baseline), most)
    for note in comparison_notes(paired):
        progress.note(note)
    progress.stage(f"judging by {asked.identity.name}", 2 * (len(paired.pairs) + min(canaries, paired.num_prompts)))
    judged = judge_pairs(asked, paired, path, num_canaries=canaries, seed=seed, progress=progress.advance)
    return JudgeResult(
        candidate=paired.candidate,
        baseline=paired.baseline,
        path=path,
        judgements=judged.judgements,
        canaries=judged.canaries,
        num_new=judged.new,
        unanswered=judged.unanswered,
        report=write_judged_report(path.parent) if is_run(path.parent) else None,
    )


def evaluate(
    sources: PathLike | Sequence[PathLike] = (),
    *,
    alpaca_eval: PathLike | Sequence[PathLike] = (),
    lc_weights: PathLike | None = None,
    difficulties: PathLike | None = None,
    bench: str | None = None,
    bench_data: PathLike | None = None,
    bench_limit: int | None = None,
    bench_chat: bool = True,
    bench_out: PathLike | None = None,
    run_generated_code: bool = False,
    batch_size: int | None = None,
    out: PathLike | None = None,
    seed: int = 0,
    progress: "Progress | None" = None,
) -> EvaluationResult:
    """
    Compute win rates, ratings, agreement of judges and judge-free numbers with intervals, from records on disk.

    Example:
        evaluation = haloes.evaluate("runs/first")
        for source in evaluation.numbers.judge_free:
            print(source.source, [(score.name, score.value) for score in source.scores])

    Args:
        sources: run folders, files of judgements (`haloes.judge`) and files of answers (`haloes.sample`).
        alpaca_eval: files of preferences in AlpacaEval's format.
        lc_weights: AlpacaEval's length-control weights; without them a regression is fitted to the preferences.
        difficulties: difficulties of AlpacaEval's instructions; instruction_difficulty.jsonl beside the weights by
            default.
        bench: benchmarks to ask first, such as "gsm8k,mmlu": of a run its model before and after, otherwise one model.
        bench_data: a folder with the benchmarks' rows, where there is no hub.
        bench_limit: ask this many questions of each benchmark, drawn at random and spread over its subtasks.
        bench_chat: put the questions through the model's chat template, if it has one.
        bench_out: where the answers to benchmarks go; RUN/benchmarks, or benchmarks/<model>.
        run_generated_code: run the programs that humaneval has the model write, in a sandbox.
        batch_size: questions at once; 8.
        out: where the numbers go as JSON; evaluation.json in the run's folder, or FILE.evaluation.json beside the file.
        seed: seed of the bootstrap draws, and of the questions that `bench_limit` draws.
        progress: told how far the benchmarks are.

    Returns:
        The numbers, and where they were written.

    Raises:
        ConfigError: nothing was given, or an argument cannot take effect.
        DataError: a file cannot be read, holds none of these, or the numbers cannot be written.
        RunError: benchmarks were answered under other settings, or the run is not finished.
    """
    from haloes.evaluation.evaluate import evaluate as all_numbers
    from haloes.evaluation.evaluate import evaluation_path
    from haloes.results import write_evaluation
    from haloes.runs.run_folder import write_pages

    paths = _paths(sources)
    preferences = _paths(alpaca_eval)
    answers = _ask_benchmarks(
        paths,
        bench,
        data=_path(bench_data),
        limit=bench_limit,
        chat=bench_chat,
        out=_path(bench_out),
        run_generated_code=run_generated_code,
        batch_size=batch_size,
        seed=seed,
        progress=progress,
    )
    run = paths[0] if len(paths) == 1 and is_run(paths[0]) else None
    if answers is not None and run is None:
        paths = ()  # A model that was asked benchmarks is no source of records.
    numbers = all_numbers(
        paths,
        preferences=preferences,
        lc_weights=_path(lc_weights),
        difficulties=_path(difficulties),
        benchmarks=answers,
        seed=seed,
    )
    beside = (answers,) if answers is not None and (bench_out is not None or run is None) else paths
    path = evaluation_path(beside, preferences) if out is None else Path(out)
    write_evaluation(path, numbers)
    # The page shows evaluation.json of the run's folder, so that numbers elsewhere are none of its concern.
    report = write_pages(run) if run is not None and out is None and bench_out is None else None
    return EvaluationResult(numbers=numbers, path=path, report=report)


def compare(runs: Sequence[PathLike], *, out: PathLike | None = Path("compare.html"), seed: int = 0) -> "ComparedRuns":
    """
    Compare several runs: differing settings, paired differences on shared rows, win rates, curves.

    Example:
        compared = haloes.compare(["runs/first", "runs/second"], out=None)
        for difference in compared.auc_differences:
            print(difference.one, difference.other, difference.score.value, difference.p_holm)

    Args:
        runs: two or more run folders.
        out: the page to write; None for no page.
        seed: seed of the bootstrap draws.

    Returns:
        The runs, and what was measured across them.

    Raises:
        ConfigError: fewer than two runs, or one of them twice.
        RunError: a folder does not exist, or holds no run.
        DataError: a held-out row or a judgement is damaged, or the page cannot be written.
    """
    from haloes.evaluation.compare_runs import compare_runs
    from haloes.report.compare_page import write_comparison

    compared = compare_runs(_paths(runs), seed=seed)
    if out is not None:
        write_comparison(Path(out), compared)
    return compared


# --- online rounds


def online(
    prompts: PathLike,
    *,
    config: ConfigLike | None = None,
    model: PathLike | None = None,
    loss: str | None = None,
    columns: Columns | None = None,
    rater: str | None = None,
    judge: JudgeName | None = None,
    judge_model: PathLike | None = None,
    base_url: str | None = None,
    key_env: str | None = None,
    rule: str | None = None,
    template: str | None = None,
    judge_settings: Mapping[str, Any] | None = None,
    rounds: int = 3,
    per_prompt: int = 4,
    prompts_per_round: int = 64,
    held_out: int = 64,
    reference: Literal["previous", "fixed"] = "previous",
    max_new_tokens: int = 128,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_size: int = 32,
    out: PathLike | None = None,
    settings: Mapping[str, Any] | None = None,
    progress: "Progress | None" = None,
) -> OnlineResult:
    """
    Align a model in rounds: it answers, a rater or judge decides, it learns from the verdicts, and again.

    A call that was stopped continues when repeated; with more rounds it goes further.

    Example:
        result = haloes.online("prompts.txt", model="model", rater="rules.py:rate", rounds=1, held_out=4)
        print([(point.round, point.kl.value) for point in result.points])

    Args:
        prompts: prompts (.txt, one a line, or .jsonl with `prompt`), a feedback file, or "everyday", a built-in list.
        config: settings of each round's training: a YAML file, or nested mappings.
        model: a folder, a name on the hub, a .gguf file, or "embedded" (the default).
        loss: "kto" (the default) or the name of another loss.
        columns: of a feedback file, which column is what.
        rater: module:function or file.py:function that returns its thumb, (liked, reason), for (prompt, completion,
            finished).
        judge: in place of a rater, a judge that compares every two answers to a prompt, as in `haloes.judge`. For a
            loss on pairs winner and loser are a pair; otherwise an answer is desirable if it wins most comparisons.
        judge_model: the judge's name on the server, or a model's folder or name on the hub.
        base_url: the judge's server.
        key_env: the NAME of the environment variable that holds the server's key.
        rule: the judge's function, called with (prompt, first, second).
        template: the judge's prompt: "kto-paper", "alpaca-eval", "mt-bench", or a file.
        judge_settings: further settings of the judge, such as {"timeout": 30}.
        rounds: number of rounds.
        per_prompt: answers to each prompt of a round.
        prompts_per_round: prompts of a round; the next round takes the next ones.
        held_out: number of prompts that are never learnt on; on them each round is measured.
        reference: the loss's reference: the model that a round begins with ("previous"), or the very first one
            ("fixed").
        max_new_tokens: maximum tokens of an answer.
        temperature: temperature of the draws; positive.
        top_p: the likeliest tokens with this total probability are drawn from.
        seed: seed of prompts, draws and judging.
        batch_size: answers at once.
        out: the folder; runs/online-<prompts> if left out.
        settings: nested mappings such as {"train": {"lr": 1e-4}}, over all other arguments.
        progress: told how far the rounds are.

    Returns:
        The reward-KL curve and the run of the last round.

    Raises:
        UserError: something that the user can put right; what was done stays, and where nothing was, no folder.
        Interrupted: Ctrl-C during a round's training; the same call continues.
    """
    from haloes.online_rounds.labelers import make_labeler
    from haloes.online_rounds.rounds import CURVE, RUN
    from haloes.online_rounds.rounds import online as carry_out
    from haloes.online_rounds.settings import OnlineSettings, hold_out
    from haloes.runs.callbacks import NullProgress
    from haloes.runs.prompts import load_prompts
    from haloes.sampling._contract import Decoding

    flags = {"model": judge_model, "base_url": base_url, "key_env": key_env, "rule": rule, "template": template}
    labeler = make_labeler(rater, judge, {**_given(flags), **(judge_settings or {})}, seed=seed)
    given = argument_settings(model=model, loss=loss, columns=columns)
    run_config = _configured(config, given, settings)
    rounds_settings = OnlineSettings(
        rounds=rounds,
        per_prompt=per_prompt,
        prompts_per_round=prompts_per_round,
        reference=reference,
        decoding=Decoding(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p),
        seed=seed,
        batch_size=batch_size,
    )
    learnt, measured = hold_out(load_prompts(str(prompts), run_config.feedback, everything=True), held_out, seed=seed)
    folder = online_dir(prompts) if out is None else Path(out)
    points = carry_out(
        run_config,
        rounds_settings,
        labeler,
        prompts=learnt,
        held_out=measured,
        out=folder,
        display=progress or NullProgress(),
    )
    return OnlineResult(
        points=points,
        num_held_out=len(measured),
        folder=folder,
        curve=folder / CURVE,
        last_run=folder / f"round-{rounds}" / RUN,
    )


# --- what the calls, and the commands around them, share


def argument_settings(
    *,
    feedback: FeedbackLike | None = None,
    model: PathLike | None = None,
    loss: "Loss[Any] | str | None" = None,
    validation: FeedbackLike | None = None,
    columns: Columns | None = None,
) -> dict[str, Any]:
    """Return the arguments that were given as nested mappings like those of a configuration file."""
    sections: dict[str, dict[str, Any]] = {
        "feedback": {
            "source": _feedback_path(feedback),
            "validation": _feedback_path(validation),
            "columns": _columns(columns),
        },
        "model": {"name": None if model is None else str(model)},
        "loss": _loss_section(loss),
    }
    given = {name: _given(section) for name, section in sections.items()}
    return {name: section for name, section in given.items() if section}


def training_errors(
    config: "RunConfig", findings: "Findings", advice: "Sequence[DataAdvice]", tokens: "TokenReport | None"
) -> tuple[str, ...]:
    """Return why `haloes.train` would not start with feedback of these findings; empty where it would."""
    from haloes.runs.feedback_rows import grave

    errors = [item.finding for item in advice if item.severity == "error"]
    errors += [] if tokens is None else tokens.errors
    refused = {reason: tally.num for reason, tally in findings.refusals.items()}
    if not config.feedback.skip_refused and (reasons := grave(refused, findings.num_accepted)):
        count = sum(refused[reason] for reason in reasons)
        errors.append(f"{count} row(s) cannot be used ({', '.join(sorted(reasons))})")
    return tuple(errors)


def judgements_path(answers: PathLike) -> Path:
    """Return where judgements go if nobody says so: into the run whose answers are judged, or the current folder."""
    return (Path(answers) if Path(answers).is_dir() else Path()) / JUDGEMENTS


def online_dir(prompts: PathLike) -> Path:
    """Return where online rounds go if nobody says so."""
    return Path("runs") / f"online-{Path(prompts).name.split('.')[0]}"


def _configured(config: ConfigLike | None, given: Mapping[str, Any], settings: Mapping[str, Any] | None) -> "RunConfig":
    """Return the configuration with the arguments over it, and the settings over both."""
    from haloes.runs.config import config_of_file, make_config

    if config is None or isinstance(config, Mapping):
        return make_config(config or {}, given, settings or {})
    return config_of_file(Path(config), given, settings or {})


def _feedback_path(feedback: FeedbackLike | None) -> str | None:
    """Return the feedback as a file; records are kept in the cache, under a name that is their content's hash."""
    if feedback is None or isinstance(feedback, str | Path):
        return None if feedback is None else str(feedback)
    from haloes.models.cache import cache_dir
    from haloes.records import to_json
    from haloes.store import write_jsonl

    # A run is resumed from its configuration, which names files: records must outlive the process that has them.
    rows = [to_json(record) for record in feedback]
    name = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:32]
    path = cache_dir() / "feedback" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, rows)
    return str(path)


def _columns(columns: Columns | None) -> dict[str, str | None] | None:
    from haloes.feedback.columns import parse_columns

    if isinstance(columns, str):
        return parse_columns(columns)
    return None if columns is None else dict(columns)


def _loss_section(loss: "Loss[Any] | str | None") -> dict[str, Any]:
    if loss is None or isinstance(loss, str):
        return {"name": loss}
    from haloes.losses.make import loss_settings  # here, as it brings torch in

    return loss_settings(loss)


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _path(path: PathLike | None) -> Path | None:
    return None if path is None else Path(path)


def _paths(paths: PathLike | Sequence[PathLike]) -> tuple[Path, ...]:
    return (Path(paths),) if isinstance(paths, str | Path) else tuple(map(Path, paths))


def _ask_benchmarks(
    sources: Sequence[Path],
    names: str | None,
    *,
    data: Path | None,
    limit: int | None,
    chat: bool,
    out: Path | None,
    run_generated_code: bool,
    batch_size: int | None,
    seed: int,
    progress: "Progress | None",
) -> Path | None:
    """Ask the benchmarks that are named, and return the folder of the answers; None where none is named."""
    from haloes.runs.callbacks import NullProgress

    if names is None:
        given = {
            "--bench-data": data,
            "--bench-limit": limit,
            "--no-bench-chat": not chat,
            "--bench-out": out,
            "--run-generated-code": run_generated_code,
            "--batch-size": batch_size,
        }
        idle = next((option for option, value in given.items() if value), None)
        if idle is not None:
            raise ConfigError(f"{idle} is for benchmarks, and none is named; add --bench gsm8k,mmlu,...")
        return None
    if len(sources) != 1:
        raise ConfigError(f"--bench asks one run or one model, got {len(sources)}; `haloes compare` compares runs")
    from haloes.evaluation.bench.lm_eval import LmEval
    from haloes.evaluation.bench.run import BenchSettings, run_benchmarks

    settings = BenchSettings(
        names=names,
        data=data,
        limit=limit,
        seed=seed,
        chat=chat,
        run_generated_code=run_generated_code,
        batch_size=_BENCH_BATCH_SIZE if batch_size is None else batch_size,
        out=out,
    )
    return run_benchmarks(str(sources[0]), settings, harness=LmEval(), display=progress or NullProgress())
