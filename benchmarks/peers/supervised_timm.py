"""Supervised training as timm's train.py does it: timm.data.create_loader, timm.create_model,
cross-entropy, AdamW.

    python benchmarks/peers/supervised_timm.py --listing FILE --workers 2

Crop, flip and jitter are those of Headwater's recipe, in create_loader's words; the rest of its
transform is its default. The prefetcher is for GPUs, so it is off.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from session import Photos, Setting, Training, cosine, main
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from torch import nn
from torch.utils.data import DataLoader

CROP_MIN, FLIP, JITTER_PROBABILITY = 0.35, 0.5, 0.5
JITTER = (0.32, 0.32, 0.32, 0.08)
"""Brightness, contrast, saturation, hue: 0.8 s, 0.8 s, 0.8 s, 0.2 s of the recipe's s = 0.4."""
LR, BETAS, WEIGHT_DECAY, CLIP_NORM, BATCH = 3e-3, (0.9, 0.999), 0.05, 1.0, 128


def loader(setting: Setting) -> DataLoader[Any]:
    listing = setting.read()
    made: DataLoader[Any] = create_loader(
        Photos(listing["files"], listing["labels"]),
        input_size=(3, setting.image_size, setting.image_size),
        batch_size=setting.batch,
        is_training=True,
        no_aug=False,
        scale=(CROP_MIN, 1.0),
        hflip=FLIP,
        color_jitter=JITTER,
        color_jitter_prob=JITTER_PROBABILITY,
        num_workers=setting.workers,
        use_prefetcher=False,
        device=torch.device("cpu"),
    )
    return made


def build(setting: Setting, steps: int) -> Training:
    model = timm.create_model("test_resnet", num_classes=setting.num_classes)
    optimizer = create_optimizer_v2(
        model, opt="adamw", lr=LR, weight_decay=WEIGHT_DECAY, betas=BETAS
    )
    return Training(model, _Encoder(model), optimizer, cosine(optimizer, steps))


class _Encoder(nn.Module):
    """A classifier up to its pooled features: its classification layer is counted on neither
    side.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.model.forward_head(
            self.model.forward_features(x), pre_logits=True
        )  # type: ignore[operator]
        return features

    def parameters(self, recurse: bool = True) -> Any:
        head = {id(p) for p in self.model.get_classifier().parameters()}  # type: ignore[operator]
        return (p for p in self.model.parameters(recurse) if id(p) not in head)


def run_epoch(training: Training, loader: DataLoader[Any], setting: Setting) -> list[float]:
    criterion = nn.CrossEntropyLoss()
    losses = []
    for images, targets in loader:
        with setting.autocast():
            loss = criterion(training.model(setting.placed(images)), targets)
        training.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(training.model.parameters(), CLIP_NORM)
        training.optimizer.step()
        training.scheduler.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    main(loader, build, run_epoch, batch=BATCH)
