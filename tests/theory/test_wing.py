"""The wing's own house: which of its folders may import what, and that it can be taken away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headwater import wings
from headwater.study.file import wing_of
from headwater.theory.study import TheoryStudy
from headwater.theory.work import networks
from tests.test_house import MODULES, ROOT, TORCH, imports, room_of

WING = "headwater.theory"
GROUND = {"errors", "files", "rows", "study", "wings"}
ALLOWED: dict[str, set[str]] = {
    "wing": {"errors", "wings", "theory.study", "theory.work", "theory.cli"},
    "study": {"errors", "study"},
    "simulation": {"keys", "rows"},
    "work": {
        "device",
        "errors",
        "machine",
        "rows",
        "store",
        "study",
        "theory.simulation",
        "theory.study",
        "work",
    },
    "engine": {"engines", "errors", "store", "theory.study", "theory.work"},
    "analysis": {"analysis", "errors", "rows"},
    "report": {"report", "analysis", "errors", "theory.analysis"},
    "sweep_options": {"errors", "theory.study"},
    "progress": {"show", "theory.engine"},
    "show": {"errors", "rows", "show", "store", "theory.analysis", "theory.study", "theory.work"},
    "cli": {
        *("cli", "engines", "errors", "plain", "report", "rows", "store"),
        *("theory.analysis", "theory.engine", "theory.report", "theory.show"),
        *("theory.study", "theory.work", "theory.progress", "theory.sweep_options"),
    },
    "facade": {"store", "theory.engine", "theory.study", "theory.work"},
}
"""What each folder may import of Headwater beside itself."""
CONCLUDING = ("analysis", "report", "study")


def folder_of(module: str) -> str:
    """The folder of a module of the wing as `theory.FOLDER`; the room of any other."""
    if module == WING or not module.startswith(f"{WING}."):
        return room_of(module)
    return ".".join(module.split(".")[1:3])


OWN = [module for module in MODULES if module.startswith(f"{WING}.")]


def imported(folder: str) -> set[str]:
    """The folders of the wing, and the rooms of Headwater, that a folder imports."""
    names: set[str] = set()
    for module in OWN:
        if folder_of(module) == f"theory.{folder}":
            names |= {name for name in imports(module) if name.startswith("headwater.")}
    return {folder_of(name) for name in names} - {"theory", f"theory.{folder}"}


def test_every_folder_imports_only_what_the_plan_of_the_wing_allows() -> None:
    assert {folder_of(module) for module in OWN} == {f"theory.{folder}" for folder in ALLOWED}
    assert {folder: imported(folder) - allowed for folder, allowed in ALLOWED.items()} == {
        folder: set() for folder in ALLOWED
    }


def test_concluding_runs_where_torch_cannot_be_imported() -> None:
    """Every module of the concluding folders, with nothing of the simulating half beside it."""
    concluding = [m for m in OWN if folder_of(m).removeprefix("theory.") in CONCLUDING]
    code = (
        "import sys, importlib\n"
        f"for name in {sorted(TORCH)!r}: sys.modules[name] = None\n"
        f"for name in {concluding!r}: importlib.import_module(name)\n"
        "print(*sorted(m for m in sys.modules if m.startswith('headwater.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    doing = {"theory.simulation", "theory.work", "theory.engine", "theory.cli", "theory.show"}
    assert not {folder_of(module) for module in done.stdout.split()} & doing


def test_the_declaration_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom headwater import wings\nwings.opened()\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
        "print(*(name for name in sys.modules if name.startswith('headwater.theory')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages, modules = (line.split() for line in done.stdout.splitlines())
    assert not {"torch", "pandas", "pydantic", "typer", "rich", "yaml"} & {*packages}
    assert {*modules} == {WING, f"{WING}.wing"}


def test_a_worker_setting_and_a_study_file_find_the_wing_by_name() -> None:
    wing = wings.named("theory")
    assert wings.of_keys(["study", "theory"]) is wing
    assert wings.of_keys(["study", "data"]) is None
    with pytest.raises(KeyError, match="nowhere"):
        wings.named("nowhere")


@pytest.mark.parametrize(
    "path",
    [ROOT / "studies" / "hong2023" / "theory.yaml", wings.named("theory").studies / "theory.yaml"],
    ids=("hong2023", "shipped"),
)
def test_a_study_that_is_shipped_loads(path: Path) -> None:
    assert wing_of(path) is wings.named("theory")
    assert networks(TheoryStudy.load(path))
