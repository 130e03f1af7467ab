"""The list of answers: what a search finds, and what remains of it for a rating, a model and a page."""

from collections.abc import Iterator
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from haloes.serving.queries import Listing, listed
from haloes.serving.records import Rating
from haloes.serving.store import Store
from haloes.serving.writes import add_answers, add_rating
from store_answers import answer

SAID = ["Red apples", "green apples, red leaves", "blue sky", "appointed REDACTED", "rød grøt", "42 apples"]
MODELS = ["after", "before"]
RATINGS = [None, 1, -1]
ALL = [f"{model} {words} {rating}" for model, words, rating in product(MODELS, SAID, RATINGS)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("listing") / "collected.db") as opened:
        for model, words, rating in product(MODELS, SAID, RATINGS):
            name = f"{model} {words} {rating}"
            turns = [{"role": "user", "content": "?"}]
            one = answer(name, words, model=model, messages=turns)
            opened.write(lambda c, one=one: add_answers(c, [one])).result(20)
            if rating is not None:
                vote = Rating(completion_id=name, rating=rating)
                opened.write(lambda c, vote=vote: add_rating(c, vote)).result(20)
        yield opened


def found(store: Store, **wanted: object) -> list[str]:
    return [each["completion_id"] for each in store.read(lambda c: listed(c, Listing(**wanted)))["answers"]]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("search", "words"),
    [
        ("", SAID),
        ("  ", SAID),
        ("apples", ["Red apples", "green apples, red leaves", "42 apples"]),
        ("APPLES red", ["Red apples", "green apples, red leaves"]),
        ("app", ["Red apples", "green apples, red leaves", "appointed REDACTED", "42 apples"]),
        ("red", ["Red apples", "green apples, red leaves", "appointed REDACTED"]),
        ("red apples", ["Red apples", "green apples, red leaves"]),
        ("app red leaves", []),
        ("42", ["42 apples"]),
        ("4", []),
        ("grøt", ["rød grøt"]),
        ("nobody", []),
        ("?!", []),
        ('"', []),
        ('blue" OR "red', []),
        ("answer:apples", []),
        ("NOT apples", []),
    ],
)
def test_a_search_finds_all_its_words_the_last_perhaps_a_beginning(store: Store, search: str, words: list[str]):
    for rating, model in product([None, 1, -1, 0], [None, *MODELS, "nobody"]):
        expected = [
            f"{by} {said} {vote}"
            for by, said, vote in product(MODELS, SAID, RATINGS)
            if said in words and model in (None, by) and rating in (None, vote or 0)
        ]
        assert found(store, search=search, rating=rating, model=model) == expected[::-1]


@pytest.mark.parametrize("search", ["", "apples"])
def test_pages_follow_each_other_to_the_end(store: Store, search: str):
    whole, pages, before = found(store, search=search), list[str](), None
    while True:
        page = store.read(lambda c, b=before: listed(c, Listing(search=search, before=b, limit=4)))
        pages += [each["completion_id"] for each in page["answers"]]
        before = page["next"]
        if before is None:
            break
    assert pages == whole


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40))
def test_no_search_is_an_error(store: Store, search: str):
    assert set(found(store, search=search)) <= set(ALL)
