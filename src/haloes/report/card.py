"""The model card: what was trained on what, what was measured and how surely, and how to load it. Nothing else."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml

from haloes.models.embedded import EMBEDDED_NAMES
from haloes.models.kind import is_classifier
from haloes.readable import readable
from haloes.report import facts
from haloes.report.headline import Result, headline, results
from haloes.report.load import RunRecords, load_run
from haloes.report.numbers import show
from haloes.results import Score
from haloes.store import write_text

_MARKUP = re.compile(r"[\\`*_{}\[\]|~$@]|:(?=//)|(?<=www)\.")
_LINE_START = re.compile(r"^([#+=-]|\d+(?=[.)](?:\s|$)))")
"""Characters that begin a heading, a list, or a rule where they stand first."""


_ONLY_THIS = (
    "Only what the table lists was measured, on the held-out prompts of this run. Nothing was measured on other "
    "prompts, languages or uses, and nothing about safety or bias unless the table names it."
)


_SCORING = """\
```python
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained("path/to/this/folder")
tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]
text = tokenizer.apply_chat_template(turns, tokenize=False)
with torch.no_grad():
    reward = model(**tokenizer(text, add_special_tokens=False, return_tensors="pt")).logits.item()
```

The reward of one answer means nothing by itself: the logistic function of the difference of two answers' rewards to
one prompt is the probability that people prefer the first. `haloes judge ANSWERS --judge reward --model FOLDER`
compares two models' answers so."""


def write_card(run_dir: Path, out_dir: Path, *, checked: str = "") -> Path:
    """
    Write `README.md`, the model card of a run, into the folder that holds its model, and return its path.

    Args:
        run_dir: the run folder that was trained in.
        out_dir: the folder of the model, the adapter or the GGUF file; the names of its files tell which it is.
        checked: a sentence on how a converted model compares with the one that was trained.

    Raises:
        RunError: the run folder does not exist.
        DataError: the card cannot be written.
    """
    run = load_run(run_dir)
    path = out_dir / "README.md"
    markdown = card(
        run,
        base=_adapter_base(out_dir),
        control=_control(out_dir),
        is_reward_model=is_classifier(out_dir),
        versions=_versions(out_dir),
        gguf=next((file.name for file in sorted(out_dir.glob("*.gguf"))), None),
        checked=checked,
    )
    write_text(path, markdown)
    return path


def card(
    run: RunRecords,
    *,
    base: str | None,
    control: tuple[str, bool] = ("", False),
    is_reward_model: bool = False,
    versions: str = "",
    gguf: str | None = None,
    checked: str = "",
) -> str:
    """
    Render the card as markdown.

    Args:
        run: the records of the run.
        base: the model that the adapter in the folder belongs to; None: the folder holds a whole model.
        control: the text that stands after every prompt ("" for none), and whether a chat template writes it.
        is_reward_model: the folder holds a sequence classifier that scores answers.
        versions: a sentence about the versions of transformers that read the folder.
        gguf: the name of the folder's GGUF file, where it holds the model in one.
        checked: a sentence on how a converted model compares with the one that was trained.
    """
    # Its advice is for whoever trains, not for whoever takes the model.
    verdict = headline(run)
    parts = [
        _front_matter(
            run, library="gguf" if gguf else "transformers" if base is None else "peft", scores=is_reward_model
        ),
        f"# {escape(run.run_dir.resolve().name)}",
        escape(facts.trained_on(run)),
        f"**{escape(verdict.title)}.** {escape(verdict.sentence)}",
        "## How to load it",
        _how_to_load(run, base=base, control=control, is_reward_model=is_reward_model, gguf=gguf),
        *([versions] if versions else []),
        *(["## Compared with the model that was trained", escape(checked)] if checked else []),
        "## Training",
        _training(run),
        "## Data",
        _data(run),
        "## Results on held-out prompts",
        _results(results(run)),
        "## Limitations",
        _limitations(run),
        escape(facts.written_by(run)),
    ]
    return readable("\n\n".join(parts) + "\n")


def _how_to_load(
    run: RunRecords, *, base: str | None, control: tuple[str, bool], is_reward_model: bool, gguf: str | None
) -> str:
    if gguf is not None:
        return f"```sh\nllama-server -m {shlex.quote(gguf)} --jinja\n```\n\nThe file brings its chat template along."
    if is_reward_model:
        return _SCORING
    return _loading(_loadable(run, base), own_tokenizer=bool(control[0])) + _control_note(control)


def escape(text: object) -> str:
    """Escape text so that markdown shows it as it is: no markup, HTML, link, table cell or line break is left."""
    # Markdown reads some characters only where a line begins, so the start is escaped on its own.
    return _LINE_START.sub(_harmless, _inline(str(text)))


def _inline(text: str) -> str:
    """Escape text inside a line, such as a table cell."""
    flat = " ".join(readable(text).split())
    escaped = _MARKUP.sub(lambda match: "\\" + match[0], flat)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _harmless(match: re.Match[str]) -> str:
    # A backslash before a digit would be shown, so a number keeps its place by a reference to its first digit.
    return f"\\{match[0]}" if not match[0][0].isdigit() else f"&#{ord(match[0][0])};{match[0][1:]}"


def _front_matter(run: RunRecords, *, library: str, scores: bool) -> str:
    loss, base = facts.loss_name(run), facts.hub_name(run)
    fields: dict[str, object] = {
        "library_name": library,
        "pipeline_tag": "text-classification" if scores else "text-generation",
        "tags": [
            "haloes",
            *(["reward-model"] if scores else ["alignment"]),
            *([loss.lower()] if loss and re.fullmatch(r"[\w.-]+", loss) else []),
        ],
    }
    if base is not None:
        fields["base_model"] = base
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---"


def _adapter_base(out_dir: Path) -> str | None:
    """Return the base model that an adapter in this folder names, "" where it names none; None without an adapter."""
    try:
        config = json.loads((out_dir / "adapter_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return ""
    return facts.text(config, "base_model_name_or_path") if isinstance(config, dict) else ""


def _control(out_dir: Path) -> tuple[str, bool]:
    """Return the control text that the folder's tokenizer names, and whether its chat template writes it."""
    try:
        config = json.loads((out_dir / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "", False
    if not isinstance(config, dict):
        return "", False
    return facts.text(config, "haloes_control"), (out_dir / "chat_template.jinja").exists() or "chat_template" in config


def _versions(out_dir: Path) -> str:
    """Say which versions of transformers read a whole model's folder, from its config; "" where that says nothing."""
    try:
        config = json.loads((out_dir / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    version = facts.text(config, "transformers_version") if isinstance(config, dict) else ""
    if not re.fullmatch(r"[\w.+-]+", version):
        return ""
    parts = [config, *(value for value in config.values() if isinstance(value, dict))]
    rotary = [part for part in parts if part.get("rope_parameters")]
    saved = f"It was saved with transformers {version}"
    if all("rope_theta" in part for part in rotary):
        return f"{saved}; transformers 4 reads it too, from the version on that knows its architecture."
    return f"{saved}, and needs transformers 5: older versions do not know how its positions are written down."


def _control_note(control: tuple[str, bool]) -> str:
    text, by_template = control
    if not text:
        return ""
    shown = f"`{text}`" if re.fullmatch(r"[^`\s][^`\n]*", text) else "its control text"
    where = f"The model was trained to answer well where {shown} stands right after the prompt"
    if by_template:
        return f"\n\n{where}. The chat template of this folder's tokenizer writes it there."
    return (
        f"\n\n{where}. There is no chat template that would write it: add it to every prompt. It is "
        "`haloes_control` in `tokenizer_config.json`, and `haloes sample` adds it."
    )


def _loadable(run: RunRecords, base: str | None) -> str | None:
    """Return the base as anybody can load it: the embedded model by its name on the hub, any other as it is."""
    return facts.hub_name(run) if base is not None and base.lower() in EMBEDDED_NAMES else base


def _loading(base: str | None, *, own_tokenizer: bool) -> str:
    if base is None:
        return _python(
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            'model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")',
            'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")',
        )
    # Anything else is a path of the machine that trained, which no reader of the card has.
    name = base if facts.is_hub_name(base) and re.fullmatch(r"[\w./-]+", base) else "path/to/the/base/model"
    code = _python(
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f'base = AutoModelForCausalLM.from_pretrained("{name}")',
        'model = PeftModel.from_pretrained(base, "path/to/this/folder")',
        f'tokenizer = AutoTokenizer.from_pretrained("{"path/to/this/folder" if own_tokenizer else name}")',
    )
    return f"This folder holds a LoRA adapter. `haloes export` merges it into a plain transformers folder.\n\n{code}"


def _python(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


def _training(run: RunRecords) -> str:
    loss = facts.loss_name(run)
    rows = [("Base model", facts.model_name(run) or "not recorded"), ("Loss", loss or "not recorded")]
    rows += [(f"{loss or 'Loss'}: {key}", value) for key, value in facts.loss_settings(run)]
    rows += [(key, value) for key, value in facts.flat(run.config.get("train")) if value != "–"]
    rows += facts.speed(run)
    return _table(("Setting", "Value"), rows)


def _data(run: RunRecords) -> str:
    parts = [escape(f"Feedback: {', '.join(facts.sources(run)) or 'not recorded'}.")]
    parts += [escape(note) for note in facts.data_notes(run)]
    rows = [(f"{half.title}: {label}", number) for half in facts.counts(run) for label, number in half.cells]
    if rows:
        parts.append(_table(("Counted", "Number"), rows))
    return "\n\n".join(parts)


def _results(found: tuple[Result, ...]) -> str:
    if not found:
        return "Nothing was measured on held-out prompts."
    rows = []
    for result in found:
        sides = (result.before, result.after, result.difference)
        rows.append((result.measure.heading, *(_number(result, score) for score in sides)))
    levels = " or ".join(sorted({show(score).level for result in found for score in _scores(result)}))
    note = f"In brackets: {levels} intervals. They count prompts, not answers, as independent."
    return f"{_table(('Measure', 'Before', 'After', 'Difference'), rows)}\n\n{escape(note)}"


def _scores(result: Result) -> tuple[Score, ...]:
    return tuple(score for score in (result.before, result.after, result.difference) if score is not None)


def _number(result: Result, score: Score | None) -> str:
    if score is None:
        return "–"
    shown = result.show(score)
    return f"{shown.value} [{shown.interval}]"


def _limitations(run: RunRecords) -> str:
    points = ["The model follows the people or the rule that gave the feedback, with their preferences and mistakes."]
    if run.scores:
        points.insert(0, _ONLY_THIS)
    points += [warning.message for warning in run.warnings]
    points += [f"Missing from the record of this run: {', '.join(run.missing)}."] if run.missing else []
    return "\n".join(f"- {escape(point)}" for point in points)


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, *rows]
    cells = [f"| {' | '.join(_inline(cell) for cell in line)} |" for line in lines]
    return "\n".join([cells[0], "|" + " --- |" * len(header), *cells[1:]])
