"""Losses in words: everything said is in their own source."""

from pathlib import Path

import pytest

from haloes.errors import ConfigError
from haloes.guide.explain import (
    REQUIRED,
    Block,
    blocks,
    explain,
    explain_all,
    field_texts,
    fields_within,
    halo_verdict,
    needs_of,
)
from haloes.losses.components import Power
from haloes.losses.halo import HALO
from haloes.losses.kto import KTO
from haloes.losses.make import hyperparameters, loss_maker
from haloes.losses.presets import Preset
from haloes.losses.table import LOSSES

OWN_LOSS = '''
from dataclasses import dataclass
from typing import ClassVar

from haloes.losses._contract import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True)
class Mine:
    """
    Mine alone.

        -scale * r
    """

    needs: ClassVar[Needs] = Needs(reference=True)

    scale: float
    """How much of it;
    in two lines."""
    untold: int = 3

    def __call__(self, batch: Unpaired) -> LossOutput:
        return LossOutput(-self.scale * batch.completions.log_ratio())


@dataclass(frozen=True)
class Silent:
    needs: ClassVar[Needs] = Needs(pairs=True)
    scale: float = 1.0
'''


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN_LOSS)
    return path


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_explained_in_full(name: str):
    one = explain(name)

    assert one.blocks
    assert not one.blocks[0].is_formula
    assert any(block.is_formula for block in one.blocks)
    assert [h.name for h in one.hyperparameters] == list(hyperparameters(LOSSES[name]))
    assert all(h.text and h.default not in {"", REQUIRED, "None"} for h in one.hyperparameters)
    assert all((one.about.title, one.about.source, one.about.reward, one.about.value, one.about.use, one.needs))
    assert halo_verdict(name).startswith(("yes: ", "no: "))
    assert 0 < len(one.short_source) < 40


def test_kto_is_explained_by_its_source():
    one = explain("kto")

    assert one.blocks[2] == Block(
        "desirable:    w_d * (1 - sigmoid(beta * (r - z0)))\nundesirable:  w_u * (1 - sigmoid(beta * (z0 - r)))",
        is_formula=True,
    )
    beta = one.hyperparameters[0]
    assert (beta.name, beta.default) == ("beta", "0.1")
    assert beta.text.startswith("How quickly the value saturates (risk aversion)")
    assert "\n" not in beta.text
    assert one.needs == ("labels", "reference", "mismatched answers")
    assert one.short_source == "arXiv 2402.01306"


def test_whether_a_loss_is_human_aware_is_told_with_a_reason(own_file: Path):
    copied = own_file.with_name("copied.py")
    copied.write_text("from haloes.losses.sft import SFT as Copied\n")

    assert halo_verdict("dpo").startswith("yes: ")
    assert halo_verdict(f"{copied}:Copied") == halo_verdict("sft")
    assert "no log-ratio" in halo_verdict("sft")


def test_what_is_built_is_explained_by_what_it_sets():
    alpha, aversion, *_ = explain("kahneman-tversky").hyperparameters
    inner = explain("humanline")

    assert (alpha.default, alpha.text) == ("0.88", field_texts(Power)["alpha"])
    assert (aversion.default, aversion.text) == ("2.25", field_texts(Power)["loss_aversion"])
    assert (inner.hyperparameters[0].name, inner.hyperparameters[0].default) == ("loss", "kto")
    assert inner.needs_text.startswith("by default labels")
    assert [h.default for h in explain("mixture").hyperparameters] == ["dpo, sft", "1, 0.1"]
    assert [h.default for h in explain("halo").hyperparameters][:3] == ["log-ratio", "mismatched-mean", "logistic"]


def test_a_loss_from_a_file_is_explained_as_far_as_it_says_what_it_is(own_file: Path):
    mine, silent = explain(f"{own_file}:Mine"), explain(f"{own_file}:Silent")

    assert [block.text for block in mine.blocks] == ["Mine alone.", "-scale * r"]
    scale, untold = mine.hyperparameters
    assert (scale.default, scale.text) == (REQUIRED, "How much of it; in two lines.")
    assert (untold.default, untold.text) == ("3", "As in the formula.")
    assert (silent.about.title, silent.about.source, silent.blocks) == ("Silent", "", ())
    assert silent.needs == ("pairs",)
    assert halo_verdict(f"{own_file}:Mine") == halo_verdict(f"{own_file}:Silent") == ""


def test_an_unknown_loss_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match=r'no loss "ktoo"\. Did you mean "kto"'):
        explain("ktoo")


def test_the_groups_hold_the_whole_table_in_its_order():
    groups = explain_all()

    assert [one.name for group in groups.values() for one in group] == list(LOSSES)
    own, pairs, single, made = groups.values()
    assert own[0].name == "kto"
    assert all(needs_of(loss_maker(one.name)).pairs for one in pairs)
    assert not any(needs_of(loss_maker(one.name)).pairs for one in single)
    assert [one.name for one in made] == ["halo", "humanline", "length-normalised", "mixture"]


def test_needs_are_those_of_the_loss_with_its_defaults():
    for name, maker in LOSSES.items():
        assert needs_of(maker) == maker().needs, name
        assert isinstance(maker, Preset) or needs_of(maker)


def test_a_docstring_is_taken_apart_by_paragraph():
    def documented() -> None:
        """
        One sentence
        in two lines.

            a formula
              in two lines

        The rest.
        """

    assert blocks(documented) == (
        Block("One sentence in two lines.", is_formula=False),
        Block("a formula\n  in two lines", is_formula=True),
        Block("The rest.", is_formula=False),
    )
    assert blocks(lambda: None) == ()


def test_texts_of_a_class_without_source_are_left_out():
    assert field_texts(int) == {}


def test_fields_are_found_in_parts_too():
    found = {name: cls for cls, name, _ in fields_within((HALO(value=Power()), KTO(beta=0.3)))}

    assert found["alpha"] is Power
    assert found["reward"] is HALO
    assert found["beta"] is KTO  # the last; Power has one too
