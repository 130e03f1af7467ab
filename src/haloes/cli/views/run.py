"""The end of a run in a terminal: the verdict, the numbers with their intervals, and a few answers side by side."""

from pathlib import Path
from typing import TYPE_CHECKING

from haloes.cli.views.output import say, show
from haloes.report import facts
from haloes.report.examples import RULE, Example, draw_examples
from haloes.report.headline import Result, headline, results
from haloes.report.load import RunRecords, Warned, load_run
from haloes.report.samples import Answer, SidesOfPrompt, sides_of_prompts
from haloes.run_files import MODEL, REPORT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from haloes.results import Score
    from haloes.runs.align import Run

_STYLES = {
    "better": "bold green",
    "signal": "bold green",
    "worse": "bold red",
    "mixed": "bold yellow",
    "unclear": "bold yellow",
    "unmoved": "bold yellow",
}
_LONGEST = 420
"""Characters of an answer that a terminal shows; the report shows all."""
_FIRST_ANSWERS = 3
"""Prompts that are shown where nobody gave verdicts."""


def show_run(run: "Run") -> None:
    """Print what came out of a run and what can be done with its model; of several processes the main one does."""
    from haloes.models.kind import is_classifier

    if not run.is_main:
        return
    show(summary_lines(run.run_dir))
    if run.was_finished:
        say(f"The run was finished before, with all of its {run.num_steps} steps: nothing was left to do.")
    model = run.run_dir / MODEL
    if is_classifier(model):
        say(f"The reward model is in {model}. Let it judge: haloes judge ANSWERS --judge reward --model {run.run_dir}")
    else:
        say(f"The model is in {model}; merge it into a plain one with: haloes export {run.run_dir} FOLDER")


def summary_lines(run_dir: Path) -> "list[RenderableType]":
    """
    Draw a run's end from top to bottom: verdict, numbers, a few answers, warnings, and where the report is.

    Text of the run is put in as plain text: console markup in it takes no effect.

    Args:
        run_dir: the run folder; what is missing in it is named.

    Raises:
        RunError: the folder does not exist.
    """
    from rich.text import Text

    run = load_run(run_dir)
    measured = results(run)
    verdict = headline(run)
    lines: list[RenderableType] = [
        Text(verdict.title, style=_STYLES.get(verdict.verdict, "bold")),
        Text(verdict.sentence),
        *([Text(verdict.advice)] if verdict.advice else []),
        Text(facts.trained_on(run), style="dim"),
        Text(""),
    ]
    if measured:
        lines += [_numbers(measured), Text("")]
    lines += _some_answers(run)
    lines += [Text(f"{file.file}: {file.sentence}", style="yellow" if file.faults else "") for file in run.exported]
    lines += [_warning(warning) for warning in run.warnings]
    lines += [Text(f"unread: {gap}", style="yellow") for gap in run.gaps]
    if run.missing:
        lines.append(Text(f"Missing from the run folder: {', '.join(run.missing)}", style="dim"))
    return [*lines, _report_line(run)]


def _numbers(measured: tuple[Result, ...]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Held-out prompts")
    for title in ("Before", "After", "Difference"):
        table.add_column(title, justify="right")
    for result in measured:
        sides = (result.before, result.after, result.difference)
        table.add_row(Text(result.measure.heading), *(_number(result, score) for score in sides))
    return table


def _number(result: Result, score: "Score | None") -> "Text":
    from rich.text import Text

    if score is None:
        return Text("–", style="dim")
    shown = result.show(score)
    return Text.assemble((shown.value, "bold"), (f"\n{shown.interval}", "dim"))


def _some_answers(run: RunRecords) -> "list[RenderableType]":
    """Draw a prompt of each kind with the rule that chose them; without verdicts the first prompts of the file."""
    from rich.text import Text

    sides = sides_of_prompts(run)
    examples = draw_examples(sides)
    if examples:
        return [
            _answers([(_heading(example), example.side) for example in examples]),
            Text(RULE, style="dim"),
            Text(""),
        ]
    return [_answers([(Text(), side) for side in sides[:_FIRST_ANSWERS]]), Text("")] if sides else []


def _heading(example: Example) -> "Text":
    from rich.text import Text

    return Text(example.heading + ("\n\n" if example.side else ""), style="bold")


def _answers(rows: "Sequence[tuple[Text, SidesOfPrompt | None]]") -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=True, expand=True)
    # In a pipe too, where a line has no end, answers side by side are read like columns of a newspaper.
    for title, ratio, widest in (("Prompt", 2, 36), ("Before", 4, 72), ("After", 4, 72)):
        table.add_column(title, ratio=ratio, max_width=widest, overflow="fold")
    for heading, side in rows:
        if side is None:
            table.add_row(heading)
        else:
            prompt = Text.assemble(heading, _shortened(side.turns[-1][1]))
            table.add_row(prompt, _answer(side.before), _answer(side.after))
    return table


def _answer(answer: Answer | None) -> "Text":
    from rich.text import Text

    if answer is None:
        return Text("not sampled", style="dim")
    facts_of = [f"{answer.num_words} {'word' if answer.num_words == 1 else 'words'}"]
    if not answer.finished:
        facts_of.append("cut off")
    text = Text(_shortened(answer.text) + "\n")
    if answer.rating is not None:
        liked = answer.rating.liked
        text.append("✓ liked" if liked else "✗ not liked", style="green" if liked else "red")
        facts_of.insert(0, "")
    return text.append(" · ".join(facts_of), style="dim")


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST].rstrip() + " …"


def _warning(warning: Warned) -> "Text":
    from rich.text import Text

    style = {"error": "bold red", "warning": "yellow"}.get(warning.severity, "dim")
    return Text(f"{warning.severity}: {warning.message}", style=style)


def _report_line(run: RunRecords) -> "Text":
    from rich.text import Text

    path = run.run_dir / REPORT
    is_written = path.is_file()
    return Text(
        f"Report: {path}" if is_written else f"No report yet in {run.run_dir}", style="bold" if is_written else "dim"
    )
