"""Commands and options: what each one shows, and what is refused in one line."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.cli import studies
from tests.conftest import Cli, Finished, refused, tiny, write_study


# options
@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("run", "--nonsense"),
        ("run", "--workers", "0"),
        ("run", "--workers", "many"),
        ("run", "--workers"),
        ("status",),
        ("status", "a", "b"),
        ("plan", "x.yaml", "--device", "tpu"),
        ("doctor", "--device", "cuda:x"),
        ("doctor", "--device", ""),
        ("rows", "--out"),
    ],
)
def test_wrong_commands_and_options_are_refused_in_one_line(
    arguments: tuple[str, ...], headwater: Cli
) -> None:
    refused(headwater(*arguments))


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps"])
def test_a_device_that_is_not_there_is_refused(
    device: str, headwater: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    nowhere = functools.cache(lambda: False)  # torch looks for the __wrapped__ of its own cache
    monkeypatch.setattr(torch.cuda, "is_available", nowhere)
    monkeypatch.setattr(torch.backends.mps, "is_available", nowhere)
    study = write_study(tmp_path / "study.yaml", tiny())
    refused(
        headwater("run", study, "--device", device, "--quiet"),
        f"--device {device}",
        "use --device cpu",
    )
    refused(headwater("doctor", "--device", device), f"--device {device}")


def test_tables_that_cannot_be_read_or_written_are_refused(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    refused(headwater("report", "missing.csv"), "missing.csv")
    for name, content in {
        "a.csv": "x,y\n1,2\n",
        "b.csv": "",
        "c.parquet": "no",
        "d.jsonl": "{",
        "e.jsonl": "[1]\n",
    }.items():
        (tmp_path / name).write_text(content)
        refused(headwater("report", name), name)
    (tmp_path / "f.csv").write_bytes(b"\xff\xfe\x00")
    refused(headwater("report", "f.csv"), "f.csv")
    refused(headwater("rows", "--store", finished.store, "--out", "rows.xlsx"), "rows.xlsx", ".csv")
    (tmp_path / "file").write_text("")
    refused(headwater("rows", "--store", finished.store, "--out", "file/rows.csv"), "rows.csv")
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.parametrize(
    ("command", "out"),
    [
        ("rows", "s3://b/rows.csv"),
        ("report", "s3://b/page.html"),
        ("run", "https://b/page.html"),
        ("labels", "s3://b/labels.svg"),
        ("init", "s3://b/study.yaml"),
    ],
)
def test_a_file_is_not_written_to_an_address_nor_to_a_folder_named_like_one(
    headwater: Cli, finished: Finished, tmp_path: Path, command: str, out: str
) -> None:
    asked = {"init": ["--demo"], "labels": ["describe", finished.study]}.get(
        command, [finished.study]
    )
    store = [] if command == "init" else ["--store", finished.store]
    refused(headwater(command, *asked, *store, "--out", out), "is an address")
    assert not list(tmp_path.glob("*:"))


def test_a_folder_is_not_made_at_an_address(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    asked = (finished.study, "--store", finished.store, "--out", "page.html")
    refused(headwater("report", *asked, "--figures", "s3://b/figures"), "is an address")
    assert not list(tmp_path.glob("*:"))


def test_init_does_not_overwrite(headwater: Cli, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("mine")
    refused(headwater("init", "--demo"), "study.yaml", "exists already")
    assert (tmp_path / "study.yaml").read_text() == "mine"


def test_init_writes_a_study_that_loads(headwater: Cli, tmp_path: Path) -> None:
    from headwater.study import Study

    assert headwater("init", "--demo", "--out", "mine.yaml")[0] == 0
    assert Study.load(tmp_path / "mine.yaml").study
    code, out, _ = headwater("init", "--demo", "--out", "other.yaml", "--json")
    assert (code, json.loads(out)) == (0, {"wrote": ["other.yaml"]})
    refused(headwater("init", "--demo", "--out", "mine.yaml/below.yaml"), "below.yaml")


# what is shown
def test_plan_and_status_count_what_is_there(headwater: Cli, finished: Finished) -> None:
    code, out, _ = headwater(
        "plan", finished.study, "--store", finished.store, "--device", "cpu", "--json"
    )
    facts = json.loads(out)
    assert code == 0
    assert facts["cells"] == {"total": 16, "kept": 16, "new": 0, "orphaned": 0}
    assert len(facts["arms"]) == 4
    code, out, _ = headwater("status", finished.study, "--store", finished.store, "--json")
    assert code == 0
    assert {
        key: json.loads(out)[key]
        for key in ("cells", "done", "failed", "diverged", "to_do", "arms", "arms_done")
    } == {
        "cells": 16,
        "done": 16,
        "failed": 0,
        "diverged": 0,
        "to_do": 0,
        "arms": 4,
        "arms_done": 4,
    }


def test_run_of_a_finished_study_prints_its_verdict_and_where_the_report_is(
    headwater: Cli, finished: Finished, store: Path
) -> None:
    code, out, _ = headwater("run", finished.study, "--store", store, "--device", "cpu")
    assert code == 0
    assert "nothing to do" in out
    assert (store / "reports" / "tiny-world.html").stat().st_size > 1000
    code, out, _ = headwater(
        "run", finished.study, "--store", store, "--json", "--out", store / "own.html"
    )
    assert code == 0
    assert json.loads(out)["ran_cells"] == 0
    assert (store / "own.html").exists()


def test_rows_are_the_same_in_every_format(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    from headwater.rows import read_rows

    for suffix in (".csv", ".parquet", ".jsonl"):
        assert headwater("rows", "--store", finished.store, "--out", f"rows{suffix}")[0] == 0
        assert read_rows(tmp_path / f"rows{suffix}").equals(read_rows(finished.store))
    code, out, _ = headwater("report", "rows.csv", "--json")
    assert code == 0
    assert Path(json.loads(out)["report"]).exists()


def test_help_is_shown_without_a_command_and_for_each_command(headwater: Cli) -> None:
    assert "Tells a team what to pre-train on" in headwater()[1]
    for command in ("init", "plan", "run", "status", "rows", "report", "worker", "doctor", "gc"):
        code, out, _ = headwater(command, "--help")
        assert code == 0
        assert "Usage: headwater " + command in out
        if command in ("plan", "run", "status"):
            assert ", ".join(studies.shipped_studies()) in " ".join(out.replace("│", " ").split())


# as a process
def _subprocess(*arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "headwater.cli"]
    return subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )


def test_a_mistake_is_one_line_in_a_process_of_its_own(tmp_path: Path) -> None:
    done = _subprocess("run", str(tmp_path / "none.yaml"))
    refused((done.returncode, done.stdout, done.stderr), "no such study file")
    done = _subprocess("run", "--workers", "0")
    refused((done.returncode, done.stdout, done.stderr), "--workers")


def test_help_loads_neither_torch_nor_a_table() -> None:
    loaded = _subprocess(
        code="import sys, headwater.cli as c; sys.argv = ['headwater', '--help']; "
        "c._guarded(c.app); print(sorted(sys.modules))"
    ).stdout
    assert "Usage: headwater" in loaded
    assert "'typer'" in loaded
    assert not [
        name for name in ("torch", "pandas", "numpy", "altair", "timm") if f"'{name}'" in loaded
    ]


def test_importing_headwater_loads_neither_torch_nor_pandas() -> None:
    done = _subprocess(
        code="import sys, headwater; print([m for m in ('torch', 'pandas', 'numpy', 'pydantic') if "
        "m in sys.modules])"
    )
    assert done.stdout.strip() == "[]"


def test_a_finished_study_is_answered_without_torch(finished: Finished) -> None:
    code = (
        "import sys, headwater as hw; print(len(hw.run(sys.argv[1], store=sys.argv[2])), 'torch' "
        "in sys.modules)"
    )
    done = _subprocess(str(finished.study), str(finished.store), code=code)
    assert done.stdout.split()[1] == "False", done.stderr
