"""What an AUC shows: of the reward over all answers, at equal length, and of length alone, which of them counts."""

from dataclasses import dataclass

from haloes.report.numbers import measure_of, show
from haloes.results import Score

_CHANCE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class AucVerdict:
    """The verdict on the AUC of a run, and the number that it rests on."""

    leading: Score
    verdict: str
    """"signal", "worse" or "unclear", as in `Headline`."""
    title: str
    sentence: str


def auc_verdict(pooled: Score, controlled: Score | None, length: Score | None) -> AucVerdict:
    """
    Reach a verdict from the AUC of all answers, or from the one at equal length where the two disagree.

    They disagree where the former lies outside the latter's interval, or where the two say something else of chance
    while length tells the labels apart. Where length alone does as well, nothing is said for the reward.

    Args:
        pooled: the AUC over all answers.
        controlled: the AUC of answers of about the same length; None where it was not measured.
        length: the AUC of the length alone; None likewise.
    """
    disagree = controlled is not None and _disagree(pooled, controlled, length)
    leading = controlled if controlled is not None and disagree else pooled
    side = _side(leading)
    sentence = _of_all(pooled) if leading is pooled else _at_equal_length(leading)
    beside = _beside(pooled, controlled, length, leading)
    if side > 0 and length is not None and _does_as_well(length, leading, controlled):
        return AucVerdict(
            leading=leading,
            verdict="unclear",
            title="Length alone tells good answers from bad ones as well",
            sentence=f"{sentence} {beside} {_KNOWS_MORE if _is_beyond_length(controlled) else _KNOWS_NO_MORE}",
        )
    told = f"{sentence} {_OF_CHANCE[side]}{f' {beside}' if beside else ''}"
    return AucVerdict(leading=leading, verdict=_VERDICTS[side], title=_TITLES[side], sentence=told)


_OF_CHANCE = {
    1: "It tells good answers from bad ones.",
    0: "That is not clearly above chance.",
    -1: "That is below chance.",
}
_KNOWS_MORE = "At equal length it tells them apart too, but here length alone would have done as well."
_KNOWS_NO_MORE = "So this does not show that the model learnt more than a length."
_VERDICTS = {1: "signal", 0: "unclear", -1: "worse"}
_NOT = "The feedback does not clearly carry over to unseen prompts"
_TITLES = {1: "The feedback carries over to unseen prompts", 0: _NOT, -1: _NOT}


def _side(score: Score) -> int:
    """Return 1 where the whole interval is above chance, -1 below, 0 where it holds chance."""
    return int(score.low > _CHANCE) - int(score.high < _CHANCE)


def _disagree(pooled: Score, controlled: Score, length: Score | None) -> bool:
    # Fewer answers have one of their length, so that a wider interval alone is no disagreement.
    tells_apart = length is not None and _side(length) > 0
    return not controlled.low <= pooled.value <= controlled.high or (tells_apart and _side(controlled) != _side(pooled))


def _does_as_well(length: Score, leading: Score, controlled: Score | None) -> bool:
    if length.value >= leading.value:
        return True
    return _side(length) > 0 and length.value >= leading.low and not _is_beyond_length(controlled)


def _is_beyond_length(controlled: Score | None) -> bool:
    return controlled is not None and _side(controlled) > 0


def _of_all(score: Score) -> str:
    return f"{measure_of(score).title} on {_rows(score)}: {_number(score)}; chance is 0.5)."


def _at_equal_length(score: Score) -> str:
    title = measure_of(score).title
    return f"{title}, on {_rows(score)} with others of about their length: {_number(score)}; chance is 0.5)."


def _rows(score: Score) -> str:
    answers = "rated held-out answers"
    return f"{score.num_rows} {answers} to {score.num_clusters} prompts" if score.num_rows else answers


def _beside(pooled: Score, controlled: Score | None, length: Score | None, leading: Score) -> str:
    """Write the numbers that do not lead, and why another one does."""
    told = []
    if leading is not pooled:
        told.append(f"Over all answers it is {_number(pooled)}).")
    elif controlled is not None:
        told.append(f"At equal length: {_number(controlled)}).")
    if length is not None:
        told.append(f"{measure_of(length).title}: {_number(length)}).")
    if leading is not pooled:
        told.append("A reward that is summed over tokens drifts with length, so the number at equal length counts.")
    return " ".join(told)


def _number(score: Score) -> str:
    shown = show(score)
    return f"{shown.value} ({shown.with_level}"
