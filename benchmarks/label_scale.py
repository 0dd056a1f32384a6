"""Claim: at every level 0 to 10 of WordNet, the targets and the multi-hot matrix of ImageNet-21k's
14.2 M images take under 2 s and 1.5 GB.

    python benchmarks/label_scale.py [--levels 0-10] [--images 14197122] [--peers]

Cost: 80 s. Result: benchmarks/label_scale.md. Each level runs in a process of its own, so that its
peak memory is its own: the peak of the process, and its rise above what the process held before
(interpreter, imports, the class vector, the shipped hierarchy). Seconds are the median of three,
imports not counted. The class vector is int32 and shuffled by a fixed seed; a class has at most
1,500 images for every 700 that the mean class has, log-normal below. `--peers` measures, in the
same run, scikit-learn's MultiLabelBinarizer(sparse_output=True) on 100,000 of the images
(extrapolated per image: for all of them it would need 14 M Python lists) and scipy's product of the
images' one-hot matrix with the classes' sets (found beforehand, where ours counts finding them);
both matrices are checked against ours.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from headwater.labels.hierarchies import class_list, open_hierarchy
from headwater.labels.hierarchies.wordnet import shipped_wordnet

PEER_IMAGES = 100_000


def class_vector(images: int, classes: int) -> NDArray[np.int32]:
    """int32 [images]: the class of each image, shuffled."""
    random = np.random.default_rng(21_843)
    weights = np.minimum(random.lognormal(6.0, 1.2, classes), 1500)
    bounds = np.rint(np.cumsum(weights) / weights.sum() * images).astype(np.int64)
    codes = np.repeat(np.arange(classes, dtype=np.int32), np.diff(bounds, prepend=0))
    random.shuffle(codes)
    return codes


def peak() -> float:
    """The most memory that this process has held, in GB. (Linux counts in KiB.)"""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def timed(*works: Callable[[], object], times: int = 3) -> list[float]:
    """The median of seconds of each, run in turns, so that a busy minute falls on all of them."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(times):
        for work, own in zip(works, seconds, strict=True):
            start = time.perf_counter()
            made = work()
            own.append(time.perf_counter() - start)
            del made
    return [statistics.median(own) for own in seconds]


def level(k: int, images: int) -> dict[str, Any]:
    """Seconds and memory of one level, in this process."""
    classes = class_list("imagenet21k", where="benchmark")
    hierarchy = open_hierarchy("wordnet", where="benchmark")
    codes = class_vector(images, len(classes))
    before = peak()
    targets = hierarchy.targets(codes, classes, f"level:{k}", "benchmark")
    matrix = targets.matrix()
    found = {
        "labels": targets.num_classes,
        "ones": int(matrix.nnz),
        "peak": peak(),
        "rise": peak() - before,
    }
    del matrix
    found["matrix"] = timed(targets.matrix)[0]
    del targets
    found["targets"] = timed(lambda: hierarchy.targets(codes, classes, f"level:{k}", "benchmark"))[
        0
    ]
    return found


def peers(k: int, images: int) -> dict[str, Any]:
    """Seconds of the peers at one level, in this process: scipy's product on all images,
    scikit-learn on some.
    """
    from sklearn.preprocessing import MultiLabelBinarizer

    classes = class_list("imagenet21k", where="benchmark")
    hierarchy = open_hierarchy("wordnet", where="benchmark")
    codes = class_vector(images, len(classes))
    sets = hierarchy.level_sets(hierarchy.index_of(classes, "benchmark"), k)
    ours = hierarchy.targets(codes, classes, f"level:{k}", "benchmark")
    some = ours.take(np.arange(PEER_IMAGES)).matrix()
    columns = hierarchy.index_of(
        ours.names, "benchmark"
    )  # every label is on an image, so these are all
    table = csr_array(
        (np.ones(len(sets.labels), dtype=bool), sets.labels, sets.starts),
        shape=(len(sets), len(hierarchy)),
    )[:, columns]
    before = peak()

    def product() -> Any:
        return (
            csr_array(
                (np.ones(images, dtype=bool), codes, np.arange(images + 1)),
                shape=(images, len(classes)),
            )
            @ table
        )

    first = csr_array(product()[:PEER_IMAGES])
    rise = peak() - before
    names = hierarchy.names
    lists = []
    for code in codes[:PEER_IMAGES].tolist():
        lists.append([names[label] for label in sets[code]])
    binarizer = MultiLabelBinarizer(sparse_output=True)
    theirs = csr_array(binarizer.fit_transform(lists))
    at = np.searchsorted(np.array(ours.names), binarizer.classes_)
    for one, other in ((theirs, some[:, at]), (first, some)):
        assert abs(one.astype(np.int8) - other.astype(np.int8)).nnz == 0, (
            "a peer's matrix is another one"
        )
    own, seconds, few = timed(
        lambda: hierarchy.targets(codes, classes, f"level:{k}", "benchmark").matrix(),
        product,
        lambda: binarizer.fit_transform(lists),
        times=5,
    )
    return {
        "ours": own,
        "product": seconds,
        "product_rise": rise,
        "few": few,
        "all": few * images / PEER_IMAGES,
    }


def loading() -> None:
    """Seconds to open the shipped hierarchy, and to resolve the 21,843 classes in it and lift them
    ten levels as well.
    """
    classes = class_list("imagenet21k", where="benchmark")

    def load(levels: int) -> None:
        shipped_wordnet.cache_clear()
        made = open_hierarchy("wordnet", where="benchmark")
        if levels:
            made.level_sets(made.index_of(classes, "benchmark"), levels)

    alone, lifted = timed(lambda: load(0), lambda: load(10), times=7)
    print(
        f"open the shipped hierarchy: {alone:.3f} s; and lift 21,843 classes ten levels: "
        f"{lifted:.3f} s\n"
    )


def in_process(what: str, k: int, images: int) -> dict[str, Any]:
    """The figures of `level` or `peers` from a process of their own."""
    done = subprocess.run(
        [sys.executable, __file__, "--one", what, str(k), "--images", str(images)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--levels", default="0-10")
    parser.add_argument("--images", type=int, default=14_197_122)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(
            json.dumps(
                {"level": level, "peers": peers}[options.one[0]](
                    int(options.one[1]), options.images
                )
            )
        )
        return
    first, _, last = options.levels.partition("-")
    loading()
    print(
        "| level | labels | ones | targets s | matrix s | sum s | peak GB | rise GB "
        "|\n|---|---|---|---|---|---|---|---|"
    )
    for k in range(int(first), int(last or first) + 1):
        found = in_process("level", k, options.images)
        seconds = [found["targets"], found["matrix"], found["targets"] + found["matrix"]]
        cells = [
            str(k),
            f"{found['labels']:,}",
            f"{found['ones']:,}",
            *(f"{each:.2f}" for each in [*seconds, found["peak"], found["rise"]]),
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
    if options.peers:
        print(
            "\n| level | ours s | scipy product s | its rise GB | scikit-learn s, 100,000 images | "
            "the same per image, for all |\n|---|---|---|---|---|---|"
        )
        for k in (1, 6):
            measured = in_process("peers", k, options.images)
            keys = ("ours", "product", "product_rise", "few", "all")
            cells = [f"{measured[key]:.2f}" for key in keys]
            print(f"| {k} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
