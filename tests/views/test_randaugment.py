"""RandAugment's operations against timm's on PIL images, and against torchvision's on tensors."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf

from headwater import keys
from headwater.study import Augmentation
from headwater.views import ViewMaker
from headwater.views.randaugment import OPERATIONS, operate, randaugment
from tests.views.batches import sample_of

TIMM = {
    "autocontrast": "AutoContrast",
    "equalise": "Equalize",
    "posterise": "PosterizeIncreasing",
    "solarise": "SolarizeIncreasing",
    "brightness": "BrightnessIncreasing",
    "contrast": "ContrastIncreasing",
    "saturation": "ColorIncreasing",
    "sharpness": "SharpnessIncreasing",
    "rotate": "Rotate",
    "shear x": "ShearX",
    "shear y": "ShearY",
    "translate x": "TranslateXRel",
    "translate y": "TranslateYRel",
}
LEVEL = 1 / 255
BYTES_TELL = {
    "equalise": 0,
    "posterise": 0,
    "solarise": 0,
    "contrast": 2,
    "saturation": 1.5,
    "sharpness": 1.5,
}
"""Levels by which PIL's result may be off ours: none where both work on bytes, one where it cuts
off what is behind the point, and more where it rounds the mean, the luma or the smoothed view as
well, and extrapolates from it.
"""
GEOMETRY = OPERATIONS[OPERATIONS.index("rotate") :]


def smooth(n: int = 3, size: int = 32) -> torch.Tensor:
    """Bytes as float32 [n, 3, size, size] in [0, 1], of no more than 210 levels, smooth enough that
    half a pixel matters little.
    """
    x = tvf.gaussian_blur(
        torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0)), [9, 9], [2.0, 2.0]
    )
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return (20 + 210 * (x - low) / (high - low)).round() / 255


def timms(
    name: str, x: torch.Tensor, magnitude: float, *, negative: bool, monkeypatch: pytest.MonkeyPatch
) -> torch.Tensor:
    """One of timm's operations, bilinear, filled with the mean colour that timm's own training
    fills with.
    """
    monkeypatch.setattr(random, "random", lambda: 1.0 if negative else 0.0)
    to_arguments = auto_augment.LEVEL_TO_ARG[name]
    arguments = to_arguments(magnitude, {}) if to_arguments else ()
    arguments = arguments if isinstance(arguments, tuple) else (arguments,)
    made = []
    for view in x:
        image = Image.fromarray((view.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
        moves = name in [TIMM[ours] for ours in GEOMETRY]
        extra = (
            {"resample": Image.Resampling.BILINEAR, "fillcolor": (124, 116, 104)} if moves else {}
        )
        made.append(
            torch.from_numpy(np.array(auto_augment.NAME_TO_OP[name](image, *arguments, **extra)))
            .permute(2, 0, 1)
            .float()
            / 255
        )
    return torch.stack(made)


COLOURS = sorted(set(TIMM) - set(GEOMETRY))
STRONG = [(name, 9.0, False) for name in COLOURS if name != "posterise"]
WEAK = [
    (name, magnitude, True)
    for name, magnitude in zip(COLOURS, itertools.cycle((0.0, 2.5, 5.0)), strict=False)
]


@pytest.mark.parametrize(
    ("name", "magnitude", "negative"), [*STRONG, *WEAK, ("posterise", 10.0, False)]
)
def test_colours_equal_timms_to_the_rounding_of_bytes(name, magnitude, negative, monkeypatch):
    x = smooth()
    ours = operate(name, x, magnitude=magnitude, negative=torch.full((3,), negative))
    of_timm = (
        9.0 if (name, magnitude) == ("posterise", 10.0) else magnitude
    )  # timm would keep no bit at 10, which Pillow refuses; ours keeps one
    theirs = timms(TIMM[name], x, of_timm, negative=negative, monkeypatch=monkeypatch)
    assert (ours - theirs).abs().max() < BYTES_TELL.get(name, 1.01) * LEVEL + 1e-5


@pytest.mark.parametrize(
    ("name", "magnitude", "negative"),
    [
        *((name, 9.0, False) for name in GEOMETRY),
        *((name, 3.0, True) for name in GEOMETRY),
        ("rotate", 0.0, False),
        ("translate x", 0.0, True),
    ],
)
def test_geometry_equals_timms_inside_the_image(name, magnitude, negative, monkeypatch):
    x = smooth()
    ours = operate(name, x, magnitude=magnitude, negative=torch.full((3,), negative))
    theirs = timms(TIMM[name], x, magnitude, negative=negative, monkeypatch=monkeypatch)
    filled = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    covered = (
        operate(
            name,
            filled + torch.ones_like(x),
            magnitude=magnitude,
            negative=torch.full((3,), negative),
        )
        - filled
    )  # 1 inside, 0 outside
    assert (ours - theirs)[covered > 1 - 1e-4].abs().max() < 1.01 * LEVEL
    if magnitude:
        assert (ours - theirs)[covered < 1e-4].abs().max() < LEVEL
    assert ((covered > 1 - 1e-4) | (covered < 1e-4)).float().mean() > 0.9
    if magnitude == 0:
        torch.testing.assert_close(ours, x, atol=2e-5, rtol=0)
    else:
        assert (ours - x).abs().max() > 0.05


@pytest.mark.parametrize("negative", [False, True])
def test_rotation_equals_torchvisions_but_at_the_border(negative):
    """There torchvision multiplies by the share inside twice."""
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ours = operate("rotate", x, magnitude=7.0, negative=torch.full((2,), negative))
    theirs = tvf.rotate(
        x, -21.0 if negative else 21.0, InterpolationMode.BILINEAR, fill=[0.485, 0.456, 0.406]
    )
    filled = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    covered = (
        operate(
            "rotate",
            filled + torch.ones_like(x),
            magnitude=7.0,
            negative=torch.full((2,), negative),
        )
        - filled
    )
    torch.testing.assert_close(
        ours[covered <= 0.0], filled.expand_as(x)[covered <= 0.0], atol=1e-6, rtol=0
    )
    whole = (theirs - (1 - covered) * filled) / covered.clamp(min=0.05) + (1 - covered) * filled
    torch.testing.assert_close(ours[covered > 0.05], whole[covered > 0.05], atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("autocontrast", tvf.autocontrast),
        ("brightness", lambda x: tvf.adjust_brightness(x, 1.63)),
        ("contrast", lambda x: tvf.adjust_contrast(x, 1.63)),
        ("saturation", lambda x: tvf.adjust_saturation(x, 1.63)),
        ("sharpness", lambda x: tvf.adjust_sharpness(x, 1.63)),
        ("equalise", lambda x: tvf.equalize((x * 255).round().to(torch.uint8)).float() / 255),
        ("posterise", lambda x: tvf.posterize((x * 255).round().to(torch.uint8), 2).float() / 255),
        ("solarise", lambda x: tvf.solarize(x, 77 / 255)),
        ("identity", lambda x: x),
    ],
)
def test_operations_equal_torchvisions_on_noise(name, theirs):
    x = (
        torch.randint(0, 256, (4, 3, 20, 20), generator=torch.Generator().manual_seed(0)).float()
        / 255
    )
    ours = operate(name, x.clone(), magnitude=7.0, negative=torch.zeros(4, dtype=torch.bool))
    torch.testing.assert_close(
        ours, theirs(x), atol=3e-4, rtol=0
    )  # torchvision rounds the luma weight of red


def test_flat_views_go_through_every_operation():
    for level in (0.0, 0.5, 1.0):
        x = torch.full((1, 3, 8, 8), level)
        for name in ("autocontrast", "equalise", "sharpness", "contrast", "saturation"):
            torch.testing.assert_close(
                operate(name, x, magnitude=9.0, negative=torch.zeros(1, dtype=torch.bool)),
                x,
                atol=1e-6,
                rtol=0,
            )


def test_operations_follow_one_another_and_keep_to_their_own_views():
    x = smooth(len(OPERATIONS))
    first = (torch.arange(len(OPERATIONS)) + 0.5) / len(OPERATIONS)
    u = torch.stack([first, torch.zeros_like(first), first.flip(0), torch.ones_like(first)], dim=1)
    made = randaugment(x, u, magnitude=6.0)
    for i, name in enumerate(OPERATIONS):
        once = operate(name, x[i : i + 1], magnitude=6.0, negative=torch.tensor([True]))
        twice = operate(OPERATIONS[-1 - i], once, magnitude=6.0, negative=torch.tensor([False]))
        torch.testing.assert_close(made[i : i + 1], twice, atol=1e-6, rtol=0)


def test_operations_are_drawn_equally_often_and_go_both_ways():
    """Two thousand views: every operation's share within 4 standard errors of 1 / 14."""
    n = 2000
    maker = ViewMaker(Augmentation(randaugment=2), 8, 0)
    u = maker._uniforms(
        keys.sample_hashes([str(i) for i in range(n)]), np.zeros(n, dtype=np.int64), 0
    )[:, -4:]
    share = 1 / len(OPERATIONS)
    for slot in (0, 2):
        counts = np.bincount(
            (u[:, slot].numpy() * len(OPERATIONS)).astype(int), minlength=len(OPERATIONS)
        )
        assert np.abs(counts / n - share).max() < 4 * (share * (1 - share) / n) ** 0.5
        assert abs(float((u[:, slot + 1] < 0.5).float().mean()) - 0.5) < 4 * 0.5 / n**0.5
    assert np.abs(np.corrcoef(u.numpy().T)[np.triu_indices(4, 1)]).max() < 5 / n**0.5


def test_randaugment_is_upright_and_comes_before_jitter():
    images, sizes, hashes, epochs = sample_of(40)
    words = {"crop_min": 0.5, "flip": 0.5}
    maker = ViewMaker(Augmentation(**words, randaugment=3, randaugment_magnitude=7.0), 32, 0)
    plain = ViewMaker(Augmentation(**words), 32, 0)(images, sizes, hashes, epochs, 0)
    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    expected = randaugment(
        plain * std + mean, maker._uniforms(hashes, epochs, 0)[:, -6:], magnitude=7.0
    )
    close = ((maker(images, sizes, hashes, epochs, 0) * std + mean) - expected).abs() < 1e-4
    assert (
        close.float().mean() > 0.98
    )  # a value at a threshold between two bytes may fall to either side
    default, nine = (
        ViewMaker(Augmentation(**words, randaugment=1, randaugment_magnitude=m), 32, 0)(
            images, sizes, hashes, epochs, 0
        )
        for m in (None, 9.0)
    )
    assert torch.equal(default, nine)
