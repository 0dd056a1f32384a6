"""Rebuilds docs/photos.md and its figure from the committed rows: python tools/make_photos.py

The rows are what `headwater run studies/entezari2023/photos.yaml` left behind, exported with

    headwater rows studies/entezari2023/photos.yaml --out docs/results/photos.parquet

A test checks that the page holds what this script writes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from headwater.analysis import gap_trend, source_gap
from headwater.analysis.gap import POOLED
from headwater.report.figures import draw
from headwater.rows import read_rows

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "docs" / "results" / "photos.parquet"
PAGE = ROOT / "docs" / "photos.md"
FIGURE = ROOT / "docs" / "photos.png"
METHODS = {"supervised": "#0072B2", "clip": "#D55E00", "simclr": "#009E73"}
SMALL, LARGE = "1393", "4500"
"""Images of a source in the comparison of five, and in that of two."""


def of_size(rows: pd.DataFrame, size: str) -> pd.DataFrame:
    """The rows of the arms of one size, with those of no pre-training."""
    return rows[(rows["size"] == size) | (rows["method"] == "scratch")]


def shots_word(value: Any) -> str:
    return "all" if pd.isna(value) else str(int(value))


def points(value: float, low: Any, high: Any, *, decides: bool = True) -> str:
    """A difference in points with its interval, bold where it excludes 0 and may decide
    something.
    """
    if pd.isna(low):
        return f"{100 * value:+.1f}"
    said = f"{100 * value:+.1f} ({100 * float(low):+.1f} to {100 * float(high):+.1f})"
    return f"**{said}**" if decides and (low > 0 or high < 0) else said


def method_of(context: str) -> str:
    return re.split(r"[ ,]", context)[0]


def accuracies(rows: pd.DataFrame, protocol: str) -> str:
    """Top-1 in percent, mean over seeds and draws, one line per source and method."""
    use = rows[
        (rows["metric"] == "top1") & (rows["subset"] == "all") & (rows["protocol"] == protocol)
    ].copy()
    use["shots"] = use["shots"].map(shots_word)
    use["source"] = use["source"].fillna("")
    table = 100 * use.groupby(["source", "method", "task", "shots"])["value"].mean().astype(float)
    columns = [
        (task, shots)
        for task in sorted(use["task"].unique())
        for shots in ("1", "5", "20", "all")
        if shots in set(use["shots"])
    ]
    measured = set(table.index.droplevel([0, 1]))
    columns = [column for column in columns if column in measured]
    lines = [
        "| source | method | " + " | ".join(f"{task}, {shots}" for task, shots in columns) + " |",
        "|---|---|" + "---:|" * len(columns),
    ]
    order = {"scratch": 0, "supervised": 1, "clip": 2, "simclr": 3}
    for source, method in sorted(
        table.index.droplevel([2, 3]).unique(), key=lambda arm: (order[arm[1]], arm[0])
    ):
        cells = [
            f"{table[(source, method, *c)]:.1f}" if (source, method, *c) in table.index else ""
            for c in columns
        ]
        lines.append(f"| {source or '(none)'} | {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def gaps(rows: pd.DataFrame, protocol: str) -> pd.DataFrame:
    of_protocol = source_gap(rows[rows["protocol"] == protocol])
    return of_protocol.assign(
        method=[method_of(c) for c in of_protocol["context"]],
        shots_word=[shots_word(s) for s in of_protocol["shots"]],
    )


def gap_table(table: pd.DataFrame) -> str:
    """Held-out gap and best over worst with the corrected interval, one line per method, task and
    shot count.
    """
    lines = [
        "| method | tasks | images per class | best over worst source | gap, corrected for all "
        "pairs | gap of the pair that the first seeds name |"
    ]
    lines.append("|---|---|---:|---|---:|---:|")
    rank = {"1": 0, "5": 1, "20": 2, "all": 3}
    ordered = table.assign(
        pooled=(table["task"] != POOLED).astype(int), rank=table["shots_word"].map(rank)
    )
    for row in ordered.sort_values(["pooled", "task", "method", "rank"]).to_dict("records"):
        pair = f"{row['best']} over {row['worst']}"
        corrected, held = (
            points(row["gap"], row["low"], row["high"]),
            points(row["held_out"], row["held_out_low"], row["held_out_high"], decides=False),
        )
        lines.append(
            f"| {row['method']} | {row['task']} | {row['shots_word']} | {pair} | {corrected} | "
            f"{held} |"
        )
    return "\n".join(lines)


def trend_lines(rows: pd.DataFrame, protocol: str) -> list[str]:
    """What the gap does from the fewest images to all of them, a line per method, over all
    tasks.
    """
    trends = gap_trend(rows[rows["protocol"] == protocol])
    lines = []
    for row in trends[trends["task"] == POOLED].sort_values("context").to_dict("records"):
        change = points(row["change"], row["low"], row["high"])
        needed = (
            f"; {int(row['seeds_needed'])} more seeds would"
            if row["answer"] == "cannot tell" and not pd.isna(row["seeds_needed"])
            else ""
        )
        lines.append(
            f"- {method_of(row['context'])}, from {shots_word(row['fewest'])} to "
            f"{shots_word(row['most'])} images per class: the gap between {row['best']} and "
            f"{row['worst']} falls by {change}: {row['answer']}{needed}."
        )
    return lines


def leaks(rows: pd.DataFrame) -> str:
    use = (
        rows[rows["source"].notna()]
        .groupby(["source", "task"])[["leaked_test_images", "similar_test_images"]]
        .max()
    )
    named = [
        f"{source} and {task} {int(r['similar_test_images'])}"
        for (source, task), r in use.iterrows()
        if r["similar_test_images"] > 0
    ]
    equal = int(use["leaked_test_images"].sum())
    similar = ", ".join(named) or "none"
    return (
        f"Equal files among a source's and a task's test images: {equal or 'none'}. Test images "
        f"that a source shows, equal or changed: {similar}."
    )


def spec(table: pd.DataFrame) -> dict[str, Any]:
    """Held-out gap against images per class with its interval, a panel for all tasks and one for
    each.
    """
    tasks = [POOLED, *sorted(set(table["task"]) - {POOLED})]
    panels = []
    for task in tasks:
        values = [
            {
                "method": r["method"],
                "shots": r["shots_word"],
                "gap": 100 * r["held_out"],
                "low": 100 * r["held_out_low"],
                "high": 100 * r["held_out_high"],
            }
            for r in table[table["task"] == task].to_dict("records")
        ]
        x = {
            "field": "shots",
            "type": "ordinal",
            "sort": ["1", "5", "20", "all"],
            "title": "images per class",
            "axis": {"labelAngle": 0},
        }
        y = {"type": "quantitative", "title": "best − worst source, points"}
        colour = {
            "field": "method",
            "type": "nominal",
            "sort": list(METHODS),
            "scale": {"domain": list(METHODS), "range": list(METHODS.values())},
        }
        shared = {"x": x, "xOffset": {"field": "method", "sort": list(METHODS)}, "color": colour}
        layers = [
            {
                "mark": {"type": "rule", "strokeDash": [3, 3], "color": "#8C8C8C"},
                "encoding": {"y": {"datum": 0, "type": "quantitative"}},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.6},
                "encoding": shared | {"y": y | {"field": "low"}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60},
                "encoding": shared | {"y": y | {"field": "gap"}},
            },
        ]
        panels.append(
            {
                "title": task,
                "width": 230,
                "height": 200,
                "data": {"values": values},
                "layer": layers,
            }
        )
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "title": {
            "text": "Source gap against images per class",
            "subtitle": "linear probe; the pair is named by the other seeds; nominal 95 % "
            "t-interval over 3 seeds, uncorrected",
        },
        "concat": panels,
        "columns": 3,
        "background": "white",
        "padding": 12,
        "config": {"font": "Helvetica, Arial, sans-serif"},
    }


def block(rows: pd.DataFrame) -> str:
    small, large = of_size(rows, SMALL), of_size(rows, LARGE)
    return "\n".join(
        [
            f"{rows['cell'].nunique():,} cells of {rows['arm'].nunique()} arms, "
            f"{rows['seed'].nunique()} seeds, 5 draws at each few-shot count.",
            "",
            "### Does the gap shrink?",
            "",
            "Five sources at 1,393 images, linear probe, mean over the four tasks:",
            "",
            *trend_lines(small, "probe"),
            "",
            "The same by fine-tuning, mean over eurosat and trashnet:",
            "",
            *trend_lines(small, "finetune"),
            "",
            gap_table(gaps(small, "probe")),
            "",
            "By fine-tuning:",
            "",
            gap_table(gaps(small, "finetune")),
            "",
            "### Accuracy",
            "",
            "Linear probe, top-1 in percent; columns are task and images per class:",
            "",
            accuracies(small, "probe"),
            "",
            "Fine-tuning of the whole network (150 steps, 2 learning rates):",
            "",
            accuracies(small, "finetune"),
            "",
            "### The larger pair: Caltech-101 and plantvillage15 at 4,500 images",
            "",
            gap_table(gaps(large, "probe")),
            "",
            accuracies(large, "probe"),
            "",
            "### Leakage",
            "",
            leaks(rows),
        ]
    )


def with_block(page: str, rows: pd.DataFrame) -> str:
    """The page with what stands between its marks made anew."""
    return re.sub(
        r"(<!-- photos -->\n).*?(\n<!-- /photos -->)",
        lambda m: m.group(1) + block(rows) + m.group(2),
        page,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    found = read_rows(ROWS)
    PAGE.write_text(with_block(PAGE.read_text(), found))
    FIGURE.write_bytes(draw(spec(gaps(of_size(found, SMALL), "probe")), "png"))
