"""Question: do labels that are too coarse narrow an encoder's features, and is that why they gain
nothing on another domain?

Prints, for every arm of a study that was run and every task, the effective number of dimensions of
its frozen features (standardised as the probe standardises them): exp of the entropy of the
normalised eigenvalues of their correlation matrix (Roy and Vetterli 2007, "effective rank").

    python benchmarks/feature_rank.py studies/grocery.yaml --store headwater-store

Cost: about 2 s an arm and task. Result (docs/log.md): they do, and it is not the whole reason:
random weights are narrower still.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch

from headwater import device, work
from headwater.plan import Plan
from headwater.store import Store
from headwater.study import Study


def effective_rank(features: np.ndarray) -> float:
    """exp(entropy of the spectrum) of features [n, d]: between 1 (one direction) and d (all
    alike).
    """
    deviation = features.std(axis=0, dtype=np.float64)
    x = (features - features.mean(axis=0))[:, deviation > 1e-6] / deviation[deviation > 1e-6]
    spectrum = np.linalg.eigvalsh(x.T @ x / len(x)).clip(min=1e-12)
    share = spectrum / spectrum.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("study")
    parser.add_argument("--store", default="headwater-store")
    parser.add_argument("--data-root", default=os.environ.get("HEADWATER_DATA"))
    parser.add_argument("--tasks", nargs="*")
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = Store(options.store)
    plan = Plan.make(
        Study.load(options.study),
        data_root=Path(options.data_root) if options.data_root else None,
        cache=store.cache,
    )
    compute = device.resolve("cpu", plan.study.precision)
    found: dict[tuple[str, str], list[float]] = {}
    for arm in plan.arms:
        for task in options.tasks or plan.tasks:
            if store.has_arm(arm.id):
                bench = work.Bench(work.Session(plan, store, compute), arm, task)
                found.setdefault((task, arm.words.title), []).append(
                    effective_rank(bench.features(bench.task.train))
                )
    for (task, title), ranks in sorted(found.items()):
        spread = f"sd {np.std(ranks, ddof=1):.1f}" if len(ranks) > 1 else "one seed"
        print(
            f"{task:16} {title:40} effective rank {np.mean(ranks):5.1f} ({spread}, {len(ranks)} "
            "seeds)"
        )


if __name__ == "__main__":
    main()
