"""What holds for all tests: no verdict follows from how fast this processor is."""

from collections.abc import Iterator

import pytest

from haloes.models import dtype


@pytest.fixture(scope="session", autouse=True)
def _float32_is_as_fast() -> Iterator[None]:
    """ "auto" means float32 here: which dtype is faster is found out by timing, and differs between processors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dtype, "bfloat16_is_faster", lambda _: False)
        yield
