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
from headwater.device import Compute
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


class Classifier(nn.Module):
    """An encoder and a linear head, which starts at zero or from given (weight [classes, d], bias
    [classes]).
    """

    def __init__(
        self,
        encoder: nn.Module,
        num_classes: int,
        head: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(int(encoder.num_features), num_classes)  # type: ignore[arg-type]
        with torch.no_grad():
            for parameter, value in zip(
                (self.head.weight, self.head.bias), head or (None, None), strict=True
            ):
                parameter.zero_() if value is None else parameter.copy_(torch.from_numpy(value))

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
        images, sizes = (
            torch.from_numpy(a).to(compute.device)
            for a in pixels.gather(rows[start : start + batch])
        )
        with compute.autocast():
            out.append(model(centre_view(images, sizes, image_size)).float().cpu().numpy())
    return np.concatenate(out)


def finetune(
    encoder: nn.Module,
    pixels: Images,
    train: Split,
    val: Split,
    num_classes: int,
    words: Finetune,
    *,
    head: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
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
    best: tuple[tuple[float, float], dict[str, Any], dict[str, torch.Tensor]] | None = None
    model = Classifier(copy.deepcopy(encoder), num_classes, head).to(
        compute.device, memory_format=torch.channels_last
    )  # type: ignore[call-overload]
    start = {name: t.clone() for name, t in model.state_dict().items()}
    order = Order(
        train.hashes,
        words.steps * min(words.batch, len(train.rows)),
        min(words.batch, len(train.rows)),
        seed,
        "finetune order",
    )
    views = ViewMaker(
        Augmentation(crop_min=words.crop_min, flip=0.5), image_size, seed, "finetune augment"
    )
    looks = {math.ceil(order.steps * (i + 1) / words.looks) for i in range(words.looks)}

    def look(lr: float | None, step: int) -> bool:
        """Keep the model if validation has not seen a better one; False where its logits are no
        finite numbers.
        """
        nonlocal best
        logits = torch.from_numpy(
            predict(model, pixels, val.rows, image_size=image_size, compute=compute)
        )
        if not logits.isfinite().all():
            return False
        score = (
            accuracy(logits.argmax(1).numpy(), val.labels),
            -float(F.cross_entropy(logits, torch.from_numpy(val.labels))),
        )
        if best is None or score > best[0]:
            best = (
                score,
                {"lr": lr, "steps": step},
                {name: t.clone() for name, t in model.state_dict().items()},
            )
        return True

    if head is not None:  # a start that knows something is a candidate itself
        look(None, 0)
    trained = False
    for lr in words.lr:
        model.load_state_dict(start)
        optimiser = optim.build(model, name="adamw", lr=lr, weight_decay=words.weight_decay)
        for step in range(order.steps):
            factor = optim.lr_factor(step, order.steps, warmup=words.warmup, schedule="cosine")
            loss = _step(
                model,
                optimiser,
                pixels,
                train,
                order,
                views,
                step,
                lr * factor,
                words.clip_norm,
                compute,
                seed,
            )
            if not math.isfinite(loss):
                break
            if step + 1 in looks:
                if not look(
                    lr, step + 1
                ):  # the last step broke the weights, which no loss has seen yet
                    break
                trained = True
    if best is None or not trained:
        raise FinetuneDiverged(
            f"the loss or the logits were not finite at every learning rate of {list(words.lr)}"
        )
    model.load_state_dict(best[2])
    return model, best[1], best[0][0]


def _step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    pixels: Images,
    train: Split,
    order: Order,
    views: ViewMaker,
    step: int,
    lr: float,
    clip_norm: float,
    compute: Compute,
    seed: int,
) -> float:
    model.train()
    optim.set_lr(optimiser, lr)
    positions, epochs = order.at(step)
    images, sizes = (
        torch.from_numpy(a).to(compute.device) for a in pixels.gather(train.rows[positions])
    )
    labels = torch.from_numpy(train.labels[positions]).to(compute.device)
    torch.manual_seed(keys.key(seed, "finetune dropout", step) & (2**63 - 1))
    with compute.autocast():
        loss = F.cross_entropy(
            model(views(images, sizes, train.hashes[positions], epochs, 0)).float(), labels
        )
    loss.backward()  # type: ignore[no-untyped-call]
    optim.step(optimiser, model, clip_norm=clip_norm)
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
