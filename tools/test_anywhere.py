"""Runs the tests as other machines would see them, and writes a table of what passed.

A test that holds on one processor alone, or that needs what a machine may lack, fails here before
it fails there. Each setting is one run of pytest in processes of its own:

    python tools/test_anywhere.py                      all tests under all settings (45 minutes)
    python tools/test_anywhere.py --only tests/views   some files; the table is only printed

All needs are hidden at once for all tests. One need is hidden by itself for the files in which that
left out a test: other files ask for no need, and see nothing of it.

The exit code is 1 where a test failed.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "benchmarks" / "test_anywhere.md"
HIDING = "HEADWATER_TESTS_WITHOUT"
NEEDS = (
    "data",
    "chromium",
    "axe",
    "wordnet",
    "git",
    "gpu",
    "tensorboard",
    "fuse",
    "tmpfs",
    "slurm",
    "ray",
)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def threads(number: int) -> dict[str, str]:
    return dict.fromkeys(THREADS, str(number))


ALL_HIDDEN = "without any need"
SETTINGS: dict[str, dict[str, str]] = {
    "ATEN_CPU_CAPABILITY=default": {"ATEN_CPU_CAPABILITY": "default"},
    "ATEN_CPU_CAPABILITY=avx2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "DNNL_MAX_CPU_ISA=AVX2": {"DNNL_MAX_CPU_ISA": "AVX2"},
    "1 thread": threads(1),
    "2 threads": threads(2),
    ALL_HIDDEN: {HIDING: ",".join(NEEDS)},
    **{f"without {need}": {HIDING: need} for need in NEEDS},
}
"""What is set in the environment of each run. As the machine is, `make test` sees it."""


ONE_HIDDEN = tuple(f"without {need}" for need in NEEDS)


@dataclass(frozen=True)
class Outcome:
    """What one run of the tests came to."""

    passed: int
    skipped: int
    failed: tuple[str, ...]
    """The tests that failed or could not be set up; what stopped pytest itself stands alone."""
    asking: tuple[str, ...] = ()
    """The files in which a test was skipped."""


def outcome_of(report: Path) -> Outcome:
    """Reads pytest's report in JUnit's XML."""
    passed = skipped = 0
    failed = []
    asking = set()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            failed.append(f"{case.get('classname')}.{case.get('name')}")
        elif "skipped" in kinds:
            skipped += 1
            asking.add(file_of(case.get("classname", "")))
        else:
            passed += 1
    return Outcome(passed, skipped, tuple(failed), tuple(sorted(asking)))


def file_of(classname: str) -> str:
    """The file of a test by the name that pytest gives its class or module."""
    parts = classname.split(".")
    while parts and not (ROOT / Path(*parts)).with_suffix(".py").is_file():
        parts.pop()
    return str(Path(*parts).with_suffix(".py")) if parts else "tests"


def run(setting: Mapping[str, str], tests: Sequence[str], processes: int) -> Outcome:
    """One run of pytest under the variables of a setting."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow and not docs"),
            *("-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder"),
            *(f"--junitxml={report}", *tests),
        ]
        ended = subprocess.run(command, cwd=ROOT, env={**os.environ, **setting}, check=False)
        if not report.exists():
            return Outcome(0, 0, (f"pytest ended with exit code {ended.returncode}",))
        outcome = outcome_of(report)
    if ended.returncode and not outcome.failed:
        return Outcome(0, 0, (f"pytest ended with exit code {ended.returncode}",))
    return outcome


def table(outcomes: Mapping[str, Outcome]) -> str:
    """The table in Markdown, and the names of the tests that failed."""
    lines = ["| setting | passed | skipped | failed |", "|---|---:|---:|---:|"]
    for name, outcome in outcomes.items():
        lines.append(f"| {name} | {outcome.passed} | {outcome.skipped} | {len(outcome.failed)} |")
    for name, outcome in outcomes.items():
        lines += ["", f"Failed, {name}:", ""] if outcome.failed else []
        lines += [f"- `{test}`" for test in outcome.failed]
    return "\n".join(lines) + "\n"


def processor() -> str:
    """The name of this machine's processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def page(outcomes: Mapping[str, Outcome]) -> str:
    there = "with" if os.environ.get("HEADWATER_DATA") else "without"
    return (
        "# The tests as other machines see them\n\n"
        f"`make test-anywhere`, {datetime.now(UTC):%Y-%m-%d}, {processor()}, "
        f"{os.cpu_count()} cores, {there} HEADWATER_DATA. Each line is one run of the tests of\n"
        "`make test`; where a single need is hidden, of the files that ask for any.\n"
        "README says what each need is.\n\n" + table(outcomes)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", metavar="TESTS", help="files or folders of tests")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--processes", type=int, default=2, help="of pytest, at the same time")
    arguments = parser.parse_args()
    outcomes: dict[str, Outcome] = {}
    for name in arguments.settings:
        print(f"== {name}", flush=True)
        # threads of two processes would wait for one another on two cores
        processes = 1 if name == "2 threads" else arguments.processes
        tests = arguments.only or ["tests"]
        if name in ONE_HIDDEN and ALL_HIDDEN in outcomes:
            tests = list(outcomes[ALL_HIDDEN].asking) or tests
        outcomes[name] = run(SETTINGS[name], tests, processes)
    print(table(outcomes), end="")
    if arguments.only is None and len(outcomes) == len(SETTINGS):
        TABLE.write_text(page(outcomes))
    return int(any(outcome.failed for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
