"""Rebuilds the figures and the numbers of docs/how_sure.md by simulation.

    python tools/make_how_sure.py

Studies are made up whose truth is known, and put to the rule that every decision stands on
(headwater.analysis.certainty_of). It takes seconds; benchmarks/decide.py does the same at length. A
test checks that the page holds what this script writes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.analysis import certainty_of, t_interval
from headwater.analysis.decision import threshold_of
from headwater.report.charts.theme import on_white
from headwater.report.figures import draw

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how_sure.md"
Floats = NDArray[np.float64]
SEED = 20261129
ARMS, STUDIES = 5, 4_000
LEADS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Points by which one arm is truly ahead of the four others; a seed moves a score by 1 (SD)."""
SEEDS = (3, 5, 10)
TRUTH = (52.5, 51.5, 51.0, 50.0, 49.0)
"""True means of the one study that is looked at after every seed."""
MOST_SEEDS = 20
INTERVALS = 60
BLUE, GREY, RED = "#0072B2", "#8C8C8C", "#D55E00"


def scores(lead: float, seeds: int, rng: np.random.Generator) -> Floats:
    """Points, float64 [studies, seeds, arms]; the first arm is ahead."""
    drawn: Floats = 50 + rng.normal(size=(STUDIES, seeds, ARMS))
    drawn[:, :, 0] += lead
    return drawn


def outcomes() -> list[dict[str, Any]]:
    """Percent of studies in which the highest mean is not the best arm, and in which the rule is
    sure of the wrong arm and of the right one. With no lead whoever is called the best is wrong.
    """
    rng = np.random.default_rng(SEED)
    found = []
    for seeds in SEEDS:
        for lead in LEADS:
            told = certainty_of(scores(lead, seeds, rng))
            sure = told.sure(1 - threshold_of(ARMS, seeds))
            right = (told.best == 0) & (lead > 0)
            record = {"seeds": seeds, "lead": lead}
            record["mean"] = 100 * float(np.mean(~right))
            record["wrong"] = 100 * float(np.mean(sure & ~right))
            record["right"] = 100 * float(np.mean(sure & right))
            found.append(record)
    return found


def settling() -> list[dict[str, Any]]:
    """The chance of each arm to be the best after every seed of one study, and who is still on the
    shortlist.
    """
    rng = np.random.default_rng(SEED + 1)
    whole = np.array(TRUTH) + rng.normal(size=(MOST_SEEDS, ARMS))
    found = []
    for seeds in range(2, MOST_SEEDS + 1):
        told = certainty_of(whole[None, :seeds])
        chances = told.p_best()[0][0]
        for arm in range(ARMS):
            found.append(
                {
                    "seeds": seeds,
                    "arm": f"arm {arm + 1}, truly {TRUTH[arm]:g} %",
                    "chance": float(chances[arm]),
                    "listed": bool(told.shortlist[0, arm]),
                }
            )
    return found


def intervals() -> list[dict[str, Any]]:
    """95 % intervals of a difference that is truly 1 point, of 3 and of 6 paired seeds."""
    rng = np.random.default_rng(SEED + 2)
    found = []
    for seeds in (3, 6):
        for study in range(INTERVALS):
            of_study = t_interval((1 + rng.normal(scale=1.4, size=seeds)).tolist())
            assert of_study.low is not None and of_study.high is not None
            holds = of_study.low <= 1 <= of_study.high
            found.append(
                {
                    "seeds": f"{seeds} paired seeds",
                    "study": study,
                    "mean": of_study.mean,
                    "low": of_study.low,
                    "high": of_study.high,
                    "holds": "holds the truth" if holds else "misses it",
                }
            )
    return found


WAYS = {
    "right": ("sure and right", BLUE),
    "wrong": ("sure and wrong", RED),
    "mean": ("the highest mean is not the best arm", GREY),
}


def outcome_chart(found: list[dict[str, Any]]) -> dict[str, Any]:
    values = []
    for record in found:
        for way, (words, _) in WAYS.items():
            lead, seeds = record["lead"], f"{record['seeds']} seeds"
            values.append({"lead": lead, "seeds": seeds, "what": words, "percent": record[way]})
    colour = {
        "field": "what",
        "title": None,
        "legend": {"labelLimit": 400},
        "scale": {
            "domain": [words for words, _ in WAYS.values()],
            "range": [colour for _, colour in WAYS.values()],
        },
    }
    panels = [
        {
            "title": f"{seeds} seeds",
            "width": 230,
            "height": 190,
            "transform": [{"filter": f"datum.seeds === '{seeds} seeds'"}],
            "mark": {"type": "line", "point": True},
            "encoding": {
                "x": {
                    "field": "lead",
                    "type": "quantitative",
                    "title": "true lead, in SD of a seed",
                },
                "y": {
                    "field": "percent",
                    "type": "quantitative",
                    "title": "% of studies",
                    "scale": {"domain": [0, 100]},
                },
                "color": colour,
            },
        }
        for seeds in SEEDS
    ]
    title = f"{ARMS} arms, {STUDIES:,} made-up studies a point"
    return on_white({"title": title, "data": {"values": values}, "hconcat": panels})


def settling_chart(found: list[dict[str, Any]]) -> dict[str, Any]:
    x = {"field": "seeds", "type": "quantitative", "title": "seeds", "axis": {"tickMinStep": 1}}
    y = {
        "field": "chance",
        "type": "quantitative",
        "title": "P(best)",
        "scale": {"domain": [0, 1]},
    }
    colours = [BLUE, "#009E73", "#56B4E9", "#E69F00", "#CC79A7"]
    colour = {"field": "arm", "title": None, "scale": {"range": colours}}
    filled = {
        "condition": {"test": "datum.listed", "value": 1},
        "value": 0,
    }
    point = {"type": "point", "size": 70, "filled": True}
    return on_white(
        {
            "title": "One study, looked at after every seed (filled: on the shortlist)",
            "data": {"values": found},
            "width": 520,
            "height": 230,
            "encoding": {"x": x, "y": y, "color": colour},
            "layer": [
                {"mark": {"type": "line", "strokeWidth": 1.5}},
                {"mark": point, "encoding": {"opacity": filled}},
            ],
        }
    )


def interval_chart(found: list[dict[str, Any]]) -> dict[str, Any]:
    colour = {
        "field": "holds",
        "title": None,
        "scale": {"domain": ["holds the truth", "misses it"], "range": [BLUE, RED]},
    }
    ends = [min(each["low"] for each in found), max(each["high"] for each in found)]
    y = {"type": "quantitative", "title": "difference, points", "scale": {"domain": ends}}
    panels = []
    for seeds in (3, 6):
        shown = f"{seeds} paired seeds"
        x = {"field": "study", "type": "ordinal", "axis": None}
        bar = {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "color": colour}
        dot = {"x": x, "y": y | {"field": "mean"}, "color": colour}
        rule = {"y": {"datum": 1, "type": "quantitative"}}
        panels.append(
            {
                "title": shown,
                "width": 520,
                "height": 130,
                "transform": [{"filter": f"datum.seeds === '{shown}'"}],
                "layer": [
                    {"mark": {"type": "rule", "strokeWidth": 2, "clip": True}, "encoding": bar},
                    {"mark": {"type": "point", "filled": True, "size": 14}, "encoding": dot},
                    {"mark": {"type": "rule", "strokeDash": [4, 3]}, "encoding": rule},
                ],
            }
        )
    title = f"{INTERVALS} studies of a difference that is truly 1 point"
    return on_white({"title": title, "data": {"values": found}, "vconcat": panels})


def numbers() -> str:
    """What the figures show, in a table."""
    lines = [
        "| arms, seeds | true lead, SD | highest mean is wrong | sure and wrong | sure and right |"
    ]
    lines.append("|---|---:|---:|---:|---:|")
    for each in outcomes():
        if each["lead"] in (0.0, 1.0, 2.0, 4.0):
            share = [f"{each[way]:.1f} %" for way in ("mean", "wrong", "right")]
            lines.append(
                f"| {ARMS}, {each['seeds']} | {each['lead']:g} | " + " | ".join(share) + " |"
            )
    missed = sum(each["holds"] == "misses it" for each in intervals())
    listed = dict.fromkeys(range(2, MOST_SEEDS + 1), 0)
    for each in settling():
        listed[each["seeds"]] += each["listed"]
    shown = ", ".join(f"{listed[n]} of {ARMS} with {n}" for n in (2, 5, 10, MOST_SEEDS))
    lines += [
        "",
        f"In the second figure the shortlist holds {shown} seeds. In the third {missed} of "
        f"{2 * INTERVALS} intervals miss the truth; 5 % of {2 * INTERVALS} are "
        f"{0.05 * 2 * INTERVALS:.0f}.",
    ]
    return "\n".join(lines) + "\n"


def with_block(page: str) -> str:
    """The page with its numbers made anew."""
    mark = re.compile(r"(<!-- how_sure -->\n).*?(<!-- /how_sure -->)", re.DOTALL)
    text = numbers()
    page, number = mark.subn(lambda found: found[1] + text + found[2], page)
    if number != 1:
        raise SystemExit(f"{PAGE}: has {number} blocks how_sure")
    return page


def main() -> None:
    PAGE.write_text(with_block(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    charts = {
        "outcomes": outcome_chart(outcomes()),
        "settling": settling_chart(settling()),
        "intervals": interval_chart(intervals()),
    }
    for name, spec in charts.items():
        (ROOT / "docs" / f"how_sure_{name}.png").write_bytes(draw(spec, "png", scale=1.5))


if __name__ == "__main__":
    main()
