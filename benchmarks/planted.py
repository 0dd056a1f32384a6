"""Claim: where the best source and the best labels are known because they were planted, a decision
is right or open, seldom sure and wrong, and mostly made.

    python benchmarks/planted.py --store DIR           40 worlds; exit code 1: a limit is missed
    python benchmarks/planted.py --store DIR --write   writes benchmarks/planted.md as well
    python benchmarks/planted.py --store DIR --audit   other worlds of each kind: is the plant true?

Cost: about 30 minutes on 2 cores, the audit 20. Each world is a study of its own that is run whole:
drawn, pre-trained, measured and decided by its `decide:` block, in a store of its own under DIR, so
that a benchmark that was killed goes on. Nothing is simulated. World n follows from n alone.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from decide import RULES
from numpy.typing import NDArray
from planted_worlds import TOLERANCE, Arm, Plant, planted

import headwater
from headwater.analysis import Aim, decide, prepare
from headwater.analysis.evidence import evidence_of
from headwater.facts.decisions import aim_of
from headwater.rows import read_rows
from headwater.study import Study

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "benchmarks" / "planted.md"
Floats = NDArray[np.float64]
WORLDS, AUDITED, FIRST_AUDITED, AUDIT_SEEDS = 40, 20, 1000, 2
AGAIN = list(range(100, 105))
"""Seeds that tell whether the plant is true in a world whose pick was another arm."""
MOST_WRONG, LEAST_DECIDED = 0.05, 0.60


@dataclass(frozen=True)
class Outcome:
    """What was decided in a world, in terms of its arms."""

    plant: Plant
    confidence: str
    sure: bool
    decided: bool
    pick: Arm
    shortlist: tuple[Arm, ...]
    p_best: dict[Arm, float]
    means: dict[Arm, float]
    """Points."""
    regret_bound: float
    """Points."""
    seconds: float
    arms: tuple[Arm, ...] = ()
    scores: Floats | None = None
    """Points, float64 [seeds, arms], in the order of `arms`."""


@dataclass(frozen=True)
class Again:
    """A world whose pick was not the planted best, with the seeds of `AGAIN`."""

    fresh: Outcome
    """These seeds alone."""
    together: Outcome
    """All seeds."""


# running
def run(number: int, store: Path, seeds: int | list[int] | None = None) -> Outcome:
    """Runs what the world's store lacks, in this process, and decides."""
    began = time.perf_counter()
    plant = planted(number)
    words = dict(plant.words) if seeds is None else {**plant.words, "seeds": seeds}
    home = store / f"{number:04d}"
    home.mkdir(parents=True, exist_ok=True)
    path = home / "study.yaml"
    path.write_text(yaml.safe_dump(words, sort_keys=False), encoding="utf-8")
    rows = headwater.run(path, store=home / "store", engine="inline", device="cpu")
    failed = rows[rows["status"] == "failed"]
    if len(failed):
        raise RuntimeError(f"world {number}: {len(failed)} cells failed: {failed['reason'].iat[0]}")
    return outcome_of(rows, plant, aim_of(Study.load(path)), time.perf_counter() - began)


def outcome_of(rows: pd.DataFrame, plant: Plant, aim: Aim, seconds: float) -> Outcome:
    decision = decide(rows, aim, lines=False)
    table = prepare(rows).drop_duplicates("configuration")
    sources, labels = map(str, table["source"]), map(str, table["labels"])
    arms = dict(zip(map(str, table["name"]), zip(sources, labels, strict=True), strict=True))
    line = evidence_of(rows).line(aim.protocol or "probe", aim.shots)
    assert line is not None
    return Outcome(
        plant=plant,
        confidence=decision.confidence,
        sure=decision.sure,
        decided=decision.decided,
        pick=arms[str(decision.best)],
        shortlist=tuple(arms[name] for name in decision.shortlist),
        p_best={arms[name]: p for name, p in decision.p_best.items()},
        means={arms[name]: 100 * mean for name, mean in decision.means.items()},
        regret_bound=100 * float(decision.regret_bound or 0.0),
        seconds=seconds,
        arms=tuple(arms[arm.name] for arm in line.arms),
        scores=100 * line.means(aim.weights),
    )


def together(number: int, store: Path) -> Outcome:
    """The decision from the first seeds of a world and from those of `AGAIN`."""
    places = [home / f"{number:04d}" for home in (store, store / "again")]
    rows = pd.concat([read_rows(place / "store") for place in places], ignore_index=True)
    aim = aim_of(Study.load(places[0] / "study.yaml"))
    return outcome_of(rows, planted(number), aim, 0.0)


def run_all(
    numbers: Sequence[int], store: Path, workers: int, seeds: int | list[int] | None = None
) -> list[Outcome]:
    """The worlds in their order, `workers` at once."""
    outcomes = []
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        jobs = [pool.submit(run, number, store, seeds) for number in numbers]
        for number, job in zip(numbers, jobs, strict=True):
            outcomes.append(job.result())
            last = outcomes[-1]
            print(
                f"world {number}, {last.plant.kind}: {last.confidence}, {' '.join(last.pick)}, "
                + ", ".join(f"{' '.join(arm)} {mean:.1f}" for arm, mean in last.means.items())
                + f" ({last.seconds:.0f} s)",
                flush=True,
            )
    return outcomes


def run_again(outcomes: Sequence[Outcome], store: Path, workers: int) -> dict[str, Again]:
    """Worlds whose pick was not the planted best, by their studies."""
    numbers = [
        number for number, outcome in enumerate(outcomes) if outcome.pick not in outcome.plant.best
    ]
    fresh = run_all(numbers, store / "again", workers, AGAIN)
    return {
        str(each.plant.words["study"]): Again(each, together(number, store))
        for number, each in zip(numbers, fresh, strict=True)
    }


# scoring
RIGHT, UNDECIDED, WRONG = "right", "undecided", "wrong"


def verdict(outcome: Outcome, good: frozenset[Arm]) -> str:
    """RIGHT, UNDECIDED or WRONG, where the arms in `good` are as good as the planted best. Sure of
    one of two arms that tie is wrong, whichever it is: that it beats every other is not so.
    """
    if not outcome.decided:
        return UNDECIDED
    if outcome.sure and outcome.plant.tie:
        return WRONG
    return RIGHT if outcome.pick in good else WRONG


def means_of_roles(outcomes: Sequence[Outcome]) -> dict[str, dict[str, list[float]]]:
    """Kind -> role -> how far it was behind the planted best in each world, in points. Behind the
    first of two that tie.
    """
    behind: dict[str, dict[str, list[float]]] = {}
    for outcome in outcomes:
        roles = behind.setdefault(outcome.plant.kind, {})
        for arm, role in outcome.plant.roles.items():
            if arm != outcome.plant.best[0]:
                lead = outcome.means[outcome.plant.best[0]] - outcome.means[arm]
                roles.setdefault(role, []).append(lead)
    return behind


def regret_of(outcome: Outcome, again: dict[str, Again]) -> float:
    """Points that the pick is behind the planted best, by other seeds of the same world (name of
    the study -> what they say). Below 0 where the pick is the better one.
    """
    if outcome.pick in outcome.plant.best:
        return 0.0
    means = again[outcome.plant.words["study"]].fresh.means
    return max(means[arm] for arm in outcome.plant.best) - means[outcome.pick]


def lead_of(outcome: Outcome) -> float:
    """Points that the planted best is ahead of the nearest other arm; below 0 where it is not."""
    first = outcome.plant.best[0]
    return outcome.means[first] - max(m for arm, m in outcome.means.items() if arm != first)


def good_of(plant: Plant, leads: dict[str, dict[str, float]]) -> frozenset[Arm]:
    """The planted best, and arms that the audit finds less than the tolerance behind it."""
    of_kind = leads[plant.kind]
    close = [arm for arm, role in plant.roles.items() if of_kind.get(role, np.inf) <= TOLERANCE]
    return frozenset([*plant.best, *close])


# pages
def table(head: list[str], body: list[list[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return ["| " + " | ".join(row) + " |" for row in (head, rule, *body)]


def audit_table(audited: Sequence[Outcome]) -> list[str]:
    """How far every other arm was behind the planted best, in worlds that are not scored."""
    body = []
    for kind, roles in means_of_roles(audited).items():
        for role, behind in roles.items():
            error = float(np.std(behind, ddof=1)) / len(behind) ** 0.5
            body.append(
                [
                    f"{kind}: {role}",
                    str(len(behind)),
                    f"{np.mean(behind):.1f} ± {error:.1f}",
                    f"{min(behind):.1f}",
                    f"{sum(lead > 0 for lead in behind)} of {len(behind)}",
                ]
            )
    return table(["arm", "worlds", "points behind", "least", "planted best ahead"], body)


def leads_of(audited: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Kind -> role -> points behind the planted best, the mean over audited worlds."""
    leads: dict[str, dict[str, float]] = {}
    for kind, roles in means_of_roles(audited).items():
        leads[kind] = {role: float(np.mean(behind)) for role, behind in roles.items()}
    return leads


def contradicted(audited: Sequence[Outcome]) -> list[str]:
    """Arms that the audit finds ahead of the planted best by more than the tolerance."""
    ties = {outcome.plant.kind for outcome in audited if outcome.plant.tie}
    return [
        f"{kind}: {role}, {-lead:.1f} points ahead"
        for kind, roles in leads_of(audited).items()
        for role, lead in roles.items()
        if lead < -TOLERANCE and kind not in ties
    ]


def scored_table(
    outcomes: Sequence[Outcome],
    leads: dict[str, dict[str, float]],
    again: dict[str, Again],
) -> list[str]:
    body = []
    kinds = dict.fromkeys(outcome.plant.kind for outcome in outcomes)
    for kind in (*kinds, "all"):
        mine = [outcome for outcome in outcomes if kind in ("all", outcome.plant.kind)]
        told = [verdict(outcome, good_of(outcome.plant, leads)) for outcome in mine]
        counts = [str(told.count(name)) for name in (RIGHT, UNDECIDED, WRONG)]
        regrets = [regret_of(outcome, again) for outcome in mine]
        holds = [set(outcome.plant.best) <= set(outcome.shortlist) for outcome in mine]
        sizes = [len(outcome.shortlist) / len(outcome.means) for outcome in mine]
        body.append(
            [
                kind,
                str(len(mine)),
                str(sum(outcome.sure for outcome in mine)),
                *counts,
                f"{sum(holds)} of {len(mine)}",
                f"{100 * np.mean(sizes):.0f}",
                f"{np.mean(regrets):.2f} (at most {max(regrets):.1f})",
                f"{np.median([outcome.regret_bound for outcome in mine]):.1f}",
            ]
        )
    head = ["kind", "worlds", "sure", RIGHT, UNDECIDED, WRONG, "shortlist holds the truth"]
    return table([*head, "% of arms on it", "regret", "bound, median"], body)


BINS = (0.0, 0.05, 0.3, 0.7, 0.95, 1.0)


def chances_table(outcomes: Sequence[Outcome]) -> list[str]:
    """P(best) as it was said against how often it was so; worlds without ties."""
    said = [
        (p, arm in outcome.plant.best)
        for outcome in outcomes
        if not outcome.plant.tie
        for arm, p in outcome.p_best.items()
    ]
    body = []
    for low, high in itertools.pairwise(BINS):
        inside = [(p, true) for p, true in said if low <= p < high or p == high == 1.0]
        if inside:
            p, true = np.array(inside, dtype=float).T
            body.append(
                [f"{low:g} to {high:g}", str(len(p)), f"{p.mean():.3f}", f"{true.mean():.3f}"]
            )
    return table(["P(best)", "arms", "said, mean", "planted best, share"], body)


def worlds_table(outcomes: Sequence[Outcome], leads: dict[str, dict[str, float]]) -> list[str]:
    body = []
    for outcome in outcomes:
        words = outcome.plant.words
        ahead = sorted(outcome.means.values(), reverse=True)
        body.append(
            [
                str(words["study"]),
                outcome.plant.kind,
                f"{len(outcome.means)} x {words['seeds']}",
                outcome.plant.roles[outcome.pick],
                f"{ahead[0] - ahead[1]:.1f}",
                outcome.confidence,
                f"{outcome.p_best[outcome.pick]:.2f}",
                verdict(outcome, good_of(outcome.plant, leads)),
            ]
        )
    head = ["world", "kind", "arms x seeds", "pick", "lead", "said", "P(best)", "so"]
    return table(head, body)


def limits(verdicts: Sequence[str]) -> list[str]:
    """Which limits are missed, in words."""
    wrong = verdicts.count(WRONG) / len(verdicts)
    decided = 1 - verdicts.count(UNDECIDED) / len(verdicts)
    out = []
    if wrong > MOST_WRONG:
        out.append(f"confidently wrong in {100 * wrong:.1f} % (at most {100 * MOST_WRONG:g})")
    if decided < LEAST_DECIDED:
        out.append(f"decided in {100 * decided:.1f} % (at least {100 * LEAST_DECIDED:g})")
    return out


def page(
    audited: Sequence[Outcome],
    outcomes: Sequence[Outcome],
    again: dict[str, Again],
    missed: list[str],
) -> list[str]:
    leads = leads_of(audited)
    verdicts = [verdict(outcome, good_of(outcome.plant, leads)) for outcome in outcomes]
    num = len(outcomes)
    ties = [outcome for outcome in outcomes if outcome.plant.tie]
    missed += limits(verdicts)
    decided = sum(outcome.decided for outcome in outcomes if not outcome.plant.tie)
    return [
        "# Planted truth",
        "",
        f"`python benchmarks/planted.py --store DIR --write`: {num} small worlds, each a study "
        f"that was drawn, pre-trained, measured and decided; tolerance {TOLERANCE:g} points.",
        "",
        f"Decided in {100 * (1 - verdicts.count(UNDECIDED) / num):.0f} % (limit: at least "
        f"{100 * LEAST_DECIDED:g}), confidently wrong in {100 * verdicts.count(WRONG) / num:.1f} % "
        f"(limit: at most {100 * MOST_WRONG:g}). In {len(ties)} worlds two arms tie: open is the "
        f"right answer there, or that one of them is as good; "
        f"{sum(outcome.sure for outcome in ties)} of them were called sure. Of the "
        f"{num - len(ties)} others {100 * decided / (num - len(ties)):.0f} % were decided.",
        "",
        "## Decisions",
        "",
        "Sure: told apart. Right: decided, and the pick is the planted best or, by the audit, less "
        "than the tolerance behind it. Wrong: decided otherwise, or sure of one of two that tie. "
        "Regret and bound are points; regret is by other seeds of the same world.",
        "",
        *scored_table(outcomes, leads, again),
        "",
        *why_open(outcomes, again),
        "## P(best)",
        "",
        "All arms of the worlds without ties.",
        "",
        *chances_table(outcomes),
        "",
        "## Audit of the plants",
        "",
        *audit_words(audited),
        "",
        "## Worlds",
        "",
        *worlds_table(outcomes, leads),
    ]


def why_open(outcomes: Sequence[Outcome], again: dict[str, Again]) -> list[str]:
    """The plant, the seeds or the rule?"""
    body = []
    for outcome in outcomes:
        name = outcome.plant.words["study"]
        if name in again:
            fresh, both = again[name].fresh, again[name].together
            both_said = f"{both.confidence}, {both.plant.roles[both.pick]}"
            role = outcome.plant.roles[outcome.pick]
            seeds = str(outcome.plant.words["seeds"])
            leads = [f"{lead_of(each):+.1f}" for each in (outcome, fresh)]
            body.append([name, outcome.plant.kind, role, seeds, *leads, both_said])
    head = ["world", "kind", "pick", "seeds", "planted lead", "with other seeds", "all seeds"]
    return [
        "## The plant, the seeds or the rule?",
        "",
        f"Worlds whose pick is not the planted best, run again with {len(AGAIN)} other seeds. "
        "Lead: of the planted best over the nearest other arm, points. All seeds: what the first "
        "seeds and the others say together. This is no part of the score.",
        "",
        *table(head, body),
        "",
        "The same scores by other rules (benchmarks/decide.md), without the tolerance: worlds "
        "without a tie in which a rule is sure of the planted best, in which it is sure of "
        "another arm, and worlds with a tie in which it is sure.",
        "",
        *rules_table(outcomes),
        "",
    ]


def rules_table(outcomes: Sequence[Outcome]) -> list[str]:
    body = []
    for name, rule in RULES.items():
        right = other = tied = 0
        for outcome in outcomes:
            assert outcome.scores is not None
            told = rule(outcome.scores[None])
            sure, pick = bool(told.sure[0]), outcome.arms[int(told.best[0])]
            tied += sure and outcome.plant.tie
            right += sure and not outcome.plant.tie and pick in outcome.plant.best
            other += sure and not outcome.plant.tie and pick not in outcome.plant.best
        body.append([name, str(right), str(other), str(tied)])
    return table(["rule", "sure of the planted best", "sure of another", "sure in a tie"], body)


def audit_words(audited: Sequence[Outcome]) -> list[str]:
    return [
        f"{len(audited)} other worlds of the same kinds, {AUDIT_SEEDS} seeds of every arm, run "
        "before the scored ones and by themselves: how far each arm was behind the planted best "
        "(mean over worlds, its standard error, the least), and in how many worlds the planted "
        "best was ahead. Of two that tie, the first stands for both.",
        "",
        *audit_table(audited),
        "",
        "The audit turned one plant down before any world was scored. A source of a third to "
        "three fifths of the images was planned as worse; it was 4.3 and 1.0 points ahead in the "
        "first two worlds, as 10,000 images seen are too few for more images to matter. "
        "Smaller now means a tenth to a fifth.",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Decisions in worlds whose answer was planted.")
    parser.add_argument("--store", type=Path, required=True, help="a folder for all studies")
    parser.add_argument("--worlds", type=int, default=WORLDS)
    parser.add_argument("--audited", type=int, default=AUDITED, help="worlds of the audit")
    parser.add_argument("--audit", action="store_true", help="the audit alone")
    parser.add_argument("--workers", type=int, default=2, help="worlds at once")
    parser.add_argument("--write", action="store_true", help="write benchmarks/planted.md")
    given = parser.parse_args()
    audits = range(FIRST_AUDITED, FIRST_AUDITED + given.audited)
    audited = run_all(audits, given.store, given.workers, AUDIT_SEEDS)
    missed = [f"the plant is not true: {words}" for words in contradicted(audited)]
    if given.audit:
        lines = audit_words(audited)
    else:
        outcomes = run_all(range(given.worlds), given.store, given.workers)
        again = run_again(outcomes, given.store, given.workers)
        lines = page(audited, outcomes, again, missed)
    print("\n".join(lines))
    if given.write and not given.audit:
        PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"\n{len(missed)} limits missed" + "".join(f"\n- {words}" for words in missed))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
