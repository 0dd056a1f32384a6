"""Probes beside their peers: scikit-learn's logistic regression in a loop, and clip-benchmark's
sweep; and the whole grid of Entezari et al. 2023 by ridge.

    python benchmarks/transfer.py --probes
        one encoder, one task, shots 1, 5, 10, 20, 10 draws, 45 values of l2: ridge and logistic
        regression against a loop of LogisticRegression fits
    python benchmarks/transfer.py --probes --task caltech101 --draws 1 --every 5
        100 classes: fewer draws and values, the same on all sides
    python benchmarks/transfer.py --sweep
        clip-benchmark's sweep of 20 trainings on the same features (pip install clip-benchmark)
    python benchmarks/transfer.py --grid
        9 tasks x 5 shot counts by ridge (5 draws at few shots, one of all images: 189 cells) on
        random features of 2,048 dimensions, sizes as published

The encoder is a ResNet-18 at 32 px, trained here on Caltech-101 or plantvillage15 (the one that the
task is not) for `--images` images; photos come from HEADWATER_DATA. All sides see the same features
of the same images, standardised by the training images (clip-benchmark: divided by their length,
its default), choose on the same validation images, are scored once on the same full test set, and
run on as many threads (`--threads`).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before numpy is there
    _parser = argparse.ArgumentParser(add_help=False)
    _parser.add_argument("--threads", default="1")
    _threads = _parser.parse_known_args()[0].threads
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[_name] = _threads

import numpy as np
from machine import Spread, facts, facts_line, table

from headwater.study import Study
from headwater.transfer.linear import cross_entropy
from headwater.transfer.probe import Fit, probes
from headwater.transfer.ridge import ridges

SHOTS = (1, 5, 10, 20)
LOGISTIC_L2 = tuple(np.logspace(-6, 2, 45).tolist())
RIDGE_L2 = tuple(np.logspace(-6, 5, 45).tolist())
"""45 values each. Ridge's is a penalty of squared errors and reaches further."""


# real features
@dataclass
class Benched:
    """A task with its features, float32 [images, d], and the draws of it."""

    name: str
    features: np.ndarray
    labels: np.ndarray
    num_classes: int
    test: np.ndarray
    """Rows of the test images."""
    full: tuple[np.ndarray, np.ndarray]
    """(train rows, val rows)."""
    draws: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]

    def fit(self, rows: tuple[np.ndarray, np.ndarray]) -> Fit:
        train, val = rows
        return Fit(self.features[train], self.labels[train], self.features[val], self.labels[val])

    def accuracy(self, predictions: np.ndarray) -> float:
        return float((predictions == self.labels[self.test]).mean())


def benched(
    task: str, draws: int, images: int, backbone: str, data_root: Path, store: Path
) -> Benched:
    """Train the encoder and extract a task's features, by the code that studies run."""
    from headwater import device, work
    from headwater.plan import Plan
    from headwater.store import Store

    source = "plantvillage15" if task == "caltech101" else "caltech101"
    words = {
        "study": "benchmark",
        "data": {name: {"kind": "folder", "path": name} for name in (source, task)},
        "sources": [source],
        "methods": ["supervised"],
        "seeds": [0],
        "backbone": backbone,
        "budget": {"images_seen": images},
        "tasks": {task: {"data": task}},
    }
    opened = Store(store, create=True)
    plan = Plan.make(Study.model_validate(words), data_root=data_root, cache=opened.cache)
    compute = device.resolve("cpu", "auto")
    session = work.Session(plan, opened, compute)
    work.run_arm(session, plan.arms[0])
    bench = work.Bench(session, plan.arms[0], task)
    planned = plan.tasks[task]
    drawn = {}
    for shots in SHOTS:
        for i in range(draws):
            draw = planned.draw(shots, i, seed=0, val="matched")
            drawn[shots, i] = (bench.rows_of(draw.train), bench.rows_of(draw.val))
    return Benched(
        task,
        np.array(bench.features(bench.positions)),
        planned.labels[bench.positions],
        planned.num_classes,
        bench.rows_of(planned.test),
        (bench.rows_of(planned.train), bench.rows_of(planned.val)),
        drawn,
    )


# one side each: (seconds, test accuracy of every draw)
def ours(
    task: Benched, shots: int, draws: int, l2s: tuple[float, ...], *, ridge: bool
) -> tuple[float, list[float], list[Any]]:
    began = time.perf_counter()
    fits = [task.fit(task.draws[shots, i]) for i in range(draws)]
    found = (ridges if ridge else probes)(fits, task.num_classes, l2s)
    scored = [
        task.accuracy(one.head.logits(task.features[task.test]).argmax(axis=1)) for one in found
    ]
    return time.perf_counter() - began, scored, found


def scikit(
    task: Benched, shots: int, draws: int, l2s: tuple[float, ...]
) -> tuple[float, list[float]]:
    """A fit for every draw and l2, at scikit-learn's tolerance, at most 1,000 iterations as CLIP's
    linear probe allows; the choice by ours' rule.
    """
    from sklearn.linear_model import LogisticRegression

    began = time.perf_counter()
    scored = []
    for i in range(draws):
        fit = task.fit(task.draws[shots, i])
        mean, deviation = fit.train.mean(axis=0), fit.train.std(axis=0)
        deviation[deviation == 0] = 1
        train, val = (fit.train - mean) / deviation, (fit.val - mean) / deviation
        best: tuple[tuple[float, float, float], Any] | None = None
        for l2 in l2s:
            model = LogisticRegression(C=1 / (l2 * len(train)), max_iter=1000).fit(
                train, fit.train_labels
            )
            logits = model.decision_function(val)
            key = (
                float((model.classes_[logits.argmax(axis=1)] == fit.val_labels).mean()),
                -cross_entropy(logits, fit.val_labels),
                l2,
            )
            if best is None or key > best[0]:
                best = key, model
        assert best is not None
        scored.append(task.accuracy(best[1].predict((task.features[task.test] - mean) / deviation)))
    return time.perf_counter() - began, scored


def loss_gap(task: Benched, shots: int, l2s: tuple[float, ...]) -> tuple[float, float]:
    """Largest (ours - optimum, scikit-learn's default - optimum) of the loss in nats over l2s,
    where the optimum is scikit-learn's at a tolerance of 1e-10.
    """
    from sklearn.linear_model import LogisticRegression

    from headwater.transfer.probe import fit_path

    fit = task.fit(task.draws[shots, 0])
    mean, deviation = (
        fit.train.mean(axis=0, dtype=np.float64),
        fit.train.std(axis=0, dtype=np.float64),
    )
    deviation[deviation == 0] = 1
    z = (fit.train - mean) / deviation
    gaps = []
    heads = fit_path(fit.train, fit.train_labels, task.num_classes, l2s)
    for l2 in l2s:

        def loss(logits: np.ndarray, weight: np.ndarray, l2: float = l2) -> float:
            return cross_entropy(logits, fit.train_labels) + l2 / 2 * float(np.square(weight).sum())

        found = []
        for tol, most in ((1e-10, 20_000), (1e-4, 1000)):
            model = LogisticRegression(C=1 / (l2 * len(z)), tol=tol, max_iter=most).fit(
                z, fit.train_labels
            )
            found.append(loss(model.decision_function(z), model.coef_))
        gaps.append(
            (loss(heads[l2].logits(fit.train), heads[l2].weight) - found[0], found[1] - found[0])
        )
    return max(gap[0] for gap in gaps), max(gap[1] for gap in gaps)


def run_probes(task: Benched, draws: int, every: int, rounds: int) -> dict[str, Any]:
    logistic_l2, ridge_l2 = LOGISTIC_L2[::every], RIDGE_L2[::every]
    seconds: dict[str, list[dict[int, float]]] = {"scikit-learn": [], "logistic": [], "ridge": []}
    scores: dict[str, dict[int, list[float]]] = {}
    for _ in range(rounds):
        for side in seconds:
            seconds[side].append({})
        for shots in SHOTS:  # sides take turns within a round
            sides = {
                "logistic": lambda shots=shots: ours(task, shots, draws, logistic_l2, ridge=False)[
                    :2
                ],
                "ridge": lambda shots=shots: ours(task, shots, draws, ridge_l2, ridge=True)[:2],
                "scikit-learn": lambda shots=shots: scikit(task, shots, draws, logistic_l2),
            }
            for side, run in sides.items():
                taken, scored = run()
                seconds[side][-1][shots] = taken
                scores.setdefault(side, {})[shots] = scored
                print(
                    f"{side}, {shots} shots: {taken:.2f} s, {100 * np.mean(scored):.2f} %",
                    file=sys.stderr,
                    flush=True,
                )
    return {"seconds": seconds, "scores": scores}


def say_probes(
    task: Benched,
    found: dict[str, Any],
    draws: int,
    every: int,
    gaps: dict[int, tuple[float, float]],
) -> None:
    seconds, scores = found["seconds"], found["scores"]
    values = len(LOGISTIC_L2[::every])
    about = (
        f"{task.features.shape[1]} features, {task.num_classes} classes, {len(task.test):,} test "
        "images"
    )
    print(
        f"\n{task.name}: {about}; {draws} draws, {values} values of l2, {4 * draws * values:,} "
        "fits\n"
    )
    rows = []
    for side in ("scikit-learn", "logistic", "ridge"):
        cells = [side]
        for shots in SHOTS:
            cells.append(
                f"{Spread.of([one[shots] for one in seconds[side]]).median:.2f} s, "
                f"{100 * np.mean(scores[side][shots]):.2f} %"
            )
        total = [sum(one.values()) for one in seconds[side]]
        ratios = [
            sum(theirs.values()) / sum(mine.values())
            for theirs, mine in zip(seconds["scikit-learn"], seconds[side], strict=True)
        ]
        difference = (
            np.mean([np.mean(scores[side][s]) - np.mean(scores["scikit-learn"][s]) for s in SHOTS])
            * 100
        )
        rows.append(
            [
                *cells,
                f"{Spread.of(total).text(1)} s",
                f"{Spread.of(ratios).text(1)} x",
                f"{difference:+.2f}",
            ]
        )
    print(
        table(
            [
                "side",
                *[f"{s} shots" for s in SHOTS],
                "all (range over rounds)",
                "times faster than scikit-learn",
                "mean accuracy less its, points",
            ],
            rows,
        )
    )
    for shots, (mine, theirs) in gaps.items():
        some = len(LOGISTIC_L2[:: 4 * every])
        what = f"loss above the optimum at {shots} shots, largest over {some} of the {values} l2"
        print(f"\n{what}: ours {mine:.1e} nats, scikit-learn at its tolerance {theirs:.1e}")


# clip-benchmark
def clip_benchmark(
    task: Benched,
    rows: tuple[np.ndarray, np.ndarray],
    *,
    whole: bool,
    epochs: int = 10,
    batch: int = 64,
    lr: float = 0.1,
) -> tuple[float, float]:
    """(seconds, test accuracy) of its sweep, 7 + 4 x 3 + 1 trainings, by its own functions
    `find_peak`, `train` and `infer`, on a processor.

    It insists on CUDA by calling `.cuda()`; here that does nothing. Defaults of its command line:
    10 epochs, batch 64, learning rate 0.1, features of length 1. The final training is on the
    training images, and where these are all (`whole`) on the validation images too.
    """
    import torch
    from clip_benchmark.metrics import linear_probe as peer
    from torch.utils.data import DataLoader

    torch.nn.Module.cuda = lambda self, *_: self  # type: ignore[method-assign, assignment, return-value]
    torch.Tensor.cuda = lambda self, *_: self  # type: ignore[method-assign, assignment, return-value, misc]
    peer.accuracy = lambda logits, target, topk: [
        float((logits.argmax(dim=1) == target).float().mean())
    ]  # its own fails under numpy 2.4; the same number
    torch.manual_seed(0)
    x = torch.nn.functional.normalize(torch.from_numpy(task.features), dim=1)
    y = torch.from_numpy(task.labels)
    began = time.perf_counter()
    loaders = [
        DataLoader(peer.FeatureDataset(x[at], y[at]), batch_size=batch, shuffle=True)
        for at in (*rows, task.test)
    ]
    train, val, test = loaders
    d, classes = x.shape[1], task.num_classes
    values = np.logspace(-6, 2, num=97).tolist()
    first = np.logspace(-6, 2, num=7).tolist()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        peak = peer.find_peak(
            values,
            [i for i, v in enumerate(values) if v in first],
            train,
            val,
            d,
            classes,
            lr,
            epochs,
            False,
            "cpu",
            False,
            0,
        )
        span = 8
        while span > 0:
            around = [max(peak - span, 0), peak, min(peak + span, len(values) - 1)]
            peak = peer.find_peak(
                values, around, train, val, d, classes, lr, epochs, False, "cpu", False, 0
            )
            span //= 2
        if whole:  # its rule for all training images: validation joins them
            train = DataLoader(
                peer.FeatureDataset(x[np.concatenate(rows)], y[np.concatenate(rows)]),
                batch_size=batch,
                shuffle=True,
            )
        logits, labels = peer.infer(
            peer.train(train, d, classes, values[peak], lr, epochs, False, "cpu", 0),
            test,
            False,
            "cpu",
        )
    return time.perf_counter() - began, float((logits.argmax(dim=1) == labels).float().mean())


def mean_accuracy(task: Benched, fitted: list[Any]) -> float:
    """The mean over fitted probes of the accuracy on the task's test images."""
    features = task.features[task.test]
    scores = [task.accuracy(probe.head.logits(features).argmax(axis=1)) for probe in fitted]
    return float(np.mean(scores))


def run_sweep(task: Benched, draws: int, rounds: int) -> None:
    what = "a sweep for each draw; our probes fit the draws of a shot count together"
    print(
        f"\n{task.name}: clip-benchmark's sweep (20 trainings) and our probes (45 values of l2), "
        f"fit, choice and test, on the same features; {what}\n"
    )
    rows, few = [], dict[str, list[float]]()
    cases = []
    for shots in SHOTS:
        drawn = [task.draws[shots, i] for i in range(draws)]
        cases.append((f"{shots} shots, {draws} draws", drawn))
    cases.append(("all training images", [task.full]))
    for name, which in cases:
        taken: dict[str, list[float]] = {"clip-benchmark": [], "logistic": [], "ridge": []}
        scores: dict[str, float] = {}
        for _ in range(rounds):
            for side, l2s, run in (("logistic", LOGISTIC_L2, probes), ("ridge", RIDGE_L2, ridges)):
                began = time.perf_counter()
                fitted = run([task.fit(split) for split in which], task.num_classes, l2s)
                scores[side] = mean_accuracy(task, fitted)
                taken[side].append(time.perf_counter() - began)
            theirs = [clip_benchmark(task, one, whole=one is task.full) for one in which]
            scores["clip-benchmark"] = float(np.mean([accuracy for _, accuracy in theirs]))
            taken["clip-benchmark"].append(sum(seconds for seconds, _ in theirs))
            print(
                name,
                {side: round(own[-1], 2) for side, own in taken.items()},
                file=sys.stderr,
                flush=True,
            )
        rows += [[name, f"{len(which[0][0]):,}", *cells] for cells in _sides(taken, scores)]
        if name != "all training images":
            for side, seconds_of_round in taken.items():
                before = few.get(side, [0.0] * rounds)
                few[side] = [a + b for a, b in zip(before, seconds_of_round, strict=True)]
    rows += [["all few-shot cases", "", *cells] for cells in _sides(few, {})]
    print(
        table(
            [
                "fitted on",
                "images each",
                "side",
                "time",
                "times faster than clip-benchmark",
                "test accuracy",
            ],
            rows,
        )
    )


def _sides(taken: dict[str, list[float]], scores: dict[str, float]) -> list[list[str]]:
    rows = []
    for side, own in taken.items():
        ratio = Spread.of(
            [theirs / mine for theirs, mine in zip(taken["clip-benchmark"], own, strict=True)]
        )
        rows.append(
            [
                side,
                f"{Spread.of(own).text(2)} s",
                f"{ratio.text(1)} x",
                f"{100 * scores[side]:.2f} %" if side in scores else "",
            ]
        )
    return rows


# the whole grid
PAPER = (
    "cifar100",
    "dtd",
    "caltech101",
    "pets",
    "domainnet-real",
    "domainnet-clipart",
    "eurosat",
    "cassava",
    "cct20",
)


def paper_sizes() -> dict[str, tuple[int, int, int, int]]:
    """(classes, train, val or 0, test) of the paper's nine tasks, from the registry of published
    sets.
    """
    from headwater.sources.published import PUBLISHED

    found = {}
    for name in PAPER:
        one = PUBLISHED[name]
        sizes = dict(one.sizes)
        found[name] = one.classes, sizes["train"], sizes.get("val", 0), sizes["test"]
    return found


def run_grid(dimensions: int, draws: int, folder: Path) -> dict[str, Any]:
    """Features are made first (not timed) and copied from their files by the timed part, split by
    split, as a study copies them.
    """
    rows, total = [], 0.0
    for name, (classes, train, val, test) in paper_sizes().items():
        rng = np.random.default_rng(len(name))
        centres = rng.standard_normal((classes, dimensions), dtype=np.float32) * np.float32(0.1)
        val = val or round(0.15 * train)
        train = train if name in ("dtd", "cct20") else train - val
        files = {}
        for split, count in (("train", train), ("val", val), ("test", test)):
            labels = np.arange(count) % classes
            out = np.lib.format.open_memmap(
                folder / f"{split}.npy", mode="w+", dtype=np.float32, shape=(count, dimensions)
            )
            for at in range(0, count, 8192):
                own = labels[at : at + 8192]
                out[at : at + 8192] = (
                    rng.standard_normal((len(own), dimensions), dtype=np.float32) + centres[own]
                )
            out.flush()
            files[split] = np.load(folder / f"{split}.npy", mmap_mode="r"), labels
        began = time.perf_counter()
        correct = []
        for shots in (*SHOTS, None):
            for draw in range(draws if shots else 1):
                chosen = {}
                for split in ("train", "val"):
                    x, y = files[split]
                    order = (
                        np.random.default_rng(draw).permutation(len(y))
                        if shots
                        else np.arange(len(y))
                    )
                    rank = np.empty(len(y), dtype=np.int64)
                    by_class = np.argsort(y[order], kind="stable")
                    starts = np.r_[0, np.flatnonzero(np.diff(y[order][by_class])) + 1]
                    rank[by_class] = np.arange(len(y)) - np.repeat(
                        starts, np.diff(np.r_[starts, len(y)])
                    )
                    at = np.sort(order[rank < shots]) if shots else order
                    chosen[split] = x[at], y[at]
                one = ridges([Fit(*chosen["train"], *chosen["val"])], classes, RIDGE_L2)[0]
                x, y = files["test"]
                correct.append(
                    float((one.head.logits(x[np.arange(len(y))]).argmax(axis=1) == y).mean())
                )
        taken = time.perf_counter() - began
        total += taken
        cells = len(correct)
        ends = f"{100 * correct[0]:.1f} %, {100 * correct[-1]:.1f} %"
        rows.append(
            [
                name,
                f"{classes}",
                f"{train:,}",
                f"{val:,}",
                f"{test:,}",
                f"{cells}",
                f"{taken:.1f} s",
                ends,
            ]
        )
        print(rows[-1], file=sys.stderr, flush=True)
        for split in files:
            (folder / f"{split}.npy").unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"rows": rows, "seconds": total, "peak_gib": peak}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--probes", action="store_true")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--grid", action="store_true")
    parser.add_argument("--grid-child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--task", default="eurosat")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument(
        "--every", type=int, default=1, help="take each so-manyth value of l2, on all sides"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--images", type=int, default=60_000, help="images that the encoder is trained on"
    )
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--dimensions", type=int, default=2048)
    parser.add_argument("--data-root", type=Path, default=os.environ.get("HEADWATER_DATA"))
    parser.add_argument("--store", type=Path, help="keep the encoder and its features here")
    args = parser.parse_args()
    if args.grid_child:
        print(json.dumps(run_grid(args.dimensions, min(args.draws, 5), args.grid_child)))
        return
    if not (args.probes or args.sweep or args.grid):
        parser.error("name at least one of --probes, --sweep, --grid")
    print(
        facts_line(facts(("scikit-learn", "clip-benchmark", "numpy", "scipy")))
        + f", threads {args.threads}"
    )
    with tempfile.TemporaryDirectory() as made:
        if args.grid:
            folder = Path(made) / "features"
            folder.mkdir()
            words = [
                "--grid-child",
                str(folder),
                "--threads",
                str(args.threads),
                "--dimensions",
                str(args.dimensions),
            ]
            done = subprocess.run(
                [sys.executable, __file__, *words], stdout=subprocess.PIPE, check=True
            )  # by itself, for its peak of memory
            found = json.loads(done.stdout)
            shutil.rmtree(folder)
            print(
                "\nThe grid of entezari2023 by ridge: 45 values of l2, random features of "
                f"{args.dimensions} dimensions, {args.threads} threads\n"
            )
            head = [
                "task",
                "classes",
                "train",
                "val",
                "test",
                "cells",
                "time",
                "accuracy, first and last cell",
            ]
            print(table(head, found["rows"]))
            minutes, peak = found["seconds"] / 60, found["peak_gib"]
            print(
                f"\nall: {minutes:.1f} minutes (wanted: under 10), peak of memory {peak:.1f} GiB "
                "(wanted: under 8)"
            )
        if args.probes or args.sweep:
            if args.data_root is None or not Path(args.data_root).is_dir():
                parser.error(
                    "--probes and --sweep need the photos: set HEADWATER_DATA or --data-root"
                )
            warnings.simplefilter(
                "ignore"
            )  # scikit-learn says so where it stops at its limit of iterations
            task = benched(
                args.task,
                args.draws,
                args.images,
                args.backbone,
                Path(args.data_root),
                args.store or Path(made) / "store",
            )
        if args.probes:
            found = run_probes(task, args.draws, args.every, args.rounds)
            say_probes(
                task,
                found,
                args.draws,
                args.every,
                {
                    shots: loss_gap(task, shots, LOGISTIC_L2[:: 4 * args.every])
                    for shots in (1, 5, 20)
                },
            )
        if args.sweep:
            run_sweep(task, args.draws, args.rounds)


if __name__ == "__main__":
    main()
