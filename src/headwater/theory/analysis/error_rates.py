"""Errors of simulated networks on easy and hard test samples, with intervals that are honest where
every seed agrees.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
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


def exact_interval(share: float, trials: int, *, level: float = LEVEL) -> tuple[float, float]:
    """The exact binomial interval of Clopper and Pearson (Biometrika 26, 1934) after `share` x
    `trials` successes, ends in [0, 1].
    """
    from scipy.special import betaincinv

    hits = round(share * trials)
    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, trials - hits + 1, tail))
    high = 1.0 if hits == trials else float(betaincinv(hits + 1, trials - hits, 1 - tail))
    return low, high


def agreement(values: list[float], test_samples: float, *, level: float = LEVEL) -> dict[str, Any]:
    """What a mean may be where the t-interval has no width because every seed gave the same error;
    all None and `agree` False where they differ.

    within_low, within_high: `exact_interval` of one network on its own test samples: what other
    test samples could give *these* networks. beyond_low, beyond_high: the mean over all seeds that
    there are, with nothing assumed of how they spread. Where n seeds all gave the error e, at least
    a share q of all seeds does, the lower end of `exact_interval` of n seeds of n, ((1 - level) /
    2) ^ (1 / n); the others lie anywhere in [0, 1], so the mean is between q e and q e + 1 - q.
    (Exact for e = 0 and 1; another e is not known beforehand, and the bound a little too narrow.)
    It is wide, q = 0.29 for three seeds: few seeds that agree prove little about the next. A
    binomial bound over the samples of all seeds together would be narrower than either, and wrong:
    seeds are not samples.
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
    low, high = (
        (None, None)
        if missing(test_samples)
        else exact_interval(error, int(test_samples), level=level)
    )
    share = ((1 - level) / 2) ** (1 / len(values))
    return {
        "agree": True,
        "within_low": low,
        "within_high": high,
        "beyond_low": share * error,
        "beyond_high": share * error + 1 - share,
    }


def errors(table: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """One line per subclasses x labels x read-out x setting (constants that vary, as columns) x
    samples (easy or hard), after training.

    Columns besides: num_labels (median over seeds), samples, error (mean over seeds, share in [0,
    1]), low and high (Student's interval over seeds, cut to [0, 1]; NaN below two seeds),
    num_seeds, num_unmeasured (seeds without this error), num_unconverged (seeds stopped by
    max_steps; they are in the mean), test_samples (the smallest of the seeds), and the five columns
    of `agreement`.
    """
    import pandas as pd

    lines = finished(table)
    settings = varying(lines)
    found = [
        setting | record
        for setting, seeds in per_seed(lines, [*CONDITION, *settings])
        for record in _records(seeds, level)
    ]
    columns = [
        *CONDITION,
        *settings,
        "num_labels",
        "samples",
        "error",
        "low",
        "high",
        "num_seeds",
        "num_unmeasured",
        "num_unconverged",
        "test_samples",
    ]
    columns += ["agree", "within_low", "within_high", "beyond_low", "beyond_high"]
    out = pd.DataFrame(found, columns=columns)
    ends = ["error", "low", "high", "within_low", "within_high", "beyond_low", "beyond_high"]
    return out.astype(dict.fromkeys(ends, "float64"))


def _records(seeds: list[dict[str, Any]], level: float) -> Iterator[dict[str, Any]]:
    for samples in SAMPLES:
        yield told_of(seeds, samples, level=level)


def told_of(seeds: list[dict[str, Any]], samples: str, *, level: float = LEVEL) -> dict[str, Any]:
    """What `errors` tells of one kind of samples, from `per_seed`'s records."""
    values = [
        float(seed[f"{samples}_error"]) for seed in seeds if not missing(seed[f"{samples}_error"])
    ]
    test_samples = min(seed["test_samples"] for seed in seeds)
    return (
        {
            "num_labels": statistics.median(float(seed["num_labels"]) for seed in seeds),
            "samples": samples,
        }
        | bounded(values, level=level)
        | {
            "num_unmeasured": len(seeds) - len(values),
            "num_unconverged": sum(not seed["converged"] for seed in seeds),
            "test_samples": test_samples,
        }
        | agreement(values, test_samples, level=level)
    )


def bounded(values: list[float], *, level: float = LEVEL) -> dict[str, Any]:
    """error, low, high and num_seeds of one share a seed; the ends of the interval are cut to [0,
    1].
    """
    found = t_interval(values, level=level)
    low, high = (
        (None, None)
        if found.low is None or found.high is None
        else (max(0.0, found.low), min(1.0, found.high))
    )
    return {"error": found.mean, "low": low, "high": high, "num_seeds": found.num_seeds}


def phase(
    table: pd.DataFrame, *, read_out: str | None = None, level: float = LEVEL
) -> pd.DataFrame:
    """Hard error over k and sigma_star, for coarse and fine labels: the lines of `errors` for hard
    samples where several sigma_star were tried.

    The columns of `errors`, sigma_star among them. read_out: None takes `main_read_out`. A setting
    with one sigma_star has no lines here.
    """
    lines = finished(table)
    lines = lines[
        lines["labels"].isin(["coarse", "fine"])
        & (lines["read_out"] == (read_out or main_read_out(lines)))
    ]
    settings = varying(lines)
    found = errors(lines, level=level)
    chosen = found[found["samples"] == "hard"]
    if "sigma_star" not in settings:
        return chosen.iloc[:0].assign(sigma_star=math.nan)
    others = [name for name in settings if name != "sigma_star"]
    kept = [
        part for _, part in groups(chosen, ["labels", *others]) if part["sigma_star"].nunique() > 1
    ]
    return chosen.loc[sorted(index for part in kept for index in part.index)].reset_index(drop=True)
