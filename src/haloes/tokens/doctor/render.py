"""Render findings about tokens as lines of plain text, for a terminal or a log; nothing is printed here."""

from collections.abc import Iterator, Sequence

from haloes.feedback.doctor.findings import DataAdvice, Tally
from haloes.feedback.doctor.render import advice_lines, fact_line
from haloes.thoughts import is_closed_at_end
from haloes.tokens.doctor.inspect import TokenFindings


def render(findings: TokenFindings, advice: Sequence[DataAdvice] = ()) -> list[str]:
    """
    Return the findings as lines, and the advice after them; every advice begins with its severity and a colon.

    The lines hold bits of text from the data: print them as text, never as markup. Previews are for
    `haloes.tokens.doctor.preview.preview_lines`, or for colours.
    """
    return [*_facts(findings), *advice_lines(advice)]


def _facts(findings: TokenFindings) -> Iterator[str]:
    refused = findings.num_rows - findings.num_encoded
    yield fact_line("tokens", f"{findings.num_rows} rows, {findings.num_encoded} encoded, {refused} refused")
    for reason, tally in findings.refusals.items():
        yield fact_line("", f"{tally.num} refused: {reason}")
        for example in tally.examples:
            yield fact_line("", f"    {example}")
    end = ascii(findings.end_of_turn)
    if findings.has_chat_template:
        yield fact_line("template", f"the tokenizer's chat template; an answer ends with {end}")
        if findings.header:
            # A block of thoughts is not trained where nobody thought: it is given, as if the prompt ended with it.
            learns = "; it is given, and not trained" if is_closed_at_end(findings.header) else ", and learns to"
            yield fact_line("", f"the model itself writes {findings.header!a} before its words{learns}")
        if findings.begun:
            yield fact_line("", f"the prompt begins the answer with {findings.begun!a}, which is not trained")
    else:
        yield fact_line("template", f"none: texts stand as they are; an answer ends with {end}")
    if findings.num_encoded:
        yield from _lengths(findings)
        yield from _window(findings)
        yield from _reasoning(findings)
        yield from _joint(findings)


def _lengths(findings: TokenFindings) -> Iterator[str]:
    yield fact_line("lengths", f"{'in tokens':36}{'median':>8}{'p95':>8}{'most':>8}")
    for length in findings.lengths:
        name = "prompt and completion" if length.text == "both" else length.text
        yield fact_line("", f"{f'{name}, {length.label}':36}{length.median:>8}{length.p95:>8}{length.maximum:>8}")


def _window(findings: TokenFindings) -> Iterator[str]:
    fits = f"all rows fit, the longest has {findings.longest}"
    over = f"{findings.num_over_window} of {findings.num_encoded} rows are longer" if findings.num_over_window else fits
    yield fact_line("window", f"{findings.window} tokens; {over}")
    for name, tally in (("prompt", findings.prompts_cut), ("completion", findings.completions_cut)):
        if tally.num:
            yield fact_line("", f"{name} cut in {tally.num}: {_places(tally)}")


def _reasoning(findings: TokenFindings) -> Iterator[str]:
    shown, left_out = findings.reasoning_shown, findings.reasoning_left_out
    if shown.num:
        done = (
            "it is trained with the answer" if findings.trains_reasoning else "the answer is trained as it follows it"
        )
        yield fact_line("reasoning", f"in {shown.num} of {findings.num_encoded} rows; {done}: {_places(shown)}")
    if left_out.num:
        yield fact_line(
            "" if shown.num else "reasoning",
            f"in {left_out.num} {'more' if shown.num else f'of {findings.num_encoded} rows'}; left out, as this model "
            f"does not think here: {_places(left_out)}",
        )


def _joint(findings: TokenFindings) -> Iterator[str]:
    if findings.difference is None:
        return
    yield fact_line(
        "joint", f"prompt and answer rendered together differ in {findings.disagreements.num} rows: "
        f"{_places(findings.disagreements)}"
    )  # fmt: skip
    yield fact_line("", f"{findings.difference.where}")
    yield fact_line("", f"    trained, as inference sees it: {findings.difference.inference!r}")
    yield fact_line("", f"    rendered together:             {findings.difference.joint!r}")


def _places(tally: Tally) -> str:
    return ", ".join(tally.examples) + (", ..." if tally.num > len(tally.examples) else "")
