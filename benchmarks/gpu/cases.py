"""What is measured on a GPU: models of random weights, mixes of lengths, and the rows that both sides train on."""

import json
import random
from dataclasses import dataclass
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.rows import schedule_of
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from haloes.tokens.encode import Encoded
from haloes.tokens.store import TokenStore, TokenStoreWriter

PAD, EOS, FIRST = 0, 1, 2
"""Token ids; words begin at the third."""
WARM_UP = 1
"""Steps that are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A model of the Llama type."""

    width: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    vocabulary: int
    tied: bool = True
    lora: bool = False
    """Adapters are trained, else all weights."""

    def config(self) -> LlamaConfig:
        return LlamaConfig(
            hidden_size=self.width,
            intermediate_size=self.inner,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_heads,
            vocab_size=self.vocabulary,
            tie_word_embeddings=self.tied,
            max_position_embeddings=8192,
            pad_token_id=PAD,
            bos_token_id=None,
            eos_token_id=EOS,
            initializer_range=0.02,
        )


SIZES = {
    "0.1B": Size(width=576, inner=1536, layers=30, heads=9, key_heads=3, vocabulary=49152),
    "0.5B": Size(width=1024, inner=4096, layers=24, heads=16, key_heads=8, vocabulary=128256),
    "1.5B": Size(width=2048, inner=8192, layers=20, heads=32, key_heads=8, vocabulary=128256),
    "8B": Size(width=4096, inner=14336, layers=32, heads=32, key_heads=8, vocabulary=128256, tied=False, lora=True),
}
TINY = {
    "0.1B": Size(width=32, inner=48, layers=2, heads=4, key_heads=2, vocabulary=300),
    "8B": Size(width=32, inner=48, layers=2, heads=4, key_heads=2, vocabulary=300, tied=False, lora=True),
}
"""For the dry run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Lengths in tokens: medians, how far they spread, and the most."""

    prompt: int
    completion: int
    most: int
    spread: float
    batch_size: int
    """Examples of a step: pairs, or single answers."""
    answers: int = 1
    """To one prompt, of single answers; pairs have two in any case."""


MIXES = {
    "short": Mix(prompt=45, completion=25, most=128, spread=0.5, batch_size=64),
    "medium": Mix(prompt=60, completion=250, most=600, spread=0.6, batch_size=32),
    "long": Mix(prompt=300, completion=300, most=1024, spread=0.5, batch_size=32, answers=2),
    "2k": Mix(prompt=1000, completion=800, most=2048, spread=0.15, batch_size=16, answers=2),
    "8k": Mix(prompt=5500, completion=2000, most=8192, spread=0.15, batch_size=4, answers=2),
}
TINY_MIXES = {
    "medium": Mix(prompt=6, completion=20, most=48, spread=0.6, batch_size=4),
    "long": Mix(prompt=20, completion=10, most=64, spread=0.5, batch_size=4, answers=2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One comparison."""

    size: str
    mix: str
    loss: str
    seconds: float = 8.0
    """For the steps of each side, warm-up included; set-up comes on top."""

    @property
    def name(self) -> str:
        return f"{self.size} {self.loss} {self.mix}"


CASES = [
    Case(size="1.5B", mix="medium", loss="kto"),
    Case(size="1.5B", mix="long", loss="dpo"),
    Case(size="1.5B", mix="2k", loss="kto"),
    Case(size="1.5B", mix="8k", loss="dpo"),
    Case(size="8B", mix="medium", loss="kto", seconds=12),
    Case(size="8B", mix="2k", loss="dpo", seconds=12),
    Case(size="0.5B", mix="medium", loss="kto", seconds=5),
    Case(size="0.5B", mix="long", loss="dpo", seconds=5),
    Case(size="0.1B", mix="short", loss="kto", seconds=4),
    Case(size="0.1B", mix="long", loss="dpo", seconds=4),
]
"""In the order in which they are measured: those with a target first, whatever the time."""
DRY_CASES = [
    Case(size="0.1B", mix="medium", loss="kto", seconds=60),
    Case(size="0.1B", mix="long", loss="dpo", seconds=60),
    Case(size="8B", mix="long", loss="kto", seconds=60),
]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a side needs to know of the whole benchmark."""

    dry: bool

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.dry else "cuda")

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32 if self.dry else torch.bfloat16

    @property
    def steps(self) -> int:
        """Return the most steps that are counted."""
        return 1 if self.dry else 4

    def size(self, case: Case) -> Size:
        return (TINY if self.dry else SIZES)[case.size]

    def mix(self, case: Case) -> Mix:
        return (TINY_MIXES if self.dry else MIXES)[case.mix]


WEIGHTS = {"1.5B": 0.42, "8B": 0.32, "0.5B": 0.14, "0.1B": 0.08}
"""Share of the whole time that a size may take; what one leaves goes to those after it, and at last to the features."""


def make_model(size: Size, *, dtype: torch.dtype, device: torch.device) -> Any:
    """Make random weights where they are needed; the same for the same device."""
    torch.manual_seed(0)
    with device:
        model = AutoModelForCausalLM.from_config(size.config(), dtype=dtype)
    model.config.name_or_path = "random"
    return model.eval()


def make_tokenizer(size: Size) -> PreTrainedTokenizerFast:
    """Return a tokenizer of one word a token, so that text and ids are one to one."""
    words = {"<pad>": PAD, "<eos>": EOS} | {f"w{i}": i for i in range(FIRST, size.vocabulary)}
    core = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")


def write_rows(folder: Path, case: Case, plan: Plan) -> TokenStore:
    """Write the case's rows as a token store and, in the order in which haloes takes them, as `rows.jsonl`."""
    mix, vocabulary = plan.mix(case), plan.size(case).vocabulary
    rng = random.Random(f"{case.name}")
    paired = case.loss == "dpo"
    count = mix.batch_size * (WARM_UP + plan.steps)
    rows: list[tuple[list[int], list[int]]] = []
    groups: list[int] = []
    while len(rows) < count * (2 if paired else 1):
        prompt = _ids(rng, mix.prompt, mix.spread, 3 * mix.most // 4, vocabulary)
        number = groups[-1] + 1 if groups else 0
        for _ in range(2 if paired else mix.answers):
            answer = _ids(rng, mix.completion, mix.spread, mix.most - len(prompt) - 1, vocabulary)
            groups.append(number)
            rows.append((prompt, [*answer, EOS]))
    folder.mkdir(parents=True)
    with TokenStoreWriter(folder / "store", paired=paired) as writer:
        for i, (prompt, completion) in enumerate(rows):
            ids = np.array(completion, np.int32)
            row = Encoded(
                np.array(prompt, np.int32), ids, ids >= 0, prompt_cut=False, completion_cut=False, agrees=True
            )
            writer.append(row, desirable=i % 2 == 0, group=groups[i], weight=1.0, source="rows", line=i + 1)
    store = TokenStore(folder / "store")
    schedule = schedule_of(store, mix.batch_size, epochs=1)
    order = [int(i) for step in range(schedule.num_steps) for i in schedule.step(step).examples]
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for i in order:
            file.write(json.dumps(_pair(rows[2 * i], rows[2 * i + 1]) if paired else _rated(rows[i], i)) + "\n")
    return store


def _ids(rng: random.Random, median: int, spread: float, most: int, vocabulary: int) -> list[int]:
    length = min(max(round(median * exp(rng.gauss(0, spread))), 2), most)
    return [rng.randrange(FIRST, vocabulary) for _ in range(length)]


def _text(ids: list[int]) -> str:
    return " ".join("<eos>" if i == EOS else f"w{i}" for i in ids)


def _rated(row: tuple[list[int], list[int]], i: int) -> dict[str, object]:
    return {"prompt": _text(row[0]), "completion": " " + _text(row[1]), "label": i % 2 == 0}


def _pair(chosen: tuple[list[int], list[int]], rejected: tuple[list[int], list[int]]) -> dict[str, object]:
    return {"prompt": _text(chosen[0]), "chosen": " " + _text(chosen[1]), "rejected": " " + _text(rejected[1])}
