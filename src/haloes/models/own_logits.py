"""What a model itself says of a sequence that goes through it alone: the yardstick of packing, padding and sampling."""

from typing import Any

import torch
from torch import Tensor

from haloes.models.architecture import compute_dtype_of, forget_lengths

FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What models raise that are called in a way which their architecture does not know."""


def own_distributions(model: Any, ids_T: Tensor) -> Tensor:
    """Return log p of every token after each of these, (T, V) in float32, from the model's own logits."""
    forget_lengths(model)
    with torch.no_grad():
        logits_TV = model(input_ids=ids_T[None], use_cache=False).logits[0].float()
    forget_lengths(model)
    return torch.log_softmax(logits_TV, dim=-1)


def text_ids(model: Any) -> Tensor:
    """Return the ids that stand for text, int32: those that stand for an image or a sound have to come with one."""
    fields = vars(model.config)
    marks = [value for name, value in fields.items() if name.endswith(("token_id", "token_index"))]
    ids = torch.arange(model.get_output_embeddings().weight.shape[0], dtype=torch.int32)
    text = ids[~torch.isin(ids, torch.tensor([m for m in marks if isinstance(m, int)], dtype=torch.int32))]
    # A vocabulary of marks alone knows nothing else.
    return text if len(text) > 1 else ids


def tolerance(model: Any) -> float:
    """Return the nats that rounding explains; random tokens with their low log-probabilities magnify it."""
    return 2e-3 if compute_dtype_of(model) == torch.float32 else 0.75


def brief(error: Exception) -> str:
    """Return an error's kind and text in one line of bounded length."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
