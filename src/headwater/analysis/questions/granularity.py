"""How fine labels should be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from headwater.analysis.configurations import main_metric
from headwater.analysis.copied import HOLLOW
from headwater.analysis.granularity import peaks
from headwater.analysis.questions import Chart, Finding, Question
from headwater.analysis.words import count, missing, number, percent, points, setting_word

if TYPE_CHECKING:
    import pandas as pd

_NAME = "granularity"


def _findings(table: pd.DataFrame) -> Iterator[Finding]:
    for row in peaks(table, metric=main_metric(table)).to_dict("records"):
        where = setting_word(row["task"], row["protocol"], row["shots"])
        if row["subset"] != "all":
            where += f", {row['subset']} images"
        end = _nearer_end(row)
        yield Finding(
            kind=_NAME,
            question=f"How fine should labels be ({row['series']}; {where})?",
            answer=_answer(row),
            estimate=number(row[end]),
            low=number(row[f"{end}_low"]),
            high=number(row[f"{end}_high"]),
            num_seeds=int(row["num_seeds"]),
            num_comparisons=int(row["num_comparisons"]),
            cells=row["cells"],
        )


def _nearer_end(row: dict[Any, Any]) -> str:
    """The end of the curve that the peak is less far above."""
    ends = [end for end in ("coarse", "fine") if not missing(row[end])]
    return min(ends, key=lambda end: float(row[end]), default="coarse")


def _answer(row: dict[Any, Any]) -> str:
    classes, mean = f"{row['peak_classes']:.0f} classes", percent(row["mean"])
    reused = "" if row["decides"] else f" {HOLLOW}"
    return f"{row['peak']} ({classes}) is highest at {mean}, {_shape(row)}.{reused}"


def _shape(row: dict[Any, Any]) -> str:
    coarse, fine = points(row["coarse"]), points(row["fine"])
    if row["shape"] == "U":
        return f"above the coarsest by {coarse} and the finest by {fine}: the U is supported"
    if row["shape"] == "finest":
        return f"above the coarsest by {coarse}: finer is better as far as was tried"
    if row["shape"] == "coarsest":
        return f"above the finest by {fine}: coarser is better as far as was tried"
    if row["shape"] == "too few views":
        return "but a curve needs three label views"
    needed = row["seeds_needed"]
    might = (
        "" if missing(needed) or needed == 0 else f"; about {count(needed, 'more seed')} could tell"
    )
    return f"but not told apart from both ends of the curve, so the shape cannot be told{might}"


ENTRY = Question(
    name=_NAME,
    version=1,
    order=40,
    title="Label granularity",
    findings=_findings,
    charts=(
        Chart(
            kind="granularity",
            title="Accuracy against the number of classes in pre-training",
            caption="Lines join hierarchy levels (and one class per image), coarse to fine; "
            "crosses are other label views; the dashed line is no pre-training.",
            panels="headwater.report.charts.granularity:panels",
            own_scales=("strokeDash",),
        ),
    ),
)
