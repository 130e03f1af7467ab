"""A run is resumed by the same run only, as far as the earlier one said what it was."""

import pytest

from haloes.errors import RunError
from haloes.training.identity import refuse_changes


def test_what_changed_is_named():
    earlier = {"data": "1", "tokenizer": "2", "configuration": "3"}
    message = (
        "^run was started with another data and configuration; restore the original, start a new run, "
        "or go on with the changed one all the same: --allow-changes$"
    )

    with pytest.raises(RunError, match=message):
        refuse_changes(earlier, earlier | {"data": "x", "configuration": "x"}, was="run was started with")


def test_what_an_older_haloes_did_not_hash_refuses_nothing():
    earlier = {"data": "1"}
    refuse_changes(earlier, {"data": "1", "reference model": "2"}, was="run was started with")

    with pytest.raises(RunError, match="another data;"):
        refuse_changes(earlier, {"data": "x", "reference model": "2"}, was="run was started with")
