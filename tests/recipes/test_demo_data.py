"""The demo's data: nothing leaks from the held-out prompts, and the feedback is what its script says."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from haloes.progress.contract import NullProgress
from haloes.recipes.demo.make_feedback import SEED, asking, make_feedback, wanted_labels
from haloes.recipes.demo.recipe import demo_config
from haloes.recipes.demo.rule import rate
from haloes.records import Completion, Sampling
from haloes.runs.prompts import everyday_prompts
from haloes.sampling._contract import Advance, Ask, Decoding, ignore_parts
from haloes.stats.auc import auc
from haloes.training.choose_steps import choose_steps, too_few_steps

FOLDER = files("haloes.recipes.demo")
PROMPTS = files("haloes.runs").joinpath("everyday.jsonl")


def words(text: str) -> set[str]:
    return set(re.findall(r"[\w']+", text.lower()))


def likeness(one: str, other: str) -> float:
    """Jaccard: shared words over all words of both."""
    return len(words(one) & words(other)) / len(words(one) | words(other))


def rows(name: str) -> list[dict[str, Any]]:
    path = PROMPTS if name == "prompts.jsonl" else FOLDER.joinpath(name)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_three_hundred_prompts_train_and_a_hundred_are_held_out_in_every_topic_alike():
    counts = Counter((row["topic"], row["split"]) for row in rows("prompts.jsonl"))

    assert len(everyday_prompts("train")) == 300
    assert len(everyday_prompts("held_out")) == 100
    assert set(counts.values()) == {15, 5}
    assert len({row["id"] for row in rows("prompts.jsonl")}) == 400


def test_no_held_out_prompt_is_nearly_a_training_prompt():
    train = everyday_prompts("train").values()
    closest = max(
        (likeness(held, seen), held, seen) for held in everyday_prompts("held_out").values() for seen in train
    )

    assert closest < (0.6,), closest


def test_no_two_prompts_are_nearly_the_same():
    prompts = [row["prompt"] for row in rows("prompts.jsonl")]
    closest = max((likeness(one, other), one, other) for k, one in enumerate(prompts) for other in prompts[:k])

    assert closest < (0.6,), closest


def test_prompts_are_short():
    assert max(len(row["prompt"].split()) for row in rows("prompts.jsonl")) <= 16


# --- the script


DRAWS = 5
LIKED, DISLIKED = "It is light.", "The ice is light."


class Model:
    """Answers each prompt with the next of its scripted answers, the last one for ever."""

    def __init__(self, script: Mapping[str, list[str]]) -> None:
        self.script = script
        self.seeds: list[int] = []
        self.asked: list[set[str]] = []

    def __call__(self, prompts: Mapping[str, str], seed: int) -> list[Completion]:
        self.seeds.append(seed)
        self.asked.append(set(prompts))
        return [
            Completion(
                prompt_id=name, prompt=prompt, completion=self.next(name), model="m", num_tokens=3, finished=True
            )
            for name, prompt in prompts.items()
        ]

    def next(self, name: str) -> str:
        answers = self.script[name]
        return answers[min(len(self.seeds), len(answers)) - 1]


def kept(script: list[str], *, wanted: bool) -> tuple[str, bool | None] | None:
    """Which answer is kept for a prompt that is to show a liked answer, or a disliked one."""
    names = ["a", "b"]
    name = next(name for name in names if wanted_labels(dict.fromkeys(names, "Why?"))[name] == wanted)
    model = Model({n: script if n == name else [LIKED, DISLIKED] for n in names})
    found = {
        row["id"]: (row["completion"], row["label"])
        for row in make_feedback(dict.fromkeys(names, "Why?"), model, draws=DRAWS)
    }
    return found.get(name)


def test_two_thirds_of_the_prompts_are_to_show_a_liked_answer():
    wanted = wanted_labels(everyday_prompts("train"))

    assert sum(wanted.values()) == 200
    assert wanted == wanted_labels(dict(reversed(everyday_prompts("train").items())))


def test_the_first_answer_of_the_wanted_kind_is_kept():
    assert kept([DISLIKED, DISLIKED, LIKED, "It floats."], wanted=True) == (LIKED, True)
    assert kept([LIKED, DISLIKED, "A thing."], wanted=False) == (DISLIKED, False)


def test_without_one_of_the_wanted_kind_the_first_answer_stays_with_its_own_verdict():
    assert kept([DISLIKED, "A thing."], wanted=True) == (DISLIKED, False)
    assert kept([LIKED, "It floats."], wanted=False) == (LIKED, True)


def test_an_empty_answer_is_never_kept():
    assert kept(["", "", DISLIKED], wanted=False) == (DISLIKED, False)
    assert kept([""], wanted=False) is None


def test_a_prompt_that_has_its_answer_is_not_asked_again():
    names = {"a": "Why?", "b": "Why?"}
    wanted = wanted_labels(names)
    model = Model({name: [LIKED if wanted[name] else DISLIKED] if name == "a" else [""] for name in names})
    make_feedback(names, model, draws=DRAWS)

    assert model.asked == [{"a", "b"}, *[{"b"}] * (DRAWS - 1)]
    assert model.seeds == [SEED + draw for draw in range(DRAWS)]


class Engine:
    """A model whose answer says which draw it is; it is stopped where it comes to a prompt that it is told of."""

    name = "m"

    def __init__(self, stopped_at: str | None = None) -> None:
        self.stopped_at = stopped_at
        self.asked: list[str] = []

    def sampling(self, decoding: Decoding) -> Sampling:
        return decoding.by("scripted", "m")

    def answer(self, asks: Sequence[Ask], decoding: Decoding, advance: Advance = ignore_parts) -> Iterator[Completion]:
        for ask in asks:
            if ask.prompt_id == self.stopped_at:
                raise KeyboardInterrupt
            self.asked.append(ask.prompt_id)
            advance(1)
            yield Completion(
                prompt_id=ask.prompt_id,
                prompt="Why?",
                completion=f"draw {ask.seed - SEED}",
                model=self.name,
                num_tokens=3,
                finished=True,
                seed=ask.seed,
            )


class Told(NullProgress):
    """The stages with what was done of each."""

    def __init__(self) -> None:
        self.done: dict[str, tuple[int | None, float]] = {}

    def stage(self, name: str, total: int | None = None) -> None:
        self.done[name] = (total, 0)

    def advance(self, count: float) -> None:
        name, (total, done) = list(self.done.items())[-1]
        self.done[name] = (total, done + count)


def test_a_script_that_was_stopped_asks_only_for_what_is_missing(tmp_path: Path):
    prompts, path = dict.fromkeys("abc", "Why?"), tmp_path / "answers.jsonl"
    with pytest.raises(KeyboardInterrupt):
        asking(Engine("c"), path, NullProgress())(prompts, SEED)
    engine, told = Engine(), Told()
    ask = asking(engine, path, told)

    assert [answer.completion for answer in ask(prompts, SEED)] == ["draw 0"] * 3
    assert [answer.completion for answer in ask({"b": "Why?"}, SEED + 1)] == ["draw 1"]
    assert engine.asked == ["c", "b"]
    assert told.done == {"answers, draw 1": (3, 3), "answers, draw 2": (1, 1)}


# --- what it made


def test_the_feedback_answers_each_training_prompt_once():
    feedback, train = rows("feedback.jsonl"), everyday_prompts("train")

    assert {row["id"]: row["prompt"] for row in feedback} == train
    assert len(feedback) == len(train)
    assert all(row["completion"].strip() and row["group"] == row["id"] for row in feedback)


def test_the_validation_answers_held_out_prompts_once():
    validation, held_out = rows("validation.jsonl"), everyday_prompts("held_out")

    assert {row["id"]: row["prompt"] for row in validation} == held_out
    assert len(validation) == len(held_out)


@pytest.mark.parametrize("name", ["feedback.jsonl", "validation.jsonl"])
def test_every_label_is_the_rules_verdict(name: str):
    for row in rows(name):
        assert rate(row["prompt"], row["completion"], finished=row["finished"]).liked == row["label"], row


@pytest.mark.parametrize("name", ["feedback.jsonl", "validation.jsonl"])
def test_no_file_has_changed_since_its_hash_was_noted(name: str):
    # Sampling the answers anew takes minutes: whoever changes a file notes what it is now, and says where it came from.
    readme = FOLDER.joinpath("README.md").read_text(encoding="utf-8")
    noted = re.findall(rf"^ *(\w{{64}})  {re.escape(name)}$", readme, re.MULTILINE)

    assert noted == [hashlib.sha256(FOLDER.joinpath(name).read_bytes()).hexdigest()]


def test_both_kinds_are_weighed_as_the_paper_advises():
    # Eq. 9 of the KTO paper: 1 to 1.5 times as much for the liked ones.
    labels = Counter(bool(row["label"]) for row in rows("feedback.jsonl"))
    loss = demo_config().loss
    ratio = loss["desirable_weight"] * labels[True] / (loss["undesirable_weight"] * labels[False])

    assert 1 <= ratio <= 1.5


def test_ten_steps_are_trained_and_no_run_calls_them_too_few():
    train = demo_config().train
    steps = choose_steps(len(rows("feedback.jsonl")), batch_size=train.batch_size, epochs=train.epochs)

    assert steps.num_steps == 10
    assert not too_few_steps(len(rows("feedback.jsonl")), steps)


def test_length_alone_does_not_tell_which_answers_are_liked():
    feedback = rows("feedback.jsonl")
    lengths, labels = ([len(row["completion"].split()) for row in feedback], [row["label"] for row in feedback])

    assert 0.4 < (auc(lengths, labels) or 0) < 0.6


@pytest.mark.parametrize("name", ["prompts.jsonl", "feedback.jsonl"])
def test_files_are_plain_json_lines(name: str):
    assert all(isinstance(row, dict) for row in rows(name))
