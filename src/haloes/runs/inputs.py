"""The encoded rows and held-out prompts that a run starts from: made once, and opened again when it is resumed."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haloes.errors import RunError
from haloes.losses._contract import Needs
from haloes.progress.contract import Progress
from haloes.records import Asked
from haloes.records_json import asked_from_json, asked_to_json
from haloes.run_files import DATA, ENCODED, MANIFEST, is_run
from haloes.runs import manifest
from haloes.runs.config import FeedbackSettings
from haloes.runs.data import encode_feedback
from haloes.runs.row_index import FeedbackIndex
from haloes.runs.sources import Source
from haloes.store import read_json, read_jsonl, write_json, write_jsonl
from haloes.tokens.encode import Encoder
from haloes.tokens.store import TokenStore
from haloes.training.distributed import Ranks

_FACTS = "encoded"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything of a run that does not need the model's weights."""

    encoder: Encoder
    """The encoder of the aligned model: with the control text of desirable answers after a prompt, if there is one."""
    train: TokenStore
    validation: TokenStore | None
    """What the result is measured on."""
    selection: TokenStore | None
    """What chooses the best step; None where the last one is kept."""
    prompts: dict[str, Asked]
    """Held-out prompts to answer before and after, by id."""
    facts: dict[str, Any]
    """Counts and warnings (`data.json`)."""


def make_inputs(
    settings: FeedbackSettings,
    run_dir: Path,
    *,
    needs: Needs,
    encoder: Encoder,
    identity: Mapping[str, str],
    num_prompts: int,
    selects: bool,
    sources: Sequence[Source],
    index: FeedbackIndex | None,
    threads: int | None,
    ranks: Ranks,
    progress: Progress,
) -> Inputs:
    """
    Encode a run's feedback into its folder, or open what an earlier part of the run encoded.

    Args:
        settings: where the feedback is, and how it is read and split.
        run_dir: the run's folder.
        needs: what the loss needs: pairs or single answers, control texts, scores.
        encoder: text to tokens, without a control text.
        identity: hashes of all that decides what is encoded: what is there is opened only where they are the same.
        num_prompts: held-out prompts to answer.
        selects: whether a part of the held-out rows chooses the best step.
        sources: the files that are read, with as many bytes as the run reads of each.
        index: the index of the feedback, where it was read before.
        threads: the most processors to use; None for all that the process may.
        ranks: the main process encodes, the others wait.
        progress: told how far the work is.

    Raises:
        DataError: rows that cannot be used, or too few.
        RunError: they have to be encoded again, and a file has more rows by now than the run read.
    """
    folder = run_dir / ENCODED
    facts = _facts_of_encoded(run_dir, identity, progress) if ranks.is_main else None
    if ranks.is_main and facts is None:
        _refuse_grown(sources)
        shutil.rmtree(folder, ignore_errors=True)
        encoded = encode_feedback(
            settings,
            needs=needs,
            encoder=encoder,
            folder=folder,
            num_prompts=num_prompts,
            selects=selects,
            progress=progress,
            index=index,
            threads=threads,
        )
        facts = encoded.facts
        rows = ({"id": name, **asked_to_json(prompt)} for name, prompt in encoded.prompts.items())
        write_jsonl(folder / "prompts.jsonl", rows)
        # Last of all: what the manifest does not know was left by a run that was killed while it encoded.
        sizes = [source.size for source in sources]
        manifest.record(run_dir, [ENCODED], {_FACTS: {"identity": dict(identity), "counts": facts, "sizes": sizes}})
    if ranks.is_main:
        write_json(run_dir / DATA, facts)
    # The others open what the main process has written whole.
    ranks.barrier()
    validation, selection = (
        TokenStore(folder / name) if (folder / name).exists() else None for name in ("validation", "selection")
    )
    return Inputs(
        encoder=encoder.with_control(needs.control[0]) if needs.control else encoder,
        train=TokenStore(folder / "train"),
        validation=validation,
        selection=selection,
        prompts={row["id"]: asked_from_json(row) for _, row in read_jsonl(folder / "prompts.jsonl")},
        facts=read_json(run_dir / DATA),
    )


def sizes_read(run_dir: Path) -> Sequence[int | None]:
    """Return how many bytes a run read of each of its files; nothing of a new run, or one of before that was kept."""
    sizes: Sequence[int | None] = (manifest.fact(run_dir, _FACTS) or {}).get("sizes", ())
    return sizes


def _refuse_grown(sources: Sequence[Source]) -> None:
    for source in sources:
        if source.added:
            raise RunError(
                f"the feedback has to be encoded again, and {source.path} has more rows now than this run read: give "
                f"it those that it read (head -c {source.size} {source.path} > FILE; --set feedback.source=FILE)"
            )


def _facts_of_encoded(run_dir: Path, identity: Mapping[str, str], progress: Progress) -> dict[str, Any] | None:
    """Return the facts of what is encoded, where it is of this very identity and what was written; else None."""
    known = manifest.fact(run_dir, _FACTS)
    if known is None and is_run(run_dir):
        progress.note(f"{run_dir / MANIFEST} is missing or damaged: the feedback is encoded again")
    if known is None or known["identity"] != dict(identity):
        return None
    if damaged := manifest.changed(run_dir, ENCODED):
        progress.note(f"not what the run wrote: {', '.join(damaged)} in {run_dir}; the feedback is encoded again")
        return None
    counts: dict[str, Any] = known["counts"]
    return counts
