"""
The losses that haloes knows by name, one row each: where its class or its preset is to be found.

A new loss is a file in this folder and a row here. Its public name, its page in `docs/losses.md`, the command line and
the battery of tests follow from the row (`make docs` writes what is generated). Nothing is imported before it is used,
so that the names are there without torch.
"""

import difflib
import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from haloes.errors import ConfigError

if TYPE_CHECKING:
    from haloes.losses.presets import Maker

_ROWS: Final = {
    "Of the KTO paper: its own, and those it compares with": {
        "kto": "kto:KTO",
        "kto-no-reference-point": "presets:kto_no_reference_point",
        "kto-concave": "presets:kto_concave",
        "kto-risk-neutral": "presets:kto_risk_neutral",
        "kto-reference-free": "presets:kto_reference_free",
        "kahneman-tversky": "presets:kahneman_tversky",
        "dpo": "dpo:DPO",
        "sft": "sft:SFT",
        "csft": "csft:CSFT",
        "slic": "slic:SLiC",
        "ppo": "ppo:PPO",
        "ppo-value": "ppo_value:PPOValue",
        "orpo": "orpo:ORPO",
    },
    "On pairs": {
        "ipo": "ipo:IPO",
        "cdpo": "cdpo:CDPO",
        "robust-dpo": "robust_dpo:RobustDPO",
        "hinge": "hinge:Hinge",
        "simpo": "simpo:SimPO",
        "cpo": "cpo:CPO",
        "exo": "exo:EXO",
        "nca": "nca:NCA",
        "sppo": "sppo:SPPO",
        "apo-down": "apo_down:APODown",
        "discopop": "discopop:DiscoPOP",
        "dpop": "dpop:DPOP",
        "ld-dpo": "ld_dpo:LDDPO",
        "wpo": "wpo:WPO",
        "f-dpo-forward-kl": "f_dpo_forward_kl:ForwardKLDPO",
        "f-dpo-jensen-shannon": "f_dpo_jensen_shannon:JensenShannonDPO",
        "f-dpo-alpha": "f_dpo_alpha:AlphaDivergenceDPO",
        "dpo-length-normalised": "presets:dpo_length_normalised",
        "dpo-sft": "presets:dpo_sft",
        "bradley-terry": "bradley_terry:BradleyTerry",
    },
    "On single answers": {
        "unlikelihood": "unlikelihood:Unlikelihood",
        "apo-zero": "presets:apo_zero",
        "bco": "bco:BCO",
        "una": "una:UNA",
        "una-score": "una_score:UNAScore",
        "dro": "dro:DRO",
        "dro-value": "dro_value:DROValue",
        "aot-unpaired": "aot_unpaired:AOTUnpaired",
        "npo": "npo:NPO",
        "pmpo": "pmpo:PMPO",
    },
    "Made of others": {
        "halo": "halo:HALO",
        "humanline": "presets:humanline",
        "length-normalised": "presets:length_normalised",
        "mixture": "presets:mixture",
    },
}


class LossTable(Mapping[str, "Maker"]):
    """Losses by name, in the order of their rows: the class of each, or the preset, imported when it is looked up."""

    def __init__(self, groups: Mapping[str, Mapping[str, str]]) -> None:
        self._rows = {name: row for rows in groups.values() for name, row in rows.items()}
        self.groups: Mapping[str, tuple[str, ...]] = {title: tuple(rows) for title, rows in groups.items()}
        """The names of the losses of each group."""

    def __getitem__(self, name: str) -> "Maker":
        # Imported here and not above: the names of losses must be known without torch.
        module, _, attribute = self._rows[name].partition(":")
        maker: Maker = getattr(importlib.import_module(f"haloes.losses.{module}"), attribute)
        return maker

    def __contains__(self, name: object) -> bool:
        return name in self._rows  # Mapping's own would import the loss

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def classes(self) -> dict[str, str]:
        """Return the names of the classes of losses, with the module that holds each."""
        homes = (row.partition(":")[::2] for row in self._rows.values())
        return {name: f"haloes.losses.{module}" for module, name in homes if module != "presets"}


LOSSES: Final = LossTable(_ROWS)


def check_loss_name(name: str) -> None:
    """Raise ConfigError, with the nearest that there is, where a name is neither a loss's nor path/to/file.py:Class."""
    if name in LOSSES or name.rpartition(":")[0].endswith(".py"):
        return
    if name.endswith(".py"):
        raise ConfigError(f"loss: {name} is a file; name the class in it as well: {name}:Class")
    close = difflib.get_close_matches(name.lower(), LOSSES, n=1)
    hint = f' Did you mean "{close[0]}"?' if close else ""
    known = ", ".join(LOSSES)
    raise ConfigError(f'loss: there is no loss "{name}".{hint} There are: {known}; or path/to/file.py:Class')
