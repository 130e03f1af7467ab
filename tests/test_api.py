"""The calls from Python: each has the arguments of its command, and the examples of their docstrings run."""

import dataclasses
import inspect
import json
import re
import shutil
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

import haloes
from haloes.api.arguments import JudgeName
from haloes.cli.main import app
from haloes.judging.table import JUDGES
from haloes.runs.run_folder import read_config
from tiny_runs import CrashAt, metrics, rows_of, same_result, settings, thumbs, write_rows

pytestmark = pytest.mark.usefixtures("own_cache")

COMMANDS = {"evaluate": "eval", "import_feedback": "import"}
"""Calls whose command has another name, as Python has a function of that name."""
CALLS = [
    *("train", "resume", "plan", "export", "doctor", "convert"),
    *("sample", "judge", "refusals", "evaluate", "compare", "online"),
]
OF_SERVERS = ["import_feedback"]
"""Calls whose example needs a server."""
OPTIONS = {"set": "settings", "judge_set": "judge_settings"}
"""Options whose argument has another name: it takes mappings, where the option takes a text at a time."""
STARTING = {"processes", "nodes", "node_rank", "rendezvous", "max_restarts"}
ONLY_COMMAND = {
    "train": STARTING,
    "resume": STARTING,
    "plan": {"json"},
    "online": {"engine"},
}
"""What is about printing, or is there to be refused."""
ONLY_PYTHON = {"train": {"resume", "allow_changes", "rater"}, "resume": {"rater"}}
"""One call that begins a run or continues it, as a script that is run again wants it."""


def quick(model: Path) -> dict[str, Any]:
    made = settings(model, Path())
    del made["feedback"]["source"]
    return made | {"samples": {"prompts": 0}}


def records() -> list[haloes.Feedback]:
    return [
        haloes.Feedback(
            prompt=(haloes.Message("user", row["prompt"]),), completion=row["completion"], label=row["label"]
        )
        for row in thumbs()
    ]


# --- every call


@pytest.fixture(scope="module")
def made_once(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples speak of: feedback, prompts, a rule, a model, and two runs."""
    folder = tmp_path_factory.mktemp("world")
    shutil.copytree(model, folder / "model")
    write_rows(folder / "thumbs.jsonl", thumbs())
    (folder / "prompts.txt").write_text("".join(f"Say {i}\n" for i in range(10)))
    (folder / "rules.py").write_text(
        "def rate(prompt, completion, finished):\n"
        "    return len(completion) % 2 == 0, 'even'\n"
        "def shorter(prompt, first, second):\n"
        "    return 'tie' if len(first) == len(second) else 'first' if len(first) < len(second) else 'second'\n"
        "def declines(prompt, first, second):\n"
        "    refuses = len(prompt[-1].content) % 2 == 0\n"
        "    return 'first' if refuses == ('does not' not in first) else 'second'\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HALOES_CACHE", str(folder / "cache"))
        for seed, name in enumerate(("first", "second")):
            config = settings(model, folder / "thumbs.jsonl", train={"seed": seed})
            haloes.train(config=config, out=folder / "runs" / name)
    return folder


@pytest.fixture
def world(made_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it, as the current folder."""
    monkeypatch.chdir(shutil.copytree(made_once, tmp_path / "world"))
    return tmp_path / "world"


def example(name: str) -> str:
    """The code under "Example:" in a call's docstring."""
    found = re.search(r"^Example:\n((?:    .*\n|\n)+)", f"{inspect.getdoc(getattr(haloes, name))}\n", re.MULTILINE)
    assert found, f"haloes.{name} has no example"
    return textwrap.dedent(found[1])


@pytest.mark.parametrize("name", CALLS)
def test_the_example_of_each_call_runs_and_the_call_prints_nothing(name: str, world: Path, capsys: Any):
    code = example(name)
    if name == "train":
        shutil.rmtree("runs/first")
    exec(compile(code, f"example of {name}", "exec"), {"haloes": haloes, "print": lambda *_: None})

    assert f"haloes.{name}(" in code
    assert capsys.readouterr() == ("", "")


def options(command: str) -> dict[str, Any]:
    """The options of a command with their defaults, in its help's order, under the names of the call's arguments."""
    found = {}
    for argument in app[command].assemble_argument_collection():
        if not argument.children:
            name = argument.name.removeprefix("--").replace("-", "_").lower()
            found[OPTIONS.get(name, name)] = argument.field_info.default
    return found


@pytest.mark.parametrize("name", CALLS + OF_SERVERS)
def test_a_call_has_the_arguments_of_its_command_in_their_order_with_the_same_defaults(name: str):
    theirs = [item for item in options(COMMANDS.get(name, name)).items() if item[0] not in ONLY_COMMAND.get(name, ())]
    extra = {"progress", *ONLY_PYTHON.get(name, ())}
    mine = [
        (parameter.name, () if parameter.name in OPTIONS.values() else parameter.default)
        for parameter in inspect.signature(getattr(haloes, name)).parameters.values()
        if parameter.name not in extra
    ]

    assert mine == theirs


def test_the_judges_of_a_call_are_those_that_can_be_made():
    assert get_args(JudgeName) == tuple(JUDGES)


@pytest.mark.parametrize("name", CALLS + OF_SERVERS)
def test_every_argument_of_a_call_is_explained(name: str):
    arguments = re.search(r"^Args:\n(.*?)^\S", inspect.getdoc(getattr(haloes, name)) or "", re.MULTILINE | re.DOTALL)

    assert arguments
    assert re.findall(r"^    (\w+):", arguments[1], re.MULTILINE) == list(
        inspect.signature(getattr(haloes, name)).parameters
    )


# --- what only a call shows


def test_a_file_that_would_not_train_says_why(tmp_path: Path):
    write_rows(tmp_path / "f.jsonl", [*thumbs(), {"prompt": "p", "completion": "c", "label": "maybe"}])

    assert haloes.doctor(tmp_path / "f.jsonl").errors == ("1 row(s) cannot be used (label)",)
    assert haloes.doctor(tmp_path / "f.jsonl", settings={"feedback": {"skip_refused": True}}).errors == ()


def test_records_in_memory_are_examined_and_converted(model: Path, tmp_path: Path):
    diagnosis = haloes.doctor(records(), model=model, settings={"tokens": {"max_length": 64}})
    converted = haloes.convert(records(), tmp_path / "pairs.jsonl", to="pairs")

    assert (diagnosis.findings.num_accepted, diagnosis.errors) == (32, ())
    assert diagnosis.tokens is not None
    assert any("64 tokens" in line for line in diagnosis.tokens.lines)
    assert (converted.num_written, converted.refused) == (16, {})
    assert {"prompt", "chosen", "rejected"} <= set(rows_of(converted.path)[0])


def test_columns_are_a_text_or_a_mapping(tmp_path: Path):
    rows = [{"q": row["prompt"], "completion": row["completion"], "label": row["label"]} for row in thumbs()]
    write_rows(tmp_path / "f.jsonl", rows)

    for columns in ("prompt=q", {"prompt": "q"}):
        assert haloes.doctor(tmp_path / "f.jsonl", columns=columns).findings.num_accepted == 32


def test_a_plan_says_whether_it_fits_and_may_be_of_a_file_of_settings(model: Path, thumbs_file: Path, tmp_path: Path):
    plan = haloes.plan(thumbs_file, config=quick(model), memory=1e-6)
    assert not plan.fits
    assert plan.limit == int(1e-6 * 2**30)

    (tmp_path / "run.yaml").write_text(json.dumps({**quick(model), "feedback": {"source": str(thumbs_file)}}))
    assert haloes.plan(tmp_path / "run.yaml").facts["model"] == str(model)
    with pytest.raises(haloes.ConfigError, match="are both settings"):
        haloes.plan(tmp_path / "run.yaml", config=tmp_path / "run.yaml")


def test_a_plan_of_several_processes_reads_no_feedback_and_is_that_of_the_command(model: Path, capsys: Any):
    plan = haloes.plan("no-such.jsonl", model=model, processes=4, gpu_memory="80G", shard=True)
    with pytest.raises(SystemExit) as ended:
        app(["plan", "--model", str(model), "--processes", "4", "--gpu-memory", "80G", "--shard", "--json"])

    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out) == {**dataclasses.asdict(plan), "advice": list(plan.advice)}
    assert plan.fits
    assert plan.shards is not None
    assert sum(plan.shards.values()) == plan.needed < sum(plan.whole.values())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"processes": 2}, "give its memory, such as --gpu-memory 80G"),
        ({"shard": True}, "give its memory, such as --gpu-memory 80G"),
        ({"gpu_memory": "80G", "memory": 4}, "leave them out beside --gpu-memory"),
        ({"gpu_memory": "80G", "find_lr": True}, "leave them out beside --gpu-memory"),
        ({"gpu_memory": "80G", "processes": 0}, "--processes must be at least 1, got 0"),
        ({"gpu_memory": ""}, "--gpu-memory must be such as 80G"),
    ],
)
def test_arguments_of_a_plan_that_do_not_go_together_are_refused(given: dict[str, Any], message: str, model: Path):
    with pytest.raises(haloes.ConfigError, match=message):
        haloes.plan(model=model, **given)


def test_what_was_sampled_is_read_back_and_not_asked_again(world: Path):
    sampled = haloes.sample("model", "prompts.txt", out="a.jsonl", max_new_tokens=4, most=3)
    again = haloes.sample("model", "prompts.txt", out="a.jsonl", max_new_tokens=4, most=3)

    assert (sampled.num_prompts, sampled.num_answers, sampled.num_new, sampled.unanswered) == (3, 3, 3, ())
    assert (again.num_answers, again.num_new) == (3, 0)
    assert [completion.model for completion in again.completions()] == ["model"] * 3


def test_judgements_of_a_run_are_kept_in_it_and_change_its_page(world: Path):
    judged = haloes.judge("runs/first", judge="rule", rule="rules.py:shorter", canaries=1)

    assert (judged.candidate, judged.baseline) == ("after", "before")
    assert judged.path == Path("runs/first/judgements.jsonl")
    assert judged.report == Path("runs/first/report.html")
    assert judged.num_new == len(judged.judgements) + len(judged.canaries) == len(judged.judgements) + 2
    assert "rules.py:shorter" in judged.report.read_text()
    evaluation = haloes.evaluate("runs/first", out="numbers.json")
    assert evaluation.numbers.judged is not None
    assert evaluation.report is None
    assert json.loads(Path("numbers.json").read_text())["judged"]["matchups"][0]["candidate"] == "after"


def test_runs_are_compared_with_a_page_or_without(world: Path):
    runs = [Path("runs/first"), Path("runs/second")]

    assert haloes.compare(runs, out=None).names == haloes.compare(runs).names == ("first", "second")
    assert Path("compare.html").is_file()


def test_a_place_that_cannot_be_written_is_told_before_anything_is_computed(
    world: Path, monkeypatch: pytest.MonkeyPatch
):
    for work in ("haloes.evaluation.compare_runs.compare_runs", "haloes.evaluation.evaluate.compute_evaluation"):
        monkeypatch.setattr(work, lambda *_, **__: pytest.fail("it was computed first"))
    with pytest.raises(haloes.DataError, match="runs: cannot be written: it is a folder"):
        haloes.compare(["runs/first", "runs/second"], out="runs")
    with pytest.raises(haloes.DataError, match="runs: cannot be written: it is a folder"):
        haloes.evaluate("runs/first", out="runs")


def test_rounds_leave_a_run_that_can_be_exported(world: Path):
    further = {"max_new_tokens": 4, "prompts_per_round": 4, "per_prompt": 3, "held_out": 4, "rounds": 1}
    result = haloes.online("prompts.txt", model="model", rater="rules.py:rate", config=quick(Path("model")), **further)

    assert [point.round for point in result.points] == [0, 1]
    assert (result.folder, result.num_held_out) == (Path("runs/online-prompts"), 4)
    assert Path(haloes.export(result.last_run, "aligned").place, "model.safetensors").is_file()
    with pytest.raises(haloes.ConfigError, match="give either --rater"):
        haloes.online("prompts.txt", model="model")


# --- train


def test_a_file_a_loss_and_settings_give_a_run(model: Path, thumbs_file: Path, tmp_path: Path):
    run = haloes.train(feedback=thumbs_file, loss=haloes.KTO(beta=0.3), out=tmp_path / "run", config=quick(model))

    assert isinstance(run, haloes.Run)
    assert {"auc", "auc_length"} <= {score.name for score in run.scores}
    assert all(score.name.startswith("auc") for score in run.scores)
    saved = read_config(run.run_dir)
    assert saved.loss == {"name": "kto", "beta": 0.3, "desirable_weight": 1.0, "undesirable_weight": 1.0}
    assert (saved.model.name, saved.train.lr) == (str(model), 1e-2)


def test_arguments_go_before_the_settings(model: Path, thumbs_file: Path, tmp_path: Path):
    further = quick(model) | {"loss": {"name": "sft"}, "model": {"name": "nowhere", "dtype": "float32", "lora": None}}
    run = haloes.train(
        feedback=str(thumbs_file), model=str(model), loss="dpo", out=str(tmp_path / "run"), config=further
    )

    assert read_config(run.run_dir).loss["name"] == "dpo"
    assert read_config(run.run_dir).model.name == str(model)


def test_settings_go_before_the_arguments(model: Path, thumbs_file: Path, tmp_path: Path):
    run = haloes.train(
        thumbs_file,
        loss=haloes.KTO(beta=0.3),
        out=tmp_path / "run",
        config=quick(model),
        settings={"loss": {"beta": 0.4}, "train": {"lr": 2e-3}},
    )

    saved = read_config(run.run_dir)
    assert (saved.loss["name"], saved.loss["beta"], saved.train.lr) == ("kto", 0.4, 2e-3)


def test_settings_may_come_from_a_file(model: Path, thumbs_file: Path, tmp_path: Path):
    path = tmp_path / "run.yaml"
    path.write_text(
        "train: {lr: 1e-3, batch_size: 16, epochs: 1}\nsamples: {prompts: 0}\nmodel: {dtype: float32}\n"
        "feedback: {validation_share: 0.25}\n"
    )
    run = haloes.train(feedback=thumbs_file, model=str(model), out=tmp_path / "run", config=path)

    assert (read_config(run.run_dir).train.lr, run.num_steps) == (1e-3, 2)
    assert read_config(run.run_dir).loss["desirable_weight"] == "auto"


def test_records_in_memory_train_as_the_same_records_in_a_file(model: Path, tmp_path: Path):
    rows = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in thumbs()]
    from_file = haloes.train(
        feedback=write_rows(tmp_path / "f.jsonl", rows), out=tmp_path / "a", config=quick(model), loss="kto"
    )
    from_memory = haloes.train(feedback=records(), out=tmp_path / "b", config=quick(model), loss="kto")

    assert metrics(from_file.run_dir) == metrics(from_memory.run_dir)


def test_pairs_and_held_out_records_may_be_given(model: Path, tmp_path: Path):
    pairs = [haloes.Pair(prompt=f"Is {i} it?", chosen=f"yes {i}", rejected=f"no {i}") for i in range(12)]
    run = haloes.train(
        feedback=iter(pairs[:8]), validation=pairs[8:], loss=haloes.DPO(), out=tmp_path / "run", config=quick(model)
    )

    assert len(metrics(run.run_dir, "validation")) == 1
    assert next(score for score in run.scores if score.name == "auc").num_rows == 8


def test_a_run_is_resumed_with_the_same_records(model: Path, tmp_path: Path):
    further = quick(model) | {"samples": {"prompts": 2, "max_new_tokens": 4}}
    straight = haloes.train(feedback=records(), out=tmp_path / "a", config=further)
    with pytest.raises(KeyboardInterrupt):
        haloes.train(
            feedback=records(),
            out=tmp_path / "b",
            config=further,
            progress=CrashAt(step=2, error=KeyboardInterrupt()),
        )
    with pytest.raises(haloes.RunError, match="holds a run already"):
        haloes.train(feedback=records(), out=tmp_path / "b", config=further)
    resumed = haloes.train(feedback=records(), out=tmp_path / "b", config=further, resume=True)

    assert same_result(straight, resumed)


def test_another_loss_is_refused_on_resuming_unless_allowed(model: Path, thumbs_file: Path, tmp_path: Path):
    haloes.train(feedback=thumbs_file, loss="kto", out=tmp_path / "run", config=quick(model))

    with pytest.raises(haloes.RunError, match="another configuration"):
        haloes.train(feedback=thumbs_file, loss="sft", out=tmp_path / "run", config=quick(model), resume=True)
    assert haloes.train(
        feedback=thumbs_file,
        loss=haloes.KTO(beta=0.2),
        out=tmp_path / "run",
        config=quick(model),
        resume=True,
        allow_changes=True,
    ).scores


def test_faults_are_errors_of_the_user(model: Path, thumbs_file: Path, tmp_path: Path):
    with pytest.raises(haloes.ConfigError, match=r'Did you mean "train\.lr"'):
        haloes.train(feedback=thumbs_file, out=tmp_path / "run", config={"train": {"lrr": 1}})
    with pytest.raises(haloes.DataError, match="the list has no rows"):
        haloes.train(feedback=[], out=tmp_path / "run", config=quick(model))
    with pytest.raises(haloes.UserError):
        haloes.train(feedback=thumbs_file, loss="nope", out=tmp_path / "run", config=quick(model))
    assert not (tmp_path / "run").exists()


def test_a_stopped_run_raises_what_can_be_caught_by_name():
    assert issubclass(haloes.Interrupted, Exception)
    assert not issubclass(haloes.Interrupted, haloes.UserError)


def test_a_run_without_a_folder_is_numbered_and_a_resumed_one_has_to_be_named(
    model: Path, thumbs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)

    assert haloes.train(thumbs_file, config=quick(model), loss="sft").run_dir == Path("runs/thumbs-sft-1")
    with pytest.raises(haloes.ConfigError, match="resume=True continues the run in a folder"):
        haloes.train(thumbs_file, config=quick(model), resume=True)
    assert haloes.resume("runs/thumbs-sft-1").was_finished
    with pytest.raises(haloes.RunError, match="another configuration"):
        haloes.resume("runs/thumbs-sft-1", settings={"train": {"lr": 1.0}})


def test_an_empty_text_is_not_the_present_folder(model: Path, thumbs_file: Path, tmp_path: Path):
    with pytest.raises(haloes.ConfigError, match="an empty text is no path"):
        haloes.resume("")
    with pytest.raises(haloes.ConfigError, match="an empty text is no path"):
        haloes.export("", tmp_path / "model")
    with pytest.raises(haloes.ConfigError, match="an empty text is no path"):
        haloes.train(thumbs_file, config=quick(model), out="")


# --- rows in memory


def test_a_run_keeps_the_rows_that_were_in_memory_and_goes_on_with_them_wherever_it_is_moved(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    further = quick(model) | {"samples": {"prompts": 2, "max_new_tokens": 4}}
    straight = haloes.train(feedback=thumbs(), out=tmp_path / "a", config=further)
    with pytest.raises(KeyboardInterrupt):
        haloes.train(
            feedback=thumbs(),
            out=tmp_path / "b",
            config=further,
            progress=CrashAt(step=2, error=KeyboardInterrupt()),
        )
    monkeypatch.setenv("HALOES_CACHE", str(tmp_path / "another cache"))
    (tmp_path / "b").rename(tmp_path / "moved")
    resumed = haloes.resume(tmp_path / "moved")

    assert same_result(straight, resumed)
    assert len(rows_of(tmp_path / "moved" / "list.feedback.rows.jsonl")) == 32


def test_a_run_does_not_go_on_with_other_rows_than_those_that_it_kept(model: Path, tmp_path: Path):
    haloes.train(feedback=thumbs(), out=tmp_path / "run", config=quick(model))

    assert haloes.train(feedback=thumbs(), out=tmp_path / "run", config=quick(model), resume=True).num_steps == 3
    with pytest.raises(haloes.RunError, match="with other rows than those of the list"):
        haloes.train(feedback=thumbs(8), out=tmp_path / "run", config=quick(model) | {"train": {}}, resume=True)


def test_doctor_plan_and_convert_take_rows_in_memory_and_leave_no_file_of_them(model: Path, tmp_path: Path):
    import pandas as pd

    frame = pd.DataFrame([*thumbs(), {"prompt": "", "completion": "yes", "label": True}])
    before = set(Path(tempfile.gettempdir()).glob("haloes-*"))
    diagnosis = haloes.doctor(frame)
    planned = haloes.plan(frame, config=quick(model) | {"feedback": {"skip_refused": True}}, memory=4)
    conversion = haloes.convert(frame, tmp_path / "pairs.jsonl", to="pairs")

    assert diagnosis.findings.num_accepted == 32
    assert diagnosis.findings.refusals["empty prompt"].examples[0].startswith("row 33 of the DataFrame: ")
    assert planned.fits
    assert conversion.num_written == 16
    assert set(Path(tempfile.gettempdir()).glob("haloes-*")) <= before


def test_rows_in_memory_that_cannot_be_used_are_named_before_training(model: Path, tmp_path: Path):
    rows = [*thumbs(), {"prompt": "Is it?", "completion": "yes", "label": "perhaps"}]

    with pytest.raises(haloes.DataError, match=r"row 33 of the list: label 'perhaps'"):
        haloes.train(rows, config=quick(model), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- functions as judge and rater


def test_a_function_may_rate_and_a_resumed_run_asks_for_it_again_in_one_line(model: Path, tmp_path: Path):
    further = quick(model) | {"samples": {"prompts": 2, "max_new_tokens": 4}}
    wanted = 2

    def even(prompt: Any, completion: str, finished: bool) -> tuple[bool, str]:
        return len(completion) % wanted == 0, "even"

    stop = CrashAt(step=2, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        haloes.train(thumbs(), out=tmp_path / "run", config=further, rater=even, progress=stop)
    with pytest.raises(haloes.ConfigError, match=r"^samples\.rater: <.*even of .*> was given from Python") as told:
        haloes.resume(tmp_path / "run")
    run = haloes.resume(tmp_path / "run", rater=even)

    assert "\n" not in str(told.value)
    assert {row["reason"] for row in rows_of(run.run_dir / "ratings.jsonl")} == {"even"}
    assert "even of" in str(read_config(run.run_dir).samples.rater)


def test_a_run_goes_on_without_the_function_that_rated_it(model: Path, tmp_path: Path):
    further = quick(model) | {"samples": {"prompts": 2, "max_new_tokens": 4}}
    stop = CrashAt(step=2, error=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        haloes.train(thumbs(), out=tmp_path / "run", config=further, rater=lambda *_: (True, ""), progress=stop)
    haloes.resume(tmp_path / "run", settings={"samples": {"rater": None}})

    assert not (tmp_path / "run" / "ratings.jsonl").exists()


def test_a_function_in_the_settings_is_answered_with_the_argument(tmp_path: Path):
    with pytest.raises(haloes.ConfigError, match="give the function as an argument: rater=function"):
        haloes.train(thumbs(), settings={"samples": {"rater": lambda *_: (True, "")}}, out=tmp_path / "run")


def test_a_function_may_judge_and_another_one_is_another_judge(world: Path):
    judged = haloes.judge("runs/first", judge=lambda prompt, first, second: "first", out="j.jsonl")

    assert judged.judgements
    assert {judgement.judge[0] for judgement in judged.judgements} == {"<"}
    again = haloes.judge("runs/first", judge=lambda prompt, first, second: "first", out="j.jsonl")
    assert again.num_new == 0
    with pytest.raises(haloes.RunError, match="holds judgements of something else"):
        haloes.judge("runs/first", judge=lambda prompt, first, second: "second", out="j.jsonl")


def test_functions_decide_in_online_rounds(world: Path):
    quickly = {"settings": settings(Path("model"), Path("thumbs.jsonl")), "rounds": 1, "held_out": 4}
    rated = haloes.online(
        "prompts.txt", rater=lambda prompt, answer, finished: (len(answer) % 2 == 0, ""), out="rated", **quickly
    )

    assert rated.points[-1].rating is not None
