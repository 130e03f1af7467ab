"""How many prompts a run holds out, and what these can show: said before any time is spent, and the same everywhere."""

from collections.abc import Mapping
from typing import Any

from haloes.feedback.doctor.findings import DataAdvice, PromptCounts
from haloes.runs.config import FeedbackSettings, RunConfig
from haloes.stats.power import describe_win_rate_power

ENOUGH = 24
"""Held-out prompts that "auto" aims at: they show a win rate of 77% or more, and cost little to answer."""
LEAST, MOST = 0.1, 1 / 3
"""The shares that "auto" stays between: so many prompts are never held out that training lacks them."""


def held_out_share(settings: FeedbackSettings, num_prompts: int) -> float:
    """
    Return the share of rows to hold out, which "auto" leaves to the number of prompts.

    That is `ENOUGH / num_prompts`, but at least a tenth and at most a third: a tenth from 240 prompts on, 0.24 of 100,
    a third up to 72. It depends on nothing else, so that whoever knows the number of prompts finds the same share.
    """
    if settings.validation_share != "auto":
        return settings.validation_share
    # Four digits: as it is saved with the run and shown, it is what was used.
    return round(min(MOST, max(LEAST, ENOUGH / max(num_prompts, 1))), 4)


def held_out_note(config: RunConfig, facts: Mapping[str, Any], num_answered: int) -> str | None:
    """
    Return what the held-out prompts of a run can show and which setting changes it; None where none are answered.

    Args:
        config: the run's resolved settings.
        facts: counts of its data (`data.json`).
        num_answered: held-out prompts that are answered before and after training.
    """
    num_held_out = facts.get("held-out prompts")
    if not num_answered or num_held_out is None:
        return None
    of_all, raised = "", "give more in feedback.validation"
    if config.feedback.validation is None:
        of_all = f" of {num_held_out + facts['train']['prompts']:,}"
        raised = _raised(float(config.feedback.validation_share))
    answered = "all" if num_answered == num_held_out else f"{num_answered:,}"
    if num_answered < num_held_out:
        raised = f"raise samples.prompts ({num_answered})"
    return (
        f"{num_held_out:,}{of_all} prompts are held out, and {answered} of them answered before and after training: "
        f"{describe_win_rate_power(num_answered)}; to show smaller differences, {raised}"
    )


def held_out_advice(config: RunConfig, prompts: PromptCounts | None) -> list[DataAdvice]:
    """Return what `doctor` says of the prompts that training would hold out; nothing where it would hold out none."""
    settings = config.feedback
    if settings.validation is not None or prompts is None or prompts.num_units == 1:
        return []
    share = held_out_share(settings, prompts.num)
    num_held_out = max(1, round(share * prompts.num))
    num_answered = min(num_held_out, config.samples.prompts)
    if share == 0 or num_answered == 0:
        return []
    chosen = "that is its own choice" if settings.validation_share == "auto" else "as the settings say"
    return [
        DataAdvice(
            severity="note",
            name="held-out prompts",
            finding=f"training holds out about {num_held_out:,} of {prompts.num:,} prompts "
            f"(feedback.validation_share={share:g}; {chosen})",
            meaning=describe_win_rate_power(num_answered),
            action=f"to show smaller differences, {_raised(share)}"
            if num_answered == num_held_out
            else f"to show smaller differences, raise samples.prompts ({num_answered})",
        )
    ]


def _raised(share: float) -> str:
    return f"raise feedback.validation_share ({share:g}), or add feedback on other prompts"
