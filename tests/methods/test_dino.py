"""DINO: the loss and the centre against lightly's, the teacher's average, crops of two sizes,
FLOPs by hand, kills.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from headwater.errors import InputError
from headwater.methods import Batch, build, check_encoder
from headwater.methods.dino import Dino, DinoRecipe
from headwater.models import build_encoder, forward_flops
from headwater.registry import METHODS
from tests.pretrain.test_loop import Dying, Killed, run, without_rate
from tests.toy import hashes, normal, same_bits, state


def method(backbone: str = "test_vit", seed: int = 0, **words: object) -> Dino:
    encoder = build_encoder(backbone, 32, seed=0, patch_size=4 if backbone != "tiny" else None)
    recipe = DinoRecipe(**{"prototypes": 48, "head_width": 64, "bottleneck": 16, **words})
    made = build("dino", encoder, recipe=recipe, seed=seed, hashes=hashes(6))
    assert isinstance(made, Dino)
    return made


def images(n: int) -> Batch:
    return Batch(np.arange(n), np.zeros(n, dtype=np.int64))


def views(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return normal(2 * n, 3, 32, 32, seed=seed), normal(4 * n, 3, 16, 16, seed=seed + 1)


def test_loss_and_centre_are_those_of_lightly_over_three_steps():
    """DINOLoss of lightly on the same outputs: equal to 1e-5, the centre after each step too."""
    from lightly.loss import DINOLoss

    ours = method()
    theirs = DINOLoss(output_dim=48, teacher_temp=0.04, student_temp=0.1, center_momentum=0.9)
    for step in range(3):
        batch = images(5)
        student, teacher = (o.detach() for o in ours.encode(views(5, seed=10 * step), batch))
        assert (student.shape, teacher.shape) == ((5, 6, 48), (5, 2, 48))
        loss = ours.loss((student, teacher), batch)
        expected = theirs(list(teacher.unbind(1)), list(student.unbind(1)))
        assert float(loss) == pytest.approx(float(expected), rel=1e-5)
        ours.after_step(step, 3)
        torch.testing.assert_close(ours.centre, theirs.center.reshape(-1), rtol=1e-5, atol=1e-7)


def test_the_teacher_is_an_average_of_the_student_and_nothing_else_trains_it():
    model = method(teacher_momentum=0.9)
    before = [p.clone() for p in model.teacher_encoder.parameters()]
    loss = model.loss(model.encode(views(4), images(4)), images(4))
    loss.backward()
    assert all(p.grad is None for p in model.teacher_encoder.parameters())
    assert all(p.grad is None for p in model.teacher_head.parameters())
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.add_(1.0)
    model.after_step(0, 10)
    for p, old in zip(model.teacher_encoder.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), old + 0.1, atol=1e-5, rtol=1e-5)
    model.loss(model.encode(views(4), images(4)), images(4))
    middle = [p.clone() for p in model.teacher_encoder.parameters()]
    model.after_step(5, 10)  # half way along the cosine from 0.9 to 1
    student = list(model.encoder.parameters())
    for p, old, now in zip(model.teacher_encoder.parameters(), middle, student, strict=True):
        torch.testing.assert_close(p.detach(), old + 0.05 * (now - old), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backbone", ["tiny", "test_vit", "vit_tiny_patch16_224"])
def test_crops_of_two_sizes_go_through_one_encoder(backbone):
    """As each size alone: a ViT's positions are resampled for the small ones."""
    model = method(backbone).eval()
    student, _ = model.encode(views(3), images(3))
    large, small = views(3)
    for first, crops, alone in ((0, 2, large), (2, 4, small)):
        by_crop = model._outputs("", alone).reshape(crops, 3, -1)
        for crop in range(crops):
            torch.testing.assert_close(student[:, first + crop], by_crop[crop])


def test_the_recipe_says_the_crops():
    large, small = Dino.crops(DinoRecipe(), 32)
    assert (large.count, large.image_size, large.augmentation) == (2, None, None)
    assert (small.count, small.image_size) == (4, 16)
    assert (small.augmentation.crop_min, small.augmentation.crop_max) == (0.1, 0.4)
    assert [crop.count for crop in Dino.crops(DinoRecipe(local_crops=0), 32)] == [2]
    assert DinoRecipe(local_crop_min=0.5).fault(()) is not None


def test_flops_are_four_passes_of_large_crops_and_three_of_small_ones():
    recipe = DinoRecipe(prototypes=48, head_width=64, bottleneck=16)
    encoder = build_encoder("tiny", 32, seed=0)
    large, small = forward_flops(encoder, 32), forward_flops(encoder, 16)
    head = 2 * (96 * 64 + 64 * 64 + 64 * 16 + 16 * 48)
    by_hand = 2 * 4 * (large + head) + 4 * 3 * (small + head)
    assert Dino.image_flops(recipe, encoder, 32) == pytest.approx(by_hand, rel=1e-9)


def test_a_student_that_tells_nothing_is_told():
    model = method(prototypes=100)
    assert "ln(100)" in (model.at_chance(math.log(100), 64) or "")
    assert model.at_chance(0.9 * math.log(100), 64) is None


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["tiny", "test_vit"])
def test_a_killed_run_ends_with_the_same_bits_and_keeps_the_teacher(tmp_path, backbone):
    words = {
        "backbone": backbone,
        "prototypes": 64,
        "head_width": 64,
        "bottleneck": 16,
        "local_crops": 2,
    }
    whole, _, curve = run(tmp_path / "whole", "dino", **words)
    with pytest.raises(Killed):
        run(tmp_path / "killed", "dino", pixels=Dying(4), every=-1.0, **words)
    again, _, curve_again = run(tmp_path / "killed", "dino", **words)
    assert same_bits(state(whole), state(again))
    assert without_rate(curve) == without_rate(curve_again)
    assert same_bits(state(whole.encoder), state(whole.teacher_encoder))


def test_a_batch_in_parts_has_the_gradient_of_the_whole():
    from tests.pretrain.test_gradients import gradients, made

    model, batches = made("dino", "test_vit", prototypes=48, head_width=64, bottleneck=16)
    loss, whole = gradients(model, batches, None)
    in_parts, parts = gradients(model, batches, 7)
    assert in_parts == pytest.approx(loss, rel=1e-5)
    scale = max(float(g.abs().max()) for g in whole.values())
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, atol=1e-5 * scale, rtol=1e-4)


def test_crops_that_are_no_multiple_of_the_patches_are_refused_with_their_line():
    with pytest.raises(
        InputError, match=r"crops of 18 px are no multiple .* 4 px; 16 is"
    ) as caught:
        method(local_size=18)
    assert caught.value.at == ("recipe", "dino", "local_size")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mae", "dino"])
def test_a_backbone_of_fixed_size_is_refused_in_one_line(name):
    """Its blocks are called like a ViT's, and it takes no other tokens or sizes."""
    encoder = build_encoder("beit_base_patch16_224", 64, seed=0)
    recipe = METHODS[name].recipe()
    with pytest.raises(InputError, match=r"backbone: ") as caught:
        check_encoder(encoder, 64, {name: recipe, "scratch": None})
    assert caught.value.at == ("backbone",)
