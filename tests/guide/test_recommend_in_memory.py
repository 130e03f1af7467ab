"""What is recommended for rows in memory: the same as for a file, and a call in place of a command."""

import haloes
from tiny_runs import thumbs


def test_a_loss_is_recommended_for_rows_in_memory_with_the_call_to_make():
    found = haloes.losses.recommend([{**row, "thumb": row.pop("label")} for row in thumbs()], columns="label=thumb")

    assert found.command == "haloes.train(feedback, loss='kto', columns={'label': 'thumb'})"


def test_scores_in_memory_keep_their_rule_in_the_call():
    rows = [{"prompt": f"Is {i} it?", "completion": f"yes {j}", "score": j} for i in range(8) for j in range(5)]
    command = haloes.losses.recommend(rows).command

    assert command.startswith("haloes.train(feedback, loss=")
    assert "settings={'feedback': {'labels_from': {'rule': " in command
