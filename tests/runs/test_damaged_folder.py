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
