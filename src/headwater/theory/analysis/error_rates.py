"""Errors of simulated networks on easy and hard test samples, with honest intervals.

Where every seed gave the same error, Student's interval has no width; what can be said there
instead stands beside it (`agreement`).
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Any

from headwater.analysis.intervals import LEVEL, t_interval
from headwater.analysis.words import missing
from headwater.theory.analysis.settings import (
    CONDITION,
    finished,
    groups,
    main_read_out,
    per_seed,
    varying,
)

if TYPE_CHECKING:
    import pandas as pd

SAMPLES = ("easy", "hard")
SHARE_COLUMNS = (
    *("error", "low", "high"),
    *("within_low", "within_high", "beyond_low", "beyond_high"),
)
ERROR_COLUMNS = (
    *("error", "low", "high", "num_seeds", "num_unmeasured", "num_unconverged", "test_samples"),
    *("agree", "within_low", "within_high", "beyond_low", "beyond_high"),
)
"""What a line tells of an error, after what it is an error of."""


def exact_interval(share: float, trials: int, *, level: float = LEVEL) -> tuple[float, float]:
    """The exact binomial interval after `share` x `trials` successes, ends in [0, 1].

    Clopper and Pearson, Biometrika 26, 1934.
    """
    from scipy.special import betaincinv

    hits = round(share * trials)
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 1 - tail))
    return low, high


def agreement(values: list[float], test_samples: float, *, level: float = LEVEL) -> dict[str, Any]:
    """What a mean may be where every seed gave the same error; all None where they differ.

    within_low and within_high are the `exact_interval` of one network on its own test samples: what
    other test samples could give *these* networks.

    beyond_low and beyond_high hold the mean over all seeds that there are, with nothing assumed of
    how they spread. Where n seeds all gave the error e, at least a share q of all seeds does: the
    lower end of `exact_interval` of n of n, ((1 - level) / 2) ^ (1 / n). The others lie anywhere in
    [0, 1], so the mean is between q e and q e + 1 - q. This is exact for e = 0 and 1; another e is
    not known beforehand, and the bound a little too narrow. It is wide, q = 0.29 for three seeds,
    because few seeds that agree prove little about the next. A binomial bound over the samples of
    all seeds together would be narrower than either, and wrong: seeds are not samples.
    """
    if len(values) < 2 or any(value != values[0] for value in values):
        return {
            "agree": False,
            "within_low": None,
            "within_high": None,
            "beyond_low": None,
            "beyond_high": None,
        }
    error = values[0]
    low = high = None
    if not missing(test_samples):
        low, high = exact_interval(error, int(test_samples), level=level)
    share = ((1 - level) / 2) ** (1 / len(values))
    return {
        "agree": True,
        "within_low": low,
        "within_high": high,
        "beyond_low": share * error,
        "beyond_high": share * error + 1 - share,
    }


def errors(table: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Errors after training: one line per subclasses x labels x read-out x setting x samples.

    Settings are the constants that vary, as columns. Columns besides: num_labels (median over
    seeds); samples (easy or hard); error (mean over seeds, share in [0, 1]); low and high
    (Student's interval over seeds, cut to [0, 1]; NaN below two seeds); num_seeds; num_unmeasured
    (seeds without this error); num_unconverged (seeds stopped by max_steps; they are in the mean);
    test_samples (the smallest of the seeds); and the five columns of `agreement`.
    """
    import pandas as pd

    ends = finished(table)
    settings = varying(ends)
    lines = []
    for setting, seeds in per_seed(ends, [*CONDITION, *settings]):
        for samples in SAMPLES:
            lines.append(setting | summary(seeds, samples, level=level))
    columns = [*CONDITION, *settings, "num_labels", "samples", *ERROR_COLUMNS]
    return pd.DataFrame(lines, columns=columns).astype(dict.fromkeys(SHARE_COLUMNS, "float64"))


def summary(seeds: list[dict[str, Any]], samples: str, *, level: float = LEVEL) -> dict[str, Any]:
    """The line of `errors` of one kind of samples, from `per_seed`'s records."""
    values = [float(seed[f"{samples}_error"]) for seed in seeds]
    measured = [value for value in values if not missing(value)]
    test_samples = min(seed["test_samples"] for seed in seeds)
    return {
        "num_labels": statistics.median(float(seed["num_labels"]) for seed in seeds),
        "samples": samples,
        **bounded(measured, level=level),
        "num_unmeasured": len(seeds) - len(measured),
        "num_unconverged": sum(not seed["converged"] for seed in seeds),
        "test_samples": test_samples,
        **agreement(measured, test_samples, level=level),
    }


def bounded(values: list[float], *, level: float = LEVEL) -> dict[str, Any]:
    """error, low, high and num_seeds from one share for each seed.

    The ends of the interval are cut to [0, 1].
    """
    mean = t_interval(values, level=level)
    low = None if mean.low is None else max(0.0, mean.low)
    high = None if mean.high is None else min(1.0, mean.high)
    return {"error": mean.mean, "low": low, "high": high, "num_seeds": mean.num_seeds}


def phase(
    table: pd.DataFrame, *, read_out: str | None = None, level: float = LEVEL
) -> pd.DataFrame:
    """Hard error over k and sigma_star for coarse and fine labels: lines of `errors`.

    Only settings at which several sigma_star were tried have lines here. read_out: None takes
    `main_read_out`.
    """
    ends = finished(table)
    asked = ends["read_out"] == (read_out or main_read_out(ends))
    ends = ends[ends["labels"].isin(["coarse", "fine"]) & asked]
    settings = varying(ends)
    lines = errors(ends, level=level)
    hard = lines[lines["samples"] == "hard"]
    if "sigma_star" not in settings:
        return hard.iloc[:0].assign(sigma_star=math.nan)
    others = [name for name in settings if name != "sigma_star"]
    kept: list[Any] = []
    for _, plane in groups(hard, ["labels", *others]):
        if plane["sigma_star"].nunique() > 1:
            kept += plane.index.tolist()
    return hard.loc[sorted(kept)].reset_index(drop=True)
