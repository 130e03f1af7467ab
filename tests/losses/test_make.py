"""Losses by name, and losses from a user's file."""

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from haloes.errors import ConfigError
from haloes.losses._contract import Logps, Scored, Unpaired
from haloes.losses.components import Origin, Power
from haloes.losses.dpo import DPO
from haloes.losses.halo import HALO
from haloes.losses.humanline import Humanline
from haloes.losses.kto import KTO
from haloes.losses.make import hyperparameters, loss_maker, loss_settings, make_loss
from haloes.losses.mixture import Mixture
from haloes.losses.sft import SFT
from haloes.losses.table import LOSSES

OWN_LOSS = """
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from haloes.losses._contract import LossOutput, Needs, Unpaired


@dataclass(frozen=True, kw_only=True, slots=True)
class Mine:
    needs: ClassVar[Needs] = Needs(reference=True)
    scale: float = 2.0

    def __call__(self, batch: Unpaired) -> LossOutput:
        return LossOutput(-self.scale * batch.completions.log_ratio())


@dataclass(frozen=True)
class Silent:
    scale: float = 1.0


@dataclass(frozen=True)
class Misdeclared:
    needs: ClassVar[Needs] = Needs()
    metrics: ClassVar[str] = "value"


not_a_class = 3
"""


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    path = tmp_path / "own loss.py"
    path.write_text(OWN_LOSS)
    return path


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_found_by_its_name_and_says_how_it_was_made(name: str) -> None:
    assert loss_maker(name) is LOSSES[name]
    loss = make_loss(name, {})
    settings = loss_settings(loss)

    assert make_loss(settings["name"], {key: value for key, value in settings.items() if key != "name"}) == loss
    assert json.loads(json.dumps(settings)) == settings


def test_parts_are_written_with_their_names() -> None:
    power = {"name": "power", "loss_aversion": 3.0}
    made = make_loss("halo", {"value": power, "reference_point": {"name": "origin"}, "undesirable_weight": 2.0})

    assert made == HALO(value=Power(loss_aversion=3.0), reference_point=Origin(), undesirable_weight=2.0)
    assert make_loss("humanline", {"loss": {"name": "dpo", "beta": 0.3}, "every": 2}) == Humanline(
        loss=DPO(beta=0.3), every=2
    )
    assert make_loss("mixture", {"losses": [{"name": "dpo"}, {"name": "sft"}], "weights": [1.0, 0.5]}) == Mixture(
        losses=(DPO(), SFT()), weights=(1.0, 0.5)
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"value": {"name": "power", "alfa": 0.5}}, 'power has no hyperparameter "alfa". Did you mean "alpha"?'),
        ({"value": {"name": "powr"}}, 'there is no loss "powr"'),
        ({"value": {"alpha": 0.5}}, "a part is written with its name"),
        ({"value": {"name": "power", "alpha": 2.0}}, "power: alpha must be at most 1"),
    ],
)
def test_a_part_that_cannot_be_made_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_loss("halo", settings)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", LOSSES)
def test_every_hyperparameter_of_the_table_has_a_default(name: str) -> None:
    defaults = hyperparameters(LOSSES[name])

    assert inspect.Parameter.empty not in defaults.values()
    assert make_loss(name, {key: value for key, value in defaults.items() if isinstance(value, float)}) == make_loss(
        name, {}
    )


@pytest.mark.parametrize(
    ("name", "meant"), [("KTO", "kto"), ("kot", "kto"), ("dp0", "dpo"), ("sftt", "sft"), ("Dpo", "dpo")]
)
def test_a_misspelt_name_gets_a_suggestion(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f'there is no loss "{name}". Did you mean "{meant}"\\?'):
        loss_maker(name)


@pytest.mark.parametrize("name", ["", "reinforce", "module:Class"])
def test_an_unknown_name_gets_the_list_and_the_way_to_a_loss_of_ones_own(name: str) -> None:
    with pytest.raises(ConfigError, match=r"There are: kto, .*dpo, .*; or path/to/file.py:Class") as caught:
        loss_maker(name)
    assert "Did you mean" not in str(caught.value)


def test_hyperparameters_are_set() -> None:
    assert make_loss("kto", {"beta": 0.2, "undesirable_weight": "auto"}) == KTO(beta=0.2, undesirable_weight="auto")
    assert make_loss("dpo", {}) == DPO()


@pytest.mark.parametrize(
    ("name", "key", "message"),
    [
        ("kto", "betta", 'kto has no hyperparameter "betta". Did you mean "beta"?'),
        ("kto", "desirable", 'kto has no hyperparameter "desirable". Did you mean "desirable_weight"?'),
        ("dpo", "gamma", 'dpo has no hyperparameter "gamma". It has: beta'),
        ("sft", "beta", 'sft has no hyperparameter "beta". It has: none'),
        ("kto", "needs", "It has: beta, desirable_weight, undesirable_weight"),
    ],
)
def test_an_unknown_hyperparameter_is_refused(name: str, key: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^loss.{key}: ") as caught:
        make_loss(name, {key: 0.1})
    assert message in str(caught.value)


@pytest.mark.parametrize("beta", [0, "much"])
def test_a_hyperparameter_out_of_range_or_of_the_wrong_type_is_refused(beta: object) -> None:
    with pytest.raises(ConfigError, match="kto"):
        make_loss("kto", {"beta": beta})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("kto", {"beta": "high"}, "loss.beta: kto wants it to be a number, got 'high'"),
        ("kto", {"beta": True}, "loss.beta: kto wants it to be a number, got True"),
        ("kto", {"beta": None}, "loss.beta: kto wants it to be a number, got None"),
        ("kto", {"desirable_weight": "Auto"}, "a number or \"auto\", got 'Auto'"),
        ("csft", {"desirable_token": 3}, "loss.desirable_token: csft wants it to be text, got 3"),
        ("humanline", {"every": 2.5}, "loss.every: humanline wants it to be a whole number, got 2.5"),
        ("humanline", {"loss": "dpo"}, "written with its name, such as {name: dpo}, got 'dpo'"),
        ("humanline", {"loss": {"name": "power"}}, "loss.loss: humanline wants it to be written with its name"),
        ("humanline", {"loss": {"name": "dpo", "beta": "x"}}, "loss.loss.beta: dpo wants it to be a number"),
        ("mixture", {"losses": ["dpo", "sft"]}, "loss.losses: mixture wants it to be a list, each item written with"),
        ("mixture", {"losses": [{"name": "dpo", "bta": 1}]}, 'loss.losses.0.bta: dpo has no hyperparameter "bta"'),
        ("mixture", {"weights": 1}, "loss.weights: mixture wants it to be a list, each item a number, got 1"),
        ("halo", {"value": "power"}, "loss.value: halo wants it to be written with its name, such as {name: logistic}"),
        ("halo", {"value": {"name": "origin"}}, "loss.value: halo wants it to be written with its name"),
        ("halo", {"value": {"name": "power", "alpha": "x"}}, "loss.value.alpha: power wants it to be a number"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named_with_its_place(name: str, settings: dict[str, object], message: str):
    with pytest.raises(ConfigError) as caught:
        make_loss(name, settings)
    assert message in str(caught.value)


def test_a_loss_of_ones_own_may_be_declared_with_anything(tmp_path: Path):
    path = tmp_path / "free.py"
    path.write_text(OWN_LOSS.replace("scale: float", "scale: 'Nowhere'"))

    assert make_loss(f"{path}:Mine", {"scale": "x"}).scale == "x"  # type: ignore[attr-defined]


def test_a_file_without_its_class_is_told_apart_from_an_unknown_name():
    with pytest.raises(ConfigError, match=r"my_loss\.py is a file; name the class in it as well: my_loss\.py:Class"):
        loss_maker("my_loss.py")


def test_a_loss_from_a_file_works_like_one_from_the_table(own_file: Path) -> None:
    loss = make_loss(f"{own_file}:Mine", {"scale": 3.0})
    batch = Unpaired(Scored(Logps(torch.tensor([-1.0]), torch.tensor([1])), torch.tensor([-3.0])), torch.tensor([True]))

    assert loss.needs.reference
    assert loss(batch).per_example.tolist() == [-6.0]
    assert loss == make_loss(f"{own_file}:Mine", {"scale": 3.0})


def test_a_loss_from_a_file_has_its_hyperparameters_checked(own_file: Path) -> None:
    with pytest.raises(ConfigError, match=r'has no hyperparameter "scal"\. Did you mean "scale"'):
        make_loss(f"{own_file}:Mine", {"scal": 3.0})


WRAPPERS = """
from dataclasses import dataclass
from typing import Any, ClassVar

from haloes.losses._contract import Loss, LossOutput, Needs


@dataclass(frozen=True)
class Wrapper:
    inner: Loss[Any]
    most: float = 5.0

    @property
    def needs(self) -> Needs:
        return self.inner.needs

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.inner.metrics

    def __call__(self, batch: Any) -> LossOutput:
        return self.inner(batch)


@dataclass(frozen=True)
class Called(Wrapper):
    def needs(self) -> Needs:
        return self.inner.needs


@dataclass(frozen=True)
class Failing(Wrapper):
    @property
    def needs(self) -> Needs:
        return self.nothing


@dataclass(frozen=True)
class Field:
    needs: Needs = Needs()


@dataclass(frozen=True)
class Raising:
    needs: ClassVar[Needs] = Needs()

    def __post_init__(self) -> None:
        raise SystemExit(0)
"""


@pytest.fixture
def wrappers(tmp_path: Path) -> Path:
    path = tmp_path / "wrappers.py"
    path.write_text(WRAPPERS)
    return path


def test_a_wrapper_from_a_file_has_the_needs_of_the_loss_inside_and_is_written_with_it(wrappers: Path) -> None:
    inner = {"name": f"{wrappers}:Wrapper", "inner": {"name": "dpo", "beta": 0.3}}
    loss: Any = make_loss(f"{wrappers}:Wrapper", {"inner": inner, "most": 2.0})

    assert (loss.needs, loss.metrics) == (DPO().needs, DPO().metrics)
    assert loss.inner.inner == DPO(beta=0.3)
    settings = loss_settings(loss)
    assert settings["inner"]["inner"] == {"name": "dpo", "beta": 0.3}
    assert make_loss(settings.pop("name"), json.loads(json.dumps(settings))) == loss


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Called", r"needs of .*:Called is a method: put @property above it; write needs: ClassVar\[Needs\]"),
        ("Failing", r"Failing cannot say what it needs and measures \(AttributeError: .*nothing"),
        ("Field", r"needs of Field in .* is a hyperparameter as it is written; make it a ClassVar, or a property"),
        ("Raising", r"Raising cannot be made from .* \(SystemExit: 0\)"),
    ],
)
def test_a_loss_from_a_file_that_declares_wrongly_is_told_what_to_write(
    name: str, message: str, wrappers: Path
) -> None:
    settings = {"inner": {"name": "dpo"}} if name in {"Called", "Failing"} else {}
    with pytest.raises(ConfigError, match=message):
        make_loss(f"{wrappers}:{name}", settings)


def test_a_hyperparameter_without_a_default_has_to_be_given(wrappers: Path) -> None:
    with pytest.raises(ConfigError, match=r"^loss\.inner: .*Wrapper has no default for it; set it"):
        make_loss(f"{wrappers}:Wrapper", {})


def test_a_file_that_was_edited_is_read_again(own_file: Path) -> None:
    before = make_loss(f"{own_file}:Mine", {})
    own_file.write_text(OWN_LOSS.replace("2.0", "5.0"))

    assert make_loss(f"{own_file}:Mine", {}).scale == 5.0  # type: ignore[attr-defined]
    assert before.scale == 2.0  # type: ignore[attr-defined]


def test_two_files_of_one_name_are_two_losses(own_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / own_file.name
    other.parent.mkdir()
    other.write_text(OWN_LOSS.replace("2.0", "5.0"))

    first, second = make_loss(f"{own_file}:Mine", {}), make_loss(f"{other}:Mine", {})

    assert (first.scale, second.scale) == (2.0, 5.0)  # type: ignore[attr-defined]
    for loss in (first, second):
        assert sys.modules[type(loss).__module__].Mine is type(loss)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("Other", 'has no dataclass "Other"'),
        ("not_a_class", 'has no dataclass "not_a_class"'),
        ("", 'has no dataclass ""'),
        ("Silent", "does not say what it needs"),
        ("Misdeclared", r"must declare its metrics like metrics: ClassVar\[.*\] = \('name', 'another'\), got 'value'"),
    ],
)
def test_what_is_no_loss_in_a_file_is_refused(own_file: Path, attribute: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_loss(f"{own_file}:{attribute}", {})


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*nowhere\.py"):
        loss_maker(f"{tmp_path}/nowhere.py:Mine")


@pytest.mark.parametrize(("text", "kind"), [("class", "SyntaxError"), ("import nowhere_to_be_found", "ModuleNotFound")])
def test_a_file_that_cannot_be_imported_is_named_with_the_reason(tmp_path: Path, text: str, kind: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)

    with pytest.raises(ConfigError, match=f"broken.py cannot be imported: {kind}"):
        loss_maker(f"{path}:Mine")
