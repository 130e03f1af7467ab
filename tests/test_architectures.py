"""The sweep: each kind trains, saves, loads and answers, or is refused in one line; docs/models.md says which."""

from pathlib import Path

import pytest
import transformers

from architectures import PACKED, PADDED, REFUSED, UNTRIED, row, try_architecture
from tiny_architectures import KINDS

PAGE = Path(__file__).parent.parent / "docs" / "models.md"
REPRESENTATIVE = {
    "llama": PACKED,
    "gpt2": PACKED,
    "gemma3": PACKED,
    "phi3": PACKED,
    "deepseek_v3": PACKED,
    "llama4_text": PADDED,
    "gpt_oss": PADDED,
    "falcon_h1": PADDED,
    "mamba": PADDED,
    "mamba2": PADDED,
    "minimax": PADDED,
    "qwen3_next": PADDED,
    "recurrent_gemma": PADDED,
    "bert": REFUSED,
}
"""One of each kind of trouble: a tower, latent attention, chunks, sinks, states, caches of their own, no decoder."""


def check(kind: str, folder: Path) -> None:
    outcome = try_architecture(kind, folder)
    if kind in REPRESENTATIVE:
        assert outcome.scored == REPRESENTATIVE[kind]
    if outcome.scored == REFUSED:
        assert not outcome.losses
        assert "\n" not in outcome.why
        assert len(outcome.why) < 600
    elif outcome.scored != UNTRIED:
        assert outcome.losses == pytest.approx((0.5, 0.5), abs=1e-6)
        # One small step hardly changes what a random model says; what is saved and loaded says the very same.
        assert outcome.answered[0] == outcome.answered[1]
    page = PAGE.read_text(encoding="utf-8")
    if f"transformers {transformers.__version__} " in page:
        assert row(kind, outcome) in page


@pytest.mark.filterwarnings("ignore")  # what the model itself or its compiler says is not ours
@pytest.mark.parametrize("kind", [kind for kind in REPRESENTATIVE if kind in KINDS])
def test_a_representative_architecture(kind: str, tmp_path: Path):
    check(kind, tmp_path)


@pytest.mark.architectures
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in REPRESENTATIVE])
def test_every_other_architecture(kind: str, tmp_path: Path):
    check(kind, tmp_path)
