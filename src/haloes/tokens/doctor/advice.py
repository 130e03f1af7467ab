"""Advice that follows from the findings about tokens: what they mean, and what to do. One function a rule."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from haloes.feedback.doctor.advice import severity_of_share, share_of, worst_first
from haloes.feedback.doctor.findings import DataAdvice
from haloes.tokens.doctor.inspect import TokenFindings


def advise(findings: TokenFindings) -> list[DataAdvice]:
    """Return what the findings mean for training, the worst first."""
    return worst_first(advice for rule in _RULES for advice in rule(findings))


def _refusals(findings: TokenFindings) -> Iterator[DataAdvice]:
    refused = findings.num_rows - findings.num_encoded
    if not refused:
        return
    everything = refused == findings.num_rows
    reason = next(iter(findings.refusals))
    yield DataAdvice(
        severity="error" if everything else "warning",
        name="rows that cannot be encoded",
        finding=f"{share_of(refused, findings.num_rows)} rows cannot be turned into tokens, most often for the reason "
        f'"{reason}"',
        meaning="there is nothing to train on" if everything else "training stops at them, or goes on without them",
        action="correct them at the places named"
        + ("" if everything else ", or leave them out: --set feedback.skip_refused=true"),
    )


def _completions(findings: TokenFindings) -> Iterator[DataAdvice]:
    if findings.completions_cut.num:
        yield DataAdvice(
            severity=severity_of_share(findings.completions_cut.num, findings.num_encoded),
            name="completions cut",
            finding=f"{share_of(findings.completions_cut.num, findings.num_encoded)} rows have a completion that does "
            f"not fit the window of {findings.window} tokens",
            meaning="their end, and the token that ends the turn, are not trained: half an answer is judged as a whole",
            action=f"raise tokens.max_length (no row is longer than {findings.longest}), or leave long answers out",
        )


def _prompts(findings: TokenFindings) -> Iterator[DataAdvice]:
    if findings.prompts_cut.num:
        yield DataAdvice(
            severity=severity_of_share(findings.prompts_cut.num, findings.num_encoded),
            name="prompts cut",
            finding=f"{share_of(findings.prompts_cut.num, findings.num_encoded)} rows lose the oldest part of their "
            f"prompt to the window of {findings.window} tokens",
            meaning="the answer is judged without what it may refer to",
            action=f"raise tokens.max_length (no row is longer than {findings.longest}), if memory allows",
        )


def _joint(findings: TokenFindings) -> Iterator[DataAdvice]:
    if findings.disagreements.num:
        yield DataAdvice(
            severity="note",
            name="joint rendering differs",
            finding=f"{share_of(findings.disagreements.num, findings.num_encoded)} rows are written in other words "
            "when the chat template renders prompt and answer together",
            meaning="training follows what inference sees: the prompt as a server renders it, then the answer itself",
            action="nothing, if the answers stand as the model wrote them; if not, see the difference shown",
        )


def _template(findings: TokenFindings) -> Iterator[DataAdvice]:
    if not findings.has_chat_template and findings.num_rows:
        yield DataAdvice(
            severity="note",
            name="no chat template",
            finding="the tokenizer has no chat template",
            meaning="prompt and completion are joined as they stand, without roles or marks between them",
            action="nothing, if the prompts say all that the model needs; else use the model's instruct version",
        )


def _ends(findings: TokenFindings) -> Iterator[DataAdvice]:
    if findings.ends_spelled.num:
        yield DataAdvice(
            severity="note",
            name="ends in the text",
            finding=f"{share_of(findings.ends_spelled.num, findings.num_encoded)} rows have an answer that spells the "
            f"end of its turn or text ({findings.end_of_turn!a}, say) at its end",
            meaning="it is taken off, since every finished answer is ended once as the model ends it",
            action="nothing",
        )


_Rule: TypeAlias = Callable[[TokenFindings], Iterator[DataAdvice]]
_RULES: tuple[_Rule, ...] = (_refusals, _completions, _prompts, _joint, _template, _ends)
