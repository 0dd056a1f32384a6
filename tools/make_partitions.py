"""Rebuilds docs/partitions.md and its figure from the committed rows.

    python tools/make_partitions.py

The rows are what `headwater run studies/hong2023/grocery_partitions.yaml` left behind, exported
with

    headwater rows studies/hong2023/grocery_partitions.yaml \\
        --out docs/results/grocery_partitions.parquet

A test checks that the page holds what this script writes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater.analysis import Interval, t_interval
from headwater.report.figures import draw
from headwater.rows import read_rows

ROOT = Path(__file__).parents[1]
ROWS = ROOT / "docs" / "results" / "grocery_partitions.parquet"
PAGE = ROOT / "docs" / "partitions.md"
FIGURE = ROOT / "docs" / "partitions.png"
COLOURS = {
    "manual": "#0072B2",
    "cluster within": "#332288",
    "cluster": "#56B4E9",
    "random within": "#E69F00",
    "random": "#D55E00",
    "instance": "#009E73",
    "simclr": "#CC79A7",
    "scratch": "#8C8C8C",
}
"""Kinds of labels in the paper's order, then what has none."""
SOURCES = {"grocery": "Grocery Store", "caltech101": "Caltech-101"}
CLAIMS = [
    ("manual", "cluster within"),
    ("cluster within", "cluster"),
    ("cluster", "random"),
    ("random", "instance"),
    ("manual", "random"),
    ("cluster within", "random"),
    ("manual", "instance"),
    ("cluster within", "instance"),
    ("cluster", "instance"),
    ("random within", "random"),
    ("cluster within", "random within"),
]
"""What is compared, fixed before the rows were looked at.

The first four are the links of the paper's order (manual > clusters within superclasses > clusters
of the whole set > random, instance worst), the next five span it, the last two place random classes
within superclasses, which the paper does not have.
"""
LINKS = 4
VIEWS = {
    "superclass": "fine-tuned on the superclasses",
    "middle": "fine-tuned on the middle level",
    "probe all": "probe, all images, other data sets",
    "probe 5": "probe, 5 images a class, other data sets",
}
"""How arms are judged: the paper's kind of target (3 and 4 superclasses), a finer one (43 and 13
classes, which the manual arm of that count was trained on: there manual labels are the target's
own), and probes on other data sets.
"""
MIDDLE = ("grocery-43", "caltech-13")


def scores(rows: pd.DataFrame) -> pd.DataFrame:
    """One line per source x kind x count x task x protocol x seed: top-1 in percent, draws
    averaged. Scratch is a line of every source.
    """
    use = rows[(rows["metric"] == "top1") & (rows["subset"] == "all")].copy()
    if set(use["status"]) != {"done"}:
        raise SystemExit("some cells are not done")
    tuned = np.where(use["task"].isin(MIDDLE), "middle", "superclass")
    use["how"] = np.where(
        use["protocol"] == "finetune", tuned, np.where(use["shots"].isna(), "probe all", "probe 5")
    )
    if use.loc[use["protocol"] != "finetune", "label_reuse"].any():
        raise SystemExit("a probe re-uses labels")
    use["kind"] = [
        kind_of(method, labels) for method, labels in zip(use["method"], use["labels"], strict=True)
    ]
    use["count"] = (
        use["num_labels"]
        .where(~use["kind"].isin(["instance", "simclr", "scratch"]), 0)
        .fillna(0)
        .astype(int)
    )
    tasks_of = {source: set(use.loc[use["source"] == source, "task"]) for source in SOURCES}
    seeds = {source: set(use.loc[use["source"] == source, "seed"]) for source in SOURCES}
    bare = use[use["method"] == "scratch"]
    scratch = [
        bare[bare["task"].isin(tasks_of[source]) & bare["seed"].isin(seeds[source])].assign(
            source=source
        )
        for source in SOURCES
    ]
    use = pd.concat([use[use["method"] != "scratch"], *scratch])
    mean = use.groupby(["source", "how", "task", "kind", "count", "seed"], observed=True)[
        "value"
    ].mean()
    return (100 * mean.astype(float)).rename("top1").reset_index()


def kind_of(method: str, labels: Any) -> str:
    if method != "supervised":
        return method
    word = str(labels).split(":")[0]
    return "manual" if word == "level" else f"{word} within" if " within " in str(labels) else word


def counts_of(table: pd.DataFrame, source: str) -> list[int]:
    """The matched class counts of a source: those that random classes were made in."""
    return sorted(
        table.loc[(table["source"] == source) & (table["kind"] == "random"), "count"].unique()
    )


def by_seed(
    table: pd.DataFrame, source: str, how: str, kind: str, count: int | None = None
) -> pd.Series:
    """Per seed: the mean over tasks, and over the matched counts unless one is given; instance has
    one count, which stands against each.
    """
    mine = table[(table["source"] == source) & (table["how"] == how) & (table["kind"] == kind)]
    wanted = counts_of(table, source) if count is None else [count]
    mine = mine[mine["count"].isin([0, *wanted])]
    return mine.groupby(["seed", "task"])["top1"].mean().groupby("seed").mean()


def difference(
    table: pd.DataFrame,
    source: str,
    how: str,
    a: str,
    b: str,
    count: int | None = None,
    *,
    comparisons: int = 1,
) -> Interval:
    """a - b in points, paired over seeds."""
    gaps = by_seed(table, source, how, a, count) - by_seed(table, source, how, b, count)
    return t_interval(gaps.dropna().tolist(), comparisons=comparisons)


def shown(
    table: pd.DataFrame,
    source: str,
    how: str,
    a: str,
    b: str,
    count: int | None = None,
    *,
    comparisons: int = 1,
) -> str:
    """The mean (95 % interval by itself); bold where it excludes 0, * where it does so
    corrected.
    """
    alone, among = (
        difference(table, source, how, a, b, count, comparisons=n) for n in (1, comparisons)
    )
    assert alone.mean is not None and alone.low is not None and alone.high is not None
    text = f"{alone.mean:+.1f} ({alone.low:+.1f} to {alone.high:+.1f})"
    return f"**{text}**{'*' if among.excludes_zero else ''}" if alone.excludes_zero else text


def level_of(table: pd.DataFrame, **where: Any) -> str:
    mine = table
    for column, value in where.items():
        mine = mine[mine[column] == value]
    if not len(mine):
        return "\u2013"
    interval = t_interval(mine.sort_values("seed")["top1"].to_numpy())
    return (
        f"{interval.mean:.1f} ± {(interval.high - interval.low) / 2:.1f}"
        if interval.low is not None and interval.high is not None
        else f"{interval.mean:.1f}"
    )


def lines(head: list[str], body: list[list[str]]) -> str:
    return (
        "\n".join(
            [
                "| " + " | ".join(head) + " |",
                "|---|" + "---:|" * (len(head) - 1),
                *("| " + " | ".join(row) + " |" for row in body),
            ]
        )
        + "\n"
    )


def verdicts(table: pd.DataFrame) -> list[str]:
    """Of each link of the paper's order: in how many of the settings its interval, by itself,
    excludes 0, and on which side.
    """
    out = []
    for a, b in CLAIMS[:LINKS]:
        settings = {"+": [], "-": [], "0": []}  # type: dict[str, list[str]]
        for source, title in SOURCES.items():
            for how, words in VIEWS.items():
                gap = difference(table, source, how, a, b)
                assert gap.mean is not None
                settings["0" if not gap.excludes_zero else "+" if gap.mean > 0 else "-"].append(
                    f"{title}, {words}"
                )
        parts = [f"above 0 in {len(settings['+'])} of {sum(map(len, settings.values()))} settings"]
        parts += (
            [f"below 0 in {len(settings['-'])} ({'; '.join(settings['-'])})"]
            if settings["-"]
            else []
        )
        out.append(f"- {a} − {b}: {', '.join(parts)}, not told in {len(settings['0'])}.")
    return out


def block(rows: pd.DataFrame) -> str:
    table = scores(rows)
    comparisons = len(CLAIMS) * len(SOURCES) * len(VIEWS)
    seeds = {
        source: table.loc[
            (table["source"] == source) & (table["kind"] == "manual"), "seed"
        ].nunique()
        for source in SOURCES
    }
    out = [
        f"`headwater run studies/hong2023/grocery_partitions.yaml`: {seeds['grocery']} seeds on "
        f"Grocery Store, {seeds['caltech101']} on Caltech-101; top-1.\n",
        "**The paper's order, link by link** (the 95 % interval of each difference by itself; a "
        "setting is a source and a way of judging):\n",
        *verdicts(table),
        "\n**By the mean**, best first:\n",
    ]
    kinds = list(COLOURS)[:6]
    for source, title in SOURCES.items():
        for how, words in VIEWS.items():
            ranked = sorted(
                kinds, key=lambda kind: -float(by_seed(table, source, how, kind).mean())
            )
            out.append(f"- {title}, {words}: {', '.join(ranked)}")
    out.append(
        "\n**Paired differences**, points, mean over the tasks of the column and over both matched "
        "class counts (95 % t-interval over seeds of each"
    )
    out.append(
        f"by itself): bold excludes 0; * still does so corrected for all {comparisons} comparisons "
        "of these two tables (Bonferroni).\n"
    )
    for source, title in SOURCES.items():
        out.append(f"{title}, {' and '.join(map(str, counts_of(table, source)))} classes:\n")
        body = []
        for a, b in CLAIMS:
            cells = [shown(table, source, how, a, b, comparisons=comparisons) for how in VIEWS]
            body.append([f"{a} − {b}", *cells])
        out.append(lines(["labels", *VIEWS.values()], body))
    each = LINKS * sum(len(counts_of(table, source)) for source in SOURCES) * len(VIEWS)
    out.append(
        "**The same for each class count**, the links of the paper's order; * corrected for the "
        f"{each} comparisons of these two tables:\n"
    )
    for source, title in SOURCES.items():
        body = []
        for count in counts_of(table, source):
            for a, b in CLAIMS[:LINKS]:
                cells = [shown(table, source, how, a, b, count, comparisons=each) for how in VIEWS]
                body.append([f"{count} classes: {a} − {b}", *cells])
        out += [f"{title}:\n", lines(["labels", *VIEWS.values()], body)]
    out.append(
        "**Levels**, top-1 in percent, mean ± half-width of the 95 % t-interval over seeds:\n"
    )
    for source, title in SOURCES.items():
        for how, words in VIEWS.items():
            mine = table[(table["source"] == source) & (table["how"] == how)]
            tasks = sorted(mine["task"].unique())
            arms = mine[["kind", "count"]].drop_duplicates()
            arms["order"] = [list(COLOURS).index(kind) for kind in arms["kind"]]
            body = []
            for kind, count in arms.sort_values(["order", "count"])[["kind", "count"]].itertuples(
                index=False
            ):
                name = kind + (f", {count} classes" if count else "")
                body.append(
                    [name, *[level_of(mine, kind=kind, count=count, task=task) for task in tasks]]
                )
            out += [f"{title}, {words}:\n", lines(["labels", *tasks], body)]
    return "\n".join(out)


def figure(rows: pd.DataFrame) -> dict[str, Any]:
    """Accuracy after fine-tuning against the number of classes, a panel per task, a colour per kind
    of labels.
    """
    table = scores(rows)
    panels = []
    for source, title in SOURCES.items():
        tuned = table.loc[
            (table["source"] == source) & table["how"].isin(["superclass", "middle"]), "task"
        ].unique()
        for task in sorted(tuned, key=lambda task: task in MIDDLE):
            values = []
            mine = table[
                (table["source"] == source)
                & table["how"].isin(["superclass", "middle"])
                & (table["task"] == task)
            ]
            for (kind, count), of_arm in mine.groupby(["kind", "count"]):
                interval = t_interval(of_arm["top1"].to_numpy())
                images = int(rows.loc[rows["source"] == source, "unique_images"].max())
                classes = images if kind == "instance" else count
                beside = 1.0
                if count in counts_of(table, source):  # so that points do not hide one another
                    beside = 1.12 ** (list(COLOURS).index(kind) - 2)
                values.append(
                    {
                        "kind": kind,
                        "classes": classes * beside,
                        "mean": interval.mean,
                        "low": interval.low,
                        "high": interval.high,
                    }
                )
            panels.append(_panel(values, f"{title}: {task}", first=not panels))
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "title": {
            "text": "Labels of equal number: manual, clusters, random, one per image",
            "subtitle": [
                "Top-1 after fine-tuning the whole network on all images; mean and 95 % interval "
                "over seeds (3 and 4). Dashed: no pre-training.",
                "Arms of one class count stand side by side: 43 and 81 classes of Grocery Store, "
                "13 and 100 of Caltech-101.",
            ],
            "fontSize": 16,
            "offset": 12,
            "anchor": "start",
        },
        "concat": panels,
        "columns": 2,
        "spacing": 30,
        "padding": 16,
        "config": {
            "background": "white",
            "font": "Helvetica, Arial, sans-serif",
            "view": {"stroke": "#ddd"},
        },
    }


def _panel(values: list[dict[str, Any]], title: str, *, first: bool) -> dict[str, Any]:
    labelled = [v for v in values if v["classes"]]
    scratch = [v for v in values if v["kind"] == "scratch"]
    kinds = [kind for kind in COLOURS if kind not in ("simclr", "scratch")]
    ends = [end for v in values if v["kind"] != "simclr" for end in (v["low"], v["high"])]
    y = {
        "type": "quantitative",
        "title": "right, %",
        "scale": {"domain": [min(ends) - 0.5, max(ends) + 0.5], "nice": False, "zero": False},
    }
    x = {
        "field": "classes",
        "type": "quantitative",
        "title": "classes (log scale)",
        "scale": {"type": "log", "padding": 24},
    }
    x["axis"] = {"format": "~s", "tickCount": 5, "grid": False}
    colour = {
        "field": "kind",
        "type": "nominal",
        "title": "labels",
        "scale": {"domain": kinds, "range": [COLOURS[kind] for kind in kinds]},
        "legend": {} if first else None,
    }
    base = {"x": x, "color": colour}
    return {
        "title": title,
        "width": 300,
        "height": 230,
        "layer": [
            _layer(
                scratch,
                {"type": "rule", "color": COLOURS["scratch"], "strokeDash": [4, 3]},
                {"y": y | {"field": "mean"}},
            ),
            _layer(
                labelled,
                {"type": "rule", "strokeWidth": 1.5},
                base | {"y": y | {"field": "low"}, "y2": {"field": "high"}},
            ),
            _layer(
                labelled,
                {"type": "point", "filled": True, "size": 60, "opacity": 1},
                base | {"y": y | {"field": "mean"}},
            ),
        ],
    }


def _layer(
    values: list[dict[str, Any]], mark: dict[str, Any], encoding: dict[str, Any]
) -> dict[str, Any]:
    return {"data": {"values": values}, "mark": mark, "encoding": encoding}


def with_block(text: str, rows: pd.DataFrame) -> str:
    """The page's text with its block made anew."""
    made = block(rows)
    return re.sub(
        r"(<!-- partitions -->\n).*?(<!-- /partitions -->)",
        lambda m: m[1] + made + m[2],
        text,
        flags=re.S,
    )


if __name__ == "__main__":
    table = read_rows(ROWS)
    PAGE.write_text(with_block(PAGE.read_text(), table))
    FIGURE.write_bytes(draw(figure(table), "png"))
    print(f"wrote {PAGE.name} and {FIGURE.name}")
