"""The values of two models on the same prompts, whose difference is paired by prompt."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from haloes.stats.bootstrap import Codes, Floats, codes_for, require_same_prompts

# Shapes: N rows before, M rows after.


@dataclass(frozen=True, slots=True)
class BothSides:
    """A value for each row of the model before and of the model after."""

    before: ArrayLike
    before_keys: Sequence[Hashable]
    """The prompt of each row before, (N,)."""
    after: ArrayLike
    after_keys: Sequence[Hashable]
    """Those of the rows after, (M,): the same prompts, in any order and with any number of rows."""

    def codes(self, before_N: Floats, after_M: Floats, name: str) -> tuple[Codes, Codes]:
        """
        Number the prompts of both sides' checked values, so that a prompt is the same one on either.

        Raises:
            DataError: the sides are about different prompts, or the lengths differ.
        """
        codes = codes_for(np.concatenate([before_N, after_M]), [*self.before_keys, *self.after_keys], name)
        require_same_prompts(self.before_keys, self.after_keys, name)
        return codes[: len(before_N)], codes[len(before_N) :]
