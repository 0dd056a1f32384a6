"""What digests cost a study: for benchmarks/bit_flips.py."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from pages import Page, table

import headwater as hw
from headwater import digests, files, models
from headwater.methods import text
from headwater.sources.pixels import chunks
from headwater.study import Study
from headwater.transfer import features as kept
from headwater.work import leaks

LIMIT = 0.03


class Clock:
    """Seconds within some functions; what they call of each other counts once."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self._depth += 1
            began = time.perf_counter()
            try:
                return function(*args, **named)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - began

        return call


def no_digest(*args: Any) -> str:
    return "0" * 64


HASHED = [(room, "file_sha256") for room in (files, models, leaks, text)]
TIMED: list[tuple[Any, str]] = [
    (digests, "record_digest"),
    (digests, "_check_trailer"),
    (chunks.Chunks, "check"),
    (chunks.Checksums, "add"),
    (kept, "_digest"),
    *HASHED,
]
"""All that digests."""
OFF: list[tuple[Any, str, Any]] = [
    (digests, "record_digest", no_digest),
    (digests, "_check_trailer", no_digest),
    (chunks.Chunks, "check", no_digest),
    (chunks, "zlib", SimpleNamespace(crc32=lambda *data: 0)),
    (kept, "_digest", no_digest),
    *((room, name, no_digest) for room, name in HASHED),
]
"""What it is replaced by, to switch it off: every digest is the same, so what is written is found
again.
"""


@contextmanager
def patched(changes: list[tuple[Any, str, Any]]) -> Iterator[None]:
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def cost(page: Page, folder: Path, repeats: int) -> None:
    """Two studies of the generated world: one as people run them, and one that trains nothing, so
    that all it does is to decode, to read and to fit probes.
    """
    world = {"kind": "world", "families": 4, "species": 4}
    common = {
        "data": {
            "paint": {**world, "train": 4000, "val": 0, "test": 0},
            "sketch": {**world, "domain": "sketch", "train": 2000, "val": 400, "test": 800},
        },
        "sources": ["paint"],
        "labels": ["level:0"],
        "seeds": 1,
        "tasks": {"sketch": {"data": "sketch"}},
        "protocols": {"probe": {"shots": ["full", 5], "draws": 2}},
    }
    studies = {
        "supervised and SimCLR, 200 steps of 128": {
            "methods": ["supervised", "simclr"],
            "budget": {"steps": 200},
            "recipe": {"batch": 128},
        },
        "no training: features and probes": {"methods": ["scratch"], "budget": {"steps": 1}},
    }
    body = []
    for name, words in studies.items():
        study = Study.model_validate({"study": "cost", **common, **words})
        checked, without, shares = [], [], []
        for at in range(repeats):
            clock = Clock()
            watched = [(o, name, clock.timed(getattr(o, name))) for o, name in TIMED]
            with patched(watched):
                checked.append(seconds_of(study, folder / f"checked-{at}"))
            shares.append(clock.seconds / checked[-1])
            with patched(OFF):
                without.append(seconds_of(study, folder / f"without-{at}"))
        share = float(np.median(shares))
        ratio = float(np.median(checked) / np.median(without))
        body.append([name, f"{np.median(checked):.1f}", f"{100 * share:.2f} %", f"{ratio:.3f}"])
        page.limit(f"{name}: checking takes at most {100 * LIMIT:.0f} %", share <= LIMIT)
    head = ["study", "seconds", "of them in digests", "time with checks to without"]
    page.say("## Cost", "", f"Medians of {repeats} runs each, in turn.", "", *table(head, body), "")


def seconds_of(study: Study, store: Path) -> float:
    began = time.perf_counter()
    rows = hw.run(study, store=store, device="cpu", engine="inline")
    took = time.perf_counter() - began
    assert set(rows["status"]) == {"done"}, rows["reason"].dropna().unique()
    shutil.rmtree(store)
    return took
