"""Encoders: weights by key, shapes as promised, and files that plain timm reads."""

from __future__ import annotations

import json

import pytest
import timm
import torch
from torch import nn

from headwater import digests, models
from headwater.errors import InputError
from headwater.files import file_sha256
from headwater.models import (
    architecture,
    build_encoder,
    forward_flops,
    has_batch_norm,
    load_encoder,
    notes,
    num_tokens,
    save_encoder,
    trained_encoder,
)
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
def test_an_encoder_gives_one_vector_per_image_of_the_width_that_it_says_and_is_ready_to_train(
    backbone,
):
    encoder = build_encoder(backbone, 32, seed=0)
    assert encoder.training
    assert all(
        torch.equal(b, torch.zeros_like(b))
        for name, b in encoder.named_buffers()
        if name.endswith("running_mean")
    )
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


DOCUMENTED = (
    "timm.create_model(architecture, num_classes=0, **model_args, "
    'checkpoint_path="encoder.safetensors")'
)


@pytest.mark.parametrize(
    ("backbone", "patch_size", "model_args"),
    [
        ("tiny", None, {}),
        ("test_efficientnet", None, {}),
        ("resnet18", None, {}),
        ("test_vit", None, {"img_size": 32}),
        ("test_vit", 4, {"img_size": 32, "patch_size": 4}),
        (
            "test_convnext",
            2,
            {"patch_size": 2},
        ),  # patches of its stem, and no argument for the image size
    ],
)
def test_a_saved_encoder_loads_back_bit_equal_here_and_with_the_documented_line_in_timm(
    tmp_path, monkeypatch, backbone, patch_size, model_args
):
    encoder = build_encoder(backbone, 32, seed=3, patch_size=patch_size)
    encoder(images(n=8)).square().mean().backward()  # batch statistics move off their start
    encoder.to(memory_format=torch.channels_last)
    save_encoder(tmp_path, encoder, backbone=backbone, image_size=32, patch_size=patch_size)
    ours = load_encoder(tmp_path)
    assert not ours.training
    assert same_bits(state(ours), state(encoder))
    about = digests.read_record(tmp_path / "encoder.json")
    assert about.pop("sha256") == file_sha256(tmp_path / "encoder.safetensors")
    told = {
        "backbone": backbone,
        "image_size": 32,
        "num_features": encoder.num_features,
        "model_args": model_args,
    }
    assert about == {"architecture": architecture(backbone), **told}
    assert "".join(DOCUMENTED.split()) in "".join((models.__doc__ or "").split())
    monkeypatch.chdir(tmp_path)
    theirs = eval(DOCUMENTED, {"timm": timm, **about}).eval()
    assert torch.equal(theirs(images()), ours(images()))
    torch.testing.assert_close(
        encoder.eval()(images()), ours(images()), atol=1e-5, rtol=1e-5
    )  # other memory, other order of sums


@pytest.mark.parametrize(
    ("backbone", "patch_size"),
    [("resnet50", None), ("vit_base_patch16_224", 4), ("vit_base_patch16_224", None)],
)
def test_a_large_encoder_has_the_shapes_that_timm_makes_of_its_arguments(backbone, patch_size):
    """On the meta device, which holds shapes alone: their weights are hundreds of megabytes."""
    with torch.device("meta"):
        ours = build_encoder(backbone, 32, seed=0, patch_size=patch_size)
        theirs = timm.create_model(backbone, num_classes=0, **ours.model_args)
    assert [(name, t.shape) for name, t in ours.state_dict().items()] == [
        (name, t.shape) for name, t in theirs.state_dict().items()
    ]
    if patch_size == 4:
        assert ours.pos_embed.shape == (1, 8 * 8 + 1, 768)


def test_an_encoder_from_before_the_arguments_were_written_loads(tmp_path):
    for backbone in ("tiny", "test_vit"):
        encoder = build_encoder(backbone, 32, seed=3)
        save_encoder(tmp_path, encoder, backbone=backbone, image_size=32)
        about = digests.read_record(tmp_path / "encoder.json")
        del about["model_args"]
        (tmp_path / "encoder.json").write_text(json.dumps(about))
        assert same_bits(state(load_encoder(tmp_path)), state(encoder))


WORDS = {
    "architecture": "test_resnet",
    "backbone": "tiny",
    "image_size": 32,
    "num_features": 96,
    "model_args": {},
}


@pytest.mark.parametrize(
    "about",
    [
        "", "[]", "{}", "null",
        {**WORDS, "image_size": "big"}, {**WORDS, "image_size": -1}, {**WORDS, "architecture": 5},
        {**WORDS, "architecture": "nothing"},
        {**WORDS, "model_args": []}, {**WORDS, "model_args": None},
        {**WORDS, "model_args": {"patch_size": 0}}, {**WORDS, "model_args": {"patch_size": "4"}},
        {**WORDS, "model_args": {"img_size": 64}}, {**WORDS, "model_args": {"patch_size": 4}},
        {**WORDS, "model_args": {"pretrained": 1}},
        {**WORDS, "model_args": {"checkpoint_path": "other.pth"}},
    ],
)  # fmt: skip
def test_damaged_words_about_an_encoder_are_named_as_such(tmp_path, about):
    save_encoder(tmp_path, build_encoder("tiny", 32, seed=0), backbone="tiny", image_size=32)
    written = digests.read_record(tmp_path / "encoder.json")
    assert written == {**WORDS, "sha256": file_sha256(tmp_path / "encoder.safetensors")}
    (tmp_path / "encoder.json").write_text(about if isinstance(about, str) else json.dumps(about))
    with pytest.raises(InputError, match="no readable encoder"):
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


def test_a_trained_encoder_whose_bytes_are_not_those_that_were_trained_is_refused(tmp_path):
    """One bit that flips on a disk leaves a file that loads, and would pass for a result."""
    save_encoder(tmp_path, build_encoder("tiny", 32, seed=0), backbone="tiny", image_size=32)
    weights = tmp_path / "encoder.safetensors"
    sha256, data = file_sha256(weights), bytearray(weights.read_bytes())
    assert same_bits(state(trained_encoder(tmp_path, sha256)), state(load_encoder(tmp_path)))
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(InputError, match=r"encoder\.safetensors is not what was written"):
        load_encoder(tmp_path)
    with pytest.raises(InputError, match=r"encoder\.safetensors: is missing or damaged"):
        trained_encoder(tmp_path, sha256)


def test_flops_equal_a_count_by_hand():
    """A 3 to 8 channel 3 x 3 convolution on 16 x 16 outputs, then an 8 to 10 linear map; a
    multiply-add is 2.
    """
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 10),
    )
    assert forward_flops(net, 32) == 2 * (16 * 16 * 8 * 3 * 3 * 3) + 2 * 8 * 10


def test_counting_flops_changes_nothing_and_works_where_the_weights_are():
    encoder = build_encoder("tiny", 32, seed=0)
    before = state(encoder)
    counted = forward_flops(encoder, 32)
    assert encoder.training
    assert same_bits(before, state(encoder))
    assert forward_flops(encoder, 64) > 3 * counted
    assert (
        forward_flops(encoder.to("meta"), 32) == counted
    )  # stands for a GPU: the images must be made where the weights are


def linear(inputs: int, outputs: int, tokens: int) -> int:
    return 2 * tokens * inputs * outputs


def test_the_flops_of_vit_b_are_the_sum_over_its_layers_attention_counted():
    """Patches of 16 px of a 224 px image are 196 tokens, and one for the class; 12 blocks of width
    768. The classifier is left out.
    """
    tokens, width = 197, 768
    attention = 2 * (
        2 * tokens * tokens * width
    )  # queries times keys, and weights times values, over all heads together
    block = (
        linear(width, 3 * width, tokens)
        + attention
        + linear(width, width, tokens)
        + 2 * linear(width, 4 * width, tokens)
    )
    by_hand = linear(3 * 16 * 16, width, 196) + 12 * block
    assert by_hand == pytest.approx(35.1e9, rel=0.01)  # as published: 17.6 G multiply-adds
    with torch.device("meta"):
        assert forward_flops(
            timm.create_model("vit_base_patch16_224", num_classes=0), 224
        ) == pytest.approx(by_hand, rel=0.03)


def test_the_flops_of_resnet_50_are_the_sum_over_its_convolutions():
    by_hand, width, side = 2 * 7 * 7 * 3 * 64 * 112**2, 64, 56
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner = 64 * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            by_hand += 2 * width * inner * side**2  # 1 x 1, before the stride
            side //= stride
            by_hand += 2 * (9 * inner * inner + inner * 4 * inner) * side**2
            by_hand += 2 * width * 4 * inner * side**2 if not block else 0
            width = 4 * inner
    assert by_hand == pytest.approx(8.2e9, rel=0.01)  # as published: 4.1 G multiply-adds
    with torch.device("meta"):
        assert forward_flops(timm.create_model("resnet50", num_classes=0), 224) == pytest.approx(
            by_hand, rel=0.03
        )


def test_attention_is_counted_on_the_processor_too_where_fused_kernels_run():
    encoder = build_encoder("test_vit", 32, seed=0, patch_size=2)
    assert any(getattr(m, "fused_attn", False) for m in encoder.modules()), (
        "nothing is fused here, and nothing is tested"
    )
    with torch.device("meta"):
        assert forward_flops(encoder, 32) == forward_flops(
            timm.create_model("test_vit", num_classes=0, **encoder.model_args), 32
        )
    tokens, width, blocks = 16 * 16 + 1, encoder.num_features, len(encoder.blocks)
    without = forward_flops(encoder, 32) - blocks * 2 * (2 * tokens * tokens * width)
    inputs = encoder.blocks[0].mlp.fc1.out_features
    assert without == linear(3 * 4, width, 256) + blocks * (
        4 * linear(width, width, tokens) + 2 * linear(width, inputs, tokens)
    )


# patches
def test_the_patch_size_sets_how_many_patches_a_vit_sees():
    encoder = build_encoder("test_vit", 32, seed=0, patch_size=4)
    assert num_tokens(encoder) == 64
    assert encoder.model_args == {"img_size": 32, "patch_size": 4}
    assert encoder.eval()(images()).shape == (3, encoder.num_features)
    assert num_tokens(build_encoder("tiny", 32, seed=0)) is None
    assert same_bits(
        state(build_encoder("test_vit", 32, seed=0)),
        state(build_encoder("test_vit", 32, seed=0, patch_size=16)),
    ), "its own is 16"


@pytest.mark.parametrize(
    ("backbone", "size", "patch", "told"),
    [
        (
            "test_vit",
            32,
            5,
            r"patch_size: 32 px is no multiple of 5; the nearest that fit are 4 and 8",
        ),
        ("test_vit", 32, 64, r"no multiple of 64; the nearest that fit are 32$"),
        ("tiny", 32, 4, r"patch_size: the backbone 'tiny' has no patches"),
        ("resnet18", 32, 4, r"has no patches whose size could be chosen; leave patch_size out"),
    ],
)
def test_a_patch_size_that_cannot_be_is_refused_with_its_place_and_what_would_do(
    backbone, size, patch, told
):
    with pytest.raises(InputError, match=told) as caught:
        build_encoder(backbone, size, seed=0, patch_size=patch)
    assert caught.value.at == ("patch_size",)


def test_a_vit_whose_own_patches_do_not_fit_the_image_is_refused_with_those_that_would():
    with pytest.raises(
        InputError,
        match=r"'test_vit' does not take images of 40 px .*its patches have 16 px: set patch_size; "
        r".* 10 and 20$",
    ):
        build_encoder("test_vit", 40, seed=0)


# what to know before training
def test_a_vit_of_few_patches_is_warned_of_with_a_patch_size_that_gives_64():
    (told,) = notes("test_vit", 32)
    assert "sees 4 patches of an image of 32 px; patch_size: 4 gives it 64" in told
    (told,) = notes("test_vit", 48, patch_size=16)
    assert "sees 9 patches" in told
    assert "patch_size: 6 gives it 64" in told
    (told,) = notes("test_vit", 30, patch_size=10)
    assert "patch_size: 3 gives it 100" in told, (
        "nothing gives 64; 36 are further off in proportion"
    )


def test_nothing_is_said_of_what_is_well():
    for backbone, size, patch in (
        ("test_vit", 32, 4),
        ("test_vit", 64, None),
        ("tiny", 32, None),
        ("test_convnext", 32, None),
    ):
        assert notes(backbone, size, patch) == []


def test_patches_that_cannot_be_chosen_are_said_to_be_so():
    (told,) = notes("mixer_s32_224", 64)
    assert "sees 4 patches" in told
    assert "choose larger images or another backbone" in told


@pytest.mark.parametrize(
    ("backbone", "has"),
    [
        ("tiny", True),
        ("test_efficientnet", True),
        ("test_vit", False),
        ("test_nfnet", False),
        ("test_convnext", False),
    ],
)
def test_batch_norm_is_found_and_warned_of_where_a_batch_is_split(backbone, has):
    encoder = build_encoder(backbone, 32, seed=0)
    assert has_batch_norm(encoder) == has
    alone, halves = (
        encoder(images(n=4)),
        torch.cat([encoder(half) for half in images(n=4).split(2)]),
    )
    assert torch.allclose(alone, halves, atol=1e-4) != has
    assert notes(backbone, 64, batch_is_split=False) == []
    assert [("BatchNorm" in told) for told in notes(backbone, 64, batch_is_split=True)] == (
        [True] if has else []
    )
