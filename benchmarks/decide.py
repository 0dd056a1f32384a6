"""Claim: a decision is seldom wrong where it is sure, and often sure where something is best.

    python benchmarks/decide.py               prints all tables; exit code 1 where a limit is missed
    python benchmarks/decide.py --write       writes benchmarks/decide.md as well
    python benchmarks/decide.py --only power  one table: false, power, chances, regret, settings,
                                              advice, value, images, committed, time

Cost: about 15 minutes on one core. Scores are in points, own noise has SD 1 unless it is said. Each
cell is 4,000 tables of seeds x arms through the rule's function, 100 of them through `decide` on
rows as well, which must say the same. The error beside a share is its Monte-Carlo error (one SD).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import decide_images
import numpy as np
import pandas as pd
from decision_rules import Told, gutmann_maymin, holm, hsu, own_leads, shrunk, today
from decision_value import HEADS, falls_table, rankings
from numpy.typing import NDArray
from pages import Page, run_parts, share, table
from scipy import special

from headwater.analysis import Aim, Decision, certainty_of, decide
from headwater.analysis.configurations import Configuration
from headwater.analysis.decision import threshold_of
from headwater.analysis.evidence import Evidence, Setting
from headwater.rows import SCHEMA_VERSION, read_rows

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "benchmarks" / "decide.md"
Floats = NDArray[np.float64]
TABLES, THROUGH_ROWS = 4_000, 100
BASE, POINT = 50.0, 0.01
"""Scores of the best arms in points, and what a point is."""


# made-up tables
STRESSES = {
    "all equal": "equal",
    "two tie, the rest 15 below": "tops",
    "the same, tops of SD 2, the rest of SD 0.5": "loud tops",
    "the same, one top of SD 4": "one loud",
    "noise of Student's t with 3 degrees": "t3",
    "SDs lognormal (0.5)": "lognormal",
    "shared seed effects (SD 0.5)": "shared",
    "scores in steps of 1/20": "steps",
}


def drawn(kind: str, arms: int, seeds: int, tables: int, rng: np.random.Generator) -> Floats:
    """Scores in points, float64 [tables, seeds, arms], of arms of which none is the best."""
    means, noise = np.full(arms, BASE), np.ones((tables, 1, arms))
    if kind in ("tops", "loud tops", "one loud"):
        means[2:] -= 15
    if kind == "loud tops":
        noise[:, :, :2], noise[:, :, 2:] = 2.0, 0.5
    if kind == "one loud":
        noise[:, :, 0] = 4.0
    if kind == "lognormal":
        noise = np.exp(rng.normal(0, 0.5, noise.shape))
    shape = (tables, seeds, arms)
    own = rng.standard_t(3, shape) / 3**0.5 if kind == "t3" else rng.normal(size=shape)
    shared = 0.5 * rng.normal(size=(tables, seeds, 1)) if kind == "shared" else 0.0
    scores = means + noise * own + shared
    return np.round(scores / 5) * 5 if kind == "steps" else scores


def led(arms: int, seeds: int, lead: float, tables: int, rng: np.random.Generator) -> Floats:
    """Tables whose first arm is the best by `lead` points."""
    scores = BASE + rng.normal(size=(tables, seeds, arms))
    scores[:, :, 0] += lead
    return scores


def rows_of(scores: Floats, n_test: int = 10**6) -> pd.DataFrame:
    """Scores in points [seeds, arms] as rows of one task."""
    seed, arm = (each.ravel() for each in np.indices(scores.shape))
    names = [f"arm{number}" for number in arm]
    return pd.DataFrame(
        {
            "cell": [f"{s}-{name}" for s, name in zip(seed, names, strict=True)],
            "arm": [f"{s}-{name}" for s, name in zip(seed, names, strict=True)],
            "study": "simulated",
            "status": "done",
            "metric": "top1",
            "subset": "all",
            "value": np.clip(POINT * scores.ravel(), 0, 1),
            "n_test": n_test,
            "method": "supervised",
            "source": names,
            "labels": "level:0",
            "backbone": "tiny",
            "seed": seed,
            "task": "task",
            "task_labels": "level:0",
            "protocol": "finetune",
            "schema": SCHEMA_VERSION,
        }
    )


def evidence_from(scores: Floats) -> Evidence:
    """Scores in points [settings, seeds, arms] as evidence, without going through rows."""
    settings, seeds, arms = scores.shape
    return Evidence(
        arms=tuple(
            Configuration(str(a), f"arm{a}", f"arm{a}", "supervised", "s", None, None, "tiny", "32")
            for a in range(arms)
        ),
        seeds=tuple(range(seeds)),
        settings=tuple(Setting(f"task{s}", "probe", s + 1) for s in range(settings)),
        scores=POINT * scores,
        steps=np.zeros(settings),
        chance=np.zeros(settings),
        tainted=frozenset(),
        diverged={},
        copies=(),
        hours=np.ones(arms),
        leak_free=frozenset(),
    )


# rules
def ours(scores: Floats, step: float = 0.0) -> Told:
    told = certainty_of(scores, step=step)
    threshold = threshold_of(scores.shape[2], scores.shape[1])
    return Told(told.sure(1 - threshold), told.best)


RULES: dict[str, Callable[[Floats], Told]] = {
    "before": today,
    "Holm": holm,
    "GM": gutmann_maymin,
    "MCB": hsu,
    "limma": shrunk,
    "ours": ours,
}


def same_through_rows(scores: Floats, told: Told, n_test: int = 10**6) -> bool:
    """Whether `decide` on rows says of the first tables what the rule's function says."""
    for place in range(min(THROUGH_ROWS, len(scores))):
        decision = decide(rows_of(scores[place], n_test), Aim(tolerance=0.0))
        if decision.sure != bool(told.sure[place]):
            return False
        if told.sure[place] and decision.best != _name(told.best[place]):
            return False
    return True


def _name(arm: Any) -> str:
    return f"supervised level:0 · arm{arm}"


# tables of the page
def false_sure(page: Page, tables: int) -> None:
    page.say("", "## Sure and wrong", "")
    page.say(
        "Percent of tables in which some arm is called the best although none is. Limit: 6.", ""
    )
    rng, body, same = np.random.default_rng(1), [], True
    cells = [(arms, seeds) for arms in (2, 5, 25) for seeds in (3, 5, 10)]
    for name, kind in STRESSES.items():
        row = [name]
        for arms, seeds in cells:
            scores = drawn(kind, arms, seeds, tables, rng)
            told = ours(scores, step=5.0 if kind == "steps" else 0.0)
            same &= same_through_rows(scores, told, 20 if kind == "steps" else 10**6)
            row.append(share(told.sure))
            error = (0.06 * 0.94 / tables) ** 0.5
            page.limit(f"{name}, {arms} arms, {seeds} seeds", told.sure.mean() <= 0.06 + 2 * error)
        body.append(row)
    head = ["", *(f"{arms} arms, {seeds} seeds" for arms, seeds in cells)]
    page.say(*table(head, body))
    page.say("", f"The first {THROUGH_ROWS} tables of each cell through rows: the same answers.")
    page.limit("rows and the rule's function say the same", same)


WANTED = {
    (5, 3, 2): 15, (5, 3, 4): 80, (5, 5, 2): 50, (5, 5, 4): 99,
    (25, 3, 2): 0, (25, 3, 4): 70, (25, 5, 2): 24, (25, 5, 4): 98, (25, 10, 2): 80,
}  # fmt: skip


def power(page: Page, tables: int) -> None:
    page.say("", "## Sure and right", "")
    page.say(
        "Percent of tables. `before`: own t-intervals, Bonferroni; GM: Gutmann and Maymin with own "
        "paired t-tests; MCB: Hsu, one variance; limma: GM with shrunken variances. The last line: "
        "the most often that a rule is sure and wrong in any cell of the first table.",
        "",
    )
    rng, body = np.random.default_rng(2), []
    for (arms, seeds, lead), wanted in WANTED.items():
        scores = led(arms, seeds, lead, tables, rng)
        told = {name: rule(scores) for name, rule in RULES.items()}
        right = {name: each.sure & (each.best == 0) for name, each in told.items()}
        body.append(
            [f"{arms} arms, {seeds} seeds, lead {lead}", *map(share, right.values()), str(wanted)]
        )
        page.limit(
            f"{arms} arms, {seeds} seeds, lead {lead}: {wanted} %",
            right["ours"].mean() >= wanted / 100,
        )
        page.limit("rows say the same of a lead", same_through_rows(scores, told["ours"]))
    body.append(["sure and wrong, at worst", *_worst(tables), ""])
    page.say(*table(["", *RULES, "wanted"], body))


def _worst(tables: int) -> list[str]:
    worst = dict.fromkeys(RULES, 0.0)
    rng = np.random.default_rng(3)
    for kind in STRESSES.values():
        for arms in (5, 25):
            for seeds in (3, 5, 10):
                scores = drawn(kind, arms, seeds, tables, rng)
                if kind == "steps":
                    continue  # rules without a step are sure of nothing but ties there
                for name, rule in RULES.items():
                    worst[name] = max(worst[name], float(rule(scores).sure.mean()))
    return [f"{100 * rate:.1f}" for rate in worst.values()]


def chances(page: Page, tables: int) -> None:
    page.say("", "## P(best)", "")
    page.say(
        "True means are drawn with SD 2 points. In each tenth of what is said of the leader: said "
        "-> true, in percent (tables). Limit: 7 apart, in tenths of 200 tables or more.",
        "",
    )
    rng, body = np.random.default_rng(4), []
    for arms in (5, 25):
        for seeds in (3, 5):
            truth = BASE + rng.normal(0, 2, (tables, arms))
            scores = truth[:, None, :] + rng.normal(size=(tables, seeds, arms))
            told = certainty_of(scores)
            said = np.take_along_axis(told.p_best()[0], told.best[:, None], axis=1)[:, 0]
            right = truth.argmax(axis=1) == told.best
            row = [f"{arms} arms, {seeds} seeds"]
            for tenth in range(2, 10):
                here = np.minimum((10 * said).astype(int), 9) == tenth
                if here.sum() < 50:
                    row.append("")
                    continue
                mean, true = 100 * said[here].mean(), 100 * right[here].mean()
                row.append(f"{mean:.0f} -> {true:.0f} ({here.sum()})")
                if here.sum() >= 200:
                    page.limit(
                        f"P(best) {arms} arms, {seeds} seeds, tenth {tenth}", abs(mean - true) <= 7
                    )
            body.append(row)
    page.say(*table(["", *(f"{10 * t} to {10 * t + 10}" for t in range(2, 10))], body))


def regret(page: Page, tables: int) -> None:
    page.say("", "## The bound of regret", "")
    page.say(
        "What the leader costs at most. True means are equal, spread with SD 2 points, or equal "
        "but for one that is ahead by as much as is hardest to see (2.6 standard errors). Limits: "
        "covers 95 %; where means are spread, a third of the bound before.",
        "",
    )
    rng, body = np.random.default_rng(5), []
    for kind in ("equal", "SD 2", "one ahead"):
        for arms in (5, 25):
            for seeds in (3, 5, 10):
                truth = BASE + rng.normal(0, 2.0 if kind == "SD 2" else 0.0, (tables, arms))
                truth[:, 0] += 1.5 * (3 / seeds) ** 0.5 if kind == "one ahead" else 0.0
                scores = truth[:, None, :] + rng.normal(size=(tables, seeds, arms))
                told = certainty_of(scores)
                cost = truth.max(axis=1) - np.take_along_axis(truth, told.best[:, None], 1)[:, 0]
                covers = cost <= told.regret_bound + 1e-9
                _, leads, errors, others = own_leads(scores)
                quantile = -special.stdtrit(seeds - 1, 0.025 / (arms - 1))
                before = np.where(others, quantile * errors - leads, 0.0).max(axis=1)
                ratio = float(np.median(told.regret_bound) / max(np.median(before), 1e-12))
                body.append(
                    [
                        f"{kind}, {arms} arms, {seeds} seeds",
                        share(covers),
                        f"{np.median(told.regret_bound):.2f}",
                        f"{np.median(before):.2f}",
                        f"{ratio:.2f}",
                    ]
                )
                where = f"{kind}, {arms} arms, {seeds} seeds"
                error = 2 * (0.05 * 0.95 / tables) ** 0.5
                page.limit(f"bound covers, {where}", covers.mean() >= 0.95 - error)
                if kind == "SD 2":
                    page.limit(f"bound is a third, {where}", ratio <= 1 / 3)
    page.say(*table(["", "covers %", "median, points", "before", "ratio"], body))


def settings(page: Page, tables: int) -> None:
    page.say("", "## A report of 20 settings", "")
    rng = np.random.default_rng(6)
    body = []
    for arms in (2, 5):
        wrong = []
        for _ in range(tables // 4):
            decision = decide(
                evidence_from(BASE + rng.normal(size=(20, 3, arms))), Aim(tolerance=0)
            )
            wrong.append(decision.sure or any(line.sure for line in decision.lines))
        body.append([f"{arms} equal arms, 3 seeds", share(wrong)])
        page.limit(
            f"a report of {arms} arms", np.mean(wrong) <= 0.05 + 2 * 0.22 / len(wrong) ** 0.5
        )
    page.say("Percent of reports that are sure of something anywhere. Limit: 5.", "")
    page.say(*table(["", "sure somewhere"], body))


def advice(page: Page, tables: int) -> None:
    page.say("", "## Following the advice to its end", "")
    page.say("Equal arms; every arm gets the seeds that are advised. Percent sure. Limit: 5.", "")
    rng, body = np.random.default_rng(7), []
    for arms, kind in ((2, "equal"), (5, "equal"), (5, "tops"), (25, "tops"), (5, "one loud")):
        for seeds in (3, 5):
            ends = [_followed(arms, kind, seeds, rng) for _ in range(tables // 4)]
            first, last, looks = (np.array(each) for each in zip(*ends, strict=True))
            body.append(
                [
                    f"{arms} arms, {kind}, {seeds} seeds",
                    share(first),
                    share(last),
                    f"{looks.mean():.2f}",
                ]
            )
            bar = 0.05 + 2 * 0.22 / len(last) ** 0.5
            page.limit(f"advice, {arms} arms, {kind}, {seeds} seeds", last.mean() <= bar)
    page.say(*table(["", "at first", "at the end", "looks"], body))


def _followed(arms: int, kind: str, seeds: int, rng: np.random.Generator) -> tuple[bool, bool, int]:
    """(sure at first, sure at the end, looks)."""
    scores = drawn(kind, arms, seeds, 1, rng)[0]
    first = decide(evidence_from(scores[None]), Aim(tolerance=0.0))
    decision, looks = first, 1
    while not decision.sure:
        more = [step.seeds for step in decision.next if step.kind == "seeds"]
        if not more or more[0] is None:
            break
        scores = np.concatenate([scores, drawn(kind, arms, more[0][0], 1, rng)[0]])
        decision, looks = decide(evidence_from(scores[None]), Aim(tolerance=0.0)), looks + 1
    return first.sure, decision.sure, looks


SHORTLISTS = {
    "photos": (Aim(protocol="probe"), 3),
    "methods": (Aim(protocol="probe"), 5),
    "grocery_partitions": (Aim(protocol="probe"), 5),
    "grocery": (Aim(protocol="probe"), 2),
}


def committed(page: Page, tables: int) -> None:
    page.say("", "## Committed rows", "")
    body = []
    for name, (aim, most) in SHORTLISTS.items():
        rows = read_rows(ROOT / "docs" / "results" / f"{name}.parquet")
        body += [_row(name, decide(rows, aim), str(most)), _row(name, decide(rows), "")]
        page.limit(f"shortlist of {name}", len(decide(rows, aim).shortlist) <= most)
    head = ["rows", "protocol", "images", "best", "", "could be best", "wanted", "costs at most"]
    page.say(*table(head, body))


def _row(name: str, decision: Decision, most: str) -> list[str]:
    shots = ", ".join("all" if each == -1 else str(each) for each in decision.shots)
    of = f"{len(decision.shortlist)} of {len(decision.means)}"
    cost = "" if decision.regret_bound is None else f"{100 * decision.regret_bound:.1f}"
    best = str(decision.best)
    return [name, str(decision.protocol), shots, best, decision.confidence, of, most, cost]


def images(page: Page, tables: int) -> None:
    page.say("", "## Other test images", "")
    page.say(
        "Percent of intervals (leader over each other arm) that hold the truth on all images of "
        "the kind: those for these test images, and those for other ones. Limits: 93 to 97. Then: "
        "percent of tables of equal arms in which one is called the best, on these images and on "
        "others. Limit: 6.",
        "",
    )
    lines, limits = decide_images.body(tables // 4)
    head = ["", "for these", "for others", "sure and wrong: these", "others"]
    page.say(*table(head, lines))
    for name, met in limits:
        page.limit(name, met)


def timed(page: Page, tables: int) -> None:
    page.say("", "## Time", "")
    rng = np.random.default_rng(8)
    rows = rows_of(led(20, 10, 2.0, 1, rng)[0])
    decide(rows)
    times = []
    for _ in range(15):
        began = time.perf_counter()
        decide(rows)
        times.append(time.perf_counter() - began)
    took = float(np.median(times))
    page.say(f"`decide` on {len(rows)} rows: {took:.3f} s (median of 15). Limit: 0.1.")
    page.limit("200 rows in 0.1 s", took < 0.1)


def value(page: Page, tables: int) -> None:
    """What a run is said to be worth, and what it does."""
    rng = np.random.default_rng(9)
    page.say("", "## What a run is worth", "")
    page.say("Fall of regret in points by 5 more seeds of the shortlist; 3 seeds, own SD 1.", "")
    page.say(*table(["", "predicted", "realised"], falls_table(tables // 2, rng)))
    page.say("", "Ranked first, and what saves most an hour when it is run (points, error):", "")
    found = rankings(tables // 10, rng)
    page.say(*table(HEADS, [each.cells() for each in found]))
    for each in found:
        page.limit(f"ranking, {each.title}", each.share > 0.5)


PARTS: dict[str, Callable[[Page, int], None]] = {
    "false": false_sure,
    "power": power,
    "chances": chances,
    "regret": regret,
    "settings": settings,
    "advice": advice,
    "value": value,
    "images": images,
    "committed": committed,
    "time": timed,
}


def main() -> int:
    return run_parts(
        PARTS,
        PAGE,
        title="Decisions: how often wrong, how often sure",
        command="python benchmarks/decide.py",
        tables=TABLES,
    )


if __name__ == "__main__":
    sys.exit(main())
