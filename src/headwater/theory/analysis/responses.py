"""How neurons answer to features: the ratio of fine to common under coarse labels against k, and
responses and errors while training goes on.

The paper's mechanism: the common feature is in k times as many samples as any fine one, so it takes
the gradient, and under coarse labels the fine features' responses stay about 1/k of the common
one's. Responses are <w, v>, first-layer weights times a feature's vector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
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
"""From here on the law of the ratio is also fitted by itself: at small k fine features are still
seen nearly as often as the common one.
"""
_NETWORK = ("subclasses", "labels")


def _ratios(table: pd.DataFrame, labels: str) -> tuple[pd.DataFrame, list[str]]:
    """Networks at the end of training with their ratio, and the constants that vary among them."""
    ends = networks(table[checked(table)["final"].astype(bool)])
    ends = ends[ends["labels"] == labels]
    ratio = (ends["fine_aligned_mean"] / ends["common_aligned_mean"]).where(
        ends["common_aligned_mean"] > 0
    )
    return ends.assign(ratio=ratio), varying(ends, _NETWORK)


def response_ratio(
    table: pd.DataFrame, *, labels: str = "coarse", level: float = LEVEL
) -> pd.DataFrame:
    """One line per setting and k: fine_aligned_mean / common_aligned_mean at the end of training.

    Columns: settings, subclasses, ratio (mean over seeds), low, high (Student's interval; NaN below
    two seeds), num_seeds, num_not_positive (seeds whose ratio is 0 or less; they are in the mean),
    num_undefined (seeds whose response to the common feature is not above 0: no ratio, and left
    out), num_unconverged.
    """
    import pandas as pd

    ends, settings = _ratios(table, labels)
    found = []
    for key, part in groups(ends, [*settings, "subclasses"]):
        values = seed_values(part, "ratio").tolist()
        mean = t_interval(values, level=level)
        found.append(
            key
            | {
                "ratio": mean.mean,
                "low": mean.low,
                "high": mean.high,
                "num_seeds": mean.num_seeds,
                "num_not_positive": sum(v <= 0 for v in values),
            }
            | {
                "num_undefined": part["seed"].nunique() - len(values),
                "num_unconverged": int((~part.groupby("seed")["converged"].all()).sum()),
            }
        )
    columns = [
        *settings,
        "subclasses",
        "ratio",
        "low",
        "high",
        "num_seeds",
        "num_not_positive",
        "num_undefined",
        "num_unconverged",
    ]
    return pd.DataFrame(found, columns=columns).astype(
        dict.fromkeys(("ratio", "low", "high"), "float64")
    )


def response_exponent(
    table: pd.DataFrame, *, labels: str = "coarse", large_k: int = LARGE_K, level: float = LEVEL
) -> pd.DataFrame:
    """The exponent e of ratio ~ c k^-e, least squares in logs for each seed; one line per setting,
    for all k and for k >= large_k.

    Columns: settings, from_k (smallest k of the fit), to_k, num_k, exponent (mean over seeds), low,
    high (Student's interval over seeds), factor (c, the geometric mean over seeds), r2 (mean share
    of the variance of the log ratio that the line explains; NaN for fits to two k, which prove
    nothing), worst (the largest factor, over seeds and k, between a ratio and its line; 1 is
    perfect), num_seeds (that have two k or more), num_left_out (ratios that have no logarithm: 0,
    less, or undefined; they are in no fit, which then tells of the others alone). The paper's
    mechanism says e = 1.
    """
    import pandas as pd

    ends, settings = _ratios(table, labels)
    found = []
    for setting, part in groups(ends, settings):
        for start in dict.fromkeys((int(part["subclasses"].min()), large_k)):
            found += [setting | record for record in _fit(part[part["subclasses"] >= start], level)]
    columns = [
        *settings,
        "from_k",
        "to_k",
        "num_k",
        "exponent",
        "low",
        "high",
        "factor",
        "r2",
        "worst",
        "num_seeds",
        "num_left_out",
    ]
    out = pd.DataFrame(found, columns=columns).drop_duplicates(ignore_index=True)
    return out.astype(
        dict.fromkeys(("exponent", "low", "high", "factor", "r2", "worst"), "float64")
    )


def _fit(part: pd.DataFrame, level: float) -> Iterator[dict[str, Any]]:
    """The line of some networks, or nothing where there is one k."""
    import numpy as np

    if part["subclasses"].nunique() < 2:
        return
    points = part.groupby(["seed", "subclasses"])["ratio"].mean()
    usable = points[points > 0]
    fits = []
    for _, own in usable.groupby(level="seed"):
        if len(own) > 1:
            fits.append(
                _line(
                    np.log(own.index.get_level_values("subclasses").to_numpy(dtype="float64")),
                    np.log(own.to_numpy(dtype="float64")),
                )
            )
    mean = t_interval([fit[0] for fit in fits], level=level)
    explained = [fit[2] for fit in fits if not math.isnan(fit[2])]
    ks = part["subclasses"]
    yield {
        "from_k": int(ks.min()), "to_k": int(ks.max()), "num_k": int(ks.nunique()), "exponent": mean.mean, "low": mean.low, "high": mean.high,
        "factor": math.exp(math.fsum(fit[1] for fit in fits) / len(fits)) if fits else None,
        "r2": math.fsum(explained) / len(explained) if explained else None,
        "worst": math.exp(max(fit[3] for fit in fits)) if fits else None,
        "num_seeds": mean.num_seeds, "num_left_out": len(points) - len(usable),
    }  # fmt: skip


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """(minus the slope, intercept, share of the variance explained, largest residual) of least
    squares; NaN is explained where the fit is free.
    """
    centred, spread = x - x.mean(), y - y.mean()
    slope = float(centred @ spread / (centred @ centred))
    residuals = spread - slope * centred
    total = float(spread @ spread)
    explained = 1 - float(residuals @ residuals) / total if len(x) > 2 and total > 0 else math.nan
    return -slope, float(y.mean() - slope * x.mean()), explained, float(abs(residuals).max())


def gradual(table: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Responses and errors while training goes on, averaged over seeds: one line per subclasses x
    labels x setting x quantity x step.

    Columns: subclasses, labels, settings, read_out (None for what all read-outs share), quantity (a
    response, a share of neurons or features, train_loss, easy_error or hard_error), steps, mean,
    low, high (Student's interval over seeds; NaN below two), num_seeds, num_stopped (seeds whose
    training had ended by then).

    Seeds that were looked at at other steps meet on straight lines. A network whose training has
    ended stays as it is, and stays in the mean: were it to leave, the end of a curve would tell of
    the slowest seeds alone. One that was not seen to its end is not carried on. Networks that were
    looked at once have no lines.
    """
    import pandas as pd

    looks = networks(table)
    settings = varying(looks, _NETWORK)
    shared = ("train_loss", *RESPONSE_COLUMNS, *SHARES)
    found = [
        key | {"read_out": None} | record
        for key, part in groups(looks, [*_NETWORK, *settings])
        if not part["final"].all()
        for quantity in shared
        for record in _course(part, quantity, level)
    ]
    tests = varying(table)
    for key, part in groups(table, [*CONDITION, *tests]):
        if not part["final"].all():
            found += [
                key | record
                for quantity in ("easy_error", "hard_error")
                for record in _course(part, quantity, level)
            ]
    columns = [
        *_NETWORK,
        *dict.fromkeys([*settings, *tests]),
        "read_out",
        "quantity",
        "steps",
        "mean",
        "low",
        "high",
        "num_seeds",
        "num_stopped",
    ]
    return pd.DataFrame(found, columns=columns).astype(
        dict.fromkeys(("mean", "low", "high"), "float64")
    )


def _course(part: pd.DataFrame, quantity: str, level: float) -> Iterator[dict[str, Any]]:
    """A quantity at every step at which some seed was looked at; nothing where no seed was looked
    at twice.
    """
    import numpy as np

    known = part[part[quantity].notna()]
    courses = {seed: own.groupby("steps")[quantity].mean() for seed, own in known.groupby("seed")}
    if not any(len(course) > 1 for course in courses.values()):
        return
    ends = {
        seed: course.index.max() if known.loc[known["seed"] == seed, "final"].any() else math.inf
        for seed, course in courses.items()
    }
    grid = np.array(
        sorted({step for course in courses.values() for step in course.index}), dtype="float64"
    )
    lines = {
        seed: np.interp(
            grid,
            course.index.to_numpy(dtype="float64"),
            course.to_numpy(dtype="float64"),
            left=np.nan,
            right=_after(course, ends[seed]),
        )
        for seed, course in courses.items()
    }
    for at, step in enumerate(grid):
        values = [float(line[at]) for line in lines.values() if not math.isnan(line[at])]
        mean = t_interval(values, level=level)
        counts = {
            "num_seeds": len(values),
            "num_stopped": sum(end <= step for end in ends.values()),
        }
        yield {
            "quantity": quantity,
            "steps": int(step),
            "mean": mean.mean,
            "low": mean.low,
            "high": mean.high,
        } | counts


def _after(course: pd.Series[float], end: float) -> float:
    """What a line is past its last look: where training ended it stays, else it is not known."""
    return math.nan if math.isinf(end) else float(course.iloc[-1])
