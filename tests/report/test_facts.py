"""What was trained on what, in the report's words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from haloes.report import facts
from haloes.report.load import RunRecords, load_run

Write = Callable[..., Path]


@pytest.fixture
def run(bare_run: Write) -> Callable[..., RunRecords]:
    """The records of a run folder that holds the given files."""
    return lambda **files: load_run(bare_run(**files))


@pytest.mark.parametrize(
    ("model", "name", "hub"),
    [
        ({"name": "owner/model"}, "owner/model", "owner/model"),
        ({"name": "embedded"}, "SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ({"name": "/models/mine/"}, "mine", None),
        ({"path": "C:\\models\\mine.gguf"}, "mine.gguf", None),
        ({"name": "./owner/model"}, "model", None),
        ("owner/model", "owner/model", "owner/model"),
        ({"dtype": "auto"}, None, None),
        (None, None, None),
    ],
)
def test_a_model_is_named_without_its_folders(
    run: Callable[..., RunRecords], model: object, name: str | None, hub: str | None
) -> None:
    records = run(config_yaml={"model": model})
    assert (facts.model_name(records), facts.hub_name(records)) == (name, hub)


@pytest.mark.parametrize(
    ("loss", "name"), [("kto", "KTO"), ("SimPO", "SimPO"), ("mine/loss.py:MyLoss", "MyLoss"), (None, None)]
)
def test_a_loss_is_spelled_as_people_spell_it(
    run: Callable[..., RunRecords], loss: str | None, name: str | None
) -> None:
    assert facts.loss_name(run(config_yaml={"loss": {"name": loss}})) == name


def test_weights_that_were_set_automatically_show_what_they_came_to(run: Callable[..., RunRecords]) -> None:
    records = run(
        config_yaml={"loss": {"name": "kto", "beta": 0.1, "desirable_weight": "auto", "undesirable_weight": "auto"}},
        data_json={"weights": {"desirable": 2.1314}},
    )
    assert facts.loss_settings(records) == (
        ("beta", "0.1"), ("desirable weight", "auto (2.13)"), ("undesirable weight", "auto")
    )  # fmt: skip


def half(**numbers: Any) -> dict[str, Any]:
    return {"train": numbers}


def test_shares_are_of_all_answers(run: Callable[..., RunRecords]) -> None:
    (counts,) = facts.counts(run(data_json=half(rows=40, desirable=10, undesirable=30, pairs=0, truncated=4)))
    assert counts.cells == (
        ("answers", "40"), ("desirable", "10 (25%)"), ("undesirable", "30 (75%)"), ("answers cut to fit", "4 (10%)")
    )  # fmt: skip


def test_pairs_are_counted_as_pairs_with_two_answers_each(run: Callable[..., RunRecords]) -> None:
    records = run(data_json=half(rows=40, desirable=40, undesirable=40, pairs=40, truncated=8, prompts=20))
    (counts,) = facts.counts(records)
    assert dict(counts.cells) == {
        "pairs": "40",
        "prompts": "20",
        "desirable": "40 (50%)",
        "undesirable": "40 (50%)",
        "answers cut to fit": "8 (10%)",
    }
    assert "on 40 pairs of answers to 20 prompts" in facts.trained_on(records)


def test_rows_that_were_not_used_are_told_by_reason_the_most_frequent_first(run: Callable[..., RunRecords]) -> None:
    rows = {"read": 1100, "accepted": 90, "refused": {"label": 3, "score": 7, "none": 0}, "undesirable left out": 1000}
    assert facts.data_notes(run(data_json={"rows": rows, "weights": {"desirable": 1.0, "undesirable": 0.5}})) == (
        "1,100 rows were read and 90 accepted. Left out: 7 for score, 3 for label.",
        "1,000 undesirable answers were left out: this loss learns from the others alone.",
        "Weights in the loss: 1 for desirable answers, 0.5 for undesirable answers.",
    )
    held_out = {"read": 9, "accepted": 7, "refused": {"NaN": 2}}
    assert facts.data_notes(run(data_json={"validation rows": held_out})) == (
        "Left out of the held-out file: 2 for NaN.",
    )


def test_settings_are_listed_by_the_keys_that_set_takes() -> None:
    section = {"train": {"lr": 5e-6, "warmup": None, "on": True}, "model": {"lora": {"targets": ["q", "v"]}}, "x": {}}
    assert list(facts.flat(section)) == [
        ("train.lr", "5e-06"), ("train.warmup", "–"), ("train.on", "true"), ("model.lora.targets", "q, v"), ("x", "{}")
    ]  # fmt: skip


def test_the_command_that_was_typed_is_the_one_to_repeat(run: Callable[..., RunRecords]) -> None:
    typed = run(environment_json={"command": "haloes train thumbs.jsonl --set train.lr=1e-5"})
    assert dict(facts.commands(typed))["Train again with the same settings and data"] == (
        "haloes train thumbs.jsonl --set train.lr=1e-5"
    )
    called = run(environment_json={"command": "haloes -c"})
    assert "haloes train --config bare/config.yaml" in dict(facts.commands(called)).values()
    assert "haloes resume bare" in dict(facts.commands(called)).values()


def test_only_an_adapter_can_be_merged(run: Callable[..., RunRecords]) -> None:
    adapter = run(config_yaml={"model": {"name": "a/b", "lora": {"rank": 8}}})
    assert "haloes export bare bare-merged" in dict(facts.commands(adapter)).values()
    whole = run(config_yaml={"model": {"name": "a/b", "lora": None}})
    assert not any("export" in command for _, command in facts.commands(whole))


def test_a_run_is_named_as_the_user_named_it_unless_that_tells_folders_of_the_machine(
    bare_run: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bare_run()
    monkeypatch.chdir(folder.parent.parent)
    named = f"{folder.parent.name}/bare"
    assert f"haloes resume {named}" in dict(facts.commands(load_run(Path(named)))).values()
    assert "haloes resume bare" in dict(facts.commands(load_run(folder))).values()


def test_speed_is_the_median_step_and_memory_the_peak(run: Callable[..., RunRecords]) -> None:
    rows = [
        {"step": step, "split": "train", "tokens_per_second": rate, "memory_gib": memory}
        for step, rate, memory in ((1, 10.0, 1.0), (2, 900.0, 2.5), (3, 1000.0, 2.0))
    ]
    assert facts.speed(run(metrics_jsonl=rows, environment_json={"seconds": 61})) == (
        ("Steps", "3"),
        ("Time", "1 min 01 s"),
        ("Tokens per second (median; middle half of the steps)", "900 (10 to 1,000)"),
        ("Peak memory", "2.50 GiB"),
    )


WAY = {"engine": "transformers", "max_new_tokens": 128, "temperature": 0.0, "top_p": 1.0}


def sampled(model: str, **way: Any) -> dict[str, Any]:
    sampling = {"sampling": {**WAY, **way}} if way or model != "unknown" else {}
    return {"prompt_id": "p", "prompt": "?", "completion": "a", "model": model, **sampling}


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        ([sampled("unknown")], ""),
        (
            [sampled("before"), sampled("after")],
            "At most 128 tokens an answer, the likeliest token each time (transformers).",
        ),
        (
            [
                sampled("before", temperature=0.7, top_p=0.9),
                sampled("after", temperature=0.7, top_p=0.9, control="<+>"),
            ],
            (
                "At most 128 tokens an answer, drawn at temperature 0.7, from the likeliest 90% of the probability "
                "(transformers). Answers after: with the control text <+> after each prompt."
            ),
        ),
        (
            [sampled("before"), sampled("after", max_new_tokens=64)],
            (
                "Before: At most 128 tokens an answer, the likeliest token each time (transformers). "
                "After: At most 64 tokens an answer, the likeliest token each time (transformers)."
            ),
        ),
    ],
)
def test_how_the_answers_were_made_is_told(
    run: Callable[..., RunRecords], samples: list[dict[str, Any]], sentence: str
) -> None:
    assert facts.answers_made(run(samples_jsonl=samples)) == sentence


def test_a_sampling_that_is_no_sampling_leaves_its_line_out(run: Callable[..., RunRecords]) -> None:
    records = run(samples_jsonl=[{**sampled("before"), "sampling": 3}, sampled("after")])

    assert [sample.model for sample in records.samples] == ["after"]
    assert "samples.jsonl:1: left out" in records.gaps[0]


@pytest.mark.parametrize(
    ("rounding", "sentence"),
    [
        (
            {"nats": 0.4551, "answers": 4, "tokens": 361.0},
            (
                "rewards below 0.46 nats an answer are nothing else, and margins and z0, which are means over n "
                "answers, below 0.46/√n (361 tokens an answer; 4 of them in two packings)"
            ),
        ),
        (
            {"nats": 0.0, "answers": 1, "tokens": 8.4},
            (
                "it moves no reward, margin or z0 by as much as 0.01 nats an answer (8 tokens an answer; 1 of them in "
                "two packings)"
            ),
        ),
        (None, ""),
        ({"nats": "much", "answers": 4}, ""),
        ("much", ""),
    ],
)
def test_what_is_rounding_is_said_where_it_was_measured(
    run: Callable[..., RunRecords], rounding: object, sentence: str
) -> None:
    assert facts.rounding(run(environment_json={"rounding": rounding})) == (sentence and f"Rounding: {sentence}.")
