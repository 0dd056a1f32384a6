"""SimCLR as lightly's documentation writes it: its transform, its data set, its projection head,
its loss, plain PyTorch around them.

    python benchmarks/peers/simclr_lightly.py --listing FILE --workers 2

Crop, jitter, grey and flip, head, temperature and optimiser are those of Headwater's recipe; blur
is off, as there.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from lightly.data import LightlyDataset
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from lightly.transforms import SimCLRTransform
from session import Photos, Setting, Training, cosine, main
from torch import nn
from torch.utils.data import DataLoader

CROP_MIN, FLIP, JITTER, JITTER_PROBABILITY, GREY = 0.2, 0.5, 0.5, 0.8, 0.2
HEAD_WIDTH, EMBEDDING, HEAD_LAYERS, TEMPERATURE = 512, 128, 3, 0.1
LR, BETAS, WEIGHT_DECAY, CLIP_NORM, BATCH = 2e-3, (0.9, 0.98), 0.05, 1.0, 256


class SimCLR(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model("test_resnet", num_classes=0)
        self.projection_head = SimCLRProjectionHead(
            self.backbone.num_features, HEAD_WIDTH, EMBEDDING, num_layers=HEAD_LAYERS
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = self.projection_head(self.backbone(x).flatten(start_dim=1))
        return z


def loader(setting: Setting) -> DataLoader[Any]:
    transform = SimCLRTransform(
        input_size=setting.image_size,
        cj_prob=JITTER_PROBABILITY,
        cj_strength=JITTER,
        min_scale=CROP_MIN,
        random_gray_scale=GREY,
        gaussian_blur=0.0,
        hf_prob=FLIP,
    )
    listing = setting.read()
    dataset = LightlyDataset.from_torch_dataset(
        Photos(listing["files"], listing["labels"]), transform=transform
    )
    return DataLoader(
        dataset,
        batch_size=setting.batch,
        shuffle=True,
        drop_last=True,
        num_workers=setting.workers,
        persistent_workers=setting.workers > 0,
    )


def build(setting: Setting, steps: int) -> Training:
    model = SimCLR()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, betas=BETAS, weight_decay=WEIGHT_DECAY)
    return Training(model, model.backbone, optimizer, cosine(optimizer, steps))


def run_epoch(training: Training, loader: DataLoader[Any], setting: Setting) -> list[float]:
    criterion = NTXentLoss(temperature=TEMPERATURE)
    losses = []
    for (x0, x1), _, _ in loader:
        with setting.autocast():
            z0 = training.model(setting.placed(x0))
            z1 = training.model(setting.placed(x1))
            loss = criterion(z0, z1)
        loss.backward()
        nn.utils.clip_grad_norm_(training.model.parameters(), CLIP_NORM)
        training.optimizer.step()
        training.optimizer.zero_grad()
        training.scheduler.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    main(loader, build, run_epoch, batch=BATCH)
