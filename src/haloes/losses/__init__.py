"""
The losses, one file each: `haloes.losses.KTO(beta=0.1)` is a value that declares what it needs and returns.

    haloes.losses.LOSSES            all of them by name
    haloes.losses.make_loss(...)    one from its name and its hyperparameters
    haloes.losses.is_halo(loss)     whether it is a human-aware loss
    haloes.losses.recommend(...)    which of them suits feedback

The names are imported when they are first used. Type checkers read them in `__init__.pyi`, which `make docs` writes.
"""

from haloes._lazy import homes_by_name, importer
from haloes.losses.table import LOSSES

HOME_OF = LOSSES.classes() | homes_by_name(
    {
        "haloes.api.feedback": ("recommend",),
        "haloes.losses._contract": ("Loss", "LossOutput", "Needs", "Paired", "Unpaired"),
        "haloes.losses.definition": ("is_halo",),
        "haloes.losses.humanline": ("Humanline",),
        "haloes.losses.length_normalised": ("LengthNormalised",),
        "haloes.losses.make": ("make_loss",),
        "haloes.losses.mixture": ("Mixture",),
    }
)

__all__ = list(HOME_OF)
__all__ += ["LOSSES"]
__getattr__ = importer("haloes.losses", HOME_OF)


def __dir__() -> list[str]:
    return sorted(__all__)
