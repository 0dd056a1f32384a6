"""Encoders: weights by key, shapes as promised, and files that plain timm reads."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from torch import nn

from headwater.errors import InputError
from headwater.models import architecture, build_encoder, forward_flops, load_encoder, save_encoder
from tests.toy import same_bits, state

SMALL = ("tiny", "test_vit", "test_convnext", "test_efficientnet", "test_nfnet")


def images(size: int = 32, n: int = 3) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backbone", SMALL)
def test_weights_are_a_function_of_the_seed(backbone):
    a, b, c = (build_encoder(backbone, 32, seed=seed) for seed in (1, 1, 2))
    assert same_bits(state(a), state(b))
    drawn = [name for name, p in a.named_parameters() if p.ndim > 1 and p.std() > 0]
    assert drawn
    assert all(not torch.equal(state(a)[name], state(c)[name]) for name in drawn)


def test_building_leaves_the_global_generator_alone_and_does_not_depend_on_it():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    a = build_encoder("tiny", 32, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same_bits(state(a), state(build_encoder("tiny", 32, seed=0)))


@pytest.mark.parametrize("backbone", SMALL)
def test_an_encoder_gives_one_vector_per_image_of_the_width_that_it_says_and_is_ready_to_train(backbone):
    encoder = build_encoder(backbone, 32, seed=0)
    assert encoder.training
    assert all(torch.equal(b, torch.zeros_like(b)) for name, b in encoder.named_buffers() if name.endswith("running_mean"))
    assert encoder.eval()(images()).shape == (3, encoder.num_features)


def test_tiny_is_what_its_documentation_says():
    encoder = build_encoder("tiny", 32, seed=0)
    assert encoder.num_features == 96
    assert sum(p.numel() for p in encoder.parameters()) == pytest.approx(0.37e6, rel=0.02)


def test_an_unknown_backbone_is_refused_with_near_names():
    with pytest.raises(InputError, match=r"no architecture 'resnet1'.*resnet1\d.*tiny"):
        build_encoder("resnet1", 32, seed=0)
    with pytest.raises(InputError, match="tiny"):
        architecture("hf-hub:somebody/model")


def test_an_architecture_that_cannot_take_the_image_size_is_refused():
    with pytest.raises(InputError, match=r"'inception_v3' does not take images of 32 px"):
        build_encoder("inception_v3", 32, seed=0)


@pytest.mark.parametrize(("backbone", "more"), [("tiny", {}), ("test_efficientnet", {}), ("test_vit", {"img_size": 32})])
def test_a_saved_encoder_loads_back_bit_equal_here_and_with_the_documented_line_in_timm(tmp_path, backbone, more):
    encoder = build_encoder(backbone, 32, seed=3)
    encoder(images(n=8)).square().mean().backward()  # batch statistics move off their start
    encoder.to(memory_format=torch.channels_last)
    save_encoder(tmp_path, encoder, backbone=backbone, image_size=32)
    ours = load_encoder(tmp_path)
    assert not ours.training
    assert same_bits(state(ours), state(encoder))
    about = json.loads((tmp_path / "encoder.json").read_text())
    assert about == {"architecture": architecture(backbone), "backbone": backbone, "image_size": 32, "num_features": encoder.num_features}
    theirs = timm.create_model(about["architecture"], num_classes=0, checkpoint_path=str(tmp_path / "encoder.safetensors"), **more).eval()
    assert torch.equal(theirs(images()), ours(images()))
    torch.testing.assert_close(encoder.eval()(images()), ours(images()), atol=1e-5, rtol=1e-5)  # other memory, other order of sums


@pytest.mark.parametrize(
    "about",
    ["", "[]", "{}", "null", '{"backbone": "tiny", "image_size": "big"}', '{"backbone": 5, "image_size": 32}', '{"backbone": "nothing", "image_size": 32}'],
)
def test_damaged_words_about_an_encoder_are_named_as_such(tmp_path, about):
    save_encoder(tmp_path, build_encoder("tiny", 32, seed=0), backbone="tiny", image_size=32)
    (tmp_path / "encoder.json").write_text(about)
    with pytest.raises(InputError):
        load_encoder(tmp_path)


def test_damaged_missing_or_foreign_weights_are_refused(tmp_path):
    save_encoder(tmp_path, build_encoder("tiny", 32, seed=0), backbone="tiny", image_size=32)
    weights = tmp_path / "encoder.safetensors"
    whole = weights.read_bytes()
    for damaged in (b"", whole[:100], whole[:-7], b"\xff" * len(whole)):
        weights.write_bytes(damaged)
        with pytest.raises(InputError, match="no readable encoder"):
            load_encoder(tmp_path)
    weights.unlink()
    with pytest.raises(InputError, match="no readable encoder"):
        load_encoder(tmp_path)
    save_encoder(tmp_path, build_encoder("test_vit", 32, seed=0), backbone="tiny", image_size=32)
    with pytest.raises(InputError, match="no readable encoder"):
        load_encoder(tmp_path)


def test_flops_equal_a_count_by_hand():
    """A 3 to 8 channel 3 x 3 convolution on 16 x 16 outputs, then an 8 to 10 linear map; a multiply-add is 2."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    assert forward_flops(net, 32) == 2 * (16 * 16 * 8 * 3 * 3 * 3) + 2 * 8 * 10


def test_counting_flops_changes_nothing_and_works_where_the_weights_are():
    encoder = build_encoder("tiny", 32, seed=0)
    before = state(encoder)
    counted = forward_flops(encoder, 32)
    assert encoder.training
    assert same_bits(before, state(encoder))
    assert forward_flops(encoder, 64) > 3 * counted
    assert forward_flops(encoder.to("meta"), 32) == counted  # stands for a GPU: the images must be made where the weights are
