"""The chart of learning curves: what it holds against pandas' own means, that it draws, and that
names stay text.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headwater.errors import InputError
from headwater.report import curves_chart, save_curves
from headwater.report.curves import MOST_POINTS
from tests.report.test_page import data_of

EVIL = "</script><script>window.stolen=1</script>\"'&<img src=x onerror=alert(1)>"


def arm(
    method: str,
    labels: str | None = None,
    *,
    seed: int = 0,
    source: str = "photos",
    size: Any = "all",
    steps: int = 50,
    every: int = 1,
    **points: Any,
) -> dict[str, Any]:
    """The facts of an arm whose loss falls from 4 to 1 by its own noise; `points` replaces
    quantities by functions of the share that is done.
    """
    rng = np.random.default_rng(seed + 7)
    quantities = {
        "loss": lambda done: 4 - 3 * done + 0.1 * rng.normal(),
        "lr": lambda done: 0.01 * (1 - done),
        **points,
    }
    told = []
    for step in range(every, steps + 1, every):
        values = {name: float(function(step / steps)) for name, function in quantities.items()}
        told.append({"step": step, "images": step * 32.0, **values})
    title = " · ".join(
        part
        for part in (method, source, labels, None if size == "all" else f"{size} images")
        if part
    )
    words = {
        "method": method,
        "source": source,
        "size": size,
        "labels": labels,
        "label_kind": labels and labels.split(":")[0],
        "label_level": int(labels[6:]) if labels and labels.startswith("level:") else None,
        "seed": seed,
        "classes": None,
    }
    return {"title": title, **words, "points": told}


def facts(*arms: dict[str, Any], study: str = "demo") -> dict[str, Any]:
    return {"study": study, "arms": list(arms)}


def panel(spec: dict[str, Any], title: str) -> dict[str, Any]:
    (found,) = [part for part in spec["concat"] if part["title"] == title]
    return found


def test_a_line_is_the_mean_of_the_seeds_and_its_band_their_lowest_and_highest() -> None:
    arms = [arm("simclr", seed=seed) for seed in range(3)]
    values = pd.DataFrame(panel(curves_chart(facts(*arms)), "training loss")["data"]["values"])
    by_hand = (
        pd.concat([pd.DataFrame(one["points"]) for one in arms])
        .groupby("images")["loss"]
        .agg(["mean", "min", "max", "size"])
    )
    assert list(values["images"]) == list(by_hand.index)
    for ours, theirs in (("mean", "mean"), ("low", "min"), ("high", "max"), ("seeds", "size")):
        np.testing.assert_allclose(values[ours], by_hand[theirs], rtol=1e-4)


def test_a_seed_that_is_behind_ends_where_it_is_and_is_not_carried_on() -> None:
    behind = arm("simclr", seed=1, steps=100, loss=lambda done: 10.0)
    behind["points"] = behind["points"][:20]
    arms = [arm("simclr", seed=0, steps=100, loss=lambda done: 2.0), behind]
    values = pd.DataFrame(
        panel(curves_chart(facts(*arms)), "training loss")["data"]["values"]
    ).set_index("images")
    assert list(values.loc[[32.0, 640.0, 672.0, 3200.0], "mean"]) == [6.0, 6.0, 2.0, 2.0]
    assert list(values.loc[[640.0, 672.0], "seeds"]) == [2, 1]


def test_seeds_that_were_logged_at_other_places_meet_on_straight_lines() -> None:
    def even(seed: int, every: int) -> dict[str, Any]:
        return arm("simclr", seed=seed, steps=60, every=every, loss=lambda done: 5 - 2 * done)

    values = panel(curves_chart(facts(even(0, 2), even(1, 3))), "training loss")["data"]["values"]
    assert {v["images"] for v in values} == {
        32.0 * step for step in range(1, 61) if step % 2 == 0 or step % 3 == 0
    }
    for value in values:
        assert value["mean"] == pytest.approx(5 - 2 * value["images"] / (60 * 32), rel=1e-4)


def test_a_long_log_is_thinned_by_means_that_keep_its_level() -> None:
    noisy = arm(
        "simclr", steps=10_007, loss=lambda done: 3.0 + (1 if round(done * 10_007) % 2 else -1)
    )
    values = panel(curves_chart(facts(noisy)), "training loss")["data"]["values"]
    assert MOST_POINTS / 2 < len(values) <= MOST_POINTS
    assert all(abs(v["mean"] - 3.0) < 0.05 for v in values)
    many = [arm("simclr", seed=seed, steps=997 + seed) for seed in range(4)]
    assert len(panel(curves_chart(facts(*many)), "training loss")["data"]["values"]) <= MOST_POINTS


def test_only_what_some_arm_has_gets_a_panel_and_accuracy_is_in_percent() -> None:
    assert [p["title"] for p in curves_chart(facts(arm("simclr")))["concat"]] == [
        "training loss",
        "learning rate",
    ]
    spec = curves_chart(facts(arm("simclr", knn=lambda done: 0.25), arm("clip", "captions")))
    assert [p["title"] for p in spec["concat"]] == [
        "training loss",
        "right by nearest neighbours, %",
        "learning rate",
    ]
    values = panel(spec, "right by nearest neighbours, %")["data"]["values"]
    assert {v["mean"] for v in values} == {25.0}
    assert {v["name"] for v in values} == {"simclr · photos"}


def test_colours_are_those_of_the_report_and_sources_and_sizes_are_dashes() -> None:
    from headwater.report.palette import BLUE, PURPLE, SKY

    arms = [
        arm("supervised", "level:0"),
        arm("supervised", "level:1"),
        arm("simclr"),
        arm("simclr", source="sketches"),
        arm("simclr", size=500),
    ]
    for part in curves_chart(facts(*arms))["concat"]:
        line = next(layer for layer in part["layer"] if layer["mark"]["type"] == "line")["encoding"]
        assert dict(
            zip(line["color"]["scale"]["domain"], line["color"]["scale"]["range"], strict=True)
        ) == {"level:1": SKY, "level:0": BLUE, "simclr": PURPLE}
        assert line["strokeDash"]["scale"]["domain"] == ["photos", "photos, 500 images", "sketches"]
        assert len({tuple(dash) for dash in line["strokeDash"]["scale"]["range"]}) == 3


def test_views_that_a_study_names_have_the_order_and_colours_of_their_kind() -> None:
    def legend(*arms: dict[str, Any]) -> dict[str, str]:
        line = curves_chart(facts(*arms))["concat"][0]["layer"][0]["encoding"]
        scale = line["color"]["scale"]
        return dict(zip(scale["domain"], scale["range"], strict=True))

    names = {"random:8": "chance", "level:0": "fine", "level:1": "coarse"}
    plain = [arm("supervised", view) for view in names]
    named = [
        one | {"labels": name, "title": name}
        for one, name in zip(plain, names.values(), strict=True)
    ]
    expected = {names[view]: colour for view, colour in legend(*plain).items()}
    assert list(legend(*named).items()) == list(expected.items())
    assert list(expected) == ["coarse", "fine", "chance"]


def test_there_is_a_line_an_arm_and_a_band_where_there_are_seeds(tmp_path: Path) -> None:
    arms = [arm("supervised", "level:0", seed=seed) for seed in range(2)] + [
        arm("simclr"),
        arm("clip", "captions"),
    ]
    drawn = save_curves(facts(*arms), tmp_path / "curves.svg").read_text()
    assert len(re.findall(r'aria-roledescription="line mark container"', drawn)) == 2 * 3
    assert len(re.findall(r'aria-roledescription="area mark container"', drawn)) == 1, (
        "the loss; seeds have one learning rate"
    )
    assert "training loss" in drawn
    assert "NaN" not in drawn


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "html"])
def test_every_format_is_drawn_and_a_single_point_too(suffix: str, tmp_path: Path) -> None:
    path = save_curves(facts(arm("simclr", steps=1)), tmp_path / "new" / f"curves.{suffix}")
    start = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF", "html": b"<!DOCTYPE html>"}[suffix]
    assert path.read_bytes().startswith(start)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_text_from_data_stays_text_in_the_page_and_in_the_drawing(tmp_path: Path) -> None:
    evil = facts(arm("supervised", EVIL, source=EVIL), arm("simclr"), study=EVIL)
    page = save_curves(evil, tmp_path / "curves.html").read_text()
    assert EVIL not in page
    assert page.count("<script") == 3, "the data, Vega, and what draws"
    title = re.search(r"<title>(.*?)</title>", page, re.DOTALL)
    assert title and html.unescape(title[1]) == f"Learning curves of {EVIL}"
    specs = [each["spec"] for each in data_of(page)["panels"]]
    names = {value["name"] for spec in specs for value in spec["data"]["values"]}
    assert f"supervised · {EVIL} · {EVIL}" in names
    drawn = save_curves(evil, tmp_path / "curves.svg").read_text()
    assert "<script" not in drawn
    assert "<img" not in drawn


def test_without_a_curve_or_with_another_format_it_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no arm of demo has a curve yet"):
        curves_chart(facts())
    empty = arm("simclr", steps=0)
    with pytest.raises(InputError, match="no arm of demo has a curve yet"):
        curves_chart(facts(empty))
    with pytest.raises(InputError, match=r"\.svg, \.png, \.pdf, \.html"):
        save_curves(facts(arm("simclr")), tmp_path / "curves.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        save_curves(facts(arm("simclr")), tmp_path / "file" / "curves.svg")
