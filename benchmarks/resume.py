"""Claim: an arm killed at random moments ends with the very weights of one that nothing disturbed,
whatever the number of loader workers.

    python benchmarks/resume.py [--methods supervised simclr clip] [--precision fp32 bf16] [--kills
    20] [--seed N] [--images N] [--quick] [--json]

Each arm (`tiny` at 32 px on the generated world) is run by `headwater.run` in a process of its own,
with a checkpoint every 0.2 s. The first run is left alone, and timed. The next ones get SIGKILL,
the whole process group at once, at a moment drawn uniformly from that time, counted from the start
of each attempt; an attempt that ends before its moment is compared, and a new arm is begun, until
there were `--kills` kills; then the last one may end. Compared is the SHA-256 of the encoder's file
in the arm's record. A kill counts as one in training where the arm had begun to train in that
attempt (there are checkpoints that the attempt wrote) and was not finished; an attempt goes on
where it finds a checkpoint that is whole. Then the arm is trained anew with
HEADWATER_LOADER_WORKERS of 0, 1, 2 and 4, and is compared too; and it must refuse a number of
workers that is none, or the variable would not have been read.

Cost: about 4 minutes a method and precision. Exit code 1 where any bit differs. How many kills hit
training is in the table: where none did, nothing was shown.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from headwater import checkpoint

RUN = (
    "import sys, headwater as hw\nhw.run(sys.argv[1], store=sys.argv[2], device='cpu', workers=1, "
    "checkpoint_every_s=0.2)\n"
)
WORKERS = (0, 1, 2, 4)
VARIABLE = "HEADWATER_LOADER_WORKERS"


def study(method: str, precision: str, images: int) -> dict[str, Any]:
    """One arm and one small cell: an image seen costs SimCLR two views and CLIP a caption, so these
    see half as many.
    """
    world = {"kind": "world", "families": 4, "species": 4}
    return {
        "study": f"resume-{method}-{precision}",
        "data": {
            "paint": {**world, "train": 2000, "val": 0, "test": 0},
            "task": {**world, "collection": 1, "train": 64, "val": 32, "test": 64},
        },
        "sources": ["paint"],
        "methods": [method],
        "labels": ["level:0"],
        "seeds": 1,
        "precision": precision,
        "budget": {"images_seen": images if method == "supervised" else images // 2},
        "recipe": {
            "batch": 128,
            "text_width": 32,
            "text_layers": 1,
            "text_heads": 2,
            "embedding": 32,
        },
        "tasks": {"task": {"data": "task"}},
        "protocols": {"probe": {"shots": ["full"]}},
    }


class Attempt:
    """One process that runs a study into a store."""

    def __init__(
        self, path: Path, store: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.store, self.began, self.began_ns = store, time.monotonic(), time.time_ns()
        self.log = (store.parent / f"{store.name}.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(path), str(store)],
            start_new_session=True,
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, **(environment or {})},
        )

    def ended_within(self, seconds: float | None) -> bool:
        """Whether it ended by itself; otherwise it and all its workers are gone now, killed."""
        try:
            self.process.wait(
                None if seconds is None else max(0.0, self.began + seconds - time.monotonic())
            )
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        except BaseException:  # it is in a session of its own, and would outlive this process
            self.kill()
            raise
        finally:
            self.log.close()
        return True

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        while _alive(self.process.pid):
            time.sleep(0.005)

    @property
    def trained(self) -> bool:
        """Whether this attempt wrote a checkpoint of an arm that is not finished."""
        written = [path.stat().st_mtime_ns for path in self.store.glob("partial/*/step-*.json")]
        return not list(self.store.glob("arms/[!.]*/arm.json")) and any(
            at > self.began_ns for at in written
        )


def _alive(group: int) -> bool:
    """Whether a process of a group still runs (one that waits to be reaped does not)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in ("Z", "X"):
                return True
    return False


def weights(store: Path) -> str:
    """SHA-256 of the encoder's file, as the arm's record has it and as the file is."""
    records = [json.loads(path.read_text()) for path in store.glob("arms/[!.]*/arm.json")]
    if len(records) != 1 or records[0]["status"] != "done":
        log = store.parent / f"{store.name}.log"
        raise SystemExit(f"{store.name}: the run left no finished arm\n{log.read_text()[-3000:]}")
    return str(records[0]["encoder_sha256"])


@dataclass
class Result:
    """What happened to the arm of one method at one precision."""

    method: str
    precision: str
    seconds: float = 0.0
    """Of the run that nothing disturbed, from the start of its process to the end."""
    kills: int = 0
    kills_in_training: int = 0
    resumed: int = 0
    """Attempts that found a checkpoint to go on from."""
    resumed_at: list[int] = field(default_factory=list)
    """The steps of these checkpoints."""
    steps: int = 0
    finished: int = 0
    """Arms that were killed at least once and ended."""
    different: int = 0
    workers_different: list[int] = field(default_factory=list)
    workers_read: bool = True
    load: float = 0.0

    @property
    def failed(self) -> bool:
        return bool(
            self.different or self.workers_different or not self.workers_read or not self.finished
        )


def killed(
    result: Result, path: Path, folder: Path, right: str, kills: int, random: np.random.Generator
) -> None:
    """Kills at random moments, over attempts and arms; every arm that ends is compared."""
    arm, since = 0, 0
    while result.kills < kills or since:
        store = folder / f"killed-{arm}"
        found = [
            latest for partial in store.glob("partial/*") if (latest := checkpoint.latest(partial))
        ]
        if found and not list(store.glob("arms/[!.]*/arm.json")):
            result.resumed += 1
            result.resumed_at.append(found[0][0])
        attempt = Attempt(path, store)
        if attempt.ended_within(
            random.uniform(0, result.seconds) if result.kills < kills else None
        ):
            if since:
                result.finished += 1
                result.different += weights(store) != right
            arm, since = arm + 1, 0
        else:
            result.kills += 1
            result.kills_in_training += attempt.trained
            since += 1


def measured(
    method: str,
    precision: str,
    images: int,
    kills: int,
    workers: tuple[int, ...],
    random: np.random.Generator,
) -> Result:
    result = Result(method, precision, load=os.getloadavg()[0])
    with tempfile.TemporaryDirectory(prefix="headwater-resume-") as name:
        folder = Path(name)
        path = folder / "study.yaml"
        path.write_text(yaml.safe_dump(study(method, precision, images)))
        whole = Attempt(path, folder / "whole")
        whole.ended_within(None)
        result.seconds = time.monotonic() - whole.began
        right = weights(folder / "whole")
        result.steps = int(
            json.loads(next((folder / "whole").glob("arms/*/arm.json")).read_text())["steps"]
        )
        killed(result, path, folder, right, kills, random)
        for count in workers:
            Attempt(path, folder / f"workers-{count}", {VARIABLE: str(count)}).ended_within(None)
            if weights(folder / f"workers-{count}") != right:
                result.workers_different.append(count)
        if workers:
            Attempt(path, folder / "refused", {VARIABLE: "-1"}).ended_within(None)
            result.workers_read = not list((folder / "refused").glob("arms/*/arm.json"))
    return result


def table(results: list[Result], workers: tuple[int, ...], seed: int) -> str:
    lines = [
        f"Random seed {seed}. Load average at the start of each: "
        f"{', '.join(f'{one.load:.1f}' for one in results)}.",
        "",
        "| method | precision | run, s | steps | kills | in training | resumed from a checkpoint | "
        "at steps | arms ended | "
        f"with other weights | workers {'/'.join(map(str, workers)) or 'not tried'} |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        told = (
            f"other weights with {one.workers_different}"
            if one.workers_different
            else "bit-equal"
            if workers
            else "not tried"
        )
        told += "" if one.workers_read else f"; {VARIABLE} IS NOT READ"
        spread = f"{min(one.resumed_at)} to {max(one.resumed_at)}" if one.resumed_at else "none"
        lines.append(
            f"| {one.method} | {one.precision} | {one.seconds:.1f} | {one.steps} | {one.kills} | "
            f"{one.kills_in_training} | {one.resumed} | {spread} | "
            f"{one.finished} | {one.different} | {told} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["supervised", "simclr", "clip"])
    parser.add_argument(
        "--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32", "bf16"]
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--images",
        type=int,
        default=48_000,
        help="images that a supervised arm sees; the others see half as many",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=None,
        help="of the moments; drawn, and printed, where it is left out",
    )
    parser.add_argument(
        "--no-workers",
        action="store_true",
        help="leave the runs with other numbers of loader workers out",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="3 kills, supervised, fp32, a fifth of the images, 2 numbers of workers",
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    methods, precisions, kills, workers = options.methods, options.precision, options.kills, WORKERS
    if options.quick:
        methods, precisions, kills, workers = ["supervised"], ["fp32"], 3, (0, 2)
    if options.no_workers:
        workers = ()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    images = 9_600 if options.quick else options.images
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    random = np.random.default_rng(seed)
    print(f"random seed {seed}", file=sys.stderr, flush=True)
    results = []
    for method in methods:
        for precision in precisions:
            results.append(measured(method, precision, images, kills, workers, random))
            print(asdict(results[-1]), file=sys.stderr, flush=True)
    if options.json:
        print(
            json.dumps(
                {"seed": seed, "workers": workers, "results": [asdict(one) for one in results]},
                indent=1,
            )
        )
    else:
        print(table(results, workers, seed))
    return int(any(one.failed for one in results))


if __name__ == "__main__":
    sys.exit(main())
