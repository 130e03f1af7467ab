"""Files that are broken in every way: a clear message with file and line, exit code 2, nothing written."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from haloes.cli.main import run
from tiny_runs import flags, metrics, rows_of, thumbs, warnings_of, write_rows

GOOD = {"prompt": "p", "completion": "c", "label": True}
CHAT = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]


def among(bad: Any, *, name: str = "f.jsonl") -> Callable[[], Path]:
    """A file of good rows with a bad one at line 9."""

    def write() -> Path:
        lines = [json.dumps(row) for row in thumbs(4)]
        lines.append(bad if isinstance(bad, str) else json.dumps(bad))
        lines += [json.dumps(row) for row in thumbs(8)[8:]]
        Path(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return Path(name)

    return write


def rows(*given: Mapping[str, Any], name: str = "f.jsonl") -> Callable[[], Path]:
    return lambda: write_rows(Path(name), given)


def raw(content: bytes, *, name: str = "f.jsonl") -> Callable[[], Path]:
    def write() -> Path:
        Path(name).write_bytes(content)
        return Path(name)

    return write


def table(*given: Mapping[str, Any], name: str = "f.csv") -> Callable[[], Path]:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(given[0]))
    writer.writeheader()
    writer.writerows(given)
    return raw(text.getvalue().encode(), name=name)


@dataclass(frozen=True, kw_only=True)
class Fault:
    write: Callable[[], Path]
    train: tuple[str, ...]
    """What `haloes train` says."""
    doctor: tuple[str, ...] | None = ()
    """What `haloes doctor` says, on stdout or stderr; nothing given: the same; None: it is content."""
    flags: tuple[str, ...] = field(default=())

    @property
    def told_by_doctor(self) -> tuple[str, ...] | None:
        return self.train if self.doctor == () else self.doctor


def label(value: Any, *words: str) -> Fault:
    return Fault(write=among({**GOOD, "label": value}), train=("f.jsonl:9: ", *words))


ROWS = {
    # Labels: -1 and 0.2 train as desirable elsewhere; words, lists and NaN pass silently (trap 2).
    "label -1": label(-1, "label -1 is a number other than 0 and 1", "feedback.labels_from"),
    "label 2": label(2, "label 2 is a number other than 0 and 1"),
    "label 0.2": label(0.2, "label 0.2 is a number other than 0 and 1"),
    "label NaN": Fault(write=among('{"prompt": "p", "completion": "c", "label": NaN}'), train=("f.jsonl:9: ", "NaN")),
    "label 'nan'": label("nan", "'nan' is not a number"),
    "label 'maybe'": label("maybe", "label 'maybe' is not one of true/false"),
    "label '0.2'": label("0.2", "label '0.2' is not one of", "if it is a number on a scale"),
    "label list": label([True], "label [True] is not one of"),
    "label object": label({"value": True}, "is not one of"),
    "kto label beside turn labels": Fault(
        write=among({**GOOD, "messages": [CHAT[0], {**CHAT[1], "label": True}]}), train=(), doctor=None
    ),
    # Rows that are not what the others are.
    "broken JSON": Fault(
        write=among('{"prompt": "p", "completion": "c", "label": tru}'), train=("f.jsonl:9: broken JSON", "column")
    ),
    "cut JSON": Fault(write=among('{"prompt": "p", "completion": '), train=("f.jsonl:9: broken JSON",)),
    "an array": Fault(write=among("[1, 2]"), train=("f.jsonl:9: a row must be a JSON object, not list",)),
    "a number": Fault(write=among("5"), train=("f.jsonl:9: a row must be a JSON object, not int",)),
    "no prompt": Fault(write=among({"completion": "c", "label": True}), train=("f.jsonl:9: the row has no prompt",)),
    "prompt is a number": Fault(
        write=among({**GOOD, "prompt": 5}), train=("f.jsonl:9: the prompt is 5, neither text",)
    ),
    "completion is a list of words": Fault(
        write=among({**GOOD, "completion": ["yes"]}), train=("f.jsonl:9: ", "completion")
    ),
    "unknown role": Fault(
        write=among({**GOOD, "prompt": [{"role": "alien", "content": "x"}]}), train=("f.jsonl:9: ", "alien")
    ),
    "prompt ends with the assistant": Fault(
        write=among({**GOOD, "prompt": CHAT}), train=("f.jsonl:9: the prompt ends with an assistant turn",)
    ),
    "completion of the user": Fault(
        write=among({**GOOD, "completion": [CHAT[0]]}),
        train=("f.jsonl:9: the last turn of the completion is a user turn",),
    ),
    "an image": Fault(
        write=among({**GOOD, "prompt": [{"role": "user", "content": [{"type": "image", "image": "x.png"}]}]}),
        train=("f.jsonl:9: ", "only text"),
    ),
    "weight 0": Fault(write=among({**GOOD, "weight": 0}), train=("f.jsonl:9: weight 0 is not positive",)),
    "half a surrogate": Fault(
        write=among('{"prompt": "p", "completion": "\\ud800", "label": true}'), train=("f.jsonl:9: ", "unicode")
    ),
    "empty answers": Fault(write=among({**GOOD, "completion": ""}), train=("f.jsonl:9: the completion is blank",)),
    "messages without an assistant turn": Fault(
        write=rows(*[{"messages": CHAT, "label": True}] * 8, {"messages": CHAT[:1], "label": True}),
        train=("f.jsonl:9: the last turn of the messages is a user turn",),
    ),
    "invalid UTF-8 in a row": Fault(
        write=raw(b'{"prompt": "p", "completion": "c", "label": true}\n{"prompt": "\xe9", "completion": "c"}\n'),
        train=("f.jsonl:2: invalid UTF-8 at byte 12",),
    ),
    "CSV with a cell too many": Fault(
        write=raw(b"prompt,completion,label\np,c,1\nq,c,0,5\n", name="f.csv"),
        train=("f.csv:3: the row has 4 cells, and the header names 3 columns",),
    ),
}
FILES = {
    # The file as a whole.
    "missing": Fault(write=lambda: Path("no such file.jsonl"), train=("no such file.jsonl: there is no such file",)),
    "misspelled": Fault(
        write=lambda: (rows(GOOD, name="feedback.jsonl")(), Path("fedback.jsonl"))[1],
        train=("did you mean feedback.jsonl?",),
    ),
    "empty": Fault(write=raw(b""), train=("f.jsonl: the file is empty",)),
    "blank": Fault(write=raw(b"\n \n\t\n"), train=("f.jsonl: the file is empty",)),
    "an empty array": Fault(write=raw(b"[]", name="f.json"), train=("f.json: the JSON array has no rows",)),
    "CSV with a header only": Fault(
        write=raw(b"prompt,completion,label\n", name="f.csv"), train=("f.csv: ", "no rows")
    ),
    "UTF-16": Fault(write=raw("prompt,completion\n".encode("utf-16"), name="f.csv"), train=("f.csv: ", "UTF-16")),
    "a zip": Fault(write=raw(b"PK\x03\x04....", name="f.xlsx"), train=("f.xlsx: ", "zip archive or an Excel workbook")),
    "half of a gzip": Fault(
        write=raw(gzip.compress(b'{"prompt": "p"}\n' * 2000)[:40], name="f.jsonl.gz"), train=("f.jsonl.gz", "complete")
    ),
    "broken Parquet": Fault(write=raw(b"PAR1nothing here", name="f.parquet"), train=("f.parquet: ", "Parquet")),
    "no line is JSON": Fault(write=raw(b"yes\nno\n"), train=("f.jsonl:1: broken JSON", "can be read as JSONL")),
    "a duplicated column": Fault(
        write=raw(b"prompt,label,label\np,1,0\n", name="f.csv"), train=("f.csv:1: the header names 'label' twice",)
    ),
    "an open quote": Fault(
        write=raw(b'prompt,completion,label\np,"c,1\n', name="f.csv"), train=("f.csv:2: broken CSV",)
    ),
    # Columns.
    "no label column": Fault(
        write=rows({"prompt": "p", "completion": "c"}),
        train=("prompt and completion are there, but neither label nor score", "Columns seen: prompt, completion"),
    ),
    "other columns": Fault(
        write=rows({"question": "p", "reply": "c", "thumb": 1}),
        train=("no known format fits the columns", "--columns prompt=question,completion=reply,label=thumb"),
    ),
    "a column that is not there": Fault(
        write=rows(GOOD),
        train=("the file has no column 'anser' for completion (there are: completion",),
        flags=("--columns", "completion=anser"),
    ),
    "a mapping to nothing of ours": Fault(
        write=rows(GOOD), train=("columns: ", "'answer'"), flags=("--columns", "answer=completion")
    ),
    "an unknown format": Fault(
        write=rows(GOOD),
        train=("there is no feedback format 'unpared'; did you mean 'unpaired'?",),
        flags=("--set", "feedback.format=unpared"),
    ),
    "rows that are tokens already": Fault(
        write=rows({"prompt_input_ids": [1, 2], "completion_input_ids": [3], "label": True}),
        train=("this looks like already tokenised data", "Columns seen: prompt_input_ids"),
    ),
    "prompts that are tokens already": Fault(
        write=rows(*[{"prompt": [1, 2], "completion": [3], "label": True}] * 3), train=("f.jsonl:1: ", "prompt")
    ),
    "stars as labels": Fault(
        write=table(*[{"prompt": f"p{i}", "completion": "c", "label": i % 5 + 1} for i in range(10)]),
        train=("f.csv:3: the labels are numbers other than 0 and 1", "--columns score=COLUMN", "feedback.labels_from"),
    ),
    "-1 and 0 as texts": Fault(
        write=table(*[{"prompt": f"p{i}", "completion": "c", "label": i % 3 - 1} for i in range(10)]),
        train=("f.csv:2: the labels are numbers other than 0 and 1 (seen: -1.0, 0.0, 1.0)",),
    ),
    # Nothing to learn from.
    "nobody rated anything": Fault(
        write=rows(*[{**GOOD, "label": None}] * 4),
        train=("f.jsonl: no row can be used: 4 x no label", "f.jsonl:1: "),
        doctor=("4 left out: no label", "f.jsonl:1: ", "no row can be used"),
    ),
    "every label is wrong": Fault(
        write=rows(*[{**GOOD, "label": "maybe"}] * 12),
        train=("12 row(s) cannot be used:", "f.jsonl:1: label 'maybe'", "f.jsonl:10: ", "and 2 more"),
        doctor=("12 refused: label", "f.jsonl:1: label 'maybe'"),
    ),
    "scores without a rule": Fault(
        write=rows(*[{"prompt": f"p{i}", "completion": "c", "score": i} for i in range(4)]),
        train=(
            "f.jsonl:1: the row has a score and no label; say how to make one, such as --set feedback.labels_from=",
        ),
        doctor=("4 with score", "rows have scores and no labels"),
    ),
    "one prompt only": Fault(
        write=rows(*[{**GOOD, "completion": f"c{i}", "label": i > 3} for i in range(8)]),
        train=("f.jsonl: all rows answer the same prompt",),
        doctor=("all rows answer the same prompt",),
    ),
    "one conversation only": Fault(
        write=rows(*[{**row, "conversation": "c"} for row in thumbs(4)]),
        train=("all rows (8) hang together", "separate validation file"),
        doctor=None,
    ),
    "chosen equals rejected": Fault(
        write=rows(*[{"prompt": f"p{i}", "chosen": "same", "rejected": "same"} for i in range(4)]),
        train=("f.jsonl:1: ", "chosen"),
    ),
    "only the other loss's rows": Fault(
        write=rows(*[{**GOOD, "prompt": f"p{i}"} for i in range(6)]),
        train=("f.jsonl: no row can be used: 6 x no partner for a pair",),
        doctor=None,
        flags=("--loss", "dpo"),
    ),
}
FAULTS = ROWS | FILES


def told(captured: pytest.CaptureFixture[str]) -> str:
    out, err = captured.readouterr()
    assert "Traceback" not in err
    return out + err


@pytest.mark.parametrize("name", [name for name in FAULTS if FAULTS[name].train])
def test_train_says_what_is_wrong_and_leaves_nothing(name: str, model: Path, capsys: pytest.CaptureFixture[str]):
    fault = FAULTS[name]
    source = fault.write()

    assert run(["train", str(source), *flags(model), *fault.flags, "--out", "run"]) == 2
    err = capsys.readouterr().err
    assert "haloes: " in err
    for words in fault.train:
        assert words in err
    assert not Path("run").exists()
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", [name for name in FAULTS if FAULTS[name].told_by_doctor])
def test_doctor_says_the_same(name: str, capsys: pytest.CaptureFixture[str]):
    fault = FAULTS[name]
    source = fault.write()

    assert run(["doctor", str(source), *fault.flags]) == 2
    text = told(capsys)
    for words in fault.told_by_doctor or ():
        assert words in text


@pytest.mark.parametrize("name", ["one conversation only"])
def test_doctor_is_content_with_what_is_a_matter_of_the_run(name: str, capsys: pytest.CaptureFixture[str]):
    assert run(["doctor", str(FAULTS[name].write())]) == 0
    assert "no validation set exists" in capsys.readouterr().out


def test_a_fault_in_the_validation_file_names_that_file(model: Path, capsys: pytest.CaptureFixture[str]):
    write_rows(Path("train.jsonl"), thumbs())
    held = FAULTS["label -1"].write()

    assert run(["train", "train.jsonl", "--validation", str(held), *flags(model), "--out", "run"]) == 2
    assert "f.jsonl:9: label -1" in capsys.readouterr().err
    assert not Path("run").exists()


# --- what looks broken and is not


def test_a_run_goes_on_without_unrated_and_a_few_empty_rows_and_says_so(
    model: Path, capsys: pytest.CaptureFixture[str]
):
    given = [*thumbs(), *[{**GOOD, "label": None}] * 20, {**GOOD, "completion": " "}]
    write_rows(Path("f.jsonl"), given)

    assert run(["train", "f.jsonl", *flags(model, samples__prompts="0"), "--out", "run"]) == 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert "f.jsonl: 32 rows used, 21 left out: 20 x no label, 1 x empty completion" in said
    assert said.count("left out") == 1


def test_the_advice_for_stars_leads_to_a_run(model: Path):
    stars = table(*[{"prompt": f"p{i}", "completion": f"c{i}", "label": i % 5 + 1} for i in range(20)])()
    arguments = ["--columns", "score=label", "--set", "feedback.labels_from={rule: threshold, tau: 3}"]

    assert run(["train", str(stars), *arguments, *flags(model, samples__prompts="0"), "--out", "run"]) == 0
    counts = json.loads(Path("run/data.json").read_text())
    assert counts["rows"]["accepted"] == 20
    assert counts["train"]["desirable"] + counts["validation"]["desirable"] == 12


def test_one_label_only_is_trained_with_a_caution(model: Path):
    write_rows(Path("f.jsonl"), [row for row in thumbs() if not row["label"]])

    assert run(["train", "f.jsonl", *flags(model, samples__prompts="0"), "--out", "run"]) == 0
    assert "all answers to train on are undesirable" in warnings_of(Path("run"))


def test_answers_longer_than_the_window_are_cut_with_a_caution(model: Path):
    write_rows(Path("f.jsonl"), [*thumbs(), {**GOOD, "completion": "c" * 400}, {**GOOD, "prompt": "q " * 300}])
    arguments = flags(model, samples__prompts="0", tokens__max_length="128", feedback__validation_share="0")

    assert run(["train", "f.jsonl", *arguments, "--out", "run"]) == 0
    told_of = warnings_of(Path("run"))
    assert "1 completions (2.9%) did not fit the window" in told_of
    assert "1 prompts lost their oldest turns" in told_of
    assert len(metrics(Path("run"))) == 5


@pytest.mark.parametrize("words", [("👍", "👎"), ("1", "0"), ("thumbs_up", "thumbs_down"), ("Yes", "NO")])
def test_every_accepted_spelling_of_a_label_is_a_label(words: tuple[str, str], capsys: pytest.CaptureFixture[str]):
    write_rows(Path("f.jsonl"), [{**row, "label": words[not row["label"]]} for row in thumbs()])

    assert run(["doctor", "f.jsonl"]) == 0
    assert "labels    16 desirable, 16 undesirable" in capsys.readouterr().out


def test_a_label_beside_labels_of_turns_is_read_in_the_format_that_fits(capsys: pytest.CaptureFixture[str]):
    source = ROWS["kto label beside turn labels"].write()

    assert run(["doctor", str(source)]) == 0
    assert "17 read, 17 usable" in capsys.readouterr().out
    assert len(rows_of(source)) == 17
