"""What holds for all tests, and the fixtures that several rooms share."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from haloes.models import device
from tiny_runs import pairs, save_model, thumbs, write_rows

pytest_plugins = ["report_folders"]

# No verdict follows from chance or from how busy the machine is. `pytest --hypothesis-profile=search` draws other
# examples each time, to find what the fixed ones miss.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile("fixed")


# A shell's background jobs are started with Ctrl-C ignored, and so would be the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_fast_bfloat16() -> Iterator[None]:
    """ "auto" means float32 here: which dtype it is otherwise differs between processors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "has_fast_bfloat16", lambda: False)
        yield


@pytest.fixture(scope="module", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that the machine's user keeps, or another file's tests, decides how a reference is rounded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALOES_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that nobody else uses."""
    monkeypatch.setenv("HALOES_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model on disk."""
    return save_model(tmp_path_factory.mktemp("tiny") / "model", seed=1)


@pytest.fixture
def thumbs_file(tmp_path: Path) -> Path:
    """Thumbs that it can learn from."""
    return write_rows(tmp_path / "thumbs.jsonl", thumbs())


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    """The same as pairs."""
    return write_rows(tmp_path / "pairs.jsonl", pairs())
