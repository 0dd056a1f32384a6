"""`headwater labels describe`: its facts, its text, its chart, and that every mistake is one line
with exit code 2.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Cli, refused, tiny, write_study

HEADER = "path,split,level1,level2\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A labels.csv of 2 > 6 classes, 20 images each, and files that are no images: a table is all
    that is read.
    """
    root = tmp_path / "data" / "shop"
    root.mkdir(parents=True)
    kinds = [(kind, at) for kind in range(6) for at in range(20)]
    rows = [
        (
            f"{kind}-{at}.png",
            "test" if at % 5 == 0 else "train",
            "fruit" if kind < 3 else "drink",
            f"kind {kind}",
        )
        for kind, at in kinds
    ]
    (root / "labels.csv").write_text(HEADER + "".join(",".join(row) + "\n" for row in rows))
    for row in rows:
        (root / row[0]).write_bytes(b"no image")
    return root


def shop_study(tmp_path: Path, **changes: Any) -> Path:
    words: dict[str, Any] = {
        "study": "shop",
        "data": {
            "shop": {"kind": "folder", "path": "shop"},
            "world": {"kind": "world", "train": 80, "val": 40, "test": 40},
        },
        "sources": ["shop"],
        "methods": ["scratch", "supervised"],
        "labels": ["level:1", "level:0", "random:6", "instance"],
        "seeds": 2,
        "budget": {"steps": 2},
        "tasks": {
            "kinds": {"data": "shop"},
            "sides": {"data": "shop", "labels": "level:1"},
            "creatures": {"data": "world"},
        },
    }
    return write_study(tmp_path / "study.yaml", {**words, **changes})


def facts_of(result: tuple[int, str, str]) -> dict[str, Any]:
    code, out, err = result
    assert (code, err) == (0, ""), err
    found: dict[str, Any] = json.loads(out)
    return found


def directions(source: dict[str, Any], target: str) -> dict[str, str]:
    expected = {}
    for view in source["views"]:
        (facts,) = [facts for facts in view["against"] if facts["target"] == target]
        expected[view["view"]] = facts["expected"]
    return expected


# facts
def test_a_folder_is_described_by_its_levels_and_instance_against_its_levels(
    headwater: Cli, shop: Path
) -> None:
    facts = facts_of(headwater("labels", "describe", shop, "--json"))
    assert (facts["study"], facts["folder"]) == (None, str(shop))
    (source,) = facts["sources"]
    assert (source["source"], source["images"], source["unmet"]) == ("shop", 120, [])
    assert [(t["target"], t["classes"], t["by"]) for t in source["targets"]] == [
        ("level:1", 2, "levels"),
        ("level:0", 6, "levels"),
    ]
    assert [(v["view"], v["classes"], v["median"], v["singletons"],
    v["note"]) for v in source["views"]] == [
        ("level:1", 2, 60, 0, None), ("level:0", 6, 20, 0, None), ("instance", 120, 1, 120, None),
    ]  # fmt: skip
    assert directions(source, "level:1") == {
        "level:1": "matches",
        "level:0": "finer",
        "instance": "too fine",
    }
    assert directions(source, "level:0") == {
        "level:1": "too coarse",
        "level:0": "matches",
        "instance": "too fine",
    }
    finer = source["views"][1]["against"][0]
    assert {
        "nesting",
        "nesting_by_chance",
        "classes_nested",
        "reverse_nesting",
        "reverse_by_chance",
        "nmi",
        "nmi_by_chance",
        "reason",
    } <= set(finer)
    assert finer["nesting"] == 1 and finer["reverse_nesting"] == pytest.approx(1 / 3)


def test_a_study_is_described_on_the_images_it_trains_on_against_the_tasks_that_have_them(
    headwater: Cli, shop: Path, tmp_path: Path
) -> None:
    facts = facts_of(
        headwater("labels", "describe", shop_study(tmp_path), "--data-root", shop.parent, "--json")
    )
    (source,) = facts["sources"]
    assert (facts["study"], source["data"], source["images"], source["seed"]) == (
        "shop",
        "shop",
        96,
        0,
    )
    assert [t["target"] for t in source["targets"]] == ["kinds", "sides"]
    assert source["unmet"] == ["creatures"]
    assert directions(source, "sides") == {
        "level:1": "matches",
        "level:0": "finer",
        "random:6": "not aligned",
        "instance": "too fine",
    }
    assert directions(source, "kinds")["level:1"] == "too coarse"


def test_a_task_with_other_images_is_met_by_the_names_of_its_classes(
    headwater: Cli, tmp_path: Path
) -> None:
    study = write_study(
        tmp_path / "study.yaml",
        tiny(
            labels=["level:1", "level:0"], tasks={"other": {"data": "other", "labels": "level:1"}}
        ),
    )
    (source,) = facts_of(headwater("labels", "describe", study, "--json"))["sources"]
    assert [(t["target"], t["by"]) for t in source["targets"]] == [("other", "names")]
    assert directions(source, "other") == {"level:1": "matches", "level:0": "finer"}


def test_each_size_of_a_source_is_described(headwater: Cli, shop: Path, tmp_path: Path) -> None:
    study = shop_study(tmp_path, sizes=["all", 30])
    sources = facts_of(
        headwater("labels", "describe", study, "--data-root", shop.parent, "--json")
    )["sources"]
    assert [(s["source"], s["images"]) for s in sources] == [("shop", 96), ("shop, 30 images", 30)]


def test_views_can_be_named(headwater: Cli, shop: Path, tmp_path: Path) -> None:
    for place in (shop, shop_study(tmp_path)):
        found = facts_of(
            headwater(
                "labels",
                "describe",
                place,
                "--views",
                "level:0, random:3",
                "--data-root",
                shop.parent,
                "--json",
            )
        )
        assert [v["view"] for v in found["sources"][0]["views"]] == ["level:0", "random:3"]


def test_a_folder_is_found_under_the_data_root(headwater: Cli, shop: Path) -> None:
    assert facts_of(headwater("labels", "describe", "shop", "--data-root", shop.parent, "--json"))[
        "folder"
    ] == str(shop)


def test_a_source_that_no_label_is_trained_on_is_described_by_its_levels(
    headwater: Cli, shop: Path, tmp_path: Path
) -> None:
    study = shop_study(tmp_path, methods=["simclr"])
    (source,) = facts_of(
        headwater("labels", "describe", study, "--data-root", shop.parent, "--json")
    )["sources"]
    assert [v["view"] for v in source["views"]] == ["level:1", "level:0", "instance"]


def test_bare_images_are_described_where_views_that_need_no_labels_are_named(
    headwater: Cli, tmp_path: Path
) -> None:
    (tmp_path / "bare").mkdir()
    for at in range(12):
        Image.new("RGB", (4, 4)).save(tmp_path / "bare" / f"{at}.png")
    (source,) = facts_of(
        headwater("labels", "describe", "bare", "--views", "instance,random:3", "--json")
    )["sources"]
    assert (source["targets"], [v["against"] for v in source["views"]]) == ([], [[], []])
    assert (
        headwater(
            "labels", "describe", "bare", "--views", "instance,random:3", "--out", "bare.svg"
        )[0]
        == 0
    )
    refused(headwater("labels", "describe", "bare"), "bare", "no levels", "labels.csv", "--views")


def test_a_view_that_waits_for_a_trained_arm_is_a_note(
    headwater: Cli, shop: Path, tmp_path: Path
) -> None:
    study = shop_study(tmp_path, labels=["cluster:4", "level:0"])
    (source,) = facts_of(
        headwater("labels", "describe", study, "--data-root", shop.parent, "--json")
    )["sources"]
    assert source["views"][0] == {
        "view": "cluster:4",
        "note": "known after its features are trained",
        "detail": "4 clusters of 96 images; which ones is known when their features are",
        "against": [],
    }
    assert source["views"][1]["note"] is None
    code, out, _ = headwater(
        "labels", "describe", study, "--data-root", shop.parent, "--out", "chart.svg"
    )
    assert (code, (tmp_path / "chart.svg").exists()) == (0, True)
    assert "cluster:4: known after its features are trained" in out
    refused(
        headwater("labels", "describe", shop, "--views", "cluster:4", "--out", "chart.svg"),
        "no view to draw",
    )


# text
def test_the_text_says_what_is_expected_why_and_what_to_do_next_in_100_columns(
    headwater: Cli, shop: Path, tmp_path: Path
) -> None:
    study = shop_study(tmp_path)
    code, out, err = headwater("labels", "describe", study, "--data-root", shop.parent)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert max(len(line.rstrip()) for line in lines if not line.startswith("next")) <= 100
    assert "\x1b" not in out
    assert any(line.split() == ["random:6", "not", "aligned", "not", "aligned"] for line in lines)
    assert any(
        line.startswith("level:0") and line.split()[-1] == "finer" and "100 % (" in line
        for line in lines
    )
    for part in (
        "only a run can tell: creatures",
        "against sides: 2 classes, on these images",
        "not a measurement",
        f"headwater run {study}",
    ):
        assert part in out
    code, out, _ = headwater("labels", "describe", shop)
    assert "labels: [level:1, level:0, instance]" in out


def test_tasks_to_which_all_views_lie_alike_share_a_table(
    headwater: Cli, shop: Path, tmp_path: Path
) -> None:
    study = shop_study(tmp_path, tasks={"one": {"data": "shop"}, "two": {"data": "shop"}})
    out = headwater("labels", "describe", study, "--data-root", shop.parent)[1]
    assert "against one, two: 6 classes" in out
    assert out.count("against ") == 1


# chart
@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.svg", b"<svg"),
        ("b.png", b"\x89PNG"),
        ("c.pdf", b"%PDF"),
        ("new/d.html", b"<!DOCTYPE html>"),
    ],
)
def test_the_chart_is_written_in_every_format(
    name: str, start: bytes, headwater: Cli, shop: Path, tmp_path: Path
) -> None:
    code, out, err = headwater("labels", "describe", shop, "--out", name)
    assert (code, err) == (0, "")
    assert f"chart: {name}" in out
    written = (tmp_path / name).read_bytes()
    assert written.startswith(start)
    if name == "a.svg":
        assert all(
            word in written.decode() for word in ("level:0", "instance", "too fine", "finer")
        )
    assert facts_of(headwater("labels", "describe", shop, "--out", name, "--json"))["plot"] == name


def test_a_folder_with_a_hostile_name_stays_text_in_the_page(
    headwater: Cli, shop: Path, tmp_path: Path
) -> None:
    hostile = shop.parent / "[bold]<img src=x onerror=alert(1)>&"
    shutil.copytree(shop, hostile)
    code, out, _ = headwater("labels", "describe", hostile, "--out", "page.html")
    assert code == 0
    assert hostile.name in out
    page = (tmp_path / "page.html").read_text()
    assert "<img src=x" not in page
    assert "default-src 'none'" in page


# mistakes
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("nowhere",), ("'nowhere' is no study file", "no folder")),
        (("nowhere.yaml",), ("no such study file",)),
        (("data/empty",), ("no labels.csv", "no image")),
        (("data/shop", "--views", "lvl:0"), ("'lvl:0' is no label view",)),
        (("data/shop", "--views", "level:0,class"), ("--views", "same view")),
        (("data/shop", "--views", "level:7"), ("no level:7", "level:0 to level:1")),
        (("data/shop", "--views", ""), ("'' is no label view",)),
        (("data/shop", "--views", "random:1000"), ("more classes than there are images",)),
        (("data/shop", "--out", "chart.gif"), ("chart.gif", ".svg, .png, .pdf, .html")),
        (("data/shop", "--out", "file/chart.svg"), ("chart.svg",)),
        (("data/shop", "--data-root", "nowhere"), ("--data-root", "no such folder")),
        ((), ("STUDY|FOLDER",)),
        (("data/shop", "--nonsense"), ("--nonsense",)),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...], parts: tuple[str, ...], headwater: Cli, shop: Path, tmp_path: Path
) -> None:
    (tmp_path / "data" / "empty").mkdir()
    (tmp_path / "file").write_text("")
    refused(headwater("labels", "describe", *arguments), *parts)
    assert not list(tmp_path.glob("*.tmp"))


def test_a_mistake_in_a_study_names_its_line(headwater: Cli, shop: Path, tmp_path: Path) -> None:
    study = shop_study(tmp_path, labels=["level:0", "level:5"])
    line = study.read_text().splitlines().index("- level:5") + 1
    refused(
        headwater("labels", "describe", study, "--data-root", shop.parent),
        f"{study}, line {line}: ",
        "no level:5",
    )
    named = headwater(
        "labels", "describe", shop_study(tmp_path), "--data-root", shop.parent, "--views", "level:5"
    )
    refused(named, "headwater: sources.shop: there is no level:5")
    write_study(tmp_path / "labels.yaml", {"study": "x"})
    refused(headwater("labels", "describe", tmp_path / "labels.yaml"), "labels.yaml")


# as a process
def test_a_folder_is_described_without_torch_and_without_decoding(tmp_path: Path) -> None:
    root = tmp_path / "many"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for at in range(25):
            (root / name / f"{at}.png").touch()  # empty: whoever decoded one would fail
    code = (
        "import sys; import headwater.cli as c\n"
        f"sys.argv = ['headwater', 'labels', 'describe', {str(root)!r}, '--json']; "
        "c._guarded(c.app)\n"
        "print([m for m in ('torch', 'timm', 'faiss') if m in sys.modules], file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout)["sources"][0]["images"] == 50
    assert ended.stderr == "[]\n"


def test_help_names_the_sub_command(headwater: Cli) -> None:
    assert "describe" in headwater("labels", "--help")[1]
    assert "--views" in headwater("labels", "describe", "--help")[1]


def test_views_side_by_side_are_told_apart_in_the_chart() -> None:
    from headwater.report.label_chart import label_chart

    against = [
        {
            "target": "t",
            "nesting": 1.0,
            "nesting_by_chance": 0.5,
            "nmi": 1.0,
            "expected": "finer",
            "reason": "why",
        }
    ]
    view = {
        "classes": 10,
        "smallest": 1,
        "median": 5.0,
        "largest": 9,
        "singletons": 0,
        "note": None,
        "against": against,
    }
    source = {
        "source": "s",
        "targets": [{"target": "t", "classes": 2}],
        "views": [{**view, "view": "level:0"}, {**view, "view": "random:10"}],
    }
    spec = label_chart({"study": "s", "sources": [source]})
    places = [(v["x"], v["place"]) for v in spec["vconcat"][0]["data"]["values"]]
    assert places[0] == (10.0, "above")
    assert places[1][0] > 10.5 and places[1][1] == "below"  # to the right the chart ends
    assert np.all([v["classes"] == 10 for v in spec["vconcat"][0]["data"]["values"]])


def test_a_source_that_narrows_its_seeds_is_described_with_its_first_one(
    headwater: Cli, shop: Path, tmp_path: Path
) -> None:
    study = shop_study(
        tmp_path, sources={"shop": {"data": "shop", "seeds": [1]}}, seeds=2, labels=["random:3"]
    )
    (source,) = facts_of(
        headwater("labels", "describe", study, "--data-root", shop.parent, "--json")
    )["sources"]
    assert (source["seed"], [view["view"] for view in source["views"]]) == (1, ["random:3"])


def test_random_classes_within_a_level_are_not_expected_to_help(headwater: Cli, shop: Path) -> None:
    """They are nested, and have images enough; what they were drawn in is all that they tell."""
    views = "random:like level:0 within level:1,level:0"
    described = facts_of(headwater("labels", "describe", shop, "--views", views, "--json"))
    expected = directions(described["sources"][0], "level:1")
    assert expected["random:like level:0 within level:1"] == "not aligned"
    assert expected["level:0"] == "finer"


def test_only_clusters_leave_no_empty_tables(headwater: Cli, shop: Path) -> None:
    code, out, _ = headwater("labels", "describe", shop, "--views", "cluster:3")
    assert code == 0
    assert "known after its features are trained" in out
    assert "against" not in out
