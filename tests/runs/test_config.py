"""Settings: the defaults are the documented ones, every fault is explained, and what is saved makes the same run."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from haloes.errors import ConfigError
from haloes.models.adapters import LoRA
from haloes.runs.config import FeedbackSettings, ModelSettings, RunConfig, SampleSettings, TokenSettings, as_mapping
from haloes.runs.config_layers import config_of_file, make_config
from haloes.runs.read_settings import parse_setting, parse_settings, read_yaml
from haloes.runs.run_folder import read_config, write_config
from haloes.runs.setting_faults import OTHER_TOOLS, settings_called
from haloes.runs.setting_texts import json_schema
from haloes.training.settings import TrainSettings

DEFAULTS: dict[str, Any] = {
    "feedback": {
        "source": "",
        "format": None,
        "columns": {},
        "split": "train",
        "preference_scale": None,
        "sessions": None,
        "system": None,
        "scrub": False,
        "rater_weights": None,
        "reweight": None,
        "voters": ["human"],
        "metric": None,
        "words": None,
        "labels_from": None,
        "one_per_prompt": False,
        "reasoning": "drop",
        "cut_off": "guess",
        "skip_refused": False,
        "validation": None,
        "validation_share": "auto",
        "split_seed": 0,
        "validation_rows": 512,
    },
    "tokens": {"max_length": 2048, "chat_template_kwargs": None},
    "model": {
        "name": "embedded",
        "reference": None,
        "init": None,
        "dtype": "auto",
        "device": "auto",
        "lora": {"rank": 16, "alpha": 32.0, "targets": "all-linear", "layers": None},
        "quantize": None,
        "liger": False,
    },
    "loss": {"name": "kto", "desirable_weight": "auto", "undesirable_weight": "auto"},
    "train": {
        "lr": "auto",
        "kl_budget": "auto",
        "batch_size": "auto",
        "epochs": "auto",
        "optimizer": "adamw",
        "weight_decay": 0.0,
        "warmup": 0.1,
        "schedule": "linear",
        "max_grad_norm": 10.0,
        "dropout": 0.0,
        "microbatch_tokens": None,
        "microbatch_examples": None,
        "gradient_checkpointing": False,
        "activation_offload": False,
        "prompts_together": False,
        "repeats_budget": 0.0,
        "shard": "auto",
        "shard_over": None,
        "threads": None,
        "reference_cache": True,
        "validate_every": None,
        "keep_best": None,
        "early_stop": None,
        "checkpoint_every": 50,
        "save_while_training": "auto",
        "keep_checkpoints": 2,
        "seed": 0,
    },
    "samples": {
        "prompts": 24,
        "max_new_tokens": 128,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": 0,
        "batch_size": 64,
        "rater": None,
    },
    "watch": {"prompts": 0, "judge": None, "length": 2.0, "repetition": 0.1, "finished": 0.2, "kl": 50.0},
}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_defaults_are_the_documented_ones():
    assert as_mapping(make_config()) == DEFAULTS


def test_later_layers_override_earlier_ones_key_by_key():
    made = make_config({"train": {"lr": 1e-4, "seed": 3}}, {"train": {"lr": 2e-4}, "tokens": {"max_length": 64}})

    assert (made.train.lr, made.train.seed, made.train.batch_size, made.tokens.max_length) == (2e-4, 3, "auto", 64)


def test_adapters_are_switched_off_with_null_and_on_again_with_a_rank():
    assert make_config({"model": {"lora": None}}).model.lora is None
    assert make_config({"model": {"lora": None}}, {"model": {"lora": {"rank": 2}}}).model.lora == LoRA(rank=2)


# --- the section of the loss


def test_another_loss_does_not_inherit_hyperparameters():
    assert make_config({"loss": {"name": "dpo"}}).loss == {"name": "dpo"}
    assert make_config({"loss": {"name": "dpo", "beta": 0.3}}, {"loss": {"name": "sft"}}).loss == {"name": "sft"}


def test_the_same_loss_keeps_what_is_not_overridden():
    auto = {"desirable_weight": "auto", "undesirable_weight": "auto"}

    assert make_config({"loss": {"beta": 0.3}}).loss == {"name": "kto", **auto, "beta": 0.3}
    assert make_config({"loss": {"name": "kto", "beta": 0.3}}).loss == {"name": "kto", **auto, "beta": 0.3}
    assert make_config({"loss": {"beta": 0.3}}, {"loss": {"name": "kto"}}).loss["beta"] == 0.3
    assert make_config({"loss": {"name": "dpo", "beta": 0.3}}, {"loss": {"beta": 0.2}}).loss == {
        "name": "dpo",
        "beta": 0.2,
    }


def test_coming_back_to_the_default_loss_brings_back_its_weights_from_the_data():
    assert make_config({"loss": {"name": "dpo", "beta": 0.3}}, {"loss": {"name": "kto"}}).loss == DEFAULTS["loss"]


@pytest.mark.parametrize("order", [1, -1])
def test_hyperparameters_may_stand_before_the_name_of_their_loss(order: int):
    given_settings = ["loss.beta=0.3", "loss.name=dpo"][::order]

    assert make_config(parse_settings(given_settings)).loss == {"name": "dpo", "beta": 0.3}


# --- faults


def test_what_other_tools_call_a_setting_is_a_setting_of_ours_and_no_name_of_one():
    for word, ours in OTHER_TOOLS.items():
        settings: Any = as_mapping(RunConfig()) | {"loss": {"name": "kto", "beta": 0.1}}
        for key in ours.split("."):
            settings = settings[key]
        assert word not in as_mapping(RunConfig())
        assert not any(word in section for section in as_mapping(RunConfig()).values())


def test_a_word_without_its_section_is_looked_for_in_all():
    assert settings_called("learning_rate") == ["train.lr"]
    assert settings_called("seed") == ["train.seed", "samples.seed"]
    assert settings_called("zzz") == []


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"trian": {}}, r'^trian: there is no such setting\. Did you mean "train"\?'),
        ({"lr": 1}, r'^lr: .* Did you mean "train\.lr"\?'),
        ({"train": {"batchsize": 1}}, r'^train\.batchsize: .* Did you mean "train\.batch_size"\?'),
        ({"feedback": {"sources": "x"}}, r'Did you mean "feedback\.source"\?'),
        ({"tokens": {"maxlength": 1}}, r'Did you mean "tokens\.max_length"\?'),
        ({"model": {"nmae": "x"}}, r'Did you mean "model\.name"\?'),
        ({"model": {"lora": {"rnak": 4}}}, r'Did you mean "model\.lora\.rank"\?'),
        ({"samples": {"prompt": 1}}, r'Did you mean "samples\.prompts"\?'),
        ({"train": {"learning_rate": 1}}, r'^train\.learning_rate: .* Did you mean "train\.lr"\?'),
        ({"train": {"num_train_epochs": 1}}, r'Did you mean "train\.epochs"\?'),
        ({"max_seq_length": 1}, r'^max_seq_length: .* Did you mean "tokens\.max_length"\?'),
        ({"model": {"lora": {"r": 4}}}, r'Did you mean "model\.lora\.rank"\?'),
        ({"train": {"zzz": 1}}, r"^train\.zzz: there is no such setting\. There are: lr, batch_size, "),
    ],
)
def test_an_unknown_key_is_refused_with_a_suggestion(section: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        make_config(section)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"train": {"lr": "fast"}}, r"train\.lr: .*number.* got 'fast'"),
        ({"train": {"lr": "5"}}, r"train\.lr: .* got '5'"),
        ({"train": {"lr": True}}, r"train\.lr: .* got True"),
        ({"train": {"batch_size": 2.5}}, r"train\.batch_size: .* got 2\.5"),
        ({"train": {"batch_size": None}}, r"train\.batch_size: .* got None"),
        ({"train": {"optimizer": "sgd"}}, r"train\.optimizer: .*'adamw', 'adamw8bit' or 'rmsprop'.* got 'sgd'"),
        ({"model": {"quantize": "8bit"}}, r"model\.quantize: .*'4bit'.* got '8bit'"),
        ({"model": {"quantize": "4bit", "lora": None}}, r"model\.quantize: weights in four bits cannot be trained"),
        ({"train": {"gradient_checkpointing": "yes"}}, r"train\.gradient_checkpointing: .* got 'yes'"),
        ({"train": 5}, r"^train: .* got 5"),
        ({"loss": "kto"}, r"^loss: .* got 'kto'"),
        ({"model": {"dtype": "float16"}}, r"model\.dtype: .* got 'float16'"),
        ({"model": {"lora": {"rank": "4"}}}, r"model\.lora\.rank: .* got '4'"),
        ({"model": {"name": 5}}, r"model\.name: .* got 5"),
        ({"feedback": {"columns": ["answer"]}}, r"feedback\.columns: .* got \['answer'\]"),
        (
            {"feedback": {"validation_share": "x"}},
            r"^feedback\.validation_share: it should be a number, or 'auto', got 'x'$",
        ),
        ({"model": {"lora": {"targets": 5}}}, r"^model\.lora\.targets: it should be text, or a list of texts, got 5$"),
        ({"model": {"lora": {"targets": [1]}}}, r"^model\.lora\.targets: it should be text, .*, got \[1\]$"),
        (
            {"model": {"lora": {"layers": [0, "a"]}}},
            r"^model\.lora\.layers: .*or 'upper third', got \[0, 'a'\]",
        ),
        ({"feedback": {"columns": {"a": 5, "b": 6}}}, r"columns\.a: .* got 5; feedback\.columns\.b: .* got 6"),
        ({"samples": {"rater": False}}, r"samples\.rater: .* got False"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_the_value(section: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        make_config(section)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"train": {"lr": 0}}, r"train\.lr must be positive"),
        ({"train": {"lr": math.nan}}, r"train\.lr must be positive"),
        ({"train": {"lr": math.inf}}, r"train\.lr must be positive and finite"),
        ({"train": {"batch_size": 0}}, r"train\.batch_size must be at least 1"),
        ({"train": {"warmup": 1}}, r"train\.warmup must be at least 0 and below 1"),
        ({"train": {"validate_every": 0}}, r"train\.validate_every must be at least 1"),
        ({"feedback": {"validation_share": 1}}, r"feedback\.validation_share must be at least 0 and below 1"),
        ({"feedback": {"validation_share": "half"}}, r"feedback\.validation_share.*'auto'"),
        ({"feedback": {"validation_rows": 0}}, r"feedback\.validation_rows must be at least 1"),
        ({"model": {"lora": {"rank": 0}}}, r"model\.lora\.rank must be at least 1"),
        ({"samples": {"prompts": -1}}, r"samples\.prompts must be at least 0"),
        ({"samples": {"max_new_tokens": 0}}, r"samples\.max_new_tokens must be at least 1"),
        ({"samples": {"temperature": -0.1}}, r"samples\.temperature must be 0 .* or positive, got -0\.1"),
        ({"samples": {"temperature": math.nan}}, r"samples\.temperature must be"),
        ({"samples": {"top_p": 0}}, r"samples\.top_p must be above 0 and at most 1"),
        ({"samples": {"batch_size": 0}}, r"samples\.batch_size must be at least 1"),
        ({"samples": {"prompts": 0, "rater": "a:b"}}, r"samples\.rater has nothing to rate"),
    ],
)
def test_a_value_out_of_range_is_refused_before_anything_is_done(section: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        make_config(section)


def test_all_faults_are_told_at_once():
    with pytest.raises(ConfigError, match=r"tokens\.nope: .*; train\.lr: "):
        make_config({"train": {"lr": "x"}, "tokens": {"nope": 1}})


# --- YAML


def test_a_file_gives_nested_settings_and_5e_6_is_a_number(tmp_path: Path):
    path = write(tmp_path, "train:\n  lr: 5e-6\n  seed: 7\nmodel: {name: m, lora: null}\n")

    assert read_yaml(path) == {"train": {"lr": 5e-6, "seed": 7}, "model": {"name": "m", "lora": None}}


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "train:\n", "train:\n  # lr: 1\n"])
def test_an_empty_file_or_section_changes_nothing(tmp_path: Path, text: str):
    assert make_config(read_yaml(write(tmp_path, text))) == make_config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:\n  lr: 1\n bad: 2\n", r"run\.yaml:3: not YAML: expected <block end>"),
        ("train:\n  lr: [1, 2\n", r"run\.yaml:3: not YAML: "),
        ("a: b: c\n", r"run\.yaml:1: not YAML: mapping values are not allowed"),
        ("train: !python/object:os.system {}\n", r"run\.yaml:1: not YAML: could not determine a constructor"),
        ("- 1\n", r"run\.yaml: expected sections such as `train:`, found list"),
        ("just words\n", r"run\.yaml: expected sections such as `train:`, found str"),
        ("a: \x01\n", r"run\.yaml: not YAML: "),
    ],
)
def test_a_fault_is_named_by_file_and_line(tmp_path: Path, text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        read_yaml(write(tmp_path, text))


def test_a_file_that_is_missing_or_not_utf8_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nope\.yaml: cannot be read \(No such file"):
        read_yaml(tmp_path / "nope.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"train: {lr: \xe9}")
    with pytest.raises(ConfigError, match=r"latin\.yaml: not YAML: .*utf-8"):
        read_yaml(tmp_path / "latin.yaml")


def test_a_fault_in_the_file_names_the_file_and_one_in_a_flag_does_not(tmp_path: Path):
    path = write(tmp_path, "train: {learning_rate: 1}\n")
    with pytest.raises(ConfigError, match=r"run\.yaml: train\.learning_rate: there is no such setting"):
        config_of_file(path, {"train": {"lr": 1.0}})
    path = write(tmp_path, "train: {lr: 1.0}\n")
    with pytest.raises(ConfigError, match=r"^train\.seed: "):
        config_of_file(path, {"train": {"seed": "x"}})
    assert config_of_file(path, {"train": {"seed": 3}}) == make_config({"train": {"lr": 1.0, "seed": 3}})
    assert config_of_file(None, {"train": {"lr": 1.0}}) == make_config({"train": {"lr": 1.0}})


# --- key=value


@pytest.mark.parametrize(
    ("text", "nested"),
    [
        ("train.lr=5e-6", {"train": {"lr": 5e-6}}),
        ("train.lr=1E+2", {"train": {"lr": 100.0}}),
        ("train.seed=3", {"train": {"seed": 3}}),
        ("model.lora=null", {"model": {"lora": None}}),
        ("model.lora.rank=8", {"model": {"lora": {"rank": 8}}}),
        ("feedback.skip_refused=true", {"feedback": {"skip_refused": True}}),
        (
            "feedback.labels_from={rule: threshold, tau: 3}",
            {"feedback": {"labels_from": {"rule": "threshold", "tau": 3}}},
        ),
        ("model.lora.targets=[q_proj, v_proj]", {"model": {"lora": {"targets": ["q_proj", "v_proj"]}}}),
        ("feedback.source=a=b.jsonl", {"feedback": {"source": "a=b.jsonl"}}),
        (" train.seed = 3", {"train": {"seed": 3}}),
        ("feedback.format=", {"feedback": {"format": None}}),
    ],
)
def test_a_setting_is_a_dotted_key_with_a_yaml_value(text: str, nested: dict[str, Any]):
    assert parse_setting(text) == nested


@pytest.mark.parametrize("text", ["train.lr", "=3", " =3", ""])
def test_a_setting_without_key_or_value_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"expected section\.key=value, such as train\.lr=5e-6"):
        parse_setting(text)


def test_a_folder_in_place_of_the_settings_file_is_told(tmp_path: Path):
    with pytest.raises(ConfigError, match="is a folder; give the YAML file with settings"):
        config_of_file(tmp_path)


def test_a_setting_whose_value_is_not_yaml_is_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"--set train\.lr=\[1: the value is not YAML: ") as caught:
        parse_setting("train.lr=[1")

    assert "\n" not in str(caught.value)


def test_settings_are_merged_and_the_last_one_wins():
    assert parse_settings(["train.lr=1", "train.seed=2", "train.lr=3"]) == {"train": {"lr": 3, "seed": 2}}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_way_to_write_a_number_is_read_as_that_number(number: float):
    parsed = parse_setting(f"train.lr={number!r}")["train"]["lr"]

    assert isinstance(parsed, float)
    assert parsed == number


# --- there and back

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=12)
CONFIGS = st.builds(
    RunConfig,
    feedback=st.builds(
        FeedbackSettings,
        source=NAMES,
        format=st.none() | NAMES,
        columns=st.dictionaries(NAMES, st.none() | NAMES, max_size=2),
        labels_from=st.none() | st.just({"rule": "mean", "per_prompt": True}),
        skip_refused=st.booleans(),
        validation=st.none() | NAMES,
        validation_share=st.just("auto") | st.floats(0, 0.99),
        validation_rows=st.none() | st.integers(1, 1000),
        split_seed=st.integers(),
    ),
    tokens=st.builds(TokenSettings, max_length=st.integers(8, 4096)),
    model=st.builds(
        ModelSettings,
        name=NAMES,
        dtype=st.sampled_from(["auto", "float32", "bfloat16"]),
        lora=st.none() | st.builds(LoRA, rank=st.integers(1, 64), targets=NAMES | st.lists(NAMES, min_size=1)),
    ),
    loss=st.sampled_from([{"name": "dpo", "beta": 0.1}, {"name": "sft"}, {"name": "a.py:B", "beta": [1, None]}]),
    train=st.builds(
        TrainSettings,
        lr=st.floats(1e-9, 1, exclude_min=True),
        microbatch_tokens=st.none() | st.integers(1, 9),
        schedule=st.sampled_from(["constant", "linear", "cosine"]),
        seed=st.integers(0, 2**31),
    ),
    samples=st.builds(SampleSettings, prompts=st.integers(1, 9), rater=st.none() | NAMES),
)


@settings(deadline=None, max_examples=40)
@given(CONFIGS)
def test_a_configuration_as_a_mapping_makes_the_same_configuration(made: RunConfig):
    assert make_config(as_mapping(made)) == made


@settings(deadline=None, max_examples=40)
@given(CONFIGS)
def test_a_configuration_as_json_and_as_yaml_makes_the_same_configuration(made: RunConfig):
    mapping = as_mapping(made)

    assert make_config(json.loads(json.dumps(mapping))) == made
    assert make_config(yaml.safe_load(yaml.safe_dump(mapping, allow_unicode=True))) == made


def test_what_a_run_saves_is_read_back_as_the_same_configuration_with_overrides(tmp_path: Path):
    made = make_config({"feedback": {"source": "é: #1.jsonl"}, "train": {"lr": 3e-7}, "loss": {"name": "dpo"}})
    write_config(tmp_path, made)

    assert read_config(tmp_path) == made
    changed = read_config(tmp_path, {"train": {"seed": 4}})
    assert changed == replace(made, train=replace(made.train, seed=4))


# --- the schema


def properties(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    sections = [schema, *schema["$defs"].values()]
    return [
        (f"{section['title']}.{key}", field) for section in sections for key, field in section["properties"].items()
    ]


def test_the_schema_describes_every_setting_and_forbids_others():
    schema = json_schema()
    undescribed = [name for name, field in properties(schema) if not field.get("description")]

    assert not undescribed
    assert len(properties(schema)) == len(DEFAULTS) + sum(map(len, DEFAULTS.values())) - len(DEFAULTS["loss"]) + 4
    assert schema["additionalProperties"] is False
    assert all(section["additionalProperties"] is False for section in schema["$defs"].values())


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("TrainSettings.lr", "KTO paper"),
        ("TrainSettings.batch_size", "paper"),
        ("TrainSettings.epochs", "paper"),
        ("TrainSettings.optimizer", "paper"),
        ("TrainSettings.weight_decay", "authors"),
        ("TrainSettings.warmup", "authors"),
        ("TrainSettings.max_grad_norm", "paper"),
        ("TokenSettings.max_length", "authors"),
        ("RunConfig.loss", "paper"),
        ("FeedbackSettings.labels_from", "paper"),
        ("LoRA.rank", "peft"),
    ],
)
def test_the_schema_says_where_a_default_comes_from(name: str, origin: str):
    assert origin in dict(properties(json_schema()))[name]["description"]


def test_the_schema_shows_the_defaults():
    found = dict(properties(json_schema()))

    assert found["TrainSettings.lr"]["default"] == "auto"
    assert found["FeedbackSettings.validation_share"]["default"] == "auto"


@pytest.mark.parametrize("text", ["off", '"off"', "full", "auto"])
def test_whether_weights_are_shared_is_set_as_it_is_said(text: str, tmp_path: Path):
    file = tmp_path / "settings.yaml"
    file.write_text(f"train:\n  shard: {text}\n")

    assert make_config(parse_settings([f"train.shard={text}"])).train.shard == text.strip('"')
    assert config_of_file(file).train.shard == text.strip('"')
