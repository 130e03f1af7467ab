"""The settings and counts of a run, in the words of the report."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from haloes.models.embedded import EMBEDDED_NAMES
from haloes.records import Sampling
from haloes.report.load import RunRecords
from haloes.report.numbers import GIB, brief, count, duration, percent, rounding_sentence, size
from haloes.results_json import Fields, is_finite

_COUNTED = {
    "rows": "answers",
    "pairs": "pairs",
    "prompts": "prompts",
    "desirable": "desirable",
    "undesirable": "undesirable",
    "tokens": "tokens",
    "truncated": "answers cut to fit",
    "prompts cut": "prompts cut to fit",
}
_PARTS = ("desirable", "undesirable", "truncated")
"""Counts that are a part of all answers."""
_EMBEDDED_ON_HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
_NAMES = ("name", "model", "path", "kind", "type")
"""The keys under which a section of a configuration says what it is about, most telling first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """One half of the data in numbers."""

    title: str
    cells: tuple[tuple[str, str], ...]
    """(what is counted, how many)."""
    desirable: int
    undesirable: int


def name_of(section: object) -> str | None:
    """Return what a section of the configuration is about: itself where it is plain text, or its name."""
    if isinstance(section, str):
        return section
    if isinstance(section, Mapping):
        return next((section[key] for key in _NAMES if isinstance(section.get(key), str) and section[key]), None)
    return None


def model_name(run: RunRecords) -> str | None:
    """Return the model that training started from: a hub name as it is, of a local path the last part."""
    name = name_of(run.config.get("model"))
    if name is None or is_hub_name(name):
        return name
    # A path of the machine it ran on says nothing elsewhere, and may say too much.
    return "SmolLM2-135M-Instruct" if name.lower() in EMBEDDED_NAMES else _last_part(name)


def hub_name(run: RunRecords) -> str | None:
    """Return the hub's name of the model that training started from; None for a model of this machine."""
    name = name_of(run.config.get("model"))
    if name is not None and name.lower() in EMBEDDED_NAMES:
        return _EMBEDDED_ON_HUB
    return name if name is not None and is_hub_name(name) else None


def is_hub_name(name: str) -> bool:
    """Return whether a model name has the shape owner/name of a hub, and is no path of this machine."""
    parts = name.split("/")
    # owner/name also is a relative path; a dot, a tilde or a backslash shows that it is one.
    return len(parts) == 2 and all(parts) and not name.startswith((".", "~")) and "\\" not in name  # noqa: PLR2004


def loss_name(run: RunRecords) -> str | None:
    """Return the loss as it is usually spelled: upper case where it is an acronym; of file.py:Class the class."""
    name = name_of(run.config.get("loss"))
    if name is not None and ".py:" in name:
        return name.rsplit(":", 1)[-1]
    return name.upper() if name and name.islower() else name


def loss_settings(run: RunRecords) -> tuple[tuple[str, str], ...]:
    """List the hyperparameters of the loss; a weight that was set automatically shows what it came to."""
    section = run.config.get("loss")
    if not isinstance(section, Mapping):
        return ()
    weights = run.data.get("weights")
    resolved = weights if isinstance(weights, Mapping) else {}
    name = name_of(section)
    return tuple(
        (str(key).replace("_", " "), _setting(setting, resolved.get(str(key).removesuffix("_weight"))))
        for key, setting in section.items()
        if not (key in _NAMES and setting == name)
    )


def sources(run: RunRecords) -> tuple[str, ...]:
    """List the names of the feedback files or sets, without the folders of the machine they lay on."""
    named = run.data.get("sources")
    listed = named if isinstance(named, list) else []
    return tuple(_last_part(str(source)) for source in listed)


def counts(run: RunRecords) -> tuple[Counts, ...]:
    """Return the numbers of the training and the validation half, as far as they were counted."""
    halves = (("Training", "train"), ("Held out", "validation"), ("Held out, chose the step", "selection"))
    return tuple(
        _counts(title, half) for title, key in halves if isinstance(half := run.data.get(key), Mapping) and half
    )


def data_notes(run: RunRecords) -> tuple[str, ...]:
    """Describe in sentences what became of the rows that were read, and how the two labels weigh."""
    rows, weights = run.data.get("rows"), run.data.get("weights")
    notes = []
    if isinstance(rows, Mapping) and rows:
        export = f" of the {rows['export']}" if rows.get("export") else ""
        note = f"{count(rows.get('read'))} rows{export} were read and {count(rows.get('accepted'))} accepted."
        listed = _left_out(rows)
        notes.append(f"{note} Left out: {listed}." if listed else note)
        replaced = rows.get("replaced")
        if isinstance(replaced, Mapping) and replaced:
            listed = ", ".join(f"{kind} {count(number)}" for kind, number in replaced.items())
            notes.append(f"Personal data that gave way to placeholders: {listed}.")
        if is_finite(unused := rows.get("undesirable left out")) and unused:
            notes.append(f"{count(unused)} undesirable answers were left out: this loss learns from the others alone.")
    held_out = run.data.get("validation rows")
    if isinstance(held_out, Mapping) and (listed := _left_out(held_out)):
        notes.append(f"Left out of the held-out file: {listed}.")
    if isinstance(weights, Mapping) and weights:
        listed = ", ".join(f"{_weight(weight)} for {label} answers" for label, weight in weights.items())
        notes.append(f"Weights in the loss: {listed}.")
    return tuple(notes)


def _left_out(rows: Fields) -> str:
    """Return how many rows of a file were left out, by reason; empty where none was."""
    refused = rows.get("refused")
    reasons = refused.items() if isinstance(refused, Mapping) else ()
    numbers = [(int(number), str(reason)) for reason, number in reasons if is_finite(number) and number]
    return ", ".join(f"{count(number)} for {reason}" for number, reason in sorted(numbers, reverse=True))


def written_by(run: RunRecords) -> str:
    """Name the version of haloes that made the run, and when it started."""
    version, started = text(run.environment, "haloes"), text(run.environment, "started")
    return f"Written by haloes{f' {version}' if version else ''}{f' for a run started {started}' if started else ''}."


def text(section: Fields, key: str) -> str:
    """Return a field as text; empty where it is missing."""
    return value(section[key]) if section.get(key) is not None else ""


def rounding(run: RunRecords) -> str:
    """Say in a sentence which numbers are rounding; empty where that was not measured."""
    found = run.environment.get("rounding")
    measured = found if isinstance(found, Mapping) else {}
    nats, answers, tokens = (measured.get(name) for name in ("nats", "answers", "tokens"))
    if not (is_finite(nats) and is_finite(answers) and is_finite(tokens)):
        return ""
    return f"Rounding: {rounding_sentence(nats=nats, answers=int(answers), tokens=tokens)}."


def answers_made(run: RunRecords) -> str:
    """Describe in sentences how the sampled answers were made; empty where no record says it."""
    ways: dict[Sampling, list[str]] = {}
    for sample in run.samples:
        if sample.sampling is not None and sample.model not in ways.setdefault(sample.sampling, []):
            ways[sample.sampling].append(sample.model)
    said = {way: _decoding(way) for way in ways}
    if len(set(said.values())) <= 1:
        sentences = list(dict.fromkeys(said.values()))
    else:
        sentences = [f"{' and '.join(models).capitalize()}: {said[way]}" for way, models in ways.items()]
    controls = {way.control: models for way, models in ways.items() if way.control}
    sentences += [
        f"Answers {' and '.join(models)}: with the control text {text} after each prompt."
        for text, models in controls.items()
    ]
    return " ".join(sentences)


def _decoding(way: Sampling) -> str:
    drawn = f"drawn at temperature {brief(way.temperature)}" if way.temperature else "the likeliest token each time"
    nucleus = (
        f", from the likeliest {percent(way.top_p)} of the probability" if way.temperature and way.top_p < 1 else ""
    )
    return f"At most {count(way.max_new_tokens)} tokens an answer, {drawn}{nucleus} ({way.engine})."


def speed(run: RunRecords) -> tuple[tuple[str, str], ...]:
    """List how long the run took and what it used."""
    facts = []
    listed = run.environment.get("parts")
    parts = [part for part in listed if isinstance(part, Mapping)] if isinstance(listed, list) else []
    if run.train:
        facts.append(("Steps", count(run.train[-1]["step"])))
    if is_finite(seconds := run.environment.get("seconds")):
        facts.append(("Time", duration(float(seconds)) + (f" in {len(parts)} parts" if len(parts) > 1 else "")))
    if threads := [count(part["threads"]) for part in parts if is_finite(part.get("threads"))]:
        # Each number once for parts in a row that had the same.
        facts.append(("Threads", ", then ".join(number for number, _ in groupby(threads))))
    # The median: the first step compiles and warms up, and would pull a mean down.
    rates = sorted(row["tokens_per_second"] for row in run.train if is_finite(row.get("tokens_per_second")))
    if rates:
        middle, low, high = (count(rates[len(rates) * quarter // 4]) for quarter in (2, 1, 3))
        facts.append(("Tokens per second (median; middle half of the steps)", f"{middle} ({low} to {high})"))
    memory = [row["memory_gib"] for row in run.train if is_finite(row.get("memory_gib"))]
    if memory:
        facts.append(("Peak memory", size(max(memory) * GIB)))
    return tuple(facts)


def flat(section: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Flatten a nested configuration to (dotted key, value): the keys that `--set` takes."""
    if isinstance(section, Mapping) and section:
        for key, item in section.items():
            yield from flat(item, f"{prefix}.{key}" if prefix else str(key))
    elif prefix:
        yield prefix, value(section)


def commands(run: RunRecords) -> tuple[tuple[str, str], ...]:
    """
    List (what for, command) of what a reader may want to run.

    A run that was named by a relative path is named so here; of an absolute path only the last part is told.
    """
    # What a reader types has to work where the page is read, and absolute paths are of the machine that wrote it.
    named = run.run_dir.name if run.run_dir.is_absolute() else str(run.run_dir)
    folder = shlex.quote(named)
    typed = text(run.environment, "command")
    again = typed if typed.startswith("haloes train ") else f"haloes train --config {folder}/config.yaml"
    model = run.config.get("model")
    is_adapter = isinstance(model, Mapping) and model.get("lora") is not None
    suggested = [
        ("Train again with the same settings and data", again),
        ("Go on where the run stopped", f"haloes resume {folder}"),
    ]
    if any(score.name == "pair_accuracy" for score in run.scores):
        suggested.append(
            ("Let it judge the answers of another run", f"haloes judge RUN --judge reward --model {folder}")
        )
    elif is_adapter:
        suggested.append(
            (
                "Merge the adapter into a plain transformers folder",
                f"haloes export {folder} {shlex.quote(f'{named}-merged')}",
            )
        )
    return tuple(suggested)


def trained_on(run: RunRecords) -> str:
    """Put the run into a sentence: loss, amount of feedback, where from, and the model."""
    half = run.data.get("train")
    numbers = half if isinstance(half, Mapping) else {}
    amount = "feedback"
    if is_finite(pairs := numbers.get("pairs")) and pairs:
        amount = f"{count(pairs)} pairs of answers"
    elif is_finite(rows := numbers.get("rows")) and rows:
        amount = f"{count(rows)} rated answers"
    if is_finite(prompts := numbers.get("prompts")) and prompts:
        amount += f" to {count(prompts)} prompts"
    seen = run.train[-1].get("epoch") if run.train else None
    if is_finite(seen) and seen < 1:
        amount += f" (of which it saw {seen:.0%})"
    where = f" from {' and '.join(sources(run))}" if sources(run) else ""
    sentence = f"{model_name(run) or 'A model'}, trained with {loss_name(run) or 'an unnamed loss'} on {amount}{where}."
    return " ".join([sentence, *_lineage(run)])


def _lineage(run: RunRecords) -> Iterator[str]:
    """Yield a sentence on the run that this one goes on from, and one on those before that."""
    listed = run.environment.get("goes_on_from")
    earlier = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    if not earlier:
        return
    yield f"It goes on from {_earlier(earlier[-1])}; the model that this run left is what before means here."
    if rest := earlier[-2::-1]:
        yield f"That went on from {', and that from '.join(map(_earlier, rest))}."


def _earlier(record: Fields) -> str:
    """Write a run that was gone on from: its name, loss, steps and feedback."""
    named = record.get("sources")
    files = [_last_part(str(source)) for source in named] if isinstance(named, list) else []
    parts = [text(record, "loss").upper()] if record.get("loss") else []
    parts += [f"{count(record['steps'])} steps"] if is_finite(record.get("steps")) else []
    told = ", ".join(parts) + (f" on {' and '.join(files)}" if files else "")
    return f"{_last_part(text(record, 'run'))}{f' ({told})' if told else ''}"


def _last_part(path: str) -> str:
    return path.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]


def _setting(setting: object, resolved: object) -> str:
    return f"auto ({brief(resolved)})" if setting == "auto" and is_finite(resolved) else value(setting)


def value(setting: object) -> str:
    """Write a setting as a configuration would."""
    if setting is None:
        return "–"
    if isinstance(setting, bool):
        return "true" if setting else "false"
    if isinstance(setting, float):
        return f"{setting:g}"
    if isinstance(setting, Sequence) and not isinstance(setting, str):
        return ", ".join(map(value, setting)) or "–"
    return str(setting)


def _weight(number: object) -> str:
    return brief(number) if is_finite(number) else value(number)


def _counts(title: str, half: Fields) -> Counts:
    desirable, undesirable = (int(n) if is_finite(n := half.get(key)) else 0 for key in ("desirable", "undesirable"))
    answers = desirable + undesirable
    pairs = half.get("pairs")
    skipped = {"rows"} if is_finite(pairs) and pairs else {"pairs"}
    cells = []
    for key, label in _COUNTED.items():
        number = half.get(key)
        if not is_finite(number) or key in skipped or (key == "prompts cut" and not number):
            continue
        share = f" ({percent(number / answers)})" if key in _PARTS and answers and number else ""
        cells.append((label, count(number) + share))
    return Counts(
        title=title,
        cells=tuple(cells),
        desirable=desirable,
        undesirable=undesirable,
    )
