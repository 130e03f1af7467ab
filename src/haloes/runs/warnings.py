"""Warnings at the end of a run, of its data, its speed and its scores: plain sentences, each with what to do."""

import dataclasses
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from haloes.feedback.weights import ClassWeights, class_weights, is_in_paper_range, ratio
from haloes.losses._contract import Loss
from haloes.models.forward import Scorer
from haloes.records import Completion
from haloes.results import Score
from haloes.training.settings import TrainSettings

_ENOUGH_STEPS = 10
_OFTEN = 0.02


def data_warnings(facts: Mapping[str, Any], loss: Loss[Any]) -> list[str]:
    """Warn of the data as the run uses it."""
    train = facts["train"]
    warnings = list(facts["warnings"])
    if train["truncated"] > 0:
        share = train["truncated"] / max(train["desirable"] + train["undesirable"], 1)
        warnings.append(
            f"{train['truncated']} completions ({share:.1%}) did not fit the window and lost their end, which is not "
            "learned then: raise tokens.max_length"
        )
    if train["prompts cut"] > 0:
        warnings.append(
            f"{train['prompts cut']} prompts lost their oldest turns to the window: raise tokens.max_length"
        )
    if train["template differs"] > 0:
        warnings.append(
            f"{train['template differs']} completions are rendered in other words by the chat template when it sees "
            "the whole conversation; training follows what inference sees (`haloes doctor FILE --model M` shows them)"
        )
    if train.get("look cut off"):
        warnings.append(
            f"{train['look cut off']} answers look cut off in mid-sentence, and their end of turn is not trained: a "
            "column `finished` says which are (of pairs chosen_finished, rejected_finished), feedback.cut_off=trust "
            "trains the end of all"
        )
    return warnings + _reasoning_warning(train) + _label_warning(train, loss) + _weight_warning(train, loss)


def _reasoning_warning(train: Mapping[str, Any]) -> list[str]:
    """Say what becomes of the reasoning that answers came with."""
    counts = train.get("reasoning", {})
    trained, given, left_out = (counts.get(name, 0) for name in ("trained", "given", "left out"))
    which = "`haloes doctor FILE --model M` says which"
    said = []
    if trained:
        said.append(f"{trained} answers came with reasoning, which is trained too (feedback.reasoning=keep); {which}")
    if given:
        said.append(
            f"{given} answers came with reasoning, which is not trained: each answer is trained as it follows its "
            f"reasoning (feedback.reasoning=keep trains both); {which}"
        )
    if left_out:
        said.append(
            f"{left_out} answers came with reasoning that was left out, as the chat template has no place for it here "
            f"(a model that does not think, or enable_thinking=false); {which}"
        )
    return said


def answer_warnings(answers: Sequence[Completion]) -> list[str]:
    """Warn of answers that are empty, because they were cut off inside the reasoning before them."""
    cut = sum(answer.only_thinks for answer in answers)
    if not cut:
        return []
    told = (
        f"{cut} of {len(answers)} answers to held-out prompts were cut off inside their reasoning and are empty: raise "
        "samples.max_new_tokens, or let the model answer at once where its template can "
        "(tokens.chat_template_kwargs.enable_thinking=false)"
    )
    return [told]


def speed_warnings(scorer: Scorer, settings: TrainSettings) -> list[str]:
    """Warn of attention that is slower than it could be."""
    slower = "attention runs sequence by sequence, which is slower on a GPU than all at once"
    if scorer.no_kernel_because is not None:
        return [f"{slower}: {scorer.no_kernel_because}"]
    if scorer.kernel is not None and settings.dropout > 0:
        return [f"{slower}: {scorer.kernel.name} knows no dropout; train.dropout=0 would be faster"]
    return []


def training_warnings(
    metrics: Sequence[Mapping[str, Any]], scores: Sequence[Score], *, kl_budget: float = inf
) -> list[str]:
    """Warn of how training went, and where the answers moved surely further than `kl_budget` nats each."""
    steps = [line for line in metrics if line["split"] == "train"]
    warnings: list[str] = []
    clamped = _mean(steps, "reference_point/clamped")
    if clamped is not None and clamped > 0.9 and len(steps) >= _ENOUGH_STEPS:  # noqa: PLR2004
        warnings.append(
            f"the reference point was clamped at 0 in {clamped:.0%} of the steps: the policy moved away from "
            "mismatched completions, and a constant reference point of 0 would have done as well"
        )
    after = {score.name: score for score in scores if score.variant == "after"}
    length = after.get("auc_length")
    if length is not None and after["auc"].low > 1 / 2 and length.value >= after["auc"].value:
        warnings.append(
            f"length alone tells held-out answers apart as well as the model does ({length.label or length.name}: "
            f"{_in_words(length)}): balance the lengths of good and bad answers, or judge the answers (`haloes judge`)"
        )
    for name, what in (("auc", "AUC"), ("pair_accuracy", "pair accuracy")):
        if name not in after:
            continue
        measured = f"the held-out {what} of {_in_words(after[name])}"
        if after[name].low <= 1 / 2 <= after[name].high:
            warnings.append(
                f"{measured} cannot be told from chance (0.5): more or cleaner feedback, more steps or another "
                "learning rate are needed before this model can be trusted"
            )
        # A reward that drifts towards long answers can lie below chance where short ones are good, and still know them.
        controlled = after.get("auc_length_controlled") if name == "auc" else None
        if after[name].high < 1 / 2 and (controlled is None or controlled.value < 1 / 2):
            warnings.append(
                f"{measured} lies below chance (0.5): the model prefers what people disliked; look whether labels of "
                "the training or the validation rows are swapped"
            )
    kl = after.get("kl")
    if kl is not None and kl.low > kl_budget:
        warnings.append(
            f"the answers moved by {kl.value:.3g} nats of KL to the reference each [{kl.low:.3g}, {kl.high:.3g}], "
            f"above train.kl_budget={kl_budget:g}: read them, and lower train.lr if they fall apart (`haloes plan "
            "--find-lr` measures one)"
        )
    return warnings + _repeats_warning(scores) + _length_warning(after)


def _repeats_warning(scores: Sequence[Score]) -> list[str]:
    """Warn of answers that go in circles more often than those of the model before."""
    by_variant = {score.variant: score for score in scores if score.name == "repeats"}
    more, after = by_variant.get("difference"), by_variant.get("after")
    if more is None or after is None or more.low <= 0:
        return []
    text = (
        f"{after.value:.0%} of the answers repeat themselves, {more.value * 100:+.0f} points "
        f"[{more.low * 100:+.0f}, {more.high * 100:+.0f}] beside the model before: training went too far; lower "
        "train.lr, or set a lower train.kl_budget, which ends a run earlier"
    )
    return [text]


def _length_warning(after: Mapping[str, Score]) -> list[str]:
    """Warn of a reward model that is right only where it can go by length."""
    # Intervals that do not touch: a difference that chance makes is no bias.
    longer, shorter = after.get("pair_accuracy_longer"), after.get("pair_accuracy_shorter")
    if longer is None or shorter is None or (longer.low <= shorter.high and shorter.low <= longer.high):
        return []
    by_length = "longer" if longer.value > shorter.value else "shorter"
    text = (
        f"the reward model goes by length: it is right in {_in_words(longer)} of the pairs whose chosen answer is the "
        f"longer one and in {_in_words(shorter)} of the others, and what learns from its verdicts will write "
        f"{by_length} answers; balance the lengths of the pairs, or compare at equal length (`haloes eval`)"
    )
    return [text]


def _in_words(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _label_warning(train: Mapping[str, Any], loss: Loss[Any]) -> list[str]:
    if not loss.needs.undesirable or (train["desirable"] and train["undesirable"]):
        return []
    label, pushed = ("desirable", "pulled towards") if train["desirable"] else ("undesirable", "pushed away from")
    text = (
        f"all answers to train on are {label}: the model is only {pushed} them, and no held-out AUC can show whether "
        "it tells good from bad; add answers of the other label"
    )
    return [text]


def _weight_warning(train: Mapping[str, Any], loss: Loss[Any]) -> list[str]:
    weights = {f.name: getattr(loss, f.name) for f in dataclasses.fields(loss) if f.name.endswith("desirable_weight")}  # type: ignore[arg-type]
    if len(weights) != 2:  # noqa: PLR2004 - both classes
        return []
    used = ClassWeights(desirable=weights["desirable_weight"], undesirable=weights["undesirable_weight"])
    counted = train["weight"]["desirable"], train["weight"]["undesirable"]
    # A weight of 0 is meant: the loss is to leave that class out.
    weighted = ratio(*counted, used)
    if weighted is None or is_in_paper_range(weighted):
        return []
    advised = class_weights(*counted)
    with_weights = "" if counted == (train["desirable"], train["undesirable"]) else " (rows counted by their weights)"
    text = (
        f"desirable_weight * n_desirable / (undesirable_weight * n_undesirable) is {weighted:.2f}{with_weights}, "
        "outside the [1, 1.5] "
        f"that the KTO paper advises: loss.desirable_weight={advised.desirable:.3g} and "
        f'loss.undesirable_weight={advised.undesirable:.3g} (or "auto" for both) would bring it there'
    )
    return [text]


def _mean(lines: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [line[name] for line in lines if name in line]
    return sum(values) / len(values) if values else None
