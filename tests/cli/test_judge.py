"""`haloes judge`: what it prints, what it writes, and how it goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from fake_server import FakeServer, Reply, says
from haloes.cli.main import run
from tiny_runs import rows_of, save_model, write_rows

Captured = pytest.CaptureFixture[str]
KEY = "sk-secret-0123456789"


def answers(model: str, text: str, count: int = 6) -> list[dict[str, Any]]:
    return [
        {"prompt_id": f"p{i}", "prompt": f"Question {i}", "completion": f"{text} {i}", "model": model, "num_tokens": 2}
        for i in range(count)
    ]


@pytest.fixture(autouse=True)
def _files() -> None:
    write_rows(Path("kto.jsonl"), answers("kto", "a long answer"))
    write_rows(Path("sft.jsonl"), answers("sft", "short"))
    Path("rules.py").write_text(
        "def longer(prompt, first, second):\n"
        "    return 'first' if len(first) > len(second) else 'second'\n"
        "def first(prompt, first, second):\n"
        "    return 'first'\n"
        "def mute(prompt, first, second):\n"
        "    return None\n"
    )


def judge(*arguments: object) -> int:
    return run(["judge", *map(str, arguments)])


def with_rule(name: str, *arguments: object) -> int:
    return judge("kto.jsonl", "sft.jsonl", "--judge", "rule", "--rule", f"rules.py:{name}", *arguments)


def test_two_files_are_compared(capsys: Captured):
    assert with_rule("longer") == 0
    out, err = capsys.readouterr()

    assert "kto against sft: 6 pairs of answers, each in both orders" in err
    assert "6 prompts show a win rate" in err
    assert "6 wins, 0 ties, 0 losses, 0 unscored" in out
    assert "win rate: 100.0% (95% interval" in out
    assert "Judgements: judgements.jsonl (12 of 12 are new)" in out
    assert [row["prompt_id"] for row in rows_of(Path("judgements.jsonl"))] == [f"p{i}" for i in range(6) for _ in "12"]


def test_a_judge_that_always_says_first_has_half_the_wins_and_all_the_bias(capsys: Captured):
    assert with_rule("first", "--out", "j.jsonl") == 0
    out = capsys.readouterr().out

    assert "0 wins, 6 ties, 0 losses, 0 unscored" in out
    assert "win rate: 50.0%" in out
    assert "verdicts for the first place: 100.0%" in out
    assert "verdicts that flip with the order: 100.0%" in out

    assert (
        "Warning: this judge goes by position: 100% of its verdicts are for the answer that stands first, and 100% "
        "flip when the answers change places. Its verdicts say nothing about the answers;"
    ) in " ".join(out.split())


def test_where_no_reply_holds_a_verdict_the_exit_code_says_so(capsys: Captured):
    assert with_rule("mute") == 2
    out, err = capsys.readouterr()
    assert "none of the 12 replies holds a verdict" in err
    assert "ask again with --again" in " ".join(err.split())

    assert "0 wins, 0 ties, 0 losses, 6 unscored" in out
    assert "12 of 12 replies hold no verdict" in out
    assert "win rate: not known (fewer than two scored prompts)" in out


def test_the_commonest_cause_of_lost_verdicts_is_in_the_error(capsys: Captured):
    def answer(number: int, request: Any) -> Reply:
        if number % 3 == 0:
            return says("I like both.")
        message = {"role": "assistant", "content": None, "reasoning_content": "hm"}
        return says(None, message=message, finish_reason="length")

    with FakeServer(answer) as server:
        code = judge("kto.jsonl", "sft.jsonl", "--judge", "http", "--base-url", server.url, "--model", "m")
    out, err = capsys.readouterr()

    assert code == 2
    assert "why, 8 times: the model only thought (2 characters), and gave no reply" in out
    assert "why, 4 times: the reply names none of" in out
    assert "none of the 12 replies holds a verdict (8 times: the model only thought" in " ".join(err.split())
    assert "judge.max_tokens is 32" in err


def test_where_most_replies_hold_no_verdict_the_exit_code_says_so(capsys: Captured):
    with FakeServer(lambda number, _: says("Response 1" if number < 4 else "")) as server:
        code = judge("kto.jsonl", "sft.jsonl", "--judge", "http", "--base-url", server.url, "--model", "m")

    assert code == 2
    assert "only 4 of the 12 replies hold a verdict (8 times: the reply is empty)" in capsys.readouterr().err


def test_a_rule_that_ends_the_program_for_one_prompt_ends_nothing(capsys: Captured):
    with Path("rules.py").open("a") as file:
        file.write("def leave(prompt, first, second):\n    if '3' in prompt: raise SystemExit(0)\n    return 10**400\n")

    assert with_rule("leave") == 2
    assert len(rows_of(Path("judgements.jsonl"))) == 12
    assert "12 of 12 replies hold no verdict" in capsys.readouterr().out


def test_a_few_replies_without_a_verdict_are_no_fault_and_asked_again_on_demand(capsys: Captured):
    Path("moody.py").write_text(
        "from pathlib import Path\n"
        "def rule(prompt, first, second):\n"
        "    if prompt == 'Question 2' and not Path('awake').exists():\n"
        "        return None\n"
        "    return 'first' if len(first) > len(second) else 'second'\n"
    )
    command = ("kto.jsonl", "sft.jsonl", "--judge", "rule", "--rule", "moody.py:rule")
    assert judge(*command) == 0
    out = capsys.readouterr().out
    assert "2 of 12 replies hold no verdict\n    such as to prompt p2: " in out
    assert "--again asks again for all of them" in out

    Path("awake").touch()
    assert judge(*command) == 0
    assert "(0 of 12 are new)" in capsys.readouterr().out
    assert judge(*command, "--again") == 0
    out = capsys.readouterr().out
    assert "0 of 12 replies hold no verdict" in out
    assert "(2 of 12 are new)" in out
    # The replies that held none are gone, and the order is that of the answers.
    assert [row["prompt_id"] for row in rows_of(Path("judgements.jsonl"))] == [f"p{i}" for i in range(6) for _ in "12"]


def test_a_run_is_compared_with_itself_before(capsys: Captured):
    Path("run").mkdir()
    rows = [*answers("before", "short"), *answers("after", "a long answer")]
    write_rows(Path("run/samples.jsonl"), rows)

    assert judge("run", "-j", "rule", "--rule", "rules.py:longer", "--most", "3") == 0
    assert "after against before, both orders taken together:\n  3 wins" in capsys.readouterr().out
    assert len(rows_of(Path("run/judgements.jsonl"))) == 6


def test_the_report_of_a_run_that_was_judged_says_so_at_once(capsys: Captured):
    Path("run").mkdir()
    Path("run/config.yaml").write_text("loss: {name: kto}")
    write_rows(Path("run/samples.jsonl"), [*answers("before", "short"), *answers("after", "a long answer")])

    assert judge("run", "-j", "rule", "--rule", "rules.py:longer") == 0
    assert "Report: run/report.html" in capsys.readouterr().out
    assert "Win rate against before, by rules.py:longer: 100%" in Path("run/report.html").read_text()


def test_judgements_beside_no_run_make_no_report(capsys: Captured):
    assert with_rule("longer") == 0
    assert "Report:" not in capsys.readouterr().out
    assert not Path("report.html").exists()


def test_answers_that_were_not_made_alike_are_told_before(capsys: Captured):
    way = {"engine": "transformers", "max_new_tokens": 64, "top_p": 1.0}
    for name, temperature in (("kto", 0.0), ("sft", 0.7)):
        rows = [{**row, "sampling": {**way, "temperature": temperature}} for row in rows_of(Path(f"{name}.jsonl"))]
        write_rows(Path(f"{name}.jsonl"), rows)

    assert with_rule("longer") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "Note: the answers of kto and of sft were not made alike: temperature 0.0 and 0.7" in told


def test_canaries_are_reported(capsys: Captured):
    assert with_rule("longer", "--out", "j.jsonl", "--canaries", "4") == 0
    out = capsys.readouterr().out

    assert "only ask to be chosen (canaries): 100.0% (95% interval" in out
    assert "Of canaries: j.canaries.jsonl" in out


def test_a_server_is_asked_and_its_cost_counted(capsys: Captured, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with FakeServer(lambda *_: says(f"[[A]] {KEY}")) as server:
        settings = [f"--set={text}" for text in ("price_prompt=1", "price_completion=10", "body={top_k: 1}")]
        code = judge(
            *("kto.jsonl", "sft.jsonl", "--judge", "http", "--base-url", server.url, "--model", "m"),
            *("--key-env", "JUDGE_KEY", "--template", "mt-bench", "--seed", "3", *settings),
        )
        requests = server.requests
    out, err = capsys.readouterr()

    assert code == 0
    # 12 replies of 100 and 3 tokens: 12 * (100 + 30) / 1e6.
    assert "1,200 tokens read by the judge, 36 written, cost 0.0016" in out
    assert requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert (requests[0].body["top_k"], requests[0].body["seed"], len(requests)) == (1, 3, 12)
    assert KEY not in out + err
    assert all(KEY.encode() not in path.read_bytes() for path in Path().rglob("*") if path.is_file())


def test_a_server_that_dies_is_told_and_the_same_command_goes_on(capsys: Captured):
    alive = [5]

    def answer(number: int, _: object) -> Reply:
        return says("Response 1") if number < alive[0] else Reply(500, b"out of memory")

    with FakeServer(answer) as server:
        command = ["kto.jsonl", "sft.jsonl", "--judge", "http", "--base-url", server.url, "--model", "m"]
        command += ["--set", "attempts=1", "--set", "concurrency=1"]
        assert judge(*command) == 2
        told = capsys.readouterr()
        kept = len(rows_of(Path("judgements.jsonl")))
        alive[0] = 1000
        assert judge(*command) == 0

    assert kept == 5
    assert "HTTP 500: out of memory" in told.err
    assert "the same command asks" in told.err
    assert "Judgements: judgements.jsonl (7 of 12 are new)" in capsys.readouterr().out


def test_ctrl_c_keeps_what_was_judged(capsys: Captured):
    with Path("rules.py").open("a") as file:
        file.write(
            "def stop(prompt, first, second):\n    if '3' in prompt: raise KeyboardInterrupt\n    return 'first'\n"
        )

    assert with_rule("stop") == 130
    assert "what was judged is in judgements.jsonl, and the same command goes on" in capsys.readouterr().err
    assert len(rows_of(Path("judgements.jsonl"))) == 6


def test_what_stays_without_an_answer_is_no_success(capsys: Captured):
    def answer(_: int, request: Any) -> Reply:
        return Reply(400, b"too long") if "Question 2" in json.dumps(request.body) else says("Response 1")

    with FakeServer(answer) as server:
        code = judge("kto.jsonl", "sft.jsonl", "--judge", "http", "--base-url", server.url, "--model", "m")
    out, err = capsys.readouterr()

    assert code == 2
    assert "0 wins, 5 ties, 0 losses" in out
    assert "2 comparisons got no answer, the first: prompt p2: HTTP 400: too long" in err


def test_a_local_model_judges(tmp_path: Path, capsys: Captured):
    folder = save_model(tmp_path / "model", max_position_embeddings=4096)
    code = judge(
        *("kto.jsonl", "sft.jsonl", "--judge", "local", "--model", folder, "--most", "2"),
        *("--set", "dtype=float32", "--set", "device=cpu", "--template", "alpaca-eval"),
    )

    assert code == 0
    assert "of 4 replies hold no verdict" in capsys.readouterr().out
    rows = rows_of(Path("judgements.jsonl"))
    assert all(0 <= row["preference"] <= 1 and row["template"] == "alpaca-eval" for row in rows)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["kto.jsonl", "sft.jsonl", "--judge", "http", "--model", "m"], "judge.base_url: the http judge needs it"),
        (["kto.jsonl", "sft.jsonl", "--judge", "gpt"], "gpt"),
        (["kto.jsonl", "--judge", "rule", "--rule", "rules.py:first"], "give a second file"),
        (["kto.jsonl", "nope.jsonl", "--judge", "rule", "--rule", "rules.py:first"], "there is no such file"),
        (["kto.jsonl", "sft.jsonl", "--judge", "rule", "--rule", "rules.py:nope"], "cannot be loaded"),
        (["kto.jsonl", "sft.jsonl", "--judge", "rule", "--rule", "rules.py:first", "--model", "m"], "no such setting"),
        (["kto.jsonl", "sft.jsonl", "--judge", "rule", "--rule", "rules.py:first", "--out", "x.gz"], "ends in .jsonl"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], fault: str, capsys: Captured):
    assert judge(*arguments) == 2
    assert fault in capsys.readouterr().err


def test_a_key_on_the_command_line_is_refused_unseen(capsys: Captured):
    code = judge(
        *("kto.jsonl", "sft.jsonl", "--judge", "http", "--base-url", "http://127.0.0.1:1/v1", "--model", "m"),
        *("--key-env", KEY),
    )
    out, err = capsys.readouterr()

    assert code == 2
    assert "give the NAME of an environment variable" in err
    assert KEY not in out + err
