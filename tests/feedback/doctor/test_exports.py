"""Advice on exports of tools that log and rate."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import haloes
from haloes.feedback.importers.contract import Importer, Rated
from haloes.feedback.importers.rules import each_row
from haloes.feedback.importers.table import IMPORTERS
from haloes.feedback.importers.values import as_id, as_text
from haloes.records import Message, Where


def votes(row: dict[str, Any], where: Where) -> Iterator[Rated]:
    yield Rated(
        where=where,
        label=row["up"],
        metric=as_text(row["toy_metric"]),
        messages=(Message("user", f"q{row['n']}"),),
        completion=(Message("assistant", f"a{row['n']}"),),
        answer=as_id(row["n"]),
    )


TOY = Importer(
    name="toy",
    product="Toy",
    files="a file",
    how="Click.",
    votes="up and down",
    recognise=lambda export: "Toy export" if export.with_columns("toy_metric") else None,
    read=lambda export: each_row(export.rows(), votes),
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setitem(IMPORTERS, "toy", TOY)
    rows = [{"toy_metric": ("tone", "tone", "truth")[n % 3], "up": n % 2 == 0, "n": n} for n in range(12)]
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "f.jsonl")


def test_verdicts_on_several_things_are_told_with_how_to_choose_one(toy: str):
    found = {advice.name: advice for advice in haloes.doctor(toy, progress=None).advice}
    assert found["several metrics"].finding == "the verdicts are on 2 different things: 'tone' (8), 'truth' (4)"
    assert found["several metrics"].action == "choose one: --set feedback.metric=tone"
    chosen = haloes.doctor(toy, settings={"feedback": {"metric": "tone"}}, progress=None)
    assert "several metrics" not in {advice.name for advice in chosen.advice}
    assert chosen.findings.num_accepted == 8
    assert chosen.findings.refusals["other metric"].num == 4
    assert "no system prompt" not in {advice.name for advice in chosen.advice}
