"""Where answers that are taken together were not made alike."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields

from haloes.records import Completion, Sampling

_OF_THE_MODEL = frozenset({"model", "control"})
"""What two models may differ in: it is what they are."""


def mixtures(answers: Mapping[str, Sequence[Completion]]) -> list[str]:
    """
    Sentences about answers that were not made alike: those of one model among themselves, and those of two models.

    A difference that comes from the temperature, the token limit or the engine looks like one of the models otherwise.

    Args:
        answers: by how their model is to be called.
    """
    ways = {model: Counter(answer.sampling for answer in some) for model, some in answers.items() if some}
    notes = [text for model, counted in ways.items() for text in _among_themselves(model, counted)]
    # Of a mixture it was said already that it is one.
    alike = {model: next(iter(counted)) for model, counted in ways.items() if len(counted) == 1}
    known = {model: way for model, way in alike.items() if way is not None}
    for model, way in list(known.items())[1:]:
        first = next(iter(known))
        if text := _difference(known[first], way, leaving_out=_OF_THE_MODEL):
            notes.append(f"the answers of {first} and of {model} were not made alike: {text}")
    unknown = [model for model in alike if model not in known]
    if known and unknown:
        notes.append(f"how the answers of {' and '.join(unknown)} were made is not recorded")
    return notes


def _among_themselves(model: str, ways: Counter[Sampling | None]) -> list[str]:
    (one, count), *others = ways.most_common()
    return [
        f"the answers of {model} are a mixture ({count:,} and {number:,}): {_difference(one, other)}"
        for other, number in others
    ]


def _difference(one: Sampling | None, other: Sampling | None, *, leaving_out: Collection[str] = ()) -> str:
    if one is None or other is None:
        return "of some it is not recorded how they were made"
    differing = [
        f"{f.name.replace('_', ' ')} {getattr(one, f.name)!s} and {getattr(other, f.name)!s}"
        for f in fields(Sampling)
        if f.name not in leaving_out and getattr(one, f.name) != getattr(other, f.name)
    ]
    return ", ".join(differing)
