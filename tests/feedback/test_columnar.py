"""Rows of Parquet files and of datasets."""

import gzip
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from haloes.errors import DataError, UserError
from haloes.feedback.columnar import may_be_hub_name
from haloes.feedback.containers import open_container

CHATS = [
    [{"role": "user", "content": "q"}],
    [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "label": True}],
]


def raw(path: Path | str, *, split: str = "train") -> list[tuple[int, Any]]:
    return list(open_container(str(path), split=split).rows())


def labelled(names: list[str], values: list[int]) -> datasets.Dataset:
    features = datasets.Features({"prompt": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    return datasets.Dataset.from_dict(
        {"prompt": [f"q{n}" for n in range(len(values))], "label": values}, features=features
    )


@pytest.fixture(autouse=True)
def quiet_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def test_parquet_rows_are_numbered_over_all_row_groups_and_lose_empty_keys(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"messages": CHATS * 3, "weight": [None, 1.0] * 3}), tmp_path / "f.parquet", row_group_size=2
    )
    rows = raw(tmp_path / "f.parquet")
    assert [number for number, _ in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0][1] == {"messages": CHATS[0], "weight": None}
    assert rows[5][1] == {"messages": CHATS[1], "weight": 1.0}


def test_parquet_may_be_gzipped(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["q"]}), tmp_path / "f.parquet")
    (tmp_path / "f.parquet.gz").write_bytes(gzip.compress((tmp_path / "f.parquet").read_bytes()))
    assert raw(tmp_path / "f.parquet.gz") == [(1, {"prompt": "q"})]


def test_a_damaged_parquet_file_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["q"]}), tmp_path / "f.parquet")
    (tmp_path / "f.parquet").write_bytes((tmp_path / "f.parquet").read_bytes()[:-10])
    with pytest.raises(DataError, match=r"f.parquet: cannot be read as Parquet: .*is the file complete\?"):
        raw(tmp_path / "f.parquet")


def test_class_labels_come_as_their_names(tmp_path: Path) -> None:
    # The first name is desirable here: the numbers alone would say the opposite.
    dataset = labelled(["good", "bad"], [0, 1, -1])
    dataset.save_to_disk(str(tmp_path / "folder"))
    dataset.to_parquet(str(tmp_path / "f.parquet"))
    for path in (tmp_path / "folder", tmp_path / "f.parquet"):
        assert [row["label"] for _, row in raw(path)] == ["good", "bad", None]


def test_a_saved_dataset_keeps_its_order_and_its_fingerprint(tmp_path: Path) -> None:
    dataset = labelled(["bad", "good"], list(range(2)) * 1500).select(range(2999, -1, -1))
    dataset.save_to_disk(str(tmp_path / "folder"))
    rows = raw(tmp_path / "folder")
    assert [number for number, _ in rows] == list(range(1, 3001))
    assert rows[0][1] == {"prompt": "q2999", "label": "good"}
    container = open_container(str(tmp_path / "folder"), split="train")
    assert container.kind == "dataset folder"
    assert container.fingerprint() == open_container(str(tmp_path / "folder"), split="train").fingerprint()


def test_a_split_is_chosen_by_name(tmp_path: Path) -> None:
    both = datasets.DatasetDict({"train": labelled(["bad", "good"], [1]), "test": labelled(["bad", "good"], [0, 0])})
    both.save_to_disk(str(tmp_path / "both"))
    assert len(raw(tmp_path / "both")) == 1
    assert len(raw(tmp_path / "both", split="test")) == 2
    with pytest.raises(DataError, match=r"the dataset has no split 'dev'; it has test, train"):
        raw(tmp_path / "both", split="dev")


def test_a_folder_of_data_files_is_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "train.jsonl").write_text('{"prompt": "q", "label": true}\n')
    assert raw(tmp_path / "files") == [(1, {"prompt": "q", "label": True})]


def test_reading_a_folder_says_nothing_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "train.jsonl").write_text('{"prompt": "unheard of", "label": true}\n')
    datasets.enable_progress_bars()

    assert raw(tmp_path / "files")
    assert capfd.readouterr() == ("", "")
    assert not datasets.utils.are_progress_bars_disabled()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["config.json", "model.safetensors"], "holds a model, and feedback is wanted .* by --model"),
        (["adapter_config.json"], "holds a model"),
        (["config.yaml", "data.json", "metrics.jsonl"], "holds a run, .* haloes resume"),
    ],
)
def test_a_folder_of_something_else_is_named_as_what_it_is(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        (tmp_path / name).write_text("{}")
    with pytest.raises(DataError, match=message):
        raw(tmp_path)


def test_files_of_different_columns_are_no_one_data_set(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "q", "label": true}\n')
    (tmp_path / "b.jsonl").write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}\n')
    with pytest.raises(DataError, match=r"\(its files have different columns\); give one of .*a\.jsonl, .*b\.jsonl"):
        raw(tmp_path)


def test_a_saved_data_set_that_is_cut_off_is_told(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{}")
    with pytest.raises(DataError, match=r"the saved data set cannot be read: .* is it complete"):
        raw(tmp_path)


def test_a_folder_without_data_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="nothing: there is no data file in the folder"):
        raw(tmp_path / "nothing")


def test_a_name_that_is_no_path_is_looked_for_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, **settings: Any) -> datasets.Dataset:
        asked.append((name, settings))
        return labelled(["bad", "good"], [1])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert raw("owner/feedback", split="test") == [(1, {"prompt": "q0", "label": "good"})]
    assert asked == [("owner/feedback", {"split": "test"})]


@pytest.mark.parametrize(
    "error", [ConnectionError("no route"), datasets.exceptions.DatasetNotFoundError("gone"), ValueError("x")]
)
def test_a_hub_failure_says_what_to_do(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load_dataset(*_: Any, **__: Any) -> datasets.Dataset:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(
        UserError, match=r"owner/feedback: there is no such file or folder, and the hub gave no dataset"
    ):
        raw("owner/feedback")


def test_which_names_the_hub_could_know() -> None:
    assert may_be_hub_name("imdb")
    assert may_be_hub_name("owner/feed-back_2.0")
    assert not any(map(may_be_hub_name, ["a/b/c", "./x", "/x", "a b", "", "owner/"]))
