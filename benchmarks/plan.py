"""Claim: a plan that was made before on this machine loads no torch, so `headwater plan` on a small
folder study takes a fraction of the processor's time that the first one takes.

    python benchmarks/plan.py                          this checkout
    python benchmarks/plan.py --source DIR --source .  several checkouts, in turns

Cost: a minute. The study has 36 images, three methods and two seeds. `first` is a plan where
nothing is known of this machine, `again` the next one. Each is the median of three fresh processes:
seconds of the processor (user and system), of the clock, and the largest memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
TURNS = 3
STUDY = """\
study: small
data: {photos: {kind: folder, path: photos}}
sources: [photos]
methods: [scratch, supervised, simclr]
seeds: 2
budget: {epochs: 2}
tasks: {photos: {data: photos}}
protocols: {probe: {shots: [2]}}
"""


@dataclass(frozen=True)
class Spent:
    """What one process took."""

    cpu_s: float
    wall_s: float
    memory_mb: float


def write_study(folder: Path) -> None:
    rng = np.random.default_rng(0)
    table = ["path,split,level1"]
    for name in ("ash", "elm", "oak"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(12):
            path = f"{name}/{number}.png"
            pixels = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / path)
            table.append(f"{path},{'test' if number >= 8 else 'train'},{name}")
    (folder / "photos" / "labels.csv").write_text("\n".join(table) + "\n")
    (folder / "study.yaml").write_text(STUDY)


def planned(source: Path, folder: Path, cache: Path) -> Spent:
    """`headwater plan` of a checkout, in a process of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(source / "src"),
        "HEADWATER_DATA": str(folder),
        "XDG_CACHE_HOME": str(cache),
    }
    command = [sys.executable, "-m", "headwater.cli", "plan", "study.yaml", "--json"]
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, text=True
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"headwater plan of {source} ended with exit status {status}")
    process.returncode = 0
    return Spent(
        usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss / 1024
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time of headwater plan.")
    parser.add_argument("--source", type=Path, action="append", help="a checkout; this one")
    sources = [source.resolve() for source in parser.parse_args().source or [ROOT]]
    spent: dict[tuple[Path, str], list[Spent]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder)
        for turn in range(TURNS):
            for number, source in enumerate(sources):
                for when in ("first", "again"):
                    one = planned(source, folder, folder / f"cache-{turn}-{number}")
                    spent.setdefault((source, when), []).append(one)
    print("| checkout | plan | CPU s | clock s | MB |\n|---|---|---:|---:|---:|")
    for (source, when), runs in spent.items():
        cpu = statistics.median(run.cpu_s for run in runs)
        wall = statistics.median(run.wall_s for run in runs)
        memory = statistics.median(run.memory_mb for run in runs)
        print(f"| {source.name} | {when} | {cpu:.1f} | {wall:.1f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
