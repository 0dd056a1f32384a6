"""Figures of simulated networks: what they hold against the analysis and the table itself, that
they draw, and that they say what they leave out.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headwater.errors import InputError
from headwater.report.figures import draw
from headwater.theory.analysis import findings
from headwater.theory.report import save_theory, theory_figures
from headwater.theory.report.figures import FIGURES, TITLE
from tests.report.test_page import data_of
from tests.theory.simulated_table import line, story, table

Spec = dict[str, Any]


@pytest.fixture(scope="module")
def told() -> pd.DataFrame:
    return story(seeds=3, ks=(1, 4, 16))


@pytest.fixture(scope="module")
def figures(told: pd.DataFrame) -> dict[str, Spec]:
    return theory_figures(told)


def parts(spec: Spec) -> Iterator[Spec]:
    """A specification and all within it."""
    yield spec
    for name in ("hconcat", "vconcat", "concat", "layer"):
        for part in spec.get(name, []):
            yield from parts(part)


def values(spec: Spec, title: str | None = None) -> pd.DataFrame:
    """The data of the first panel, or of the one with this title."""
    found = [
        p
        for p in parts(spec)
        if "data" in p
        and len(p["data"]["values"][0])
        and (title is None or p.get("title") == title)
    ]
    return pd.DataFrame(found[0]["data"]["values"])


@pytest.mark.slow
def test_every_figure_that_the_table_holds_is_there_and_stands_by_itself(
    figures: dict[str, Spec],
) -> None:
    assert list(figures) == list(FIGURES)
    for spec in figures.values():
        assert spec["$schema"].endswith("vega-lite/v6.json")
        assert spec["title"]["text"]
        drawn = draw(spec, "svg").decode()
        assert "NaN" not in drawn and "undefined" not in drawn and "Infinity" not in drawn


def test_each_figure_carries_the_sentence_of_the_findings(
    figures: dict[str, Spec], told: pd.DataFrame
) -> None:
    answers = findings(told)["answers"]
    for name, (_, sentences) in FIGURES.items():
        text = " ".join(
            " ".join(p["mark"]["text"])
            for p in parts(figures[name])
            if isinstance(p.get("mark"), dict) and "text" in p["mark"]
        )
        for sentence in sentences:
            assert answers[sentence]["sentence"] in text


def test_errors_are_the_tables_own_means_in_percent_at_the_usual_constants(
    figures: dict[str, Spec], told: pd.DataFrame
) -> None:
    hard = values(figures["errors"], "hard test samples")
    same = told[
        (told["d"] == 512)
        & (told["sigma_star"] == 0.5)
        & (told["alpha_dagger"] == 0.1)
        & (told["lr"] == 0.5)
        & told["train_samples"].isna()
    ]
    for (labels, read_out), series in (
        (("coarse", "max"), "coarse labels"),
        (("fine", "tuned"), "fine labels, tuned"),
    ):
        own = (
            same[(same["labels"] == labels) & (same["read_out"] == read_out)]
            .groupby("subclasses")["hard_error"]
            .mean()
        )
        drawn = hard[hard["series"] == series].set_index("k")["error"]
        assert drawn.to_dict() == {
            k: pytest.approx(100 * error, abs=1e-3) for k, error in own.items()
        }
    assert (hard["low"] <= hard["error"]).all() and (hard["error"] <= hard["high"]).all()
    assert "sigma_star = 0.5" in " ".join(figures["errors"]["title"]["subtitle"])


def test_the_phase_has_a_cell_for_each_k_and_noise_and_a_panel_each_for_coarse_and_fine(
    figures: dict[str, Spec], told: pd.DataFrame
) -> None:
    for labels in ("coarse", "fine"):
        cells = values(figures["phase"], f"{labels} labels")
        assert len(cells) == 3 * 4
        cell = cells[(cells["k"] == 16) & (cells["sigma_star"] == 1.0)].iloc[0]
        usual = (
            (told["d"] == 512)
            & (told["alpha_dagger"] == 0.1)
            & (told["lr"] == 0.5)
            & (told["read_out"] == "max")
            & told["train_samples"].isna()
        )
        own = told[
            usual
            & (told["labels"] == labels)
            & (told["subclasses"] == 16)
            & (told["sigma_star"] == 1.0)
        ]
        assert cell["error"] == pytest.approx(100 * own["hard_error"].mean(), abs=1e-3)


def test_the_line_of_1_over_k_and_the_fit_stand_beside_the_ratios(figures: dict[str, Spec]) -> None:
    panel = next(p for p in parts(figures["ratio"]) if "layer" in p)
    lines = pd.DataFrame(panel["layer"][0]["data"]["values"])
    law = lines[lines["line"] == "1 / k"]
    assert dict(zip(law["x"], law["mean"], strict=True)) == {1: 1.0, 4: 0.25, 16: 0.0625}
    fit = lines[lines["line"].str.startswith("fit from k = 1")]
    assert list(fit["mean"]) == [pytest.approx(1, rel=0.2), pytest.approx(1 / 16, rel=0.2)]
    points = pd.DataFrame(panel["data"]["values"])
    assert (points["mean"] * points["k"]).tolist() == [pytest.approx(1, rel=0.2)] * 3


def test_the_u_is_one_line_and_labels_that_ignore_the_subclasses_are_others(
    figures: dict[str, Spec],
) -> None:
    hard = values(figures["curve"], "hard test samples")
    assert hard["series"].nunique() == 4
    main = hard[hard["series"] == "coarse to fine and beyond"]
    assert (main["labels"].iloc[0], main["labels"].iloc[-1]) == ("coarse", "instance")
    assert main["k"].is_monotonic_increasing
    panel = next(p for p in parts(figures["curve"]) if p.get("title") == "hard test samples")
    assert panel["layer"][0]["data"]["values"] == [{"x": 32}], (
        "the number of subclasses on both sides"
    )


def test_a_transition_that_is_never_reached_is_drawn_as_never(figures: dict[str, Spec]) -> None:
    panels = [
        p for p in parts(figures["dependence"]) if isinstance(p.get("title"), dict) and "data" in p
    ]
    (dagger,) = [p for p in panels if p["title"]["text"].startswith("α†")]
    found = {record["value"]: record for record in dagger["data"]["values"]}
    assert (found["0"]["kind"], found["0"]["at"], found["0"]["low"]) == ("never", 16, None)
    assert found["0.1"]["kind"] == "crosses"
    (dimensions,) = [p for p in panels if p["title"]["text"].startswith("d:")]
    assert [record["value"] for record in dimensions["data"]["values"]] == ["128", "512", "2048"]


def test_courses_have_a_panel_for_each_kind_of_labels_on_one_scale(
    figures: dict[str, Spec],
) -> None:
    domains = []
    for labels in ("coarse labels", "fine labels"):
        panel = next(p for p in parts(figures["gradual"]) if p.get("title") == labels)
        frame = pd.DataFrame(panel["data"]["values"])
        assert set(frame["series"]) == {
            "common, own class",
            "fine, own class",
            "common, other classes",
            "fine, other classes",
        }
        domains.append(panel["layer"][-1]["encoding"]["y"]["scale"]["domain"])
    assert domains[0] == domains[1]


@pytest.mark.slow
def test_one_seed_draws_without_intervals_and_a_small_table_only_what_it_holds() -> None:
    found = theory_figures(
        table(
            line(k, labels, 0, hard=0.1 * k if labels == "coarse" else 0.0)
            for k in (1, 8)
            for labels in ("coarse", "fine")
        )
    )
    assert list(found) == ["errors", "ratio"]
    assert values(found["errors"])["low"].isna().all()
    for spec in found.values():
        assert draw(spec, "svg").startswith(b"<svg")


@pytest.mark.slow
@pytest.mark.parametrize(
    "suffix",
    ["svg", "html", *(pytest.param(other, marks=pytest.mark.slow) for other in ("png", "pdf"))],
)
def test_all_figures_are_written_into_one_file(
    suffix: str, told: pd.DataFrame, tmp_path: Path
) -> None:
    small = told[(told["sigma_star"] == 0.5) & (told["d"] == 512) & (told["alpha_dagger"] == 0.1)]
    (path,) = save_theory(small, tmp_path / "new" / f"theory.{suffix}")
    start = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF", "html": b"<!DOCTYPE html>"}[suffix]
    assert path.read_bytes().startswith(start)
    if suffix == "html":
        page = path.read_text()
        assert f"<h1>{TITLE}</h1>" in page
        assert [html.unescape(text) for text in re.findall(r"<h2 id=.*?>([^<>]+)</a>", page)] == [
            figure["title"]["text"] for figure in theory_figures(small).values()
        ]
        drawn = [part for panel in data_of(page)["panels"] for part in parts(panel["spec"])]
        assert sum("tooltip" in part.get("encoding", {}) for part in drawn) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_any_part_of_a_table_with_anything_unmeasured_is_concluded_about_and_drawn_as_json(
    seed: int, told: pd.DataFrame
) -> None:
    rng = np.random.default_rng(seed)
    part = told.iloc[rng.permutation(len(told))[: rng.choice([1, 2, 5, 20, 60, 200])]].copy()
    for name in (
        "hard_error",
        "easy_error",
        "common_aligned_mean",
        "fine_aligned_mean",
        "test_samples",
    ):
        part.loc[rng.random(len(part)) < rng.choice([0, 0.3, 1]), name] = np.nan
    found = findings(part)
    json.dumps([found, theory_figures(part, found=found)], allow_nan=False)


def test_looks_under_several_tests_show_one_and_say_which() -> None:
    def look(labels: str, step: int, sigma: float) -> dict[str, Any]:
        return line(
            8,
            labels,
            0,
            steps=step,
            final=step == 20,
            sigma_star=sigma,
            hard=sigma * step / 40,
            common_aligned_mean=step / 20,
        )

    found = table(
        look(labels, step, sigma)
        for labels in ("coarse", "fine")
        for step in (0, 10, 20)
        for sigma in (0.0, 1.0)
    )
    spec = theory_figures(found)["gradual"]
    errors = values(spec, "coarse labels: errors")
    assert errors[errors["series"] == "hard samples"]["mean"].tolist() == [0, 25, 50]
    assert "sigma_star = 1" in spec["title"]["subtitle"][-1]


@pytest.mark.slow
def test_nothing_to_draw_and_another_format_are_errors_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds nothing to draw"):
        save_theory(table([line(4, "fine", 0)]), tmp_path / "theory.svg")
    with pytest.raises(InputError, match=r"\.svg, \.png, \.pdf, \.html"):
        save_theory(table([line(4, "fine", 0)]), tmp_path / "theory.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        save_theory(story(seeds=1, ks=(1, 16)), tmp_path / "file" / "theory.svg")
