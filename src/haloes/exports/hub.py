"""`--to hub`: the merged model with its card in a repository of the Hugging Face hub, private unless asked."""

import hashlib
import shutil
from typing import Any

from haloes.errors import RunError
from haloes.exports.request import Exported, Request
from haloes.models.cache import cache_dir
from haloes.models.quiet import quiet
from haloes.progress.contract import Progress
from haloes.runs.export import export_model, merge_note

_GIVEN = frozenset({".gitattributes", "README.md"})
"""Files of a repository that is as good as new."""


def export_to_hub(request: Request, progress: Progress) -> Exported:
    """
    Merge a run's model, and upload it with its card.

    The repository is made before the work. The merged model waits in the cache until all of it is there: the same
    command goes on with an upload that was stopped.

    Raises:
        RunError: nobody is logged in, the repository holds something already, or the hub refuses.
    """
    from huggingface_hub import HfApi

    staged = cache_dir() / "uploads" / _key(request)
    progress.stage("asking the hub")
    api = HfApi()
    try:
        with quiet():
            address = _open_repository(api, request, resumed=staged.is_dir())
            if not staged.is_dir():
                progress.stage("merging the adapter into its model")
                staged.parent.mkdir(parents=True, exist_ok=True)
                export_model(request.run_dir, staged, dtype=request.dtype)
            size = sum(path.stat().st_size for path in staged.iterdir())
            progress.stage(f"uploading {size / 2**30:.2f} GiB")
            api.upload_folder(
                repo_id=request.target, folder_path=staged, commit_message=f"Upload {request.name}, aligned with haloes"
            )
    except OSError as error:  # all errors of the hub's library are of this kind
        raise RunError(_explain(request, error, waiting=staged.is_dir())) from error
    shutil.rmtree(staged)
    seen = "everybody can read it" if request.public else "private: only its owners can read it"
    notes = [note for note in (merge_note(request.run_dir),) if note]
    return Exported(address, (f"New on the hub, {seen}.", *notes))


def _open_repository(api: Any, request: Request, *, resumed: bool) -> str:
    """Make the repository where there is none, and return its address. Raises RunError where it holds something."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise RunError("the hub has to know who uploads: set HF_TOKEN to a token that may write, or run: hf auth login")
    found = api.create_repo(request.target, private=not request.public, exist_ok=True)
    if not resumed and (others := sorted(set(api.list_repo_files(request.target)) - _GIVEN)):
        raise RunError(
            f"{request.target} is on the hub already and holds {len(others)} files ({', '.join(others[:3])}); give "
            "another name, or remove it there"
        )
    return str(found)


def _key(request: Request) -> str:
    """Return a name for this upload: of this model, in this form, to this repository."""
    weights = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(request.model.iterdir())]
    said = (request.target, request.dtype, str(request.run_dir.resolve()), weights)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:20]


def _explain(request: Request, error: OSError, *, waiting: bool) -> str:
    said = str(error).strip().splitlines()
    goes_on = "; the same command goes on where it stopped" if waiting else ""
    return f"{request.target} cannot be uploaded ({said[0] if said else type(error).__name__}){goes_on}"
