"""How neurons answer to features: fine against common ones over k, and while training goes on.

The mechanism of Hong et al. 2023: the common feature is in k times as many samples as any fine one,
so it takes the gradient, and under coarse labels the responses to fine features stay about 1/k of
those to the common one. A response is <w, v>, first-layer weights times a feature's vector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.analysis.intervals import LEVEL, t_interval
from headwater.theory.analysis.settings import (
    CONDITION,
    RESPONSE_COLUMNS,
    SHARES,
    checked,
    groups,
    networks,
    seed_values,
    varying,
)

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

LARGE_K = 8
"""From here on the law of the ratio is also fitted by itself.

At small k fine features are still seen nearly as often as the common one.
"""
_NETWORK = ("subclasses", "labels")
_INTERVAL = ("mean", "low", "high")


def _ratios(table: pd.DataFrame, labels: str) -> tuple[pd.DataFrame, list[str]]:
    """Networks at the end of training with their ratio, and the constants that vary among them."""
    ends = networks(table[checked(table)["final"].astype(bool)])
    ends = ends[ends["labels"] == labels]
    fine, common = ends["fine_aligned_mean"], ends["common_aligned_mean"]
    return ends.assign(ratio=(fine / common).where(common > 0)), varying(ends, _NETWORK)


def response_ratio(
    table: pd.DataFrame, *, labels: str = "coarse", level: float = LEVEL
) -> pd.DataFrame:
    """fine_aligned_mean / common_aligned_mean at the end of training: one line per setting and k.

    Columns: settings; subclasses; ratio (mean over seeds); low, high (Student's interval; NaN below
    two seeds); num_seeds; num_not_positive (seeds whose ratio is 0 or less; they are in the mean);
    num_undefined (seeds whose response to the common feature is not above 0: they have no ratio,
    and are left out); num_unconverged.
    """
    import pandas as pd

    ends, settings = _ratios(table, labels)
    lines = []
    for setting, trained in groups(ends, [*settings, "subclasses"]):
        values = seed_values(trained, "ratio").tolist()
        mean = t_interval(values, level=level)
        lines.append(
            setting
            | {
                "ratio": mean.mean,
                "low": mean.low,
                "high": mean.high,
                "num_seeds": mean.num_seeds,
                "num_not_positive": sum(value <= 0 for value in values),
                "num_undefined": trained["seed"].nunique() - len(values),
                "num_unconverged": int((~trained.groupby("seed")["converged"].all()).sum()),
            }
        )
    shares = ("ratio", "low", "high")
    counts = ("num_seeds", "num_not_positive", "num_undefined", "num_unconverged")
    columns = [*settings, "subclasses", *shares, *counts]
    return pd.DataFrame(lines, columns=columns).astype(dict.fromkeys(shares, "float64"))


def response_exponent(
    table: pd.DataFrame, *, labels: str = "coarse", large_k: int = LARGE_K, level: float = LEVEL
) -> pd.DataFrame:
    """The exponent e of ratio ~ c k^-e, fitted by least squares in logs for each seed.

    One line per setting for all k, and one for k >= large_k. The mechanism of Hong et al. 2023 says
    e = 1. Columns:

    settings, from_k (smallest k of the fit), to_k, num_k
    exponent    mean over seeds; low, high: Student's interval over seeds
    factor      c, the geometric mean over seeds
    r2          mean share of the variance of the log ratio that the line explains; NaN for fits to
                two k, which prove nothing
    worst       the largest factor, over seeds and k, between a ratio and its line; 1 is perfect
    num_seeds   seeds that have two k or more
    num_left_out   ratios that have no logarithm (0, less, or undefined); they are in no fit, which
                then tells of the others alone
    """
    import pandas as pd

    ends, settings = _ratios(table, labels)
    lines = []
    for setting, at_setting in groups(ends, settings):
        for start in dict.fromkeys((int(at_setting["subclasses"].min()), large_k)):
            fitted = at_setting[at_setting["subclasses"] >= start]
            if fitted["subclasses"].nunique() > 1:
                lines.append(setting | _fit(fitted, level))
    values = ("exponent", "low", "high", "factor", "r2", "worst")
    columns = [*settings, "from_k", "to_k", "num_k", *values, "num_seeds", "num_left_out"]
    frame = pd.DataFrame(lines, columns=columns).drop_duplicates(ignore_index=True)
    return frame.astype(dict.fromkeys(values, "float64"))


@dataclass(frozen=True)
class _Line:
    """A line of least squares."""

    slope: float
    intercept: float
    explained: float
    """Share of the variance; NaN where the fit is free."""
    worst: float
    """Largest residual."""

    @classmethod
    def through(cls, x: NDArray[np.float64], y: NDArray[np.float64]) -> _Line:
        centred, spread = x - x.mean(), y - y.mean()
        slope = float(centred @ spread / (centred @ centred))
        residuals = spread - slope * centred
        total = float(spread @ spread)
        explained = math.nan
        if len(x) > 2 and total > 0:
            explained = 1 - float(residuals @ residuals) / total
        intercept = float(y.mean() - slope * x.mean())
        return cls(slope, intercept, explained, float(abs(residuals).max()))


def _fit(trained: pd.DataFrame, level: float) -> dict[str, Any]:
    """The lines of all seeds of some networks, as one line of `response_exponent`."""
    import numpy as np

    points = trained.groupby(["seed", "subclasses"])["ratio"].mean()
    usable = points[points > 0]
    fits = []
    for _, of_seed in usable.groupby(level="seed"):
        if len(of_seed) > 1:
            ks = of_seed.index.get_level_values("subclasses").to_numpy(dtype="float64")
            fits.append(_Line.through(np.log(ks), np.log(of_seed.to_numpy(dtype="float64"))))
    mean = t_interval([-fit.slope for fit in fits], level=level)
    explained = [fit.explained for fit in fits if not math.isnan(fit.explained)]
    factor = worst = None
    if fits:
        factor = math.exp(math.fsum(fit.intercept for fit in fits) / len(fits))
        worst = math.exp(max(fit.worst for fit in fits))
    return {
        "from_k": int(trained["subclasses"].min()),
        "to_k": int(trained["subclasses"].max()),
        "num_k": int(trained["subclasses"].nunique()),
        "exponent": mean.mean,
        "low": mean.low,
        "high": mean.high,
        "factor": factor,
        "r2": math.fsum(explained) / len(explained) if explained else None,
        "worst": worst,
        "num_seeds": mean.num_seeds,
        "num_left_out": len(points) - len(usable),
    }


def gradual(table: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Responses and errors while training goes on, averaged over seeds.

    One line per subclasses x labels x setting x quantity x step. Columns: subclasses; labels;
    settings; read_out (None for what all read-outs share); quantity (a response, a share of neurons
    or features, train_loss, easy_error or hard_error); steps; mean; low, high (Student's interval
    over seeds; NaN below two); num_seeds; num_stopped (seeds whose training had ended by then).

    Seeds that were looked at at other steps meet on straight lines. A network whose training has
    ended stays as it is, and stays in the mean: were it to leave, the end of a curve would tell of
    the slowest seeds alone. One that was not seen to its end is not carried on. Networks that were
    looked at once have no lines.
    """
    import pandas as pd

    looks = networks(table)
    settings, tests = varying(looks, _NETWORK), varying(table)
    lines: list[dict[str, Any]] = []
    for setting, at_setting in groups(looks, [*_NETWORK, *settings]):
        if not at_setting["final"].all():
            for quantity in ("train_loss", *RESPONSE_COLUMNS, *SHARES):
                for step in _course(at_setting, quantity, level):
                    lines.append(setting | {"read_out": None} | step)
    for setting, at_setting in groups(table, [*CONDITION, *tests]):
        if not at_setting["final"].all():
            for quantity in ("easy_error", "hard_error"):
                for step in _course(at_setting, quantity, level):
                    lines.append(setting | step)
    constants = dict.fromkeys([*settings, *tests])
    counts = ("num_seeds", "num_stopped")
    columns = [*_NETWORK, *constants, "read_out", "quantity", "steps", *_INTERVAL, *counts]
    return pd.DataFrame(lines, columns=columns).astype(dict.fromkeys(_INTERVAL, "float64"))


def _course(lines: pd.DataFrame, quantity: str, level: float) -> Iterator[dict[str, Any]]:
    """A quantity at every step at which some seed was looked at.

    Nothing where no seed was looked at twice.
    """
    import numpy as np

    known = lines[lines[quantity].notna()]
    courses, ends = [], []
    for _, of_seed in known.groupby("seed"):
        course = of_seed.groupby("steps")[quantity].mean()
        courses.append(course)
        ends.append(float(course.index.max()) if of_seed["final"].any() else math.inf)
    if not any(len(course) > 1 for course in courses):
        return
    looked_at: set[float] = set()
    for course in courses:
        looked_at |= {*course.index}
    grid = np.array(sorted(looked_at), dtype="float64")
    curves = np.stack(
        [_interpolated(course, end, grid) for course, end in zip(courses, ends, strict=True)]
    )
    for number, step in enumerate(grid):
        values = curves[:, number]
        values = values[~np.isnan(values)].tolist()
        mean = t_interval(values, level=level)
        yield {
            "quantity": quantity,
            "steps": int(step),
            "mean": mean.mean,
            "low": mean.low,
            "high": mean.high,
            "num_seeds": len(values),
            "num_stopped": sum(end <= step for end in ends),
        }


def _interpolated(
    course: pd.Series[float], end: float, grid: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A course at the steps of a grid, by straight lines.

    Past its last look it stays where training has ended, else it is not known.
    """
    import numpy as np

    steps, values = course.index.to_numpy(dtype="float64"), course.to_numpy(dtype="float64")
    after = math.nan if math.isinf(end) else float(values[-1])
    return np.interp(grid, steps, values, left=np.nan, right=after)
