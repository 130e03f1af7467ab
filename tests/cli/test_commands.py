"""Each command: what it prints, what it writes, and that one leads to the next."""

import json
from pathlib import Path

import pytest
import yaml

from haloes.cli.demo import own_feedback_command
from haloes.cli.main import run
from haloes.recipes.demo.recipe import demo_config
from haloes.runs.config import as_mapping
from haloes.runs.config_layers import make_config
from haloes.runs.run_folder import new_run_dir, numbered_run_dir, read_config
from haloes.runs.setting_texts import json_schema
from tiny_runs import flags, metrics, pairs, rows_of, thumbs, write_rows

Captured = pytest.CaptureFixture[str]


def ok(*arguments: object) -> None:
    assert run([str(argument) for argument in arguments]) == 0


# --- train, report, export


def test_train_leaves_a_run_and_tells_what_came_out(model: Path, thumbs_file: Path, capsys: Captured):
    ok("train", thumbs_file, *flags(model, train__epochs="2"), "--out", "run")
    out, err = capsys.readouterr()

    assert "AUC of the implied reward" in out
    assert "Report: run/report.html" in out
    assert "haloes export run FOLDER" in out
    assert [line for line in err.splitlines() if line.endswith("...")] == [
        "reading feedback ...",
        "encoding feedback ...",
        "loading the model ...",
        "answers before training ...",
        "training ...",
        "validation ...",
        "answers after training ...",
        "saving the model ...",
        "measuring ...",
        "divergence along the answers ...",
    ]
    [start] = [line for line in err.splitlines() if line.startswith("float32 on cpu, ")]
    assert start.split("; ")[1:] == [
        "6 steps of up to 8 examples: 2 passes over 24 examples",
        "micro-batches of up to 1,024 tokens",
    ]
    assert err.index("training ...\n") < err.index(start) < err.index("step 6/6  loss ")
    assert json.loads(Path("run/environment.json").read_text())["device"] == "cpu"


def test_report_and_export_take_the_run(model: Path, thumbs_file: Path, capsys: Captured):
    ok("train", thumbs_file, *flags(model, samples__prompts="0"), "--out", "run")
    Path("run/report.html").unlink()
    capsys.readouterr()

    ok("report", "run")
    assert "Report: run/report.html" in capsys.readouterr().out
    assert Path("run/report.html").exists()
    ok("export", "run", "merged")
    assert capsys.readouterr().out == "The exported model is in merged\n"
    assert Path("merged/model.safetensors").exists()


def test_a_run_without_a_name_is_numbered_by_feedback_and_loss(model: Path, thumbs_file: Path):
    for _ in range(2):
        ok("train", thumbs_file, *flags(model, samples__prompts="0"), "--loss", "sft")

    assert sorted(path.name for path in Path("runs").iterdir()) == ["thumbs-sft-1", "thumbs-sft-2"]


def test_flags_settings_and_file_are_put_together(model: Path, tmp_path: Path):
    write_rows(
        tmp_path / "odd.jsonl", [{"question": r["prompt"], "a": r["completion"], "ok": r["label"]} for r in thumbs()]
    )
    held = [{"question": f"new {i}", "a": "yes", "ok": i > 1} for i in range(4)]
    write_rows(tmp_path / "held.jsonl", held)
    (tmp_path / "run.yaml").write_text(
        yaml.safe_dump({"train": {"lr": 1e-3, "seed": 5}, "loss": {"name": "dpo"}, "feedback": {"source": "nope"}})
    )
    ok(
        *("train", "odd.jsonl", "--config", "run.yaml", "-o", "run", "--loss", "kto", "--validation", "held.jsonl"),
        *("--columns", "prompt=question,completion=a,label=ok", "-s", "loss.beta=0.2"),
        *flags(model, samples__prompts="0", train__lr="2e-3"),
    )
    saved = read_config(Path("run"))

    assert (saved.train.lr, saved.train.seed, saved.loss["name"], saved.loss["beta"]) == (2e-3, 5, "kto", 0.2)
    assert saved.loss["desirable_weight"] == "auto"
    assert saved.feedback.columns == {"prompt": "question", "completion": "a", "label": "ok"}
    assert json.loads(Path("run/data.json").read_text())["validation"]["rows"] == 4


def test_the_options_that_matter_most_are_settings_and_set_goes_before_them(model: Path, thumbs_file: Path):
    quick = ["--set", f"model.name={model}", *("-s", "model.dtype=float32"), *("-s", "samples.prompts=0")]
    ok("train", thumbs_file, *quick, "--lr", "1e-3", "--epochs", "0.5", "--batch-size", "16", "--out", "run")
    saved = read_config(Path("run")).train
    assert (saved.lr, saved.epochs, saved.batch_size) == (1e-3, 0.5, 16)

    ok("train", thumbs_file, *quick, "--lr", "1e-3", "--set", "train.lr=2e-3", "--out", "other")
    assert read_config(Path("other")).train.lr == 2e-3


def test_a_saved_configuration_trains_the_same_again(model: Path, thumbs_file: Path):
    ok("train", thumbs_file, *flags(model, samples__prompts="0"), "--out", "first")
    ok("train", "--config", "first/config.yaml", "--out", "second")

    assert metrics(Path("first")) == metrics(Path("second"))


def test_a_run_stays_as_it_is_where_one_is_already(model: Path, thumbs_file: Path, capsys: Captured):
    ok("train", thumbs_file, *flags(model, samples__prompts="0"), "--out", "run")
    before = Path("run/metrics.jsonl").read_bytes()

    assert run(["train", str(thumbs_file), *flags(model), "--out", "run"]) == 2
    assert "resume it with `haloes resume run`" in capsys.readouterr().err
    assert Path("run/metrics.jsonl").read_bytes() == before


# --- resume


def test_resume_goes_on_with_what_the_folder_says(model: Path, thumbs_file: Path, capsys: Captured):
    ok("train", thumbs_file, *flags(model, samples__prompts="0"), "--out", "run")
    capsys.readouterr()

    ok("resume", "run")
    out, err = capsys.readouterr()
    assert "finished before, with all of its 3 steps: nothing was left to do" in out
    assert err == ""
    ok("resume", "run", "--set", "train.microbatch_tokens=300")
    out, err = capsys.readouterr()
    assert "Report: run/report.html" in out
    assert "nothing was left" not in out
    assert "all 3 steps were done before" in err
    assert " on cpu, " not in err  # nothing is computed any more
    assert run(["resume", "run", "--set", "train.lr=1"]) == 2
    assert "was started with another configuration" in capsys.readouterr().err
    ok("resume", "run", "--allow-changes", "--set", "train.epochs=2")
    assert (
        "; 3 left of 6 steps of up to 8 examples: 2 passes over 24 examples; micro-batches of up to 300 tokens\n"
        in capsys.readouterr().err
    )
    assert metrics(Path("run"))[-1]["step"] == 6


def test_resume_without_a_run_is_refused(capsys: Captured):
    assert run(["resume", "nowhere"]) == 2
    assert "nowhere holds no run" in capsys.readouterr().err


# --- doctor, convert, schema


def test_doctor_tells_what_is_in_a_file(thumbs_file: Path, capsys: Captured):
    ok("doctor", thumbs_file)
    out = capsys.readouterr().out

    assert "rows      32 read, 32 usable, 0 refused" in out
    assert "labels    16 desirable, 16 undesirable" in out
    assert "tokens" not in out


def test_doctor_shows_the_tokens_of_a_model(model: Path, thumbs_file: Path, capsys: Captured):
    ok("doctor", thumbs_file, "--model", model, "--set", "tokens.max_length=64")
    out = capsys.readouterr().out

    assert "window    64 tokens" in out
    assert "    + yes yes 0<|im_end|>" in out


def test_doctor_reads_odd_columns_and_scores(tmp_path: Path, capsys: Captured):
    rows = [{"q": f"p{i}", "completion": "c", "stars": i % 5} for i in range(10)]
    write_rows(tmp_path / "s.jsonl", rows)
    columns = ["--columns", "prompt=q,score=stars"]

    assert run(["doctor", "s.jsonl", *columns]) == 2
    ok("doctor", "s.jsonl", *columns, "--set", "feedback.labels_from={rule: threshold, tau: 2}")
    assert "labels    6 desirable, 4 undesirable" in capsys.readouterr().out


def test_doctor_proposes_both_directions_of_a_comparison_and_shows_which_answer_is_chosen(
    tmp_path: Path, capsys: Captured
):
    rows = [{"q": f"Which, {i}?", "reply_x": "this one", "reply_y": "that one", "stars": 1 + i % 5} for i in range(10)]
    write_rows(tmp_path / "ab.jsonl", rows)
    columns = ["--columns", "prompt=q,a=reply_x,b=reply_y,preference=stars"]

    assert run(["doctor", "ab.jsonl"]) == 2
    assert "If 5 means that reply_y is better, give" in capsys.readouterr().err
    for command in (["doctor", "ab.jsonl"], ["convert", "ab.jsonl", "out.jsonl"], ["train", "ab.jsonl"]):
        assert run([*command, *columns]) == 2
        assert "--set feedback.preference_scale='{a: 1, b: 5}' where 5 means that B is" in capsys.readouterr().err
    for scale, better in (("{a: 1, b: 5}", "reply_x"), ("{a: 5, b: 1}", "reply_y")):
        ok("doctor", "ab.jsonl", *columns, "--set", f"feedback.preference_scale={scale}")
        out = capsys.readouterr().out
        assert f"for example ab.jsonl:1, 1: {better} is the better answer" in out
        assert "2 of 10 (20.0%) rows say neither good nor bad" in out


def test_what_doctor_says_of_a_log_of_sessions_can_be_typed(tmp_path: Path, capsys: Captured):
    asked = ("How do I cook rice?", "ok and then?")
    rows = [
        {
            "session": n // 2,
            "turn": n % 2,
            "q": f"{asked[n % 2]}",
            "said": f"Step {n}.",
            "thumb": ["up", "down"][n % 3 == 0],
        }
        for n in range(12)
    ]
    write_rows(tmp_path / "log.jsonl", rows)

    ok("doctor", "log.jsonl", "--columns", "prompt=q,completion=said,label=thumb")
    out = capsys.readouterr().out
    typed = "--columns prompt=q,completion=said,label=thumb,conversation=session --set feedback.sessions=turn"
    assert f"    do:    put the earlier turns before them: {typed}" in out

    ok("doctor", "log.jsonl", *typed.split())
    assert "6 rows of 6 sessions have earlier turns" in capsys.readouterr().out
    ok("convert", "log.jsonl", "out.jsonl", *typed.split())
    assert [len(row["prompt"]) for row in rows_of(Path("out.jsonl"))[:2]] == [len(asked[0]), 3]
    assert run(["doctor", "log.jsonl", *typed.split()[:-1], "feedback.sessions=q"]) == 2
    assert "q puts nothing in order" in capsys.readouterr().err


def test_doctor_finds_no_fault_where_faulty_rows_are_to_be_left_out(tmp_path: Path, capsys: Captured):
    write_rows(tmp_path / "f.jsonl", [*thumbs(), {"prompt": "p", "completion": "c", "label": "maybe"}])

    assert run(["doctor", "f.jsonl"]) == 2
    assert "`haloes train` will not start: 1 row(s) cannot be used (label)" in capsys.readouterr().err
    ok("doctor", "f.jsonl", "--set", "feedback.skip_refused=true")
    assert "f.jsonl:33: label 'maybe' is not one of" in capsys.readouterr().out


def test_convert_writes_records_and_counts_what_it_left_out(tmp_path: Path, capsys: Captured):
    write_rows(tmp_path / "p.jsonl", pairs(3))
    write_rows(tmp_path / "t.jsonl", [*thumbs(2), {"prompt": "p", "completion": "c", "label": None}])

    ok("convert", "p.jsonl", "single.jsonl")
    assert capsys.readouterr().out == "6 records written to single.jsonl\n"
    ok("convert", "t.jsonl", "pairs.jsonl", "--to", "pairs")
    assert capsys.readouterr().out == (
        "2 records written to pairs.jsonl, 1 left out: 1 x no label (`haloes doctor` says which and why)\n"
    )
    assert {"prompt", "chosen", "rejected"} <= set(rows_of(Path("pairs.jsonl"))[0])


def test_schema_prints_the_schema(capsys: Captured):
    ok("schema")

    assert json.loads(capsys.readouterr().out) == json_schema()


def test_settings_are_a_table_and_one_of_them_is_explained(capsys: Captured):
    ok("settings")
    out = capsys.readouterr().out
    assert "train.lr " in out
    assert "model.lora.rank " in out
    ok("settings", "tokens")
    assert "train.lr" not in capsys.readouterr().out
    for name in ("train.lr", "lr", "learning_rate"):
        ok("settings", name)
        out = " ".join(capsys.readouterr().out.split())
        assert out.startswith('train.lr = "auto" Peak.')
        assert "the KTO paper's 5e-6 (Table 1," in out
    assert run(["settings", "loss.beta"]) == 2
    assert "`haloes losses show NAME` lists it" in capsys.readouterr().err
    assert run(["settings", "train.lrr"]) == 2
    assert 'Did you mean "train.lr"?' in capsys.readouterr().err


def test_in_a_narrow_terminal_settings_are_a_list_of_whole_words(capsys: Captured, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "40")
    ok("settings", "train")

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    place = lines.index('train.batch_size = "auto"')
    told = ["    Examples in one optimizer step, over", "    all ranks and micro-batches"]
    assert lines[place + 1 : place + 3] == told


# --- demo


def test_the_demo_is_a_run_on_shipped_feedback_with_its_rater(
    model: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("haloes.recipes.demo.recipe.files", lambda _: Path.cwd())
    write_rows(Path("feedback.jsonl"), thumbs(8))
    write_rows(Path("validation.jsonl"), [{**row, "prompt": f"New: {row['prompt']}"} for row in thumbs(4)])
    shown = as_mapping(demo_config())
    assert shown["samples"]["rater"] == "haloes.recipes.demo.rule:rate"

    arguments = flags(model, samples__prompts="3", samples__max_new_tokens="4")[2:]
    ok("demo", "--out", "demo", "--set", f"model.name={model}", "--set", "model.lora.layers=null", *arguments)
    out = capsys.readouterr().out
    assert "Share of answers that the rater likes" in out
    assert "Unchanged: 3 of" in " ".join(out.split()), out  # the tiny model says nothing that is liked
    assert out.splitlines()[-1].strip() == "haloes train feedback.csv"
    assert len(rows_of(Path("demo/ratings.jsonl"))) == 6


def test_the_demo_ends_with_what_to_type_for_feedback_of_ones_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", [".venv/bin/haloes", "demo"])
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert own_feedback_command() == ".venv/bin/haloes train feedback.csv"

    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/haloes")
    assert own_feedback_command() == "haloes train feedback.csv"

    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("sys.argv", ["src/haloes/__main__.py", "demo"])
    assert own_feedback_command() == "haloes train feedback.csv"


def test_demos_are_numbered(model: Path):
    Path("runs/demo-1").mkdir(parents=True)

    assert numbered_run_dir("demo") == Path("runs/demo-2")
    config = make_config({"feedback": {"source": "a b/my.file.v2.jsonl"}, "loss": {"name": "x/y.py:MyLoss"}})
    assert new_run_dir(config) == Path("runs/my-MyLoss-1")
