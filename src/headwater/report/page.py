"""One offline HTML file: the verdict, the charts, the tables, and the rows themselves.

The file asks nothing of any network and runs under a strict Content-Security-Policy (offline.py).
Text from data reaches the page through jinja2's escaping, through JSON in which `<` is written
\\u003c, or through textContent.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater import analysis
from headwater.analysis.configurations import prepare
from headwater.analysis.words import count, missing, shots_place, shots_word
from headwater.files import write_atomic
from headwater.registry import ANALYSES
from headwater.report.charts import Panel, charts, panels, theme
from headwater.report.offline import bundle, digest, script_json, trusted
from headwater.report.palette import arm_colours, arm_word
from headwater.report.provenance import held, warnings
from headwater.rows import NAMES

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis import Finding


def write_report(
    rows: pd.DataFrame,
    path: str | Path,
    *,
    title: str,
    question: str | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Write the report on `rows` to `path` (one HTML file, about 1 MB and the rows) and return that
    path.

    The folder is made if needed; the file is written beside its place and renamed, so that a reader
    never sees half of it. `question` and `notes` are plain text. Raises InputError where a required
    column of the schema is missing.
    """
    path = Path(path)
    write_atomic(path, render(rows, title=title, question=question, notes=notes))
    return path


def render(
    rows: pd.DataFrame, *, title: str, question: str | None = None, notes: Sequence[str] = ()
) -> str:
    """The HTML of a report."""
    import jinja2

    table = prepare(rows)
    summary = analysis.summarise(table)
    cells = {cell: place for place, cell in enumerate(dict.fromkeys(table["cell"].astype(str)))}
    drawn = panels(table)
    drawn_kinds = {panel.kind for panel in drawn}
    scripts = {"bundle": bundle(), "page": _resource("page.js")}
    data = {
        "panels": [_panel_data(panel) for panel in drawn],
        "themes": {"light": theme(dark=False), "dark": theme(dark=True)},
        "rows": _packed(table),
        "cells": list(cells),
    }
    verdict, findings, columns = analysis.verdict(table), analysis.findings(table), held(table)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_resource("page.html")).render(
        title=title,
        question=question,
        notes=list(notes),
        verdict=verdict,
        verdict_cells=_places(verdict.cells, cells),
        style=trusted(_resource("page.css")),
        scripts={name: trusted(text) for name, text in scripts.items()},
        hashes=[digest(text) for text in scripts.values()],
        data=trusted(script_json(data)),
        charts=[chart for chart in charts().values() if chart.kind in drawn_kinds],
        panels=list(enumerate(drawn)),
        choices=_choices(drawn, summary, verdict.protocol),
        summary=_summary(summary, cells),
        findings=_by_question(findings, cells),
        facts=_facts(table, findings),
        held=[column for column in columns if column.equal],
        differs=[column for column in columns if not column.equal],
        warnings=warnings(table),
    )


def _panel_data(panel: Panel) -> dict[str, Any]:
    return {
        "kind": panel.kind,
        "task": panel.task,
        "protocol": panel.protocol,
        "shots": panel.shots,
        "spec": panel.spec,
    }


def _resource(name: str) -> str:
    return files("headwater.report").joinpath(name).read_text(encoding="utf-8")


def _packed(table: pd.DataFrame) -> dict[str, Any]:
    """All rows, by column: a constant once, text as codes into its distinct values, numbers as they
    are.
    """
    columns = [_packed_column(name, table[name].tolist()) for name in (*NAMES, "name")]
    return {"count": len(table), "columns": columns}


def _packed_column(name: str, column: list[Any]) -> dict[str, Any]:
    values = [None if missing(value) else value for value in column]
    distinct = list(dict.fromkeys(values))
    if len(distinct) <= 1:
        return {"name": name, "constant": distinct[0] if distinct else None}
    if any(isinstance(value, str) for value in distinct):
        codes = {value: code for code, value in enumerate(distinct)}
        return {"name": name, "distinct": distinct, "codes": [codes[value] for value in values]}
    return {"name": name, "values": values}


def _places(ids: Sequence[str], cells: dict[str, int]) -> str:
    """Cells as their places in the embedded list: a pooled finding rests on hundreds, and their ids
    would be most of the file.
    """
    return " ".join(str(cells[cell]) for cell in ids if cell in cells)


def _choices(drawn: list[Panel], summary: pd.DataFrame, protocol: str | None) -> dict[str, Any]:
    """What the page lets its reader choose from, and what is chosen at first."""
    shown_under = {panel.protocol for panel in drawn}
    protocols = sorted(shown_under.union(summary["protocol"].astype(str)))
    shots = sorted({shots_word(count) for count in summary["shots"]}, key=shots_place)
    subsets = set(summary["subset"])
    metrics = sorted(set(summary["metric"].astype(str)))
    return {
        "tasks": sorted(set(summary["task"].astype(str))),
        "protocols": protocols,
        "protocol": protocol if protocol in protocols else next(iter(protocols), ""),
        "shots": shots,
        "shot": next(reversed(shots), ""),
        "subsets": [word for word in ("all", "hard", "easy", "unleaked") if word in subsets],
        "metrics": metrics,
        "metric": "top1" if "top1" in metrics else next(iter(metrics), ""),
    }


def _summary(summary: pd.DataFrame, cells: dict[str, int]) -> list[dict[str, Any]]:
    colours = arm_colours(summary)
    return [
        _summary_line(row, colours[arm_word(row["method"], row["labels"])], cells)
        for row in summary.to_dict("records")
    ]


def _summary_line(row: dict[Any, Any], colour: str, cells: dict[str, int]) -> dict[str, Any]:
    half = None if missing(row["low"]) else 50 * (row["high"] - row["low"])
    return {
        "name": str(row["name"]),
        "task": str(row["task"]),
        "protocol": str(row["protocol"]),
        "metric": str(row["metric"]),
        "subset": str(row["subset"]),
        "shots": shots_word(row["shots"]),
        "colour": colour,
        "mean": None if missing(row["mean"]) else f"{100 * row['mean']:.1f}",
        "half": None if half is None else f"{half:.1f}",
        "seeds": int(row["num_seeds"]),
        "draws": f"{row['num_draws']:.3g}",
        "classes": "" if missing(row["num_labels"]) else f"{row['num_labels']:.0f}",
        "n_test": "" if missing(row["n_test"]) else str(row["n_test"]),
        "diverged": int(row["num_diverged"]),
        "failed": int(row["num_failed"]),
        "reused": not row["decides"] and not missing(row["mean"]),
        "cells": _places(row["cells"], cells),
        "num_cells": count(len(row["cells"]), "cell"),
    }


def _by_question(
    findings: Sequence[Finding], cells: dict[str, int]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """(heading, its findings), in the order of the analyses; those without a finding are left
    out.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for finding in findings:
        shown = {
            "question": finding.question,
            "answer": finding.answer,
            "cells": _places(finding.cells, cells),
            "num_cells": count(len(finding.cells), "cell"),
            "comparisons": finding.num_comparisons,
        }
        groups.setdefault(finding.kind, []).append(shown)
    return [(ANALYSES.named(kind).title, shown) for kind, shown in groups.items()]


def _facts(table: pd.DataFrame, findings: Sequence[Finding]) -> list[tuple[str, str]]:
    trained = table.loc[table["method"] != "scratch", "arm"].nunique()
    return [
        (str(table["configuration"].nunique()), "configurations"),
        (str(trained), "pre-trained arms"),
        (str(table["seed"].nunique()), "seeds"),
        (str(table["task"].nunique()), "tasks"),
        (str(table["cell"].nunique()), "cells"),
        (str(sum(finding.num_comparisons for finding in findings)), "comparisons made"),
    ]
