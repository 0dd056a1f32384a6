"""Claim: on the generated world, pre-training on species keeps features that pre-training on
families loses.

Each row pre-trains timm's `test_resnet` from scratch at 32 px on one label of easy images, then
fits linear probes (multinomial logistic on standardised frozen features) on a task whose training
images are half hard, and reads them on easy and hard test images.

    python benchmarks/world_learnability.py --labels species family order instance --tasks paint
    sketch --seeds 0 1

Cost: about 20 s a label and seed on one CPU core with bf16. Result:
benchmarks/world_learnability.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import numpy as np
import timm
import torch
from torch.nn import functional as F

from headwater.sources.world import WorldData, WorldSource


def pixels(source: WorldSource, split: str) -> torch.Tensor:
    return torch.from_numpy(source.images(source.split("split", split))).permute(0, 3, 1, 2)


def codes_of(names: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.unique(names.astype(str), return_inverse=True)[1])


def batch_of(images: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Random (or, without a generator, central) 32 px crops of 40 px images with flips,
    standardised.
    """
    if generator is None:
        crop = images[:, :, 4:36, 4:36]
    else:
        top, left = torch.randint(0, 9, (2, len(images)), generator=generator)
        rows = (top[:, None] + torch.arange(32))[:, :, None]
        columns = left[:, None] + torch.arange(32)
        flip = torch.rand(len(images), generator=generator) < 0.5
        columns = torch.where(flip[:, None], columns.flip(1), columns)[:, None, :]
        crop = images.permute(0, 2, 3, 1)[
            torch.arange(len(images))[:, None, None], rows, columns
        ].permute(0, 3, 1, 2)
    return ((crop.float() - 127.5) / 64).to(memory_format=torch.channels_last)


def pretrain(
    images: torch.Tensor, targets: torch.Tensor, seen: int, seed: int, lr: float, batch: int = 128
) -> torch.nn.Module:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = timm.create_model(
        "test_resnet", pretrained=False, num_classes=int(targets.max()) + 1
    ).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    steps = -(-seen // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, lr, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    order = torch.cat(
        [
            torch.randperm(len(images), generator=generator)
            for _ in range(-(-steps * batch // len(images)))
        ]
    )
    for step in range(steps):
        rows = order[step * batch : (step + 1) * batch]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(batch_of(images[rows], generator))
        loss = F.cross_entropy(logits.float(), targets[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def features(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    def pooled(rows: torch.Tensor) -> torch.Tensor:
        return model.forward_head(model.forward_features(batch_of(rows, None)), pre_logits=True)

    return torch.cat([pooled(rows) for rows in images.split(500)]).float()


def probe(
    train: torch.Tensor, targets: torch.Tensor, test: torch.Tensor, l2: float = 1e-3
) -> torch.Tensor:
    """Predictions of a multinomial logistic regression on standardised features."""
    mean, std = train.mean(0), train.std(0) + 1e-5
    x, z = (train - mean) / std, (test - mean) / std
    weight = torch.zeros(x.shape[1] + 1, int(targets.max()) + 1, requires_grad=True)
    solver = torch.optim.LBFGS([weight], max_iter=150, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = (
            F.cross_entropy(x @ weight[:-1] + weight[-1], targets) + l2 * weight[:-1].square().sum()
        )
        loss.backward()
        return loss

    solver.step(closure)
    with torch.no_grad():
        return (z @ weight[:-1] + weight[-1]).argmax(1)


def few(targets: torch.Tensor, shots: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.cat(
        [
            torch.nonzero(targets == c)[:, 0][
                torch.randperm(int((targets == c).sum()), generator=generator)[:shots]
            ]
            for c in targets.unique()
        ]
    )


def measure(model: torch.nn.Module, task: WorldSource, seed: int) -> dict[str, float]:
    """Accuracies in percent: level, shots (0 = all) and subset of the test images."""
    train, test = features(model, pixels(task, "train")), features(model, pixels(task, "test"))
    at_train, at_test = task.split("split", "train"), task.split("split", "test")
    hard = torch.from_numpy(task.table.hard[at_test])
    out = {}
    for level, name in ((1, "family"), (0, "species")):
        labels = codes_of(task.table.levels[level])
        y, truth = labels[at_train], labels[at_test]
        for shots in (0, 5):
            draws = range(1 if shots == 0 else 3)
            predicted = []
            for d in draws:
                rows = few(y, shots, 100 * seed + d) if shots else torch.arange(len(y))
                predicted.append(probe(train[rows], y[rows], test, l2=1e-2 if shots else 1e-3))
            for subset, mask in (("easy", ~hard), ("hard", hard)):
                out[f"{name}{'' if shots == 0 else shots} {subset}"] = 100 * float(
                    np.mean([(p == truth)[mask].float().mean().item() for p in predicted])
                )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="{}", help="WorldData of the source, as JSON")
    parser.add_argument(
        "--task",
        default="{}",
        help="WorldData of the tasks, as JSON, over the source's; the domain comes from --tasks",
    )
    parser.add_argument("--tasks", nargs="+", default=["paint", "sketch"])
    parser.add_argument(
        "--labels",
        nargs="+",
        default=["species", "family", "order", "instance", "misaligned", "scratch"],
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--seen", type=int, default=50_000)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    source_words, task_words = json.loads(args.source), json.loads(args.task)
    for seed in args.seeds:
        source = WorldSource("source", WorldData(**{"test": 0, "val": 0, **source_words}))
        images = pixels(source, "train")
        for label in args.labels:
            levels = {"species": 0, "family": 1, "order": 2}
            if label in levels:
                targets = codes_of(source.table.levels[levels[label]])
            elif label == "misaligned":
                targets = codes_of(np.array([m[0] for m in source.table.texts["misaligned"]]))
            else:
                targets = torch.arange(len(images))
            start = time.perf_counter()
            model = pretrain(
                images,
                targets,
                128 if label == "scratch" else args.seen,
                seed,
                0.0 if label == "scratch" else args.lr,
            )
            spent = time.perf_counter() - start
            for domain in args.tasks:
                spec = {
                    **source_words,
                    "dilution": 1,
                    "train": 1600,
                    "val": 0,
                    "hard_train": 0.5,
                    "collection": 1,
                    **task_words,
                    "domain": domain,
                }
                scores = measure(model, WorldSource(domain, WorldData(**spec)), seed)
                print(
                    f"{seed} {label:10} -> {domain:7} {spent:4.0f} s  "
                    + "  ".join(f"{k} {v:5.1f}" for k, v in scores.items())
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
