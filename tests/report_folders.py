"""A run folder as a real run leaves it: numbers are made up by formulas, texts are typical of a small model."""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from haloes.evaluation_results import LengthControlled, Matchup
from haloes.results import Score, SignTest

CONFIG: dict[str, Any] = {
    "feedback": {"train": "thumbs.jsonl", "validation": 0.2, "format": "auto"},
    "model": {"name": "HuggingFaceTB/SmolLM2-135M-Instruct", "lora": {"rank": 16, "targets": ["q_proj", "v_proj"]}},
    "loss": {"name": "kto", "beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": "auto"},
    "train": {"lr": 5e-6, "batch_size": 32, "epochs": 2, "warmup": 0.1, "seed": 0, "resume": None},
}  # fmt: skip

QUESTIONS = (
    "How do I keep basil alive on a windowsill?",
    "What should I cook tonight with two eggs, rice and a carrot?",
    "Explain to a child why the sky is blue.",
    "Write a short note to my neighbour about the noise.",
)
LONG = (
    "That's a great question! There are many things to consider when it comes to this topic, and it is important to "
    "note that everyone is different. First, you should think about your goals. Second, you should think about your "
    "goals. Third, you should think about what you would like to achieve, and then you should think about your goals "
    "again, because"
)
SHORT = "Put it where it gets six hours of light, water it when the top of the soil is dry, and pinch off the flowers."


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def train_rows(num_steps: int = 240) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    rows = []
    for step in range(1, num_steps + 1):
        done = step / num_steps
        learned = 1 - math.exp(-4 * done)
        noise = rng.normal(size=6)
        raw = 0.6 * learned - 0.25 + 0.3 * noise[0]
        rows.append(
            {
                "step": step,
                "split": "train",
                "epoch": 2 * done,
                "loss": 0.5 - 0.09 * learned + 0.02 * noise[1],
                "learning_rate": 5e-6 * min(1, 10 * done) * 0.5 * (1 + math.cos(math.pi * done)),
                "grad_norm": 1.4 + 0.3 * noise[2] ** 2,
                "reward/desirable": 3.2 * learned + noise[3],
                "reward/undesirable": -5.5 * learned + 1.2 * noise[4],
                "reward_margin": 8.7 * learned + 1.5 * noise[5],
                "logp_per_token/desirable": -1.31 - 0.02 * learned + 0.05 * noise[0],
                "logp_per_token/undesirable": -1.12 - 0.11 * learned + 0.05 * noise[1],
                "reference_point/raw": raw,
                "reference_point/standard_error": 0.3 + 0.05 * noise[1],
                "reference_point/clamped": int(raw < 0),
                "reference_point": max(0.0, raw),
                "tokens_per_second": 1210 + 30 * noise[0],
                "memory_gib": 2.1,
            }
        )
    return rows


def validation_rows() -> list[dict[str, Any]]:
    rows = []
    for step in range(0, 241, 40):
        learned = 1 - math.exp(-4 * step / 240)
        auc = 0.5 + 0.21 * learned
        rows.append(
            {
                "step": step,
                "split": "validation",
                "loss": 0.5 - 0.07 * learned,
                "reward_margin": 7 * learned,
                "auc": auc,
                "auc/low": auc - 0.045 * (step > 0),
                "auc/high": auc + 0.045 * (step > 0),
            }
        )
    return rows


def score_rows() -> list[dict[str, Any]]:
    def three(name: str, before: list[float], after: list[float], difference: list[float]) -> list[dict[str, Any]]:
        sides = {"before": before, "after": after, "difference": difference}
        return [
            {
                "name": name,
                "value": value,
                "low": low,
                "high": high,
                "variant": variant,
                "num_rows": 100,
                "num_clusters": 100,
                "method": "percentile bootstrap over 100 prompts, 2000 draws",
            }
            for variant, (value, low, high) in sides.items()
        ]

    return [
        *three("words", [103.2, 95.1, 111.0], [47.6, 42.8, 52.9], [-55.6, -63.2, -48.4]),
        *three("liked", [0.18, 0.117, 0.267], [0.61, 0.512, 0.7], [0.43, 0.316, 0.527]),
        *three("finished", [0.54, 0.443, 0.635], [0.97, 0.915, 0.99], [0.43, 0.32, 0.52]),
        *three("repetition", [0.061, 0.034, 0.092], [0.012, 0.004, 0.024], [-0.049, -0.081, -0.022]),
        *three("auc", [0.5, 0.5, 0.5], [0.706, 0.661, 0.752], [0.206, 0.161, 0.252]),
        *three("kl", [0, 0, 0], [7.31, 6.42, 8.28], [7.31, 6.42, 8.28])[1:2],
    ]


def sample_rows(num: int = 24) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    samples, ratings = [], []
    for i in range(num):
        prompt: Any = QUESTIONS[i % len(QUESTIONS)]
        if i % 7 == 3:
            prompt = [
                {"role": "system", "content": "You are brief."},
                {"role": "user", "content": "What is the tallest mountain on earth?"},
                {"role": "assistant", "content": "Mount Everest."},
                {"role": "user", "content": "And how high is it?"},
            ]
        for model, text in (("before", LONG if i % 4 else SHORT), ("after", SHORT if i % 5 != 1 else LONG)):
            samples.append(
                {
                    "prompt_id": f"p{i}",
                    "prompt": prompt,
                    "completion": text,
                    "model": model,
                    "num_tokens": int(1.3 * len(text.split())),
                    "finished": text == SHORT,
                }
            )
            reason = "short and complete" if text == SHORT else "cut off, and over 50 words"
            ratings.append({"prompt_id": f"p{i}", "model": model, "liked": text == SHORT, "reason": reason})
    return samples, ratings


def half(desirable: int, undesirable: int, **counts: int) -> dict[str, int]:
    return {"rows": desirable + undesirable, "desirable": desirable, "undesirable": undesirable, "pairs": 0, **counts}


def write_run(run_dir: Path, *, num_steps: int = 240, num_samples: int = 24) -> Path:
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    environment = {
        "haloes": "0.1.0",
        "torch": "2.13.0",
        "transformers": "5.23.0",
        "python": "3.11.9",
        "device": "cpu (2 cores)",
        "started": "2026-03-02T14:05:11+00:00",
        "seconds": 432.4,
        "data_fingerprint": "b7f1c0ffee5a11d0",
        "tokenizer_fingerprint": "01dbeef4e9c2aa77",
    }
    data = {
        "sources": ["/home/someone/feedback/thumbs.jsonl"],
        "format": "haloes",
        "rows": {"read": 1240, "accepted": 1221, "refused": {"label": 12, "empty completion": 5, "no user turn": 2}},
        "train": half(312, 665, prompts=301, truncated=9, tokens=118_233),
        "validation": half(81, 163, prompts=100, truncated=0, tokens=29_871),
        "weights": {"desirable": 1.0, "undesirable": 0.375},
        "warnings": ["9 of 977 training answers were cut to fit the window of 1,024 tokens."],
    }  # fmt: skip
    (run_dir / "environment.json").write_text(json.dumps(environment))
    (run_dir / "data.json").write_text(json.dumps(data))
    write_rows(run_dir / "metrics.jsonl", [*train_rows(num_steps), *validation_rows()])
    write_rows(run_dir / "scores.jsonl", score_rows())
    samples, ratings = sample_rows(num_samples)
    write_rows(run_dir / "samples.jsonl", samples)
    write_rows(run_dir / "ratings.jsonl", ratings)
    warnings = [
        {"severity": "warning", "message": "Three prompts have one answer that was rated both ways."},
        {"severity": "note", "message": "The learning rate was still above zero at the last step."},
    ]
    (run_dir / "warnings.json").write_text(json.dumps(warnings))
    return run_dir


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A complete run."""
    return write_run(tmp_path / "thumbs-kto")


@pytest.fixture
def small_run(tmp_path: Path) -> Path:
    """A complete run of few steps and answers."""
    return write_run(tmp_path / "small", num_steps=3, num_samples=2)


def answer_rows(*sides: tuple[str, str], **fields: Any) -> list[dict[str, Any]]:
    """Answers before and after training, a prompt each."""
    return [
        {
            "prompt_id": f"p{i}",
            "prompt": QUESTIONS[i % 4],
            "completion": text,
            "model": model,
            "num_tokens": 9,
            **fields,
        }
        for i, texts in enumerate(sides)
        for model, text in zip(("before", "after"), texts, strict=True)
    ]


def write_unrated_run(run_dir: Path, *, equal: int, different: int, kl: float) -> Path:
    """Write a complete run without a rater or judge whose answers are equal and different before and after so often."""
    write_run(run_dir, num_steps=7)
    (run_dir / "ratings.jsonl").unlink()
    write_rows(run_dir / "samples.jsonl", answer_rows(*[(LONG, LONG)] * equal, *[(LONG, SHORT)] * different))
    auc = {
        "name": "auc",
        "num_rows": 24,
        "num_clusters": 6,
        "method": "bootstrap",
        "label": "AUC of the implied reward",
    }
    write_rows(
        run_dir / "scores.jsonl",
        [
            auc | {"variant": "before", "value": 0.5, "low": 0.5, "high": 0.5},
            auc | {"variant": "after", "value": 0.92, "low": 0.75, "high": 1.0},
            score_row("kl", kl, low=0.8 * kl, high=1.3 * kl, num_rows=6, num_clusters=6),
        ],
    )
    return run_dir


@pytest.fixture
def unmoved_run(tmp_path: Path) -> Path:
    """A run of a small step: a good AUC, the same answers, a KL of next to nothing."""
    return write_unrated_run(tmp_path / "first", equal=6, different=0, kl=0.001)


@pytest.fixture
def moved_run(tmp_path: Path) -> Path:
    """A run whose answers changed, and nobody was asked whether for the better."""
    return write_unrated_run(tmp_path / "second", equal=1, different=5, kl=2.1)


@pytest.fixture
def bare_run(tmp_path: Path) -> Callable[..., Path]:
    """Write a run folder that holds the given files only: text as it is, lists as JSONL, other values as JSON."""

    def write(**files: Any) -> Path:
        folder = tmp_path / "bare"
        folder.mkdir(exist_ok=True)
        for stem, content in files.items():
            name = stem.replace("_", ".")
            if name.endswith(".jsonl") and not isinstance(content, str):
                write_rows(folder / name, content)
            else:
                (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return folder

    return write


def score_row(name: str, value: float, **rest: Any) -> dict[str, Any]:
    """A score as `haloes eval` writes it."""
    low, high = max(0.0, value - 0.1), min(1.0, value + 0.1)
    counts = {"num_rows": 24, "num_clusters": 24, "method": "bootstrap"}
    return {"name": name, "value": value, "low": low, "high": high, "variant": "after", **counts, **rest}


def evaluation(judges: tuple[str, ...] = ("gpt", "rule"), num: int = 24) -> dict[str, Any]:
    """What `haloes eval` writes about a run: every third answer after training lost, every sixth was a tie."""
    matchups = [
        {
            "candidate": "after",
            "baseline": "before",
            "judge": judge,
            "wins": 12,
            "ties": 4,
            "losses": 7,
            "unscored": 1,
            "num_prompts": 23,
            "sign_test": {"up": 12, "down": 7, "same": 4, "p_value": 0.36},
            "smallest_difference": 0.28,
            "win_rate": score_row("win_rate", 0.61),
            "length_controlled": {
                "score": score_row("win_rate_at_equal_length", 0.52),
                "caution": "of one model alone",
                "theta": 0.1,
                "phi_length": -0.2,
                "psi_difficulty": None,
            },
            "position_bias": score_row("position_bias", 0.58),
            "flip_rate": score_row("flip_rate", 0.12),
            "canary_rate": score_row("canary_rate", 0.07),
            "by_length": [
                score_row("win_rate_by_length", 0.5, label="−400 to −20 characters"),
                score_row("win_rate_by_length", 0.7, label="+5 to +800 characters"),
            ],
        }
        for judge in judges
    ]
    comparisons = [
        {"prompt_id": f"p{i}", "candidate": "after", "baseline": "before", "judge": judge, "draw": 0, **sides(i)}
        for judge in judges
        for i in range(num)
    ]
    agreement = [score_row("cohens_kappa", 0.44, variant="after against before", label="Cohen's kappa of gpt and rule")]
    return {"judged": {"matchups": matchups, "agreement": agreement, "comparisons": comparisons}}


def matchup(candidate: str, judge: str, win_rate: Score, at_equal_length: Score) -> Matchup:
    """A model against the one before training."""
    return Matchup(
        candidate=candidate,
        baseline="before",
        judge=judge,
        wins=12,
        ties=4,
        losses=7,
        unscored=1,
        num_prompts=20,
        sign_test=SignTest(up=12, down=7, same=1, p_value=0.36),
        smallest_difference=0.28,
        win_rate=win_rate,
        length_controlled=LengthControlled(score=at_equal_length, theta=0.1, phi_length=-0.2, psi_difficulty=None),
        position_bias=None,
        flip_rate=None,
        canary_rate=None,
        by_length=(),
    )


def sides(i: int) -> dict[str, float | None]:
    """The preference of comparison i in both orders, and their mean."""
    if i == 7:
        return {"shown_first": 1.0, "shown_second": None, "preference": None}
    if i % 6 == 0:
        return {"shown_first": 1.0, "shown_second": 0.0, "preference": 0.5}
    won = float(i % 3 != 0)
    return {"shown_first": won, "shown_second": won, "preference": won}


@pytest.fixture
def judged_run_dir(run_dir: Path) -> Path:
    """A complete run that two judges looked at, with an alarm."""
    (run_dir / "evaluation.json").write_text(json.dumps(evaluation()))
    warnings = json.loads((run_dir / "warnings.json").read_text())
    warnings.append({"severity": "warning", "message": "step 120: answers have 210 words; raise loss.beta"})
    (run_dir / "warnings.json").write_text(json.dumps(warnings))
    return run_dir
