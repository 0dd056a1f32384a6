"""Claim: running by steps comes to the decision of the full grid, or to one that costs less than
the tolerance, in 95 % of replays, at 35 % of its compute or less; and is seldom sure and wrong.

    python benchmarks/adaptive.py [--write]     prints two tables; exit code 1: a limit is missed

Cost: about 5 minutes on one core. A full grid is every arm at 12 seeds, drawn from the means and
the noise of a committed table (docs/results). The error beside a share is its Monte-Carlo error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from decide import BASE, POINT, Floats, drawn, evidence_from, share, table

from headwater.analysis import Aim, decide
from headwater.analysis.adaptive import FIRST_SEEDS, look
from headwater.analysis.evidence import evidence_of
from headwater.rows import read_rows

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "benchmarks" / "adaptive.md"
SEEDS, REPLAYS = 12, 400
TABLES = ("photos", "methods", "grocery", "grocery_partitions", "world")


def stepped(full: Floats, aim: Aim) -> tuple[int, float, str]:
    """(arm, share of the grid that was run, why it ended) of steps through a grid of scores in
    points [seeds, arms].
    """
    seeds, arms = full.shape
    have = np.full(arms, FIRST_SEEDS)
    while True:
        scores = np.where(np.arange(seeds)[:, None] < have, full, np.nan)
        seen = look(evidence_from(scores[None]), aim)
        wanted = [int(name.removeprefix("arm")) for name in seen.arms]
        more = [arm for arm in wanted if have[arm] < seeds]
        if seen.stop or not more:
            best = int(str(seen.decision.best).removeprefix("arm"))
            return best, float(have.sum()) / full.size, seen.stop or "seeds used up"
        have[more] += 1


def moments(name: str) -> tuple[Floats, float]:
    """Means of the arms of a committed table in points, and the noise that they share."""
    line = evidence_of(read_rows(ROOT / "docs" / "results" / f"{name}.parquet")).line("probe")
    assert line is not None
    scores = line.means()
    scores = scores[:, (~np.isnan(scores)).sum(axis=0) >= 3] / POINT
    means = np.nanmean(scores, axis=0)
    noise = scores - means
    noise = noise - np.nanmean(noise, axis=1, keepdims=True)
    df = np.isfinite(noise).sum() - len(means) - len(noise) + 1
    return means, float(np.sqrt(np.nansum(noise**2) / df))


def replays(count: int, missed: list[str]) -> list[str]:
    rng, body = np.random.default_rng(1), []
    aim = Aim()
    for name in TABLES:
        means, noise = moments(name)
        agree, costs, decided = [], [], []
        for _ in range(count):
            full = means + noise * rng.normal(size=(SEEDS, len(means)))
            whole = decide(evidence_from(full[None]), aim, lines=False)
            best = int(str(whole.best).removeprefix("arm"))
            arm, cost, stop = stepped(full, aim)
            behind = full[:, best].mean() - full[:, arm].mean()
            agree.append(behind <= aim.tolerance / POINT)
            costs.append(cost)
            decided.append(stop.startswith(("decided", "within")))
        if np.mean(agree) < 0.95 or np.mean(costs) > 0.35:
            missed.append(f"replays of {name}")
        body.append(
            [
                f"{name}: {len(means)} arms, noise {noise:.2f}",
                share(agree),
                f"{100 * np.mean(costs):.0f}",
                f"{100 * np.quantile(costs, 0.9):.0f}",
                share(decided),
            ]
        )
    head = ["", "same decision %", "compute %", "compute, nine of ten", "decided %"]
    return table(head, body)


def wrong(count: int, missed: list[str]) -> list[str]:
    """How often steps end sure although no arm is the best."""
    rng, body = np.random.default_rng(2), []
    for arms, kind in ((2, "equal"), (5, "equal"), (5, "tops"), (5, "loud tops"), (5, "one loud")):
        ends = []
        for _ in range(count):
            full = drawn(kind, arms, 15, 1, rng)[0]
            ends.append(stepped(full, Aim(tolerance=0.0))[2].startswith("decided"))
        if np.mean(ends) > 0.05 + 2 * (0.05 * 0.95 / count) ** 0.5:
            missed.append(f"sure and wrong: {arms} arms, {kind}")
        body.append([f"{arms} arms, {kind}, 2 to 15 seeds", share(ends)])
    return table(["", "sure %"], body)


def main() -> int:
    parser = argparse.ArgumentParser(description="Running by steps against full grids.")
    parser.add_argument("--replays", type=int, default=REPLAYS)
    parser.add_argument("--write", action="store_true", help="write benchmarks/adaptive.md")
    given = parser.parse_args()
    missed: list[str] = []
    lines = [
        "# Running by steps",
        "",
        f"`python benchmarks/adaptive.py --write`: {given.replays} replays a line. A full grid is "
        f"{SEEDS} seeds of every arm, around {BASE:g} % right; tolerance 0.5 points.",
        "",
        "## Against the full grid",
        "",
        "Same decision: the arm of the full grid, or one less than the tolerance behind it there. "
        "Limits: 95 % and 35 % of the compute.",
        "",
        *replays(given.replays, missed),
        "",
        "## Sure and wrong",
        "",
        "Percent of runs by steps, up to 15 seeds, that end sure although no arm is the best. "
        "Limit: 5.",
        "",
        *wrong(given.replays, missed),
    ]
    print("\n".join(lines))
    if given.write:
        PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"\n{len(missed)} limits missed" + "".join(f"\n- {name}" for name in missed))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
