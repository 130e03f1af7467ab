"""The user's own code is part of a run's identity: hashed, copied, and named where it changed."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from haloes.errors import RunError
from haloes.losses._contract import LossOutput, Needs
from haloes.losses.kto import KTO
from haloes.losses.length_normalised import LengthNormalised
from haloes.losses.make import make_loss
from haloes.runs.align import align
from haloes.runs.config import RunConfig
from haloes.runs.config_layers import make_config
from haloes.runs.run_folder import read_config
from haloes.runs.user_code import code_identity, user_code
from tiny_runs import CrashAt, config, crash, warnings_of

LOSS = """
from dataclasses import dataclass
from typing import ClassVar

import torch

from haloes import LossOutput, Needs, Unpaired


@dataclass(frozen=True)
class Mine:
    needs: ClassVar[Needs] = Needs(reference=True)

    def __call__(self, batch: Unpaired) -> LossOutput:
        reward = torch.tanh(batch.completions.log_ratio())
        return LossOutput(torch.where(batch.desirable_B, -reward, +reward))
"""
RATER = "def rater(prompt, completion, finished):\n    return len(completion) > 3, 'length'\n"
RULE = "def rule(prompt, first, second):\n    return 'first' if len(first) > len(second) else 'second'\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    for name, text in (("my_loss.py", LOSS), ("my_rater.py", RATER), ("my_rule.py", RULE)):
        (folder / name).write_text(text)
    return folder


def with_own(model: Path, thumbs_file: Path, own: Path, **sections: Mapping[str, Any]) -> RunConfig:
    settings: dict[str, Any] = {
        "loss": {"name": f"{own}/my_loss.py:Mine"},
        "samples": {"rater": f"{own}/my_rater.py:rater"},
        "watch": {"prompts": 2, "judge": {"kind": "rule", "rule": f"{own}/my_rule.py:rule"}},
    }
    return config(model, thumbs_file, **settings | sections)


def edit(path: Path, old: str, new: str) -> None:
    """Edit a file as if within the same second: compiled code on disk looks as new as the source."""
    stat = path.stat()
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    ("role", "file", "edited"),
    [
        ("loss", "my_loss.py", ("-reward, +reward", "+reward, -reward")),
        ("rater", "my_rater.py", ("> 3", "< 3")),
        ("judge's rule", "my_rule.py", ("> len", "< len")),
    ],
)
def test_what_changed_between_stop_and_resume_is_named_and_its_original_kept(
    role: str, file: str, edited: tuple[str, str], own: Path, request: pytest.FixtureRequest
):
    run_dir, before = own / "run", (own / file).read_text()
    crash(with_own(request.getfixturevalue("model"), request.getfixturevalue("thumbs_file"), own), run_dir, step=2)
    edit(own / file, *edited)

    with pytest.raises(RunError) as caught:
        align(read_config(run_dir), run_dir, resume=True)

    assert f"was started with another source of the {role} ({file}); restore the original (it is in" in str(
        caught.value
    )
    assert "--allow-changes" in str(caught.value)
    (copy,) = (run_dir / "code").glob(f"{file.removesuffix('.py')}-*.py")
    assert copy.read_text() == before
    (own / file).write_text(before)
    assert align(read_config(run_dir), run_dir, resume=True).num_steps == 3


def test_a_changed_loss_may_go_on_where_that_is_wanted_and_is_warned_of(
    model: Path, thumbs_file: Path, own: Path, tmp_path: Path
):
    run_dir = tmp_path / "run"
    crash(with_own(model, thumbs_file, own), run_dir, step=2)
    edit(own / "my_loss.py", "-reward, +reward", "+reward, -reward")

    align(read_config(run_dir), run_dir, resume=True, allow_changes=True)

    assert "the run was started with another source of the loss (my_loss.py)" in warnings_of(run_dir)
    assert len(list((run_dir / "code").glob("my_loss-*.py"))) == 2


def test_a_sign_that_is_flipped_within_a_second_is_another_loss(own: Path):
    import torch

    from haloes.losses._contract import Logps, Scored, Unpaired

    path = own / "my_loss.py"
    batch = Unpaired(Scored(Logps(torch.tensor([-1.0]), torch.tensor([1])), torch.tensor([-2.0])), torch.tensor([True]))
    before = make_loss(f"{path}:Mine", {})(batch).per_example.item()
    edit(path, "-reward, +reward", "+reward, -reward")

    assert make_loss(f"{path}:Mine", {})(batch).per_example.item() == -before


def test_the_code_is_that_of_the_loss_of_what_is_inside_it_of_rater_and_rule(own: Path):
    rater, rule = f"{own}/my_rater.py:rater", f"{own}/my_rule.py:rule"
    watch = {"prompts": 2, "judge": {"kind": "rule", "rule": rule}}
    whole = make_config({"samples": {"rater": rater}, "watch": watch})
    wrapped = LengthNormalised(loss=make_loss(f"{own}/my_loss.py:Mine", {}))

    keys = [code.key for code in user_code(whole, wrapped)]

    assert keys == [
        "source of the loss (my_loss.py)",
        "source of the rater (my_rater.py)",
        "source of the judge's rule (my_rule.py)",
    ]
    assert user_code(RunConfig(), KTO()) == ()
    demo = make_config({"samples": {"rater": "haloes.recipes.demo.rule:rate"}})
    assert user_code(demo, KTO()) == ()


@dataclass(frozen=True)
class Here:
    needs: ClassVar[Needs] = Needs()

    def __call__(self, batch: Any) -> LossOutput:
        return LossOutput(batch.completions.policy.total())


def test_a_loss_and_a_rater_that_are_given_from_python_have_a_source_as_well():
    def liked(prompt: Any, completion: str, finished: bool) -> tuple[bool, str]:
        return finished, completion

    named = make_config({"samples": {"rater": "<liked>"}})
    first = code_identity(user_code(named, Here(), liked))  # type: ignore[arg-type]
    second = code_identity(user_code(named, Here(), lambda *_: (True, "")))  # type: ignore[arg-type]

    assert "source of the loss (test_user_code.py)" in first
    assert len(first) == len(second) == 2
    assert first != second


def test_of_a_rater_without_a_source_a_hash_of_what_it_does_is_kept_and_said():
    def typed(text: str) -> Any:
        return eval(f"lambda prompt, completion, finished: (True, {text!r})")  # no file holds it

    named = make_config({"samples": {"rater": "<lambda>"}})
    (first,), (second,) = (user_code(named, KTO(), typed(text)) for text in ("short", "long"))

    assert first.source.startswith(b"# Its source cannot be read; a hash of what it does: ")
    assert first.digest != second.digest


def test_a_folder_that_moved_is_the_same_code(own: Path, tmp_path: Path):
    before = code_identity(user_code(RunConfig(), make_loss(f"{own}/my_loss.py:Mine", {})))
    moved = shutil.copytree(own, tmp_path / "moved")

    assert code_identity(user_code(RunConfig(), make_loss(f"{moved}/my_loss.py:Mine", {}))) == before


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_with_dropout_the_size_of_the_micro_batches_decides_the_result_and_its_change_is_named(
    dropout: float, model: Path, thumbs_file: Path, tmp_path: Path
):
    run_dir = tmp_path / "run"
    crash(config(model, thumbs_file, train={"dropout": dropout, "microbatch_tokens": 4096}), run_dir, step=2)
    smaller = read_config(run_dir, {"train": {"microbatch_tokens": 64}})

    if not dropout:
        align(smaller, run_dir, resume=True)
        return
    with pytest.raises(RunError, match="was started with another size of the micro-batches, by which dropout falls"):
        align(smaller, run_dir, resume=True)
    align(smaller, run_dir, resume=True, allow_changes=True, progress=CrashAt())
    assert "another size of the micro-batches" in warnings_of(run_dir)
