"""Models and tokenizers by name: a folder, a name on the hub, a GGUF file, or the embedded model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haloes.errors import ModelError
from haloes.models import gguf
from haloes.models.kind import is_classifier
from haloes.models.liger import apply_liger
from haloes.models.load_fault import load_fault
from haloes.models.quantize import keep_differentiable, quantization
from haloes.models.quiet import quiet
from haloes.models.trained_adapter import check_is_loadable, merged
from haloes.models.untrusted_folder import read_object

if TYPE_CHECKING:
    import torch
from haloes.models.locate import Location, Source, base_name, is_adapter, locate

GENERATION = "generation_config.json"
"""Settings of generation: what ends an answer, among others."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A causal language model that is ready to score and sample, and its tokenizer."""

    model: Any
    """A transformers `PreTrainedModel` in eval mode; its dropout rates are those of its config."""
    tokenizer: Any
    """A transformers tokenizer."""
    name: str
    """As it was asked for, or of a run its model's folder; also the model's `name_or_path`, so that an adapter trained
    on it names its base."""
    source: Source


def load_model(
    name: str,
    *,
    dtype: "torch.dtype",
    device: "torch.device | str",
    four_bits: bool = False,
    liger: bool = False,
    in_files: bool = False,
) -> LoadedModel:
    """
    Load a model and its tokenizer. Nothing is printed.

    An adapter folder (peft) is merged into its base: what comes back is one model, whose weights before training are
    the reference. The merge happens in float32, before the cast to `dtype`.

    Args:
        name: a folder in the layout of transformers, a folder with a peft adapter, a run's folder (its trained model),
            `owner/model` on the hub, the path of a `.gguf` file, or "embedded" (SmolLM2-135M-Instruct). A folder called
            `embedded` is `./embedded`.
        dtype: what the weights are cast to.
        device: where they go.
        four_bits: keep the linear layers in four bits (`models.quantize`); they can then not be trained.
        liger: take Liger's layer kernels (`models.liger`).
        in_files: leave the weights in their files (`models.unread_weights`); only where `because_whole` is None.

    Raises:
        ModelError: it is not there, holds pickled weights only, lacks weights, needs code of its own, or its tokenizer
            knows more tokens than the model.
    """
    location = locate(name, weights=True)
    tokenizer = _tokenizer(location)
    if four_bits and is_adapter(location):
        raise ModelError(
            f"{name}: an adapter is merged into its base before training, which cannot be done in four bits; merge it "
            "first (haloes export RUN FOLDER, or peft's merge_and_unload) and train the merged folder"
        )
    in_four_bits = {"quantization_config": quantization(dtype), "device_map": {"": device}} if four_bits else {}
    if in_files:
        from haloes.models.unread_weights import model_in_files

        model = model_in_files(location, _folder(location), dtype)
    else:
        model = _merged(location, dtype) if is_adapter(location) else _plain(location, dtype, **in_four_bits)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ModelError(
            f"{name}: the tokenizer knows {len(tokenizer)} tokens and the model {rows}; "
            "they do not belong together. Use the tokenizer that was saved with the model."
        )
    model.config.name_or_path = location.name
    model.name_or_path = location.name
    model = (model if four_bits else model.to(device)).eval()
    if four_bits:
        keep_differentiable(model)
    if liger:
        apply_liger(model)
    return LoadedModel(model, tokenizer, location.name, location.source)


def empty_model(name: str) -> Any:
    """
    Return the architecture that `load_model` would fill for `name`; its tensors have shapes only ("meta").

    Raises:
        ModelError: as `load_model`.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    location = locate(name, weights=False)
    if is_adapter(location):
        return empty_model(base_name(location))
    folder = _folder(location)
    try:
        with quiet(), torch.device("meta"):
            config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
            return AutoModelForCausalLM.from_config(config, trust_remote_code=False).eval()
    except Exception as error:
        raise load_fault(location, "model", error) from error


def because_whole(name: str, dtype: "torch.dtype") -> str | None:
    """
    Return why a model's weights cannot be read row by row (`models.unread_weights`); None where they can.

    Raises:
        ModelError: as `load_model`.
    """
    from haloes.models.unread_weights import why_whole

    location = locate(name, weights=True)
    if is_adapter(location):
        return "an adapter is merged into its base"
    folder = _folder(location)
    return "it is a classifier" if is_classifier(folder) else why_whole(location, folder, dtype)


def saved_dtype(name: str) -> "torch.dtype | None":
    """
    Return the dtype in which a model's weights were saved, an adapter's base's; None where its config does not say.

    A GGUF file has no such dtype: its weights are of many kinds.

    Raises:
        ModelError: the name leads nowhere.
    """
    import torch

    location = locate(name, weights=False)
    if location.is_gguf:
        return None
    if is_adapter(location):
        return saved_dtype(base_name(location))
    if not (location.path / "config.json").is_file():
        return None
    config = read_object(location.path / "config.json")
    text = config.get("text_config")
    parts = [part for part in (config, text) if isinstance(part, dict)]
    # transformers 4 calls it torch_dtype.
    names = (part.get(key) for part in parts for key in ("dtype", "torch_dtype"))
    found = next((name for name in names if isinstance(name, str)), "")
    dtype = getattr(torch, found.removeprefix("torch."), None) if found else None
    return dtype if isinstance(dtype, torch.dtype) and dtype.is_floating_point else None


def load_tokenizer(name: str) -> Any:
    """
    Return the tokenizer that `load_model` would return for `name`, without the weights.

    Raises:
        ModelError: as `load_model`.
    """
    return _tokenizer(locate(name, weights=False))


def _tokenizer(location: Location) -> Any:
    from transformers import AutoTokenizer

    folder = gguf.tokenizer_folder(location.path) if location.is_gguf else location.path
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        if is_adapter(location):
            return load_tokenizer(base_name(location))
        raise ModelError(f"{location.name}: no tokenizer in {folder} (looked for {', '.join(TOKENIZER_FILES)})")
    try:
        with quiet():
            return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except Exception as error:
        raise load_fault(location, "tokenizer", error) from error


def _folder(location: Location) -> Path:
    """Return where a model's weights are in the layout of transformers."""
    return gguf.model_folder(location.path) if location.is_gguf else location.path


def _plain(location: Location, dtype: "torch.dtype", **how: Any) -> Any:
    from transformers import AutoModelForCausalLM

    folder = _folder(location)
    _require_safetensors(location, folder)
    if is_classifier(folder):
        raise ModelError(
            f"{location.name}: this is a reward model (a sequence classifier), which scores answers and gives none; "
            "name a language model, and take this one as a judge: haloes judge ANSWERS --judge reward --model FOLDER"
        )
    try:
        with quiet():
            model, report = AutoModelForCausalLM.from_pretrained(
                str(folder), dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **how
            )
    except Exception as error:
        raise load_fault(location, "model", error) from error
    # transformers fills such weights with random numbers and prints a warning, which is held back here.
    for fault in ("missing_keys", "mismatched_keys"):
        if report[fault]:
            some = ", ".join(sorted(str(key) for key in report[fault])[:3])
            raise ModelError(
                f"{location.name}: the weights in {folder} do not fill the model ({fault.replace('_', ' ')}: "
                f"{len(report[fault])}, such as {some}). Is it a complete causal language model?"
            )
    return model


def _merged(location: Location, dtype: "torch.dtype") -> Any:
    """Return the adapter's base with the adapter merged into its weights, in this dtype."""
    import torch
    from transformers import GenerationConfig

    check_is_loadable(location)
    # The sum of base and adapter in float32, and one rounding at the end.
    model = merged(location, load_model(base_name(location), dtype=torch.float32, device="cpu").model)
    if (location.path / GENERATION).is_file():  # where a run wrote what ends an answer
        model.generation_config = GenerationConfig.from_pretrained(str(location.path))
    return model.to(dtype)


def _require_safetensors(location: Location, folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        raise ModelError(
            f"{location.name}: {folder} holds pickled weights only. They are not loaded, because opening them can run "
            "any code; load them where you trust them and save them with model.save_pretrained(), which writes "
            "safetensors."
        )
    raise ModelError(f"{location.name}: no weights in {folder}; a model folder holds config.json and *.safetensors")
