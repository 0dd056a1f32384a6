"""What engines take of a run's time: cells that measure nothing and take a given time.

    python benchmarks/engines.py [--write] [--busy] [--ray]

A cell of the protocol `rest` (tests/plugins) sleeps, and all that a real one takes is around it:
its lease, its rows and answers on the disk, events, the forecast. The overhead of a cell is the
time from the first unit to the last, times the workers, by the number of cells, which sleep 0 s
here; an untrained arm for each hundred is in it. Engines take turns, medians of three.

`--busy`: 10,000 cells that sleep 0.2 s, eight workers; the share of the time, from when all workers
were there, in which they slept. `--ray`: the engine ray as well, on a cluster that is started here.
`--write` writes benchmarks/engines.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "benchmarks" / "engines.md"
ROUNDS = 3
RUN = """
import json, sys, time
import headwater as hw

def heard(event):
    if event.kind in ("started", "cell", "finished"):
        said.append((time.time(), event.kind, event.worker))

if __name__ == "__main__":
    said, began = [], time.time()
    study, store, engine, workers = sys.argv[1:5]
    hw.run(study, store=store, device="cpu", engine=engine, workers=int(workers), watch=heard)
    print(json.dumps({"began": began, "ended": time.time(), "said": said}))
"""


def study(seeds: int, draws: int, seconds: float) -> dict[str, Any]:
    """`seeds` arms without training, each with so many cells that take so many seconds."""
    return {
        "study": "rest",
        "data": {"bars": {"kind": "stripes", "classes": 3}},
        "sources": ["bars"],
        "methods": ["scratch"],
        "seeds": seeds,
        "budget": {"steps": 2},
        "recipe": {"batch": 16},
        "tasks": {"widths": {"data": "bars"}},
        "protocols": {"rest": {"shots": [1], "draws": draws, "seconds": seconds}},
    }


@dataclass(frozen=True)
class Run:
    """What one run took."""

    cells: int
    workers: int
    first_s: float
    """From the first unit to the last event."""
    ready_s: float
    """From the first unit of the last worker to the last event."""
    whole_s: float
    """Of the process, with its report left out."""
    cells_since_ready: int

    @property
    def overhead_ms(self) -> float:
        """A cell's, of one worker."""
        return 1000 * self.first_s * self.workers / self.cells

    def busy(self, seconds: float) -> float:
        """The share of the workers' time in which cells that take so long were under way."""
        return self.cells_since_ready * seconds / (self.workers * self.ready_s)


def run(words: dict[str, Any], engine: str, workers: int) -> Run:
    """One run in a store of its own."""
    places = [str(ROOT / "src"), str(ROOT / "tests" / "plugins")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(yaml.safe_dump(words))
        script = Path(folder) / "run.py"
        script.write_text(RUN)
        command = [sys.executable, str(script), str(path), f"{folder}/store", engine, str(workers)]
        done = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    facts = json.loads(done.stdout.strip().splitlines()[-1])
    said = facts["said"]
    times = [at for at, kind, _ in said if kind == "cell"]
    # an engine that computes elsewhere tells of no start
    starts: dict[int, float] = {}
    for at, kind, worker in said:
        if kind == "started":
            starts.setdefault(worker, at)
    first = min(starts.values(), default=times[0])
    ready = max(starts.values(), default=times[0])
    return Run(
        cells=len(times),
        workers=workers,
        first_s=said[-1][0] - first,
        ready_s=said[-1][0] - ready,
        whole_s=facts["ended"] - facts["began"],
        cells_since_ready=sum(at > ready for at in times),
    )


def overheads(with_ray: bool) -> list[str]:
    """Lines of the table of engines."""
    kinds = [("inline", 1), ("local", 1), ("local", 2)] + ([("ray", 2)] if with_ray else [])
    found: dict[tuple[str, int], list[Run]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind in kinds:
            found[kind].append(run(study(10, 100, 0.0), *kind))
            print(kind, f"{found[kind][-1].overhead_ms:.1f} ms a cell", flush=True)
    lines = ["| engine | workers | ms a cell | s in all |", "|---|---|---|---|"]
    for (engine, workers), runs in found.items():
        cell = median(each.overhead_ms for each in runs)
        whole = median(each.whole_s for each in runs)
        lines.append(f"| {engine} | {workers} | {cell:.1f} | {whole:.0f} |")
    return lines


def crowd() -> str:
    """A sentence on 10,000 cells and eight workers."""
    seconds = 0.2
    found = run(study(100, 100, seconds), "local", 8)
    from_first = found.cells * seconds / (found.workers * found.first_s)
    return (
        f"{found.cells:,} cells that take {seconds} s, {found.workers} workers: busy "
        f"{100 * found.busy(seconds):.1f} % of the time from when all of them were there "
        f"({found.ready_s:.0f} s), {100 * from_first:.1f} % from when the first of them was; "
        f"{found.whole_s:.0f} s in all."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--ray", action="store_true")
    asked = parser.parse_args()
    began = time.strftime("%Y-%m-%d")
    load = os.getloadavg()[0]
    parts = ["\n".join(overheads(asked.ray))]
    if asked.busy:
        parts.append(crowd())
        print(parts[-1], flush=True)
    cores = os.cpu_count()
    text = (
        "# What engines take of a run's time\n\n"
        f"Written by `python benchmarks/engines.py --write --busy --ray`, {began}, {cores} cores, "
        f"load {load:.1f} before.\nCells that measure nothing and take a given time; the script "
        "says what is counted.\n\n" + "\n\n".join(parts) + "\n"
    )
    print(text)
    if asked.write:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
