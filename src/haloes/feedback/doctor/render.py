"""Render findings as lines of plain text, for a terminal or a log; nothing is printed here."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from math import isclose

from haloes.feedback.doctor.findings import (
    DataAdvice,
    Findings,
    LabelCounts,
    LengthSummary,
    PromptCounts,
    Tally,
)
from haloes.feedback.personal import NAMES
from haloes.feedback.raters.reliability import Raters
from haloes.feedback.refusals import NO_FAULT
from haloes.feedback.weights import HIGHEST_RATIO, LOWEST_RATIO
from haloes.report.numbers import length_sentence, plain
from haloes.report.shown import BY as RATED_BY
from haloes.report.shown import rated, share_rated
from haloes.report.taste import BY, people, share_up, thumbs
from haloes.results import Taste

_SHOWN_RATERS = 8


def render(findings: Findings, advice: Sequence[DataAdvice] = ()) -> list[str]:
    """
    Return the findings as lines, and the advice after them; every advice begins with its severity and a colon.

    The lines hold names and bits of text from the data: print them as text, never as markup.
    """
    return [*_rows(findings), *_facts(findings), *advice_lines(advice)]


def _rows(findings: Findings) -> Iterator[str]:
    num_faults = findings.num_refused - findings.num_left_out
    line = f"{findings.num_read} read, {findings.num_accepted} usable, {num_faults} refused"
    yield fact_line("rows", line + (f", {findings.num_left_out} left out" if findings.num_left_out else ""))
    for reason, tally in findings.refusals.items():
        yield fact_line("", f"{tally.num} {'left out' if reason in NO_FAULT else 'refused'}: {reason}")
        for example in tally.examples:
            yield fact_line("", f"    {example}")


def _facts(findings: Findings) -> Iterator[str]:
    if findings.prompts is None:
        return
    kinds = (("labelled", findings.num_labelled), ("with score", findings.num_scored), ("in pairs", findings.num_pairs))
    yield fact_line("kinds", ", ".join(f"{num} {name}" for name, num in kinds if num))
    yield from _balance(findings.balance)
    yield from _prompts(findings.prompts)
    if findings.taste is not None:
        yield from _taste(findings.taste)
    if findings.raters is not None and findings.raters.num_shared:
        yield from _raters(findings.raters)
    yield from _personal(findings.personal)
    yield from _lengths(findings.lengths)
    by_people = findings.taste is not None and findings.taste.length is not None
    if findings.length_auc is not None and not by_people:
        yield fact_line("", length_sentence(findings.length_auc))

    yield from _reasoning(findings.reasoning)


def _reasoning(rows: Tally) -> Iterator[str]:
    if rows.num:
        places = ", ".join(rows.examples) + (", ..." if rows.num > len(rows.examples) else "")
        yield fact_line("reasoning", f"in the answers of {rows.num} rows: {places}")
        yield fact_line("", "not trained unless feedback.reasoning=keep; --model NAME says what becomes of it")


def _balance(balance: LabelCounts) -> Iterator[str]:
    line = f"{balance.num_desirable} desirable, {balance.num_undesirable} undesirable"
    if balance.num_unlabelled:
        line += f", {balance.num_unlabelled} without label"
    if balance.ratio is None or balance.weighted_ratio is None:
        yield fact_line("labels", line)
        return
    # Where all rows weigh alike the ratio is that of the numbers beside it.
    alike = isclose(balance.ratio * balance.num_undesirable, balance.num_desirable, rel_tol=1e-6)
    by = "" if alike else " by the rows' weights"
    yield fact_line("labels", f"{line}; ratio {balance.ratio:.3g}{by} (paper: {LOWEST_RATIO:g} to {HIGHEST_RATIO:g})")
    yield fact_line(
        "weights",
        f"auto: desirable {balance.weights.desirable:.4g}, undesirable {balance.weights.undesirable:.4g}; "
        f"ratio then {balance.weighted_ratio:.3g}",
    )


def _prompts(prompts: PromptCounts) -> Iterator[str]:
    yield fact_line(
        "prompts",
        f"{prompts.num}, of which {prompts.num_with_several_answers} have several answers and "
        f"{prompts.num_with_both_labels} have both labels",
    )
    yield fact_line(
        "", f"answers each: median {prompts.median_answers}, p95 {prompts.p95_answers}, most {prompts.max_answers}"
    )
    linked = f"; conversations: {prompts.num_conversations}" if prompts.num_conversations else ""
    yield fact_line("", f"sets of rows that a split can separate: {prompts.num_units}{linked}")


def _taste(taste: Taste) -> Iterator[str]:
    sentences = people(taste)
    for number, sentence in enumerate(sentences):
        yield fact_line("" if number else "people", sentence)
    for number, sentence in enumerate(thumbs(taste)):
        yield fact_line("" if number else "thumbs", sentence)
    for by, votes in groupby(taste.kinds, key=lambda kind: kind.by):
        yield fact_line("", f"{BY[by]} (95% intervals, over people)")
        for kind in votes:
            yield fact_line("", f"  {kind.name:32.32}{kind.num_votes:>8}   {share_up(kind)}")
    for number, sentence in enumerate(rated(taste.shown)):
        yield fact_line("" if number else "unrated", sentence)
    for by, answers in groupby(() if taste.shown is None else taste.shown.kinds, key=lambda kind: kind.by):
        yield fact_line("", f"answers that are rated, {RATED_BY[by]} (95% intervals, over people)")
        for each in answers:
            yield fact_line("", f"  {each.name:32.32}{each.num_shown:>8}   {share_rated(each)}")


def _raters(found: Raters) -> Iterator[str]:
    if found.too_little:
        yield fact_line("raters", f"how far each can be relied on is not known: {found.too_little}")
        return
    yield fact_line(
        "raters",
        f"how far each can be relied on, by {found.num_shared} answers with several votes (feedback.rater_weights=em)",
    )
    yield fact_line("", "1: always right, 0: says nothing of the answer, below 0: the wrong way round (95% intervals)")
    for rater in found.raters[:_SHOWN_RATERS]:
        yield fact_line(
            "",
            f"  {rater.name:32.32}{rater.num_votes:>8}   {plain(rater.reliability, 2)} "
            f"({plain(rater.low, 2)} to {plain(rater.high, 2)})",
        )
    if len(found.raters) > _SHOWN_RATERS:
        yield fact_line("", f"  and {len(found.raters) - _SHOWN_RATERS} people with fewer votes")


def _personal(personal: Mapping[str, Tally]) -> Iterator[str]:
    for number, (kind, rows) in enumerate(personal.items()):
        places = ", ".join(rows.examples) + (", ..." if rows.num > len(rows.examples) else "")
        yield fact_line("" if number else "private", f"rows that hold {NAMES[kind]}: {rows.num} ({places})")


def _lengths(lengths: Sequence[LengthSummary]) -> Iterator[str]:
    yield fact_line("lengths", f"{'':36}{'median':>8}{'p95':>8}{'most':>8}")
    for length in lengths:
        name = f"{length.text}, {length.label}, {length.unit}"
        yield fact_line("", f"{name:36}{length.median:>8}{length.p95:>8}{length.maximum:>8}")


def advice_lines(advice: Sequence[DataAdvice]) -> Iterator[str]:
    """Yield three lines for each advice: the finding after its severity, what it means, and what to do."""
    for each in advice:
        yield f"{each.severity}: {each.finding}"
        yield f"    means: {each.meaning}"
        yield f"    do:    {each.action}"


def fact_line(name: str, text: str) -> str:
    """Return a line whose name stands in a column of its own; an empty name continues the line above."""
    return f"{name:10}{text}"
