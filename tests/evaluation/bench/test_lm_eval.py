"""The bridge to lm-eval, with the real package where it is installed: its prompts and scores on constructed rows."""

import json
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import bench_rows
from haloes.errors import ConfigError, DataError
from haloes.evaluation.bench._contract import Loaded, Question, Reply
from haloes.evaluation.bench.lm_eval import LmEval
from haloes.evaluation.bench.numbers import benchmark_numbers
from haloes.evaluation.bench.run import BenchSettings, run_benchmarks
from haloes.evaluation.bench.sandbox.run import find_jail
from haloes.evaluation.bench.table import BENCHMARKS, Benchmark, find_benchmarks
from haloes.progress.contract import NullProgress
from tiny_runs import save_model


def peer(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test as one that needs lm-eval."""
    reason = "lm-eval is not installed (make test-peers runs it)"
    marked: Callable[..., None] = pytest.mark.peer(
        pytest.mark.skipif(find_spec("lm_eval") is None, reason=reason)(test)
    )
    return marked


_HARNESS = LmEval()


def benchmark(name: str) -> Benchmark:
    (found,) = find_benchmarks(name)
    return found


def tasks_of(place: str) -> Path:
    import lm_eval.tasks

    return Path(lm_eval.tasks.__file__).parent / place


def subjects() -> list[str]:
    return sorted(file.stem.removeprefix("mmlu_") for file in tasks_of("mmlu/default").glob("mmlu_*.yaml"))


def subtasks() -> list[str]:
    return sorted(file.stem for file in tasks_of("bbh/cot_fewshot").glob("[a-z]*.yaml"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    bench_rows.gsm8k(folder)
    bench_rows.mmlu(folder, subjects())
    bench_rows.bbh(folder, subtasks())
    bench_rows.humaneval(folder)
    bench_rows.ifeval(folder)
    return folder


def load(name: str, data: Path) -> Loaded:
    return _HARNESS.load(benchmark(name), data)


def questions(loaded: Loaded, subtask: str, numbers: Sequence[int] = (0, 1)) -> list[Question]:
    return loaded.questions({subtask: list(numbers)}, None)


def turns(messages: list[dict[str, str]], **settings: Any) -> str:
    """A chat template that shows what it is given."""
    return json.dumps([messages, settings])


@peer
def test_gsm8k_has_five_examples_from_train_and_two_ways_to_find_the_answer(data: Path):
    loaded = load("gsm8k", data)
    assert loaded.sizes == {"gsm8k": 6}
    assert loaded.about == {"definition": "3.0", "examples": 5, "most_tokens": 256}
    (question,) = questions(loaded, "gsm8k", [3])
    assert question.prompt.count("Question: ") == 6
    assert question.prompt.endswith("Question: What is 3 + 3?\nAnswer:")

    found = loaded.score(question, Reply(text=" It is 3 + 3 = 6.\n#### 6"))
    assert found.scores == {"exact_match,strict-match": 1.0, "exact_match,flexible-extract": 1.0}
    found = loaded.score(question, Reply(text=" The answer is 6"))
    assert found.scores == {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0}
    assert found.extracted == {"strict-match": "[invalid]", "flexible-extract": "6"}
    assert loaded.score(question, Reply(text=" 7")).scores["exact_match,flexible-extract"] == 0.0


@peer
def test_examples_and_question_are_turns_of_a_chat(data: Path):
    (question,) = load("gsm8k", data).questions({"gsm8k": [0]}, turns)
    messages, settings = json.loads(question.prompt)
    assert [message["role"] for message in messages] == ["user", "assistant"] * 5 + ["user"]
    assert messages[-1]["content"] == "Question: What is 0 + 0?\nAnswer:"
    assert settings == {"add_generation_prompt": True}


@peer
def test_a_question_reads_the_same_each_time(data: Path):
    loaded = load("gsm8k", data)
    once, again = (questions(loaded, "gsm8k", [1, 4]) for _ in range(2))
    assert [question.prompt for question in once] == [question.prompt for question in again]
    assert [question.number for question in once] == [1, 4]
    assert "What is 4 + 4?" in once[1].row


@peer
def test_gsm8k_with_worked_examples_needs_no_train_split(tmp_path: Path):
    bench_rows.gsm8k(tmp_path)
    (tmp_path / "gsm8k" / "train.jsonl.gz").unlink()
    (question,) = questions(load("gsm8k_cot", tmp_path), "gsm8k_cot", [2])
    assert question.prompt.count("Q: ") == 9
    with pytest.raises(DataError, match=r"gsm8k/train\.jsonl, \.jsonl\.gz or \.parquet does not exist"):
        load("gsm8k", tmp_path)


@peer
def test_mmlu_compares_the_letters(data: Path):
    loaded = load("mmlu", data)
    assert len(loaded.sizes) == 57
    assert set(loaded.sizes.values()) == {2}
    (question,) = questions(loaded, "mmlu_anatomy", [1])
    assert question.prompt.endswith("anatomy 1?\nA. red\nB. green\nC. blue\nD. grey\nAnswer:")
    right = loaded.score(question, Reply(logps=(-3.0, -1.0, -2.0, -9.0), greedy=(False,) * 4))
    wrong = loaded.score(question, Reply(logps=(-1.0, -3.0, -2.0, -9.0), greedy=(False,) * 4))
    assert (right.scores, right.extracted) == ({"acc,none": 1.0}, {"none": "B"})
    assert (wrong.scores, wrong.extracted) == ({"acc,none": 0.0}, {"none": "A"})


@peer
def test_bbh_has_three_worked_examples_and_reads_what_follows_the_answer_is(data: Path):
    loaded = load("bbh", data)
    assert len(loaded.sizes) == 27
    assert loaded.about["examples"] == 3
    (question,) = questions(loaded, "bbh_cot_fewshot_navigate", [0])
    assert question.prompt.count("Let's think step by step.") == 4
    assert loaded.score(question, Reply(text="Left. So the answer is Yes.")).scores == {"exact_match,get-answer": 1.0}
    assert loaded.score(question, Reply(text="Left. So the answer is No.")).scores == {"exact_match,get-answer": 0.0}


@peer
@pytest.mark.parametrize(
    ("name", "reply", "score"),
    [
        ("humaneval", "    return a + b\n", 1.0),
        ("humaneval", "    return a - b\n", 0.0),
        ("humaneval", "    import sys\n    sys.exit(0)\n", 0.0),
        ("humaneval_instruct", "    return a + b\n```\nThis adds the numbers.", 1.0),
        ("humaneval", "    return a + b\n```\nThis adds the numbers.", 0.0),
    ],
)
def test_programs_are_scored_by_running_them_in_the_sandbox(data: Path, name: str, reply: str, score: float):
    try:
        find_jail()
    except ConfigError as error:
        pytest.skip(str(error))
    loaded = load(name, data)
    (question,) = questions(loaded, name, [0])
    found = loaded.score(question, Reply(text=reply))
    assert found.scores == {"pass@1,sandbox": score}
    assert found.extracted["program"].startswith(bench_rows.ADD)
    assert bool(found.note) == (score == 0.0)


@peer
def test_lm_eval_s_own_runner_of_programs_is_not_even_imported(data: Path):
    load("humaneval", data)
    assert "lm_eval.tasks.humaneval.utils" not in sys.modules


def _punkt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shape of nltk's data, without contents: enough to split at full stops."""
    import nltk

    place = folder / "tokenizers" / "punkt_tab" / "english"
    place.mkdir(parents=True)
    for name in ("collocations.tab", "sent_starters.txt", "abbrev_types.txt", "ortho_context.tab"):
        (place / name).write_text("")
    monkeypatch.setattr(nltk.data, "path", [str(folder)])


needs_ifeval = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("langdetect", "immutabledict", "nltk")),
    reason="langdetect, immutabledict or nltk is not installed (make test-peers runs it)",
)


@peer
@needs_ifeval
def test_ifeval_checks_each_instruction(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _punkt(tmp_path, monkeypatch)
    _HARNESS.require([benchmark("ifeval")])
    loaded = load("ifeval", data)
    (question,) = questions(loaded, "ifeval", [1])
    assert question.prompt == "Write at least 3 words. No commas."
    found = loaded.score(question, Reply(text="One, two"))
    assert found.scores["prompt_level_strict_acc,none"] == 0.0
    assert found.scores["inst_level_strict_acc,none"] == [0.0, 0.0]
    found = loaded.score(question, Reply(text="one two three four"))
    assert found.scores["prompt_level_strict_acc,none"] == 1.0


@peer
@needs_ifeval
def test_missing_data_of_nltk_is_named_with_what_to_run_and_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch):
    import nltk

    monkeypatch.setattr(nltk.data, "path", ["/nowhere"])
    monkeypatch.setattr(nltk, "download", lambda *_: pytest.fail("it tried to fetch"))
    with pytest.raises(ConfigError, match=r"python -m nltk\.downloader punkt_tab; on a machine without a network copy"):
        _HARNESS.require([benchmark("ifeval")])


@peer
def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "langdetect", None)
    monkeypatch.setattr(
        "haloes.evaluation.bench.lm_eval.find_spec", lambda name: None if name == "langdetect" else find_spec(name)
    )
    with pytest.raises(ConfigError, match=r'ifeval: its scoring takes langdetect, .* pip install "haloes\[bench\]"'):
        _HARNESS.require([benchmark("ifeval")])


def test_without_lm_eval_the_command_to_install_it_is_said(monkeypatch: pytest.MonkeyPatch):
    def missing(_: str) -> str:
        from importlib.metadata import PackageNotFoundError

        raise PackageNotFoundError

    monkeypatch.setattr("haloes.evaluation.bench.lm_eval.version", missing)
    with pytest.raises(ConfigError, match=r'takes lm-eval, which is not installed here. Run: pip install "haloes\[be'):
        _HARNESS.require([benchmark("gsm8k")])


def test_an_old_lm_eval_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("haloes.evaluation.bench.lm_eval.version", lambda _: "0.4.9.1")
    with pytest.raises(ConfigError, match=r"lm-eval 0\.4\.13 or later, here is 0\.4\.9\.1"):
        _HARNESS.require([benchmark("gsm8k")])


@peer
def test_without_a_hub_the_local_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"gsm8k: its rows cannot be had from the hub .*--bench-data FOLDER"):
        _HARNESS.load(benchmark("gsm8k"), None)


@peer
def test_too_few_rows_for_the_examples_are_counted(tmp_path: Path):
    row = {"question": "1 + 1?", "answer": "It is 2.\n#### 2"}
    bench_rows.write(tmp_path / "gsm8k" / "train.jsonl", [row] * 3)
    bench_rows.write(tmp_path / "gsm8k" / "test.jsonl", [row])
    loaded = _HARNESS.load(benchmark("gsm8k"), tmp_path)
    with pytest.raises(DataError, match=r"5 examples come before each question, .* \(train\) are 3;"):
        loaded.questions({"gsm8k": [0]}, None)


@peer
def test_a_column_of_another_kind_is_the_row_s_fault(tmp_path: Path):
    row = {"question": "q", "subject": "anatomy", "choices": ["only one"], "answer": 0}
    for subject in subjects():
        bench_rows.write(tmp_path / "mmlu" / subject / "test.jsonl", [row])
        bench_rows.write(tmp_path / "mmlu" / subject / "dev.jsonl", [row])
    with pytest.raises(DataError, match="are the columns those of the hub"):
        questions(load("mmlu", tmp_path), "mmlu_anatomy", [0])


@peer
def test_every_benchmark_s_metrics_are_those_that_lm_eval_gives(data: Path, tmp_path: Path, monkeypatch: Any):
    if find_spec("langdetect") and find_spec("immutabledict"):
        _punkt(tmp_path, monkeypatch)
    for one in BENCHMARKS:
        if one.runs_code or any(find_spec(name) is None for name in one.needs):
            continue
        loaded = _HARNESS.load(one, data)
        subtask = next(iter(loaded.sizes))
        (question,) = questions(loaded, subtask, [0])
        choices = len(question.requests)
        reply = Reply(text="x") if choices == 1 else Reply(logps=(0.0,) * choices, greedy=(True,) * choices)
        assert {one.metric, *(metric for metric, _ in one.others)} <= set(loaded.score(question, reply).scores)


@peer
def test_a_tiny_model_is_asked_choices_and_texts(data: Path, tmp_path: Path):
    model = save_model(tmp_path / "m", seed=1, max_position_embeddings=4096)
    settings = BenchSettings(names="mmlu,gsm8k", data=data, limit=3, out=tmp_path / "out", chat=False)
    run_benchmarks(str(model), settings, harness=_HARNESS, progress=NullProgress())
    numbers = benchmark_numbers(tmp_path / "out")
    assert numbers is not None
    by_name = {result.name: result for result in numbers.results}
    assert by_name["mmlu"].questions == 3
    assert by_name["mmlu"].of == 114
    assert by_name["gsm8k"].asked.startswith(
        "3 of 6 questions, drawn with seed 0, 5 examples before each, as plain text"
    )
    choices = json.loads((tmp_path / "out" / "mmlu.model.jsonl").read_text().splitlines()[0])
    assert len(choices["logps"]) == 4
    assert all(logp < 0 for logp in choices["logps"])


@peer
def test_the_log_probs_of_choices_are_the_model_s(data: Path, tmp_path: Path):
    import torch

    from haloes.models.load import load_model

    loaded = load_model(str(save_model(tmp_path / "m", seed=1)), dtype=torch.float32, device="cpu")
    (question,) = questions(load("mmlu", data), "mmlu_anatomy", [0])
    (reply,) = _HARNESS.model(loaded.model, loaded.tokenizer).answer([question])
    ids = loaded.tokenizer(question.prompt, add_special_tokens=False)["input_ids"]
    expected = []
    for letter in "ABCD":
        # The byte tokenizer: a space and the letter.
        tail = loaded.tokenizer(f" {letter}", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logps = loaded.model(torch.tensor([ids + tail])).logits[0].log_softmax(-1)
        expected.append(sum(float(logps[len(ids) - 1 + i, token]) for i, token in enumerate(tail)))
    assert reply.logps == pytest.approx(expected, rel=1e-4)


@peer
def test_a_window_that_holds_no_answer_is_refused_and_a_cut_prompt_is_marked(data: Path, tmp_path: Path):
    import torch

    from haloes.models.load import load_model

    (question,) = questions(load("gsm8k", data), "gsm8k", [0])
    for window, expected in ((256, None), (300, True), (2048, False)):
        place = save_model(tmp_path / str(window), seed=1, max_position_embeddings=window)
        loaded = load_model(str(place), dtype=torch.float32, device="cpu")
        model = _HARNESS.model(loaded.model, loaded.tokenizer)
        if expected is None:
            with pytest.raises(ConfigError, match="may have 256 tokens and the model's window has 256"):
                model.answer([question])
        else:
            assert model.answer([question])[0].cut is expected
