"""
Kill tiny runs at random moments, or damage what they left, and resume them: a script, so that it can fork.

    python tests/attack/crash_runs.py kills 100
    python tests/attack/crash_runs.py damages 100
    python tests/attack/crash_runs.py ranks 100
    python tests/attack/crash_runs.py launched 50
    python tests/attack/crash_runs.py judges 20
    python tests/attack/crash_runs.py rounds 20
    python tests/attack/crash_runs.py benchmarks 20

It prints its figures as JSON, after every ten attacks and at the end; it ends with 1 where something was lost or
differed, or where a traceback was shown. A second number says at which seed to begin.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
import torch.distributed.fsdp  # noqa: F401 - once, and not in every process that is forked
import yaml

from fake_harness import FakeHarness
from forked_ranks import begun, begun_together, ended, together
from haloes.cli.main import main as haloes
from haloes.errors import USAGE
from haloes.evaluation.bench.run import BenchSettings, run_benchmarks
from haloes.judging.pairs import read_pairs
from haloes.judging.run import judge_pairs
from haloes.judging.table import make_judge
from haloes.online_rounds.labelers import RaterLabeler
from haloes.online_rounds.rounds import online
from haloes.online_rounds.settings import OnlineSettings
from haloes.progress.contract import NullProgress
from haloes.run_files import is_run
from haloes.runs.align import Run, align
from haloes.runs.config import as_mapping
from haloes.runs.config_layers import make_config
from haloes.sampling._contract import Decoding
from tiny_runs import config, crash, rows_of, same_result, save_model, thumbs, write_rows

_WAYS = {
    "adapter": {},
    "full": {"model": {"lora": None}, "train": {"lr": 1e-3}},
    "best": {"train": {"keep_best": "auc", "validate_every": 1, "checkpoint_every": 2}},
}
"""Kinds of runs that are killed."""
_WAYS_OF_TWO = {
    name: {**sections, "train": {**sections.get("train", {}), "epochs": 2.0, "microbatch_tokens": 128}}
    for name, sections in (
        _WAYS | {"shards": {"model": {"lora": None}, "train": {"lr": 1e-3, "shard": "full"}}}
    ).items()
}
"""The same for two processes: several micro-batches a step, and each sequence twice, once from the cache; and of two
that hold a part of every weight each."""


def kills(folder: Path, seeds: range) -> Counter[str]:
    """Kill each run up to three times with SIGKILL, resume it, and compare it with one that was never stopped."""
    found: Counter[str] = Counter()
    made = {}
    for name, sections in _WAYS.items():
        cfg = config(
            save_model(folder / name / "model"), write_rows(folder / name / "rows.jsonl", thumbs(24)), **sections
        )
        began = time.monotonic()
        made[name] = (cfg, align(cfg, folder / name / "whole"), time.monotonic() - began)
    for seed in _told(seeds, found):
        rng = random.Random(seed)
        name = rng.choice(list(made))
        cfg, whole, seconds = made[name]
        run_dir = folder / f"run-{seed}"
        for _ in range(rng.randint(1, 3)):
            child = begun(lambda: align(cfg, run_dir, resume=is_run(run_dir)))
            time.sleep(rng.uniform(0, 1.1 * seconds))
            os.kill(child, signal.SIGKILL)
            code = ended(child)
            found["kills"] += code < 0
            found["failed"] += code > 0
        found[f"resumed with {ended(begun(lambda: align(cfg, run_dir, resume=is_run(run_dir))))}"] += 1
        found["bit-equal" if same_result(Run(run_dir, (), 0), whole, files=["data.json"]) else "differ"] += 1
        shutil.rmtree(run_dir)
    return found


def ranks(folder: Path, seeds: range) -> Counter[str]:
    """Kill one of the two processes of a run, see that the other one ends by itself, resume both, and compare."""
    found: Counter[str] = Counter()
    made = {}
    for name, sections in _WAYS_OF_TWO.items():
        cfg = config(
            save_model(folder / name / "model"), write_rows(folder / name / "rows.jsonl", thumbs(24)), **sections
        )
        # A cache of its own for each run: one that another run filled would hide what a resumption reads from it.
        os.environ["HALOES_CACHE"] = f"{folder / name / 'cache'}"
        began = time.monotonic()
        whole = folder / name / "whole"
        codes = together(partial(align, cfg, whole), 2)
        assert not any(codes), codes
        made[name] = (cfg, Run(whole, (), 0), time.monotonic() - began)
    for seed in _told(seeds, found):
        rng = random.Random(seed)
        name = rng.choice(list(made))
        cfg, whole_run, seconds = made[name]
        run_dir = folder / f"run-{seed}"
        os.environ["HALOES_CACHE"] = f"{folder / 'caches' / str(seed)}"
        for _ in range(rng.randint(1, 3)):
            said = folder / f"said-{seed}"
            said.unlink(missing_ok=True)
            children = begun_together(partial(align, cfg, run_dir, resume=is_run(run_dir)), 2, said=said)
            time.sleep(rng.uniform(0, 1.1 * seconds))
            killed = rng.randrange(2)
            os.kill(children[killed], signal.SIGKILL)
            at = time.monotonic()
            codes = [ended(child) for child in children]
            other = codes[1 - killed]
            found["kills"] += codes[killed] == -signal.SIGKILL
            found["the other one ended with its message"] += other == USAGE
            found["the other one took longer than 10 s"] += time.monotonic() - at > 10
            if other not in {0, USAGE} or "Traceback" in said.read_text():
                found["failed"] += 1
                print(f"seed {seed}: {codes}\n{said.read_text()}", file=sys.stderr)
        codes = together(partial(align, cfg, run_dir, resume=is_run(run_dir)), 2)
        found[f"resumed with {max(codes)}"] += 1
        found["bit-equal" if same_result(Run(run_dir, (), 0), whole_run, files=["data.json"]) else "differ"] += 1
        shutil.rmtree(run_dir)
    return found


def launched(folder: Path, seeds: range) -> Counter[str]:
    """
    Kill processes that `haloes train --processes 2` started, which starts them again, and see that the run is the same.

    In each fifth run the command itself is killed: its processes have to end by themselves, and the run is resumed.
    """
    found: Counter[str] = Counter()
    made = {}
    for name, sections in _WAYS_OF_TWO.items():
        cfg = config(
            save_model(folder / name / "model"), write_rows(folder / name / "rows.jsonl", thumbs(24)), **sections
        )
        os.environ["HALOES_CACHE"] = f"{folder / name / 'cache'}"
        codes = together(partial(align, cfg, folder / name / "whole"), 2)
        assert not any(codes), codes
        (folder / name / "settings.yaml").write_text(yaml.safe_dump(as_mapping(cfg)))
        made[name] = (folder / name / "settings.yaml", Run(folder / name / "whole", (), 0))
    for seed in _told(seeds, found):
        rng = random.Random(seed)
        settings_file, whole = made[rng.choice(list(made))]
        run_dir, said = folder / f"run-{seed}", folder / f"said-{seed}"
        os.environ["HALOES_CACHE"] = f"{folder / 'caches' / str(seed)}"
        start = ["train", "--config", f"{settings_file}", "--out", f"{run_dir}", "--processes=2", "--max-restarts=9"]
        launcher = begun(partial(haloes, start), said=said)
        if seed % 5 == 4:
            processes = _await_a_moment(launcher, run_dir, rng)
            os.kill(launcher, signal.SIGKILL)
            found["kills of the command"] += ended(launcher) == -signal.SIGKILL
            _, left = psutil.wait_procs(processes, timeout=120)
            found["processes that outlived it"] += len(left)
            again = ["resume", f"{run_dir}"] if is_run(run_dir) else start[:-2]
            launcher = begun(partial(haloes, [*again, "--processes=2"]), said=said)
        else:
            for _ in range(rng.randint(1, 3)):
                if processes := _await_a_moment(launcher, run_dir, rng):
                    found["kills"] += 1
                    rng.choice(processes).kill()
                    psutil.wait_procs(processes, timeout=120)
        code = ended(launcher)
        found[f"resumed with {code}"] += 1
        is_same = code == 0 and same_result(Run(run_dir, (), 0), whole, files=["data.json"])
        found["bit-equal" if is_same else "differ"] += 1
        if not is_same or "Traceback" in said.read_text():
            found["failed"] += 1
            print(f"seed {seed}: {code}\n{said.read_text()}", file=sys.stderr)
        shutil.rmtree(run_dir)
    return found


def _await_a_moment(launcher: int, run_dir: Path, rng: random.Random) -> list[psutil.Process]:
    """Wait for a random moment before or amid the steps, and return the launcher's processes; none where it is over."""
    parent, metrics = psutil.Process(launcher), run_dir / "metrics.jsonl"
    lines = rng.choice([0, 1, 2, 3, 5, 8])
    while parent.status() != psutil.STATUS_ZOMBIE and lines:
        if metrics.exists() and len(metrics.read_bytes().splitlines()) >= lines:
            break
        time.sleep(0.02)
    # Before the first step much takes long, as importing torch does.
    time.sleep(rng.uniform(0, 0.5 if lines else 10))
    while parent.status() != psutil.STATUS_ZOMBIE and len(parent.children()) < 2:
        time.sleep(0.02)
    return parent.children()


def damages(folder: Path, seeds: range) -> Counter[str]:
    """Damage a random file of a run that was killed, resume it, and see whether anything is silently different."""
    found: Counter[str] = Counter()
    cfg = config(save_model(folder / "model"), write_rows(folder / "rows.jsonl", thumbs(24)))
    whole = align(cfg, folder / "whole")
    crash(cfg, folder / "crashed", step=4)
    for seed in _told(seeds, found):
        rng, run_dir = random.Random(seed), folder / f"run-{seed}"
        shutil.copytree(folder / "crashed", run_dir)
        path = rng.choice(sorted(path for path in run_dir.rglob("*") if path.is_file()))
        what = _damage(path, rng)
        code = ended(begun(lambda: align(cfg, run_dir, resume=True)))
        if code == 0:
            is_same = same_result(Run(run_dir, (), 0), whole, files=["data.json"])
            outcome = "bit-equal" if is_same else "silently different"
        else:
            outcome = {2: "refused with a message"}.get(code, "traceback")
        found[outcome] += 1
        if outcome in {"silently different", "traceback"}:
            print(f"seed {seed}: {outcome}: {path.relative_to(run_dir)} {what}", file=sys.stderr)
        shutil.rmtree(run_dir)
    return found


def judges(folder: Path, seeds: range) -> Counter[str]:
    """Let two processes judge into one file at once, kill one of them, and count what is lost or there twice."""
    found: Counter[str] = Counter()
    for name, text in (("a", "yes yes yes"), ("b", "no")):
        rows = [
            {"prompt_id": str(i), "prompt": f"{i}?", "completion": f"{text} {i}", "model": name} for i in range(100)
        ]
        write_rows(folder / f"{name}.jsonl", rows)
    (folder / "rules.py").write_text(
        "import time\n\ndef longer(prompt, first, second):\n    time.sleep(0.0005)\n"
        "    return 'first' if len(first) > len(second) else 'second'\n"
    )
    judge = make_judge("rule", {"rule": f"{folder / 'rules.py'}:longer"})
    paired = read_pairs(folder / "a.jsonl", folder / "b.jsonl", candidate=None, baseline=None)
    for seed in _told(seeds, found):
        rng, out = random.Random(seed), folder / f"judged-{seed}.jsonl"
        children = [begun(lambda: judge_pairs(judge, paired, out)) for _ in range(2)]
        time.sleep(rng.uniform(0, 0.3))
        killed = rng.choice(children)
        os.kill(killed, signal.SIGKILL)
        found["kills"] += [ended(child) for child in children].count(-signal.SIGKILL)
        code = ended(begun(lambda: judge_pairs(judge, paired, out)))
        found["failed"] += code != 0
        keys = [row["fingerprint"] for row in rows_of(out)]
        found["judgements"] += len(keys)
        found["lost"] += 200 - len(set(keys))
        found["twice"] += len(keys) - len(set(keys))
    return found


def rounds(folder: Path, seeds: range) -> Counter[str]:
    """Kill online rounds up to three times at random moments, go on, and compare with rounds that nobody killed."""
    (folder / "rules.py").write_text(
        "def rate(prompt, completion, finished):\n    return ord((completion + ' ')[0]) < 100, 'first letter'\n"
    )
    model = {"name": f"{save_model(folder / 'model')}", "dtype": "float32", "lora": {"rank": 4, "alpha": 8.0}}
    train = {"lr": 1e-2, "batch_size": 4, "checkpoint_every": 1}
    cfg = make_config({"model": model, "train": train, "tokens": {"max_length": 128}})
    settings = OnlineSettings(
        rounds=2, per_prompt=3, prompts_per_round=4, decoding=Decoding(max_new_tokens=6, temperature=1.0)
    )

    def go(out: Path) -> None:
        online(
            cfg,
            settings,
            RaterLabeler(f"{folder / 'rules.py'}:rate"),
            prompts={f"p{i}": f"Say {i}" for i in range(6)},
            held_out={f"h{i}": f"Tell {i}" for i in range(5)},
            out=out,
            progress=NullProgress(),
        )

    return _killed(go, folder, seeds)


def benchmarks(folder: Path, seeds: range) -> Counter[str]:
    """Kill a benchmark up to three times at random moments, go on, and compare with one that nobody killed."""
    model = save_model(folder / "model")

    def go(out: Path) -> None:
        settings = BenchSettings(names="gsm8k,mmlu", out=out)
        run_benchmarks(str(model), settings, harness=FakeHarness(), progress=NullProgress())

    return _killed(go, folder, seeds)


def _killed(go: Callable[[Path], None], folder: Path, seeds: range) -> Counter[str]:
    """Carry work out that is killed and begun again, and count whether it leaves what whole work leaves."""
    found: Counter[str] = Counter()
    began = time.monotonic()
    assert ended(begun(partial(go, folder / "whole"))) == 0
    seconds, whole = time.monotonic() - began, _left(folder / "whole")
    for seed in _told(seeds, found):
        rng, out = random.Random(seed), folder / f"killed-{seed}"
        for _ in range(rng.randint(1, 3)):
            child = begun(partial(go, out))
            time.sleep(rng.uniform(0, 1.1 * seconds))
            os.kill(child, signal.SIGKILL)
            code = ended(child)
            found["kills"] += code < 0
            found["failed"] += code > 0
        found[f"resumed with {ended(begun(partial(go, out)))}"] += 1
        found["bit-equal" if _left(out) == whole else "differ"] += 1
        shutil.rmtree(out)
    return found


def _left(folder: Path) -> dict[str, bytes]:
    """What work left: answers in any order (a killed one asks for the rest), curve and weights; no speed, no paths."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        name: b"".join(sorted(path.read_bytes().splitlines(keepends=True)))
        if path.suffix == ".jsonl"
        else path.read_bytes()
        for name, path in found.items()
        if path.name == "curve.json" or (path.suffix in {".jsonl", ".safetensors"} and "metrics" not in path.name)
    }


def _told(seeds: range, found: Counter[str]) -> Iterator[int]:
    """Go through the seeds, and say now and then what was found: hours of attacks may be cut short."""
    for number, seed in enumerate(seeds):
        if number and number % 10 == 0:
            print(json.dumps({"seeds": number} | found), flush=True)
        yield seed


def _damage(path: Path, rng: random.Random) -> str:
    content = path.read_bytes()
    what = rng.choice(["flipped", "cut", "zeroed", "emptied", "lost"])
    if what == "lost" or not content:
        path.unlink()
        return "lost"
    at = rng.randrange(len(content))
    made = {
        "flipped": content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :],
        "cut": content[:at],
        "zeroed": content[:at] + bytes(len(content) - at),
        "emptied": b"",
    }
    path.write_bytes(made[what])
    return f"{what} at {at} of {len(content)}"


_BAD = {
    "the other one took longer than 10 s",
    "processes that outlived it",
    "differ",
    "failed",
    "silently different",
    "traceback",
    "lost",
    "twice",
}


_ATTACKS = {
    "kills": kills,
    "ranks": ranks,
    "launched": launched,
    "damages": damages,
    "judges": judges,
    "rounds": rounds,
    "benchmarks": benchmarks,
}


def main(attack: str, count: int, first: int = 0) -> int:
    """Carry an attack out and print its figures; return 1 where something did not hold."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["HALOES_CACHE"] = f"{name}/cache"
        found = _ATTACKS[attack](Path(name), range(first, first + count))
    print(json.dumps(found))
    return int(
        any(found[bad] for bad in _BAD) or any(key.startswith("resumed with ") and key[-1] != "0" for key in found)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
