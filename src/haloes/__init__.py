"""
haloes: align language models with human feedback, and measure whether it helped.

    import haloes

    run = haloes.train(feedback="thumbs.jsonl", model="embedded", loss=haloes.KTO(beta=0.1), out="runs/first")

The names below are imported when they are first used, so that `import haloes` takes no time.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from haloes.errors import ConfigError, DataError, Interrupted, MissingInputError, ModelError, RunError, UserError
    from haloes.feedback.read import FeedbackSource
    from haloes.losses._contract import Loss, LossOutput, Needs, Paired, Unpaired
    from haloes.losses.aot_unpaired import AOTUnpaired
    from haloes.losses.apo_down import APODown
    from haloes.losses.bco import BCO
    from haloes.losses.bradley_terry import BradleyTerry
    from haloes.losses.cdpo import CDPO
    from haloes.losses.cpo import CPO
    from haloes.losses.csft import CSFT
    from haloes.losses.discopop import DiscoPOP
    from haloes.losses.dpo import DPO
    from haloes.losses.dpop import DPOP
    from haloes.losses.dro import DRO
    from haloes.losses.dro_value import DROValue
    from haloes.losses.exo import EXO
    from haloes.losses.f_dpo_alpha import AlphaDivergenceDPO
    from haloes.losses.f_dpo_forward_kl import ForwardKLDPO
    from haloes.losses.f_dpo_jensen_shannon import JensenShannonDPO
    from haloes.losses.halo import HALO
    from haloes.losses.hinge import Hinge
    from haloes.losses.humanline import Humanline
    from haloes.losses.ipo import IPO
    from haloes.losses.is_halo import is_halo
    from haloes.losses.kto import KTO
    from haloes.losses.ld_dpo import LDDPO
    from haloes.losses.length_normalised import LengthNormalised
    from haloes.losses.mixture import Mixture
    from haloes.losses.nca import NCA
    from haloes.losses.npo import NPO
    from haloes.losses.orpo import ORPO
    from haloes.losses.pmpo import PMPO
    from haloes.losses.ppo import PPO
    from haloes.losses.ppo_value import PPOValue
    from haloes.losses.robust_dpo import RobustDPO
    from haloes.losses.sft import SFT
    from haloes.losses.simpo import SimPO
    from haloes.losses.slic import SLiC
    from haloes.losses.sppo import SPPO
    from haloes.losses.table import make_loss
    from haloes.losses.una import UNA
    from haloes.losses.una_score import UNAScore
    from haloes.losses.unlikelihood import Unlikelihood
    from haloes.losses.wpo import WPO
    from haloes.records import Completion, Feedback, Message, Pair, Score
    from haloes.runs.align import Run
    from haloes.runs.api import train
    from haloes.runs.export import export_model

__all__ = [
    "BCO",
    "CDPO",
    "CPO",
    "CSFT",
    "DPO",
    "DPOP",
    "DRO",
    "EXO",
    "HALO",
    "IPO",
    "KTO",
    "LDDPO",
    "NCA",
    "NPO",
    "ORPO",
    "PMPO",
    "PPO",
    "SFT",
    "SPPO",
    "UNA",
    "WPO",
    "AOTUnpaired",
    "APODown",
    "AlphaDivergenceDPO",
    "BradleyTerry",
    "Completion",
    "ConfigError",
    "DROValue",
    "DataError",
    "DiscoPOP",
    "Feedback",
    "FeedbackSource",
    "ForwardKLDPO",
    "Hinge",
    "Humanline",
    "Interrupted",
    "JensenShannonDPO",
    "LengthNormalised",
    "Loss",
    "LossOutput",
    "Message",
    "MissingInputError",
    "Mixture",
    "ModelError",
    "Needs",
    "PPOValue",
    "Pair",
    "Paired",
    "RobustDPO",
    "Run",
    "RunError",
    "SLiC",
    "Score",
    "SimPO",
    "UNAScore",
    "Unlikelihood",
    "Unpaired",
    "UserError",
    "export_model",
    "is_halo",
    "make_loss",
    "train",
]

_HOMES = {
    "haloes.errors": (
        "ConfigError",
        "DataError",
        "Interrupted",
        "MissingInputError",
        "ModelError",
        "RunError",
        "UserError",
    ),
    "haloes.feedback.read": ("FeedbackSource",),
    "haloes.losses._contract": ("Loss", "LossOutput", "Needs", "Paired", "Unpaired"),
    "haloes.losses.aot_unpaired": ("AOTUnpaired",),
    "haloes.losses.apo_down": ("APODown",),
    "haloes.losses.bco": ("BCO",),
    "haloes.losses.bradley_terry": ("BradleyTerry",),
    "haloes.losses.cdpo": ("CDPO",),
    "haloes.losses.cpo": ("CPO",),
    "haloes.losses.csft": ("CSFT",),
    "haloes.losses.discopop": ("DiscoPOP",),
    "haloes.losses.dpo": ("DPO",),
    "haloes.losses.dpop": ("DPOP",),
    "haloes.losses.dro": ("DRO",),
    "haloes.losses.dro_value": ("DROValue",),
    "haloes.losses.exo": ("EXO",),
    "haloes.losses.f_dpo_alpha": ("AlphaDivergenceDPO",),
    "haloes.losses.f_dpo_forward_kl": ("ForwardKLDPO",),
    "haloes.losses.f_dpo_jensen_shannon": ("JensenShannonDPO",),
    "haloes.losses.halo": ("HALO",),
    "haloes.losses.hinge": ("Hinge",),
    "haloes.losses.humanline": ("Humanline",),
    "haloes.losses.ipo": ("IPO",),
    "haloes.losses.is_halo": ("is_halo",),
    "haloes.losses.kto": ("KTO",),
    "haloes.losses.ld_dpo": ("LDDPO",),
    "haloes.losses.length_normalised": ("LengthNormalised",),
    "haloes.losses.mixture": ("Mixture",),
    "haloes.losses.nca": ("NCA",),
    "haloes.losses.npo": ("NPO",),
    "haloes.losses.orpo": ("ORPO",),
    "haloes.losses.pmpo": ("PMPO",),
    "haloes.losses.ppo": ("PPO",),
    "haloes.losses.ppo_value": ("PPOValue",),
    "haloes.losses.robust_dpo": ("RobustDPO",),
    "haloes.losses.sft": ("SFT",),
    "haloes.losses.simpo": ("SimPO",),
    "haloes.losses.slic": ("SLiC",),
    "haloes.losses.sppo": ("SPPO",),
    "haloes.losses.table": ("make_loss",),
    "haloes.losses.una": ("UNA",),
    "haloes.losses.una_score": ("UNAScore",),
    "haloes.losses.unlikelihood": ("Unlikelihood",),
    "haloes.losses.wpo": ("WPO",),
    "haloes.runs.align": ("Run",),
    "haloes.runs.api": ("train",),
    "haloes.runs.export": ("export_model",),
    "haloes.records": ("Completion", "Feedback", "Message", "Pair", "Score"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'haloes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
