"""Rebuilds the table of docs/cluster_cost.md: one study at full size on 1, 8 and 64 GPUs.

    python tools/make_cluster_cost.py

Hours of arms and cells are those of the cost model (docs/full_scale.md); what engines add is what
benchmarks/engines.md measured. The schedule is played through: the longest arm first, an arm's
cells, task by task, as soon as it is trained. A test checks that the page holds what this writes.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from headwater.cost.gpus import GPUS
from headwater.cost.outlined import CONVOLUTIONS, outlined_cost
from headwater.plan.outline import Outline, outline
from headwater.registry import PROTOCOLS
from headwater.study import Study
from headwater.tasks import Task

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "cluster_cost.md"
MEASURED = ROOT / "benchmarks" / "engines.md"
STUDY = ROOT / "studies" / "entezari2023" / "seven_sources.yaml"
GPU = "h100"
COUNTS = (1, 8, 64)
DOLLARS = 2.5
"""An hour of such a GPU, rented [ours]: offers were between 2 and 4 [recalled]."""
START_S = 60.0
"""Until a worker has its first unit: imports and the plan [ours]; 27 to 61 s were seen on two busy
cores (docs/log.md).
"""
OPEN_S = 30.0
"""Until a task's images are ready for a worker, once for each unit [ours]."""


@dataclass(frozen=True)
class Unit:
    """An arm's training, or its cells on one task."""

    hours: float
    cells: int = 0


def units_of(found: Outline) -> list[tuple[Unit, list[Unit]]]:
    """Each arm's training and its cells, task by task."""
    cost, _ = outlined_cost(found, GPUS[GPU], CONVOLUTIONS)
    tuning = cost.gpu_hours - cost.pretrain_gpu_hours
    expected: dict[Any, dict[str, tuple[float, int]]] = {}
    for arm, own in found.cells.items():
        for cell, number in own.items():
            words = found.study.protocols.asked(cell.protocol)
            task = cast(Task, found.tasks[cell.task])
            images = PROTOCOLS[cell.protocol].cost(words, task, cell.shots, 2048).images
            of_arm = expected.setdefault(arm, {})
            before, count = of_arm.get(cell.task, (0.0, 0))
            of_arm[cell.task] = (
                before + number * images + _looked_at(found, cell.task),
                count + number,
            )
    whole = 0.0
    for own in expected.values():
        whole += sum(images for images, _ in own.values())
    units = []
    for arm, hours in zip(found.arms, cost.gpu_hours_of_arm, strict=True):
        cells = expected[arm.words].values()
        measuring = [Unit(tuning * images / whole, count) for images, count in cells]
        units.append((Unit(hours), measuring))
    return units


def _looked_at(found: Outline, task: str) -> float:
    """A share of one pass, so that a task without fine-tuning takes something too."""
    known = found.tasks[task]
    return (len(known.train) + len(known.val) + len(known.test)) / 100


@dataclass(frozen=True)
class Played:
    gpus: int
    hours: float
    work: float
    added: float

    @property
    def busy(self) -> float:
        return self.work / (self.gpus * self.hours)


def played(arms: list[tuple[Unit, list[Unit]]], gpus: int, cell_s: float) -> Played:
    """The schedule on so many GPUs, each with one worker."""
    waiting = sorted(arms, key=lambda each: -each[0].hours)
    free = [(START_S / 3600, worker) for worker in range(gpus)]
    heapq.heapify(free)
    ready: list[Unit] = []
    training: list[tuple[float, int, list[Unit]]] = []
    work = added = end = 0.0
    left = 1
    while waiting or ready or training:
        now, worker = heapq.heappop(free)
        while training and training[0][0] <= now:
            ready.extend(heapq.heappop(training)[2])
        if ready:
            unit, more = ready.pop(0), None
        elif waiting:
            unit, more = waiting.pop(0)
        elif training:
            heapq.heappush(free, (training[0][0], worker))
            continue
        else:
            break
        own = (OPEN_S * (more is None) + cell_s * unit.cells) / 3600
        work, added, done = work + unit.hours, added + own, now + unit.hours + own
        if more is not None:
            heapq.heappush(training, (done, left, more))
            left += 1
        end = max(end, done)
        heapq.heappush(free, (done, worker))
    return Played(gpus, end, work, added + gpus * START_S / 3600)


def cell_seconds() -> float:
    """What the local engine adds to a cell, as it was measured with two workers."""
    found = re.search(r"^\| local \| 2 \| ([\d.]+) \|", MEASURED.read_text(), re.MULTILINE)
    assert found is not None, "run python benchmarks/engines.py --write"
    return float(found[1]) / 1000


def lines() -> Iterator[str]:
    found = outline(Study.load(STUDY), None, asked=True)
    assert found is not None
    arms = units_of(found)
    yield (
        "| GPUs | hours until the answer | busy | GPU-hours of work | GPU-hours that workers add | "
        "GPU-hours paid | dollars |"
    )
    yield "|---:|---:|---:|---:|---:|---:|---:|"
    for gpus in COUNTS:
        seen = played(arms, gpus, cell_seconds())
        paid = seen.gpus * seen.hours
        yield (
            f"| {gpus} | {seen.hours:,.1f} | {100 * seen.busy:.0f} % | {seen.work:,.0f} | "
            f"{seen.added:,.1f} | {paid:,.0f} | {DOLLARS * paid:,.0f} |"
        )


def with_block(text: str) -> str:
    """The page with its table made anew."""
    block = "<!-- played -->\n" + "\n".join(lines()) + "\n<!-- /played -->"
    return re.sub(r"<!-- played -->.*<!-- /played -->", lambda _: block, text, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(with_block(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
