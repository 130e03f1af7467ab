"""`haloes export`: a run's model in one of several forms."""

import shutil
from collections.abc import Callable, Mapping

from haloes.exports.gguf import export_gguf
from haloes.exports.hub import export_to_hub
from haloes.exports.ollama import export_to_ollama
from haloes.exports.request import Exported, Kind, Request, check_request
from haloes.exports.vllm import export_to_vllm
from haloes.progress.contract import Progress
from haloes.runs.export import export_model, merge_note
from haloes.runs.new_folder import new_folder


def export_run(request: Request, progress: Progress) -> Exported:
    """
    Export a run's model as it is asked for; everything that can be checked is, before the work begins.

    Raises:
        ConfigError: a setting does not exist, or has no effect here.
        RunError: the run has no model, the target is taken, or what is needed is missing.
        ModelError: the base model cannot be loaded.
    """
    check_request(request)
    return _EXPORTS[request.kind](request, progress)


def _export_folder(request: Request, progress: Progress) -> Exported:
    progress.stage("merging the adapter into its model")
    out = export_model(request.run_dir, request.out, dtype=request.dtype)
    note = merge_note(request.run_dir)
    return Exported(str(out), () if note is None else (note,))


def _export_adapter(request: Request, progress: Progress) -> Exported:
    progress.stage("copying the adapter")
    with new_folder(request.out) as partial:
        shutil.copytree(request.model, partial, dirs_exist_ok=True)
    return Exported(str(request.out), ("README.md in it says how PEFT puts it on its base model.",))


_EXPORTS: Mapping[Kind, Callable[[Request, Progress], Exported]] = {
    "folder": _export_folder,
    "adapter": _export_adapter,
    "gguf": export_gguf,
    "ollama": export_to_ollama,
    "vllm": export_to_vllm,
    "hub": export_to_hub,
}
