"""The GPU benchmark's own arithmetic, and haloes' side of it on the CPU; a GPU shows the rest."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("benchmarks.gpu.run", reason="the benchmarks are not part of an installed package")

from benchmarks.gpu import run as run_module
from benchmarks.gpu.cases import CASES, DRY_CASES, MIXES, SIZES, WEIGHTS, Case, Plan, make_tokenizer, write_rows
from benchmarks.gpu.exact import exactness
from benchmarks.gpu.found import Found, first_that_fits, noted, read
from benchmarks.gpu.needed import needed
from benchmarks.gpu.ours import measure, policy_of
from benchmarks.gpu.run import main
from benchmarks.gpu.table import table
from benchmarks.rows import schedule_of

from haloes.models.layout import WORTH

ROOT = Path(run_module.__file__).parents[2]
DRY = Plan(dry=True)
CPU = torch.device("cpu")


@pytest.mark.parametrize(("name", "billions"), [("0.1B", 0.13), ("0.5B", 0.51), ("1.5B", 1.48), ("8B", 8.03)])
def test_models_are_as_large_as_they_are_called(name: str, billions: float):
    with torch.device("meta"):
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_config(SIZES[name].config())

    assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(billions, abs=0.01)


def test_every_case_can_be_made_and_fits_the_time():
    assert {case.size for case in CASES} == SIZES.keys() == WEIGHTS.keys()
    assert {case.mix for case in CASES} == MIXES.keys()
    assert sum(WEIGHTS.values()) < 1
    for size in SIZES:
        # Both sides take their steps, and as long again to be set up, within the size's share of eight minutes.
        steps = sum(2 * case.seconds for case in CASES if case.size == size)
        assert 2 * steps < WEIGHTS[size] * 8 * 60


@pytest.mark.parametrize("case", DRY_CASES, ids=lambda case: case.name)
def test_both_sides_are_given_the_same_tokens(case: Case, tmp_path: Path):
    store = write_rows(tmp_path / "rows", case, DRY)
    tokenizer = make_tokenizer(DRY.size(case))
    rows = [json.loads(line) for line in (tmp_path / "rows" / "rows.jsonl").read_text().splitlines()]

    def ids(text: str) -> list[int]:
        return tokenizer(text)["input_ids"]

    given = [
        (ids(row["prompt"]), ids(row["prompt"] + row[name])[len(ids(row["prompt"])) :])
        for row in rows
        for name in ("completion", "chosen", "rejected")
        if name in row
    ]
    stored = [store.read(i) for i in range(len(store))]

    assert sorted(given) == sorted((row.prompt.tolist(), row.completion.tolist()) for row in stored)
    assert max(len(prompt) + len(completion) for prompt, completion in given) <= DRY.mix(case).most
    assert any(len(row.prompt) > WORTH for row in stored)


def test_needed_operations_by_hand(tmp_path: Path):
    case = DRY_CASES[1]
    store = write_rows(tmp_path / "rows", case, DRY)
    step = schedule_of(store, DRY.mix(case).batch_size, epochs=1).step(0)
    policy = policy_of(case, DRY, liger=False)

    found = needed(policy.model, store, step, full=True)

    # Pairs: the prompt once, two answers after it; their last tokens are predicted and not fed in.
    size, total = DRY.size(case), 0
    attention = size.width * (size.width + 2 * (size.width // size.heads) * size.key_heads + size.width)
    matrices = size.layers * (attention + 3 * size.width * size.inner)
    for pair in step.examples:
        chosen, rejected = store.read(int(2 * pair)), store.read(int(2 * pair + 1))
        p, answers = len(chosen.prompt), [len(chosen.completion), len(rejected.completion)]
        # Of a prompt the last token stands in each answer's own piece, unless it is too short to be shared.
        shared = p - 1 if p - 1 >= WORTH else 0
        own = [p - shared + n - 1 for n in answers]
        tokens = shared + sum(own)
        seen = shared * (shared + 1) / 2 + sum(n * shared + n * (n + 1) / 2 for n in own)
        total += 3 * 2 * matrices * tokens
        total += 3 * 4 * size.width * size.layers * seen
        total += 3 * 2 * size.vocabulary * size.width * sum(answers)
    assert found == pytest.approx(total)


def test_haloes_side_measures_what_it_says(tmp_path: Path):
    case = DRY_CASES[0]
    found = noted(tmp_path / "findings.jsonl", case, "haloes", lambda: measure(case, DRY, liger=False))

    assert found.error is None
    assert len(found.seconds) == len(found.tokens) == len(found.needed) == DRY.steps
    assert found.speed == found.tokens[0] / found.seconds[0] > 0
    assert read(tmp_path / "findings.jsonl") == [found]


def test_exactness_of_float32_is_that_of_float32():
    found = exactness(DRY_CASES[0], DRY).settings

    assert found["tokens"] > 50
    assert found["padded: most nats off"] == 0
    assert 0 < found["packed: most nats off"] < 1e-4
    assert 0 < found["packed: gradient's relative error"] < 1e-4


def test_the_first_setting_that_fits_is_taken():
    tried: list[int] = []

    def work(size: int) -> Found:
        tried.append(size)
        if size > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return Found(side="x", case="y", settings={"size": size})

    assert first_that_fits([8, 4, 2, 1], work, CPU).settings == {"size": 2}
    assert tried == [8, 4, 2]
    with pytest.raises(torch.OutOfMemoryError, match="no setting fits; the last: 4: CUDA out of memory"):
        first_that_fits([8, 4], work, CPU)
    with pytest.raises(RuntimeError, match="another fault"):
        first_that_fits([1], lambda _: (_ for _ in ()).throw(RuntimeError("another fault")), CPU)


def test_an_error_is_a_finding_and_a_line_that_was_cut_off_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "findings.jsonl"

    def fails() -> Found:
        raise ValueError("no luck")

    found = noted(path, DRY_CASES[0], "TRL", fails)
    with path.open("a") as file:
        file.write('{"side": "haloes"')

    assert found.error == "ValueError: no luck"
    assert read(path) == [found]
    assert "no luck" in capsys.readouterr().err


def test_the_table_compares_the_faster_way_with_trl():
    ours = Found(side="haloes", case="c", seconds=[1.0], tokens=[100], needed=[45.0], peak_gib=3.0)
    liger = Found(side="haloes + Liger", case="c", seconds=[0.5], tokens=[100], needed=[45.0], peak_gib=2.0)
    theirs = Found(side="TRL", case="c", seconds=[2.0], tokens=[100], needed=[45.0], peak_gib=5.0)
    broken = Found(side="haloes", case="d", error="out of memory")

    lines = table([ours, liger, theirs, broken], peak=100.0).splitlines()

    # 200 tokens a second against 50; 2 GiB against 5; 90 of 100 operations a second.
    assert any(" 4.00x ok  memory 0.40 ok  MFU 90.0% ok" in line for line in lines)
    assert "d haloes: out of memory" in lines
    others = table([ours, Found(side="TRL", case="c", seconds=[1.0], tokens=[90], peak_gib=1.0)], peak=1e3)
    assert "not comparable" in others


def test_a_dry_run_leaves_a_table_and_every_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    # The processes of the sides, which take their time to start, are played by their findings.
    started: list[str] = []

    def play(command: list[str], **given: object) -> subprocess.CompletedProcess[str]:
        started.append(command[2])
        assert "timeout" in given
        for case in json.loads(command[3])["cases"]:
            name = Case(**case).name
            noted(
                Path(command[4]),
                Case(**case),
                "haloes",
                lambda name=name: Found(side="haloes", case=name, seconds=[1.0], tokens=[10], needed=[1.0]),
            )
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(run_module.subprocess, "run", play)
    monkeypatch.setattr(run_module, "is_installed", lambda module: module != "trl")

    main(["--dry-run", "--out", str(tmp_path)])

    assert started == ["benchmarks.gpu.ours", "benchmarks.gpu.ours", "benchmarks.gpu.features"]
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["dry run"] is True
    assert len(written["findings"]) == len(DRY_CASES) + 1
    assert (tmp_path / "results.txt").read_text() in capsys.readouterr().out + "\n"


def test_a_side_that_takes_too_long_is_ended_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def hang(command: list[str], *, timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(run_module.subprocess, "run", hang)

    with pytest.raises(SystemExit, match="nothing was measured"):
        main(["--dry-run", "--out", str(tmp_path)])

    assert json.loads((tmp_path / "results.json").read_text())["findings"] == []


def shell(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "benchmarks" / "gpu.sh"), *arguments],
        env={**os.environ, "PYTHON": sys.executable, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_script_says_what_can_be_done(tmp_path: Path):
    done = shell(WHEELS=str(tmp_path / "none"))

    assert done.returncode != 0
    assert "no GPU is visible to torch; try --dry-run" in done.stderr
