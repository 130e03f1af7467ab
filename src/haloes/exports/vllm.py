"""`--to vllm`: the adapter where vLLM can put it on its base by itself, else the merged folder; and how to serve it."""

import shlex
import shutil
from typing import Any

from haloes.exports.request import Exported, Request
from haloes.models.embedded import EMBEDDED_NAMES
from haloes.models.untrusted_folder import read_object
from haloes.progress.contract import Progress
from haloes.runs.export import export_model, merge_note
from haloes.runs.new_folder import new_folder

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that vLLM takes as --max-lora-rank."""


def export_to_vllm(request: Request, progress: Progress) -> Exported:
    """Write an adapter or a merged folder, and say with which command vLLM serves it."""
    config = read_object(request.model / "adapter_config.json") if _has_adapter(request) else None
    reason = "the run trained the whole model" if config is None else why_merged(config)
    name = shlex.quote(request.name)
    if config is None or reason is not None:
        progress.stage("merging the adapter into its model")
        export_model(request.run_dir, request.out, dtype=request.dtype)
        line = f"vllm serve {shlex.quote(str(request.out))} --served-model-name {name}"
        notes = [note for note in (merge_note(request.run_dir), f"It is a merged folder: {reason}.") if note]
        return Exported(str(request.out), (line, *notes))
    progress.stage("copying the adapter")
    with new_folder(request.out) as partial:
        shutil.copytree(request.model, partial, dirs_exist_ok=True)
    base = str(config["base_model_name_or_path"])
    parts = [
        f"vllm serve {shlex.quote(base)} --enable-lora --max-lora-rank {served_rank(int(config['r']))}",
        f"--lora-modules {name}={shlex.quote(str(request.out))}",
    ]
    # The run may have changed the template (a control text, fixed variables), and requests use that of the server.
    template = request.out / "chat_template.jinja"
    if template.is_file():
        parts.append(f"--chat-template {shlex.quote(str(template))}")
    return Exported(str(request.out), (" ".join(parts), f"Requests name the model {request.name}."))


def why_merged(config: dict[str, Any]) -> str | None:
    """Return why vLLM cannot serve an adapter beside its base; None where it can."""
    base, rank = str(config.get("base_model_name_or_path") or ""), config.get("r")
    if base.lower() in EMBEDDED_NAMES or base.lower().endswith(".gguf"):
        return f"the adapter's base is {base}, which vLLM does not load"
    if not isinstance(rank, int) or not 1 <= rank <= RANKS[-1]:
        return f"the adapter's rank is {rank}, and vLLM takes up to {RANKS[-1]}"
    for key, what in (
        ("use_dora", "is of DoRA's kind"),
        ("modules_to_save", "brings whole layers along"),
        ("trainable_token_indices", "brings token embeddings along"),
        ("rank_pattern", "has different ranks in different layers"),
    ):
        if config.get(key):
            return f"the adapter {what}, which vLLM does not serve"
    if config.get("bias") not in {None, "none"}:
        return "the adapter has biases, which vLLM does not serve"
    return None


def served_rank(rank: int) -> int:
    """Return the least --max-lora-rank that vLLM takes for an adapter of this rank."""
    return next(served for served in RANKS if served >= rank)


def _has_adapter(request: Request) -> bool:
    return (request.model / "adapter_config.json").is_file()
