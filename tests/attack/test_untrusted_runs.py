"""Folders of runs from anybody: code and servers that they name are run and asked by nobody who has not said so."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

import haloes
from haloes.cli.main import run
from haloes.errors import RunError
from haloes.runs.align import align
from haloes.runs.run_folder import write_config
from haloes.runs.trusted_code import state_dir
from tiny_runs import config, crash

LOSS = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from haloes import LossOutput, Needs, Unpaired

Path(__file__).with_name("was-run").touch()


@dataclass(frozen=True)
class Mine:
    needs: ClassVar[Needs] = Needs(reference=True)

    def __call__(self, batch: Unpaired) -> LossOutput:
        reward = torch.tanh(batch.completions.log_ratio())
        return LossOutput(torch.where(batch.desirable_B, -reward, +reward))
"""
FUNCTION = """
from pathlib import Path

Path(__file__).with_name("was-run").touch()


def function(prompt, completion, other):
    return True, "all are liked"
"""


@pytest.fixture(autouse=True)
def _new_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "my_loss.py").write_text(LOSS)
    (folder / "function.py").write_text(FUNCTION)
    return folder


@pytest.fixture
def started(model: Path, thumbs_file: Path, own: Path) -> Path:
    """A run of this user's with a loss of their own, killed after its second step."""
    crash(config(model, thumbs_file, loss={"name": f"{own}/my_loss.py:Mine"}), own / "run", step=2)
    (own / "was-run").unlink()
    return own / "run"


def forget() -> None:
    shutil.rmtree(state_dir())


def sections(own: Path) -> dict[str, dict[str, Any]]:
    """What an attacker may write into the settings of a run, by what it is."""
    function = f"{own}/function.py:function"
    return {
        "a loss": {"loss": {"name": f"{own}/my_loss.py:Mine"}},
        "a loss in a loss": {"loss": {"name": "length-normalised", "loss": {"name": f"{own}/my_loss.py:Mine"}}},
        "losses in a list": {"loss": {"name": "mixture", "parts": [{"name": f"{own}/my_loss.py:Mine"}]}},
        "a rater": {"samples": {"rater": function}},
        "a rater that is installed": {"samples": {"rater": "os:system"}},
        "a rater of haloes that is none": {"samples": {"rater": "haloes.store:write_text"}},
        "a rater in a package": {"samples": {"rater": "xml.sax.saxutils:escape"}},
        "a rule": {"watch": {"prompts": 2, "judge": {"kind": "rule", "rule": function}}},
        "a server": {
            "watch": {
                "prompts": 2,
                "judge": {"kind": "http", "model": "m", "base_url": "http://127.0.0.1:9/v1", "key_env": "SECRET"},
            }
        },
    }


@pytest.mark.parametrize("what", list(sections(Path())))
def test_what_a_run_names_is_not_run_before_its_user_says_so(
    what: str, model: Path, thumbs_file: Path, own: Path, capsys: pytest.CaptureFixture[str]
):
    (own / "run").mkdir()
    write_config(own / "run", config(model, thumbs_file, **sections(own)[what]))

    assert run(["resume", str(own / "run")]) == 2

    said = capsys.readouterr().err
    assert "names what you have not trained with before" in said
    assert f"haloes resume --trust-run-code {own / 'run'}" in said
    assert "Traceback" not in said
    assert not (own / "was-run").exists()


def test_no_other_command_runs_what_a_run_names(started: Path, model: Path, thumbs_file: Path, tmp_path: Path):
    function = f"{started.parent}/function.py:function"
    align(config(model, thumbs_file, loss={"name": f"{started.parent}/my_loss.py:Mine"}), started, resume=True)
    (started.parent / "was-run").unlink(missing_ok=True)
    named = yaml.safe_load((started / "config.yaml").read_text())
    named["samples"]["rater"] = function
    named["watch"] |= {"prompts": 2, "judge": {"kind": "rule", "rule": function}}
    (started / "config.yaml").write_text(yaml.safe_dump(named))
    forget()
    judged = ["--judge", "rule", "--rule", "haloes.recipes.demo.rule:rate"]

    for command in (
        ["report", started],
        ["export", started, tmp_path / "exported"],
        ["sample", started, thumbs_file, "--out", tmp_path / "answers.jsonl", "--max-new-tokens", "2"],
        ["judge", started, *judged],
        ["eval", started],
        ["compare", started, started, "--out", tmp_path / "compared"],
        ["doctor", thumbs_file, "--model", started],
    ):
        run(list(map(str, command)))

    assert (tmp_path / "exported" / "config.json").exists()
    assert not (started.parent / "was-run").exists()


def test_the_runs_of_a_user_go_on_without_a_word(started: Path):
    assert haloes.resume(started, progress=None).num_steps == 3


def test_on_another_machine_the_user_is_told_the_file_and_its_hash_and_may_trust_it_once(
    started: Path, capsys: pytest.CaptureFixture[str]
):
    import hashlib

    forget()

    assert run(["resume", str(started)]) == 2
    assert f"my_loss.py with sha256 {hashlib.sha256(LOSS.encode()).hexdigest()}" in capsys.readouterr().err
    assert not (started.parent / "was-run").exists()
    assert run(["resume", "--trust-run-code", str(started)]) == 0
    assert run(["resume", str(started)]) == 0


def test_a_record_in_the_runs_folder_or_in_a_folder_that_others_may_write_says_nothing(
    started: Path, monkeypatch: pytest.MonkeyPatch
):
    (state_dir() / "code").chmod(0o777)

    with pytest.raises(RunError, match="names what you have not trained with"):
        haloes.resume(started, progress=None)
    shutil.copytree(state_dir(), started / "haloes")
    forget()
    monkeypatch.chdir(started)
    with pytest.raises(RunError, match="names what you have not trained with"):
        haloes.resume(started, progress=None)


def moved(own: Path) -> str:
    """The same file at another place, which is not where the run was started from."""
    (own / "elsewhere").mkdir()
    shutil.copy(own / "my_loss.py", own / "elsewhere")
    return f"{own}/elsewhere/my_loss.py:Mine"


def another(own: Path) -> str:
    """Another class of the same file."""
    return f"{own}/my_loss.py:Needs"


@pytest.mark.parametrize("rename", [moved, another])
def test_the_same_hash_at_another_place_or_under_another_name_is_not_what_was_trained_with(
    rename: Callable[[Path], str], started: Path
):
    named = yaml.safe_load((started / "config.yaml").read_text())
    named["loss"]["name"] = rename(started.parent)
    (started / "config.yaml").write_text(yaml.safe_dump(named))

    with pytest.raises(RunError, match="names what you have not trained with"):
        haloes.resume(started, progress=None)


def train_on(run_dir: Path) -> haloes.Run:
    """Go on with a run by the arguments that it was started with."""
    settings = yaml.safe_load((run_dir / "config.yaml").read_text())
    return haloes.train(config=settings, out=run_dir, resume=True, progress=None)


@pytest.mark.parametrize("go_on", [partial(haloes.resume, progress=None), train_on])
def test_a_changed_loss_is_refused_before_it_is_imported(go_on: Callable[[Path], haloes.Run], started: Path):
    path = started.parent / "my_loss.py"
    path.write_text(LOSS.replace("-reward, +reward", "+reward, -reward"))

    with pytest.raises(RunError, match=r"was started with another source of the loss \(my_loss.py\)"):
        go_on(started)
    assert not (path.parent / "was-run").exists()
    # Who lets it change has not run it either.
    with pytest.raises(RunError, match="names what you have not trained with"):
        haloes.resume(started, allow_changes=True, progress=None)
    assert haloes.resume(started, allow_changes=True, trust_run_code=True, progress=None).num_steps == 3


def test_what_the_user_says_now_needs_no_flag(started: Path):
    function = f"{started.parent}/function.py:function"

    assert haloes.resume(started, settings={"samples": {"rater": function}}, progress=None).num_steps == 3


def test_a_home_that_cannot_be_written_stops_no_training_and_is_told(
    model: Path, thumbs_file: Path, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    notes: list[str] = []

    class Told(haloes.NullProgress):
        def note(self, text: str) -> None:
            notes.append(text)

    settings = config(model, thumbs_file, loss={"name": f"{own}/my_loss.py:Mine"})
    align(settings, own / "run", progress=Told())

    assert any("cannot be written down" in note and "--trust-run-code" in note for note in notes)
    with pytest.raises(RunError, match="names what you have not trained with"):
        haloes.resume(own / "run", progress=None)
