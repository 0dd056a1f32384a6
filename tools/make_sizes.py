"""Rebuilds the tables and figures of docs/noise_vs_size.md, docs/exchange_photos.md and
docs/mixes.md from the committed rows:

    python tools/make_sizes.py [noise_vs_size] [exchange] [mixes]

The rows are what `headwater run studies/NAME.yaml` left behind, exported with `headwater rows`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pandas as pd

from headwater.analysis import Aim
from headwater.analysis.exchange import ExchangeRate, curves_of_rows, exchange_rate
from headwater.analysis.mixes import best_mix
from headwater.report.charts.theme import Spec, on_white
from headwater.report.figures import draw
from headwater.rows import read_rows

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
AIM = Aim(protocol="probe")
TUNED = Aim(protocol="finetune")
NOISES = (0, 20, 40, 60)
"""Percent of labels, or captions, that are wrong."""
NOISY = (("supervised", "labels"), ("clip", "captions"))
"""Methods, and what of them is wrong."""
METHODS = ("supervised",)
"""Of the study of exchange rates."""
SIZES = (340, 680, 1360, 2720, 5440)
"""Of every source as far as it has images; of leaves 5,438 and 5,439 are different pictures."""
OWN = ("caltech101", "plantvillage15")
"""Its tasks that show what two of its sources show."""


def rows_of(name: str) -> pd.DataFrame:
    return read_rows(DOCS / "results" / f"{name}.parquet")


def noisy(method: str, percent: int) -> str:
    """The curve of a method with so much noise."""
    if method == "clip":
        swaps = "" if percent == 0 else f" with swaps:{percent / 100:g}"
        return f"clip template{swaps} · swaps-{percent}"
    noise = "" if percent == 0 else f" with symmetric:{percent / 100:g}"
    return f"supervised level:0{noise} · caltech101"


def noise_block(rows: pd.DataFrame) -> str:
    """What one image with the right label is worth in images of which some have wrong ones."""
    lines = []
    probed = sorted(rows.loc[rows["protocol"] == "probe", "task"].unique())
    asked: list[tuple[str, Aim, list[str] | None]] = [
        ("caltech101 itself, fine-tuned", TUNED, None),
        ("mean of the other three, probe", AIM, None),
        *((f"{task}, probe", AIM, [task]) for task in probed),
    ]
    for method, what in NOISY:
        head = " | ".join(f"{percent} % wrong" for percent in NOISES[1:])
        lines += [f"| {method}, {what} | {head} |", "|---|" + "---:|" * len(NOISES[1:])]
        for name, aim, tasks in asked:
            cells = [
                rate_of(rows, noisy(method, percent), noisy(method, 0), tasks, aim).overall.words
                for percent in NOISES[1:]
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    for name, aim, _ in asked[:2]:
        sizes = [f"{n:,.0f}" for n in points(rows, "clip", 0, aim)]
        lines += [f"| {name}: accuracy, % | " + " | ".join(sizes) + " |"]
        lines += ["|---|" + "---:|" * len(sizes)]
        for method, _ in NOISY:
            for percent in NOISES:
                values = points(rows, method, percent, aim).values()
                cells = [f"{100 - one['error']:.1f}" for one in values]
                lines.append(f"| {method}, {percent} % wrong | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip()


def points(rows: pd.DataFrame, method: str, percent: int, aim: Aim) -> dict[float, dict[str, Any]]:
    """Size -> error there, with its interval."""
    found = rate_of(rows, noisy(method, percent), noisy(method, 0), aim=aim)
    return {one["n"]: one for one in found.drawn[0].points}


def rate_of(
    rows: pd.DataFrame, a: str, b: str, tasks: list[str] | None = None, aim: Aim = AIM
) -> ExchangeRate:
    return exchange_rate(rows, a, b, aim, tasks=tasks)


def noise_figure(rows: pd.DataFrame) -> Spec:
    """Accuracy by size, a line for each share that is wrong, a panel for each method and task."""
    of_tasks = []
    for aim, name in ((TUNED, "caltech101 itself, fine-tuned"), (AIM, "three others, probe")):
        panels = []
        for method, what in NOISY:
            values = []
            for percent in NOISES:
                values += [
                    {"n": n, "noise": f"{percent} %", "accuracy": 100 - one["error"],
                     "low": 100 - one["high"], "high": 100 - one["low"]}
                    for n, one in points(rows, method, percent, aim).items()
                ]  # fmt: skip
            panels.append(_panel(values, f"{method}, wrong {what}: {name}"))
        of_tasks.append({"hconcat": panels, "spacing": 30})
    return on_white(
        {
            "title": {"text": "Noise against size", "anchor": "start", "fontSize": 15},
            "vconcat": of_tasks,
        }
    )


def _panel(values: list[dict[str, Any]], title: str) -> Spec:
    x = {
        "field": "n",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 12},
        "axis": {"title": "images", "values": sorted({one["n"] for one in values})},
    }
    y: Spec = {
        "type": "quantitative",
        "scale": {"zero": False},
        "axis": {"title": "accuracy, %"},
    }
    colour = {
        "field": "noise",
        "type": "ordinal",
        "scale": {"scheme": "viridis"},
        "legend": {"title": "wrong"},
    }
    line = {"x": x, "color": colour, "y": y | {"field": "accuracy"}}
    ends = {"x": x, "color": colour, "y": y | {"field": "low"}, "y2": {"field": "high"}}
    return {
        "title": {"text": title, "fontSize": 12},
        "data": {"values": values},
        "width": 330,
        "height": 200,
        "layer": [
            {"mark": {"type": "rule"}, "encoding": ends},
            {"mark": {"type": "line", "point": True}, "encoding": line},
        ],
    }


def curves(rows: pd.DataFrame, method: str) -> list[str]:
    """The curves of a method."""
    return [one.name for one in curves_of_rows(rows) if one.name.split()[0] == method]


def exchange_block(rows: pd.DataFrame) -> str:
    """What one image of each source is worth in images of each other one."""
    lines = []
    heads = ["mean of two tasks, probe", "eurosat", "trashnet"]
    heads += [f"{task}, fine-tuned" for task in OWN]
    for method in METHODS:
        own = curves(rows, method)
        lines += [
            f"| {method}: one image of | is worth, of | {' | '.join(heads)} |",
            "|---|---|" + "---:|" * len(heads),
        ]
        for b, a in permutations(own, 2):
            found = [rate_of(rows, a, b, tasks) for tasks in (None, ["eurosat"], ["trashnet"])]
            found += [rate_of(rows, a, b, [task], TUNED) for task in OWN]
            pair = (name.rpartition(" · ")[2] for name in (b, a))
            cells = [each.overall.words for each in found]
            lines.append("| " + " | ".join([*pair, *cells]) + " |")
        lines.append("")
    for name, aim, task in (
        ("mean of two tasks, probe", AIM, None),
        *((f"{task}, fine-tuned", TUNED, [task]) for task in OWN),
    ):
        sizes = SIZES
        lines += [f"| {name}: accuracy, % | {' | '.join(f'{n:,.0f}' for n in sizes)} |"]
        lines += ["|---|" + "---:|" * len(sizes)]
        for method in METHODS:
            for curve in curves(rows, method):
                drawn = rate_of(rows, curve, curve, tasks=task, aim=aim).drawn[0].points
                values = [f"{100 - one['error']:.1f}" for one in drawn]
                cells = [*values, *[""] * (len(sizes) - len(values))]
                lines.append(f"| {curve} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip()


def mixes_block(rows: pd.DataFrame) -> str:
    """The mixes of both methods, the best first, and what is said of them."""
    lines = []
    for method in ("supervised", "simclr"):
        found = best_mix(rows, AIM, method=method)
        lines += [
            f"| {method} | " + " | ".join(found.parts) + " | accuracy, % | by the fit |",
            "|---|" + "---:|" * (len(found.parts) + 2),
        ]
        for mix in sorted(found.mixes, key=lambda one: -float(one["mean"])):
            weights = [f"{100 * mix['weights'][part]:.0f} %" for part in found.parts]
            scores = [f"{mix['mean']:.1f}", f"{mix['fitted']:.1f}"]
            lines.append(f"| {mix['name']} | " + " | ".join([*weights, *scores]) + " |")
        lines += ["", *found.sentences, ""]
    return "\n".join(lines).rstrip()


BLOCKS: dict[str, tuple[str, Callable[[pd.DataFrame], str]]] = {
    "noise_vs_size": ("noise_vs_size.md", noise_block),
    "exchange": ("exchange_photos.md", exchange_block),
    "mixes": ("mixes.md", mixes_block),
}
"""By the name of the rows: the page, and what makes its tables."""


def with_block(name: str, text: str) -> str:
    """The page's text with its tables made anew."""
    made = BLOCKS[name][1](rows_of(name))
    return re.sub(
        r"(<!-- results -->\n).*?(\n<!-- /results -->)",
        lambda match: match[1] + made + match[2],
        text,
        flags=re.DOTALL,
    )


def main(names: list[str]) -> None:
    for name in names or BLOCKS:
        page = DOCS / BLOCKS[name][0]
        page.write_text(with_block(name, page.read_text(encoding="utf-8")), encoding="utf-8")
        if name == "noise_vs_size":
            figure = DOCS / "noise_vs_size.png"
            figure.write_bytes(draw(noise_figure(rows_of(name)), "png"))
        print(f"wrote {page.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
