"""The benchmarks that the KTO paper reports, as lm-eval defines them."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from haloes.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One benchmark: which of lm-eval's definitions it is, where its rows are, and which number counts."""

    name: str
    """Name on the command line, which is lm-eval's name of the task or group."""
    title: str
    place: str
    """Folder of its definition, below lm-eval's `tasks` folder."""
    rows: str
    """The folder of its rows below `--bench-data`."""
    metric: str
    """The metric that counts, as lm-eval calls it: metric and filter."""
    label: str
    """That metric in words."""
    others: tuple[tuple[str, str], ...] = ()
    """Further metrics that are reported beside it, and their labels."""
    runs_code: bool = False
    """Whether what the model writes has to be run."""
    fenced: bool = False
    """Whether that code stands in a fenced block that the prompt has opened."""
    needs: tuple[str, ...] = ()
    """Python packages that its scoring takes, beside lm-eval."""


_MATCH = "exact match, last number of the answer"
_STRICT = ("exact_match,strict-match", "exact match, in the form that the examples show")

BENCHMARKS = (
    Benchmark(
        name="gsm8k",
        title="GSM8K, 5 examples",
        place="gsm8k",
        rows="gsm8k",
        metric="exact_match,flexible-extract",
        label=_MATCH,
        others=(_STRICT,),
    ),
    Benchmark(
        name="gsm8k_cot",
        title="GSM8K, 8 worked examples",
        place="gsm8k",
        rows="gsm8k",
        metric="exact_match,flexible-extract",
        label=_MATCH,
        others=(_STRICT,),
    ),
    Benchmark(
        name="mmlu",
        title="MMLU, without examples",
        place="mmlu/default",
        rows="mmlu",
        metric="acc,none",
        label="likeliest letter is right",
    ),
    Benchmark(
        name="bbh",
        title="BIG-Bench Hard, 3 worked examples",
        place="bbh/cot_fewshot",
        rows="bbh",
        metric="exact_match,get-answer",
        label='exact match of what follows "the answer is"',
    ),
    Benchmark(
        name="humaneval",
        title="HumanEval, completion",
        place="humaneval",
        rows="humaneval",
        metric="pass@1,sandbox",
        label="programs that pass the tests",
        runs_code=True,
    ),
    Benchmark(
        name="humaneval_instruct",
        title="HumanEval, as an instruction",
        place="humaneval",
        rows="humaneval",
        metric="pass@1,sandbox",
        label="programs that pass the tests",
        runs_code=True,
        fenced=True,
    ),
    Benchmark(
        name="ifeval",
        title="IFEval",
        place="ifeval",
        rows="ifeval",
        metric="prompt_level_strict_acc,none",
        label="all instructions of a prompt followed",
        others=(
            ("inst_level_strict_acc,none", "single instructions followed"),
            ("prompt_level_loose_acc,none", "all instructions followed, leniently"),
        ),
        needs=("langdetect", "immutabledict", "nltk"),
    ),
)


def find_benchmarks(names: str) -> tuple[Benchmark, ...]:
    """
    Find the benchmarks of a list such as "gsm8k,mmlu", each once, in that order.

    Raises:
        ConfigError: one is unknown, or there is none.
    """
    known = {benchmark.name: benchmark for benchmark in BENCHMARKS}
    wanted = list(dict.fromkeys(name.strip().lower() for name in names.split(",") if name.strip()))
    if not wanted:
        raise ConfigError(f"--bench names no benchmark; there are {', '.join(known)}")
    for name in wanted:
        if name not in known:
            raise ConfigError(f"--bench: there is no benchmark {name!r}{_meant(name, known)}")
    return tuple(known[name] for name in wanted)


def _meant(name: str, known: Sequence[str] | dict[str, Benchmark]) -> str:
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
