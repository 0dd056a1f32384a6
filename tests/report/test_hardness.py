"""The chart of gains on easy and on hard samples: what it holds, that it draws in every format, and
that names stay text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headwater.analysis.hardness import hardness_bins, hardness_gains
from headwater.errors import InputError
from headwater.report import hardness_chart, hardness_settings, save_hardness
from tests.analysis.test_hardness import answers


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Two tasks, one with and one without a given mark."""
    rng = np.random.default_rng(0)
    chance = rng.random(80)
    arms = {name: rng.random((4, 80)) < chance for name in ("level:2", "level:0")}
    return pd.concat([answers(arms, task="fruit", hard=chance < 0.5), answers(arms, task="birds")])


def facts(table: pd.DataFrame, **named: Any) -> dict[str, Any]:
    return {
        "study": "demo",
        "hard_share": named.get("hard_share"),
        "settings": hardness_settings(table, **named),
    }


def test_settings_hold_the_tables_of_the_analysis(table: pd.DataFrame) -> None:
    settings = hardness_settings(table)
    assert [(setting["task"], len(setting["splits"])) for setting in settings] == [
        ("birds", 3),
        ("fruit", 4),
    ]
    gains = hardness_gains(table).set_index(["task", "split"])
    bins = hardness_bins(table).set_index(["task", "bin"])
    for setting in settings:
        for split in setting["splits"]:
            row = gains.loc[(setting["task"], split["split"])]
            for part in ("hard", "easy", "all", "extra"):
                assert split[part] == {
                    "gain": row[part],
                    "low": row[f"{part}_low"],
                    "high": row[f"{part}_high"],
                }
        assert {one["bin"]: one["gain"] for one in setting["bins"]} == bins.loc[
            setting["task"], "gain"
        ].to_dict()
        assert setting["answer"] == gains.loc[(setting["task"], "cross-fitted"), "answer"]
    assert settings[0]["auc"] is None and settings[1]["auc"] > 0.7


def test_the_chart_shows_the_cross_fitted_gains_in_points(table: pd.DataFrame) -> None:
    spec = hardness_chart(facts(table))
    top, below = spec["vconcat"]
    gains = hardness_gains(table)
    gains = gains[gains["split"] == "cross-fitted"].set_index("task")
    for value in top["data"]["values"]:
        assert value["gain"] == pytest.approx(
            100 * gains.loc[value["name"].split(":")[0], value["subset"]], abs=1e-3
        )
    assert [panel["title"]["text"] for panel in below["concat"]] == [
        "birds: 81 over 3 classes",
        "fruit: 81 over 3 classes",
    ]
    assert [len(panel["data"]["values"]) for panel in below["concat"]] == [
        len(setting["bins"]) for setting in facts(table)["settings"]
    ]


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf", "html"])
def test_every_format_is_written_whole(table: pd.DataFrame, tmp_path: Path, suffix: str) -> None:
    path = save_hardness(facts(table, hard_share=0.3), tmp_path / f"chart.{suffix}")
    assert (
        path.read_bytes()[:4]
        == {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF", "html": b"<!DO"}[suffix]
    )
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_chart_without_hard_samples_still_draws(tmp_path: Path) -> None:
    easy = answers({"level:2": np.ones((3, 8)), "level:0": np.ones((3, 8))}, task="</script><b>")
    assert b"<b>" not in save_hardness(facts(easy), tmp_path / "chart.html").read_bytes()
    save_hardness(facts(easy), tmp_path / "chart.svg")


def test_another_format_or_a_place_that_cannot_be_written_is_refused(
    table: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="a chart is written as"):
        save_hardness(facts(table), tmp_path / "chart.gif")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        save_hardness(facts(table), tmp_path / "folder.svg")
