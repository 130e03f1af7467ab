"""Feedback to encoded stores: what stops, what is left out and counted, and who validates."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import psutil
import pytest

from fake_tokenizers import REFUSES_SYSTEM
from fakes import CHAT_TEMPLATE, byte_tokenizer
from haloes.errors import DataError, ModelError
from haloes.feedback.keys import group_number
from haloes.losses._contract import Needs
from haloes.progress.contract import NullProgress
from haloes.records import Feedback, Where
from haloes.runs import data, row_index
from haloes.runs import write_rows as writing
from haloes.runs.config import FeedbackSettings
from haloes.runs.data import EncodedFeedback, encode_feedback
from haloes.runs.feedback_rows import Rows
from haloes.tokens.encode import make_encoder
from haloes.tokens.store import TokenStore
from tiny_runs import thumbs, write_rows

KTO = Needs(reference=True, mismatched=True)
DPO = Needs(pairs=True, reference=True)
SFT = Needs(undesirable=False)
GOOD = {"prompt": "p", "completion": "c", "label": True}


class Encoding(NullProgress):
    """Hands on what is told of the encoding, and nothing of the reading before it."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance, self._name = advance, ""

    def stage(self, name: str, total: int | None = None) -> None:
        self._name = name

    def advance(self, count: float) -> None:
        if self._name == "encoding feedback":
            self._advance(int(count))


def make(
    path: Path,
    out: Path,
    *,
    needs: Needs = KTO,
    max_length: int = 256,
    num_prompts: int = 3,
    advance: Callable[[int], None] = lambda _: None,
    parallel_from: int = 1000,
    chat_template: str = CHAT_TEMPLATE,
    **settings: Any,
) -> EncodedFeedback:
    return encode_feedback(
        FeedbackSettings(source=str(path), **{"validation_share": 0.25, **settings}),
        needs=needs,
        encoder=make_encoder(byte_tokenizer(chat_template=chat_template), max_length=max_length),
        folder=out,
        num_prompts=num_prompts,
        progress=Encoding(advance),
        parallel_from=parallel_from,
    )


def text(store: TokenStore, index: int) -> tuple[str, str]:
    """The prompt and the completion of a sequence, decoded."""
    row = store.read(index)
    decode = byte_tokenizer().decode
    return decode(row.prompt.tolist()), decode(row.completion.tolist())


def lines(store: TokenStore) -> list[int]:
    return sorted(int(store.name(i).rpartition(":")[2]) for i in range(len(store)))


def broken(tmp_path: Path, rows: Iterable[Any]) -> Path:
    path = tmp_path / "f.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


# --- what is written


def test_an_answer_that_was_cut_off_gets_no_end_of_turn_in_a_pair_either(tmp_path: Path):
    rows = [
        {"prompt": "p", "chosen": "cut", "rejected": "whole", "chosen_finished": False},
        {"prompt": "q", "completion": "whole", "label": True},
        {"prompt": "q", "completion": "cut", "label": False, "finished": False},
    ]
    path = write_rows(tmp_path / "f.jsonl", rows[:1])
    single = write_rows(tmp_path / "g.jsonl", rows[1:])
    as_pair = make(path, tmp_path / "a", needs=DPO, validation_share=0).train
    as_singles = make(path, tmp_path / "b", needs=Needs(), validation_share=0).train
    paired = make(single, tmp_path / "c", needs=DPO, validation_share=0).train

    assert [text(as_pair, i)[1] for i in (0, 1)] == ["cut", "whole<|im_end|>"]
    assert [text(as_singles, i)[1] for i in (0, 1)] == ["cut", "whole<|im_end|>"]
    assert [text(paired, i)[1] for i in (0, 1)] == ["whole<|im_end|>", "cut"]


WHOLE, BROKEN = "Open the lid. Then press the red button.", "Open the lid. Then press the"


def ends(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> tuple[list[bool], int]:
    """Whether each answer is trained to its end of turn, and how many a guess decided."""
    folder.mkdir()
    made = make(write_rows(folder / "f.jsonl", rows), folder / "out", needs=Needs(), validation_share=0, **settings)
    answers = [text(made.train, i)[1] for i in range(len(made.train))]
    return [answer.endswith("<|im_end|>") for answer in answers], made.facts["train"].get("look cut off", 0)


def test_an_answer_that_looks_cut_off_gets_no_end_of_turn_unless_the_row_or_the_setting_says_that_it_ended(
    tmp_path: Path,
):
    rows = [{"prompt": f"p{i}", "completion": WHOLE if i else BROKEN, "label": True} for i in range(3)]
    assert ends(tmp_path / "guess", rows) == ([False, True, True], 1)
    assert ends(tmp_path / "trust", rows, cut_off="trust") == ([True, True, True], 0)
    said = [rows[0] | {"finished": True}, rows[1] | {"finished": False}, rows[2]]
    assert ends(tmp_path / "said", said) == ([True, False, True], 0)


def test_in_a_file_that_never_ends_its_sentences_no_answer_is_taken_for_cut_off(tmp_path: Path):
    answer = "you open the lid and press button {} until it is red"
    rows = [{"prompt": f"p{i}", "completion": answer.format(i), "label": True} for i in range(3)]
    assert ends(tmp_path / "file", rows) == ([True] * 3, 0)


def test_rows_are_encoded_as_inference_sees_them_with_label_and_place(tmp_path: Path, thumbs_file: Path):
    made = make(thumbs_file, tmp_path / "out", validation_share=0)

    assert made.validation is None
    assert lines(made.train) == list(range(1, 33))
    prompt, completion = text(made.train, 1)
    assert prompt.endswith("<|im_start|>user\nIs 0 it?<|im_end|>\n<|im_start|>assistant\n")
    assert completion == "no no 0<|im_end|>"
    assert made.train.desirable.tolist() == [True, False] * 16


def test_the_facts_count_what_was_read_and_what_is_trained_on(tmp_path: Path, thumbs_file: Path):
    facts = make(thumbs_file, tmp_path / "out").facts

    assert facts["rows"] == {"read": 32, "accepted": 32, "refused": {}, "undesirable left out": 0}
    assert facts["sources"] == [str(thumbs_file)]
    assert (facts["train"]["rows"], facts["train"]["desirable"], facts["train"]["prompts"]) == (24, 12, 12)
    assert (facts["validation"]["rows"], facts["validation"]["undesirable"]) == (8, 4)


def test_the_facts_count_reasoning_and_what_became_of_it(tmp_path: Path):
    answers = ["<think>\nhm\n</think>\n\nYes.", "No."]
    rows = [{"prompt": f"Is {i // 2} it?", "completion": answers[i % 2], "label": i % 2 == 0} for i in range(8)]
    path = broken(tmp_path, rows)

    assert make(path, tmp_path / "a", validation_share=0).facts["train"]["reasoning"] == {"given": 0, "left out": 4}


def test_pairs_are_stored_as_pairs_where_the_loss_needs_pairs(tmp_path: Path, pairs_file: Path, thumbs_file: Path):
    for path in (pairs_file, thumbs_file):
        made = make(path, tmp_path / path.stem, needs=DPO, validation_share=0)

        assert made.train.paired
        assert made.facts["train"]["pairs"] == 16
        assert min(text(made.train, 2 * i)[1] for i in range(16)) == "yes yes 0<|im_end|>"
        assert made.train.group[::2].tolist() == made.train.group[1::2].tolist()


def test_pairs_are_stored_as_single_answers_where_the_loss_needs_those(tmp_path: Path, pairs_file: Path):
    made = make(pairs_file, tmp_path / "out", validation_share=0)

    assert not made.train.paired
    assert made.facts["train"]["desirable"] == made.facts["train"]["undesirable"] == 16


def test_a_loss_of_desirable_answers_alone_gets_no_others_and_they_are_counted(tmp_path: Path, thumbs_file: Path):
    made = make(thumbs_file, tmp_path / "out", needs=SFT)

    assert made.train.desirable.all()
    assert made.validation is not None
    assert made.validation.desirable.all()
    assert made.facts["rows"] == {"read": 32, "accepted": 16, "refused": {}, "undesirable left out": 16}


def test_weights_of_rows_reach_the_store(tmp_path: Path):
    rows = [{**GOOD, "prompt": f"p{i}", "weight": 1 + i} for i in range(4)]

    assert make(broken(tmp_path, rows), tmp_path / "out", validation_share=0).train.weight.tolist() == [1, 2, 3, 4]


def test_scores_become_labels(tmp_path: Path):
    rows = [{"prompt": f"p{i}", "completion": "c", "score": i} for i in range(6)]
    made = make(broken(tmp_path, rows), tmp_path / "out", validation_share=0, labels_from={"rule": "median"})

    assert made.train.desirable.tolist() == [False] * 3 + [True] * 3


def test_one_answer_a_prompt_is_kept_on_demand(tmp_path: Path, thumbs_file: Path):
    made = make(thumbs_file, tmp_path / "out", one_per_prompt=True, validation_share=0)

    assert len(np.unique(made.train.group)) == len(made.train) == 16


def test_progress_counts_every_row_that_is_encoded(tmp_path: Path, thumbs_file: Path):
    told: list[int] = []
    encode_feedback(
        FeedbackSettings(source=str(thumbs_file)),
        needs=KTO,
        encoder=make_encoder(byte_tokenizer(), max_length=256),
        folder=tmp_path / "out",
        num_prompts=0,
        progress=Encoding(told.append),
    )

    assert sum(told) == 32


# --- what is refused


def test_rows_that_nobody_rated_are_left_out_and_counted(tmp_path: Path):
    rows = [*thumbs(4), {**GOOD, "label": None}, {**GOOD, "label": ""}, {"prompt": "p", "completion": "c"}]
    made = make(broken(tmp_path, rows), tmp_path / "out", validation_share=0)

    assert made.facts["rows"]["refused"] == {"no label": 3}
    assert len(made.train) == 8


def test_a_few_empty_rows_are_left_out_and_counted(tmp_path: Path):
    rows = [*thumbs(10), {**GOOD, "completion": " "}]
    made = make(broken(tmp_path, rows), tmp_path / "out", validation_share=0)

    assert made.facts["rows"]["refused"] == {"empty completion": 1}


def test_many_empty_rows_stop_with_the_first_lines_and_the_number(tmp_path: Path):
    rows = [*thumbs(5), *[{**GOOD, "completion": ""}] * 12]

    with pytest.raises(DataError) as caught:
        make(broken(tmp_path, rows), tmp_path / "out")

    message = str(caught.value)
    assert message.startswith("12 row(s) cannot be used:")
    assert "f.jsonl:11: the completion is blank" in message
    assert "f.jsonl:20:" in message
    assert "f.jsonl:21:" not in message
    assert "and 2 more" in message
    limit = "12 of the file's 22 rows (54.5%) are empty; up to 5% would be left out and counted"
    assert f"{limit}. Mend them, or go on without them" in message


def test_a_file_with_a_few_empty_rows_is_fit_for_pairs_as_for_single_answers(tmp_path: Path):
    # 3 of 63 rows are empty: under 5 % of the file, and over 5 % of the 30 pairs that it makes.
    path = broken(tmp_path, [*thumbs(30), *[{**GOOD, "completion": ""}] * 3])

    assert make(path, tmp_path / "single", validation_share=0).facts["rows"]["refused"] == {"empty completion": 3}
    paired = make(path, tmp_path / "pairs", needs=DPO, validation_share=0)
    assert paired.facts["rows"]["refused"] == {"empty completion": 3}
    assert len(paired.train) == 60


def test_a_broken_label_stops_with_file_and_line_whatever_else_is_tolerated(tmp_path: Path):
    rows = [*thumbs(20), {**GOOD, "completion": ""}, {**GOOD, "label": None}, {**GOOD, "label": "maybe"}]

    with pytest.raises(DataError) as caught:
        make(broken(tmp_path, rows), tmp_path / "out")

    message = str(caught.value)
    assert message.startswith("1 row(s) cannot be used:")
    assert f"{tmp_path / 'f.jsonl'}:43: label 'maybe' is not one of" in message
    assert "feedback.skip_refused=true" in message
    assert not (tmp_path / "out" / "train").exists()


def test_faults_of_several_kinds_come_in_the_order_of_their_lines(tmp_path: Path):
    rows = [*thumbs(4), "{broken", {**GOOD, "label": -1}, "[1]", {**GOOD, "label": 0.2}]

    with pytest.raises(DataError) as caught:
        make(broken(tmp_path, rows), tmp_path / "out")

    found = [line.strip().removeprefix(str(tmp_path)) for line in str(caught.value).splitlines()[1:5]]
    assert [line.split(": ")[0] for line in found] == [f"/f.jsonl:{number}" for number in (9, 10, 11, 12)]


def test_broken_rows_are_left_out_and_counted_on_demand(tmp_path: Path):
    rows = [*thumbs(4), "{broken", {**GOOD, "label": -1}, {**GOOD, "completion": ""}]
    made = make(broken(tmp_path, rows), tmp_path / "out", skip_refused=True, validation_share=0)

    assert made.facts["rows"] == {
        "read": 11,
        "accepted": 8,
        "refused": {"broken JSON": 1, "label": 1, "empty completion": 1},
        "undesirable left out": 0,
    }


def test_a_file_that_nobody_rated_is_refused_with_the_number_and_the_first_line(tmp_path: Path):
    with pytest.raises(DataError, match=r"f\.jsonl: no row can be used: 3 x no label; first .*f\.jsonl:1: "):
        make(broken(tmp_path, [{**GOOD, "label": None}] * 3), tmp_path / "out")


def test_single_answers_without_any_partner_are_refused_for_pairs(tmp_path: Path):
    rows = [{**GOOD, "prompt": f"p{i}"} for i in range(5)]

    with pytest.raises(DataError, match="no row can be used: 5 x no partner for a pair"):
        make(broken(tmp_path, rows), tmp_path / "out", needs=DPO)


def test_a_row_that_cannot_be_encoded_stops_with_its_line_or_is_left_out_on_demand(tmp_path: Path):
    rows = [*thumbs(4), {**GOOD, "prompt": [{"role": "user", "content": "x"}], "completion": "y", "id": "tool"}]
    path = broken(tmp_path, rows)
    refusing = byte_tokenizer(
        chat_template="{% for m in messages %}{% if m['content'] == 'x' %}{{ raise_exception('no x') }}{% endif %}"
        "{{ m['content'] }}<|im_end|>{% endfor %}"
    )

    def encode(skip: bool) -> EncodedFeedback:
        return encode_feedback(
            FeedbackSettings(source=str(path), validation_share=0, skip_refused=skip),
            needs=KTO,
            encoder=make_encoder(refusing, max_length=256),
            folder=tmp_path / f"out-{skip}",
            num_prompts=0,
            progress=NullProgress(),
        )

    with pytest.raises(DataError, match=r"f\.jsonl:9: the chat template refuses these messages: no x"):
        encode(skip=False)
    assert encode(skip=True).facts["train"]["refused"] == {"chat template": 1}


def test_messages_and_a_tokenizer_without_chat_template_are_refused(tmp_path: Path):
    rows = [{"prompt": [{"role": "user", "content": f"p{i}"}], "completion": "c", "label": True} for i in range(4)]

    with pytest.raises(ModelError, match="no chat template"):
        encode_feedback(
            FeedbackSettings(source=str(broken(tmp_path, rows)), validation_share=0),
            needs=KTO,
            encoder=make_encoder(byte_tokenizer(chat_template=None), max_length=256),
            folder=tmp_path / "out",
            num_prompts=0,
            progress=NullProgress(),
        )


def test_rows_longer_than_the_window_are_cut_and_counted(tmp_path: Path):
    rows = [*thumbs(4), {**GOOD, "completion": "c" * 400}, {**GOOD, "prompt": "p" * 400}]
    made = make(broken(tmp_path, rows), tmp_path / "out", max_length=128, validation_share=0)

    assert (made.facts["train"]["truncated"], made.facts["train"]["prompts cut"]) == (1, 1)
    assert max(made.train.length(i) for i in range(len(made.train))) == 128


# --- who validates


def test_no_prompt_and_no_conversation_is_on_both_sides(tmp_path: Path):
    rows = [
        {"prompt": f"p{i}", "completion": f"c{k}", "label": k == 0, "conversation": f"t{i // 2}"}
        for i in range(40)
        for k in range(2)
    ]
    made = make(broken(tmp_path, rows), tmp_path / "out")

    assert made.validation is not None
    train, validation = ({(n - 1) // 4 for n in lines(store)} for store in (made.train, made.validation))
    assert not train & validation
    assert len(train) + len(validation) == 20
    assert len(made.validation) == 20


def test_the_split_is_decided_by_the_seed(tmp_path: Path, thumbs_file: Path):
    sides = []
    for k, seed in enumerate((0, 0, 1)):
        settings = FeedbackSettings(source=str(thumbs_file), validation_share=0.25, split_seed=seed)
        encoder = make_encoder(byte_tokenizer(), max_length=256)
        out = tmp_path / str(k)
        made = encode_feedback(settings, needs=KTO, encoder=encoder, folder=out, num_prompts=2, progress=NullProgress())
        sides.append((lines(made.train), sorted(made.prompts.values())))

    assert sides[0] == sides[1] != sides[2]


def test_a_validation_file_is_used_whole_and_the_source_too(tmp_path: Path, thumbs_file: Path):
    held_out = write_rows(tmp_path / "held.jsonl", [{**row, "prompt": f"Held {row['prompt']}"} for row in thumbs(3)])
    made = make(thumbs_file, tmp_path / "out", validation=str(held_out))

    assert made.validation is not None
    assert (len(made.train), len(made.validation)) == (32, 6)
    assert made.validation.name(0) == f"{held_out}:1"
    assert made.facts["sources"] == [str(thumbs_file)]
    assert made.facts["validation_source"] == str(held_out)
    assert made.facts["validation rows"]["accepted"] == 6
    assert not made.facts["warnings"]


def test_validation_rows_that_leak_are_left_out_with_a_warning(tmp_path: Path):
    train = [{**row, "conversation": "shared"} if i < 2 else row for i, row in enumerate(thumbs(4))]
    held = [
        {**GOOD, "prompt": "Is 3 it?"},
        {**GOOD, "prompt": "another", "conversation": "shared"},
        {**GOOD, "prompt": "new"},
        {**GOOD, "prompt": "newer"},
    ]
    held_out = write_rows(tmp_path / "held.jsonl", held)
    made = make(write_rows(tmp_path / "train.jsonl", train), tmp_path / "out", validation=str(held_out))

    assert made.validation is not None
    assert lines(made.validation) == [3, 4]
    assert len(made.train) == 8
    assert made.facts["warnings"][0].startswith("2 validation rows share a prompt or conversation")


def test_a_validation_file_that_is_all_known_is_refused(tmp_path: Path, thumbs_file: Path):
    copy = write_rows(tmp_path / "copy.jsonl", thumbs(3))

    with pytest.raises(DataError, match=r"copy\.jsonl: all its prompts or conversations are in .*thumbs\.jsonl too"):
        make(thumbs_file, tmp_path / "out", validation=str(copy))


def test_a_fault_in_the_validation_file_stops_before_anything_is_encoded(tmp_path: Path, thumbs_file: Path):
    bad = write_rows(tmp_path / "held.jsonl", [{**GOOD, "prompt": "new"}, {**GOOD, "label": "maybe"}])

    with pytest.raises(DataError, match=r"held\.jsonl:2: label 'maybe'"):
        make(thumbs_file, tmp_path / "out", validation=str(bad))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("most", "rows", "prompts"), [(None, 30, 10), (30, 30, 10), (16, 15, 5), (8, 6, 2)])
def test_validation_is_limited_by_whole_prompts(tmp_path: Path, most: int | None, rows: int, prompts: int):
    several = [{"prompt": f"p{i}", "completion": f"c{k}", "label": k < 2} for i in range(40) for k in range(3)]
    made = make(broken(tmp_path, several), tmp_path / "out", validation_rows=most)

    assert made.validation is not None
    assert (len(made.validation), len(np.unique(made.validation.group))) == (rows, prompts)
    assert len(made.train) == 90


def test_held_out_prompts_to_answer_are_prompts_of_the_validation_rows(tmp_path: Path, thumbs_file: Path):
    made = make(thumbs_file, tmp_path / "out", num_prompts=3)

    assert made.validation is not None
    held = {group_number(Feedback(prompt=prompt, completion="", label=True)) for prompt in made.prompts.values()}
    assert len(held) == 3
    assert held <= set(made.validation.group.tolist())


@pytest.mark.parametrize("share", [0, 0.1])
def test_one_prompt_is_refused_where_a_reference_point_is_needed(tmp_path: Path, share: float):
    path = broken(tmp_path, [{**GOOD, "completion": f"c{i}", "label": i > 1} for i in range(4)])

    with pytest.raises(DataError, match=r"f\.jsonl: all rows answer the same prompt"):
        make(path, tmp_path / "out", validation_share=share)
    assert len(make(path, tmp_path / "out", validation_share=0, needs=Needs()).train) == 4


def test_one_held_out_prompt_is_refused_where_a_reference_point_is_needed(tmp_path: Path):
    path = broken(tmp_path, thumbs(6))

    with pytest.raises(DataError, match=r"only one prompt is held out.*feedback\.validation_share=0"):
        make(path, tmp_path / "out", validation_share=0.1)
    assert len(make(path, tmp_path / "out", validation_share=0.1, needs=SFT).train) == 5


# --- memory


def test_rows_are_read_encoded_and_forgotten_chunk_by_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    num_rows, chunk = 400, 16
    alive: list[int] = []
    living = Counter[str]()

    class Counted(str):
        """A text that is known as long as something holds it."""

        __slots__ = ()

        def __new__(cls, text: str) -> Self:
            living["texts"] += 1
            return super().__new__(cls, text)

        def __del__(self) -> None:
            living["texts"] -= 1

    class Source:
        def __iter__(self) -> Iterator[Feedback]:
            for i in range(num_rows):
                yield Feedback(prompt=f"p{i}", completion=Counted("c"), label=i % 2 == 0, where=Where("f", i + 1))

    def count(_: int) -> None:
        alive.append(living["texts"])

    monkeypatch.setattr(writing, "_CHUNK", chunk)
    monkeypatch.setattr(row_index, "open_rows", lambda *_, **__: Rows(Source(), lambda rows: rows))
    encode_feedback(
        FeedbackSettings(source="f", validation_share=0.25),
        needs=KTO,
        encoder=make_encoder(byte_tokenizer(), max_length=256),
        folder=tmp_path / "out",
        num_prompts=5,
        progress=Encoding(count),
    )

    assert len(alive) == 19 + 7
    assert chunk <= max(alive) <= 2 * chunk


# --- in several processes

USER = {"role": "user", "content": "Bye"}
NO_SYSTEM = [{"role": "system", "content": "Be brief."}, USER]


def test_several_processes_write_the_bytes_that_one_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(writing, "_CHUNK", 8)
    monkeypatch.setattr(data, "num_processors", lambda _: 2)
    rows: list[dict[str, Any]] = [{**row, "weight": 1 + i % 3} for i, row in enumerate(thumbs(40))]
    rows[7]["prompt"] = rows[33]["prompt"] = NO_SYSTEM
    rows[11]["prompt"] = [*[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}] * 9, USER]
    path = broken(tmp_path, rows)
    how: dict[str, Any] = {"skip_refused": True, "max_length": 128, "chat_template": REFUSES_SYSTEM}
    made = {
        name: make(path, tmp_path / name, needs=needs, parallel_from=parallel_from, **how)
        for name, needs, parallel_from in [
            ("one", KTO, 1000),
            ("two", KTO, 80),
            ("one with control", Needs(control=("<good>", "<bad>")), 1000),
            ("two with control", Needs(control=("<good>", "<bad>")), 80),
        ]
    }

    for one, two in (("one", "two"), ("one with control", "two with control")):
        assert files(tmp_path / one) == files(tmp_path / two)
        assert made[one].facts == made[two].facts
        assert made[one].prompts == made[two].prompts
    counts = [made["one"].facts[side].get("refused", {}).get("chat template", 0) for side in ("train", "validation")]
    assert sum(counts) == 2
    assert made["one"].train.fingerprint != made["one with control"].train.fingerprint


def test_a_row_that_cannot_be_encoded_is_named_by_several_processes_as_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writing, "_CHUNK", 8)
    monkeypatch.setattr(data, "num_processors", lambda _: 2)
    rows: list[dict[str, Any]] = thumbs(20)
    rows[30]["prompt"] = rows[35]["prompt"] = NO_SYSTEM
    path, said = broken(tmp_path, rows), []
    for parallel_from in (1000, 1):
        with pytest.raises(DataError) as caught:
            make(
                path,
                tmp_path / "out",
                validation_share=0,
                parallel_from=parallel_from,
                chat_template=REFUSES_SYSTEM,
            )
        said.append(str(caught.value))

    assert said[0] == said[1]
    assert f"{path}:31: the chat template refuses these messages: System role not supported" in said[0]
    assert list((tmp_path / "out").iterdir()) == []


def test_who_interrupts_several_processes_leaves_neither_a_store_nor_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(writing, "_CHUNK", 8)
    monkeypatch.setattr(data, "num_processors", lambda _: 2)
    path = write_rows(tmp_path / "f.jsonl", thumbs(20))
    seen: list[int] = []

    def interrupt(num_rows: int) -> None:
        seen.append(len(psutil.Process().children()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(path, tmp_path / "out", parallel_from=1, advance=interrupt)

    assert seen == [2]
    assert list((tmp_path / "out").iterdir()) == []
    assert psutil.Process().children() == []


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_whose_verdicts_a_file_holds_is_counted_as_the_file_has_them_before_pairs_are_made(tmp_path: Path):
    rows = [{**row, "user": f"u{i % 3}", "model": "m" if row["label"] else "n"} for i, row in enumerate(thumbs(8))]
    path = write_rows(tmp_path / "f.jsonl", rows)

    for needs, name in ((KTO, "single"), (DPO, "paired")):
        made = make(path, tmp_path / name, needs=needs)
        taste = made.facts["taste"]
        assert (taste["num_votes"], taste["num_people"]) == (16, 3)
        assert [(kind["name"], kind["share_up"]) for kind in taste["kinds"] if kind["by"] == "model"] == [
            ("m", 1.0),
            ("n", 0.0),
        ]


def test_a_store_knows_which_model_gave_each_answer(tmp_path: Path):
    rows = [{**row, "model": "m"} if row["label"] else row for row in thumbs(12)]
    train = make(write_rows(tmp_path / "f.jsonl", rows), tmp_path / "out").train

    assert {(bool(train.desirable[i]), train.model(i)) for i in range(len(train))} == {(True, "m"), (False, None)}


def test_personal_data_is_replaced_before_anything_is_encoded_and_counted(tmp_path: Path):
    rows = [{**row, "prompt": f"{row['prompt']} Mail {i}@firm.de"} for i, row in enumerate(thumbs(12))]
    path = write_rows(tmp_path / "f.jsonl", rows)
    made = make(path, tmp_path / "out", scrub=True)

    assert made.facts["rows"]["replaced"] == {"e-mail address": 24}
    assert "@firm" not in repr(made.prompts)
    assert "replaced" not in make(path, tmp_path / "plain").facts["rows"]
