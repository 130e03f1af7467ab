"""A folder of feedback from anybody: what it says of itself leads to no file outside of it, and to no address."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from haloes.cli.main import run
from haloes.errors import DataError
from haloes.feedback.containers import open_container
from tiny_runs import thumbs, write_rows

SECRET = [{"prompt": "secret", "completion": "secret", "label": True}]


def read(folder: Path, split: str = "train") -> list[Any]:
    return [row for _, row in open_container(str(folder), split=split).rows()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rows(tmp_path / "secret.jsonl", SECRET)
    made = tmp_path / "feedback"
    made.mkdir()
    write_rows(made / "train.jsonl", thumbs(3))
    return made


def says(folder: Path, data_files: object) -> None:
    """Let the README of the folder name its files."""
    card = {"configs": [{"config_name": "default", "data_files": data_files}]}
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n", encoding="utf-8")
    (folder / ".huggingface.yaml").write_text(yaml.safe_dump(card), encoding="utf-8")


def test_files_that_the_readme_names_outside_of_the_folder_are_not_read(folder: Path):
    for named in ("../secret.jsonl", str(folder.parent / "secret.jsonl"), [{"split": "train", "path": "../*.jsonl"}]):
        says(folder, named)
        assert [row["prompt"] for row in read(folder)] == [row["prompt"] for row in thumbs(3)]


def test_an_address_that_the_readme_names_is_not_called(folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        says(folder, f"http://127.0.0.1:{server.getsockname()[1]}/rows.jsonl")
        assert len(read(folder)) == len(thumbs(3))
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_name_that_reads_like_a_pattern_is_a_name(tmp_path: Path):
    for i, name in enumerate(("[1].jsonl", "x*.jsonl")):
        (tmp_path / str(i)).mkdir()
        write_rows(tmp_path / str(i) / name, thumbs(2))
        assert len(read(tmp_path / str(i))) == len(thumbs(2))


def test_a_name_that_reads_like_a_chain_of_addresses_is_refused(tmp_path: Path):
    write_rows(tmp_path / "a::http:b.jsonl", thumbs(2))

    with pytest.raises(DataError, match="the name holds '::'"):
        read(tmp_path)


@pytest.mark.parametrize("is_whole_folder", [False, True])
def test_a_link_that_leads_out_of_the_folder_is_refused(folder: Path, is_whole_folder: bool):
    if is_whole_folder:
        (folder / "more").symlink_to(folder.parent, target_is_directory=True)
        (folder / "more-train.jsonl").symlink_to(folder / "more" / "secret.jsonl")
    else:
        (folder / "train-2.jsonl").symlink_to(folder.parent / "secret.jsonl")

    with pytest.raises(DataError, match=r"names .*secret\.jsonl, which lies outside of the folder"):
        read(folder)


def test_the_links_of_the_hubs_cache_are_read(tmp_path: Path):
    snapshot = tmp_path / "datasets--owner--name" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    blob = tmp_path / "datasets--owner--name" / "blobs" / "abc"
    blob.parent.mkdir()
    write_rows(tmp_path / "rows.jsonl", thumbs(2)).rename(blob)
    (snapshot / "train.jsonl").symlink_to(blob)

    assert len(read(snapshot)) == len(thumbs(2))


def test_a_saved_data_set_names_no_file_and_no_part_outside(tmp_path: Path):
    import datasets

    datasets.Dataset.from_list(SECRET).save_to_disk(str(tmp_path / "other"))
    datasets.Dataset.from_list(thumbs(2)).save_to_disk(str(tmp_path / "saved"))
    state = json.loads((tmp_path / "saved" / "state.json").read_text())
    [file] = (tmp_path / "other").glob("*.arrow")
    for name in (f"../other/{file.name}", str(file)):
        (tmp_path / "saved" / "state.json").write_text(json.dumps({**state, "_data_files": [{"filename": name}]}))
        with pytest.raises(DataError, match="lies outside of the folder"):
            read(tmp_path / "saved")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "dataset_dict.json").write_text(json.dumps({"splits": ["../other"]}))
    with pytest.raises(DataError, match="lies outside of the folder"):
        read(tmp_path / "parts", split="../other")


@pytest.mark.parametrize("content", ["[]", '{"splits": 5}', '{"splits": [5]}', "{", "[" * 3000])
def test_a_saved_data_set_that_is_none_is_told_in_one_line(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for name in ("dataset_dict.json", "dataset_info.json", "state.json"):
        (tmp_path / name).write_text(content)

    assert run(["doctor", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("haloes: ")


def test_files_of_several_kinds_are_read_as_the_most_frequent(tmp_path: Path):
    write_rows(tmp_path / "train-1.jsonl", thumbs(1))
    write_rows(tmp_path / "train-2.jsonl", thumbs(1))
    (tmp_path / "notes.txt").write_text("said of it")
    (tmp_path / "train.tsv").write_text("prompt\tcompletion\tlabel\np\tc\tgood\n")

    assert len(read(tmp_path)) == 2 * len(thumbs(1))
    with pytest.raises(DataError, match="no split 'dev'; it has train"):
        read(tmp_path, split="dev")
