"""Claim: what people wait for at a prompt is there at once: help within 1 s, the shipped hierarchy
within 0.3 s, a folder of 5,000 images described within 2 s, a finished study answered within 2 s,
and the verdict of the largest committed table within 20 s.

    python benchmarks/quick.py

Cost: a minute. Each is the best of three fresh processes, imports
included, since other work may run beside it. The exit code is 1 where a limit is missed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
STUDY = """\
study: small
data: {paint: {kind: world, train: 96, val: 32, test: 32, families: 2, species: 2}}
methods: [scratch]
sources: [paint]
seeds: 1
tasks: {paint: {data: paint}}
protocols: {ridge: {}}
"""
COMMAND = "import sys, headwater.cli as c; sys.argv = ['headwater', *sys.argv[1:]]; c.main()"
OPENS = "from headwater.labels.hierarchies import open_hierarchy; open_hierarchy('wordnet')"
RUNS = "import sys, headwater as hw; hw.run(sys.argv[1], store=sys.argv[2], device='cpu')"
CONCLUDES = """
import sys
from headwater.analysis import findings, verdict
from headwater.rows import read_rows
rows = read_rows(sys.argv[1])
verdict(rows), findings(rows)
"""
TIMED = """
import sys, time
code = sys.argv.pop(1)
began = time.perf_counter()
try:
    exec(code)
except SystemExit as ended:
    assert not ended.code, ended.code
print(time.perf_counter() - began, file=sys.stderr)
"""


@dataclass(frozen=True)
class Limit:
    """Something that is run in a process of its own, and the seconds it may take."""

    name: str
    seconds: float
    code: str
    arguments: tuple[str, ...] = ()

    def best(self) -> float:
        """Seconds of the fastest of three."""
        command = [sys.executable, "-c", TIMED, self.code, *self.arguments]
        times = []
        for _ in range(3):
            ended = subprocess.run(command, capture_output=True, text=True, check=True)
            times.append(float(ended.stderr.split()[-1]))
        return min(times)


def limits(folder: Path) -> list[Limit]:
    """What is held to; what they need is put into a folder."""
    (folder / "study.yaml").write_text(STUDY)
    study = (str(folder / "study.yaml"), str(folder / "store"))
    subprocess.run([sys.executable, "-c", RUNS, *study], check=True)
    for name in ("a", "b"):
        (folder / "many" / name).mkdir(parents=True)
        for number in range(2500):
            (folder / "many" / name / f"{number}.png").touch()
    described = ("labels", "describe", str(folder / "many"), "--json")
    table = str(ROOT / "docs" / "results" / "photos.parquet")
    return [
        Limit("headwater --help", 1.0, COMMAND, ("--help",)),
        Limit("the shipped hierarchy opens", 0.3, OPENS),
        Limit("5,000 images are described", 2.0, COMMAND, described),
        Limit("a finished study is answered", 2.0, RUNS, study),
        Limit("the verdict of photos.parquet", 20.0, CONCLUDES, (table,)),
    ]


def main() -> int:
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for limit in limits(Path(folder)):
            took = limit.best()
            missed += took > limit.seconds
            word = "met" if took <= limit.seconds else "MISSED"
            print(f"{limit.name:30} {took:6.2f} s of {limit.seconds:.1f}: {word}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
