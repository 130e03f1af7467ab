"""What a run starts from: its identity, the tokenizer, and the encoded rows, made once and opened again on resuming."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from haloes.errors import ConfigError
from haloes.feedback.read import FeedbackSource
from haloes.models.load import load_tokenizer
from haloes.records import Text, text_from_json, text_to_json
from haloes.run_files import DATA, ENCODED
from haloes.runs import run_folder as folder
from haloes.runs.callbacks import Progress
from haloes.runs.config import RunConfig
from haloes.runs.data import prepare
from haloes.store import read_json, read_jsonl, write_json, write_jsonl
from haloes.tokens.encode import Encoder, make_encoder, tokenizer_fingerprint
from haloes.tokens.store import TokenStore
from haloes.training.distributed import Ranks


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything of a run that does not need the model's weights."""

    identity: dict[str, str]
    """Hashes of what must be the same when the run is resumed, by name."""
    encoder: Encoder
    """As the aligned model is used: after a prompt stands the control text of good answers, if the loss has one."""
    train: TokenStore
    validation: TokenStore | None
    prompts: dict[str, Text]
    """Held-out prompts to answer before and after, by id."""
    facts: dict[str, Any]
    """Counts and warnings (`data.json`)."""


def make_inputs(config: RunConfig, run_dir: Path, loss: Any, ranks: Ranks, *, check: bool, display: Progress) -> Inputs:
    """
    Encode the run's feedback into its folder, or open what an earlier part of the run encoded.

    Args:
        config: all settings.
        run_dir: the run's folder.
        loss: decides whether pairs or single answers are needed.
        ranks: the main process encodes, the others wait.
        check: refuse (RunError) if the folder's run was of other data, settings or another tokenizer.
        display: told of the progress.
    """
    if not config.feedback.source:
        raise ConfigError("feedback.source is missing: give a feedback file")
    tokenizer = load_tokenizer(config.model.name)
    identity = {
        "data set": digest(_fingerprints(config)),
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "configuration": digest([folder.configuration_hash(config), repr(loss)]),
    }
    if check:
        folder.check_identity(run_dir, identity)
    encoder = make_encoder(tokenizer, max_length=config.tokens.max_length)
    place = run_dir / ENCODED
    if ranks.is_main and not _is_made(place, identity):
        display.stage("feedback")
        shutil.rmtree(place, ignore_errors=True)
        prepared = prepare(
            config.feedback,
            needs=loss.needs,
            encoder=encoder,
            folder=place,
            seed=config.train.seed,
            num_prompts=config.samples.prompts,
            progress=display.advance,
            threads=config.train.threads,
        )
        write_json(run_dir / DATA, prepared.facts)
        rows = ({"id": name, "prompt": text_to_json(prompt)} for name, prompt in prepared.prompts.items())
        write_jsonl(place / "prompts.jsonl", rows)
        write_json(place / "identity.json", identity)
    ranks.barrier()
    validation = place / "validation"
    return Inputs(
        identity=identity,
        encoder=encoder.with_control(loss.needs.control[0]) if loss.needs.control else encoder,
        train=TokenStore(place / "train"),
        validation=TokenStore(validation) if validation.exists() else None,
        prompts={row["id"]: text_from_json(row["prompt"]) for _, row in read_jsonl(place / "prompts.jsonl")},
        facts=read_json(run_dir / DATA),
    )


def digest(parts: Sequence[str]) -> str:
    """One hash of several."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _is_made(place: Path, identity: dict[str, str]) -> bool:
    known = place / "identity.json"
    return known.exists() and read_json(known) == identity


def _fingerprints(config: RunConfig) -> list[str]:
    settings = config.feedback
    paths = [path for path in (settings.source, settings.validation) if path]
    sources = [FeedbackSource(path, settings.format, settings.columns, settings.split) for path in paths]
    return [source.fingerprint() for source in sources]
