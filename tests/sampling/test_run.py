"""Answers go to the file as they come, and a rerun asks only for what is missing."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from haloes.errors import ConfigError, DataError, RunError
from haloes.records import Completion, Message, Sampling
from haloes.sampling._contract import Advance, Ask, Decoding, NoAnswer
from haloes.sampling.run import Sampled, read_completions, sample_to_file
from tiny_runs import write_rows

PROMPTS = {"a": "Is it?", "b": "Why?", "c": "When?"}
DRAWN = Decoding(max_new_tokens=8, temperature=1.0)


@dataclass
class Scripted:
    """An engine that answers with the prompt's id and the seed, dies after so many, and does not know some prompts."""

    name: str = "scripted"
    dies_after: int | None = None
    unknown: frozenset[str] = frozenset()
    asked: list[tuple[str, int]] = field(default_factory=list)
    place: str = "some/folder"
    control: str = ""

    def sampling(self, decoding: Decoding) -> Sampling:
        return decoding.by("scripted", self.place, control=self.control)

    def answer(
        self, asks: Sequence[Ask], decoding: Decoding, advance: Advance = lambda _: None
    ) -> Iterator[Completion | NoAnswer]:
        for i, ask in enumerate(asks):
            if i == self.dies_after:
                raise RunError("the engine died")
            self.asked.append((ask.prompt_id, ask.seed))
            if ask.prompt_id in self.unknown:
                yield NoAnswer(ask.prompt_id, "no idea")
                continue
            yield Completion(
                prompt_id=ask.prompt_id,
                prompt=ask.prompt,
                completion=f"{ask.prompt_id}{ask.seed}",
                model=self.name,
                num_tokens=2,
                finished=True,
                seed=ask.seed if decoding.temperature > 0 else None,
            )


def run(engine: Scripted, path: Path, *, decoding: Decoding = DRAWN, seeds: range = range(2)) -> Sampled:
    return sample_to_file(engine, PROMPTS, path, decoding=decoding, seeds=seeds, advance=lambda _: None)


def test_each_prompt_is_answered_once_for_each_seed(tmp_path: Path):
    found = run(Scripted(), tmp_path / "answers.jsonl")

    assert found == Sampled(6, 6, ())
    answers = read_completions(tmp_path / "answers.jsonl")
    assert [answer.completion for answer in answers] == ["a0", "b0", "c0", "a1", "b1", "c1"]
    assert answers[0].prompt == "Is it?"


def test_what_an_engine_gave_before_it_died_is_kept_and_not_asked_again(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    with pytest.raises(RunError, match="died"):
        run(Scripted(dies_after=4), path)

    again = Scripted()
    assert run(again, path) == Sampled(6, 2, ())
    assert again.asked == [("b", 1), ("c", 1)]
    assert run(Scripted(dies_after=0), path) == Sampled(6, 0, ())


def test_a_line_that_was_cut_in_two_is_dropped_and_asked_again(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    run(Scripted(), path)
    path.write_bytes(path.read_bytes()[:-20])

    again = Scripted()
    assert run(again, path) == Sampled(6, 1, ())
    assert again.asked == [("c", 1)]
    assert len(read_completions(path)) == 6


def test_a_prompt_without_an_answer_is_told_and_asked_again_next_time(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    found = run(Scripted(unknown=frozenset({"b"})), path, seeds=range(1))
    assert found.unanswered == (NoAnswer("b", "no idea"),)

    again = Scripted()
    run(again, path, seeds=range(1))
    assert again.asked == [("b", 0)]


def test_several_seeds_need_a_temperature(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"sample.n is 2 and sample.temperature is 0"):
        run(Scripted(), tmp_path / "answers.jsonl", decoding=Decoding())
    assert not (tmp_path / "answers.jsonl").exists()


def test_without_a_temperature_the_seed_does_not_matter(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    run(Scripted(), path, decoding=Decoding(), seeds=range(1))

    assert run(Scripted(), path, decoding=Decoding(), seeds=range(7, 8)) == Sampled(3, 0, ())


def test_answers_of_another_model_are_not_mixed_in(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    run(Scripted(), path)

    with pytest.raises(RunError, match="holds answers of 'scripted', and these would be of 'other'"):
        run(Scripted(name="other"), path)
    assert len(read_completions(path)) == 6


def test_each_record_says_how_its_answer_was_made(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    run(Scripted(control="<|good|>"), path)

    made = Sampling(
        engine="scripted",
        model="some/folder",
        max_new_tokens=8,
        temperature=1.0,
        top_p=1.0,
        control="<|good|>",
    )
    assert {answer.sampling for answer in read_completions(path)} == {made}


@pytest.mark.parametrize(
    ("decoding", "engine", "fault"),
    [
        (Decoding(max_new_tokens=8, temperature=0.7), Scripted(), "temperature 1.0, and these would have 0.7"),
        (Decoding(max_new_tokens=9, temperature=1.0), Scripted(), "max new tokens 8, and these would have 9"),
        (Decoding(max_new_tokens=8, temperature=1.0, top_p=0.9), Scripted(), "top p 1.0, and these would have 0.9"),
        (DRAWN, Scripted(place="other"), "model 'some/folder', and these would have 'other'"),
        (DRAWN, Scripted(control="<|good|>"), "control '', and these would have '<|good|>'"),
    ],
)
def test_a_file_of_answers_is_not_gone_on_with_under_other_settings(
    decoding: Decoding, engine: Scripted, fault: str, tmp_path: Path
):
    path = tmp_path / "answers.jsonl"
    run(Scripted(), path, seeds=range(1))
    before = path.read_bytes()

    with pytest.raises(RunError, match=re.escape(f"made otherwise ({fault})")):
        run(engine, path, decoding=decoding)
    assert path.read_bytes() == before
    assert engine.asked == []


def test_answers_of_which_nothing_is_known_are_not_gone_on_with(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    row = {"prompt_id": "a", "prompt": "Is it?", "completion": "Yes", "model": "scripted", "num_tokens": 1}
    path.write_text(json.dumps(row) + "\n")

    with pytest.raises(RunError, match="their records do not say how"):
        run(Scripted(), path)


@pytest.mark.parametrize(
    ("sampling", "fault"),
    [
        ("greedy", "sampling must be named fields, got str"),
        ({"engine": "http"}, "sampling has no 'max_new_tokens'"),
        ({"engine": "http", "max_new_tokens": 8, "temperature": "1", "top_p": 1}, "sampling.temperature cannot be '1'"),
        ({"engine": "http", "max_new_tokens": True, "temperature": 1, "top_p": 1}, "sampling.max_new_tokens cannot"),
    ],
)
def test_a_record_that_says_it_wrongly_is_named_by_its_line(sampling: object, fault: str, tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    row = {"prompt_id": "a", "prompt": "Is it?", "completion": "Yes", "model": "scripted", "sampling": sampling}
    path.write_text(json.dumps(row) + "\n")

    with pytest.raises(DataError, match=re.escape(f"answers.jsonl:1: {fault}")):
        read_completions(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1"),
        ({"temperature": -1.0}, "temperature must be 0"),
        ({"top_p": 0.0}, "top_p must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str):
    with pytest.raises(ConfigError, match=message):
        Decoding(**settings)


@pytest.mark.parametrize(
    "content", [b"one\ntwo", b'{"prompt": "a"}\n{"prompt": "b"}', b'{"prompt": "no end', b"\x00\xff"]
)
def test_a_file_of_something_else_stays_as_it_is(content: bytes, tmp_path: Path):
    path = tmp_path / "thumbs.jsonl"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"thumbs\.jsonl"):
        run(Scripted(), path)
    assert path.read_bytes() == content


def test_a_file_whose_only_line_was_cut_begins_afresh(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    run(Scripted(), path)
    path.write_bytes(path.read_bytes()[:30])

    assert run(Scripted(), path) == Sampled(6, 6, ())
    assert len(read_completions(path)) == 6


def test_a_place_that_cannot_be_added_to_is_refused(tmp_path: Path):
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(RunError, match=r"folder\.jsonl cannot be written \(it is a folder\)"):
        run(Scripted(), tmp_path / "folder.jsonl")
    with pytest.raises(ConfigError, match=r"ends in \.jsonl"):
        run(Scripted(), tmp_path / "answers.jsonl.gz")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"answers\.jsonl cannot be written"):
        run(Scripted(), tmp_path / "file" / "answers.jsonl")


def test_nothing_is_left_where_nobody_answered(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    assert run(Scripted(unknown=frozenset(PROMPTS)), path).answers == 0
    assert not path.exists()


def test_messages_are_read_and_what_is_missing_has_a_default(tmp_path: Path):
    turns = [{"role": "user", "content": "Hi"}]
    path = write_rows(tmp_path / "mine.jsonl", [{"prompt_id": 7, "prompt": turns, "completion": "Hello"}])

    assert read_completions(path) == [
        Completion(
            prompt_id="7",
            prompt=(Message("user", "Hi"),),
            completion="Hello",
            model="mine",
            num_tokens=0,
            finished=True,
        )
    ]


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ({"prompt_id": "a", "prompt": "p"}, "it has no 'completion'"),
        ({"prompt": "p", "completion": "c"}, "it has no 'prompt_id'"),
        ({"prompt_id": "a", "prompt": "p", "completion": None}, "completion must be text, got NoneType"),
        ({"prompt_id": "a", "prompt": [{"content": "x"}], "completion": "c"}, "role and content"),
        ({"prompt_id": "a", "prompt": None, "completion": "c"}, "role and content"),
        ({"prompt_id": "a", "prompt": ["x"], "completion": "c"}, "role and content"),
    ],
)
def test_a_bad_row_is_named(bad: dict[str, Any], fault: str, tmp_path: Path):
    path = write_rows(tmp_path / "x.jsonl", [{"prompt_id": "a", "prompt": "p", "completion": "c"}, bad])

    with pytest.raises(DataError, match=rf"x\.jsonl:2: .*{re.escape(fault)}"):
        read_completions(path)


def test_files_that_are_empty_or_missing_are_named(tmp_path: Path):
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="there are no answers in it"):
        read_completions(tmp_path / "empty.jsonl")
    with pytest.raises(DataError, match=r"no answers in it \(no samples\.jsonl\).*haloes sample"):
        read_completions(tmp_path)
