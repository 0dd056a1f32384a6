"""Claim: running by steps comes to the decision of the full grid, or to one that costs less than
the tolerance, in 95 % of replays, at 35 % of its compute or less; and is seldom sure and wrong.

    python benchmarks/adaptive.py [--write]     prints two tables; exit code 1: a limit is missed

Cost: about 8 minutes on one core. A full grid is every arm at 12 seeds: drawn from the means and
the noise of a committed table (docs/results), or measured (grid_world, grid_photos), its seeds in a
random order. The error beside a share is its Monte-Carlo error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path as File

import numpy as np
from decide import BASE, POINT, Floats, drawn, evidence_from
from pages import share, table

from headwater.analysis import Aim, decide
from headwater.analysis.adaptive import FIRST_SEEDS, following, look
from headwater.analysis.evidence import evidence_of
from headwater.rows import read_rows

ROOT = File(__file__).parents[1]
PAGE = ROOT / "benchmarks" / "adaptive.md"
SEEDS, REPLAYS = 12, 400
CAPS = (0.17, 0.25, 0.35, 0.5, 0.75, 1.0)
"""Shares of the full grid's compute."""
MEASURED = ("grid_world", "grid_photos")
TABLES = ("photos", "methods", "grocery", "grocery_partitions", "world")


@dataclass(frozen=True)
class Path:
    """Steps through a grid."""

    leaders: list[int]
    """The leading arm after each step."""
    costs: list[float]
    """Share of the grid's compute that was spent by then."""
    stop: str
    """Why it ended."""

    def leader_at(self, cap: float) -> int | None:
        """Of the last step that a budget allows; None where it does not allow the first one."""
        allowed = [
            leader
            for leader, cost in zip(self.leaders, self.costs, strict=True)
            if cost <= cap + 1e-9
        ]
        return allowed[-1] if allowed else None


def stepped(full: Floats, aim: Aim, prices: Floats | None = None, *, rest: bool = False) -> Path:
    """Steps through a grid of scores in points [seeds, arms]; `prices` [arms] of one seed. With
    `rest` there is a budget that is never used up.
    """
    seeds, arms = full.shape
    prices = np.ones(arms) if prices is None else prices
    have = np.full(arms, FIRST_SEEDS)
    leaders, costs = [], []
    while True:
        scores = np.where(np.arange(seeds)[:, None] < have, full, np.nan)
        seen = look(evidence_from(scores[None]), aim)
        leaders.append(int(str(seen.decision.best).removeprefix("arm")))
        costs.append(float((have * prices).sum() / (seeds * prices.sum())))
        able = [f"arm{arm}" for arm in range(arms) if have[arm] < seeds]
        more = [int(name.removeprefix("arm")) for name in following(seen, able, budgeted=rest)]
        if seen.stop or not more:
            return Path(leaders, costs, seen.stop or "seeds used up")
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
    rng, body, curves = np.random.default_rng(1), [], []
    for name in TABLES:
        means, noise = moments(name)
        grids = (means + noise * rng.normal(size=(SEEDS, len(means))) for _ in range(count))
        title = f"{name}: {len(means)} arms, noise {noise:.2f}"
        _replay(title, grids, None, body, curves, missed)
    for name in MEASURED:
        scores, hours = measured(name)
        grids = (rng.permutation(scores) for _ in range(count))
        title = f"{name}, measured: {scores.shape[1]} arms"
        _replay(title, grids, hours, body, curves, missed)
    head = ["", "same decision %", "compute %", "compute, nine of ten", "decided %"]
    lines = table(head, body)
    caps = [f"{100 * cap:.0f} %" for cap in CAPS]
    return [*lines, "", CURVE, "", *table(["", *caps], curves)]


CURVE = (
    "Same decision, percent, where a budget ends the steps (share of the full grid's compute); "
    "below it, where the same budget buys every arm equally many seeds."
)


def measured(name: str) -> tuple[Floats, Floats]:
    """(scores in points [seeds, arms], hours of a seed [arms]) of a committed grid."""
    found = evidence_of(read_rows(ROOT / "docs" / "results" / f"{name}.parquet"))
    line = found.line("probe")
    assert line is not None
    hours = np.array([found.hours_of(arm) for arm in line.arms], dtype=np.float64)
    return line.means() / POINT, hours


def _replay(
    title: str,
    grids: Iterable[Floats],
    prices: Floats | None,
    body: list[list[str]],
    curves: list[list[str]],
    missed: list[str],
) -> None:
    """Adds a line on steps through these grids to the table, and two to the curve."""
    aim = Aim()
    agree, costs, decided, by_cap, equal = [], [], [], [], []
    for full in grids:
        whole = decide(evidence_from(full[None]), aim, lines=False)
        best = int(str(whole.best).removeprefix("arm"))
        behind = full.mean(axis=0)[best] - full.mean(axis=0)
        same = behind <= aim.tolerance / POINT
        path = stepped(full, aim, prices)
        agree.append(same[path.leaders[-1]])
        costs.append(path.costs[-1])
        decided.append(path.stop.startswith(("decided", "within")))
        leaders = [path.leader_at(cap) for cap in CAPS]
        by_cap.append([leader is not None and same[leader] for leader in leaders])
        numbers = [int(cap * len(full) + 1e-9) for cap in CAPS]
        equal.append(
            [number > 0 and same[full[:number].mean(axis=0).argmax()] for number in numbers]
        )
    if np.mean(agree) < 0.95 or np.mean(costs) > 0.35:
        missed.append(f"replays of {title}")
    nine = f"{100 * np.quantile(costs, 0.9):.0f}"
    body.append([title, share(agree), f"{100 * np.mean(costs):.0f}", nine, share(decided)])
    curves.append([title, *(f"{100 * rate:.0f}" for rate in np.mean(by_cap, axis=0))])
    curves.append(["equal seeds", *(f"{100 * rate:.0f}" for rate in np.mean(equal, axis=0))])


def wrong(count: int, missed: list[str]) -> list[str]:
    """How often steps end sure although no arm is the best."""
    rng, body = np.random.default_rng(2), []
    for arms, kind in ((2, "equal"), (5, "equal"), (5, "tops"), (5, "loud tops"), (5, "one loud")):
        ends = []
        for _ in range(count):
            full = drawn(kind, arms, 15, 1, rng)[0]
            ends.append(stepped(full, Aim(tolerance=0.0)).stop.startswith("decided"))
        if np.mean(ends) > 0.05 + 2 * (0.05 * 0.95 / count) ** 0.5:
            missed.append(f"sure and wrong: {arms} arms, {kind}")
        body.append([f"{arms} arms, {kind}, 2 to 15 seeds", share(ends)])
    for arms, seeds, kind in (
        *((arms, seeds, "equal") for arms, seeds in ((5, 5), (13, 5), (5, 15), (13, 15))),
        *((5, seeds, kind) for seeds in (5, 15) for kind in ("tops", "loud tops", "one loud")),
    ):
        ends = []
        for _ in range(count):
            full = drawn(kind, arms, seeds, 1, rng)[0]
            path = stepped(full, Aim(tolerance=0.0), rest=True)
            ends.append(path.stop.startswith("decided"))
        if np.mean(ends) > 0.05 + 2 * (0.05 * 0.95 / count) ** 0.5:
            missed.append(f"sure and wrong: {arms} arms, {seeds} seeds, a budget with room")
        line = f"{arms} arms, {kind}, 2 to {seeds} seeds, a budget with room for all"
        body.append([line, share(ends)])
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
