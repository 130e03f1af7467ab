"""A row or more of every format, with the format's name."""

from typing import Any

USER = {"role": "user", "content": "q"}
GOOD = {"role": "assistant", "content": "a"}
BAD = {"role": "assistant", "content": "b"}
HH = "\n\nHuman: q\n\nAssistant: "

EXAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("unpaired", {"prompt": "q", "completion": "a", "label": True}),
    ("unpaired", {"prompt": [USER], "completion": [GOOD], "score": 0.5}),
    ("paired", {"prompt": "q", "chosen": "a", "rejected": "b"}),
    ("paired", {"chosen": [USER, GOOD], "rejected": [USER, BAD]}),
    # A well-known set holds all of these: the pair says the most.
    (
        "paired",
        {"prompt": "q", "messages": [USER, GOOD], "chosen": [USER, GOOD], "rejected": [USER, BAD], "score_chosen": 5},
    ),
    ("paired", {"prompt": "q", "completion": "a", "label": True, "chosen": "a", "rejected": "b"}),
    ("hh", {"chosen": f"{HH}a", "rejected": f"{HH}b"}),
    ("hh", {"prompt": HH, "response": "a", "chosen": "a", "rejected": "b"}),
    ("messages", {"messages": [USER, GOOD], "label": True}),
    ("messages", {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "kto_tag": True}),
    ("rated-turns", {"messages": [USER, GOOD | {"label": True}, USER, GOOD]}),
    ("ms-swift-pairs", {"messages": [USER, GOOD], "rejected_response": "b"}),
    ("llamafactory-dpo", {"conversations": [USER], "chosen": GOOD, "rejected": BAD}),
    ("alpaca", {"instruction": "q", "input": "", "output": "a", "kto_tag": True}),
    ("alpaca", {"instruction": "q", "chosen": "a", "rejected": "b"}),
    ("comparison", {"prompt": "q", "a": "x", "b": "y", "preference": "A", "completion": "x", "label": True}),
    ("arena", {"prompt": "q", "response_a": "x", "response_b": "y", "winner": "model_a"}),
    ("arena", {"conversation_a": [USER, GOOD], "conversation_b": [USER, BAD], "winner": "tie"}),
    ("openai", {"input": {"messages": [USER]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]}),
]
