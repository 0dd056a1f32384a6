"""A curve as it is drawn: its points, its law with what is doubted of it, and how it was fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from headwater.analysis.curves.hiding import Fitter, Hidden
from headwater.analysis.curves.law import LEAST_POINTS
from headwater.analysis.curves.prediction import fit_facts
from headwater.analysis.exchange.side import Side

_STEPS = 60
"""Places of the law that are drawn."""


@dataclass(frozen=True)
class DrawnCurve:
    """One arm over its sizes; errors are percent of the test images."""

    name: str
    points: tuple[dict[str, float], ...]
    """Of each size that was run: n, error, low, high (95 %, over seeds)."""
    line: tuple[dict[str, float], ...]
    """The same of the law, from the first size to as far as it is asked."""
    fit: dict[str, Any]
    """How it was fitted, as of `headwater exchange --curves`."""


def drawn(side: Side, fitter: Fitter, known: Hidden, far: float) -> DrawnCurve:
    """An arm's curve up to n = `far`."""
    from scipy.special import stdtrit

    sizes = side.seeds.n
    t = -float(stdtrit(side.dof, 0.025))
    own = t * np.sqrt(side.squares(np.eye(len(sizes))))
    n = np.unique(np.concatenate([sizes, np.geomspace(sizes[0], max(far, sizes[-1]), _STEPS)]))
    wide = t * np.sqrt(side.squares(side.shares(n)) + side.doubt(n, known))
    return DrawnCurve(
        side.seeds.name,
        _bands(sizes, side.means, own),
        _bands(n, side.errors(n), wide),
        fit_facts(side.seeds.curve, side.law, least=fitter.least, held_out=_held_out(side, fitter)),
    )


def _bands(n: Any, errors: Any, wide: Any) -> tuple[dict[str, float], ...]:
    low, high = np.clip(errors - wide, 0.0, 100.0), np.clip(errors + wide, 0.0, 100.0)
    rows = zip(n.tolist(), errors.tolist(), low.tolist(), high.tolist(), strict=True)
    return tuple(dict(zip(("n", "error", "low", "high"), row, strict=True)) for row in rows)


def _held_out(side: Side, fitter: Fitter) -> float | None:
    """By how much the last size is missed when it is hidden; None of few sizes."""
    curve = side.seeds.curve
    if len(curve.n) < LEAST_POINTS:
        return None
    law = fitter.fit(curve.upto(len(curve.n) - 1))
    return float(abs(law.at(curve.n[-1:])[0][0] - curve.error[-1]))
