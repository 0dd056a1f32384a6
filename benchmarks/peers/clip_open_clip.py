"""CLIP as open_clip trains it: its model with a timm image tower, its tokenizer in the data set,
its loss, torchvision's transforms.

    python benchmarks/peers/clip_open_clip.py --listing FILE --workers 2

The text tower has the width, layers and heads of Headwater's recipe, and open_clip's usual
vocabulary of 49,408. Its context is open_clip's usual 77 tokens, or `--context N`, which a user can
set who knows the longest caption.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import open_clip
import torch
from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
from session import Photos, Setting, Training, cosine, main
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms

CROP_MIN, FLIP = 0.5, 0.5
EMBEDDING, WIDTH, HEADS, LAYERS, TEMPERATURE = 128, 128, 4, 2, 0.07
LR, BETAS, WEIGHT_DECAY, CLIP_NORM, BATCH = 2e-3, (0.9, 0.999), 0.05, 1.0, 128


class Captioned(Photos):
    """(image, tokens int64 [context]) with one of an image's captions drawn anew each time,
    tokenised where it is read, as open_clip's CsvDataset does.
    """

    def __init__(
        self,
        files: list[str],
        captions: list[list[str]],
        transform: Callable[[Any], Any],
        context: int,
    ) -> None:
        super().__init__(files, captions, transform)
        self.tokenize = open_clip.get_tokenizer("ViT-B-32", context_length=context)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, captions = super().__getitem__(index)
        return image, self.tokenize([random.choice(captions)])[0]


def loader(setting: Setting) -> DataLoader[Any]:
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(
                setting.image_size,
                scale=(CROP_MIN, 1.0),
                interpolation=transforms.InterpolationMode.BICUBIC,
            ),
            transforms.RandomHorizontalFlip(FLIP),
            transforms.ToTensor(),
            transforms.Normalize(open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD),
        ]
    )
    listing = setting.read()
    return DataLoader(
        Captioned(listing["files"], listing["captions"], transform, setting.context),
        batch_size=setting.batch,
        shuffle=True,
        drop_last=True,
        num_workers=setting.workers,
        persistent_workers=setting.workers > 0,
    )


def build(setting: Setting, steps: int) -> Training:
    model = CustomTextCLIP(
        EMBEDDING,
        CLIPVisionCfg(timm_model_name="test_resnet", image_size=setting.image_size),
        CLIPTextCfg(context_length=setting.context, width=WIDTH, heads=HEADS, layers=LAYERS),
        init_logit_scale=math.log(1 / TEMPERATURE),
    )
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": plain, "weight_decay": 0.0}, {"params": decay, "weight_decay": WEIGHT_DECAY}],
        lr=LR,
        betas=BETAS,
    )
    return Training(model, model.visual.trunk, optimizer, cosine(optimizer, steps))


def run_epoch(training: Training, loader: DataLoader[Any], setting: Setting) -> list[float]:
    criterion = open_clip.ClipLoss()
    losses = []
    for images, texts in loader:
        training.optimizer.zero_grad()
        with setting.autocast():
            loss = criterion(*training.model(setting.placed(images), texts))
        loss.backward()
        nn.utils.clip_grad_norm_(training.model.parameters(), CLIP_NORM)
        training.optimizer.step()
        with torch.no_grad():
            training.model.logit_scale.clamp_(0, math.log(100))  # type: ignore[operator]
        training.scheduler.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    main(loader, build, run_epoch, batch=BATCH)
