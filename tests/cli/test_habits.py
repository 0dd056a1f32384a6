"""What a newcomer types: near names, missing stores, bare commands, one word for one thing."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from headwater import cli
from headwater.cli import studies
from tests.conftest import Cli, Finished, refused, tiny, write_study

THEORY = importlib.util.find_spec("headwater.theory") is not None
"""Without its wing (tests/theory/test_away.py) the rest is whole, and has none of its commands."""
READING = (
    ("plan", "STUDY"),
    ("status", "STUDY"),
    ("curves", "STUDY"),
    ("rows",),
    ("rows", "STUDY"),
    ("report", "STUDY"),
    ("decide", "STUDY"),
    ("hardness", "STUDY"),
    ("labels", "describe", "STUDY"),
    *((("theory", "plan"), ("theory", "plot")) if THEORY else ()),
)
"""Commands that make no store."""


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_store_that_is_not_there_is_named_with_the_one_beside_it(
    command: tuple[str, ...], headwater: Cli, tmp_path: Path
) -> None:
    write_study(tmp_path / "study.yaml", tiny())
    (tmp_path / "results").mkdir()
    words = ["study.yaml" if word == "STUDY" else word for word in command]
    refused(headwater(*words, "--store", "reslts"), "--store reslts", "did you mean results?")
    refused(headwater(*words, "--store", "off/store"), "off/store", "nor off")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "study.yaml"]


def test_only_the_default_store_may_not_be_there_yet(
    headwater: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = write_study(tmp_path / "study.yaml", tiny())
    for command in ("status", "plan"):
        code, out, _ = headwater(command, study)
        assert code == 0
        assert "no store yet" in out
    code, out, _ = headwater("status", study, "--json")
    assert json.loads(out)["store"] is None
    refused(headwater("status", study, "--store", "headwater-store"), "no such folder")
    monkeypatch.setenv("HEADWATER_STORE", "elsewhere")
    refused(headwater("status", study), "HEADWATER_STORE elsewhere: there is no such folder")


def test_headwater_store_says_where_results_are(
    headwater: Cli, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_STORE", str(finished.store))
    assert json.loads(headwater("status", finished.study, "--json")[1])["done"] == 16


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("stduy.yaml", "study.yaml"),
        ("study", "study.yaml"),
        ("study.yml", "study.yaml"),
        ("dmeo", "demo"),
        ("demo.yaml", "demo"),
        ("below/greens.yaml", "below/green.yaml"),
    ],
)
def test_a_study_that_is_nearly_right_is_asked_back(
    typed: str, meant: str, headwater: Cli, tmp_path: Path
) -> None:
    write_study(tmp_path / "study.yaml", tiny())
    (tmp_path / "below").mkdir()
    write_study(tmp_path / "below" / "green.yaml", tiny())
    for command in ("plan", "run", "decide"):
        refused(
            headwater(command, typed), f"{typed}: there is no such study", f"did you mean {meant}"
        )


def test_a_table_that_is_nearly_right_is_asked_back(headwater: Cli, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x\n")
    for command in ("report", "decide"):
        refused(headwater(command, "row.csv"), "row.csv: there is no such file", "rows.csv is")


def test_a_bare_run_says_what_it_can_run_and_runs_nothing(headwater: Cli, tmp_path: Path) -> None:
    write_study(tmp_path / "mine.yaml", tiny())
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "broken.yaml").write_text("{")
    code, out, err = headwater("run")
    assert (code, out) == (2, "")
    lines = [line.strip() for line in err.splitlines()]
    assert "headwater run mine.yaml" in lines
    assert {f"headwater run {name}" for name in studies.shipped_studies()} < set(lines)
    assert not [line for line in lines if "compose" in line or "broken" in line]
    assert not (tmp_path / "headwater-store").exists()


def test_the_version_is_said(headwater: Cli) -> None:
    assert headwater("--version") == (0, f"headwater {version('headwater')}\n", "")


def test_a_shell_completes_the_names_of_studies(tmp_path: Path) -> None:
    write_study(tmp_path / "design.yaml", tiny())
    words = {"_HEADWATER_COMPLETE": "complete_bash", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", "import headwater.cli as c; c.main()"],
        env={**os.environ, **words, "COMP_WORDS": "headwater plan de"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["design.yaml", "demo"], done.stderr
    assert studies.complete_study("wor") == ["world"]


def test_a_shell_completes_studies_of_a_folder_as_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "studies").mkdir()
    for name in ("design.yaml", "studies/one.yaml", "studies/two.yaml"):
        write_study(tmp_path / name, tiny())
    monkeypatch.chdir(tmp_path)
    both = ["studies/one.yaml", "studies/two.yaml"]
    assert studies.complete_study("studies/") == both
    assert studies.complete_study("./studies/") == [f"./{name}" for name in both]
    assert studies.complete_study("./d") == ["./design.yaml"]
    assert studies.complete_study("studies/t") == both[1:]
    whole = f"{tmp_path}/studies/"
    assert studies.complete_study(whole) == [f"{tmp_path}/{name}" for name in both]
    assert studies.complete_study("nowhere/") == []


def test_every_command_that_writes_a_file_calls_it_out(headwater: Cli) -> None:
    import typer.main

    group = typer.main.get_command(cli.app)
    for path in (
        ("run",),
        ("report",),
        ("rows",),
        ("curves",),
        ("hardness",),
        ("labels", "describe"),
        ("tasks", "split"),
        *((("theory", "run"), ("theory", "plot")) if THEORY else ()),
    ):
        command = group
        for name in path:
            command = command.commands[name]  # type: ignore[attr-defined]
        shown = {
            word
            for each in command.params
            if not getattr(each, "hidden", False)
            for word in each.opts
        }
        assert {"--out", "-o"} <= shown, path
        assert not {"--report", "--plot", "--output"} & shown, path


@pytest.mark.slow
def test_the_old_words_for_out_are_understood(
    headwater: Cli, finished: Finished, store: Path, tmp_path: Path
) -> None:
    code, out, _ = headwater(
        "run", finished.study, "--store", store, "--json", "--report", tmp_path / "a.html"
    )
    assert (code, json.loads(out)["report"]) == (0, str(tmp_path / "a.html"))
    code, out, _ = headwater("labels", "describe", finished.study, "--plot", "b.svg", "--json")
    assert (code, json.loads(out)["plot"]) == (0, "b.svg")


# while it runs
def test_status_says_what_is_left_the_scores_so_far_and_the_decision(
    headwater: Cli, finished: Finished, store: Path
) -> None:
    from headwater.show.times import time_words

    running = {
        "study": "tiny-world",
        "pid": os.getpid(),
        "host": os.uname().nodename,
        "began": time.time() - 30,
        "updated": time.time(),
        "left_s": 600.0,
        "arms": {min((store / "arms").iterdir()).name: 600.0},
        "arms_done": 1,
        "cells": 9,
        "cells_done": 4,
        "now": [{"worker": 0, "unit": "train clip", "left_s": 200.0}],
    }
    (store / "running").mkdir()
    (store / "running" / "one.json").write_text(json.dumps(running))
    code, out, _ = headwater("status", finished.study, "--store", store)
    assert code == 0
    assert re.search(r"running: about 10 min left, of 9 cells 4 done in [34]\d s", out)
    assert "now: train clip, about 3 min left" in out
    assert "seed 0: done in about 10 min" in out
    _, decided, _ = headwater("decide", finished.study, "--store", store, "--json")
    decided = json.loads(decided)
    assert f"decision: {decided['best']}" in out
    for name, mean in decided["means"].items():
        assert re.search(rf"^{re.escape(name)} +{100 * mean:.1f}", out, re.MULTILINE)
    facts = json.loads(headwater("status", finished.study, "--store", store, "--json")[1])
    assert facts["left_s"] == pytest.approx(600, abs=20)
    assert facts["decision"]["means"] == decided["means"]
    assert (time_words(5000), time_words(200_000)) == ("83 min", "2 d 7 h")


def test_plain_lines_say_what_is_left_where_there_is_no_terminal() -> None:
    import io

    from rich.console import Console

    from headwater.engines.schedule import NOBODY, Event, Pending, Unit
    from headwater.plan import Plan
    from headwater.show import display
    from headwater.study import Study

    plan = Plan.make(Study.model_validate(tiny(methods=["scratch"])))
    todo = Pending(list(plan.arms), list(plan.cells))
    unit, out = Unit(plan.arms[0]), io.StringIO()
    console = Console(file=out, width=200)
    with display.RunDisplay(arms=len(todo.arms), cells=len(todo.cells), console=console) as shown:
        shown(Event("expected", NOBODY, unit, {"left_s": 300.0}))
        shown._told -= 60
        shown(Event("started", 0, unit, {"left_s": 240.0, "unit_left_s": 60.0}))
    first, second = out.getvalue().splitlines()
    assert "about 5 min" in first
    assert "about 4 min left" in second
