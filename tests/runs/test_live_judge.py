"""A judge while training: what it is asked, what is kept of it, and that a run outlives it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fake_server import FakeServer, Reply, Request, says
from haloes.errors import ConfigError, RunError, UserError
from haloes.judging._contract import Judge, OrderedPair
from haloes.judging.scripted import ScriptedJudge, always, longer
from haloes.progress.contract import NullProgress
from haloes.records import Completion
from haloes.runs.align import Run, align
from haloes.runs.live_judge import WIN_RATE, LiveJudge
from tiny_runs import config, crash, metrics, rows_of, thumbs, warnings_of, write_rows

KEY = "sk-secret-0123456789"
RULE = "def longer(prompt, first, second):\n    return 'first' if len(first) > len(second) else 'second'\n"


def answers(*texts: str, model: str = "before") -> list[Completion]:
    return [
        Completion(prompt_id=f"p{i}", prompt=f"Question {i}", completion=text, model=model, num_tokens=1, finished=True)
        for i, text in enumerate(texts)
    ]


def watching(judge: Judge, place: Path, *before: str, same_run: bool = False) -> LiveJudge:
    return LiveJudge(judge, answers(*(before or ("aa", "aa", "aa", "aa"))), place, seed=0, same_run=same_run)


# --- the numbers


def test_the_win_rate_counts_ties_half_and_equal_answers_are_not_asked_about(tmp_path: Path):
    # Longer wins, shorter loses, as long ties, and the last is the same text: (1 + 0 + 1/2 + 1/2) / 4.
    found = watching(longer(), tmp_path).numbers(3, answers("aaa", "a", "bb", "aa"))

    assert found[WIN_RATE] == 0.5
    assert found[f"{WIN_RATE}/low"] < 0.5 < found[f"{WIN_RATE}/high"]
    assert found[f"{WIN_RATE}/unscored"] == 0
    assert found["sampled/judge/questions"] == 6
    assert "sampled/judge/error" not in found


def test_a_judge_that_always_says_first_gives_exactly_one_half(tmp_path: Path):
    found = watching(always("Response 1"), tmp_path).numbers(3, answers("w", "x", "y", "z"))

    assert found[WIN_RATE] == 0.5


def test_replies_without_a_verdict_are_counted_and_left_out(tmp_path: Path):
    def script(comparison: OrderedPair) -> str:
        return "I cannot say" if comparison.prompt_id == "p0" else "[[A]]" if len(comparison.first) == 3 else "[[B]]"

    judge = ScriptedJudge(script=script, template="mt-bench")
    found = watching(judge, tmp_path).numbers(3, answers("bbb", "bbb", "bbb", "b"))

    # Two win in both orders; of the last the judge takes whatever comes second, a tie: (1 + 1 + 1/2) / 3.
    assert found[WIN_RATE] == pytest.approx(2.5 / 3)
    assert found[f"{WIN_RATE}/unscored"] == 1


def test_every_answer_and_every_judgement_with_its_reply_is_kept(tmp_path: Path):
    watching(always("Response 2, plainly"), tmp_path).numbers(30, answers("w", "x", "y", "z"))

    kept = rows_of(tmp_path / "step-000030.judgements.jsonl")
    assert len(kept) == 8
    assert {(row["candidate"], row["baseline"], row["reply"]) for row in kept} == {
        ("step 30", "before", "Response 2, plainly")
    }
    assert [row["completion"] for row in rows_of(tmp_path / "step-000030.answers.jsonl")] == ["w", "x", "y", "z"]


# --- what goes wrong while training


class Moody:
    """Answers while `alive`, and counts the questions."""

    def __init__(self) -> None:
        self.alive, self.asked = True, 0

    def __call__(self, comparison: OrderedPair) -> str | None:
        self.asked += 1
        return ("Response 1" if len(comparison.first) > 2 else "Response 2") if self.alive else None


def test_a_judge_that_is_gone_leaves_no_number_is_asked_once_at_the_next_validation_and_may_come_back(tmp_path: Path):
    moody = Moody()
    watch = watching(ScriptedJudge(script=moody), tmp_path)
    now = answers("bbb", "bbb", "bbb", "bbb")

    moody.alive = False
    first = watch.numbers(1, now)
    asked = moody.asked
    second = watch.numbers(2, now)
    assert moody.asked - asked == 2 == second["sampled/judge/questions"]
    moody.alive = True
    third = watch.numbers(3, now)

    assert first[WIN_RATE] is second[WIN_RATE] is first[f"{WIN_RATE}/low"] is None
    assert "the script gives no reply" in first["sampled/judge/error"]
    assert third[WIN_RATE] == 1.0
    assert "sampled/judge/error" not in third


def test_an_answer_that_is_missing_for_some_prompts_leaves_a_number_of_the_others(tmp_path: Path):
    def script(comparison: OrderedPair) -> str | None:
        return None if comparison.prompt_id == "p1" else "Response 1"

    found = watching(ScriptedJudge(script=script), tmp_path).numbers(1, answers("b", "b", "b", "b"))

    assert found[WIN_RATE] == 0.5
    assert found[f"{WIN_RATE}/unscored"] == 1
    assert found["sampled/judge/error"].startswith("2 of 8 questions, the first: prompt p1: ")


@pytest.mark.parametrize("error", [ConfigError("the rule failed"), RuntimeError("out of memory")])
def test_whatever_a_judge_raises_the_number_is_missing_and_the_reason_is_told(tmp_path: Path, error: Exception):
    def script(_: OrderedPair) -> str:
        raise error

    found = watching(ScriptedJudge(script=script), tmp_path).numbers(1, answers("b", "b", "b", "b"))

    assert found[WIN_RATE] is None
    assert str(error) in found["sampled/judge/error"]


def test_too_few_verdicts_are_no_win_rate_and_the_reason_is_told(tmp_path: Path):
    found = watching(always("Both are good"), tmp_path).numbers(1, answers("b", "b", "b", "b"))

    assert found[WIN_RATE] is None
    assert found["sampled/judge/error"].startswith("0 of 4 prompts have a verdict in both orders; ")


def test_a_step_that_is_done_again_in_the_same_run_asks_nothing_again(tmp_path: Path):
    now = answers("w", "x", "y", "z")
    before = watching(always("Response 1"), tmp_path).numbers(5, now)
    again = watching(always("Response 1"), tmp_path, same_run=True)
    again.begin(2, 1)

    after = again.numbers(5, now)

    assert (before["sampled/judge/questions"], after["sampled/judge/questions"]) == (8, 0)
    assert before[WIN_RATE] == after[WIN_RATE]


def test_a_changed_run_asks_anew_from_where_it_goes_on(tmp_path: Path):
    now = answers("w", "x", "y", "z")
    for step in (2, 5):
        watching(always("Response 1"), tmp_path).numbers(step, now)
    again = watching(always("Response 2"), tmp_path)
    again.begin(2, 1)

    assert again.numbers(5, now)["sampled/judge/questions"] == 8
    assert {row["reply"] for row in rows_of(tmp_path / "step-000002.judgements.jsonl")} == {"Response 1"}


# --- before training


def test_a_trial_question_finds_a_judge_that_does_not_answer(tmp_path: Path):
    dead = ScriptedJudge(script=lambda _: None)

    with pytest.raises(RunError, match=r"watch.judge: scripted does not answer a trial question"):
        watching(dead, tmp_path).try_out()
    assert "does not answer at present" in str(watching(dead, tmp_path, same_run=True).try_out())


def test_a_trial_question_tells_of_a_reply_without_a_verdict(tmp_path: Path):
    assert watching(always("Response 1"), tmp_path).try_out() is None
    assert "gave no verdict on a trial question" in str(watching(always("Hm"), tmp_path).try_out())


def test_the_number_of_questions_is_told_before(tmp_path: Path):
    text = watching(always("Response 1"), tmp_path).begin(0, 3)

    assert "at most 24 questions (8 a validation" in text


# --- in a run


class Noting(NullProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def judged_config(model: Path, source: Path, judge: dict[str, Any] | None, **sections: Any) -> Any:
    base: dict[str, Any] = {
        "watch": {"prompts": 2, "judge": judge},
        "train": {"validate_every": 2},
        "samples": {"prompts": 2, "max_new_tokens": 6},
    }
    for name, section in sections.items():
        base[name] = {**base.get(name, {}), **section}
    return config(model, source, **base)


def asking(server: FakeServer, **more: Any) -> dict[str, Any]:
    url = {"kind": "http", "model": "m", "base_url": server.url}
    return {
        **url,
        "attempts": 1,
        "timeout": 5.0,
        "concurrency": 1,
        "price_prompt": 1.0,
        "price_completion": 10.0,
        **more,
    }


def say_first(_: int, __: Request) -> Reply:
    return says("Response 1")


def test_a_run_asks_as_often_as_it_said_and_keeps_what_was_said(
    model: Path, thumbs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    progress = Noting()
    with FakeServer(lambda *_: says(f"Response 1 {KEY}")) as server:
        made = judged_config(model, thumbs_file, asking(server, key_env="JUDGE_KEY"))
        align(made, tmp_path / "run", progress=progress)
        requests = len(server.requests)

    lines = metrics(tmp_path / "run", "validation")
    questions = sum(line["sampled/judge/questions"] for line in lines)
    [plan] = [note for note in progress.notes if note.startswith("judge m: ")]
    # Steps 2 and 3 of 3; 2 prompts in 2 orders each; and the trial question.
    assert [line["step"] for line in lines] == [2, 3]
    assert "at most 8 questions (4 a validation" in plan
    assert requests == questions + 1 == 9
    assert all(line[WIN_RATE] == 0.5 for line in lines)
    # 4 replies a validation, each of 100 tokens read and 3 written.
    assert lines[0]["sampled/judge/cost"] == pytest.approx(4 * (100 * 1 + 3 * 10) / 1e6)
    kept = rows_of(tmp_path / "run" / "watched" / "step-000003.judgements.jsonl")
    assert [row["reply"] for row in kept] == ["Response 1 [key]"] * 4
    assert "Win rate against the start by step" in (tmp_path / "run" / "report.html").read_text()
    assert "It was asked 8 questions" in (tmp_path / "run" / "report.html").read_text()
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in files)


def test_a_run_outlives_its_judge_and_says_so_once(model: Path, thumbs_file: Path, tmp_path: Path):
    progress = Noting()
    with FakeServer(lambda number, _: says("Response 1") if number < 5 else Reply(500, b"on fire")) as server:
        made = judged_config(
            model,
            thumbs_file,
            asking(server),
            train={"validate_every": 1, "keep_best": WIN_RATE, "early_stop": 9},
        )
        run = align(made, tmp_path / "run", progress=progress)

    lines = metrics(run.run_dir, "validation")
    assert [line[WIN_RATE] is None for line in lines] == [False, True, True]
    [alarm] = [note for note in progress.notes if note.startswith("alarm:")]
    assert "step 2: the judge's win rate is missing" in alarm
    assert "HTTP 500: on fire" in alarm
    assert alarm.removeprefix("alarm: ") in warnings_of(run.run_dir)
    assert "the model is that after step 1 of 3, where sampled/win_rate was best" in warnings_of(run.run_dir)
    assert "At 2 validation(s) there is none" in (run.run_dir / "report.html").read_text()


def test_the_best_step_by_the_judge_is_kept_and_without_any_number_the_last(
    model: Path, thumbs_file: Path, tmp_path: Path
):
    with FakeServer(lambda number, _: says("Response 1") if number == 0 else Reply(500)) as server:
        made = judged_config(model, thumbs_file, asking(server), train={"keep_best": f"{WIN_RATE}/low"})
        run = align(made, tmp_path / "run")

    assert "keep_best=sampled/win_rate/low could not be measured at any validation" in warnings_of(run.run_dir)


def test_a_run_that_goes_on_has_the_same_numbers_and_asks_nothing_twice(model: Path, thumbs_file: Path, tmp_path: Path):
    with FakeServer(say_first) as server:
        made = judged_config(model, thumbs_file, asking(server), train={"validate_every": 1, "checkpoint_every": 1})
        whole = align(made, tmp_path / "whole")
        expected = len(server.requests)
        server.requests.clear()
        crash(made, tmp_path / "cut", step=3)
        changed = judged_config(
            model,
            thumbs_file,
            asking(server, timeout=4.0),
            train={"validate_every": 1, "checkpoint_every": 1},
        )
        resumed = align(changed, tmp_path / "cut", resume=True)
        asked = len(server.requests)

    assert asked == expected + 1, "one more trial question"
    assert metrics(whole.run_dir, "validation") == metrics(resumed.run_dir, "validation")


def test_another_judge_is_another_run(model: Path, thumbs_file: Path, tmp_path: Path):
    with FakeServer(say_first) as server:
        align(judged_config(model, thumbs_file, asking(server)), tmp_path / "run")
        with pytest.raises(RunError, match="was started with another configuration"):
            align(judged_config(model, thumbs_file, asking(server, model="other")), tmp_path / "run", resume=True)


def refused(make: Callable[[], Run], run_dir: Path, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        make()
    assert not run_dir.exists(), "nothing is left of a run that did not begin"


@pytest.mark.parametrize(
    ("judge", "fault"),
    [
        ({"model": "m"}, r"watch.judge.kind is missing: http, local, reward, "),
        ({"kind": "htpp", "model": "m"}, r'watch.judge: there is no judge .htpp.. Did you mean "http"'),
        ({"kind": "http", "model": "m"}, r"watch.judge.base_url: the http judge needs it"),
        ({"kind": "http", "model": "m", "base_url": "localhost"}, r"watch.judge.base_url must be an address"),
        ({"kind": "rule", "rule": "nope.py:f"}, r"watch.judge.rule: nope.py:f cannot be loaded"),
        ({"kind": "http", "model": "m", "base_url": "http://127.0.0.1:1/v1", "api_key": KEY}, "has no such setting"),
        ({"kind": "http", "model": "m", "base_url": "http://127.0.0.1:1/v1", "key_env": "NOT_SET_1"}, "is not set"),
        ({"kind": "http", "model": "m", "base_url": "http://127.0.0.1:1/v1", "template": "nope"}, "there is no 'nope'"),
        ({"kind": "http", "model": "m", "base_url": "http://127.0.0.1:1/v1", "attempts": 1}, "does not answer a trial"),
    ],
)
def test_a_judge_that_is_set_up_wrongly_is_found_before_training(
    model: Path, thumbs_file: Path, tmp_path: Path, judge: dict[str, Any], fault: str
):
    made = judged_config(model, thumbs_file, judge)

    refused(lambda: align(made, tmp_path / "run"), tmp_path / "run", fault)


def test_a_refused_key_is_found_before_training(model: Path, thumbs_file: Path, tmp_path: Path):
    with FakeServer(lambda *_: Reply(401, b"bad key")) as server:
        made = judged_config(model, thumbs_file, asking(server))

        refused(lambda: align(made, tmp_path / "run"), tmp_path / "run", "answers HTTP 401: bad key")


def test_a_rule_that_fails_is_found_before_training(model: Path, thumbs_file: Path, tmp_path: Path):
    (tmp_path / "bad.py").write_text("def bad(prompt, first, second):\n    return 1 / 0\n")
    made = judged_config(model, thumbs_file, {"kind": "rule", "rule": f"{tmp_path}/bad.py:bad"})

    refused(lambda: align(made, tmp_path / "run"), tmp_path / "run", "ZeroDivisionError")


def test_a_judge_needs_prompts_that_are_held_out(model: Path, thumbs_file: Path, tmp_path: Path):
    (tmp_path / "rule.py").write_text(RULE)
    rule = {"kind": "rule", "rule": f"{tmp_path}/rule.py:longer"}

    with pytest.raises(ConfigError, match=r"watch.judge has too little to compare while watch.prompts is 1"):
        judged_config(model, thumbs_file, rule, watch={"prompts": 1, "judge": rule})
    few = judged_config(model, thumbs_file, rule, samples={"prompts": 1})
    refused(lambda: align(few, tmp_path / "run"), tmp_path / "run", r"samples.prompts is 1")
    none = judged_config(model, thumbs_file, rule, feedback={"source": str(thumbs_file), "validation_share": 0.0})
    refused(lambda: align(none, tmp_path / "run"), tmp_path / "run", "0 are held out")


def test_the_number_of_a_judge_needs_a_judge(model: Path, thumbs_file: Path, tmp_path: Path):
    made = judged_config(model, thumbs_file, None, train={"keep_best": WIN_RATE})

    refused(lambda: align(made, tmp_path / "run"), tmp_path / "run", "set watch.judge")


def test_settings_of_a_judge_are_given_one_by_one(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from haloes.cli.main import run
    from tiny_runs import flags

    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "rows.jsonl", thumbs())
    (tmp_path / "rule.py").write_text(RULE)
    extra = {"watch__prompts": "2", "watch__judge__kind": "rule", "watch__judge__rule": "rule.py:longer"}

    assert run(["train", "rows.jsonl", "--out", "run", *flags(model, **extra)]) == 0
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])[WIN_RATE] is not None
