"""Headwater tells a team what to pre-train on.

The pipeline, in order:

    study.yaml -> Study (study) -> Plan (plan): arms and cells, by content
    Source (sources) -> label view (labels) -> views (views) -> one loop (pretrain, methods)
    -> encoder (models, store)
    Task (tasks) -> transfer (transfer: probe, finetune) -> rows (rows)
    rows -> findings (analysis) -> report.html (report)

Doing ends in rows; concluding starts from them and needs no GPU, data or checkpoint.

    import headwater as hw

    rows = hw.run("studies/demo.yaml")  # a DataFrame, one row per (cell, metric, subset)
    hw.write_report(rows, "report.html", title="demo")
    hw.figure("accuracy", rows)  # shows itself in a notebook; .spec is Vega-Lite
    encoder = hw.load_encoder("headwater-store/arms/<id>")  # a timm module

    tree = hw.open_hierarchy("wordnet")
    # codes: int32 [images]; targets.matrix() is multi-hot, scipy CSR
    targets = tree.targets(codes, hw.class_list("imagenet21k"), "level:4")
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

from headwater import wings

if TYPE_CHECKING:
    from headwater.analysis import Aim, Prices, variance_budget
    from headwater.analysis.exchange import exchange_rate
    from headwater.analysis.mixes import best_mix
    from headwater.api import (
        figure,
        labels_facts,
        make_plan,
        plan_facts,
        propose,
        run,
        status_facts,
        tasks_facts,
    )
    from headwater.errors import InputError
    from headwater.labels import Targets
    from headwater.labels.hierarchies import class_list, open_hierarchy
    from headwater.labels.hierarchy import Hierarchy
    from headwater.models import load_encoder
    from headwater.plan import Plan
    from headwater.report import write_report
    from headwater.report.decision_html import Decision, decide
    from headwater.report.inline import Figure
    from headwater.rows import read_rows
    from headwater.store import Store
    from headwater.study import Study

_HOMES = {
    "Aim": "headwater.analysis",
    "Decision": "headwater.report.decision_html",
    "Figure": "headwater.report.inline",
    "Hierarchy": "headwater.labels.hierarchy",
    "InputError": "headwater.errors",
    "Plan": "headwater.plan",
    "Prices": "headwater.analysis",
    "Store": "headwater.store",
    "Study": "headwater.study",
    "Targets": "headwater.labels",
    "best_mix": "headwater.analysis.mixes",
    "class_list": "headwater.labels.hierarchies",
    "decide": "headwater.report.decision_html",
    "exchange_rate": "headwater.analysis.exchange",
    "figure": "headwater.api",
    "labels_facts": "headwater.api",
    "load_encoder": "headwater.models",
    "make_plan": "headwater.api",
    "open_hierarchy": "headwater.labels.hierarchies",
    "plan_facts": "headwater.api",
    "propose": "headwater.api",
    "read_rows": "headwater.rows",
    "run": "headwater.api",
    "status_facts": "headwater.api",
    "tasks_facts": "headwater.api",
    "variance_budget": "headwater.analysis",
    "write_report": "headwater.report",
    **wings.names(),
}

__all__ = [
    "Aim",
    "Decision",
    "Figure",
    "Hierarchy",
    "InputError",
    "Plan",
    "Prices",
    "Store",
    "Study",
    "Targets",
    "best_mix",
    "class_list",
    "decide",
    "exchange_rate",
    "figure",
    "labels_facts",
    "load_encoder",
    "make_plan",
    "open_hierarchy",
    "plan_facts",
    "propose",
    "read_rows",
    "run",
    "status_facts",
    "tasks_facts",
    "variance_budget",
    "write_report",
]
__all__ += [*wings.names()]  # what the wings offer, under their own names


def __getattr__(name: str) -> Any:
    """Public names are imported when they are asked for: torch takes seconds, and reading rows does
    not need it.
    """
    if name == "__version__":
        return importlib.metadata.version("headwater")
    if name not in _HOMES:
        raise AttributeError(f"module 'headwater' has no attribute {name!r}")
    home, _, own = _HOMES[name].partition(":")
    return getattr(importlib.import_module(home), own or name)


def __dir__() -> list[str]:
    """Public names and those with two underscores; not what this file happens to import."""
    dunder = [name for name in globals() if name.startswith("__") and name.endswith("__")]
    return sorted({*dunder, "__version__", *__all__})
