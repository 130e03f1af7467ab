"""`haloes eval`: did it get better, and how surely?"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def eval(  # noqa: A001 - the name of the command
    sources: Annotated[tuple[Path, ...], Parameter(name=["SOURCES"])] = (),
    /,
    *,
    alpaca_eval: Annotated[tuple[Path, ...], Parameter(negative=())] = (),
    lc_weights: Path | None = None,
    difficulties: Path | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
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
        fitted to the preferences.
    difficulties
        Of AlpacaEval's instructions, JSONL of instruction_id and difficulty; instruction_difficulty.jsonl beside the
        weights by default.
    out
        Where the numbers go as JSON; evaluation.json in the run's folder, or FILE.evaluation.json beside the file.
    seed
        Of the bootstrap draws.
    """
    from haloes.cli.evaluated import evaluation_lines
    from haloes.cli.output import say, show
    from haloes.recipes.evaluation.evaluation import evaluate, evaluation_path, write_evaluation
    from haloes.report.write import write_report

    found = evaluate(sources, preferences=alpaca_eval, lc_weights=lc_weights, difficulties=difficulties, seed=seed)
    show(evaluation_lines(found))
    path = out or evaluation_path(sources, alpaca_eval)
    write_evaluation(path, found)
    say(f"Numbers: {path}")
    if len(sources) == 1 and sources[0].is_dir() and out is None and (sources[0] / "config.yaml").is_file():
        say(f"Report: {write_report(sources[0])}")
