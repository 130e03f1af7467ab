"""`haloes eval`: did it get better, and how surely?"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from haloes.cli.flags import Out


def eval(  # noqa: A001 - the name of the command
    sources: Annotated[tuple[Path, ...], Parameter(name=["SOURCES"])] = (),
    /,
    *,
    alpaca_eval: Annotated[tuple[Path, ...], Parameter(negative=())] = (),
    lc_weights: Path | None = None,
    difficulties: Path | None = None,
    bench: str | None = None,
    bench_data: Path | None = None,
    bench_limit: int | None = None,
    bench_chat: bool = True,
    bench_out: Path | None = None,
    run_generated_code: Annotated[bool, Parameter(negative=())] = False,
    batch_size: int | None = None,
    out: Out = None,
    seed: int = 0,
) -> None:
    """Win rates, ratings, agreement of judges and judge-free numbers with intervals, from records on disk.

    Parameters
    ----------
    sources
        Run folders, files of judgements (`haloes judge`) and files of answers (`haloes sample`), one or several: of
        several judges their agreement is measured, and several models are rated on one scale.
    alpaca_eval
        Preferences in AlpacaEval's format (annotations.json, or JSONL); may be given several times.
    lc_weights
        AlpacaEval's length-control weights, JSONL of generator, theta, psi_difficulty; without them a regression is
        fitted to the preferences, of all models that were judged on the same instructions at once.
    difficulties
        Of AlpacaEval's instructions, JSONL of instruction_id and difficulty; instruction_difficulty.jsonl beside the
        weights by default. Without weights the regression takes them.
    bench
        Benchmarks to ask first, such as gsm8k,mmlu: of a run its model before and after, otherwise one model (a folder,
        a hub name, "embedded"). gsm8k, gsm8k_cot, mmlu, bbh, humaneval, humaneval_instruct, ifeval; it takes lm-eval.
        Stopped, the same command goes on with it.
    bench_data
        A folder with the benchmarks' rows, where there is no hub: gsm8k/train.jsonl.gz, gsm8k/test.jsonl.gz,
        mmlu/<subject>/test.jsonl ... (JSONL or Parquet, with the hub's columns).
    bench_limit
        Ask so many questions of each benchmark, drawn at random and spread over its subtasks.
    bench_chat
        Put the questions through the model's chat template, if it has one.
    bench_out
        Where the answers to benchmarks go; RUN/benchmarks, or benchmarks/<model>.
    run_generated_code
        Run the programs that humaneval has the model write, in a sandbox.
    batch_size
        Questions at once; 8.
    out
        Where the numbers go as JSON; evaluation.json in the run's folder, or FILE.evaluation.json beside the file.
    seed
        Of the bootstrap draws, and of the questions that --bench-limit draws.
    """
    import haloes.api.evaluation
    from haloes.cli.views.evaluation import evaluation_lines
    from haloes.cli.views.output import say, show
    from haloes.progress.display import Display

    with Display() as progress:
        evaluation = haloes.api.evaluation.evaluate(
            sources,
            alpaca_eval=alpaca_eval,
            lc_weights=lc_weights,
            difficulties=difficulties,
            bench=bench,
            bench_data=bench_data,
            bench_limit=bench_limit,
            bench_chat=bench_chat,
            bench_out=bench_out,
            run_generated_code=run_generated_code,
            batch_size=batch_size,
            out=out,
            seed=seed,
            progress=progress,
        )
    show(evaluation_lines(evaluation.numbers))
    say(f"Numbers: {evaluation.path}")
    if evaluation.report is not None:
        say(f"Report: {evaluation.report}")
