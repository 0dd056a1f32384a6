"""What digests cost a study: for benchmarks/bit_flips.py."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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

    def timed(self, function: Callable[..., Any], answer: Any) -> Callable[..., Any]:
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


CHECKS: tuple[tuple[Any, str, Any], ...] = (
    (digests, "record_digest", "0" * 64),
    (digests, "_check_trailer", None),
    (chunks.Chunks, "check", None),
    (chunks.ChunkHashes, "add", None),
    (kept, "_digest", "0" * 32),
    *((room, "file_sha256", "0" * 64) for room in (files, models, leaks, text)),
)
"""What digests, and what it answers where it is switched off: always the same, so that what was
written is found again.
"""
Replace = Callable[[Callable[..., Any], Any], Callable[..., Any]]


@contextmanager
def patched(replace: Replace) -> Iterator[None]:
    """Each function of CHECKS replaced by what `replace` makes of it and its answer."""
    before = [getattr(owner, name) for owner, name, _ in CHECKS]
    for (owner, name, answer), function in zip(CHECKS, before, strict=True):
        setattr(owner, name, replace(function, answer))
    try:
        yield
    finally:
        for (owner, name, _), function in zip(CHECKS, before, strict=True):
            setattr(owner, name, function)


def off(function: Callable[..., Any], answer: Any) -> Callable[..., Any]:
    return lambda *args, **named: answer


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
            with patched(clock.timed):
                checked.append(seconds_of(study, folder / f"checked-{at}"))
            shares.append(clock.seconds / checked[-1])
            with patched(off):
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
