"""Whatever a resumed run reads of its folder is what the run wrote, is made again, or is named with what to remove."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from haloes.errors import UserError
from haloes.models.cache import cache_dir
from haloes.runs.align import Run, align
from haloes.runs.config import RunConfig
from haloes.runs.run_folder import read_config
from tiny_runs import CrashAt, config, crash, same_result, save_model, thumbs, write_rows

FILES = [
    "data/train/tokens.bin",
    "data/train/index.npz",
    "data/train/meta.json",
    "data/validation/tokens.bin",
    "data/validation/meta.json",
    "data/prompts.jsonl",
    "data.json",
    "samples.jsonl",
    "metrics.jsonl",
    "manifest.json",
]


class Notes(CrashAt):
    """All that a run says."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1  # of the metrics a line of a step that is saved
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "lost": Path.unlink,
}


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for all: what the crashed run kept of the reference is there when it is resumed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALOES_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, _own_cache: None) -> tuple[RunConfig, Run, Path]:
    """A run that was never stopped, and the folder of one that crashed at its second step."""
    folder = tmp_path_factory.mktemp("runs")
    cfg = config(save_model(folder / "model"), write_rows(folder / "thumbs.jsonl", thumbs(12)))
    crash(cfg, folder / "crashed", step=2)
    return cfg, align(cfg, folder / "whole"), folder / "crashed"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_what_is_damaged_is_made_again_and_the_result_is_the_same_to_the_bit(
    file: str, damage: str, whole: tuple[RunConfig, Run, Path], tmp_path: Path
):
    cfg, expected, crashed = whole
    shutil.copytree(crashed, tmp_path / "run")
    DAMAGES[damage](tmp_path / "run" / file)
    said = Notes()

    resumed = align(cfg, tmp_path / "run", resume=True, progress=said)

    assert same_result(resumed, expected, files=["data.json", "data/prompts.jsonl"])
    # The counts are written again at each start, from the manifest, and answers that are not there are given.
    is_told = any(Path(file).name in text or "encoded again" in text for text in said.texts)
    assert is_told or file in {"data.json", "samples.jsonl"}


def test_stores_that_changed_places_are_noticed(whole: tuple[RunConfig, Run, Path], tmp_path: Path):
    cfg, expected, crashed = whole
    run_dir = tmp_path / "run"
    shutil.copytree(crashed, run_dir)
    one, other = (run_dir / "data" / name / "meta.json" for name in ("train", "validation"))
    texts = one.read_bytes(), other.read_bytes()
    one.write_bytes(texts[1])
    other.write_bytes(texts[0])

    assert same_result(align(cfg, run_dir, resume=True), expected)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b'{"fingerprints": 3}', b'{"parts": [{"x": 1}]}'])
def test_a_damaged_environment_is_named_and_removing_it_helps(
    content: bytes, whole: tuple[RunConfig, Run, Path], tmp_path: Path
):
    cfg, expected, crashed = whole
    shutil.copytree(crashed, tmp_path / "run")
    (tmp_path / "run" / "environment.json").write_bytes(content)

    with pytest.raises(UserError, match=r"environment\.json.* remove it and resume"):
        align(cfg, tmp_path / "run", resume=True)
    (tmp_path / "run" / "environment.json").unlink()
    assert same_result(align(cfg, tmp_path / "run", resume=True), expected)


def test_a_configuration_that_is_not_what_the_run_wrote_is_told(whole: tuple[RunConfig, Run, Path], tmp_path: Path):
    _, expected, crashed = whole
    run_dir, said = tmp_path / "run", Notes()
    shutil.copytree(crashed, run_dir)
    text = (run_dir / "config.yaml").read_text()
    (run_dir / "config.yaml").write_text(text.replace("keep_checkpoints: 2", "keep_checkpoints: 3"))

    resumed = align(read_config(run_dir), run_dir, resume=True, progress=said)

    assert any("config.yaml is not what the run wrote" in line for line in said.texts)
    assert same_result(resumed, expected)


def test_a_configuration_that_was_lost_can_be_put_back_from_another_start(
    whole: tuple[RunConfig, Run, Path], tmp_path: Path
):
    cfg, expected, crashed = whole
    run_dir = tmp_path / "run"
    shutil.copytree(crashed, run_dir)
    (run_dir / "config.yaml").unlink()

    with pytest.raises(UserError, match=r"run has lost its config\.yaml: write one there"):
        align(cfg, run_dir, resume=True)
    shutil.copy(expected.run_dir / "config.yaml", run_dir)
    assert same_result(align(read_config(run_dir), run_dir, resume=True), expected)


def test_a_reference_cache_that_was_emptied_is_told(whole: tuple[RunConfig, Run, Path], tmp_path: Path):
    cfg, _, crashed = whole
    shutil.copytree(crashed, tmp_path / "run")
    shutil.rmtree(cache_dir() / "reference")
    said = Notes()

    align(cfg, tmp_path / "run", resume=True, progress=said)

    assert any("are gone from the cache" in text and "last digits" in text for text in said.texts)


OWN_LOSS = """
from dataclasses import dataclass
from typing import ClassVar

from haloes import LossOutput, Needs


@dataclass(frozen=True)
class Mine:
    needs: ClassVar[Needs] = Needs(reference=True)

    def __call__(self, batch):
        return LossOutput(-batch.completions.log_ratio().tanh() * (2 * batch.desirable_B.float() - 1))
"""
RULE = "def longer(prompt, first, second):\n    return 'first' if len(first) > len(second) else 'second'\n"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, _own_cache: None) -> tuple[RunConfig, Run, Path]:
    """The same with a loss of the user's own and a judge that watches; the second step's verdicts are on disk."""
    folder = tmp_path_factory.mktemp("watched")
    (folder / "my_loss.py").write_text(OWN_LOSS)
    (folder / "rule.py").write_text(RULE)
    cfg = config(
        save_model(folder / "model"),
        write_rows(folder / "thumbs.jsonl", thumbs(12)),
        loss={"name": f"{folder}/my_loss.py:Mine"},
        train={"validate_every": 1},
        watch={"prompts": 2, "judge": {"kind": "rule", "rule": f"{folder}/rule.py:longer"}},
    )
    crash(cfg, folder / "crashed", step=2)
    return cfg, align(cfg, folder / "whole"), folder / "crashed"


@pytest.mark.parametrize("name", ["step-000001.judgements.jsonl", "step-000001.answers.jsonl"])
def test_a_verdict_or_an_answer_of_the_judge_that_watches_is_noticed_where_it_changed(
    name: str, watched: tuple[RunConfig, Run, Path], tmp_path: Path
):
    cfg, expected, crashed = watched
    run_dir, said = tmp_path / "run", Notes()
    shutil.copytree(crashed, run_dir)
    path = run_dir / "watched" / name
    path.write_text(path.read_text().replace("second", "first").replace("step 1", "step 9").replace("Is", "As"))

    resumed = align(cfg, run_dir, resume=True, progress=said)

    assert any(f"not what the run wrote: watched/{name} in {run_dir}" in text for text in said.texts)
    assert same_result(resumed, expected)


def test_verdicts_on_a_step_that_is_done_again_are_asked_for_again_where_they_changed(
    watched: tuple[RunConfig, Run, Path], tmp_path: Path
):
    cfg, expected, crashed = watched
    run_dir = tmp_path / "run"
    shutil.copytree(crashed, run_dir)
    # The run is at the end of its second step; the newest checkpoint is lost, and so the step is done again.
    crash(cfg, run_dir, step=3, resume=True)
    newest = max((run_dir / "checkpoints").iterdir(), key=lambda path: path.name)
    shutil.rmtree(newest)
    verdicts = run_dir / "watched" / "step-000002.judgements.jsonl"
    verdicts.write_text(verdicts.read_text().replace('"second"', '"first"'))

    resumed = align(cfg, run_dir, resume=True)

    assert same_result(resumed, expected)
    assert verdicts.read_text() == (expected.run_dir / "watched" / verdicts.name).read_text()


def test_the_copy_of_a_loss_that_was_damaged_is_told_and_written_again(
    watched: tuple[RunConfig, Run, Path], tmp_path: Path
):
    cfg, _, crashed = watched
    run_dir, said = tmp_path / "run", Notes()
    shutil.copytree(crashed, run_dir)
    (copy,) = (run_dir / "code").glob("my_loss-*.py")
    flip(copy)

    align(cfg, run_dir, resume=True, progress=said)

    assert any(f"not what the run wrote: code/{copy.name}" in text for text in said.texts)
    assert copy.read_text() == OWN_LOSS
