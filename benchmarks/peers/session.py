"""What the peers' scripts share, and nothing of their training: the files to read, the settings to
try, the clock.

A script runs by itself (`python benchmarks/peers/NAME.py --listing FILE --workers 2 --epochs 3`),
or answers requests, one line of JSON each, on stdin (`--serve`), so that benchmarks/pretrain.py can
take turns with it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Setting:
    """What is trained on, and what a user may turn to make it faster."""

    listing: str
    """JSON file: `files`, `labels` (numbers), `captions` (a list per image)."""
    batch: int = 128
    image_size: int = 32
    images: int | None = None
    """Only the first so many, spread over the files; None for all."""
    epochs: int = 1
    workers: int = 0
    threads: int = 1
    bf16: bool = False
    channels_last: bool = False
    context: int = 77
    """Tokens of a caption that the text tower reads, for CLIP."""

    def read(self) -> dict[str, list[Any]]:
        listing: dict[str, list[Any]] = json.loads(Path(self.listing).read_text())
        stride = len(listing["files"]) // self.images if self.images else 1
        return {name: column[:: max(1, stride)][: self.images] for name, column in listing.items()}

    @property
    def num_classes(self) -> int:
        return int(max(json.loads(Path(self.listing).read_text())["labels"])) + 1

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        return (
            torch.autocast("cpu", dtype=torch.bfloat16) if self.bf16 else contextlib.nullcontext()
        )

    def placed(self, tensor: torch.Tensor) -> torch.Tensor:
        return (
            tensor.contiguous(memory_format=torch.channels_last) if self.channels_last else tensor
        )


class Photos(Dataset[Any]):
    """(image, target) of image files, as torchvision's ImageFolder gives them."""

    def __init__(
        self, files: list[str], targets: list[Any], transform: Callable[[Any], Any] | None = None
    ) -> None:
        self.files, self.targets, self.transform = files, targets, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        with open(self.files[index], "rb") as file:
            image: Any = Image.open(file).convert("RGB")
        if self.transform is not None:
            image = self.transform(image)
        return image, self.targets[index]


@dataclass
class Training:
    """A model with what trains it; `encoder` is the part that both sides have in common."""

    model: nn.Module
    encoder: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler


Loader = Callable[[Setting], DataLoader[Any]]
Build = Callable[[Setting, int], Training]
"""(setting, steps) -> a fresh model."""
RunEpoch = Callable[[Training, DataLoader[Any], Setting], list[float]]
"""One pass over the loader; the loss of each step."""


class Session:
    """Runs epochs under one setting after another.

    The last two loaders are kept, with their worker processes, as a training script keeps its own.
    """

    def __init__(self, loader: Loader, build: Build, run_epoch: RunEpoch) -> None:
        self._loader, self._build, self._run_epoch = loader, build, run_epoch
        self._loaders: dict[Setting, DataLoader[Any]] = {}

    def run(self, setting: Setting) -> dict[str, Any]:
        """Trains a fresh model: `seconds` of each epoch, the images that an epoch trained on, the
        losses, the encoder's size.
        """
        torch.set_num_threads(setting.threads)
        loader = self._kept(setting)
        training = self._build(setting, setting.epochs * len(loader))
        if setting.channels_last:
            training.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        training.model.train()
        seconds, losses = [], []
        for _ in range(setting.epochs):
            began = time.perf_counter()
            losses += self._run_epoch(training, loader, setting)
            seconds.append(time.perf_counter() - began)
        return {
            "seconds": seconds,
            "images": len(loader) * setting.batch,
            "losses": losses,
            **size_of(training.encoder, setting.image_size),
        }

    def _kept(self, setting: Setting) -> DataLoader[Any]:
        key = replace(
            setting, epochs=1, threads=1, bf16=False, channels_last=False
        )  # these are no business of a loader's
        if key not in self._loaders:
            while len(self._loaders) > 1:
                del self._loaders[next(iter(self._loaders))]
            self._loaders[key] = self._loader(setting)
        return self._loaders[key]


def size_of(encoder: nn.Module, image_size: int) -> dict[str, float]:
    """Parameters, and FLOPs of one image's forward pass."""
    was_training = encoder.training
    encoder.eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        encoder(torch.zeros(1, 3, image_size, image_size))
    encoder.train(was_training)
    return {
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "flops": counter.get_total_flops(),
    }


def cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """5 % of linear warm-up, then a cosine, as ours."""
    warm = max(1, round(0.05 * steps))
    rise = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1 / (warm + 1), total_iters=warm
    )
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=max(1, steps - warm))
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[warm])


def main(loader: Loader, build: Build, run_epoch: RunEpoch, *, batch: int) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--listing")
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--images", type=int)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--context", type=int, default=77)
    words = vars(parser.parse_args())
    session = Session(loader, build, run_epoch)
    if not words.pop("serve"):
        if not words["listing"]:
            parser.error("--listing FILE names the images")
        setting = Setting(**words)
        found = session.run(setting)
        losses, speeds = (
            found["losses"],
            [found["images"] / seconds for seconds in found["seconds"]],
        )
        print(json.dumps(asdict(setting)))
        print(
            f"images/s by epoch: {', '.join(f'{speed:.0f}' for speed in speeds)}; loss "
            f"{losses[0]:.3f} -> {losses[-1]:.3f}"
        )
        return
    serve(lambda request: session.run(Setting(**request)))


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answers requests, a line of JSON each, until stdin closes.

    Whatever a library prints goes to stderr.
    """
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line))) + "\n")
        out.flush()
