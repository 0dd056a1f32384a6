"""Claim: a study of 1,000,000 cells is planned within 10 s and 2 GB; a store of 100,000 rows is
resumed within 5 s, and its status is told within 2 s. A store of 100,000 cells, which have two and
a half times as many rows, is measured beside it.

    python benchmarks/scale.py [--share 1.0] [--write]

Cost: 5 minutes on two free cores, 1.5 GB of disk. Result: docs/log.md (2026-11-30, a million
cells); `--write` writes it to benchmarks/scale.md. The study is of two
small folders of images, made by a fixed seed: 100 seeds of five arms by four tasks, two protocols,
five shot counts and 50 draws, and 2,000 seeds of five arms by 100 cells. Nothing is trained: the
store is filled with rows that a run could have written, of all cells but three. Every command is a
process of its own, from its start to its end, imports included: seconds of the clock, of the
processor (its own and the system's for it), and the largest memory. Until a run's first unit
begins, libraries are loaded, which takes the same time with ten cells: that part is given beside
it. `--share` makes all of it smaller.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pages import Page, table
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_suffix(".md")
STORE = Path(__file__).with_name("scale_store.py")
MISSING = 3
ROWS_SEEDS, CELLS_SEEDS = 40, 100
"""Of a store of 100,000 rows, and of one of 100,000 cells."""
PLANNED = """
import sys, time
from pathlib import Path
from headwater.engines.schedule import Schedule, pending
from headwater.plan import A_FEW, Plan
from headwater.study import Study
plan = Plan.make(Study.load(sys.argv[1]), data_root=Path(sys.argv[2]), looking=A_FEW)
todo = pending(plan, None)
Schedule(todo)
print(len(plan.cells))
"""
"""What a run does with a study before its first unit, but for libraries."""
RESUMED = """
import sys
from pathlib import Path
from headwater.engines.schedule import Schedule, pending
from headwater.plan import A_FEW, Plan
from headwater.store import Store
from headwater.study import Study
store = Store(sys.argv[3])
plan = Plan.make(
    Study.load(sys.argv[1]), data_root=Path(sys.argv[2]), cache=store.cache, looking=A_FEW
)
store.sweep()
store.set_aside_damaged(cell.id for cell in plan.cells)
todo = pending(plan, store)
print(len(Schedule(todo).ready))
"""
"""The same with a store: whole rows are told from others, and what is done is left out."""
UNTIL_FIRST = """
import os, sys
import headwater.engines.claims as room
take = room.Claims.take
def first(claims):
    unit = take(claims)
    if unit is not None:
        claims.give_back(unit)
        os._exit(0)
    return unit
room.Claims.take = first
from headwater.cli import main
sys.argv = ["headwater", "run", sys.argv[1], "--data-root", sys.argv[2], "--store", sys.argv[3],
            "--engine", "inline", "--quiet"]
main()
"""
"""`headwater run` that ends when its first unit would begin."""


@dataclass(frozen=True)
class Spent:
    """What one process took."""

    wall_s: float
    cpu_s: float
    memory_mb: float


def spent(*command: str | Path, cwd: Path) -> Spent:
    """A process of Python, from its start to its end. Raises SystemExit where it fails."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "XDG_CACHE_HOME": str(cwd / "cache"),
    }
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=cwd, env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))[:200]} ended with {process.returncode}")
    return Spent(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def write_images(folder: Path) -> None:
    """Two folders of 240 images of four classes."""
    for number, name in enumerate(("photos", "scans")):
        rng = np.random.default_rng(number)
        lines = ["path,split,level1,level2"]
        for place, tree in enumerate(("ash", "elm", "fir", "oak")):
            (folder / name / tree).mkdir(parents=True)
            for image in range(60):
                path = f"{tree}/{image}.png"
                pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / name / path)
                lines.append(f"{path},{'test' if image >= 40 else 'train'},{place // 2},{tree}")
        (folder / name / "labels.csv").write_text("\n".join(lines) + "\n")


def write_study(folder: Path, name: str, *, seeds: int, tasks: int, draws: int) -> Path:
    """Five arms a seed, ten times `tasks` times `draws` cells an arm."""
    lines = [
        f"study: {name}",
        "data:",
        "  photos: {kind: folder, path: photos}",
        "  scans: {kind: folder, path: scans}",
        "sources: [photos]",
        "methods: [scratch, supervised, simclr]",
        "labels: ['level:0', 'level:1', 'random:8']",
        f"seeds: {seeds}",
        "budget: {epochs: 2}",
        "tasks:",
    ]
    for task in range(tasks):
        data = ("photos", "scans")[task % 2]
        lines.append(f"  t{task}: {{data: {data}, labels: 'level:{task // 2}'}}")
    few = f"{{shots: [1, 2, 5, 10, 20], draws: {draws}}}"
    lines.append(f"protocols: {{probe: {few}, ridge: {few}}}")
    path = folder / f"{name}.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


class Bench:
    """One folder of studies and stores."""

    def __init__(self, folder: Path, share: float) -> None:
        self.folder, self.share = folder, share
        self.page = Page()
        write_images(folder)

    def _seeds(self, whole: int) -> int:
        return max(2, round(whole * self.share))

    def _row(self, what: str, took: Spent) -> list[str]:
        return [what, f"{took.wall_s:.1f}", f"{took.cpu_s:.1f}", f"{took.memory_mb:,.0f}"]

    def planned(self) -> None:
        """The plan of a million cells."""
        rows = []
        wide = write_study(self.folder, "wide", seeds=self._seeds(100), tasks=4, draws=50)
        many = write_study(self.folder, "many", seeds=self._seeds(2000), tasks=2, draws=5)
        for study, shape in ((wide, "500 arms by 2,000 cells"), (many, "10,000 arms by 100")):
            plan = spent("-m", "headwater.cli", "plan", study, *self._data(), cwd=self.folder)
            rows.append(self._row(f"`headwater plan`, {shape}", plan))
            before = spent("-c", PLANNED, study, self.folder, cwd=self.folder)
            rows.append(self._row(f"plan, what is to do, and its units, {shape}", before))
            for name, took in (("plan", plan), ("what a run does before it", before)):
                self.page.limit(f"{shape}: {name} within 10 s", took.wall_s < 10)
                self.page.limit(f"{shape}: {name} within 2 GB", took.memory_mb < 2000)
        self.page.say("", "## 1,000,000 cells planned", "", *_table(rows))

    def stored(self, what: str, seeds: int) -> None:
        """A store of 1,000 cells a seed. Limits are of that of 100,000 rows."""
        study = write_study(
            self.folder, f"stored{seeds}", seeds=self._seeds(seeds), tasks=4, draws=5
        )
        few = write_study(self.folder, f"few{seeds}", seeds=1, tasks=1, draws=1)
        for path, missing in ((study, MISSING), (few, MISSING)):
            spent(STORE, *self._places(path), str(missing), cwd=self.folder)
        looks = {"the first, no file was read": self._status(study)}
        looks["`--decide`, every file is read"] = self._status(study, "--decide")
        looks["one cell later"] = self._one_later(study)
        time.sleep(2.5)  # a folder that changed just now is not believed to stay
        looks["`--decide`, one cell later"] = self._status(study, "--decide")
        looks["nothing changed, with the decision"] = self._status(study)
        rows = [self._row(f"`headwater status`, {when}", took) for when, took in looks.items()]
        resumed = spent("-c", RESUMED, *self._places(study), cwd=self.folder)
        rows.append(self._row("plan, whole rows, what is to do, and its units", resumed))
        first = spent("-c", UNTIL_FIRST, *self._places(study), cwd=self.folder)
        rows.append(self._row("`headwater run` until its first unit", first))
        base = spent("-c", UNTIL_FIRST, *self._places(few), cwd=self.folder)
        rows.append(self._row("the same of a study of 50 cells", base))
        out = self.folder / "rows.parquet"
        command = ("rows", study, *self._data(), "--store", self.store_path(study), "--out", out)
        rows.append(
            self._row("`headwater rows`", spent("-m", "headwater.cli", *command, cwd=self.folder))
        )
        self.page.say("", f"## A store of {what}", "", *_table(rows))
        if seeds == ROWS_SEEDS:
            self.page.limit("first unit within 5 s", first.wall_s < 5)
            for when, took in looks.items():
                if "--decide" not in when:
                    self.page.limit(f"status within 2 s, {when}", took.wall_s < 2)

    def store_path(self, study: Path) -> Path:
        return self.folder / f"store-{study.stem}"

    def _places(self, study: Path) -> tuple[Path, Path, Path]:
        return study, self.folder, self.store_path(study)

    def _data(self) -> tuple[str, Path]:
        return "--data-root", self.folder

    def _status(self, study: Path, *more: str) -> Spent:
        command = ("status", study, *more, *self._data(), "--store", self.store_path(study))
        return spent("-m", "headwater.cli", *command, cwd=self.folder)

    def _one_later(self, study: Path) -> Spent:
        """The status after one more file of rows was written."""
        spent(STORE, *self._places(study), "again", cwd=self.folder)
        return self._status(study)


def _table(rows: list[list[str]]) -> list[str]:
    return table(["", "clock s", "CPU s", "MB"], rows)


def main() -> int:
    parser = argparse.ArgumentParser(description="Plans and stores of many cells.")
    parser.add_argument("--share", type=float, default=1.0, help="of the sizes; 1")
    parser.add_argument("--write", action="store_true", help=f"writes {PAGE.name}")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), asked.share)
        load = os.getloadavg()[0]
        command = " ".join(["python benchmarks/scale.py", *sys.argv[1:]])
        bench.page.say(
            "# A million cells, and a store of a hundred thousand",
            "",
            f"`{command}`, on {os.cpu_count()} cores, of which others wanted {load:.1f} at the "
            "beginning.",
        )
        bench.planned()
        bench.stored("100,000 rows (40,000 cells)", ROWS_SEEDS)
        bench.stored("100,000 cells (250,000 rows)", CELLS_SEEDS)
        return bench.page.end(PAGE if asked.write else None)


if __name__ == "__main__":
    sys.exit(main())
