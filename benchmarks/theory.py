"""Claim: a gradient step of simulated networks reaches half of the FLOP/s of plain matrix products
of the same shapes; the default sweep takes under 5 minutes.

    python benchmarks/theory.py [--step] [--sweep] [--rounds 5] [--quick] [--json FILE]

--step: for networks of several shapes, one thread, in turns: the two matrix products that a step
cannot do without (plain), the gradient step without making data (gradient), the whole step as a
sweep does it (data, labels, gradient, update; networks side by side), and the same networks trained
one at a time by autograd and torch's SGD on the same keyed samples (autograd). Medians over rounds;
FLOPs are those of the two products, multiply-add = 2.

--sweep: the shipped sweep as the command runs it, in a new store: networks and minutes, and the
hard errors under coarse labels that it finds.

Both where neither is named. Cost: about 10 minutes. --quick runs small and shows nothing but that
it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import torch

from headwater import keys
from headwater.theory.simulation import (
    Experiment,
    Labels,
    Recipe,
    World,
    draws,
    gradients,
    samples,
    train,
)
from headwater.theory.simulation.network import initial

FULL = {"d": 512}, {"width": 32, "batch": 256}
DEFAULT = {"d": 128}, {"width": 16, "batch": 128, "lr": 1.0}
SHAPES = [
    ("default", k, labels) for k, labels in ((8, "coarse"), (4, "fine"), (16, "fine"), (32, "fine"))
]
SHAPES += [
    ("numerical check", k, labels)
    for k, labels in ((8, "coarse"), (4, "fine"), (16, "fine"), (32, "fine"))
]
SEEDS = {"coarse": 10, "fine": 5}
WANTED = 0.5


def experiments(size: str, k: int, labels: str, count: int, steps: int) -> list[Experiment]:
    data, network = DEFAULT if size == "default" else FULL
    return [
        Experiment(
            World(k=k, **data), labels, Recipe(**network, stop_loss=0.0, max_steps=steps), seed
        )
        for seed in range(count)
    ]


def timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def one_at_a_time(wanted: list[Experiment]) -> list[torch.Tensor]:
    """The same networks by autograd: what one would write without this room, on the same samples.

    Their weights [d, neurons].
    """
    trained = []
    for one in wanted:
        world, recipe, heads = one.world, one.recipe, one.heads
        weight = torch.nn.Parameter(
            initial(
                [keys.key(one.seed, "theory", "init", heads * one.width)],
                world.d,
                heads * one.width,
            )[0]
            * recipe.init
        )
        optimiser = torch.optim.SGD([weight], lr=one.rate(heads))
        view = Labels(one.labels, world.k)
        for step in range(recipe.max_steps):
            drawn = draws(
                recipe.batch, world.patches, world.d, seed=one.seed, purpose="train", step=step
            )
            batch = samples(world, drawn)
            hidden = torch.relu(batch.x @ weight + recipe.bias)
            scores = (
                hidden.view(recipe.batch, world.patches, heads, one.width).sum(dim=1).mean(dim=2)
            )
            loss = torch.nn.functional.cross_entropy(
                scores, view.targets(batch.subclass, drawn.uniform, seed=one.seed)
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        trained.append(weight.detach())
    return trained


def step_times(size: str, k: int, labels: str, rounds: int, *, quick: bool) -> dict[str, Any]:
    """Seconds per network and step of the four, by round."""
    count = 2 if quick else SEEDS[labels]
    steps = 2 if quick else (20 if size == "default" else 6)
    wanted = experiments(size, k, labels, count, steps)
    one = wanted[0]
    world, recipe, neurons = one.world, one.recipe, one.heads * one.width
    x = torch.stack(
        [
            samples(
                world, draws(recipe.batch, world.patches, world.d, seed=seed, purpose="benchmark")
            ).x
            for seed in range(count)
        ]
    )
    rows = x.view(count, -1, world.d)
    weight = initial(range(count), world.d, neurons) * recipe.init
    slope, hidden, error = (
        torch.empty_like(weight),
        torch.empty(count, rows.shape[1], neurons),
        torch.randn(count, rows.shape[1], neurons),
    )
    target = torch.randint(one.heads, (count, recipe.batch))

    def plain() -> None:
        torch.bmm(rows, weight, out=hidden)
        torch.bmm(rows.transpose(1, 2), error, out=slope)

    def gradient() -> None:
        gradients(x, weight, target, one.heads, width=one.width, bias=recipe.bias, out=slope)

    found: dict[str, list[float]] = {
        name: [] for name in ("plain", "gradient", "whole", "autograd")
    }
    for turn in range(rounds + 1):
        now = {
            "plain": min(timed(plain) for _ in range(3)) / count,
            "gradient": min(timed(gradient) for _ in range(3)) / count,
            "whole": timed(lambda: list(train(wanted))) / (count * (steps + 1)),
            "autograd": timed(lambda: one_at_a_time(wanted)) / (count * steps),
        }
        for name, seconds in now.items() if turn else ():  # the first does not count
            found[name].append(seconds)
    flops = 4.0 * recipe.batch * world.patches * world.d * neurons
    return {
        "size": size,
        "k": k,
        "labels": labels,
        "networks": count,
        "neurons": neurons,
        "flops": flops,
        "seconds": found,
        "load": machine.load(),
    }


def step_table(found: list[dict[str, Any]], *, quick: bool) -> str:
    head = (
        "size",
        "k",
        "labels",
        "networks",
        "neurons each",
        "plain, GFLOP/s",
        "gradient's FLOP/s / plain",
        "whole step's / plain",
        "autograd's time / ours",
    )
    lines = []
    for one in found:
        seconds = one["seconds"]
        share = machine.Spread.of(
            [a / b for a, b in zip(seconds["plain"], seconds["gradient"], strict=True)]
        )
        whole = machine.Spread.of(
            [a / b for a, b in zip(seconds["plain"], seconds["whole"], strict=True)]
        )
        peer = machine.Spread.of(
            [a / b for a, b in zip(seconds["autograd"], seconds["whole"], strict=True)]
        )
        speed = one["flops"] / machine.Spread.of(seconds["plain"]).median / 1e9
        said = "" if quick else machine.met(share.median, WANTED)
        shape = [str(one[name]) for name in ("size", "k", "labels", "networks", "neurons")]
        lines.append(
            [
                *shape,
                f"{speed:.0f}",
                share.text(),
                whole.text(),
                peer.text(),
                f"{one['load']:.1f}",
                said,
            ]
        )
    return machine.table((*head, "load", f"wanted {WANTED}"), lines)


def sweep(*, quick: bool) -> dict[str, Any]:
    """The shipped sweep in a new store, by the command."""
    with tempfile.TemporaryDirectory() as folder:
        options = (
            [
                "--subclasses",
                "1,2",
                "--seeds",
                "1",
                "--set",
                "d=16",
                "--set",
                "width=4",
                "--set",
                "max_steps=30",
            ]
            if quick
            else []
        )
        command = [
            sys.executable,
            "-m",
            "headwater.cli",
            "theory",
            "run",
            *options,
            "--store",
            str(Path(folder) / "store"),
            "--json",
        ]
        began = time.monotonic()
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, env=dict(os.environ)
        )
        seconds = time.monotonic() - began
    if answer.returncode:
        raise SystemExit(answer.stderr)
    rows = [row for row in json.loads(answer.stdout) if row["final"]]
    coarse = [
        row
        for row in rows
        if row["labels"] == "coarse"
        and row["read_out"] == "max"
        and "transition" in row["sweep"]
        and row["sigma_star"] == 0.5
    ]
    errors_of: dict[int, list[float]] = {}
    for row in sorted(coarse, key=lambda row: row["subclasses"]):
        errors_of.setdefault(row["subclasses"], []).append(row["hard_error"])
    hard_errors = {str(k): sum(errors) / len(errors) for k, errors in errors_of.items()}
    return {
        "seconds": seconds,
        "networks": len({row["arm"] for row in rows}),
        "rows": len(rows),
        "hard_errors": hard_errors,
        "load": machine.load(),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--step", action="store_true")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    both = not (options.step or options.sweep)
    torch.set_num_threads(1)
    about = machine.facts()
    print(machine.facts_line(about), "\n")
    found: dict[str, Any] = {"facts": about}
    if options.step or both:
        shapes = SHAPES[:2] if options.quick else SHAPES
        found["step"] = [
            step_times(*shape, 1 if options.quick else options.rounds, quick=options.quick)
            for shape in shapes
        ]
        print(step_table(found["step"], quick=options.quick), "\n")
    if options.sweep or both:
        found["sweep"] = one = sweep(quick=options.quick)
        said = (
            ""
            if options.quick
            else " (wanted: 200 or more in under 5 minutes: "
            f"{'met' if one['seconds'] < 300 and one['networks'] >= 200 else 'MISSED'})"
        )
        print(
            f"the shipped sweep: {one['networks']} networks in {one['seconds'] / 60:.1f} "
            f"minutes{said}, load {one['load']:.1f}"
        )
        if one["hard_errors"]:
            print(
                "hard errors under coarse labels:",
                ", ".join(f"{error:.3f} at k = {k}" for k, error in one["hard_errors"].items()),
            )
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
