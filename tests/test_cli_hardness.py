"""headwater hardness: what it shows of an exported table, and that every mistake is one line with
exit code 2.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Cli, refused

ANSWERS = Path(__file__).parents[1] / "docs" / "results" / "hardness_answers.parquet"


@pytest.mark.slow
def test_hardness_from_a_table_is_told_drawn_and_answered_in_json(
    headwater: Cli, tmp_path: Path
) -> None:
    code, out, _ = headwater("hardness", ANSWERS, "--out", "chart.svg")
    assert (
        code == 0
        and "by both arms' errors at other seeds" in out
        and "biased" in out
        and "answer:" in out
    )
    assert (tmp_path / "chart.svg").read_bytes().startswith(b"<svg")
    code, out, _ = headwater(
        "hardness",
        ANSWERS,
        "--coarse",
        "level:2",
        "--fine",
        "level:1",
        "--hard-share",
        "0.25",
        "--json",
    )
    facts = json.loads(out)
    assert code == 0 and facts["hard_share"] == 0.25
    assert {(one["coarse"], one["fine"]) for one in facts["settings"]} == {("level:2", "level:1")}
    for one in facts["settings"]:
        first = one["splits"][0]
        assert first["split"] == "cross-fitted" and first["hard_samples"] == pytest.approx(
            0.25 * one["samples"], abs=1
        )
    refused(headwater("hardness", ANSWERS, "--fine", "level:7"), "level:7", "level:0")
    refused(headwater("hardness", ANSWERS, "--hard-share", "1"), "between 0 and 1")
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(ANSWERS.read_bytes()[:5000])
    refused(headwater("hardness", broken), "broken.parquet")
    few = pd.read_parquet(ANSWERS)
    few[few["seed"] < 2].to_parquet(tmp_path / "few.parquet")
    refused(headwater("hardness", "few.parquet"), "3 or more")


@pytest.mark.slow
def test_gains_of_a_table_are_those_worked_out_by_hand(headwater: Cli) -> None:
    """One setting of the committed answers again, from the definition in docs/hardness.md alone."""
    table = pd.read_parquet(ANSWERS)
    own = table[table["task"] == "grocery-3"]
    right = {
        labels: part.pivot_table(
            index="seed", columns="sample", values="right", aggfunc="first"
        ).to_numpy(dtype=float)
        for labels, part in own.groupby("labels")
    }
    coarse, fine = right["level:2"], right["level:0"]
    gains = []
    for seed in range(len(coarse)):
        others = [s for s in range(len(coarse)) if s != seed]
        hardness = 1 - (coarse[others].sum(axis=0) + fine[others].sum(axis=0)) / (2 * len(others))
        gains.append((fine[seed] - coarse[seed])[hardness >= 0.5 - 1e-12].mean())
    _, out, _ = headwater("hardness", ANSWERS, "--json")
    told = next(one for one in json.loads(out)["settings"] if one["task"] == "grocery-3")["splits"][
        0
    ]["hard"]["gain"]
    assert told == pytest.approx(np.mean(gains), abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.yaml",), ("there is no such study file",)),
        (("nowhere.parquet",), ("there is no such file",)),
        (("demo",), ("there is no store here", "headwater run demo")),
        (("demo", "--out", "chart.gif"), ("chart.gif",)),
        (("a.parquet", "--answers", "b.parquet"), ("is one already",)),
    ],
)
def test_a_mistake_is_one_line(
    headwater: Cli, arguments: tuple[str, ...], said: tuple[str, ...]
) -> None:
    refused(headwater("hardness", *arguments), *said)


@pytest.mark.slow
def test_a_table_is_concluded_about_without_torch(tmp_path: Path) -> None:
    """Concluding needs no model: answers are read where torch cannot be imported."""
    blocked = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.partition('.')[0] == 'torch':\n"
        "            raise ImportError('torch is blocked')\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from headwater import cli\n"
        "sys.exit(cli._guarded(cli.app))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", blocked, "hardness", str(ANSWERS)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
