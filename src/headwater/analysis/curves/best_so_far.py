"""Curves that were made monotone before they were published: the best score so far.

The public few-shot curves of Alabdulmohsin et al. 2022 are such: none of their 3,500 steps of the
part to be fitted goes up, and two in five of the part to be predicted do. How far single scores lie
from the curve cannot be seen in such a curve. It is guessed, and told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.curves.curve import Curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headwater.analysis.curves.law import Law

HIDDEN_NOISE = 2.6
"""The spread of single scores over what the best so far leave over: it is twice as large in the
median of the public curves, and centred half of it higher, which an interval has to hold as well
[ours].
"""
_FEW = 0.3
_BY_CHANCE = 1e-3


def best_so_far(curves: Sequence[Curve], laws: Sequence[Law]) -> NDArray[np.bool_]:
    """Which curves were made monotone: no step goes up, and with their noise that has a chance
    below one in a thousand, in this curve or in all curves of the table together.
    """
    from scipy.special import ndtr

    expected, seen, chance = [], [], []
    for curve, law in zip(curves, laws, strict=True):
        falls = -np.diff(curve.error)
        up = ndtr(-falls / np.sqrt(2 * law.noise.variance))
        expected.append(float(up.sum()))
        seen.append(int((falls < 0).sum()))
        chance.append(float(np.log1p(-np.minimum(up, 0.999)).sum()))
    all_of_them = sum(seen) < _FEW * sum(expected) - 3
    rare = np.array(chance) < np.log(_BY_CHANCE)
    return np.asarray((np.array(seen) == 0) & (rare | all_of_them), dtype=np.bool_)
