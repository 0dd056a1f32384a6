"""Claim: at a batch of 8192 and width 512 the tiled InfoNCE takes at most 1/4 of the memory and 1.1
x the time of open_clip's ClipLoss.

    python benchmarks/tiled_loss.py [--sizes 1024 2048 4096 8192 16384] [--width 512] [--times 5]
    [--threads 1] [--quick] [--json]

Forward and backward, from raw float32 embeddings [b, width] that want gradients (the loss
normalises them, for the peers too), on the CPU: ours as it ships, ours with its plain path forced
("whole"), and the peer: open_clip's ClipLoss and SigLipLoss, lightly's NTXentLoss where it is
installed.

Time: one process, all variants of a loss in turns, `--times` rounds after one that does not count;
medians, and ratios of medians. Memory: each variant in a fresh process that has run the loss once
on 64 rows (libraries loaded, threads started); the peak of resident memory during one forward and
backward pass, minus the resident memory just before it. So the embeddings do not count, and their
gradients (2 x b x width x 4 bytes) do, for all alike. Linux's high-water mark (VmHWM) is set back
before the pass where it allows that; where not, a peak from before could hide a smaller one, and
the figure is an upper bound. A variant whose logits would not fit in half of the memory that is to
be had is left out.

Linux only. Cost at the default size: about 10 minutes on one quiet core, and 5 GB for lightly's
loss. --quick takes a minute or two and shows nothing but that it runs. InfoNCE alone: --losses
infonce.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from headwater.methods import contrastive

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
TEMPERATURE = 0.07
BIAS = -10.0
KINDS = ("infonce", "nt-xent", "siglip")
VARIANTS = ("ours", "whole", "peer")
MATRICES = 6
"""Matrices of logits that a plain loss holds at its peak, and some room: 4.6 were measured of
lightly's, 4.3 of open_clip's ClipLoss.
"""


def peer_name(kind: str) -> str:
    return {
        "infonce": "open_clip ClipLoss",
        "nt-xent": "lightly NTXentLoss",
        "siglip": "open_clip SigLipLoss",
    }[kind]


def make(kind: str, variant: str) -> Loss:
    """A loss of two kinds of raw embeddings; its learned scalars want gradients as well."""
    scale, bias = (
        torch.tensor(1 / TEMPERATURE, requires_grad=True),
        torch.tensor(BIAS, requires_grad=True),
    )
    if variant == "peer":
        return peer(kind, scale, bias)
    ours: dict[str, Loss] = {
        "infonce": lambda a, b: contrastive.clip_loss(a, b, scale),
        "nt-xent": lambda a, b: contrastive.nt_xent(a, b, TEMPERATURE),
        "siglip": lambda a, b: contrastive.siglip_loss(a, b, scale, bias),
    }
    return ours[kind] if variant == "ours" else whole(ours[kind])


def peer(kind: str, scale: torch.Tensor, bias: torch.Tensor) -> Loss:
    if kind == "nt-xent":
        from lightly.loss import NTXentLoss

        return NTXentLoss(TEMPERATURE)
    from open_clip.loss import ClipLoss, SigLipLoss

    loss, learned = (ClipLoss(), (scale,)) if kind == "infonce" else (SigLipLoss(), (scale, bias))
    return lambda a, b: loss(F.normalize(a, dim=1), F.normalize(b, dim=1), *learned)


def whole(loss: Loss) -> Loss:
    def plain(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        limit, contrastive.MOST_LOGITS = contrastive.MOST_LOGITS, 1 << 62
        try:
            return loss(a, b)
        finally:
            contrastive.MOST_LOGITS = limit

    return plain


def embeddings(b: int, width: int) -> list[torch.Tensor]:
    """Two kinds that somewhat belong together."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(b, width, generator=generator)
    second = 0.5 * first + torch.randn(b, width, generator=generator)
    return [first.requires_grad_(), second.requires_grad_()]


def once(loss: Loss, given: list[torch.Tensor]) -> float:
    for t in given:
        t.grad = None
    value = loss(given[0], given[1])
    value.backward()
    return value.item()


def fits(kind: str, variant: str, b: int) -> bool:
    rows = 2 * b if kind == "nt-xent" else b
    free = in_kib(Path("/proc/meminfo"), "MemAvailable")
    return variant == "ours" or MATRICES * 4 * rows**2 < free / 2


def times(kind: str, variants: list[str], b: int, width: int, rounds: int) -> dict[str, float]:
    """Median seconds of each variant, in turns. Their values have to agree."""
    losses = {variant: make(kind, variant) for variant in variants}
    given = embeddings(b, width)
    values = {variant: once(loss, given) for variant, loss in losses.items()}
    assert max(values.values()) - min(values.values()) < 1e-4, values
    seconds: dict[str, list[float]] = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant, loss in losses.items():
            start = time.perf_counter()
            once(loss, given)
            seconds[variant].append(time.perf_counter() - start)
    return {variant: statistics.median(own) for variant, own in seconds.items()}


def resident(word: str = "VmRSS") -> int:
    """Bytes that this process holds, or with VmHWM held at its peak. (The peak that getrusage gives
    starts at that of the process before exec.)
    """
    return in_kib(Path("/proc/self/status"), word)


def in_kib(file: Path, word: str) -> int:
    """Bytes, from a line `word: number kB`."""
    return 1024 * next(
        int(line.split()[1])
        for line in file.read_text().splitlines()
        if line.startswith(f"{word}:")
    )


def rise(kind: str, variant: str, b: int, width: int) -> int:
    """Bytes by which this process grows in one pass (see above)."""
    loss = make(kind, variant)
    once(loss, embeddings(64, width))
    given = embeddings(b, width)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = resident()
    once(loss, given)
    return resident("VmHWM") - before


def rise_apart(kind: str, variant: str, b: int, width: int, threads: int) -> int:
    words = [
        "--memory-of",
        kind,
        variant,
        "--sizes",
        str(b),
        "--width",
        str(width),
        "--threads",
        str(threads),
    ]
    done = subprocess.run(
        [sys.executable, __file__, *words], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    began = os.getloadavg()
    for b in options.sizes:
        for kind in options.losses:
            there = [
                v
                for v in VARIANTS
                if fits(kind, v, b)
                and not (v == "peer" and kind == "nt-xent" and not has_lightly())
            ]
            seconds = times(kind, there, b, options.width, options.times)
            memory = {
                variant: rise_apart(kind, variant, b, options.width, options.threads)
                for variant in there
            }
            found.append({"loss": kind, "batch": b, "seconds": seconds, "bytes": memory})
    return {
        "width": options.width,
        "times": options.times,
        "threads": options.threads,
        "versions": {
            name: version(name)
            for name in ("torch", "open_clip_torch", *(["lightly"] if has_lightly() else []))
        },
        "load before": began,
        "load after": os.getloadavg(),
        "rows": found,
    }


def has_lightly() -> bool:
    return importlib.util.find_spec("lightly") is not None


def page(found: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    loads = " and ".join(f"{found[when][0]:.1f}" for when in ("load before", "load after"))
    lines = [
        f"Width {found['width']}, float32, forward and backward, {found['threads']} thread(s), "
        f"medians of {found['times']} in turns; {versions}; "
        f"load average {loads} before and after.",
        "",
        "| loss | batch | ours s | whole s | peer | peer s | time ours / peer | ours MB | whole MB "
        "| peer MB | memory ours / peer |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        seconds, megabytes = (
            row["seconds"],
            {variant: n / 1e6 for variant, n in row["bytes"].items()},
        )
        cells = [row["loss"], f"{row['batch']:,}"]
        cells += [
            shown(seconds, "ours", 3),
            shown(seconds, "whole", 3),
            peer_name(row["loss"]),
            shown(seconds, "peer", 3),
            ratio(seconds),
        ]
        cells += [*(shown(megabytes, variant, 0) for variant in VARIANTS), ratio(megabytes)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shown(numbers: dict[str, float], variant: str, digits: int) -> str:
    return f"{numbers[variant]:,.{digits}f}" if variant in numbers else "not run"


def ratio(numbers: dict[str, float]) -> str:
    return f"{numbers['ours'] / numbers['peer']:.2f}" if "peer" in numbers else ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[8192])
    parser.add_argument("--losses", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="only whether it runs")
    parser.add_argument("--json", action="store_true", help="numbers, not a page")
    parser.add_argument("--memory-of", nargs=2, metavar=("LOSS", "VARIANT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(rise(*options.memory_of, options.sizes[0], options.width))
        return
    if options.quick:
        options.sizes, options.width, options.times = [2304], 64, 1
    found = measure(options)
    print(json.dumps(found) if options.json else page(found))


if __name__ == "__main__":
    main()
