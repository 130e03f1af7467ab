"""Judging as a whole: both orders, nothing lost (kills included), nothing asked twice, canaries apart."""

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fake_server import FakeServer, Reply, Request, says
from haloes.errors import ConfigError, DataError, RunError
from haloes.judging._contract import Identity, JudgeReply, NoReply, OrderedPair
from haloes.judging.canaries import CANARY, TEXTS, canaries
from haloes.judging.http import HttpJudge
from haloes.judging.pairs import AnswerPairs, pair_answers
from haloes.judging.run import JudgingOutcome, canary_path, judge_pairs, judgement_journal, put_in_order
from haloes.judging.scripted import ScriptedJudge, always, longer
from haloes.records import Completion, Judgement

KEY = "sk-secret-0123456789"


def paired(count: int, *, mine: str = "good answer", theirs: str = "bad", draws: int = 1) -> AnswerPairs:
    def answers(model: str, text: str) -> list[Completion]:
        return [
            Completion(
                prompt_id=f"p{i}",
                prompt=f"Question {i}",
                completion=f"{text} {i}{'!' * draw}",
                model=model,
                num_tokens=1,
                finished=True,
                seed=draw,
            )
            for i in range(count)
            for draw in range(draws)
        ]

    return pair_answers(answers("after", mine), answers("before", theirs))


@dataclass
class Counting:
    """A judge that notes what it is asked, and stops answering after a while."""

    answers: int = 10_000
    asked: list[OrderedPair] = field(default_factory=list)
    error: BaseException | None = None
    name: str = "counting"

    @property
    def identity(self) -> Identity:
        return Identity(self.name)

    def compare(self, comparisons: Sequence[OrderedPair]) -> Generator[tuple[int, JudgeReply | NoReply], None, None]:
        for place, comparison in enumerate(comparisons):
            self.asked.append(comparison)
            if len(self.asked) <= self.answers:
                number = 0.9 if len(comparison.first) > len(comparison.second) else 0.2
                verdict: Any = "first" if number > 0.5 else "second"
                yield place, JudgeReply(verdict=verdict, preference=number, reason="length", reply="r", cost=0.5)
            elif self.error is not None:
                raise self.error
            else:
                yield place, NoReply("it is gone")


def points(judged: JudgingOutcome) -> list[float | None]:
    return [judgement.points for judgement in judged.judgements]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- odd numbers


def test_a_preference_that_is_no_share_is_unscored_and_ends_nothing(tmp_path: Path):
    @dataclass
    class Odd(Counting):
        def compare(self, comparisons: Sequence[OrderedPair]) -> Generator[tuple[int, JudgeReply], None, None]:
            for place, value in zip(range(len(comparisons)), [float("nan"), 1.5, 0.25, 1e400], strict=True):
                yield place, JudgeReply(verdict="second", preference=value, reason="a number")

    judged = judge_pairs(Odd(), paired(2), tmp_path / "j.jsonl")

    assert [judgement.verdict for judgement in judged.judgements] == [None, None, "second", None]
    assert [judgement.preference for judgement in judged.judgements] == [None, None, 0.25, None]
    assert judged.judgements[0].reason == "the judge's preference is nan, which is not between 0 and 1"


# --- both orders


def test_each_pair_is_judged_in_both_orders(tmp_path: Path):
    judge = Counting()
    judged = judge_pairs(judge, paired(2), tmp_path / "j.jsonl")

    assert [(asked.first, asked.second) for asked in judge.asked] == [
        ("good answer 0", "bad 0"),
        ("bad 0", "good answer 0"),
        ("good answer 1", "bad 1"),
        ("bad 1", "good answer 1"),
    ]
    assert [judgement.candidate_first for judgement in judged.judgements] == [True, False, True, False]
    assert points(judged) == [1.0] * 4


def test_a_judgement_keeps_everything(tmp_path: Path):
    judged = judge_pairs(Counting(), paired(1), tmp_path / "j.jsonl", seed=4)
    first, second = judged.judgements

    assert first == Judgement(
        prompt_id="p0",
        candidate="after",
        baseline="before",
        candidate_first=True,
        verdict="first",
        preference=0.9,
        reply="r",
        reason="length",
        judge="counting",
        seed=4,
        fingerprint=first.fingerprint,
        candidate_length=len("good answer 0"),
        baseline_length=len("bad 0"),
        cost=0.5,
    )
    assert (second.verdict, second.preference) == ("second", pytest.approx(0.8))
    assert [row["verdict"] for row in lines(tmp_path / "j.jsonl")] == ["first", "second"]


def test_a_judge_that_always_says_first_wins_half_for_either(tmp_path: Path):
    judged = judge_pairs(always("Response 1"), paired(5), tmp_path / "j.jsonl")

    assert sum(points(judged)) / 10 == 0.5
    assert {judgement.verdict for judgement in judged.judgements} == {"first"}


def test_a_judge_of_length_prefers_the_longer_in_either_order(tmp_path: Path):
    assert points(judge_pairs(longer(), paired(3), tmp_path / "a.jsonl")) == [1.0] * 6
    assert points(judge_pairs(longer(), paired(3, mine="x"), tmp_path / "b.jsonl")) == [0.0] * 6
    assert points(judge_pairs(longer(), paired(3, mine="dab"), tmp_path / "c.jsonl")) == [0.5] * 6


def test_a_reply_without_a_verdict_is_unscored_and_kept(tmp_path: Path):
    judged = judge_pairs(always("What a day! \ud800"), paired(2), tmp_path / "j.jsonl")

    assert points(judged) == [None] * 4
    assert judged.unanswered == ()
    assert {row.get("verdict", "unscored") for row in lines(tmp_path / "j.jsonl")} == {"unscored"}
    assert lines(tmp_path / "j.jsonl")[0]["reply"] == "What a day! ?"
    again = judge_pairs(always("What a day! \ud800"), paired(2), tmp_path / "j.jsonl")
    assert (again.num_new, again.judgements) == (0, judged.judgements)


def test_equal_answers_are_a_tie_that_nobody_is_asked_about(tmp_path: Path):
    judge = Counting()
    judged = judge_pairs(judge, paired(2, mine="same", theirs="same"), tmp_path / "j.jsonl")

    assert judge.asked == []
    assert points(judged) == [0.5] * 4
    assert judged.judgements[0].reason == "the two answers are the same text"


def test_several_draws_of_a_prompt_are_told_apart(tmp_path: Path):
    judged = judge_pairs(Counting(), paired(2, draws=2), tmp_path / "j.jsonl")

    assert [judgement.draw for judgement in judged.judgements] == [0, 0, 1, 1] * 2
    assert len({judgement.fingerprint for judgement in judged.judgements}) == 8


# --- going on


def test_what_was_judged_is_not_asked_again(tmp_path: Path):
    judge_pairs(Counting(), paired(2), tmp_path / "j.jsonl")
    judge, done = Counting(), []
    judged = judge_pairs(judge, paired(3), tmp_path / "j.jsonl", advance=done.append)

    assert [asked.prompt_id for asked in judge.asked] == ["p2", "p2"]
    assert (judged.num_new, len(judged.judgements)) == (2, 6)
    assert done == [4, 1, 1]


def test_a_judge_that_dies_loses_no_verdict(tmp_path: Path):
    out = tmp_path / "j.jsonl"
    with pytest.raises(RunError, match=r"counting does not answer any more \(it is gone\)"):
        judge_pairs(Counting(answers=7), paired(30), out)
    assert len(lines(out)) == 7

    judge = Counting()
    judged = judge_pairs(judge, paired(30), out)
    assert len(judge.asked) == 60 - 7
    fresh = judge_pairs(Counting(), paired(30), tmp_path / "other.jsonl")
    assert judged.judgements == fresh.judgements
    assert out.read_bytes() == (tmp_path / "other.jsonl").read_bytes()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConfigError("no"), ValueError("a bug")])
def test_whatever_stops_it_what_was_judged_is_kept(error: BaseException, tmp_path: Path):
    with pytest.raises(type(error)):
        judge_pairs(Counting(answers=3, error=error), paired(4), tmp_path / "j.jsonl")

    assert len(lines(tmp_path / "j.jsonl")) == 3
    judge = Counting()
    judge_pairs(judge, paired(4), tmp_path / "j.jsonl")
    assert len(judge.asked) == 5


def test_single_comparisons_without_an_answer_are_told_and_asked_again(tmp_path: Path):
    def script(asked: OrderedPair) -> str | None:
        return None if asked.prompt_id == "p1" else "Response 1"

    judge = ScriptedJudge(script=script)
    judged = judge_pairs(judge, paired(3), tmp_path / "j.jsonl")
    assert judged.unanswered == ("prompt p1: the script gives no reply",) * 2
    assert len(judged.judgements) == judged.num_new == 4

    again = judge_pairs(always("Response 1"), paired(3), tmp_path / "k.jsonl")
    assert again.unanswered == ()
    healed = judge_pairs(ScriptedJudge(script=lambda _: "Response 2"), paired(3), tmp_path / "j.jsonl")
    assert (healed.num_new, len(healed.judgements)) == (2, 6)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"judge": Counting(name="another")}, "the judge counting"),
        ({"seed": 1}, "other answers to prompt 'p0', or other settings"),
        ({"paired": paired(2, mine="a changed answer")}, "other answers to prompt 'p0'"),
        ({"paired": AnswerPairs(paired(2).pairs, "kto", "before", 0)}, "after against before"),
    ],
)
def test_judgements_of_something_else_are_not_mixed_in(change: dict[str, Any], fault: str, tmp_path: Path):
    judge_pairs(Counting(), paired(2), tmp_path / "j.jsonl")
    before = (tmp_path / "j.jsonl").read_bytes()
    arguments = {"judge": Counting(), "paired": paired(2), "out": tmp_path / "j.jsonl", **change}

    with pytest.raises(RunError, match=fault):
        judge_pairs(**arguments)
    assert (tmp_path / "j.jsonl").read_bytes() == before


def test_fewer_prompts_than_are_judged_are_fine(tmp_path: Path):
    judge_pairs(Counting(), paired(4), tmp_path / "j.jsonl")
    judge = Counting()
    judged = judge_pairs(judge, paired(2), tmp_path / "j.jsonl")

    assert (judge.asked, len(judged.judgements), len(lines(tmp_path / "j.jsonl"))) == ([], 4, 8)


# --- canaries


def test_canaries_are_judged_apart(tmp_path: Path):
    out = tmp_path / "j.jsonl"
    judged = judge_pairs(longer(), paired(5), out, num_canaries=2)

    assert len(judged.judgements) == len(lines(out)) == 10
    assert len(judged.canaries) == len(lines(canary_path(out))) == 4
    assert {judgement.candidate for judgement in judged.canaries} == {CANARY}
    assert {judgement.points for judgement in judged.canaries} == {1.0}
    assert canary_path(out) == tmp_path / "j.canaries.jsonl"
    plain = judge_pairs(longer(), paired(5), tmp_path / "plain.jsonl")
    assert plain.judgements == judged.judgements


def test_canaries_go_on_too(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        judge_pairs(Counting(answers=3, error=KeyboardInterrupt()), paired(1), tmp_path / "j.jsonl", num_canaries=1)
    judge = Counting()
    judged = judge_pairs(judge, paired(1), tmp_path / "j.jsonl", num_canaries=1)

    assert (len(judge.asked), len(judged.canaries)) == (1, 2)


def test_more_canaries_include_the_fewer():
    pairs = paired(20, draws=2).pairs
    few, many = canaries(pairs, 3, seed=1), canaries(pairs, 50, seed=1)

    assert many[:3] == few
    assert sorted(pair.prompt_id for pair in many) == sorted(f"p{i}" for i in range(20))
    assert [pair.candidate.completion for pair in many[:5]] == [*TEXTS, TEXTS[0]]
    assert all(pair.baseline.model == "before" for pair in many)
    assert canaries(pairs, 3, seed=2) != few


def test_a_candidate_may_be_called_canary(tmp_path: Path):
    judged = judge_pairs(
        Counting(), AnswerPairs(paired(2).pairs, CANARY, "before", 0), tmp_path / "j.jsonl", num_canaries=1
    )

    assert (len(judged.judgements), len(judged.canaries)) == (4, 2)


def test_less_than_no_canaries_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="at least 0"):
        judge_pairs(Counting(), paired(1), tmp_path / "j.jsonl", num_canaries=-1)


# --- over the network


def test_an_endpoint_that_dies_in_mid_run_loses_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)

    alive_until = [9]

    def answer(number: int, request: Request) -> Reply:
        return says("Response 1") if number < alive_until[0] else Reply(503, request.headers["authorization"].encode())

    with FakeServer(answer) as server:
        judge = HttpJudge(model="m", base_url=server.url, key_env="JUDGE_KEY", attempts=2, backoff=0.0, concurrency=3)
        with pytest.raises(RunError, match=r"HTTP 503: Bearer \[key\], 2 times"):
            judge_pairs(judge, paired(20), tmp_path / "j.jsonl")
        assert len(lines(tmp_path / "j.jsonl")) == 9
        asked = len(server.requests)
        alive_until[0] = 10_000
        judged = judge_pairs(judge, paired(20), tmp_path / "j.jsonl")
        # What three threads were about to ask when the judging ended may have come in between.
        assert 31 <= len(server.requests) - asked <= 31 + 3

    assert (judged.num_new, len(judged.judgements)) == (31, 40)
    assert points(judged) == [1.0, 0.0] * 20
    for path in tmp_path.rglob("*"):
        assert KEY.encode() not in path.read_bytes()


def made(name: str, **fields: Any) -> Judgement:
    return Judgement(
        prompt_id=name, candidate="a", baseline="b", candidate_first=True, judge="j", fingerprint=name, **fields
    )


def test_what_is_added_is_there_at_once(tmp_path: Path):
    path = tmp_path / "new" / "j.jsonl"
    journal = judgement_journal(path)
    assert not path.exists()
    journal.add(made("a", verdict="first"))
    assert judgement_journal(path).resume() == [made("a", verdict="first")]
    journal.add(made("b", reply="ü\n"))
    assert judgement_journal(path).resume() == [made("a", verdict="first"), made("b", reply="ü\n")]


@pytest.mark.parametrize("left", [1, 5, 40])
def test_a_line_that_a_kill_cut_off_is_taken_away(left: int, tmp_path: Path):
    path = tmp_path / "j.jsonl"
    for name in "abc":
        judgement_journal(path).add(made(name))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + lines[2][:left])

    again = judgement_journal(path)
    assert [judgement.prompt_id for judgement in again.resume()] == ["a", "b"]
    again.add(made("d"))
    assert [judgement.prompt_id for judgement in judgement_journal(path).resume()] == ["a", "b", "d"]


def test_a_file_of_something_else_stays_as_it_is(tmp_path: Path):
    (tmp_path / "j.jsonl").write_bytes(b'{"prompt": "a"}\n{"prompt": "b"}')
    with pytest.raises(DataError, match=r"j\.jsonl:1: this is not a judgement"):
        judgement_journal(tmp_path / "j.jsonl").resume()
    assert (tmp_path / "j.jsonl").read_bytes() == b'{"prompt": "a"}\n{"prompt": "b"}'


def test_an_empty_file_is_a_beginning(tmp_path: Path):
    (tmp_path / "j.jsonl").write_text("")
    assert judgement_journal(tmp_path / "j.jsonl").resume() == []


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"prompt_id": "a"}'])
def test_a_whole_line_that_is_no_judgement_is_named(line: str, tmp_path: Path):
    (tmp_path / "j.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=r"j\.jsonl:1"):
        judgement_journal(tmp_path / "j.jsonl").resume()


def test_lines_are_put_in_order(tmp_path: Path):
    journal = judgement_journal(tmp_path / "j.jsonl")
    for name in "cxab":
        journal.add(made(name))
    put_in_order(journal, journal.resume(), {"a": 0, "b": 1, "c": 2})
    assert [judgement.prompt_id for judgement in journal.resume()] == ["a", "b", "c", "x"]


def test_a_compressed_file_cannot_be_added_to(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"ends in \.jsonl"):
        judgement_journal(tmp_path / "j.jsonl.gz")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        judgement_journal(tmp_path / "file" / "j.jsonl").add(made("a"))
