"""A policy with its reward head as a sequence classifier of transformers, which any tool of the field loads."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from haloes.errors import ModelError
from haloes.models.forward import Scorer, head_of
from haloes.models.layout import make_packed
from haloes.models.quiet import quiet

_TOLERANCE = 2e-3
"""Up to which the classifier's own score may differ from ours in float32, as a part of it; in other dtypes `_ROUGH`."""
_ROUGH = 0.1
PAD = "<|pad|>"
"""The padding that is added to a tokenizer all of whose marks may end a text."""


def check_classifier(scorer: Scorer) -> None:
    """
    Make sure that transformers has a sequence classifier of this architecture which scores as we do.

    It is tried on a few random tokens and a random head, so that a surprise comes before the training.

    Raises:
        ModelError: there is none, or its scores are others.
    """
    model = scorer.model
    generator = torch.Generator().manual_seed(0)
    vocabulary, width = head_of(model).weight_VH.shape
    weight_1H = torch.randn(1, width, generator=generator).to(model.device)
    ids = torch.randint(0, vocabulary, (24,), generator=generator, dtype=torch.int32).numpy()
    packed = make_packed([(ids[:9], ids[9:], ids[9:] >= 0)], model.device, last=True)
    classifier = as_classifier(model, weight_1H)
    try:
        with torch.no_grad():
            ours = scorer.states(packed)[packed.last_B].float() @ weight_1H.T
            own = classifier(input_ids=packed.ids_T[None], use_cache=False).logits.float()
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise _unsuited(model, f"its sequence classifier cannot be called ({error})") from error
    apart = float((ours - own).abs().max()) / max(float(own.abs().max()), 1.0)
    if not apart <= (_TOLERANCE if model.dtype == torch.float32 else _ROUGH):
        raise _unsuited(model, f"its sequence classifier scores otherwise (by {apart:.2g} of the score)")


def as_classifier(model: Any, weight_1H: Tensor) -> Any:
    """
    Put a sequence classifier of one output around a causal language model's own layers; nothing is copied.

    Args:
        model: the causal language model, without adapters.
        weight_1H: weights of the reward head, (1, H).

    Returns:
        A classifier that knows no padding, and takes one text at a time.

    Raises:
        ModelError: transformers has no classifier of this architecture, or one of another build.
    """
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(model.config)
    config.num_labels = 1
    _set_padding(config, None)
    try:
        # On "meta" no weights are allocated: its layers are replaced by the model's own right below.
        with quiet(), torch.device("meta"):
            classifier = AutoModelForSequenceClassification.from_config(config, dtype=model.dtype)
    except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        raise _unsuited(model, "transformers has no sequence classifier of this architecture") from error
    # A score from anything else than one linear map of the last token's hidden state is not what was trained.
    own = {name: parameter.shape for name, parameter in _around(classifier)}
    if classifier.base_model_prefix != model.base_model_prefix or own != {"score.weight": weight_1H.shape}:
        raise _unsuited(model, f"{type(classifier).__name__} reads its score otherwise than from the last token")
    setattr(classifier, classifier.base_model_prefix, getattr(model, model.base_model_prefix))
    classifier.score.weight = torch.nn.Parameter(weight_1H.detach().to(model.dtype), requires_grad=False)
    if any(parameter.is_meta for parameter in classifier.parameters()):
        raise _unsuited(model, f"{type(classifier).__name__} has weights that the language model has not")
    return classifier.eval()


def _set_padding(config: Any, token_id: int | None) -> None:
    config.get_text_config().pad_token_id = token_id
    config.pad_token_id = token_id


def _around(classifier: Any) -> list[tuple[str, Any]]:
    """Return a classifier's weights outside the model's own layers, by name."""
    inside = f"{classifier.base_model_prefix}."
    return [(name, p) for name, p in classifier.named_parameters() if not name.startswith(inside)]


def padding_token(tokenizer: Any, ends: str) -> str | None:
    """
    Return a mark of the tokenizer that no text ends with, so that the end before padding is seen; None without one.

    Args:
        tokenizer: whose marks are looked at; its own padding token comes first, and that of a beginning last.
        ends: the text of the mark that ends an answer.
    """
    last = {tokenizer.eos_token, ends}
    added = [str(token) for _, token in sorted(tokenizer.added_tokens_decoder.items()) if token.special]
    marks = [mark for mark in [*added, *tokenizer.all_special_tokens] if mark != tokenizer.bos_token]
    wanted = [mark for mark in (tokenizer.pad_token, *marks, tokenizer.bos_token) if mark and mark not in last]
    return wanted[0] if wanted else None


def save_classifier(model: Any, weight_1H: Tensor, tokenizer: Any, folder: Path, *, ends: str) -> None:
    """
    Write a classifier and its tokenizer as a plain folder of transformers.

    Its padding is a mark that no text ends with: where the end of a turn doubles as padding, as it often does, the
    classifiers of transformers would read the token before the end. Texts are padded on the right, which suits models
    with absolute positions too.

    Args:
        model: the causal language model, without adapters; an added padding mark gives its embedding a row more.
        weight_1H: weights of the reward head, (1, H).
        tokenizer: it is changed in place.
        folder: takes all files.
        ends: the text of the mark that ends an answer.
    """
    mark = padding_token(tokenizer, ends)
    if mark is None:
        tokenizer.add_special_tokens({"pad_token": PAD})
    else:
        tokenizer.pad_token = mark
    tokenizer.padding_side = "right"
    classifier = as_classifier(model, weight_1H)
    rows = classifier.get_input_embeddings().weight.shape[0]
    with quiet():
        if len(tokenizer) > rows:
            classifier.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        _set_padding(classifier.config, int(tokenizer.pad_token_id))
        classifier.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _unsuited(model: Any, why: str) -> ModelError:
    return ModelError(
        f"{type(model).__name__} cannot become a reward model: {why}; take a model of another architecture, such as "
        "Llama, Qwen, Mistral or Gemma"
    )
