"""MAE: the loss against lightly's modules, masks that belong to images, FLOPs by hand, kills."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from headwater.errors import InputError
from headwater.methods import Batch, build
from headwater.methods.mae import Mae, MaeRecipe
from headwater.models import build_encoder
from tests.conftest import refused, tiny, write_study
from tests.pretrain.test_loop import Dying, Killed, run, without_rate
from tests.toy import hashes, normal, same_bits, state


def method(batch: int = 6, patch_size: int = 8, seed: int = 0, **words: object) -> Mae:
    encoder = build_encoder("test_vit", 32, seed=0, patch_size=patch_size)
    made = build("mae", encoder, recipe=MaeRecipe(**words), seed=seed, hashes=hashes(batch))
    assert isinstance(made, Mae)
    return made.eval()


def images(n: int, epoch: int = 0) -> Batch:
    return Batch(np.arange(n), np.full(n, epoch))


@pytest.mark.parametrize("normalised", [True, False])
def test_the_loss_is_that_of_lightlys_encoder_and_decoder(normalised):
    """The same weights in lightly's MaskedVisionTransformerTIMM and MAEDecoderTIMM, the same masks:
    the loss is equal to 1e-5.
    """
    from lightly.models import utils
    from lightly.models.modules import masked_autoencoder_timm, masked_vision_transformer_timm

    vit = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=2, num_classes=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = masked_vision_transformer_timm.MaskedVisionTransformerTIMM(vit=vit)
        decoder = masked_autoencoder_timm.MAEDecoderTIMM(
            num_patches=16,
            patch_size=8,
            embed_dim=64,
            decoder_embed_dim=64,
            decoder_depth=2,
            decoder_num_heads=4,
            norm_layer=torch.nn.LayerNorm,
        )
    ours = build(
        "mae", vit, recipe=MaeRecipe(normalised_pixels=normalised), seed=0, hashes=hashes(5)
    ).eval()
    decoder.decoder_embed.load_state_dict(ours.decoder_embed.state_dict())
    decoder.decoder_blocks.load_state_dict(ours.decoder_blocks.state_dict())
    decoder.decoder_norm.load_state_dict(ours.decoder_norm.state_dict())
    decoder.decoder_pred.load_state_dict(ours.decoder_pixels.state_dict())
    views, batch = normal(5, 3, 32, 32), images(5)
    order = torch.from_numpy(ours._orders(batch))
    keep = torch.cat([torch.zeros(5, 1, dtype=torch.int64), order[:, :4] + 1], dim=1)
    hidden = order[:, 4:] + 1
    with torch.no_grad():
        decoder.mask_token.copy_(ours.mask_token)
        encoded = decoder.embed(theirs.encode(views, idx_keep=keep))
        tokens = utils.repeat_token(decoder.mask_token, (5, 17))
        tokens = utils.set_at_index(tokens, keep, encoded.type_as(tokens))
        drawn = decoder.predict(utils.get_at_index(decoder.decode(tokens), hidden))
        target = utils.get_at_index(utils.patchify(views, 8), hidden - 1)
        if normalised:
            target = utils.normalize_mean_var(target, dim=-1)
        expected = torch.nn.functional.mse_loss(drawn, target)
        loss = ours.loss(ours.encode((views,), batch), batch)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_which_patches_are_hidden_belongs_to_the_image_and_the_epoch():
    model = method(patch_size=4)
    together = model._orders(images(6))
    assert (together[3:5] == model._orders(Batch(np.array([3, 4]), np.zeros(2, int)))).all()
    assert (np.sort(together, axis=1) == np.arange(64)).all()
    assert (together != model._orders(images(6, epoch=1))).any(axis=1).all()
    assert (together != method(patch_size=4, seed=1)._orders(images(6))).any(axis=1).all()


@pytest.mark.parametrize(("mask", "hidden"), [(0.75, 48), (0.5, 32), (0.001, 1), (0.999, 63)])
def test_the_share_of_hidden_patches_is_the_recipes(mask, hidden):
    drawn, there = method(patch_size=4, mask=mask).encode((normal(6, 3, 32, 32),), images(6))
    assert drawn.shape == there.shape == (6, hidden, 48)


def test_what_is_hidden_does_not_reach_the_encoder():
    """Other pixels in hidden patches change what is to be drawn and nothing of what is drawn."""
    model, views, batch = method(), normal(6, 3, 32, 32), images(6)
    hidden = model._orders(batch)[:, 4:]
    changed = views.clone()
    for image, patches in enumerate(hidden):
        for patch in patches:
            row, column = 8 * (patch // 4), 8 * (patch % 4)
            changed[image, :, row : row + 8, column : column + 8] += 1.5 * normal(3, 8, 8, seed=7)
    (drawn, there), (drawn_again, other) = (model.encode((v,), batch) for v in (views, changed))
    torch.testing.assert_close(drawn, drawn_again)
    assert not torch.allclose(there, other)


def test_what_is_compiled_is_what_training_calls(monkeypatch):
    """MAE never calls the encoder as a whole."""
    compiled, called = [], set()
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **options: compiled.append((self, options))
    )
    model = method()
    model.compile()
    for module, options in compiled:
        assert options == {"dynamic": False}
        module.register_forward_pre_hook(lambda module, _: called.add(module))
    model.encode((normal(6, 3, 32, 32),), images(6))
    assert called == {module for module, _ in compiled} != set()


def test_flops_are_those_of_the_shown_patches_and_the_decoder():
    """By hand for test_vit (64 wide, 6 blocks, MLPs of 192) on 64 patches of 4 px, 16 of them shown
    beside the class token; the decoder is 64 wide, 2 blocks with MLPs of 256, on all 65 tokens.
    """

    def block(tokens: int, width: int, mlp: int) -> int:
        return 2 * tokens * (4 * width**2 + 2 * mlp * width) + 4 * tokens**2 * width

    encoder = 2 * 64 * 48 * 64 + 6 * block(17, 64, 192)
    decoder = 2 * 17 * 64 * 64 + 2 * block(65, 64, 256) + 2 * 64 * 64 * 48
    vit = build_encoder("test_vit", 32, seed=0, patch_size=4)
    assert Mae.image_flops(MaeRecipe(), vit, 32) == pytest.approx(3 * (encoder + decoder), rel=1e-9)


@pytest.mark.parametrize("backbone", ["tiny", "test_mambaout"])
def test_a_backbone_without_patches_to_hide_is_refused(backbone):
    with pytest.raises(InputError, match="needs a ViT"):
        build(
            "mae", build_encoder(backbone, 32, seed=0), recipe=MaeRecipe(), seed=0, hashes=hashes(2)
        )


def test_a_decoder_whose_heads_do_not_divide_its_width_is_refused():
    assert MaeRecipe(decoder_width=36, decoder_heads=8).fault(()) is not None
    assert MaeRecipe(decoder_width=40, decoder_heads=8).fault(()) is None


def test_it_learns_and_a_killed_run_ends_with_the_same_bits(tmp_path):
    words = {"backbone": "test_vit", "images": 32 * 12}
    whole, outcome, curve = run(tmp_path / "whole", "mae", **words)
    assert outcome.last_loss < 0.95 * curve[0]["loss"]
    with pytest.raises(Killed):
        run(tmp_path / "killed", "mae", pixels=Dying(7), every=-1.0, **words)
    again, _, curve_again = run(tmp_path / "killed", "mae", **words)
    assert same_bits(state(whole), state(again))
    assert without_rate(curve) == without_rate(curve_again)


def test_a_batch_in_parts_has_the_gradient_of_the_whole():
    from tests.pretrain.test_gradients import gradients, made

    model, batches = made("mae", "test_vit", mask=0.5)
    loss, whole = gradients(model, batches, None)
    in_parts, parts = gradients(model, batches, 7)
    assert in_parts == pytest.approx(loss, rel=1e-5)
    scale = max(float(g.abs().max()) for g in whole.values())
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, atol=1e-5 * scale, rtol=1e-4)


def test_a_study_with_such_a_backbone_is_refused_before_anything_runs(headwater, tmp_path):
    path = write_study(tmp_path / "study.yaml", tiny(methods=["scratch", "mae"], backbone="tiny"))
    line = 1 + path.read_text().splitlines().index("backbone: tiny")
    for command in (("plan", path), ("run", path, "--quiet")):
        refused(headwater(*command), f"line {line}", "mae hides patches", "needs a ViT")
