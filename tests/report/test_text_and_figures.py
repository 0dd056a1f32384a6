from __future__ import annotations

import re
import runpy
import struct
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headwater.analysis import summarise
from headwater.errors import InputError
from headwater.report import figure, markdown_table, save_figures, verdict_lines
from headwater.report.arms import colours_by_name
from headwater.report.charts import panels
from headwater.report.palette import arm_colours
from headwater.rows import to_frame
from tests.analysis.synthetic import one_row, synthetic_rows


def test_a_markdown_table_shows_mean_and_half_width_in_percent() -> None:
    # Two seeds at 50 and 52 %: sd is sqrt(2), half is t(1) * 1 = 12.706.
    rows = [one_row(cell=str(s), seed=s, value=v) for s, v in enumerate((0.50, 0.52))] + [
        one_row(cell="x", labels="level:1", value=0.4)
    ]
    assert markdown_table(to_frame(rows)) == (
        "| arm | birds |\n|---|---:|\n| supervised level:1 · photos | 40.0 |\n| supervised level:0 "
        "· photos | **51.0** ± 12.7 |\n"
    )


def test_a_markdown_table_marks_reuse_failures_and_gaps_and_escapes_names() -> None:
    rows = [
        one_row(
            cell="a", task="a|b", protocol="probe", label_reuse=True, head_init=None, value=0.9
        ),
        one_row(
            cell="b",
            task="a|b",
            protocol="probe",
            labels="level:1",
            status="diverged",
            value=None,
            reason="nan",
            head_init=None,
        ),
        one_row(
            cell="c",
            task="c",
            protocol="probe",
            labels="level:1",
            value=0.5,
            shots=5,
            draw=0,
            head_init=None,
        ),
    ]
    text = markdown_table(to_frame(rows))
    assert "a\\|b, all images" in text and "c, 5-shot" in text
    assert (
        "| supervised level:0 · photos | 90.0\u2020 | \u2013 |" in text
        and "| supervised level:1 · photos | \u2013 (1!) | 50.0 |" in text
    )
    assert markdown_table(to_frame([])) == "(no rows)\n"


def test_the_verdict_in_lines_starts_with_the_answer_and_ends_with_what_to_run() -> None:
    lines = verdict_lines(synthetic_rows(seeds=2, tasks=("birds",)))
    assert lines[0].startswith("Pre-train supervised on photos with labels level:1 (57 classes)")
    assert "Next:" in lines and lines[-1].startswith("  - ")


@pytest.mark.slow
def test_an_arm_has_one_colour_in_every_chart_and_in_the_card() -> None:
    rows = synthetic_rows(seeds=2)
    colours: dict[str, set[str]] = {}
    kinds = set()
    for panel in panels(rows):
        for layer in panel.spec["layer"]:
            channel = layer["encoding"].get("color", {})
            if channel.get("field") == "arm":
                kinds.add(panel.kind)
                scale = channel["scale"]
                for word, colour in zip(scale["domain"], scale["range"], strict=True):
                    colours.setdefault(word, set()).add(colour)
    assert kinds == {"accuracy", "granularity", "shots"}
    assert len(colours) == 8 and all(len(found) == 1 for found in colours.values())
    assert len(set.union(*colours.values())) == 8
    in_card = colours_by_name(summarise(rows))
    assert {in_card["simclr \u00b7 photos"]} == colours["simclr"]
    assert {in_card["supervised level:0 \u00b7 photos"]} == colours["level:0"]


@pytest.mark.slow
def test_the_gap_of_a_method_has_the_colour_of_its_arms() -> None:
    in_card = colours_by_name(summarise(synthetic_rows(seeds=2)))
    for panel in panels(synthetic_rows(seeds=2)):
        if panel.kind == "gap":
            scale = panel.spec["layer"][-1]["encoding"]["color"]["scale"]
            drawn = dict(zip(scale["domain"], scale["range"], strict=True))
            assert drawn["simclr"] == in_card["simclr \u00b7 photos"]
            assert drawn.get("level:0") in (None, in_card["supervised level:0 \u00b7 photos"])


def test_two_that_declare_one_colour_get_two() -> None:
    """dino declares the light end of the ramp of levels, mae the colour of random labels."""
    arms = [("supervised", "level:1"), ("supervised", "level:0"), ("supervised", "random:9")]
    arms += [("dino", None), ("mae", None), ("unknown", None)]
    methods, labels = zip(*arms, strict=True)
    table = pd.DataFrame(
        {
            "order": range(len(arms)),
            "method": methods,
            "labels": labels,
            "label_kind": [word and str(word).split(":")[0] for word in labels],
        }
    )
    assert len(set(arm_colours(table).values())) == len(arms)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["accuracy", "shots", "granularity", "gap"])
def test_an_axis_holds_every_mean_and_interval(kind: str) -> None:
    """Two seeds, whose intervals are far wider than the means are apart."""
    drawn = [panel for panel in panels(synthetic_rows(seeds=2)) if panel.kind == kind]
    assert drawn
    for panel in drawn:
        channels = [layer["encoding"] for layer in panel.spec["layer"]]
        low, high = next(
            channel[name]["scale"]["domain"]
            for channel in channels
            for name in ("x", "y")
            if channel.get(name, {}).get("field") == "low"
        )
        values = panel.spec["data"]["values"]
        for field in ("mean", "low", "high"):
            known = [value[field] for value in values if value[field] is not None]
            assert known and low < min(known) and max(known) < high
        if kind == "gap":
            assert low < 0 < high


@pytest.mark.slow
def test_arms_are_sorted_by_accuracy() -> None:
    for panel in panels(synthetic_rows(seeds=2)):
        if panel.kind == "accuracy":
            means = {value["short"]: value["mean"] for value in panel.spec["data"]["values"]}
            shown = panel.spec["layer"][-1]["encoding"]["y"]["sort"]
            assert shown == sorted(means, key=lambda name: -means[name])


@pytest.mark.parametrize(
    ("majority", "text", "in_axis"),
    [(0.48, "majority class 48.0 %", True), (0.02, "\u25c2 majority class 2.0 %", False)],
)
def test_the_rate_of_the_majority_class_is_a_line_or_told_at_the_edge(
    majority: float, text: str, in_axis: bool
) -> None:
    rows = [
        one_row(cell=f"{k}{s}", seed=s, labels=f"level:{k}", value=v + 0.01 * s)
        | {"task_majority": majority}
        for s in range(3)
        for k, v in enumerate((0.5, 0.6))
    ]
    (panel,) = [panel for panel in panels(to_frame(rows)) if panel.kind == "accuracy"]
    names = [layer for layer in panel.spec["layer"] if "text" in layer["mark"]]
    assert [layer["mark"]["text"] for layer in names] == [text]
    lines = [layer for layer in panel.spec["layer"] if layer["mark"].get("style") == "reference"]
    low, high = panel.spec["layer"][-1]["encoding"]["x"]["scale"]["domain"]
    assert (low < 100 * majority < high) == in_axis == (len(lines) == 1)
    without = to_frame([row | {"task_majority": None} for row in rows])
    (panel,) = [panel for panel in panels(without) if panel.kind == "accuracy"]
    assert not any("text" in layer["mark"] for layer in panel.spec["layer"])


@pytest.mark.parametrize(("arms", "differ"), [(40, 40), (1000, 250)])
def test_colours_do_not_run_out(arms: int, differ: int) -> None:
    many = pd.DataFrame(
        {
            "order": range(arms),
            "method": [f"m{i}" for i in range(arms)],
            "labels": [None] * arms,
            "label_kind": [None] * arms,
        }
    )
    colours = arm_colours(many)
    assert len(colours) == arms and len(set(colours.values())) >= differ
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in colours.values())


@pytest.mark.slow
def test_figures_are_drawn_without_a_browser(tmp_path: Path) -> None:
    rows = synthetic_rows(
        seeds=2, tasks=("birds", "scenes"), protocols=("finetune",), shots=(5, None), draws=1
    )
    written = save_figures(rows, tmp_path / "figures")
    names = {path.name for path in written}
    assert {
        "accuracy-finetune-5.png",
        "granularity-finetune-all.svg",
        "gap-finetune.pdf",
        "shots-finetune.png",
    } <= names
    for path in written:
        data = path.read_bytes()
        if path.suffix == ".png":
            width, height = struct.unpack(">II", data[16:24])
            assert data.startswith(b"\x89PNG") and width > 600 and height > 300
        else:
            assert data.startswith(b"%PDF" if path.suffix == ".pdf" else b"<svg")
    assert "birds" in (tmp_path / "figures" / "accuracy-finetune-5.svg").read_text()


def test_a_figure_that_the_rows_cannot_give_is_an_error_in_words() -> None:
    rows = to_frame([one_row()])
    with pytest.raises(InputError, match="no gap chart"):
        figure(rows, "gap")
    with pytest.raises(InputError, match="accuracy, granularity"):
        figure(rows, "pie")
    with pytest.raises(InputError, match="svg, png, pdf"):
        save_figures(rows, "unused", formats=["gif"])


def test_the_figures_of_readme_say_where_there_is_no_interval() -> None:
    points = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "make_results.py"))["points"]

    def over_seeds(labels: str, value: float) -> list[dict[str, Any]]:
        return [
            one_row(cell=f"{labels}{seed}", labels=labels, seed=seed, value=value + 0.01 * seed)
            for seed in range(3)
        ]

    a, b = over_seeds("level:0", 0.512), over_seeds("level:1", 0.5)
    names = ("supervised level:0 \u00b7 photos", "supervised level:1 \u00b7 photos")
    assert points(to_frame(a[:1] + b[:1]), *names) == "+1.2 (no interval)"
    assert points(to_frame(a[:1] + b[1:]), *names) == "\u2013"
    assert points(to_frame(a + b), *names) == "**+1.2 (+1.2 to +1.2)**"
