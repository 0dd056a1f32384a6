"""Put faults into the code, one at a time, and see whether the tests of their room find them.

    python tools/mutants.py                        all faults of tools/mutants.yaml: about an hour
    python tools/mutants.py --only "SigLIP"        those whose name or room holds this text
    python tools/mutants.py --check                only ask whether each can be put into the code
    python tools/mutants.py --tree DIR             another checkout: its code and its tests
    python tools/mutants.py --page                 only write benchmarks/mutants.md anew
    python tools/mutants.py --lines FILE           take in what `make coverage` measured

A fault is found ("killed") where one of its tests fails and passes on the code as it is. A run that
takes longer than `--limit` counts as killed too, if the same tests pass in less than a quarter of
that on the code as it is. Only tests that `make test` runs are asked.

The old code is looked for in the syntax tree of its function, so neither line breaks nor comments
matter. It must be there exactly once; where it is not, the fault is "not applicable" and
tools/mutants.yaml should be brought up to date.

Results are kept in benchmarks/mutants.json (`--results`) under the name that `--column` gives, and
the page beside it is made of all columns. The tree is copied first and never changed.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
LIST = ROOT / "tools" / "mutants.yaml"
RESULTS = ROOT / "benchmarks" / "mutants.json"
LEFT_OUT = (".git", ".venv", "__pycache__", ".*_cache", "*.egg-info", "headwater-store")
MARKS = "not slow and not docs"
"""The tests that `make test` runs."""
TIMED_OUT = 124
"""The exit status of a run that took too long, as `timeout` has it."""


@dataclass(frozen=True)
class Mutant:
    """One fault: see the head of tools/mutants.yaml for its fields."""

    name: str
    room: str
    fault: str
    module: str
    scope: str
    old: str
    new: str
    tests: tuple[str, ...]

    def file(self, source: Path) -> Path:
        """The file of its module below a `src` folder."""
        plain = source / "headwater" / Path(*self.module.split("."))
        package = plain / "__init__.py"
        return package if package.is_file() else plain.with_suffix(".py")


class NotApplicable(Exception):
    """The old code is not where the fault says, or is there more than once."""


@dataclass(frozen=True)
class Segment:
    """A part of a text: from one (line, byte) to another, lines counted from 1."""

    start: tuple[int, int]
    end: tuple[int, int]

    @classmethod
    def of(cls, first: Any, last: Any) -> Segment:
        """The segment from the first node to the last."""
        end = last.end_lineno, last.end_col_offset
        return cls((first.lineno, first.col_offset), end)


def read_mutants(path: Path = LIST) -> list[Mutant]:
    """All faults of a list."""
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def mutated(text: str, mutant: Mutant) -> str:
    """The text of a module with the fault in it. Raises NotApplicable."""
    scopes = list(_scopes(ast.parse(text), mutant.scope.split(".") if mutant.scope else []))
    places = [place for scope in scopes for place in _places(scope, mutant.old)]
    if len(places) != 1:
        where = mutant.scope or "the module"
        raise NotApplicable(f"{where} has the code {len(places)} times")
    changed = _replaced(text, places[0], mutant.new)
    try:
        ast.parse(changed)
    except SyntaxError as error:
        raise NotApplicable(f"the new code does not parse: {error}") from None
    return changed


def _scopes(tree: ast.AST, names: Sequence[str]) -> Iterator[ast.AST]:
    """The functions and classes that a dotted name means; overloads have one name."""
    if not names:
        yield tree
        return
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in _nearest(tree, kinds):
        if node.name == names[0]:
            yield from _scopes(node, names[1:])


def _nearest(tree: ast.AST, kinds: tuple[type, ...]) -> Iterator[Any]:
    """Nodes of some kinds that are in no other of these."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, kinds):
            yield child
        else:
            yield from _nearest(child, kinds)


def _places(scope: ast.AST, old: str) -> Iterator[Segment]:
    """Where the old code stands in a scope."""
    wanted = ast.parse(textwrap.dedent(old)).body
    if len(wanted) == 1 and isinstance(wanted[0], ast.Expr):
        yield from _expressions(scope, wanted[0].value)
        return
    words = [ast.dump(statement) for statement in wanted]
    for node in ast.walk(scope):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if not isinstance(body, list):
                continue
            for at in range(len(body) - len(words) + 1):
                if [ast.dump(some) for some in body[at : at + len(words)]] == words:
                    yield Segment.of(body[at], body[at + len(words) - 1])


def _expressions(scope: ast.AST, wanted: ast.expr) -> Iterator[Segment]:
    if isinstance(wanted, ast.Dict) and len(wanted.keys) == 1 and wanted.keys[0] is not None:
        key, value = ast.dump(wanted.keys[0]), ast.dump(wanted.values[0])
        for node in ast.walk(scope):
            if not isinstance(node, ast.Dict):
                continue
            for a, b in zip(node.keys, node.values, strict=True):
                if a is not None and (ast.dump(a), ast.dump(b)) == (key, value):
                    yield Segment.of(b, b)
    elif isinstance(wanted, ast.Call) and isinstance(wanted.func, ast.Constant):
        argument = ast.dump(wanted.keywords[0])
        for node in ast.walk(scope):
            if isinstance(node, ast.keyword) and ast.dump(node) == argument:
                yield Segment.of(node.value, node.value)
    else:
        words = ast.dump(wanted)
        for node in ast.walk(scope):
            if isinstance(node, ast.expr) and ast.dump(node) == words:
                yield Segment.of(node, node)


def _replaced(text: str, place: Segment, new: str) -> str:
    """The text with other code at a place, indented as the place is."""
    lines = text.encode().splitlines(keepends=True)
    (first, start), (last, end) = place.start, place.end
    code = textwrap.dedent(new).strip()
    if _is_expression(code):
        code = f"({code})"
    code = code.replace("\n", "\n" + " " * start)
    before = b"".join(lines[: first - 1]) + lines[first - 1][:start]
    after = lines[last - 1][end:] + b"".join(lines[last:])
    return (before + code.encode() + after).decode()


def _is_expression(code: str) -> bool:
    try:
        ast.parse(code, mode="eval")
    except SyntaxError:
        return False
    return True


class Bench:
    """A copy of a tree, in which one file at a time is changed and tests are run."""

    def __init__(self, tree: Path, folder: Path, command: Sequence[str], limit: float) -> None:
        self.root, self._command, self._limit = folder / "tree", list(command), limit
        shutil.copytree(tree, self.root, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        self._clock = int(time.time())

    def tried(self, mutant: Mutant) -> dict[str, Any]:
        """What the tests of a fault's room say of it."""
        file = mutant.file(self.root / "src")
        try:
            text = file.read_text(encoding="utf-8")
            changed = mutated(text, mutant)
        except (OSError, NotApplicable) as error:
            return {"said": "not applicable", "reason": str(error)}
        paths = [f"tests/{test}" for test in mutant.tests if (self.root / "tests" / test).exists()]
        self._write(file, changed)
        try:
            run = self._run(paths)
        finally:
            self._write(file, text)
        if run["status"] == 0:
            return {"said": "survived", "seconds": run["seconds"]}
        # what ends the process, or takes too long, names no test
        nameless = run["status"] < 0 or run["status"] == TIMED_OUT
        plain = self._run(paths if nameless else [run["by"].partition("[")[0]])
        fair = plain["status"] == 0 and (
            run["status"] != TIMED_OUT or plain["seconds"] * 4 < self._limit
        )
        if not fair:
            return {"said": "no answer", "by": run["by"], "reason": f"without it: {plain['last']}"}
        return {"said": "killed", "by": run["by"], "seconds": run["seconds"]}

    def _write(self, file: Path, text: str) -> None:
        """Writes a file with a time of its own, so that no compiled copy passes for it."""
        file.write_text(text, encoding="utf-8")
        self._clock += 10
        os.utime(file, (self._clock, self._clock))

    def _run(self, paths: Sequence[str]) -> dict[str, Any]:
        """How pytest ends on some files or tests, up to the first that fails."""
        options = ["-x", "-q", "-rfE", "-m", MARKS, "-p", "no:cacheprovider"]
        environment = {**os.environ, "PYTHONPATH": str(self.root / "src")}
        began = time.monotonic()
        try:
            done = subprocess.run(
                [*self._command, *options, *paths],
                cwd=self.root,
                env=environment,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=self._limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"status": TIMED_OUT, "seconds": self._limit, "by": "time", "last": "too long"}
        lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""]
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
        spent = re.search(r" in ([0-9.]+)s", lines[-1])
        seconds = float(spent[1]) if spent else round(time.monotonic() - began, 1)
        by = failed[1] if failed else lines[-1]
        if done.returncode < 0:
            by = f"the process, by {signal.Signals(-done.returncode).name}"
        return {"status": done.returncode, "seconds": seconds, "by": by, "last": lines[-1]}


def check(mutants: Sequence[Mutant], source: Path) -> int:
    """Say which faults cannot be put into the code; how many."""
    wrong = 0
    for mutant in mutants:
        try:
            mutated(mutant.file(source).read_text(encoding="utf-8"), mutant)
        except (OSError, NotApplicable) as error:
            print(f"not applicable: {mutant.room}: {mutant.name}: {error}")
            wrong += 1
    print(f"{len(mutants) - wrong} of {len(mutants)} can be put into {source}")
    return wrong


def page(mutants: Sequence[Mutant], results: dict[str, Any], name: str) -> str:
    """The page of all results; `name` is that of the list of faults, in tools/."""
    columns: dict[str, dict[str, Any]] = results.get("columns", {})
    lines = [
        "# Faults put into the code, and the tests that find them",
        "",
        f"`python tools/mutants.py` puts {len(mutants)} faults into the code, one at a time "
        f"([tools/{name}](../tools/{name})), and runs the tests of the fault's room.",
        "A fault is killed where a test fails. A fault that survives would reach a user unseen.",
        "",
        "| tests | " + " | ".join(columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for said in ("killed", "survived", "no answer", "not applicable"):
        counts = []
        for column in columns.values():
            answers = [_said(column, one) for one in mutants]
            counts.append(answers.count(said))
        if any(counts):
            lines.append(f"| {said} | " + " | ".join(map(str, counts)) + " |")
    heads = ["room", "fault", *columns]
    lines += ["", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for mutant in mutants:
        answers = [_said(column, mutant) for column in columns.values()]
        lines.append("| " + " | ".join([mutant.room, mutant.name, *answers]) + " |")
    return "\n".join([*lines, *_coverage(results.get("coverage", {}))]) + "\n"


def _said(column: dict[str, Any], mutant: Mutant) -> str:
    return str(column.get(mutant.name, {}).get("said", "-"))


def _coverage(coverage: dict[str, Any]) -> list[str]:
    """A table of the share of lines that tests run, by room."""
    if not coverage:
        return []
    rooms = sorted({room for column in coverage.values() for room in column["rooms"]})
    lines = ["", "## Lines that the tests run", ""]
    lines += ["Percent of the lines of src/headwater, worker processes included."]
    lines += ["", "| room | " + " | ".join(coverage) + " |", "|---|" + "---:|" * len(coverage)]
    for room in ["all", *rooms]:
        shares = [
            column["total"] if room == "all" else column["rooms"].get(room)
            for column in coverage.values()
        ]
        cells = ["-" if share is None else f"{share:.1f}" for share in shares]
        lines.append(f"| {room} | " + " | ".join(cells) + " |")
    return lines


def shares_of_lines(report: dict[str, Any]) -> dict[str, Any]:
    """Percent of the lines of src/headwater that were run, of all and of each room, from the JSON
    report of coverage.py. A room is a file or a folder directly below headwater.
    """
    counts: dict[str, list[int]] = {}
    for name, file in report["files"].items():
        below = Path(name.replace("\\", "/").rpartition("src/headwater/")[2])
        room = below.parts[0].removesuffix(".py")
        summary = file["summary"]
        for at in (room, "all"):
            count = counts.setdefault(at, [0, 0])
            count[0] += summary["covered_lines"]
            count[1] += summary["num_statements"]
    shares = {room: 100 * run / max(1, every) for room, (run, every) in counts.items()}
    return {"total": shares.pop("all"), "rooms": shares}


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="faults whose name or room holds this text")
    parser.add_argument("--check", action="store_true", help="only ask whether each can be put in")
    parser.add_argument("--page", action="store_true", help="only write the page anew")
    parser.add_argument("--lines", type=Path, help="a JSON report of coverage.py for the page")
    parser.add_argument("--again", action="store_true", help="also those that have an answer")
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout that is tried")
    parser.add_argument("--list", type=Path, default=LIST, help="the list of faults")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--column", default="now", help="what results are called on the page")
    parser.add_argument("--limit", type=float, default=240.0, help="seconds of one run of tests")
    parser.add_argument(
        "--pytest", default=f"{sys.executable} -m pytest", help="the command that runs tests"
    )
    return parser.parse_args()


def main() -> int:
    """0 where every fault was killed."""
    given = _arguments()
    every = read_mutants(given.list)
    words = (given.only or "").casefold()
    mutants = [one for one in every if words in f"{one.room} {one.name}".casefold()]
    if given.check:
        return int(check(mutants, given.tree / "src") > 0)
    if given.lines is not None:
        results = _read(given.results)
        shares = shares_of_lines(_read(given.lines))
        results.setdefault("coverage", {})[given.column] = shares
        given.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    elif not given.page:
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            bench = Bench(given.tree, Path(folder), given.pytest.split(), given.limit)
            for mutant in mutants:
                results = _read(given.results)
                column = results.setdefault("columns", {}).setdefault(given.column, {})
                if mutant.name in column and not given.again:
                    continue
                answer = column[mutant.name] = bench.tried(mutant)
                given.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                why = answer.get("by") or answer.get("reason") or ""
                print(f"{answer['said']}: {mutant.room}: {mutant.name} ({why})", flush=True)
    results = _read(given.results)
    if given.results.resolve().parent == RESULTS.parent:
        text = page(every, results, given.list.name)
        given.results.with_suffix(".md").write_text(text, encoding="utf-8")
    column = results.get("columns", {}).get(given.column, {})
    return int(any(_said(column, one) != "killed" for one in mutants))


if __name__ == "__main__":
    sys.exit(main())
