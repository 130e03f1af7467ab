"""Mistakes on the command line: each is answered with what to type instead."""

import pytest

from haloes.cli.main import run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("losses recomend f.jsonl", 'losses has no subcommand "recomend". Did you mean "recommend"? There are: show'),
        ("recommend f.jsonl", 'Unknown command "recommend". Did you mean "losses recommend"? See `haloes --help`.'),
        ("zzz", 'Unknown command "zzz".'),
        ("losses zzz", 'losses has no subcommand "zzz". There are: '),
        ("train f.jsonl --learning-rate 1e-4", "Unknown option: --learning-rate. Did you mean --lr?"),
        ("train f.jsonl --num-train-epochs=2", "Unknown option: --num-train-epochs. Did you mean --epochs?"),
        ("train f.jsonl --warmup 0.1", "Unknown option: --warmup. It is a setting: --set train.warmup=VALUE."),
        ("online p.txt --lora-r 8", "Unknown option: --lora-r. It is a setting: --set model.lora.rank=VALUE."),
        ("train f.jsonl --zzz 1", "Unknown option: --zzz."),
        ("train f.jsonl --lr", "--lr needs a value: The peak learning rate"),
        ("train f.jsonl --set train.lr 1e-4", "train has no use for '1e-4'. Did you mean --set train.lr=1e-4?"),
        ("train f.jsonl --lr fast", 'Invalid value for --lr: unable to convert "fast" into a number or "auto".'),
        (
            "plan f.jsonl --batch-size x",
            'Invalid value for --batch-size: unable to convert "x" into a whole number or "auto".',
        ),
        ("train f.jsonl train.lr=1e-4", "train has no use for 'train.lr=1e-4'. Did you mean --set train.lr=1e-4?"),
        ("train a b", "train has no use for 'b'. See `haloes train --help`."),
        ("doctor", "doctor needs FEEDBACK: A feedback file"),
        ("losses show", "losses show needs NAME: A loss of the list"),
    ],
)
def test_a_mistake_is_answered_with_what_to_type_instead(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str]
):
    assert run(arguments.split()) == 2
    assert capsys.readouterr().err.startswith(f"haloes: {message}")


def test_judging_without_a_judge_lists_the_judges_with_a_line_for_each(capsys: pytest.CaptureFixture[str]):
    assert run(["judge", "RUN"]) == 2

    first, *lines, last = capsys.readouterr().err.splitlines()
    assert first == "haloes: judge needs --judge, one of http, local, reward, reward-model, rule:"
    assert [line.split(":")[0] for line in lines] == ["  http", "  local", "  reward", "  rule"]
    assert last == "See `haloes judge --help`."


def test_losses_explain_is_losses_show(capsys: pytest.CaptureFixture[str]):
    assert run(["losses", "show", "kto"]) == 0
    shown = capsys.readouterr().out
    assert run(["losses", "explain", "kto"]) == 0
    assert capsys.readouterr().out == shown
