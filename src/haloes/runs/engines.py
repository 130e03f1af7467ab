"""Engines that answer prompts, by what a user says of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError
from haloes.models.device import choose_device, choose_dtype
from haloes.models.load import load_model, load_tokenizer
from haloes.remote.client import Endpoint
from haloes.run_files import MODEL, is_trained_run
from haloes.runs import run_folder
from haloes.sampling._contract import Engine, EngineName
from haloes.sampling.http import HttpEngine
from haloes.sampling.transformers_engine import TransformersEngine
from haloes.sampling.vllm_engine import VLLMEngine
from haloes.tokens.chat_template import with_template_kwargs


def make_engine(
    model: str,
    *,
    engine: EngineName = "transformers",
    name: str | None = None,
    batch_size: int = 64,
    dtype: str = "auto",
    device: str = "auto",
    base_url: str | None = None,
    key_env: str | None = None,
    concurrency: int = 4,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> Engine:
    """
    Make an engine that answers with a model.

    Args:
        model: a folder (a run's own counts as its trained model), an adapter, a name on the hub, a .gguf file,
            "embedded"; or a name on a server.
        engine: "transformers" in this process, "vllm", or "http" for an OpenAI-compatible server.
        name: what to call the model in the records; its own name if left out.
        batch_size: answers at once (transformers).
        dtype: what it computes in (transformers); "auto" is a run's own for a run's folder, else the faster one here.
        device: where (transformers).
        base_url: address of the server (http).
        key_env: the NAME of the environment variable that holds the server's key (http).
        concurrency: requests at once (http).
        chat_template_kwargs: values of the chat template's variables; a server is asked to take them.

    Raises:
        ConfigError: what is given does not fit together.
        ModelError: the model cannot be loaded.
    """
    if engine == "http":
        if base_url is None:
            raise ConfigError(
                "sample.base_url is missing: --engine http asks a server, such as http://localhost:8000/v1"
            )
        return HttpEngine(model, Endpoint(base_url=base_url, key_env=key_env), concurrency, chat_template_kwargs)
    if base_url is not None or key_env is not None:
        raise ConfigError(f"sample.base_url and sample.key_env are for --engine http, and the engine is {engine}")
    if engine == "vllm":
        path, _ = _place(model, dtype)
        tokenizer = with_template_kwargs(load_tokenizer(path), chat_template_kwargs)
        return VLLMEngine(path, tokenizer, name or model, chat_template_kwargs=chat_template_kwargs)
    return make_transformers_engine(
        model, name=name, batch_size=batch_size, dtype=dtype, device=device, chat_template_kwargs=chat_template_kwargs
    )


def make_transformers_engine(
    model: str,
    *,
    name: str | None = None,
    batch_size: int = 64,
    dtype: str = "auto",
    device: str = "auto",
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> TransformersEngine:
    """Load a model into this process; arguments and errors are those of `make_engine`."""
    path, dtype = _place(model, dtype)
    where = choose_device(device)
    loaded = load_model(path, dtype=choose_dtype(dtype, where), device=where)
    tokenizer = with_template_kwargs(loaded.tokenizer, chat_template_kwargs)
    return TransformersEngine(
        loaded.model, tokenizer, name or model, batch_size, place=path, chat_template_kwargs=chat_template_kwargs
    )


def _place(model: str, dtype: str) -> tuple[str, str]:
    """Return where a model lies, and its dtype: a run stands for its trained model, in the dtype of its training."""
    if not is_trained_run(Path(model)):
        return model, dtype
    return str(Path(model) / MODEL), run_folder.read_config(Path(model)).model.dtype if dtype == "auto" else dtype
