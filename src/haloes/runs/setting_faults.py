"""What is wrong with a setting, in a sentence, and which setting a wrong or foreign name was meant to be."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from haloes.runs.config import RunConfig, as_mapping

_KINDS = {"float": "a number", "int": "a whole number", "bool": "true or false", "str": "text"}

_PLURAL = {"float": "numbers", "int": "whole numbers", "str": "texts"}

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


def faults_by_setting(faults: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
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


def explain_faults(faults: Sequence[Mapping[str, Any]]) -> str:
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
    settings = known_keys(path[:-1])
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


def settings_called(word: str) -> list[str]:
    """Return the settings, likeliest first, that are meant by a word without its section or by another tool's word."""
    return [*_by_other_tools(word), *_in_sections(word)]


def _by_other_tools(word: str) -> list[str]:
    return [OTHER_TOOLS[word]] if word in OTHER_TOOLS else []


def _in_sections(key: str) -> list[str]:
    return [f"{section}.{key}" for section in known_keys([]) if key in known_keys([section])]


def known_keys(path: list[str]) -> list[str]:
    """Return the names in a section, or of the sections."""
    settings: Any = as_mapping(RunConfig())
    for part in path:
        settings = settings.get(part, {}) if isinstance(settings, dict) else {}
    return list(settings)
