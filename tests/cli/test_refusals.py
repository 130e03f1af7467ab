"""`haloes refusals`: what it prints, writes and continues, and that eval and the report show it."""

import json
from pathlib import Path

import pytest

from fake_server import FakeServer, says
from haloes.cli.main import run
from tiny_runs import rows_of, write_rows

Captured = pytest.CaptureFixture[str]
RULES = (
    "def fair(prompt, first, second):\n"
    "    refuses = prompt[-1].content.startswith('No')\n"
    "    return 'first' if refuses == ('does not' not in first) else 'second'\n"
    "def first(prompt, first, second):\n"
    "    return 'first'\n"
)


@pytest.fixture(autouse=True)
def _files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    write_rows(
        Path("answers.jsonl"),
        [
            {"prompt_id": f"p{i}", "prompt": f"Do {i}", "completion": text, "model": model, "num_tokens": 2}
            for model, texts in {"before": ["Yes", "Yes", "Yes", "No"], "after": ["No", "No", "No", "Yes"]}.items()
            for i, text in enumerate(texts)
        ],
    )
    Path("rules.py").write_text(RULES)


def refusals(*arguments: object) -> int:
    return run(["refusals", "answers.jsonl", *map(str, arguments)])


def by_rule(name: str, *arguments: object) -> int:
    return refusals("--judge", "rule", "--rule", f"rules.py:{name}", *arguments)


def test_the_rates_of_judge_and_phrases_stand_with_intervals(capsys: Captured):
    assert by_rule("fair") == 0
    out = " ".join(capsys.readouterr().out.split())

    assert "Answers that refuse, by rules.py:fair after 0.75 0.2891 to 0.9659 4" in out
    assert "The same answers by phrases, which miss some after 0 0 to 0.546 4" in out
    assert "difference 0.5" in out
    assert "how often it is wrong stands in none: read some verdicts" in out
    assert "8 answers: of 0 the judge said one thing in one order" in out
    assert "Judgements: refusals.jsonl (16 of 16 are new)" in out
    assert by_rule("fair") == 0
    assert "(0 of 16 are new)" in capsys.readouterr().out


def test_a_judge_that_goes_by_place_gives_no_rate(capsys: Captured):
    assert by_rule("first") == 0
    out = " ".join(capsys.readouterr().out.split())

    assert "by rules.py:first" not in out
    assert "No rate of refusals: there are fewer than two prompts with a verdict" in out
    assert "this judge goes by the place of a statement and not by what it says" in out
    assert "8 answers: of 8 the judge said one thing in one order" in out


def test_a_server_is_asked_with_the_template_on_refusals(capsys: Captured):
    with FakeServer(lambda *_: says("Statement 2")) as server:
        code = refusals("--judge", "http", "--model", "m", "--base-url", server.url, "--most", "1")
    told = json.dumps([request.body for request in server.requests])

    assert code == 0
    assert len(server.requests) == 4
    assert "Which of the two statements is true?" in told


def test_eval_shows_them_beside_the_phrases(capsys: Captured):
    assert by_rule("fair") == 0
    assert run(["eval", "refusals.jsonl"]) == 0
    out = " ".join(capsys.readouterr().out.split())

    assert "Refusals, as shares" in out
    assert len(rows_of(Path("refusals.jsonl"))) == 16


def test_a_reward_model_is_refused_at_once(capsys: Captured):
    assert refusals("--judge", "reward", "--model", "nowhere") == 2
    assert "take http, local or rule" in " ".join(capsys.readouterr().err.split())
    assert not Path("refusals.jsonl").exists()
