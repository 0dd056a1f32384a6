"""Supervised pre-training: each loss against values worked out by hand and against dense targets
given to torch and timm.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from headwater.labels import Targets
from headwater.labels.targets import LabelSets
from headwater.methods import Batch, Mix, build
from headwater.methods.supervised import SupervisedRecipe, sigmoid_loss, softmax_over_sets_loss
from headwater.models import build_encoder
from tests.toy import BF16, FP32, hashes, normal

LABELS = np.array([2, 0, 1, 2, 2], dtype=np.int64)
SETS = Targets(
    codes=np.array([0, 1, 2, 1, 0]),
    names=("a", "b", "c", "d"),
    view="level:1",
    sets=LabelSets.of([[0, 1], [1], [1, 2, 3]]),
)
MULTI_HOT = torch.tensor(
    [[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 1, 1], [0, 1, 0, 0], [1, 1, 0, 0]], dtype=torch.float64
)
"""SETS spelled out by hand: label b is on every image, c and d on one."""
IMAGES, ON = torch.tensor([0, 0, 1, 2, 2, 2, 3, 4, 4]), torch.tensor([0, 1, 1, 1, 2, 3, 1, 0, 1])
"""MULTI_HOT's ones, read off by eye."""
EPS = 2.0**-23
"""The relative spacing of float32."""


def method(
    smoothing: float = 0.0, labels: np.ndarray = LABELS, num_classes: int = 3
) -> torch.nn.Module:
    targets = Targets(
        codes=labels, names=tuple(f"c{i}" for i in range(num_classes)), view="level:0"
    )
    recipe = SupervisedRecipe(label_smoothing=smoothing)
    return build(
        "supervised",
        build_encoder("tiny", 32, seed=0),
        recipe=recipe,
        seed=0,
        targets=targets,
        captions=None,
        hashes=hashes(len(labels)),
    )


def batch(positions: np.ndarray) -> Batch:
    return Batch(positions, np.zeros(len(positions), dtype=np.int64))


def both(model: torch.nn.Module, views: torch.Tensor, positions: np.ndarray) -> torch.Tensor:
    """The loss of images, from their pixels."""
    return model.loss(model.encode((views,), batch(positions)), batch(positions))


@pytest.mark.parametrize("num_classes", [3, 50])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_training_starts_at_the_logarithm_of_the_number_of_classes(num_classes, smoothing):
    model = method(smoothing, num_classes=num_classes)
    loss = both(model, normal(5, 3, 32, 32), np.arange(5))
    assert loss.item() == pytest.approx(math.log(num_classes), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_equals_smoothed_cross_entropy_by_hand(smoothing):
    """The target gives 1 - s + s / 3 to the true class and s / 3 to each of the others (Szegedy et
    al. 2016).
    """
    model = method(smoothing)
    with torch.no_grad():
        model.head.weight.normal_(generator=torch.Generator().manual_seed(0))
        model.head.bias.copy_(torch.tensor([0.3, -0.2, 0.1]))
    features = torch.randn(4, 96, generator=torch.Generator().manual_seed(1))
    positions = np.array([3, 1, 2, 1])
    expected = 0.0
    for row, position in zip(features.double(), positions, strict=True):
        logits = [
            (w.double() @ row + b).item()
            for w, b in zip(model.head.weight, model.head.bias, strict=True)
        ]
        log_total = math.log(sum(math.exp(v) for v in logits))
        for c, logit in enumerate(logits):
            target = smoothing / 3 + (1 - smoothing if c == LABELS[position] else 0)
            expected -= target * (logit - log_total) / 4
    assert model.loss((features,), batch(positions)).item() == pytest.approx(expected, rel=1e-5)


def test_permuting_a_batch_does_not_change_its_loss():
    model = method()
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    features, order = normal(5, 96), np.array([4, 2, 0, 1, 3])
    there = model.loss((features[order],), batch(np.arange(5)[order]))
    here = model.loss((features,), batch(np.arange(5)))
    # a logit sums 96 products in float32, in an order that may change with the image's row
    assert there.item() == pytest.approx(here.item(), rel=96 * EPS)


def test_one_class_per_image_trains_in_batches_of_two_in_bf16():
    model = method(labels=np.arange(5, dtype=np.int64), num_classes=5).train()
    torch.nn.init.normal_(model.head.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    with BF16.autocast():
        loss = both(model, normal(2, 3, 32, 32), np.array([4, 0]))
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


# several labels
def of_sets(targets: Targets = SETS, **words: object) -> torch.nn.Module:
    recipe = SupervisedRecipe(**{"label_smoothing": 0.0, **words})
    return build(
        "supervised",
        build_encoder("tiny", 32, seed=0),
        recipe=recipe,
        seed=0,
        targets=targets,
        captions=None,
        hashes=hashes(len(targets)),
    )


@pytest.mark.parametrize(
    ("loss", "single", "several"),
    [
        (None, "softmax", "sigmoid"),
        ("softmax", "softmax", "softmax over sets"),
        ("sigmoid", "sigmoid", "sigmoid"),
    ],
)
def test_the_loss_follows_the_labels_unless_the_recipe_says_otherwise(loss, single, several):
    one = Targets(codes=LABELS, names=("a", "b", "c"), view="level:0")
    assert of_sets(one, loss=loss)._loss == single
    assert of_sets(SETS, loss=loss)._loss == several


@pytest.mark.parametrize("compute", [FP32, BF16])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_single_labels_give_the_bits_of_plain_cross_entropy(compute, smoothing):
    model = method(smoothing)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    features, positions = (
        torch.randn(4, 96, generator=torch.Generator().manual_seed(1)),
        np.array([3, 1, 2, 1]),
    )
    weight, bias = (
        p.detach().clone().requires_grad_() for p in (model.head.weight, model.head.bias)
    )
    with compute.autocast():
        loss = model.loss((features,), batch(positions))
        plain = F.cross_entropy(
            F.linear(features, weight, bias).float(),
            torch.tensor([2, 0, 1, 0]),
            label_smoothing=smoothing,
        )
    loss.backward()
    plain.backward()
    assert torch.equal(loss, plain)
    assert torch.equal(model.head.weight.grad, weight.grad)
    assert torch.equal(model.head.bias.grad, bias.grad)


def dense_sigmoid(logits: torch.Tensor, smoothing: float) -> torch.Tensor:
    target = (1 - smoothing) * MULTI_HOT + smoothing / 4
    return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype), reduction="sum") / 5


def dense_softmax(logits: torch.Tensor, smoothing: float) -> torch.Tensor:
    return F.cross_entropy(
        logits,
        (MULTI_HOT / MULTI_HOT.sum(1, keepdim=True)).to(logits.dtype),
        label_smoothing=smoothing,
    )


@pytest.mark.parametrize(
    ("ours", "dense"), [(sigmoid_loss, dense_sigmoid), (softmax_over_sets_loss, dense_softmax)]
)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(
    ("dtype", "scale", "tolerance"),
    [(torch.float64, 3.0, 1e-12), (torch.float32, 3.0, 1e-6), (torch.float32, 30.0, 1e-5)],
)
def test_the_few_ones_give_the_loss_and_the_gradient_of_dense_targets(
    ours, dense, smoothing, dtype, scale, tolerance
):
    logits = scale * torch.randn(5, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    a, b = (logits.clone().requires_grad_() for _ in range(2))
    loss, expected = ours(a, IMAGES, ON, smoothing), dense(b, smoothing)
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=tolerance)
    torch.testing.assert_close(a.grad, b.grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_one_label_each_under_sigmoid_is_timms_binary_cross_entropy(smoothing):
    from timm.loss import BinaryCrossEntropy

    logits, labels = (
        torch.randn(5, 3, generator=torch.Generator().manual_seed(0)),
        torch.from_numpy(LABELS),
    )
    expected = BinaryCrossEntropy(smoothing=smoothing, sum_classes=True)(logits, labels)
    assert sigmoid_loss(logits, torch.arange(5), labels, smoothing).item() == pytest.approx(
        expected.item(), rel=1e-6
    )


def test_losses_by_hand():
    """Logits of ln 3 and -ln 3 are probabilities of 3/4 and 1/4; softmax of (ln 3, 0) is (3/4,
    1/4).
    """
    right = torch.tensor([[math.log(3), -math.log(3)]])
    image, label = torch.tensor([0]), torch.tensor([0])
    assert sigmoid_loss(right, image, label).item() == pytest.approx(2 * math.log(4 / 3))
    assert sigmoid_loss(right, image, 1 - label).item() == pytest.approx(2 * math.log(4))
    assert sigmoid_loss(
        right, torch.tensor([], dtype=torch.int64), torch.tensor([], dtype=torch.int64)
    ).item() == pytest.approx(math.log(4) + math.log(4 / 3))
    both = softmax_over_sets_loss(
        torch.tensor([[math.log(3), 0.0]]), torch.tensor([0, 0]), torch.tensor([0, 1])
    )
    assert both.item() == pytest.approx(0.5 * math.log(4 / 3) + 0.5 * math.log(4))


def entropy(p: float) -> float:
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


@pytest.mark.parametrize("compute", [FP32, BF16])
def test_sigmoid_starts_at_the_entropy_of_each_labels_share(compute):
    """Of five images two have a, one c, one d. All have b: taken for 5 of 6, its part is -ln
    5/6.
    """
    model = of_sets()
    with compute.autocast():
        loss = both(model, normal(5, 3, 32, 32), np.arange(5))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(
        entropy(2 / 5) + math.log(6 / 5) + 2 * entropy(1 / 5), rel=1e-6
    )
    assert torch.count_nonzero(model.head.weight) == 0


def test_sigmoid_starts_at_the_entropy_of_smoothed_shares_where_labels_are_smoothed():
    """One label each, s = 0.3, three classes on 1, 1 and 3 of 5 images: targets of 0.7 + 0.1 and
    0.1.
    """
    model = of_sets(
        Targets(codes=LABELS, names=("a", "b", "c"), view="level:0"),
        loss="sigmoid",
        label_smoothing=0.3,
    )
    loss = model.loss((torch.zeros(5, 96),), batch(np.arange(5)))
    assert loss.item() == pytest.approx(
        2 * entropy(0.7 / 5 + 0.1) + entropy(0.7 * 3 / 5 + 0.1), rel=1e-6
    )


def test_a_rare_class_among_21843_starts_near_the_public_recipes_minus_ten():
    """big_vision's ImageNet-21k configs set all biases to -10."""
    targets = Targets(codes=np.arange(21_843), names=tuple(map(str, range(21_843))), view="level:0")
    bias = of_sets(targets, loss="sigmoid").head.bias
    assert bias.min().item() == bias.max().item() == pytest.approx(-10, abs=0.01)


def test_softmax_over_sets_starts_at_the_logarithm_of_the_number_of_classes():
    model = of_sets(loss="softmax", label_smoothing=0.1)
    assert model.loss((normal(5, 96),), batch(np.arange(5))).item() == pytest.approx(
        math.log(4), rel=1e-6
    )


@pytest.mark.parametrize(
    ("loss", "dense"), [("sigmoid", dense_sigmoid), ("softmax", dense_softmax)]
)
@pytest.mark.parametrize("compute", [FP32, BF16])
def test_a_batch_of_sets_is_found_by_its_positions_in_full_precision(loss, dense, compute):
    model = of_sets(loss=loss, label_smoothing=0.2)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    features = torch.randn(5, 96, generator=torch.Generator().manual_seed(1))
    order = np.array([4, 2, 0, 1, 3])
    with compute.autocast():
        ours = model.loss((features[order],), batch(order))
    assert ours.item() == pytest.approx(
        dense(F.linear(features, model.head.weight, model.head.bias), 0.2).item(), rel=1e-5
    )


def test_sets_of_one_are_single_labels():
    plain, sets = (
        Targets(codes=LABELS, names=("a", "b", "c"), view="v"),
        Targets(LABELS, ("a", "b", "c"), "v", LabelSets.of([[0], [1], [2]])),
    )
    features = torch.randn(5, 96, generator=torch.Generator().manual_seed(1))
    for loss in ("softmax", "sigmoid"):
        a, b = (of_sets(targets, loss=loss) for targets in (plain, sets))
        assert torch.equal(a.head.bias, b.head.bias)
        of_each = [model.loss((features,), batch(np.arange(5))).item() for model in (a, b)]
        assert of_each[0] == pytest.approx(of_each[1], rel=1e-6)


# two images blended into one
def blended(positions: np.ndarray, partners: np.ndarray, share: float) -> Batch:
    epochs = np.zeros(len(positions), dtype=np.int64)
    return Batch(positions, epochs, Mix(partners, epochs, share))


def with_gradient(model: torch.nn.Module, loss: torch.Tensor) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return loss.item(), model.head.weight.grad.clone()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_blended_labels_are_timms_soft_targets(share, smoothing):
    """timm blends each image with the one at the mirrored place, and `lam` is the image's own
    share.
    """
    from timm.data.mixup import mixup_target
    from timm.loss import SoftTargetCrossEntropy

    model = method(smoothing)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    features, positions = normal(4, 96), np.array([3, 1, 2, 1])
    ours = with_gradient(
        model, model.loss((features,), blended(positions, positions[::-1].copy(), share))
    )
    target = mixup_target(
        torch.from_numpy(LABELS[positions]), 3, lam=1 - share, smoothing=smoothing
    )
    theirs = with_gradient(model, SoftTargetCrossEntropy()(model.head(features), target))
    assert ours[0] == pytest.approx(theirs[0], abs=1e-5)
    torch.testing.assert_close(ours[1], theirs[1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_blended_sets_are_the_dense_loss_of_blended_targets(loss, smoothing):
    model = of_sets(loss=loss, label_smoothing=smoothing)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    features, positions, partners, share = (
        normal(3, 96),
        np.array([2, 4, 0]),
        np.array([1, 2, 3]),
        0.35,
    )
    ours = with_gradient(model, model.loss((features,), blended(positions, partners, share)))
    sets = MULTI_HOT if loss == "sigmoid" else MULTI_HOT / MULTI_HOT.sum(1, keepdim=True)
    target = (1 - smoothing) * (
        (1 - share) * sets[positions] + share * sets[partners]
    ) + smoothing / 4
    logits = model.head(features)
    if loss == "sigmoid":
        dense = F.binary_cross_entropy_with_logits(logits, target.float(), reduction="sum") / 3
    else:
        dense = F.cross_entropy(logits, target.float())
    theirs = with_gradient(model, dense)
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    torch.testing.assert_close(ours[1], theirs[1], atol=1e-5, rtol=0)


def test_a_part_of_a_blended_batch_keeps_its_own_partners():
    model, features = method(), normal(4, 96)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    whole = blended(np.array([3, 1, 2, 1]), np.array([0, 4, 3, 2]), 0.4)
    parts = [slice(0, 1), slice(1, 4)]
    costs = [
        model.loss((features[part],), whole.part(part)).item() * len(whole.part(part))
        for part in parts
    ]
    assert model.loss((features,), whole).item() == pytest.approx(sum(costs) / 4, rel=1e-6)
