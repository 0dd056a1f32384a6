"""Supervised pre-training: cross-entropy with label smoothing against a value worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from headwater.labels import Targets
from headwater.methods import build
from headwater.models import build_encoder
from headwater.study import Recipe
from tests.toy import BF16, hashes

LABELS = np.array([2, 0, 1, 2, 2], dtype=np.int64)


def method(smoothing: float = 0.0, labels: np.ndarray = LABELS, num_classes: int = 3) -> torch.nn.Module:
    targets = Targets(codes=labels, names=tuple(f"c{i}" for i in range(num_classes)), view="level:0")
    recipe = Recipe(label_smoothing=smoothing)
    return build("supervised", build_encoder("tiny", 32, seed=0), recipe=recipe, seed=0, targets=targets, captions=None, hashes=hashes(len(labels)))


@pytest.mark.parametrize("num_classes", [3, 50])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_training_starts_at_the_logarithm_of_the_number_of_classes(num_classes, smoothing):
    model = method(smoothing, num_classes=num_classes)
    loss = model.loss(model.encode(torch.randn(5, 3, 32, 32)), np.arange(5), np.zeros(5, dtype=np.int64))
    assert loss.item() == pytest.approx(math.log(num_classes), abs=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_equals_smoothed_cross_entropy_by_hand(smoothing):
    """The target gives 1 - s + s / 3 to the true class and s / 3 to each of the others (Szegedy et al. 2016)."""
    model = method(smoothing)
    with torch.no_grad():
        model.head.weight.normal_(generator=torch.Generator().manual_seed(0))
        model.head.bias.copy_(torch.tensor([0.3, -0.2, 0.1]))
    features = torch.randn(4, 96, generator=torch.Generator().manual_seed(1))
    positions = np.array([3, 1, 2, 1])
    expected = 0.0
    for row, position in zip(features.double(), positions, strict=True):
        logits = [(w.double() @ row + b).item() for w, b in zip(model.head.weight, model.head.bias, strict=True)]
        log_total = math.log(sum(math.exp(v) for v in logits))
        for c, logit in enumerate(logits):
            target = smoothing / 3 + (1 - smoothing if c == LABELS[position] else 0)
            expected -= target * (logit - log_total) / 4
    assert model.loss(features, positions, np.zeros(4, dtype=np.int64)).item() == pytest.approx(expected, rel=1e-5)


def test_permuting_a_batch_does_not_change_its_loss():
    model = method()
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    features, order = torch.randn(5, 96), np.array([4, 2, 0, 1, 3])
    epochs = np.zeros(5, dtype=np.int64)
    there = model.loss(features[order], np.arange(5)[order], epochs)
    assert there.item() == pytest.approx(model.loss(features, np.arange(5), epochs).item(), abs=1e-6)


def test_one_class_per_image_trains_in_batches_of_two_in_bf16():
    model = method(labels=np.arange(5, dtype=np.int64), num_classes=5).train()
    torch.nn.init.normal_(model.head.weight, std=0.1)
    with BF16.autocast():
        loss = model.loss(model.encode(torch.randn(2, 3, 32, 32)), np.array([4, 0]), np.zeros(2, dtype=np.int64))
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
