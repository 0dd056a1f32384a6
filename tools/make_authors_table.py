"""Rebuilds docs/authors_table.md from the table that the authors of Entezari et al. 2023 published:

    HEADWATER_DATA=... python tools/make_authors_table.py

The table itself is not in the repository (docs/data.md says where it is had); the figures are.
"""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from headwater.analysis import Aim
from headwater.analysis.exchange import exchange_rate
from headwater.imports import imported, map_of

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "authors_table.md"
TABLE = "entezari2023/Hyperparameters_results.csv"
MARK = "<!-- authors -->", "<!-- /authors -->"
SIX = ("CIFAR100", "DTD", "CALTECH101", "PETS", "REAL", "CLIPART")
SEVEN = ("Shutterstock", "LAION", "YFCC", "WIT", "RedCaps", "CC3M", "CC12M")
ARMS = (
    ("Shutterstock", "2.7M", "clip"),
    ("LAION", "2.7M", "clip"),
    ("YFCC", "2.7M", "clip"),
    ("WIT", "2.7M", "clip"),
    ("LAION", "15M", "clip"),
    ("ImageNet-1k", "all", "supervised"),
    ("LAION", "2B", "clip"),
)
SHOTS = {1: "1", 5: "5", 10: "10", 20: "20", -1: "all"}
PAID, BOUGHT = "clip captions · LAION, resnet50", "supervised level:0 · ImageNet-1k"
LONG = ("CIFAR100", "DTD", "PETS")
"""Tasks on which LAION was run at seven sizes (with all images)."""


def rows_of(root: Path) -> pd.DataFrame:
    return imported(root / TABLE, map_of("entezari2023")).rows


def block(rows: pd.DataFrame) -> str:
    tuned = rows[rows["protocol"] == "finetune"].assign(
        shots=lambda frame: frame["shots"].fillna(-1).astype(int),
        value=lambda frame: 100 * frame["value"].astype(float),
    )
    six = tuned[tuned["task"].isin(SIX)]
    lines = [MARK[0], *_means(six), "", *_gaps(six), "", *_rates(rows), MARK[1]]
    return "\n".join(lines)


def _means(six: pd.DataFrame) -> list[str]:
    shown = [shots for shots in SHOTS if shots != 20]
    lines = [
        "Mean over CIFAR-100, DTD, Caltech-101, Pets, REAL and CLIPART, best over their grid, %:",
        "",
        "| pre-training | " + " | ".join(SHOTS[shots] for shots in shown) + " |",
        "|---|" + "---:|" * len(shown),
    ]
    for source, size, method in ARMS:
        of_arm = six[
            (six["source"] == source) & (six["size"] == size) & (six["method"] == method)
        ].sort_values("value", ascending=False)
        means = of_arm.drop_duplicates(["task", "shots"]).groupby("shots")["value"].mean()
        numbers = " | ".join(f"{means[shots]:.1f}" for shots in shown)
        network = " (the better of ResNet-50 and ViT-B/32)" if size == "2B" else ""
        lines.append(f"| {method} on {source}, {size}{network} | {numbers} |")
    return lines


def _gaps(six: pd.DataFrame) -> list[str]:
    sources = six[(six["size"] == "2.7M") & six["source"].isin(SEVEN)]
    best = sources.groupby(["shots", "task", "source"])["value"].max()
    per_task = best.groupby(["shots", "task"])
    spread = (per_task.max() - per_task.min())[per_task.size() == len(SEVEN)]
    lines = [
        "Best less worst of seven sources at 2.7M pairs, mean over these tasks, points:",
        "",
        "| images per class | gap | tasks |",
        "|---:|---:|---:|",
    ]
    for shots, word in SHOTS.items():
        lines.append(f"| {word} | {spread[shots].mean():.1f} | {len(spread[shots])} |")
    return lines


def _rates(rows: pd.DataFrame) -> list[str]:
    lines = [
        "How many images of LAION (CLIP, ResNet-50) one labelled image of ImageNet-1k is worth:",
        "",
        "| images per class | tasks | LAION's sizes | rate |",
        "|---|---|---:|---|",
    ]
    for tasks in (LONG, *((task,) for task in LONG)):
        lines.append(_rate_line(rows, -1, tasks))
    for shots in (1, 5, 10, -1):
        lines.append(_rate_line(rows, shots, SIX))
    return lines


def _rate_line(rows: pd.DataFrame, shots: int, tasks: tuple[str, ...]) -> str:
    answer = exchange_rate(rows, PAID, BOUGHT, Aim("finetune", (shots,)), tasks=tasks, reach=4)
    where = ", ".join(tasks) if len(tasks) < len(SIX) else "all six"
    return f"| {SHOTS[shots]} | {where} | {len(answer.a_sizes)} | {answer.overall.words} |"


def with_block(text: str, rows: pd.DataFrame) -> str:
    before, _, rest = text.partition(MARK[0])
    return before + block(rows) + rest.partition(MARK[1])[2]


if __name__ == "__main__":
    table = rows_of(Path(os.environ["HEADWATER_DATA"]))
    PAGE.write_text(with_block(PAGE.read_text(encoding="utf-8"), table), encoding="utf-8")
    print(f"wrote {PAGE.name}")
