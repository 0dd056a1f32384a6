"""One offline HTML file: the verdict, the charts, the tables, and the rows themselves.

The file asks nothing of any network and runs under a strict Content-Security-Policy (shell.py).
Text from data reaches the page through jinja2's escaping, or through compressed JSON and
textContent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater import analysis
from headwater.analysis.configurations import main_metric, prepare
from headwater.analysis.gap import POOLED
from headwater.analysis.kept import keeping
from headwater.analysis.words import missing, shots_word
from headwater.files import write_atomic
from headwater.registry import ANALYSES
from headwater.report.arms import arm_lines, colours_by_name
from headwater.report.card import MOST_BARS, parts, picture, tiles
from headwater.report.charts import Panel, charts, panels
from headwater.report.embedded import (
    MOST_ROWS,
    embedded,
    packed_records,
    packed_rows,
    places,
)
from headwater.report.opening import opening, setting_words
from headwater.report.provenance import held, warnings
from headwater.report.shell import anchors, rendered
from headwater.rows import NAMES, write_rows

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis import Aim, Finding
    from headwater.analysis.images import Answers


def write_report(
    rows: pd.DataFrame,
    path: str | Path,
    *,
    title: str,
    question: str | None = None,
    notes: Sequence[str] = (),
    beware: Sequence[str] = (),
    aim: Aim | None = None,
    answers: Answers | None = None,
) -> Path:
    """Write the report on `rows` to `path` (one HTML file, 1 to 2 MB) and return that path.

    Of more rows than `embedded.MOST_ROWS` the page holds a part, which it names, and all of them
    are written beside it: report.rows.parquet for report.html, a table that `read_rows` reads.

    The folder is made if needed; a file is written beside its place and renamed, so that a reader
    never sees half of it, and the rows come before the page that names them. `question`, `notes`
    and `beware` (what is told before other warnings) are plain text; `aim` is what the verdict
    decides by, `answers` what it takes to speak of other test images (`headwater.decide`). Raises
    InputError where a required column of the schema is missing.
    """
    path = Path(path)
    table = prepare(rows)
    rows_path = None
    if len(table) > MOST_ROWS:
        rows_path = path.with_suffix(".rows.parquet")
        write_rows(table[list(NAMES)], rows_path)
    page = render(
        table,
        title=title,
        question=question,
        notes=notes,
        beware=beware,
        aim=aim,
        answers=answers,
        rows_path=rows_path,
    )
    write_atomic(path, page)
    return path


def render(
    rows: pd.DataFrame,
    *,
    title: str,
    question: str | None = None,
    notes: Sequence[str] = (),
    beware: Sequence[str] = (),
    aim: Aim | None = None,
    answers: Answers | None = None,
    rows_path: Path | None = None,
) -> str:
    """The HTML of a report. `rows_path` is a table beside it with all rows."""
    table = prepare(rows)
    with keeping(table):
        return _rendered(
            table,
            title=title,
            question=question,
            notes=list(notes),
            beware=beware,
            aim=aim,
            answers=answers,
            rows_path=rows_path,
        )


def _rendered(
    table: pd.DataFrame,
    *,
    beware: Sequence[str],
    aim: Aim | None,
    answers: Answers | None,
    rows_path: Path | None,
    **words: Any,
) -> str:
    """The HTML of a prepared table."""
    summary = analysis.summarise(table)
    shown = embedded(table)
    cells = {cell: place for place, cell in enumerate(dict.fromkeys(shown["cell"].tolist()))}
    drawn = panels(table)
    drawn_kinds = {panel.kind for panel in drawn}
    verdict = analysis.verdict(table, aim, answers=answers)
    decision, colours = verdict.decision, colours_by_name(summary)
    places_of_arms = anchors("arm", summary.sort_values("order")["name"].astype(str))
    kinds = charts()
    data = {
        "panels": [_panel_data(panel, kinds[panel.kind].title) for panel in drawn],
        "summary": packed_records(_summary(summary, colours, places_of_arms)),
        "rows": packed_rows(shown),
        "cells": list(cells),
        "opening": opening(summary, decision, main_metric(table)),
        "pooled": POOLED,
    }
    findings, columns = analysis.findings(table), held(table)
    budget = analysis.variance_budget(table, aim, decision=decision)
    return rendered(
        "report.html",
        scripts=("rows.js", "report.js"),
        data=data,
        **words,
        verdict=verdict,
        setting_words=setting_words(decision),
        tiles=tiles(decision),
        picture=picture(decision, colours),
        anchors=places_of_arms,
        arms=arm_lines(decision, colours, places_of_arms),
        priced=bool(decision.costs),
        parts=parts(budget),
        made_of=[] if budget is None else budget.sentences(),
        num_further=max(0, len(decision.behind) - MOST_BARS),
        verdict_cells=places(verdict.cells, cells),
        charts=[chart for chart in kinds.values() if chart.kind in drawn_kinds],
        panels=list(enumerate(drawn)),
        num_numbers=len(summary),
        num_shown=len(shown),
        num_rows=len(table),
        rows_file=None if rows_path is None else rows_path.name,
        findings=_by_question(findings, cells),
        facts=_facts(table, findings),
        held=[column for column in columns if column.equal],
        differs=[column for column in columns if not column.equal],
        warnings=[*beware, *warnings(table)],
    )


def _panel_data(panel: Panel, title: str) -> dict[str, Any]:
    """`words` name the panel in a file of its own."""
    return {
        "task": panel.task,
        "protocol": panel.protocol,
        "shots": panel.shots,
        "words": f"{title}: {panel.title} ({panel.protocol}{panel.with_images})",
        "spec": panel.spec,
    }


def _summary(
    summary: pd.DataFrame, colours: Mapping[str, str], arms: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Task by task, the best on top."""
    ordered = summary.sort_values(
        ["task", "mean", "order"], ascending=[True, False, True], na_position="last"
    )
    return [
        _summary_line(row) | {"colour": colours[str(row["name"])], "anchor": arms[str(row["name"])]}
        for row in ordered.to_dict("records")
    ]


def _summary_line(row: dict[Any, Any]) -> dict[str, Any]:
    half = None if missing(row["low"]) else 50 * (row["high"] - row["low"])
    return {
        "name": str(row["name"]),
        "task": str(row["task"]),
        "protocol": str(row["protocol"]),
        "metric": str(row["metric"]),
        "subset": str(row["subset"]),
        "shots": shots_word(row["shots"]),
        "mean": None if missing(row["mean"]) else f"{100 * row['mean']:.1f}",
        "half": None if half is None else f"{half:.1f}",
        "seeds": int(row["num_seeds"]),
        "draws": f"{row['num_draws']:,.2f}".removesuffix(".00"),
        "classes": "" if missing(row["num_labels"]) else f"{row['num_labels']:.0f}",
        "n_test": "" if missing(row["n_test"]) else str(row["n_test"]),
        "diverged": int(row["num_diverged"]),
        "failed": int(row["num_failed"]),
        "reused": not row["decides"] and not missing(row["mean"]),
        "cells": len(row["cells"]),
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
            "cells": places(finding.cells, cells),
            "num_cells": len(finding.cells),
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
