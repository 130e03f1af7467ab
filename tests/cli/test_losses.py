"""`haloes losses`: what a person sees of each command."""

from pathlib import Path

import pytest

from haloes.cli.main import run
from haloes.losses.table import LOSSES
from tiny_runs import pairs, thumbs, write_rows

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def shown(capsys: Captured, *arguments: object) -> str:
    assert run(["losses", *map(str, arguments)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_list_names_every_loss_by_group(capsys: Captured):
    out = shown(capsys)

    firsts = [line.split()[0] for line in out.splitlines() if line and not line.startswith(" ")]
    assert [word for word in firsts if word in LOSSES] == list(LOSSES)
    assert "kto                     Kahneman-Tversky    labels, reference,  arXiv 2402.01306" in out
    assert "On pairs" in out.splitlines()
    assert max(map(len, out.splitlines())) <= 80


def test_one_loss_is_explained_on_a_screen(capsys: Captured):
    out = shown(capsys, "show", "kto")

    assert out.splitlines()[0] == "kto  Kahneman-Tversky Optimization"
    assert "    desirable:    w_d * (1 - sigmoid(beta * (r - z0)))" in out
    assert "reference point  mean reward of the step's mismatched completions" in out
    assert "human-aware      yes: " in out
    assert "beta 0.1 How quickly the value saturates" in words(out)
    assert "source           Ethayarajh et al., ICML 2024, arXiv 2402.01306, eq. 8" in out
    assert "haloes train FILE --loss kto --set loss.beta=0.1" in out
    assert len(out.splitlines()) < 45


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_fits_on_a_terminal(name: str, capsys: Captured):
    out = shown(capsys, "show", name)

    assert max(map(len, out.splitlines())) <= 80
    assert len(out.splitlines()) <= 50


def test_a_loss_of_a_file_is_explained(capsys: Captured, tmp_path: Path):
    path = tmp_path / "my_loss.py"
    path.write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\nfrom haloes.losses._contract import Needs\n"
        "@dataclass(frozen=True)\nclass Mine:\n    needs: ClassVar[Needs] = Needs(pairs=True)\n    scale: float\n"
        '    """[bold]How much."""\n'
    )
    out = shown(capsys, "show", "my_loss.py:Mine")

    assert "needs  pairs" in out
    assert "scale    required  [bold]How much." in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "kot"], 'there is no loss "kot". Did you mean "kto"?'),
        (["show", "nowhere.py:Mine"], "there is no file nowhere.py"),
        (["show"], "See `haloes losses show --help`"),
        (["plot", "kto", "--set", "loss.bta=1"], "loss.bta: none of kto has it"),
        (["plot", "kto", "--set", "train.lr=1"], "train: a drawing has settings of the section loss alone"),
        (["plot", "kto", "--range", "1", "2"], "the range must go from below 0 to above 0"),
        (["recommend", "nowhere.jsonl"], "nowhere.jsonl"),
        (["plott"], "plot"),
    ],
)
def test_what_cannot_be_done_is_told_with_exit_code_2(arguments: list[str], message: str, capsys: Captured):
    assert run(["losses", *arguments]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_losses_are_drawn_in_the_terminal_and_as_a_picture(capsys: Captured):
    out = shown(capsys, "plot", "kto", "dpo", "--range", "-8", "8", "--set", "loss.beta=1", "--out", "p.svg")

    assert "Implied value" in out
    assert "Gradient dL/dr" in out
    assert "── kto   ── dpo   ╌╌ undesirable" in out
    assert "The picture is in p.svg" in out
    assert max(map(len, out.splitlines())) <= 80
    assert Path("p.svg").read_text().startswith("<svg ")


def test_a_loss_is_recommended_with_reasons(capsys: Captured):
    write_rows(Path("t.jsonl"), thumbs(8)[:15])
    write_rows(Path("p.jsonl"), pairs(8))

    out = shown(capsys, "recommend", "t.jsonl")
    assert "8 desirable and 7 undesirable answers" in out
    assert "loss     kto" in out
    assert "[KTO paper, section 4.4]" in words(out)
    assert "haloes train t.jsonl --loss kto" in out
    assert "haloes train p.jsonl --loss dpo" in shown(capsys, "recommend", "p.jsonl")


def test_scores_may_be_in_any_column(capsys: Captured):
    write_rows(Path("s.jsonl"), [{"q": f"p{i}", "completion": "c", "stars": i % 5} for i in range(10)])
    out = shown(capsys, "recommend", "s.jsonl", "--columns", "prompt=q,score=stars")

    assert "threshold 2" in out
    assert "--columns prompt=q,score=stars" in words(out)


def test_the_theory_is_carried_out(capsys: Captured):
    out = shown(capsys, "theory")

    assert "Proposition 4.1" in out
    assert "Theorem 4.2" in out
    assert "Theorem 4.3" in out
    assert "0.5000       0.5000          y_b     1.0000     0.0000" in out


def test_the_page_is_printed_as_it_is_written(capsys: Captured, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("haloes.guide.page.losses_page", lambda: "# [bold]Losses[/bold]\n")

    assert shown(capsys, "page") == "# [bold]Losses[/bold]\n"


@pytest.mark.parametrize("columns", ["40", "80", None], ids=["40 columns", "80 columns", "a pipe"])
def test_the_recommended_command_can_be_copied_however_narrow_the_terminal(
    columns: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    rows = [{**row, "asker_of_the_question": str(i)} for i, row in enumerate(thumbs(8))]
    source = write_rows(Path("a-long-name-of-a-file-of-feedback.jsonl"), rows)
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    mapping = "user=asker_of_the_question,conversation=asker_of_the_question"

    assert run(["losses", "recommend", str(source), "--columns", mapping]) == 0

    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"haloes train {source} --loss kto --columns {mapping}"
    assert "…" not in out
    assert "kto-no-reference-point" in out or columns == "40"


def test_what_goes_into_a_pipe_is_not_broken_into_lines_of_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert run(["settings", "train"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("train.max_grad_norm") and "is scaled down to it" in " ".join(lines) for line in lines)
    assert len([line for line in lines if line.startswith("train.")]) == len(lines) - 2
    assert not any(line.endswith(" ") for line in lines)
