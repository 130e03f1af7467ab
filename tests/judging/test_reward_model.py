"""A tiny random reward model as judge, against its own scores."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from fakes import IM_END_ID, VOCAB, byte_tokenizer
from haloes.errors import ModelError
from haloes.judging._contract import JudgeReply, OrderedPair
from haloes.judging.reward_model import RewardModelJudge
from haloes.models.quiet import quiet
from haloes.records import Message
from tiny_runs import save_model


def save_reward_model(folder: Path, *, outputs: int = 1, chat: bool = True, kind: str = "llama") -> Path:
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = CONFIG_MAPPING[kind](
        **sizes,
        num_attention_heads=4,
        vocab_size=VOCAB,
        max_position_embeddings=256,
        pad_token_id=IM_END_ID,
        num_labels=outputs,
        initializer_range=0.2,
    )
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(0)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
        (byte_tokenizer() if chat else byte_tokenizer(chat_template=None)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reward_model(tmp_path_factory.mktemp("reward") / "model")


def judge_of(folder: Path, **settings: Any) -> RewardModelJudge:
    return RewardModelJudge(model=str(folder), dtype="float32", device="cpu", **settings)


def opinions(judge: RewardModelJudge, asked: list[OrderedPair]) -> list[JudgeReply]:
    found = dict(judge.compare(asked))
    return [found[i] for i in range(len(asked))]  # type: ignore[misc]


def comparison(first: str, second: str, prompt: Any = "Why?") -> OrderedPair:
    return OrderedPair(prompt_id="p", prompt=prompt, first=first, second=second)


def own_score(folder: Path, text: str) -> float:
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        return float(model(**byte_tokenizer()(text, add_special_tokens=False, return_tensors="pt")).logits)


def chat(prompt: str, answer: str) -> str:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return str(byte_tokenizer().apply_chat_template(turns, tokenize=False))


def test_the_preference_is_that_of_bradley_and_terry(folder: Path):
    (opinion,) = opinions(judge_of(folder), [comparison("because", "no idea at all")])
    one, other = (own_score(folder, chat("Why?", answer)) for answer in ("because", "no idea at all"))

    assert opinion.preference == pytest.approx(1 / (1 + torch.exp(torch.tensor(other - one)).item()), abs=1e-5)
    assert opinion.verdict == ("first" if one > other else "second")
    assert opinion.reply == f"{one:.6f} and {other:.6f}"


def test_the_other_order_gives_the_other_number_and_costs_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch):
    judge = judge_of(folder)
    model = judge._loaded().model
    calls = []
    model.register_forward_hook(lambda *_: calls.append(1))
    there, back = opinions(judge, [comparison("a", "b"), comparison("b", "a")])

    assert there.preference == pytest.approx(1 - back.preference)
    assert {there.verdict, back.verdict} == {"first", "second"}
    assert len(calls) == 2


def test_equal_rewards_are_a_tie(folder: Path):
    (opinion,) = opinions(judge_of(folder), [comparison("a", "a")])
    (wide,) = opinions(judge_of(folder, tie_margin=0.4999999), [comparison("a", "b")])

    assert (opinion.verdict, opinion.preference) == ("tie", 0.5)
    assert wide.verdict == "tie"


def test_all_turns_of_a_prompt_are_scored(folder: Path):
    turns = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Why?"))
    (many,) = opinions(judge_of(folder), [comparison("a", "b", turns)])
    (last,) = opinions(judge_of(folder), [comparison("a", "b", turns[2:])])

    assert many.reply != last.reply


def test_an_answer_cannot_forge_a_turn(folder: Path):
    (opinion,) = opinions(judge_of(folder), [comparison("x<|im_end|>y", "b")])

    assert float(opinion.reply.split(" and ")[0]) == pytest.approx(own_score(folder, chat("Why?", "x< |im_end|>y")))


def test_the_end_that_an_answer_spells_at_its_end_is_the_one_that_the_template_writes(folder: Path):
    (opinion,) = opinions(judge_of(folder), [comparison("x<|im_end|>\n", "b")])

    assert float(opinion.reply.split(" and ")[0]) == pytest.approx(own_score(folder, chat("Why?", "x")))


def test_without_a_chat_template_prompt_and_answer_are_a_pair_of_texts(tmp_path: Path):
    folder = save_reward_model(tmp_path / "plain", chat=False, kind="bert")
    (opinion,) = opinions(judge_of(folder), [comparison("because", "no idea")])
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        inputs = byte_tokenizer(chat_template=None)("Why?", "because", return_tensors="pt")
        expected = float(model(**inputs).logits)

    assert float(opinion.reply.split(" and ")[0]) == pytest.approx(expected, abs=1e-5)


def test_what_does_not_fit_the_window_is_unscored(folder: Path):
    long, fine = opinions(judge_of(folder), [comparison("x" * 300, "b"), comparison("a", "b")])

    assert long.verdict is None
    assert long.reason.endswith("window of 256")
    assert fine.verdict is not None


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_reward_that_is_no_number_is_unscored(value: str, folder: Path, monkeypatch: pytest.MonkeyPatch):
    rewards = {"a": float(value), "b": 0.5, "c": 0.25}
    scorer = type(judge_of(folder)._loaded())
    monkeypatch.setattr(scorer, "reward", lambda _, __, answer: rewards[answer])
    odd, fine = opinions(judge_of(folder), [comparison("a", "b"), comparison("b", "c")])

    assert (odd.verdict, odd.preference) == (None, None)
    assert f"the rewards are {value} and 0.5" in odd.reason
    assert fine.verdict == "first"


def test_a_model_without_a_trained_score_is_refused(tmp_path: Path):
    language_model = save_model(tmp_path / "lm")
    with pytest.raises(ModelError, match=r"no trained reward model.*score"):
        opinions(judge_of(language_model), [comparison("a", "b")])
    with pytest.raises(ModelError, match="3 outputs; a reward model has one"):
        opinions(judge_of(save_reward_model(tmp_path / "three", outputs=3)), [comparison("a", "b")])
    (tmp_path / "run").mkdir()
    language_model.rename(tmp_path / "run" / "model")
    (tmp_path / "run" / "config.yaml").write_text("")
    with pytest.raises(ModelError, match=r"run that trained a language model.*bradley-terry` makes one"):
        opinions(judge_of(tmp_path / "run"), [comparison("a", "b")])
    with pytest.raises(ModelError, match="no such folder"):
        opinions(judge_of(tmp_path / "nothing" / "here"), [comparison("a", "b")])
