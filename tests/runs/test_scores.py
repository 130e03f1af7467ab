"""Losses that learn from scores get them from the feedback, and a number for answers that have none."""

from pathlib import Path
from typing import Any

import pytest

from fakes import byte_tokenizer
from haloes.errors import DataError
from haloes.losses.dro import DRO
from haloes.losses.kto import KTO
from haloes.losses.una_score import UNAScore
from haloes.progress.contract import NullProgress
from haloes.runs.config import FeedbackSettings
from haloes.runs.data import encode_feedback
from haloes.tokens.encode import make_encoder
from haloes.tokens.store import TokenStore
from tiny_runs import write_rows


def stored(tmp_path: Path, loss: Any, *rows: dict[str, Any], **settings: Any) -> TokenStore:
    tmp_path.mkdir(exist_ok=True)
    whole = [{"prompt": f"p{i}", "completion": "c", **row} for i, row in enumerate(rows)]
    path = write_rows(tmp_path / "rows.jsonl", whole)
    return encode_feedback(
        FeedbackSettings(source=str(path), validation_share=0.0, **settings),
        needs=loss.needs,
        encoder=make_encoder(byte_tokenizer(), max_length=128),
        folder=tmp_path / "data",
        num_prompts=0,
        progress=NullProgress(),
    ).train


def test_a_score_is_kept_and_a_label_alone_counts_as_the_end_of_the_range(tmp_path: Path):
    rows = ({"score": 0.25, "label": True}, {"label": True}, {"label": False})

    assert stored(tmp_path / "a", UNAScore(), *rows).score.tolist() == [0.25, 1.0, 0.0]
    assert stored(tmp_path / "b", DRO(), *rows).score.tolist() == [0.25, 1.0, -1.0]


def test_rows_with_a_score_and_no_label_are_told_apart_at_the_middle_of_the_range(tmp_path: Path):
    rows = ({"score": 0.75}, {"score": 0.25}, {"score": -0.25})

    assert stored(tmp_path / "a", DRO(), *rows).desirable.tolist() == [True, True, False]
    assert stored(tmp_path / "b", UNAScore(), *rows[:2]).desirable.tolist() == [True, False]


def test_a_score_out_of_the_losss_range_is_refused_by_its_line(tmp_path: Path):
    rows = ({"score": 0.5}, {"score": 4.0}, {"score": 0.1})

    with pytest.raises(DataError, match=r"rows.jsonl:2: the loss wants scores between 0 and 1, and this one is 4"):
        stored(tmp_path / "a", UNAScore(), *rows)
    assert stored(tmp_path / "b", UNAScore(), *rows, skip_refused=True).score.tolist() == pytest.approx([0.5, 0.1])
    assert stored(tmp_path / "c", DRO(), *rows).score.tolist() == pytest.approx([0.5, 4.0, 0.1])


def test_other_losses_do_not_look_at_scores(tmp_path: Path):
    with pytest.raises(DataError, match="has a score and no label; say how to make one"):
        stored(tmp_path / "a", KTO(), {"score": 0.5})
    plain = stored(tmp_path / "b", KTO(), {"label": True}, {"label": False})
    scored = stored(tmp_path / "c", KTO(), {"label": True, "score": 9.0}, {"label": False, "score": 3.0})

    assert plain.fingerprint == scored.fingerprint
