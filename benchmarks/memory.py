"""How much memory a worker takes, beside what is expected of it, and how many small arms go well
together on one device.

    python benchmarks/memory.py [--device cuda] [--write]

Each study runs in a process of its own, which says the most that it held: of the machine's memory
(its resident set), and on a GPU of the device's (what PyTorch's allocator reserved). Beside it
stand worker_bytes, which Slurm is asked for, and training_bytes, which an arm waits for on a GPU
(headwater.cost.memory). Then one study of eight small arms is run by 1, 2 and 4 workers on the
device: arms per minute, from the first unit on.

`--write` writes benchmarks/memory.md. What a GPU gives to CUDA itself is in training_bytes and not
in what was reserved.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from machine import facts, facts_line, table

from headwater import make_plan
from headwater.cost.memory import training_bytes, worker_bytes
from headwater.device import resolve

PAGE = Path(__file__).parent / "memory.md"
RUN = """
import json, resource, sys, time
import headwater as hw

def heard(event):
    said.append((time.time(), event.kind, event.worker, event.unit and event.unit.task is None))

if __name__ == "__main__":
    said = []
    study, store, device, engine, workers = sys.argv[1:6]
    hw.run(study, store=store, device=device, engine=engine, workers=int(workers), watch=heard)
    import torch
    reserved = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else 0
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"host": peak, "device": reserved, "said": said}))
"""


@dataclass(frozen=True)
class Case:
    """A study of one arm."""

    method: str
    backbone: str
    image_size: int
    batch: int
    task_images: int

    @property
    def title(self) -> str:
        return (
            f"{self.method}, {self.backbone}, {self.image_size} px, batches of {self.batch}, "
            f"{self.task_images:,} images of the task"
        )

    def words(self, seeds: int = 1, steps: int = 6) -> dict[str, Any]:
        paint = {"kind": "world", "train": 600, "val": 48, "test": 48}
        sketch = {"kind": "world", "domain": "sketch", "train": self.task_images}
        return {
            "study": "memory",
            "data": {"paint": paint, "sketch": {**sketch, "val": 48, "test": 48}},
            "sources": ["paint"],
            "methods": [self.method],
            "labels": ["level:0"],
            "seeds": seeds,
            "backbone": self.backbone,
            "image_size": self.image_size,
            "budget": {"steps": steps},
            "recipe": {"batch": self.batch},
            "tasks": {"sketch": {"data": "sketch"}},
            "protocols": {"probe": {"shots": ["full"]}},
        }


STEPS = 12
"""Of the arms that are trained together."""
CASES = (
    Case("supervised", "resnet18", 32, 64, 200),
    Case("supervised", "resnet18", 32, 64, 20_000),
    Case("simclr", "resnet18", 64, 256, 200),
    Case("supervised", "vit_tiny_patch16_224", 64, 64, 200),
    Case("clip", "resnet50", 96, 128, 200),
    Case("supervised", "resnet50", 128, 128, 200),
)


def run(words: dict[str, Any], device: str, engine: str, workers: int) -> dict[str, Any]:
    """What a run in a store of its own said."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study.yaml"
        study.write_text(yaml.safe_dump(words))
        script = Path(folder) / "run.py"
        script.write_text(RUN)
        place = [str(study), f"{folder}/store", device, engine, str(workers)]
        done = subprocess.run(
            [sys.executable, str(script), *place], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def expected(case: Case, device: str) -> tuple[float, float]:
    """(of the machine, of the GPU), bytes."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study.yaml"
        study.write_text(yaml.safe_dump(case.words()))
        plan = make_plan(study, store=Path(folder) / "store")
        kind = torch.device(device).type
        of_device = training_bytes(plan, plan.arms[0], resolve(device)) if kind == "cuda" else 0.0
        return worker_bytes(plan, kind), of_device


def memory(device: str) -> str:
    lines = []
    for case in CASES:
        host, of_device = expected(case, device)
        found = run(case.words(), device, "inline", 1)
        pairs = [(host, found["host"])]
        if of_device:
            pairs.append((of_device, found["device"]))
        cells = [f"{most / 1e9:.1f} of {wanted / 1e9:.1f}" for wanted, most in pairs]
        lines.append([case.title, *cells])
        print(*lines[-1], flush=True)
    heads = ["", "of the machine, GB", *(["of the GPU, GB"] if len(lines[0]) > 2 else [])]
    return table(heads, lines)


def together(device: str) -> str:
    """Arms per minute of 1, 2 and 4 workers on one device, from its first unit on."""
    case, lines = Case("simclr", "resnet18", 32, 128, 200), []
    for workers in (1, 2, 4):
        said = run(case.words(seeds=8, steps=STEPS), device, "local", workers)["said"]
        begun: dict[int, float] = {}
        for at, kind, worker, _ in said:
            if kind == "started":
                begun.setdefault(worker, at)
        trained = [at for at, kind, _, trains in said if kind == "finished" and trains]
        seconds = max(trained) - min(begun.values())
        lines.append([str(workers), f"{60 * len(trained) / seconds:.1f}"])
        print(*lines[-1], flush=True)
    return table(["workers on the device", "arms per minute"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    line = facts_line(facts())
    text = (
        "# Memory of a worker\n\n"
        f"`python benchmarks/memory.py --device {asked.device} --write`, {line}\n\n"
        "The most that a worker held, of what is expected of it.\n\n"
        f"{memory(asked.device)}\n\n"
        f"Eight small arms on one device ({asked.device}):\n\n{together(asked.device)}\n"
    )
    print(text)
    if asked.write:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
