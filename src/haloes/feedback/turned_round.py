"""
Refuse mappings that read a comparison of two answers as something else, which would turn part of the data round.

Either one of the two is mapped as the answer and the verdict as its label, or one is called the better one in every row
while a column says which is. Where the mapping is meant, the user leaves the other column out ("answer_b=", "rating=").
"""

from collections.abc import Callable, Mapping, Sequence

from haloes.errors import DataError
from haloes.feedback import column_guess as guess
from haloes.feedback.columns import columns_option
from haloes.feedback.containers import NumberedRow
from haloes.feedback.proposals import advice_lines
from haloes.feedback.refusals import RefusalError
from haloes.records import memory_name


def check_two_answers(
    columns: Mapping[str, str | None],
    rows: Sequence[NumberedRow],
    more: Callable[[], Sequence[NumberedRow]],
    *,
    path: str,
) -> None:
    """
    Raise DataError for a mapping that would turn a comparison round, with the mapping of a comparison.

    Args:
        columns: Our name -> the file's column, or None to leave out the column of that name.
        rows: The first rows of the file.
        more: Returns more of them, on which a proposal is tried.
        path: The file.
    """
    values = guess.values_of(row for _, row in rows if not isinstance(row, RefusalError))
    found = _other_answer(columns, values) or _other_verdict(columns, values)
    if found is None:
        return
    what, meant, left_out = found
    advice = "\n".join(advice_lines(more(), path=path))
    raise DataError(
        f"{memory_name(path) or path}: columns: {what}\n{advice}\nIf {meant}, leave {left_out} out: "
        f"{columns_option({**columns, left_out: None})}"
    )


def _other_answer(
    columns: Mapping[str, str | None], values: Mapping[str, Sequence[object]]
) -> tuple[str, str, str] | None:
    """Return what is wrong where one answer of two is mapped with a verdict that may be about both."""
    answer, name = columns.get("completion"), "label" if "label" in columns else "score"
    verdict = columns.get(name) or name
    other = None if answer is None else guess.sibling_of(answer, values)
    if other is None or _is_mentioned(other, columns) or guess.has_side(verdict):
        return None
    what = (
        f"{answer} is mapped as the answer, and {other} beside it looks like the other answer of a comparison: if "
        f"{verdict} says which is better, as a {name} of {answer} it turns the data round."
    )
    return what, f"{verdict} is about {answer} alone", other


def _other_verdict(
    columns: Mapping[str, str | None], values: Mapping[str, Sequence[object]]
) -> tuple[str, str, str] | None:
    """Return what is wrong where one side is called better in every row although a column seems to say which is."""
    a, b = columns.get("chosen"), columns.get("rejected")
    if a is None or b is None or guess.sibling_of(a, values) != b:
        return None
    verdicts = guess.preference_columns(values, guess.Sides(a, b), prompt=columns.get("prompt") or "prompt")
    verdict = next((name for name in verdicts if not _is_mentioned(name, columns)), None)
    if verdict is None:
        return None
    what = (
        f"chosen={a},rejected={b} says that {a} is the better answer in every row, and {verdict} seems to say which is."
    )
    return what, f"{a} is always the better one", verdict


def _is_mentioned(column: str, columns: Mapping[str, str | None]) -> bool:
    return column in columns or column in columns.values()
