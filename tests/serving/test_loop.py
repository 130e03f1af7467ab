"""The store read as feedback: what was voted through the server is what training gets."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

import haloes
from haloes.collected import is_collected
from haloes.errors import DataError
from haloes.feedback.read import FeedbackSource
from haloes.records import Feedback, Pair
from haloes.serving.records import Preference, Rating
from haloes.serving.store import Store
from haloes.serving.writes import NewComparison, add_answers, add_comparison, add_preference, add_rating
from store_answers import answer


def write(store: Store, work: Any) -> Any:
    return store.write(work).result(20)


def collected(path: Path, num_rated: int = 12) -> Path:
    """A store with thumbs and one comparison."""
    with Store(path) as store:
        for i in range(num_rated):
            one = answer(f"h{i}", f"{'yes' if i % 2 else 'no'} {i}")
            write(store, lambda c, one=one: add_answers(c, [one]))
            vote = Rating(completion_id=f"h{i}", rating=1 if i % 2 else -1)
            write(store, lambda c, vote=vote: add_rating(c, vote))
        both = [answer("l", "left", model="before"), answer("r", "right")]
        left, right = write(store, lambda c: add_answers(c, both))
        new = NewComparison(prompt_id="p", candidate="after", baseline="before", left=left, right=right)
        name = write(store, lambda c: add_comparison(c, new))
        write(store, lambda c: add_preference(c, Preference(comparison_id=name, verdict="right")))
    return path


def test_thumbs_are_labels_and_comparisons_pairs(tmp_path: Path):
    rows = list(FeedbackSource(str(collected(tmp_path / "collected.db"))))

    assert [row.label for row in rows if isinstance(row, Feedback)] == [bool(i % 2) for i in range(12)]
    (pair,) = [row for row in rows if isinstance(row, Pair)]
    assert (pair.chosen[0].content, pair.chosen_model, pair.rejected_model) == ("right", "after", "before")  # type: ignore[union-attr]


def test_a_store_is_read_while_it_is_written(tmp_path: Path):
    path = collected(tmp_path / "collected.db")
    source = FeedbackSource(str(path))
    before = source.fingerprint()
    with Store(path) as store:
        assert FeedbackSource(str(path)).fingerprint() == before
        write(store, lambda c: add_rating(c, Rating(completion_id="h0", rating=1)))

        assert len(list(FeedbackSource(str(path)))) == 14
        assert FeedbackSource(str(path)).fingerprint() != before


def test_the_doctor_and_convert_take_a_store(tmp_path: Path):
    path = collected(tmp_path / "collected.db")

    assert haloes.convert(path, tmp_path / "rows.jsonl", progress=None).num_written == 14
    assert haloes.doctor(path, progress=None)


def test_another_programs_database_is_refused(tmp_path: Path):
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE votes (id)")
    connection.close()

    with pytest.raises(DataError, match="SQLite database, and not the one"):
        FeedbackSource(str(tmp_path / "other.db"))


def test_a_store_whose_tables_are_something_else_runs_nothing(tmp_path: Path):
    path = collected(tmp_path / "collected.db")
    connection = sqlite3.connect(path)
    connection.executescript("DROP TABLE votes; CREATE VIEW votes AS SELECT 1 AS id")
    connection.close()

    assert is_collected(path)
    with pytest.raises(DataError, match="no store of `haloes serve`"):
        FeedbackSource(str(path))


def test_a_damaged_store_is_an_error_with_its_name(tmp_path: Path):
    path = collected(tmp_path / "collected.db")
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    path.write_bytes(raw)

    with pytest.raises(DataError, match=r"collected\.db"):
        list(FeedbackSource(str(path)))
