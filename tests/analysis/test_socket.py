"""Analyses as a socket: what is declared is asked, shown and told, and nothing else is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pandas as pd
import pytest

from headwater.analysis import (
    Chart,
    Finding,
    Question,
    findings,
    prepare,
    summarise,
    verdict,
)
from headwater.analysis.kinds import kind_in_text
from headwater.analysis.order import shown_labels, shown_method, tuned_protocols
from headwater.registry import ANALYSES
from headwater.report.charts import Evidence, Panel, panels
from headwater.report.figures import figure
from headwater.report.page import render
from headwater.report.palette import SERIES, arm_colours
from headwater.rows import to_frame

from .synthetic import arm_fields, one_row, synthetic_rows

ROWS = synthetic_rows(tasks=("birds",), protocols=("finetune",), shots=(1, 5), seeds=2)


def most_images(evidence: Evidence) -> list[Panel]:
    spec = {"data": {"values": [{"n": 1}]}, "mark": "point", "encoding": {}}
    return [Panel("largest", "birds", "finetune", None, title="birds", spec=spec)]


def largest(table: pd.DataFrame) -> Iterator[Finding]:
    cells = tuple(sorted(set(table["cell"])))
    yield Finding(
        kind="largest",
        question="How large is the largest test set?",
        answer=f"It has {table['n_test'].max()} images.",
        estimate=float(table["n_test"].max()),
        cells=cells,
    )


LARGEST = Question(
    name="largest",
    version=1,
    order=35,
    title="Size of test sets",
    findings=largest,
    charts=(
        Chart(
            kind="largest",
            title="Test sets by size",
            caption="One dot a test set.",
            panels=f"{__name__}:most_images",
        ),
    ),
    grounds=lambda table: ["The largest test set has 1000 images."],
    next_steps=lambda table: ["Find a larger test set."],
)


@pytest.mark.slow
def test_a_declared_analysis_is_in_findings_report_figures_and_verdict() -> None:
    without = verdict(ROWS)
    with ANALYSES.registered(LARGEST):
        told = [finding for finding in findings(ROWS) if finding.kind == "largest"]
        assert [finding.answer for finding in told] == ["It has 1000 images."]
        page = render(ROWS, title="T")
        assert "<summary>Size of test sets <" in page
        assert "How large is the largest test set?" in page
        assert '<h2 id="chart-largest"><a href="#chart-largest">Test sets by size</a></h2>' in page
        assert figure(ROWS, "largest")["title"]["text"] == "Test sets by size"
        advice = verdict(ROWS)
    assert advice.sentences == (*without.sentences, "The largest test set has 1000 images.")
    run_again, *steps = without.next_steps  # what failed comes before all else
    assert advice.next_steps == (run_again, "Find a larger test set.", *steps)
    assert "largest" not in {finding.kind for finding in findings(ROWS)}


def test_findings_and_charts_come_in_the_order_of_the_analyses() -> None:
    with ANALYSES.registered(LARGEST):
        kinds = list(dict.fromkeys(finding.kind for finding in findings(ROWS)))
        assert kinds == [name for name in ANALYSES.names() if name in kinds]
        assert kinds.index("best") + 1 == kinds.index("largest") == kinds.index("granularity") - 1
        drawn = list(dict.fromkeys(panel.kind for panel in panels(ROWS)))
        assert drawn == ["accuracy", "largest", "granularity", "gap", "shots"]


def test_every_finding_bears_the_name_of_its_analysis() -> None:
    table = synthetic_rows(tasks=("birds",), shots=(1, 5))
    for question in ANALYSES:
        kinds = {finding.kind for finding in question.findings(prepare(table))}
        assert kinds == {question.name}


def test_a_method_that_is_not_installed_stands_last_in_a_spare_colour() -> None:
    rows = [
        one_row(
            cell=str(method),
            arm=str(method),
            versions='{"method bygone": "others 1.0"}',
            **arm_fields(method, None, None, "photos"),
        )
        for method in ("bygone", "simclr", "clip")
    ]
    summary = summarise(to_frame(rows))
    assert list(dict.fromkeys(summary["method"])) == ["clip", "simclr", "bygone"]
    assert arm_colours(summary) == {"clip": "#D55E00", "simclr": "#CC79A7", "bygone": SERIES[0]}
    assert not shown_method("bygone").known and not shown_labels("bygone").known


def test_labels_are_shown_as_their_kinds_declare() -> None:
    views = ["level:0", "depth:3", "rank:1", "instance", "cluster:8 within level:1", "cluster:8"]
    views += ["shuffle:8", "random:8 within level:1", "random:8", "level:0 with noise 0.2"]
    orders = [shown_labels(kind_in_text(view)).order for view in views]
    assert orders == sorted(set(orders))
    assert [shown_labels(kind_in_text(view)).on_ramp for view in views] == [True] * 3 + [False] * 7
    assert kind_in_text("class") == "level" and not shown_labels(None).known
    assert set(tuned_protocols()) >= {"finetune", "lpft"} and "probe" not in tuned_protocols()


def test_asking_everything_loads_no_torch() -> None:
    code = (
        "import sys; from headwater.analysis import findings, verdict; "
        "from headwater.rows import to_frame; findings(to_frame([])); verdict(to_frame([])); "
        "from headwater.report.charts import panels; panels(to_frame([])); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
