"""Code is found by its name in the settings, with what it imports from beside itself, and nothing of it is run."""

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from haloes.runs.named_code import LOSS, RATER, RULE, NamedCode, named_code, sources


def names(path: Path) -> set[str]:
    return {file.relative_to(path.parent).as_posix() for file in sources(path)}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder / "loss.py"


def test_losses_raters_and_rules_are_found_wherever_they_stand():
    sections = {
        "loss": {"name": "humanline", "loss": {"name": "a.py:A"}, "more": [{"name": "b.py:B"}, 3]},
        "samples": {"rater": "package.module:rater"},
        "watch": {"judge": {"kind": "rule", "rule": "c.py:rule"}},
    }

    assert [(code.role, code.setting, code.name) for code in named_code(sections)] == [
        (LOSS, "loss.loss.name", "a.py:A"),
        (LOSS, "loss.more.name", "b.py:B"),
        (RATER, "samples.rater", "package.module:rater"),
        (RULE, "watch.judge.rule", "c.py:rule"),
    ]


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"loss": {"name": "kto"}, "samples": {"rater": None}, "watch": {"judge": None}},
        {"samples": {"rater": "haloes.recipes.demo.rule:rate"}},
        {"samples": {"rater": "<lambda of __main__>"}},
    ],
)
def test_what_haloes_brings_and_what_was_given_from_python_is_no_code_by_a_name(sections: dict[str, object]):
    assert named_code(sections) == ()


def test_what_haloes_has_for_other_ends_is_code_as_any_other():
    assert [code.name for code in named_code({"samples": {"rater": "haloes.store:write_text"}})] == [
        "haloes.store:write_text"
    ]


def test_what_a_file_imports_from_beside_itself_belongs_to_it(tmp_path: Path):
    path = write(
        tmp_path,
        {
            "loss.py": "import torch, helper\nfrom tools import more\ndef later():\n    from deep.down import thing\n",
            "helper.py": "import second",
            "second.py": "import helper",
            "tools/__init__.py": "from . import more\nfrom .. import outside",
            "tools/more.py": "",
            "deep/__init__.py": "",
            "deep/down.py": "",
            "unused.py": "",
        },
    )

    assert names(path) == {
        "loss.py",
        "helper.py",
        "second.py",
        "tools/__init__.py",
        "tools/more.py",
        "deep/__init__.py",
        "deep/down.py",
    }


@pytest.mark.parametrize("text", ["import (", "\0", "x = " + "(" * 5000, "from .......... import x"])
def test_a_file_that_is_not_python_is_the_file_alone(text: str, tmp_path: Path):
    assert names(write(tmp_path, {"loss.py": text})) == {"loss.py"}


def test_a_module_is_found_without_importing_the_packages_that_it_lies_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(tmp_path, {"package/__init__.py": "raise SystemExit('it was run')", "package/module.py": ""})
    monkeypatch.syspath_prepend(tmp_path)

    assert NamedCode(RATER, "samples.rater", "package.module:rater").file == tmp_path / "package" / "module.py"
    assert NamedCode(RATER, "samples.rater", "sys:exit").file is None
    assert NamedCode(RATER, "samples.rater", "no.such.module:exit").file is None
    assert NamedCode(RATER, "samples.rater", ":").file is None
    assert "package" not in sys.modules


def test_what_is_installed_is_not_followed():
    import json

    assert names(Path(json.__file__)) == {"__init__.py"}
