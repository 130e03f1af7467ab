"""`--to gguf`: the merged model as one file for llama.cpp and all that is built on it, shown to say the same."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import torch

from haloes.errors import DataError, RunError
from haloes.exports.child import MIB
from haloes.exports.compare import Expected, compare, expect
from haloes.exports.comparison import Comparison
from haloes.exports.converter import check_convertible, convert, converted_kind, make_convertible
from haloes.exports.keep import keep_comparison
from haloes.exports.llama_cpp import is_installed, llama_cpp
from haloes.exports.quantization import CONVERTED, QUANTIZED, bits
from haloes.exports.quantizer import quantize
from haloes.exports.reader import Reader
from haloes.exports.request import DEFAULT_QUANTIZATION, Exported, Request
from haloes.exports.transformers_reader import TransformersReader
from haloes.models.gguf import unpack
from haloes.models.load import empty_model, load_model, load_tokenizer, saved_dtype
from haloes.progress.contract import Progress
from haloes.records import Asked
from haloes.report.card import write_card
from haloes.runs.export import export_model, merge_note
from haloes.runs.new_folder import check_free_space, new_folder
from haloes.runs.prompts import EVERYDAY, load_asked
from haloes.runs.run_folder import read_config
from haloes.store import write_json
from haloes.tokens.encode import Encoder, make_encoder

COMPARISON = "comparison.json"
NUM_PROMPTS = 5
"""Held-out prompts that are answered by the run's model and by the file."""
_LONGEST = 2048
"""Tokens of a prompt that is answered; longer ones take long and show no more."""
_WINDOW = 1 << 30
_MARGIN = 1.1
"""What a file takes beside its weights (vocabulary, scales of blocks), as a factor."""


def _nothing(_file: Path) -> None:
    pass


def export_gguf(request: Request, progress: Progress, *, more: Callable[[Path], None] = _nothing) -> Exported:
    """
    Merge a run's model, convert it with llama.cpp's converter, and compare what the file says with what the run says.

    The new folder holds the file, the model card and `comparison.json`.

    Args:
        request: what is exported, and where to.
        progress: told what is done.
        more: called with the file's path when it is there, to write others beside it.

    Raises:
        RunError: the model cannot be converted, which mostly shows before the work; or the file does not say what the
            run's model says, and is kept in a folder whose name ends in `.unproven`.
    """
    kind = request.quantize or DEFAULT_QUANTIZATION
    file_name = f"{request.file_name}-{kind}.gguf"
    progress.stage("asking llama.cpp's converter whether it takes this model")
    num_weights = _check(request, kind)
    with new_folder(request.unproven) as partial:
        comparison = _make(request, kind, partial / file_name, progress, num_weights=num_weights)
        write_json(partial / COMPARISON, comparison.to_json())
        write_card(request.run_dir, partial, checked=comparison.sentence())
        more(partial / file_name)
    unkept = keep_comparison(request.run_dir, request.unproven / file_name, comparison)
    if comparison.faults:
        raise RunError(
            f"{request.unproven / file_name} does not say what the run's model says: {'; '.join(comparison.faults)}. "
            f"What was compared is in {request.unproven / COMPARISON}; do not use the file before you know why"
        )
    if request.out.exists():
        request.out.rmdir()
    request.unproven.rename(request.out)
    notes = [note for note in (merge_note(request.run_dir), *comparison.notes, _by_whom(comparison), unkept) if note]
    usage = (f"llama-server -m {request.out / file_name} --jinja", comparison.sentence(), *notes)
    return Exported(str(request.out / file_name), usage, comparison)


def _by_whom(comparison: Comparison) -> str | None:
    if comparison.by == "llama.cpp":
        return None
    return "llama.cpp itself was not asked, as xllamacpp is not installed: pip install xllamacpp"


def _check(request: Request, kind: str) -> int:
    """Raise RunError for what would go wrong later, and return the number of the model's weights."""
    model = empty_model(str(request.model))
    num_weights = sum(int(weight.numel()) for weight in model.parameters())
    _check_memory(request, num_weights * torch.float32.itemsize)
    merged = num_weights * (saved_dtype(str(request.model)) or torch.float32).itemsize
    converted = 0.0 if kind in CONVERTED else float(merged)
    read = 0 if is_installed() else num_weights * torch.float32.itemsize
    check_free_space(request.out, needed=int(_MARGIN * (merged + converted + read + num_weights * bits(kind) / 8)))
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = load_tokenizer(str(request.model))
        vocabulary = check_convertible(Path(folder), model, tokenizer, converter=request.converter)
        if kind in QUANTIZED:
            quantize(vocabulary, vocabulary.with_name("quantised.gguf"), kind)
    return num_weights


def _check_memory(request: Request, needed: int) -> None:
    """Raise RunError where the model's weights in float32, in which it is merged and asked, would not fit in memory."""
    free = psutil.virtual_memory().available
    if free < needed:
        raise RunError(
            f"{request.run_dir} has {needed / 2**30:.1f} GiB of weights in float32, as they are merged and asked, "
            f"and {free / 2**30:.1f} GiB of memory are free; end other programs, or export it on a larger machine"
        )


def _make(request: Request, kind: str, file: Path, progress: Progress, *, num_weights: int) -> Comparison:
    """Write the file, and return how it compares with the run's model."""
    merged = file.parent / "merged"
    progress.stage("merging the adapter into its model")
    export_model(request.run_dir, merged)
    expected = _expect(request, merged, progress)
    make_convertible(merged, load_tokenizer(str(merged)))
    first = converted_kind(kind, str(saved_dtype(str(merged))))
    source = file if first == kind else file.with_name("converted.gguf")
    progress.stage(f"converting to GGUF ({first}), MiB", total=_mib(num_weights, first))
    convert(merged, source, first, name=request.name, converter=request.converter, progress=progress)
    shutil.rmtree(merged)
    if source != file:
        progress.stage(f"quantising ({kind}), MiB", total=_mib(num_weights, kind))
        quantize(source, file, kind, progress=progress)
        source.unlink()
    return compare(expected, _reader(file, expected.window), quantize=kind, progress=progress)


def _mib(num_weights: int, kind: str) -> int:
    """Return the size of a file with these weights, at least 1."""
    return max(1, int(num_weights * bits(kind) / 8 / MIB))


def _expect(request: Request, merged: Path, progress: Progress) -> Expected:
    # In float32, so that only what the file loses makes a difference.
    loaded = load_model(str(merged), dtype=torch.float32, device="cpu")
    encoder = make_encoder(loaded.tokenizer, max_length=_WINDOW)
    return expect(loaded, encoder, _prompts(request, encoder), progress)


def _prompts(request: Request, encoder: Encoder) -> Mapping[str, Asked]:
    """Return some of the run's held-out prompts; built-in ones where it held none back, or only very long ones."""
    settings = read_config(request.run_dir).feedback
    try:
        found = load_asked(str(request.run_dir), settings, most=4 * NUM_PROMPTS)
    except DataError:
        found = {}
    usable = {name: asked for name, asked in found.items() if len(encoder.prompt_ids(asked)) <= _LONGEST}
    usable = usable or load_asked(EVERYDAY, settings, most=NUM_PROMPTS)
    return dict(list(usable.items())[:NUM_PROMPTS])


def _reader(file: Path, window: int) -> AbstractContextManager[Reader]:
    if is_installed():
        return llama_cpp(file, window=window, threads=torch.get_num_threads())
    return _by_transformers(file)


@contextmanager
def _by_transformers(file: Path) -> Iterator[Reader]:
    """Yield the file as transformers reads it: its weights are unpacked for as long as they are asked."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        unpack(file, Path(folder))
        yield TransformersReader(load_model(folder, dtype=torch.float32, device="cpu"))
