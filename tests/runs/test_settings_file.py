"""The settings file to begin with: it is the default configuration, explained."""

from pathlib import Path

import pytest
import yaml

from haloes.errors import ConfigError
from haloes.runs.config import RunConfig
from haloes.runs.config_layers import config_of_file, make_config
from haloes.runs.setting_texts import find_settings
from haloes.runs.settings_file import first_sentence, settings_text
from haloes.runs.starter import write_starter


def test_the_settings_file_is_the_default_configuration(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text(settings_text())

    assert config_of_file(path) == make_config() == RunConfig()


def test_the_settings_file_holds_every_setting_under_its_explanation():
    lines = settings_text().splitlines()
    for key, (_, text) in find_settings(None).items():
        name = key.rpartition(".")[2]
        at = [number for number, line in enumerate(lines) if line.strip().startswith(f"{name}: ")]
        words = first_sentence(text).split()[-3:]
        assert any(lines[number - 1].strip().startswith("# ") for number in at), key
        assert any(" ".join(words).endswith(lines[number - 1].split()[-1]) for number in at), key


def test_a_change_in_the_file_is_a_change_of_the_run(tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text(settings_text().replace("  rank: 16", "  rank: 4"))

    assert config_of_file(path) == make_config({"model": {"lora": {"rank": 4}}})


def test_every_setting_is_explained_by_more_than_a_word():
    short = {key: text for key, (_, text) in find_settings(None).items() if len(text.split()) < 8}
    assert not short.keys() - {"train.lr", "train.batch_size", "train.epochs"}


def test_the_starter_writes_the_settings_and_a_few_rows_of_each_kind(tmp_path: Path):
    settings, *examples = write_starter(tmp_path / "new" / "folder")

    assert yaml.safe_load(settings.read_text())["samples"]["prompts"] == 24
    assert {path.stem for path in examples} == {"chats", "comparisons", "export", "pairs", "stars", "thumbs"}
    for path in examples:
        assert 5 <= len(path.read_text().splitlines()) <= 6


def test_the_starter_overwrites_nothing(tmp_path: Path):
    (tmp_path / "examples").mkdir()
    mine = tmp_path / "examples" / "pairs.jsonl"
    mine.write_text("mine")

    with pytest.raises(ConfigError, match=r"pairs.jsonl is there already"):
        write_starter(tmp_path)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "run.yaml").exists()
    assert [path.name for path in (tmp_path / "examples").iterdir()] == ["pairs.jsonl"]
