"""From what a model wrote to a program: lm-eval's `build_predictions` and `build_predictions_instruct` of HumanEval."""

_FENCE = "```"


def program_of(prompt: str, reply: str, *, fenced: bool) -> str:
    """The prompt's function with the reply as its body; of a reply in a fenced block, what stands before its end."""
    return prompt + (reply.partition(_FENCE)[0] if fenced else reply)
