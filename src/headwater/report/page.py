"""One offline HTML file: the verdict, the charts, the tables, and the rows themselves.

The file asks nothing of any network and runs under a strict Content-Security-Policy (offline.py).
Text from data reaches the page through jinja2's escaping, through JSON in which `<` is written
\\u003c, or through textContent.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater import analysis
from headwater.analysis.configurations import prepare
from headwater.analysis.words import count, missing, shots_word
from headwater.report.charts import panels, theme
from headwater.report.figures import KINDS
from headwater.report.offline import bundle, digest, script_json, trusted
from headwater.report.palette import arm_colours, arm_word
from headwater.report.provenance import held, warnings
from headwater.rows import NAMES

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis import Finding

_KIND_WORDS = {
    "accuracy": "A dot is the mean over seeds, the bar its 95 % interval. Hollow: labels re-used, "
    "decides nothing.",
    "granularity": "Lines join hierarchy levels (and one class per image), coarse to fine; crosses "
    "are other label views; the dashed line is no pre-training.",
    "gap": "Accuracy with the best source minus accuracy with the worst, method and labels held "
    "equal. Intervals are corrected for the choice of the pair.",
    "shots": "Every arm against the number of training images per class. Dashes tell sources "
    "apart.",
}


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
    page = render(rows, title=title, question=question, notes=notes)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def render(
    rows: pd.DataFrame, *, title: str, question: str | None = None, notes: Sequence[str] = ()
) -> str:
    """The HTML of a report."""
    import jinja2

    table = prepare(rows)
    summary = analysis.summarise(table)
    cells = {cell: place for place, cell in enumerate(dict.fromkeys(table["cell"].astype(str)))}
    found = panels(table)
    scripts = {"bundle": bundle(), "page": _resource("page.js")}
    data = {
        "panels": [
            {
                "kind": p.kind,
                "task": p.task,
                "protocol": p.protocol,
                "shots": p.shots,
                "spec": p.spec,
            }
            for p in found
        ],
        "themes": {"light": theme(dark=False), "dark": theme(dark=True)},
        "rows": _packed(table),
        "cells": list(cells),
    }
    verdict, answers, columns = analysis.verdict(table), analysis.findings(table), held(table)
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
        kinds=[
            (k, words, _KIND_WORDS[k])
            for k, words in KINDS.items()
            if any(p.kind == k for p in found)
        ],
        panels=list(enumerate(found)),
        choices=_choices(found, summary, verdict.protocol),
        summary=_summary(summary, cells),
        findings=_findings(answers, cells),
        facts=_facts(table, answers),
        held=[h for h in columns if h.equal],
        differs=[h for h in columns if not h.equal],
        warnings=warnings(table),
    )


def _resource(name: str) -> str:
    return files("headwater.report").joinpath(name).read_text(encoding="utf-8")


def _packed(table: pd.DataFrame) -> dict[str, Any]:
    """All rows, by column: a constant once, text as codes into its distinct values, numbers as they
    are.
    """
    columns: list[dict[str, Any]] = []
    for name in [*NAMES, "name"]:
        values = [None if missing(v) else v for v in table[name].tolist()]
        distinct = list(dict.fromkeys(values))
        if len(distinct) <= 1:
            columns.append({"name": name, "constant": distinct[0] if distinct else None})
        elif any(isinstance(v, str) for v in distinct):
            code = {v: i for i, v in enumerate(distinct)}
            columns.append({"name": name, "distinct": distinct, "codes": [code[v] for v in values]})
        else:
            columns.append({"name": name, "values": values})
    return {"count": len(table), "columns": columns}


def _places(ids: Sequence[str], cells: dict[str, int]) -> str:
    """Cells as their places in the embedded list: a pooled finding rests on hundreds, and their ids
    would be most of the file.
    """
    return " ".join(str(cells[c]) for c in ids if c in cells)


def _choices(found: list[Any], summary: pd.DataFrame, protocol: str | None) -> dict[str, Any]:
    protocols = sorted({*(p.protocol for p in found), *summary["protocol"].astype(str)})
    shots = sorted(
        {shots_word(s) for s in summary["shots"]},
        key=lambda s: (s == "all", int(s) if s.isdigit() else 0),
    )
    return {
        "tasks": sorted(set(summary["task"].astype(str))),
        "protocols": protocols,
        "protocol": protocol if protocol in protocols else (protocols[0] if protocols else ""),
        "shots": shots,
        "shot": shots[-1] if shots else "",
        "subsets": [s for s in ("all", "hard", "easy", "unleaked") if s in set(summary["subset"])],
        "metrics": sorted(set(summary["metric"].astype(str))),
        "metric": "top1"
        if "top1" in set(summary["metric"])
        else next(iter(sorted(set(summary["metric"].astype(str)))), ""),
    }


def _summary(summary: pd.DataFrame, cells: dict[str, int]) -> list[dict[str, Any]]:
    colours = arm_colours(summary)
    out = []
    for row in summary.to_dict("records"):
        half = None if missing(row["low"]) else 50 * (row["high"] - row["low"])
        out.append(
            {k: str(row[k]) for k in ("name", "task", "protocol", "metric", "subset")}
            | {
                "shots": shots_word(row["shots"]),
                "colour": colours[arm_word(row["method"], row["labels"])],
            }
            | {
                "mean": None if missing(row["mean"]) else f"{100 * row['mean']:.1f}",
                "half": None if half is None else f"{half:.1f}",
            }
            | {
                "seeds": int(row["num_seeds"]),
                "draws": f"{row['num_draws']:.3g}",
                "classes": "" if missing(row["num_labels"]) else f"{row['num_labels']:.0f}",
            }
            | {
                "n_test": "" if missing(row["n_test"]) else str(row["n_test"]),
                "diverged": int(row["num_diverged"]),
                "failed": int(row["num_failed"]),
            }
            | {
                "reused": not row["decides"] and not missing(row["mean"]),
                "cells": _places(row["cells"], cells),
                "num_cells": count(len(row["cells"]), "cell"),
            }
        )
    return out


def _findings(
    found: Sequence[Finding], cells: dict[str, int]
) -> list[tuple[str, list[dict[str, Any]]]]:
    titles = {
        "failures": "Failures", "label_reuse": "Label re-use", "best": "Best per task", "granularity": "Label granularity",
        "hard": "Hard and easy images", "gap": "Sources against shots",
    }  # fmt: skip
    groups: dict[str, list[dict[str, Any]]] = {}
    for finding in found:
        words = {
            "question": finding.question,
            "answer": finding.answer,
            "cells": _places(finding.cells, cells),
            "num_cells": count(len(finding.cells), "cell"),
        }
        groups.setdefault(finding.kind, []).append(words | {"comparisons": finding.num_comparisons})
    return [(titles.get(kind, kind), items) for kind, items in groups.items()]


def _facts(table: pd.DataFrame, found: Sequence[Finding]) -> list[tuple[str, str]]:
    trained = table.loc[table["method"] != "scratch", "arm"].nunique()
    return [
        (str(table["configuration"].nunique()), "configurations"),
        (str(trained), "pre-trained arms"),
        (str(table["seed"].nunique()), "seeds"),
        (str(table["task"].nunique()), "tasks"),
        (str(table["cell"].nunique()), "cells"),
        (str(sum(f.num_comparisons for f in found)), "comparisons made"),
    ]
