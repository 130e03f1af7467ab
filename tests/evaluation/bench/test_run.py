"""Asking benchmarks: which models, what is kept, what a rerun asks, and what is refused before a model is loaded."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake_harness import FakeHarness
from fakes import byte_tokenizer
from haloes.errors import ConfigError, DataError, ModelError, RunError
from haloes.evaluation.bench.numbers import benchmark_numbers
from haloes.evaluation.bench.run import BenchSettings, _render, draw, run_benchmarks
from haloes.evaluation.bench.sandbox.bubblewrap import Bubblewrap
from haloes.evaluation.bench.sandbox.namespaces import OwnJail
from haloes.evaluation.evaluate import compute_evaluation
from haloes.progress.contract import NullProgress
from haloes.report.page import write_report
from haloes.results_json import numbers_to_json, write_evaluation
from haloes.runs.align import align
from tiny_runs import config, save_model, thumbs, write_rows


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    model = save_model(folder / "start", seed=1)
    align(config(model, write_rows(folder / "thumbs.jsonl", thumbs()), loss={"name": "kto"}), folder / "run")
    return folder / "run"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "answers"


def ask(source: Path, harness: FakeHarness, out: Path | None, names: str = "gsm8k", **more: Any) -> Path:
    return run_benchmarks(
        str(source), BenchSettings(names=names, out=out, **more), harness=harness, progress=NullProgress()
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_is_asked_before_and_after_and_a_line_is_kept_for_each_question(run_dir: Path, out: Path):
    harness = FakeHarness()
    assert ask(run_dir, harness, out) == out
    assert [Path(name).name for name in harness.loaded] == ["start", "model"]
    for variant in ("before", "after"):
        kept = lines(out / f"gsm8k.{variant}.jsonl")
        assert sorted(row["number"] for row in kept) == list(range(10))
        row = next(row for row in kept if row["number"] == 3)
        assert (row["subtask"], row["reply"], row["extracted"]) == ("sums", "3", {"none": "3"})
        assert row["scores"]["exact_match,flexible-extract"] == 1.0
        assert len(row["prompt"]) == 16


def test_the_answers_of_a_run_lie_in_its_folder(run_dir: Path):
    assert ask(run_dir, FakeHarness(), None, "mmlu") == run_dir / "benchmarks"
    assert benchmark_numbers(run_dir / "benchmarks") is not None


def test_questions_go_through_the_chat_template_unless_told_otherwise(run_dir: Path, tmp_path: Path):
    with_template, without = FakeHarness(), FakeHarness()
    ask(run_dir, with_template, tmp_path / "a")
    ask(run_dir, without, tmp_path / "b", chat=False)
    assert "<|im_start|>user\nHow many? sums 0<|im_end|>" in with_template.asked[0].prompt
    assert with_template.asked[0].prompt.endswith("<|im_start|>assistant\n")
    assert without.asked[0].prompt.startswith("How many?")


def test_a_plain_model_is_asked_once(run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    harness = FakeHarness()
    folder = ask(run_dir.parent / "start", harness, None)
    assert folder == Path("benchmarks/start")
    numbers = benchmark_numbers(folder)
    assert numbers is not None
    (result,) = numbers.results
    assert [(score.variant, score.value) for score in result.scores] == [("model", 1.0)]
    assert result.change is None


def test_a_rerun_asks_only_for_what_is_missing_and_loads_nothing_where_nothing_is(run_dir: Path, out: Path):
    ask(run_dir, FakeHarness(), out)
    whole = {path.name: path.read_bytes() for path in out.iterdir()}
    path = out / "gsm8k.after.jsonl"
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join(rows[:7]) + rows[7][:20])  # killed while it wrote

    harness = FakeHarness()
    ask(run_dir, harness, out)
    assert len(harness.asked) == 3
    assert len(harness.loaded) == 1
    assert {name: sorted(content.splitlines()) for name, content in whole.items()} == {
        file.name: sorted(file.read_bytes().splitlines()) for file in out.iterdir()
    }
    again = FakeHarness()
    ask(run_dir, again, out)
    assert again.loaded == []


def test_what_was_answered_before_an_interrupt_is_kept(run_dir: Path, out: Path):
    with pytest.raises(KeyboardInterrupt):
        ask(run_dir, FakeHarness(most=2), out, batch_size=3)
    assert len(lines(out / "gsm8k.before.jsonl")) == 6
    numbers = benchmark_numbers(out)
    assert numbers is not None
    assert numbers.results == ()
    assert "before has answered 6 of 10 questions and is left out" in numbers.notes[0]
    harness = FakeHarness()
    ask(run_dir, harness, out, batch_size=5)
    assert len(harness.asked) == 4 + 10


@pytest.mark.parametrize(
    ("harness", "more", "named"),
    [
        (FakeHarness(), {"limit": 5}, "another questions"),
        (FakeHarness(), {"chat": False}, "another chat template"),
        (FakeHarness(text="Say!"), {}, "another rows"),
        (FakeHarness(version="fake 2"), {}, "another harness"),
    ],
)
def test_changed_settings_are_refused_and_nothing_is_lost(
    run_dir: Path, out: Path, harness: FakeHarness, more: dict[str, Any], named: str
):
    ask(run_dir, FakeHarness(), out)
    kept = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(RunError, match=f"was begun with {named} .*--bench-out"):
        ask(run_dir, harness, out, **more)
    assert harness.loaded == []
    assert {path.name: path.read_bytes() for path in out.iterdir()} == kept


def test_another_draw_of_as_many_questions_is_refused(run_dir: Path, out: Path):
    ask(run_dir, FakeHarness(), out, limit=4)
    with pytest.raises(RunError, match=r"another seed \(0 and not 1\)"):
        ask(run_dir, FakeHarness(), out, limit=4, seed=1)


def test_another_model_under_the_same_name_is_refused(tmp_path: Path, out: Path):
    model = save_model(tmp_path / "m", seed=1)
    ask(model, FakeHarness(), out)
    save_model(tmp_path / "m", seed=2)
    with pytest.raises(RunError, match="another model contents"):
        ask(model, FakeHarness(), out)


def test_a_start_model_that_is_no_longer_the_run_s_own_is_refused(tmp_path: Path, out: Path):
    model = save_model(tmp_path / "start", seed=1)
    align(config(model, write_rows(tmp_path / "t.jsonl", thumbs()), loss={"name": "kto"}), tmp_path / "run")
    save_model(tmp_path / "start", seed=2)
    with pytest.raises(RunError, match="not the model that the run started from"):
        ask(tmp_path / "run", FakeHarness(), out)
    assert not list(out.glob("*.jsonl"))


def test_generated_code_takes_permission_before_anything_is_loaded_or_generated(run_dir: Path, out: Path):
    harness = FakeHarness()
    with pytest.raises(ConfigError, match="only if you say so: --run-generated-code"):
        ask(run_dir, harness, out, "gsm8k,humaneval")
    assert harness.loaded == []
    assert not out.exists()


def test_generated_code_is_refused_where_there_is_no_sandbox(run_dir: Path, out: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.platform", "darwin")
    harness = FakeHarness()
    with pytest.raises(ConfigError, match="this is darwin"):
        ask(run_dir, harness, out, "humaneval", run_generated_code=True)
    assert harness.loaded == []


class Notes(NullProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_jail_of_our_own_is_told_and_bubblewrap_is_not(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = BenchSettings(names="humaneval", out=tmp_path, run_generated_code=True)
    for jail, told in ((Bubblewrap("bwrap"), []), (OwnJail(), [OwnJail().remark])):
        monkeypatch.setattr("haloes.evaluation.bench.sandbox.run.find_jail", lambda jail=jail: jail)
        progress = Notes()
        place = replace(settings, out=tmp_path / jail.name)
        run_benchmarks(str(run_dir), place, harness=FakeHarness(), progress=progress)
        assert [note for note in progress.notes if "jail" in note] == told


def test_what_is_missing_is_said_before_a_model_is_loaded(run_dir: Path, out: Path):
    harness = FakeHarness(missing="lm-eval is missing")
    with pytest.raises(ConfigError, match="lm-eval is missing"):
        ask(run_dir, harness, out)
    with pytest.raises(ModelError, match="no such folder"):
        ask(Path("no/such/model"), FakeHarness(), out)
    (out / "unfinished").mkdir(parents=True)
    (out / "unfinished" / "config.yaml").write_bytes((run_dir / "config.yaml").read_bytes())
    with pytest.raises(RunError, match="has no model yet: finish it with `haloes resume"):
        ask(out / "unfinished", FakeHarness(), out)


@pytest.mark.parametrize(
    ("names", "more", "message"),
    [
        ("gsm9k", {}, "no benchmark 'gsm9k'; did you mean gsm8k"),
        ("what", {}, "there are gsm8k, gsm8k_cot, mmlu"),
        (" , ", {}, "names no benchmark"),
        ("gsm8k", {"limit": 0}, "--bench-limit must be at least 1, got 0"),
        ("gsm8k", {"batch_size": 0}, "--batch-size must be at least 1, got 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(run_dir: Path, names: str, more: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        ask(run_dir, FakeHarness(), None, names, **more)


def says(name: str, question: Any) -> str:
    """Before, the first three of each ten are right; after, the first eight."""
    return str(question.number if question.number < (3 if name.endswith("start") else 8) else -1)


def test_numbers_are_paired_by_question_and_corrected_for_all_benchmarks(run_dir: Path, out: Path):
    ask(run_dir, FakeHarness(says=says), out, "gsm8k,ifeval")
    numbers = benchmark_numbers(out)
    assert numbers is not None
    for result in numbers.results:
        assert [(score.variant, score.value) for score in result.scores] == [("before", 0.3), ("after", 0.8)]
        assert result.change is not None
        assert result.change.score.value == pytest.approx(0.5)
        assert (result.change.test.up, result.change.test.down, result.change.test.same) == (5, 0, 5)
        assert result.change.p_holm == pytest.approx(2 * 2 / 32)
        assert result.change.score.low < 0.5 < result.change.score.high
    gsm8k = numbers.results[0]
    assert gsm8k.asked == "all 10 questions, no examples, through the chat template; fake 1, definition 1"
    # Parts of a question: of each, one is right with the question, one always.
    assert [score.value for score in gsm8k.others] == pytest.approx([0.65, 0.9])


def test_subtasks_are_told_one_by_one(run_dir: Path, out: Path):
    ask(run_dir, FakeHarness(says=says, sizes={"a": 10, "b": 4}), out, "mmlu", limit=14)
    numbers = benchmark_numbers(out)
    assert numbers is not None
    found = {(s.label, s.variant): s.value for s in numbers.results[0].subtasks}
    assert found == {("a", "before"): 0.3, ("b", "before"): 0.75, ("a", "after"): 0.8, ("b", "after"): 1.0}


def test_rows_that_changed_between_before_and_after_are_not_compared(run_dir: Path, out: Path):
    ask(run_dir, FakeHarness(), out)
    about = out / "gsm8k.after.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "rows": "others"}))
    numbers = benchmark_numbers(out)
    assert numbers is not None
    assert numbers.results[0].change is None
    assert "were asked other questions" in numbers.notes[0]


@pytest.mark.parametrize(
    "line", ['{"subtask": "x"}', "[]", "{", '{"subtask": "sums", "number": 1, "scores": {"a": 7}}']
)
def test_a_damaged_line_is_named(run_dir: Path, out: Path, line: str):
    ask(run_dir, FakeHarness(), out)
    path = out / "gsm8k.after.jsonl"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"gsm8k\.after\.jsonl:11"):
        benchmark_numbers(out)


def test_an_evaluation_of_the_run_keeps_its_benchmarks_and_the_report_shows_them(run_dir: Path):
    ask(run_dir, FakeHarness(says=says, sizes={"a": 30, "<b>": 30}), None, "bbh")
    found = compute_evaluation([run_dir])
    assert found.benchmarks is not None
    write_evaluation(run_dir / "evaluation.json", found)
    kept = json.loads((run_dir / "evaluation.json").read_text())
    assert kept["benchmarks"] == json.loads(json.dumps(numbers_to_json(found)["benchmarks"]))
    html = " ".join(write_report(run_dir).read_text(encoding="utf-8").split())
    assert '<a href="#benchmarks">Benchmarks</a>' in html
    assert "BIG-Bench Hard, 3 worked examples" in html
    assert "10 questions gained, 0 lost, 50 as before" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html.partition("subtasks</summary>")[2].partition("</table>")[0]


@pytest.mark.parametrize("limit", [1, 7, 40, 99])
def test_a_draw_is_spread_over_the_subtasks_in_proportion(limit: int):
    sizes = {"a": 50, "b": 30, "c": 20}
    drawn = draw(sizes, limit, seed=3)
    assert sum(map(len, drawn.values())) == limit
    for subtask, numbers in drawn.items():
        assert numbers == sorted(set(numbers))
        assert 0 <= numbers[0] <= numbers[-1] < sizes[subtask]
        assert abs(len(numbers) - limit * sizes[subtask] / 100) < 1.0001
    assert draw(sizes, limit, seed=3) == drawn


def test_every_question_has_the_same_chance_to_be_drawn():
    sizes = {"a": 7, "b": 3}
    counts = {(name, i): 0 for name, size in sizes.items() for i in range(size)}
    for seed in range(3000):
        for name, numbers in draw(sizes, 4, seed=seed).items():
            for number in numbers:
                counts[name, number] += 1
    # 3000 draws with chance 0.4: standard deviation 26.8.
    assert all(abs(count - 1200) < 4 * 26.8 for count in counts.values()), counts


def test_without_a_limit_all_questions_are_asked():
    assert draw({"a": 2, "b": 1}, None, seed=0) == draw({"a": 2, "b": 1}, 9, seed=0) == {"a": [0, 1], "b": [0]}


@pytest.fixture(autouse=True)
def _clean(run_dir: Path) -> Iterator[None]:
    yield
    for path in (run_dir / "benchmarks").glob("*"):
        path.unlink()


def test_a_chat_template_that_reads_parts_is_given_parts():
    chatml = "{% for m in messages %}{{ m['role'] + ':' + WORDS + '\n' }}{% endfor %}"
    words = "(m['content'] | map(attribute='text') | join)"
    render = _render(byte_tokenizer(chat_template=chatml.replace("WORDS", words)))
    turns = [{"role": "user", "content": "Why?"}]

    assert render is not None
    assert render(turns) == "user:Why?\n"
    assert render([*turns, {"role": "assistant", "content": "So"}], add_generation_prompt=False).endswith(
        "assistant:So"
    )
