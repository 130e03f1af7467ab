"""Findings about tokens as lines of plain text, for a terminal or a log. Nothing is printed here."""

from collections.abc import Iterator, Sequence

from haloes.feedback.doctor.findings import DataAdvice, Tally
from haloes.tokens.doctor.inspect import TokenFindings


def render(findings: TokenFindings, advice: Sequence[DataAdvice] = ()) -> list[str]:
    """
    The findings as lines, and the advice after them; every advice begins with its severity and a colon.

    The lines hold bits of text from the data: print them as text, never as markup. Previews are for
    `haloes.tokens.doctor.preview.preview_lines`, or for colours.
    """
    return [*_facts(findings), *_advice(advice)]


def _facts(findings: TokenFindings) -> Iterator[str]:
    refused = findings.num_rows - findings.num_encoded
    yield _line("tokens", f"{findings.num_rows} rows, {findings.num_encoded} encoded, {refused} refused")
    for reason, tally in findings.refusals.items():
        yield _line("", f"{tally.num} refused: {reason}")
        for example in tally.examples:
            yield _line("", f"    {example}")
    end = ascii(findings.end_of_turn)
    if findings.has_chat_template:
        yield _line("template", f"the tokenizer's chat template; an answer ends with {end}")
    else:
        yield _line("template", f"none: texts stand as they are; an answer ends with {end}")
    if findings.num_encoded:
        yield from _lengths(findings)
        yield from _window(findings)
        yield from _joint(findings)


def _lengths(findings: TokenFindings) -> Iterator[str]:
    yield _line("lengths", f"{'in tokens':36}{'median':>8}{'p95':>8}{'most':>8}")
    for length in findings.lengths:
        name = "prompt and completion" if length.text == "both" else length.text
        yield _line("", f"{f'{name}, {length.label}':36}{length.median:>8}{length.p95:>8}{length.maximum:>8}")


def _window(findings: TokenFindings) -> Iterator[str]:
    over = f"{findings.num_over_window} of {findings.num_encoded} rows are longer" if findings.num_over_window else ""
    yield _line("window", f"{findings.window} tokens; {over or f'all rows fit, the longest has {findings.longest}'}")
    for name, tally in (("prompt", findings.prompts_cut), ("completion", findings.completions_cut)):
        if tally.num:
            yield _line("", f"{name} cut in {tally.num}: {_places(tally)}")


def _joint(findings: TokenFindings) -> Iterator[str]:
    if findings.difference is None:
        return
    yield _line(
        "joint", f"prompt and answer rendered together differ in {findings.disagreements.num} rows: "
        f"{_places(findings.disagreements)}"
    )  # fmt: skip
    yield _line("", f"{findings.difference.where}")
    yield _line("", f"    trained, as inference sees it: {findings.difference.inference!r}")
    yield _line("", f"    rendered together:             {findings.difference.joint!r}")


def _advice(advice: Sequence[DataAdvice]) -> Iterator[str]:
    for one in advice:
        yield f"{one.severity}: {one.finding}"
        yield f"    means: {one.meaning}"
        yield f"    do:    {one.action}"


def _places(tally: Tally) -> str:
    return ", ".join(tally.examples) + (", ..." if tally.num > len(tally.examples) else "")


def _line(name: str, text: str) -> str:
    return f"{name:10}{text}"
