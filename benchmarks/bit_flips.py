"""Claim: a flipped bit in any file of a store, or of a list of digests, changes no row and no id in
silence: it is healed and told, refused, or changes nothing.

    python benchmarks/bit_flips.py [--flips 2000] [--runs 400] [--seed 0] [--only flips cost]
        [--write]

A study of four small arms (SimCLR, supervised by class and by clusters, CLIP) on folders of 132
pictures is run once. Then its store is taken back to the middle: one arm is at the last but one
step of its training, with two checkpoints; of the others some cells are not measured. What is left
to do reads every kind of file. A flip takes a kind (in turn), a file of it and one of its bits.
`--runs` of the flips are followed by a whole `headwater.run` of the study in a copy of that store,
and its rows (all that are not volatile), ids and encoders are compared with the first run's; the
others by the reader of that kind, whose answer is compared with that for the file as it was.

  healed      the same answer, and a line that says what was made again (a checkpoint before the
              newest is one: the run goes on from there, and ends with the same bits)
  refused     an error that names the file, or a row of status failed with it
  no change   the same answer without a word: nobody asked for these bytes, or the flip left the
              same JSON
  silent      another answer without a word: there should be none

Cost: the time within the functions that digest, as a share of the whole time of a study, in this
process (engine inline); and whole runs with the checks switched off, in turn with runs as they are.

Cost of it all: about 15 minutes. Exit code 1 where a flip was silent, or checking took more than
3 %.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from checking_cost import cost
from flipped_stores import KINDS, Bench, Readers, prepared
from pages import Page, table

from headwater.errors import InputError
from headwater.plan import Plan
from headwater.rows import comparable
from headwater.store import Store

HERE = Path(__file__).parent


class Told(logging.Handler):
    """Counts the lines that were told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def flip(path: Path, random: np.random.Generator) -> None:
    """One bit of a file becomes the other."""
    data = bytearray(path.read_bytes())
    bit = int(random.integers(8 * len(data)))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@contextmanager
def listening() -> Iterator[Told]:
    told, logger = Told(), logging.getLogger("headwater")
    logger.addHandler(told)
    try:
        yield told
    finally:
        logger.removeHandler(told)


def outcome(answer: Callable[[], str], expected: str) -> str:
    with listening() as told:
        try:
            same = answer() == expected
        except InputError:
            return "refused"
    if same:
        return "healed" if told.lines else "no change"
    return "silent"


def after_a_run(bench: Bench, store: Path) -> str:
    """What a whole run of the study says, in words that can be compared."""
    rows = bench.run(store)
    failed = rows[rows["status"] == "failed"]
    done = comparable(rows[rows["status"] != "failed"]).reset_index(drop=True)
    as_before = bench.rows[bench.rows["cell"].isin(set(done["cell"]))].reset_index(drop=True)
    if set(rows["cell"]) != set(bench.rows["cell"]) or not done.equals(as_before):
        return "other rows"
    if len(failed):
        raise InputError(str(failed["reason"].iloc[0]))
    opened = Store(store)
    found = {arm: opened.read_arm(arm)["encoder_sha256"] for arm in bench.encoders}
    return "as it was" if found == bench.encoders else "other encoders"


def flips(page: Page, bench: Bench, number: int, runs: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    copy = bench.root / "copy"
    shutil.copytree(bench.store, copy)
    plan = Plan.make(bench.study, data_root=bench.root, cache=Store(copy).cache)
    newest: dict[Path, str] = {}
    readers = Readers(bench, plan, Store(copy), newest)
    paths = {kind: sorted(copy.glob(pattern)) for kind, pattern in KINDS.items()}
    assert all(paths.values()), {kind for kind, found in paths.items() if not found}
    before: dict[Path, str] = {}
    for kind, found in paths.items():
        for path in found:
            before[path] = readers.read(kind, path)
            if kind.startswith("checkpoint"):
                newest[path.parent] = before[path]
    by_reader = {kind: Counter[str]() for kind in KINDS}
    by_run = {kind: Counter[str]() for kind in KINDS}
    every = max(1, number // runs) if runs else number + 1
    for at in range(number):
        kind = list(KINDS)[at % len(KINDS)]
        path = paths[kind][int(random.integers(len(paths[kind])))]
        if at // len(KINDS) % every == 0:
            work = bench.root / "run"
            shutil.copytree(bench.store, work)
            flip(work / path.relative_to(copy), random)
            found_now = outcome(partial(after_a_run, bench, work), "as it was")
            by_run[kind][found_now] += 1
            shutil.rmtree(work)
        else:
            whole = path.parent if path.parent != copy else path
            flip(path, random)
            found_now = outcome(partial(readers.read, kind, path), before[path])
            by_reader[kind][found_now] += 1
            restore(bench.store / whole.relative_to(copy), whole)
        if found_now == "silent":
            print(f"silent: {kind}, {path.relative_to(copy)}, flip {at}", flush=True)
    report(page, paths, by_reader, by_run)


def restore(whole: Path, to: Path) -> None:
    """A file, or the files of a folder, as they were."""
    if whole.is_file():
        shutil.copy2(whole, to)
        return
    for path in to.iterdir():
        if path.is_file():
            path.unlink()
    shutil.copytree(whole, to, dirs_exist_ok=True)


WORDS = ("healed", "refused", "no change", "silent")


def report(
    page: Page,
    paths: dict[str, list[Path]],
    by_reader: dict[str, Counter[str]],
    by_run: dict[str, Counter[str]],
) -> None:
    total = Counter[str]()
    body = []
    for kind, found in paths.items():
        counts = [by_run[kind][word] for word in WORDS] + [by_reader[kind][word] for word in WORDS]
        total.update(by_run[kind])
        total.update(by_reader[kind])
        body.append([kind, str(len(found)), *map(str, counts)])
    ran = sum(sum(found.values()) for found in by_run.values())
    page.say(
        "## Flips",
        "",
        f"{sum(total.values()):,} flips, {ran:,} of them followed by a whole run of the study, the "
        f"others by who reads that kind: {total['healed']:,} healed and told, "
        f"{total['refused']:,} refused, {total['no change']:,} without an effect, "
        f"**{total['silent']:,} silent**.",
        "",
    )
    head = ["kind", "files", *(f"run: {word}" for word in WORDS), *(f"read: {w}" for w in WORDS)]
    page.say(*table(head, body), "")
    page.limit("no silent difference", total["silent"] == 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=("flips", "cost"), default=("flips", "cost"))
    parser.add_argument("--write", action="store_true", help="write benchmarks/bit_flips.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    page = Page()
    page.say(
        "# Flipped bits of a store, and what checking costs",
        "",
        f"`python benchmarks/bit_flips.py --flips {given.flips} --runs {given.runs} "
        f"--seed {given.seed} --write`: what is flipped, and what the words mean, stands in the "
        "script.",
        "",
    )
    with tempfile.TemporaryDirectory(prefix="bit-flips-") as name:
        if "flips" in given.only:
            flips(page, prepared(Path(name)), given.flips, given.runs, given.seed)
        if "cost" in given.only:
            cost(page, Path(name), given.repeats)
    page.say(f"Limits missed: {len(page.missed)}.", *(f"- {missed}" for missed in page.missed))
    if given.write:
        (HERE / "bit_flips.md").write_text("\n".join(page.lines) + "\n", encoding="utf-8")
    return int(bool(page.missed))


if __name__ == "__main__":
    sys.exit(main())
