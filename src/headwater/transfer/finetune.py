"""Fine-tuning of the whole network, with one optimiser grid for every arm; learning rate and
stopping point chosen on validation.

This is a second training loop beside headwater.pretrain, for a reason: it runs a grid of short
trainings from one start, looks at validation on the way, keeps the best look in memory and has
nothing to resume, since a cell is minutes at most and is made again whole.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from headwater import keys, optim
from headwater.device import Compute, exact_small_convolutions
from headwater.loader import Order
from headwater.sources.pixels import Images
from headwater.study import Augmentation
from headwater.transfer import Choice, TransferDiverged
from headwater.transfer.metrics import accuracy
from headwater.views import ViewMaker, centre_view

if TYPE_CHECKING:
    from headwater.transfer.protocols.finetune import Finetune


class FinetuneDiverged(TransferDiverged):
    """Every learning rate of the grid gave a loss or logits that are not finite, before its first
    look at validation.
    """


@dataclass(frozen=True)
class Split:
    """Images of a task by their row in the pixel cache, with their classes. int64 [n] each;
    `hashes` key order and augmentation.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    hashes: NDArray[np.int64]


Head = tuple[NDArray[np.float32], NDArray[np.float32]]
"""(weight [classes, d], bias [classes]) on raw features."""


class Classifier(nn.Module):
    """An encoder and a linear head, which starts at zero where none is given."""

    def __init__(self, encoder: nn.Module, num_classes: int, head: Head | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(int(encoder.num_features), num_classes)  # type: ignore[arg-type]
        with torch.no_grad():
            if head is None:
                self.head.weight.zero_()
                self.head.bias.zero_()
            else:
                self.head.weight.copy_(torch.from_numpy(head[0]))
                self.head.bias.copy_(torch.from_numpy(head[1]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(images))  # type: ignore[no-any-return]


@torch.no_grad()
def predict(
    model: nn.Module,
    pixels: Images,
    rows: NDArray[np.int64],
    *,
    image_size: int,
    compute: Compute,
    batch: int = 256,
) -> NDArray[np.float32]:
    """float32 [n, classes]: logits of cached images under the test transform, in evaluation
    mode.
    """
    model.eval()
    out = []
    for start in range(0, len(rows), batch):
        images, sizes = _gathered(pixels, rows[start : start + batch], compute)
        with compute.autocast():
            out.append(model(centre_view(images, sizes, image_size)).float().cpu().numpy())
    return np.concatenate(out)


def _gathered(
    pixels: Images, rows: NDArray[np.int64], compute: Compute
) -> tuple[torch.Tensor, torch.Tensor]:
    """(images, their sizes) of some rows, on the device."""
    images, sizes = pixels.gather(rows)
    return torch.from_numpy(images).to(compute.device), torch.from_numpy(sizes).to(compute.device)


class _BestLook:
    """The model that validation liked best: accuracy, then the lower cross-entropy."""

    def __init__(self, pixels: Images, val: Split, image_size: int, compute: Compute) -> None:
        self._pixels, self._val, self._image_size = pixels, val, image_size
        self._compute = compute
        self._score = (-math.inf, -math.inf)
        self.chosen: dict[str, Any] = {}
        self.state: dict[str, torch.Tensor] = {}

    @property
    def val_value(self) -> float:
        return self._score[0]

    def look(self, model: nn.Module, lr: float | None, step: int) -> bool:
        """Keep the model if validation has not seen a better one; False where its logits are no
        finite numbers.
        """
        logits = torch.from_numpy(
            predict(
                model,
                self._pixels,
                self._val.rows,
                image_size=self._image_size,
                compute=self._compute,
            )
        )
        if not logits.isfinite().all():
            return False
        score = (
            accuracy(logits.argmax(1).numpy(), self._val.labels),
            -float(F.cross_entropy(logits, torch.from_numpy(self._val.labels))),
        )
        if not self.state or score > self._score:
            self._score, self.chosen = score, {"lr": lr, "steps": step}
            self.state = _copied(model)
        return True


def _copied(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@dataclass(frozen=True)
class _Training:
    """What a step of training is made from, the same at every learning rate."""

    pixels: Images
    split: Split
    order: Order
    views: ViewMaker
    clip_norm: float
    seed: int
    compute: Compute


def finetune(
    encoder: nn.Module,
    pixels: Images,
    train: Split,
    val: Split,
    num_classes: int,
    words: Finetune,
    *,
    head: Head | None,
    image_size: int,
    seed: int,
    compute: Compute,
) -> tuple[nn.Module, dict[str, Any], float]:
    """Run the grid and return (best model, what was chosen, its validation accuracy); never sees a
    test image. Raises FinetuneDiverged.

    The choice maximises validation accuracy; ties go to the lower validation cross-entropy. A head
    that is given is looked at before the first step too, so that LP-FT is not below its probe on
    validation. `encoder` is not changed.
    """
    model = Classifier(copy.deepcopy(encoder), num_classes, head).to(
        compute.device, memory_format=torch.channels_last
    )  # type: ignore[call-overload]
    start = _copied(model)
    batch = min(words.batch, len(train.rows))
    order = Order(train.hashes, words.steps * batch, batch, seed, "finetune order")
    augmentation = Augmentation(crop_min=words.crop_min, flip=0.5)
    views = ViewMaker(augmentation, image_size, seed, "finetune augment")
    training = _Training(pixels, train, order, views, words.clip_norm, seed, compute)
    looks = {math.ceil(order.steps * (i + 1) / words.looks) for i in range(words.looks)}
    best = _BestLook(pixels, val, image_size, compute)
    if head is not None:  # a start that knows something is a candidate itself
        best.look(model, None, 0)
    trained = False
    with exact_small_convolutions(model, compute):
        for lr in words.lr:
            model.load_state_dict(start)
            optimiser = optim.build(model, name="adamw", lr=lr, weight_decay=words.weight_decay)
            for step in range(order.steps):
                factor = optim.lr_factor(step, order.steps, warmup=words.warmup, schedule="cosine")
                if not math.isfinite(_step(training, model, optimiser, step, lr * factor)):
                    break
                if step + 1 in looks:
                    # the last step can have broken the weights, which no loss has seen yet
                    if not best.look(model, lr, step + 1):
                        break
                    trained = True
    if not trained:
        raise FinetuneDiverged(
            f"the loss or the logits were not finite at every learning rate of {list(words.lr)}"
        )
    model.load_state_dict(best.state)
    return model, best.chosen, best.val_value


def _step(
    training: _Training, model: nn.Module, optimiser: torch.optim.Optimizer, step: int, lr: float
) -> float:
    """The loss of a step, which is then taken."""
    model.train()
    optim.set_lr(optimiser, lr)
    split, compute = training.split, training.compute
    positions, epochs = training.order.at(step)
    images, sizes = _gathered(training.pixels, split.rows[positions], compute)
    labels = torch.from_numpy(split.labels[positions]).to(compute.device)
    torch.manual_seed(keys.key(training.seed, "finetune dropout", step) & (2**63 - 1))
    with compute.autocast():
        views = training.views(images, sizes, split.hashes[positions], epochs, 0)
        loss = F.cross_entropy(model(views).float(), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optim.step(optimiser, model, clip_norm=training.clip_norm)
    return float(loss.detach())


def finetune_choice(
    model: nn.Module,
    chosen: dict[str, Any],
    val_value: float,
    pixels: Images,
    rows: NDArray[np.int64],
    *,
    image_size: int,
    compute: Compute,
) -> Choice:
    """Open the test set, once, with the chosen model."""
    logits = predict(model, pixels, rows, image_size=image_size, compute=compute)
    return Choice.of_logits(chosen, val_value, logits)
