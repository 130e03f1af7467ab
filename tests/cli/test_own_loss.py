"""A loss from a user's file trains through the command and the Python API, with its settings from the configuration."""

from pathlib import Path

import pytest
import yaml

import haloes
from haloes.cli.main import run
from haloes.losses.make import make_loss
from tiny_runs import flags, metrics

MY_LOSS = '''
"""A loss of one's own: the log-ratio itself, scaled."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from haloes import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True, slots=True)
class MyLoss:
    needs: ClassVar[Needs] = Needs(reference=True)
    metrics: ClassVar[tuple[str, ...]] = ("worth",)
    scale: float = 1.0

    def __call__(self, batch: Unpaired) -> LossOutput:
        reward = torch.tanh(self.scale * batch.completions.log_ratio())
        loss = torch.where(batch.desirable_B, -reward, reward)
        return LossOutput(per_example=loss, metrics={"worth": reward.detach()})
'''


@pytest.fixture
def own_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my_loss.py"
    path.write_text(MY_LOSS)
    return path


def test_it_trains_through_the_command_with_its_settings(model: Path, thumbs_file: Path, own_loss: Path):
    name = "my_loss.py:MyLoss"
    arguments = ["train", str(thumbs_file), "--loss", name, *flags(model, loss__scale="0.5"), "--out", "run"]
    assert run(arguments) == 0

    saved = yaml.safe_load(Path("run/config.yaml").read_text())["loss"]
    assert saved["scale"] == 0.5
    assert saved["name"].endswith(name)
    lines = [line for line in metrics(Path("run")) if line["split"] == "train"]
    assert lines[0]["loss"] == pytest.approx(0.0, abs=1e-6)
    assert all("worth" in line for line in lines)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert run(["resume", "run"]) == 0


def test_it_trains_through_the_python_api(model: Path, thumbs_file: Path, own_loss: Path, tmp_path: Path):
    loss = make_loss(f"{own_loss}:MyLoss", {"scale": 2.0})
    small = {"model": {"dtype": "float32", "lora": {"rank": 4}}, "samples": {"prompts": 0}}

    done = haloes.train(feedback=thumbs_file, out=tmp_path / "run", model=str(model), loss=loss, config=small)

    assert done.num_steps > 0
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["loss"]["scale"] == 2.0


def test_a_setting_that_it_does_not_have_is_refused(
    model: Path, thumbs_file: Path, own_loss: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(["train", str(thumbs_file), "--loss", f"{own_loss}:MyLoss", *flags(model, loss__scal="0.5")]) == 2
    assert 'no hyperparameter "scal". Did you mean "scale"?' in capsys.readouterr().err


WRAPPER = """

@dataclass(frozen=True)
class Capped:
    inner: object
    most: float = 5.0

    @property
    def needs(self) -> Needs:
        return self.inner.needs

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.inner.metrics

    def __call__(self, batch: Unpaired) -> LossOutput:
        output = self.inner(batch)
        return LossOutput(per_example=output.per_example.clamp(max=self.most), metrics=output.metrics)
"""


def test_a_wrapper_trains_from_flags_and_from_yaml_and_is_resumed(model: Path, thumbs_file: Path, own_loss: Path):
    own_loss.write_text(MY_LOSS + WRAPPER)
    inner = ["--set", "loss.inner.name=my_loss.py:MyLoss", "--set", "loss.inner.scale=0.5"]
    settings = {"name": "my_loss.py:Capped", "inner": {"name": "my_loss.py:MyLoss", "scale": 0.5}}
    Path("settings.yaml").write_text(yaml.safe_dump({"loss": settings}))
    command = ["train", str(thumbs_file), *flags(model)]

    assert run([*command, "--loss", "my_loss.py:Capped", *inner, "--out", "flags"]) == 0
    assert run([*command, "--config", "settings.yaml", "--out", "yaml"]) == 0
    assert run([*command, "--config", "flags/config.yaml", "--out", "again"]) == 0
    assert run(["resume", "flags", "--set", "train.epochs=2", "--allow-changes"]) == 0

    saved = [yaml.safe_load(Path(out, "config.yaml").read_text())["loss"] for out in ("flags", "yaml", "again")]
    assert saved[0] == saved[1] == saved[2]
    assert saved[0]["inner"]["scale"] == 0.5
    assert metrics(Path("yaml")) == metrics(Path("again"))
    assert run(["losses", "show", "my_loss.py:Capped"]) == 0


def test_what_it_returns_is_looked_at_before_anything_is_loaded(
    model: Path, thumbs_file: Path, own_loss: Path, capsys: pytest.CaptureFixture[str]
):
    own_loss.write_text(MY_LOSS.replace("per_example=loss", "per_example=loss.mean()"))
    command = ["train", str(thumbs_file), "--loss", "my_loss.py:MyLoss", *flags(model), "--out", "run"]

    assert run(command) == 2
    assert "this is one number for all: leave mean()" in " ".join(capsys.readouterr().err.split())
    assert not Path("run").exists()


def test_metrics_that_it_does_not_declare_are_refused_with_the_line_to_write(
    model: Path, thumbs_file: Path, own_loss: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = '    metrics: ClassVar[tuple[str, ...]] = ("worth",)\n'
    own_loss.write_text(MY_LOSS.replace(line, ""))
    arguments = [
        "train",
        str(thumbs_file),
        "--loss",
        f"{own_loss}:MyLoss",
        *flags(model),
        "--out",
        str(tmp_path / "run"),
    ]
    assert run(arguments) == 2
    assert "write metrics: ClassVar[tuple[str, ...]] = ('worth',) in its class" in " ".join(
        capsys.readouterr().err.split()
    )
