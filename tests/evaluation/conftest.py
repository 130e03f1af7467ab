"""A cache of their own for the tests of this room."""

import pytest


@pytest.fixture(autouse=True)
def _own_cache(own_cache: None) -> None:
    pass
