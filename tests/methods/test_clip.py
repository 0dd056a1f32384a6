"""CLIP: its two losses and what they learn, and the two short cuts of the text tower against the
tower without them.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from headwater.labels.captions import choose
from headwater.methods import Batch, build
from headwater.methods.clip import Clip, ClipRecipe
from headwater.methods.contrastive import clip_loss, siglip_loss
from headwater.models import build_encoder
from headwater.recipes import resolve
from headwater.study import Study
from tests.conftest import tiny
from tests.toy import BF16, hashes, normal

CAPTIONS = [
    ["a red dog", "a dog that sleeps in the long grass by the river"],
    ["a red dog"],
    ["two cats"],
    ["a cup of tea", "tea"],
    ["two cats"],
    ["rain!"],
]


def method(captions: list[list[str]] = CAPTIONS, seed: int = 0, **words: object) -> Clip:
    recipe = ClipRecipe(**{"embedding": 16, "text_width": 32, "text_heads": 2, **words})
    made = build(
        "clip",
        build_encoder("tiny", 32, seed=0),
        recipe=recipe,
        seed=seed,
        targets=None,
        captions=captions,
        hashes=hashes(len(captions)),
    )
    assert isinstance(made, Clip)
    return made


def test_the_temperature_starts_at_the_recipes_and_its_bound_can_be_left_again():
    model = method(temperature=0.07)
    assert model.logit_scale.exp().item() == pytest.approx(1 / 0.07, rel=1e-5)
    with torch.no_grad():
        model.logit_scale.fill_(7.0)
    positions, epochs = np.array([1, 2, 3]), np.zeros(3, dtype=np.int64)
    texts = model.text(
        model._tokens[[model._text_index[t] for t in ("a red dog", "two cats", "tea")]]
    ).detach()
    loss = model.loss(
        (-texts, texts), Batch(positions, epochs)
    )  # every image points away from its caption, so that a lower scale is better
    loss.backward()
    assert loss.item() <= 200  # inverse temperatures are bounded by 100
    assert model.logit_scale.item() == pytest.approx(math.log(100))
    assert model.logit_scale.grad > 0


@pytest.mark.parametrize(
    "captions", [CAPTIONS, [["tea"], ["!~"], ["!$!$ (!("], ["a!a !b"]], [["word " * 100], ["tea"]]]
)
def test_the_trimmed_text_tower_equals_the_untrimmed_one(captions):
    """Exact under the causal mask, with the embedding's rows that occur put back where the
    tokenizer numbers them.

    "!" is token 0, which also pads, so that counting zeros would cut the end off captions such as
    "!~".
    """
    from open_clip.tokenizer import SimpleTokenizer
    from open_clip.transformer import TextTransformer

    model = method(captions)
    texts = sorted(model._text_index)
    whole = SimpleTokenizer()(texts)
    assert whole.shape[1] == 77
    assert model._tokens.shape[1] == max((row == 49407).nonzero()[0].item() + 1 for row in whole)
    tower = TextTransformer(
        context_length=77, vocab_size=49408, width=32, heads=2, layers=2, output_dim=16
    )
    weights = model.text.state_dict()
    padded = tower.positional_embedding.detach().clone()
    padded[: model._tokens.shape[1]] = weights["positional_embedding"]
    rows = tower.token_embedding.weight.detach().clone()
    rows[torch.unique(whole)] = weights["token_embedding.weight"]
    tower.load_state_dict(
        {**weights, "positional_embedding": padded, "token_embedding.weight": rows}
    )
    with torch.no_grad():
        torch.testing.assert_close(model.text(model._tokens), tower(whole), atol=1e-5, rtol=0)


def test_encoding_distinct_captions_once_and_by_length_has_the_value_and_gradient_of_each():
    model = method()
    positions, epochs = np.array([2, 4, 1, 0, 2, 3]), np.array([0, 0, 0, 1, 1, 1])
    embeddings = normal(6, 16)
    chosen = [
        choose([CAPTIONS[p]], int(e), 0, hashes(6)[[p]])[0]
        for p, e in zip(positions, epochs, strict=True)
    ]
    assert len(set(chosen)) < len(chosen)
    each = torch.cat([model.text(model._tokens[[model._text_index[text]]]) for text in chosen])
    slow = clip_loss(embeddings, each, model.logit_scale.exp())
    slow.backward()
    gradients = {name: p.grad.clone() for name, p in model.text.named_parameters()}
    model.zero_grad()
    batch = Batch(positions, epochs)
    fast = model.loss((embeddings, model._texts(batch)), batch)
    fast.backward()
    assert fast.item() == pytest.approx(slow.item(), abs=1e-5)
    for name, p in model.text.named_parameters():
        torch.testing.assert_close(p.grad, gradients[name], atol=1e-5, rtol=1e-3)


def test_captions_train_with_plain_attention_on_a_processor_and_images_do_not():
    model, flash = method(), {}
    model.text.transformer.register_forward_hook(
        lambda *_: flash.update(text=torch.backends.cuda.flash_sdp_enabled())
    )
    model.encoder.register_forward_hook(
        lambda *_: flash.update(images=torch.backends.cuda.flash_sdp_enabled())
    )
    model.encode((normal(2, 3, 32, 32),), Batch(np.array([0, 2]), np.zeros(2, dtype=np.int64)))
    assert flash == {"text": False, "images": True}
    assert torch.backends.cuda.flash_sdp_enabled()


@pytest.mark.parametrize("positions", [[], [4], [2, 4]])
def test_fewer_captions_than_groups_and_none_at_all_are_encoded(positions):
    texts = method()._texts(
        Batch(np.array(positions, dtype=np.int64), np.zeros(len(positions), dtype=np.int64))
    )
    assert texts.shape == (len(positions), 16)


def test_permuting_a_batch_does_not_change_its_loss():
    model = method()
    embeddings, epochs = normal(6, 16), np.array([0, 0, 1, 1, 1, 2])
    order = np.array([5, 1, 4, 0, 2, 3])
    batch, permuted = Batch(np.arange(6), epochs), Batch(np.arange(6)[order], epochs[order])
    here = model.loss((embeddings, model._texts(batch)), batch)
    there = model.loss((embeddings[order], model._texts(permuted)), permuted)
    assert there.item() == pytest.approx(here.item(), abs=1e-5)


def test_towers_follow_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a, b, c = method(seed=1), method(seed=1), method(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(a.projection.weight, c.projection.weight)
    assert not torch.equal(a.text.token_embedding.weight, c.text.token_embedding.weight)


def test_a_batch_of_two_has_finite_losses_and_gradients_in_bf16():
    model = method().train()
    with BF16.autocast():
        batch = Batch(np.array([0, 2]), np.zeros(2, dtype=np.int64))
        loss = model.loss(model.encode((normal(2, 3, 32, 32),), batch), batch)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


# SigLIP
@pytest.mark.parametrize(
    ("words", "scale"),
    [({}, 10.0), ({"temperature": 0.07}, 1 / 0.07), ({"temperature": 0.05}, 20.0)],
)
def test_siglip_starts_at_its_papers_scale_and_bias_unless_the_study_names_a_temperature(
    words, scale
):
    study = Study.model_validate(tiny(recipe={"contrast": "siglip", "clip": words}))
    recipe = resolve(study, "clip")
    assert recipe is not None
    model = method(contrast=recipe.contrast, temperature=recipe.temperature)
    assert model.logit_scale.exp().item() == pytest.approx(scale, rel=1e-5)
    assert model.logit_bias.item() == -10
    assert (
        resolve(Study.model_validate(tiny(recipe={"contrast": "infonce"})), "clip").temperature
        == 0.07
    )


def test_the_recipe_chooses_the_loss_and_what_is_learned():
    positions = Batch(np.array([0, 2, 3]), np.zeros(3, dtype=np.int64))
    for words, expected in (
        ({}, {"logit_scale"}),
        ({"contrast": "infonce"}, {"logit_scale"}),
        ({"contrast": "siglip"}, {"logit_scale", "logit_bias"}),
    ):
        model = method(**words)
        embeddings = normal(3, 16), model._texts(positions)
        learned = dict(model.named_parameters())
        loss = model.loss(embeddings, positions)
        scale = model.logit_scale.exp()
        plain = (
            siglip_loss(*embeddings, scale, model.logit_bias)
            if "logit_bias" in expected
            else clip_loss(*embeddings, scale)
        )
        assert torch.equal(loss, plain)
        loss.backward()
        of_loss = {name for name in learned if "." not in name}
        assert of_loss == expected
        assert {id(p) for p in model.loss_parameters()} == {id(learned[name]) for name in expected}
        assert all(p.grad is not None and p.grad != 0 for p in model.loss_parameters())


def test_collapse_is_told_by_the_number_of_pairs_of_an_image():
    assert "ln(128)" in (method().at_chance(math.log(128), 128) or "")
    assert method().at_chance(math.log(255), 128) is None
    assert "128 x 128" in (method(contrast="siglip").at_chance(math.log(128) + 1, 128) or "")
    assert method(contrast="siglip").at_chance(math.log(128), 128) is None


@pytest.mark.parametrize("context", [None, 5, 77, 90])
def test_captions_are_read_up_to_the_context_of_the_recipe(context: int | None) -> None:
    """Two captions of 82 words that differ in the last one: 84 tokens with start and end."""
    long = "word " * 81
    model = method([[long + "red"], [long + "blue"], ["tea"]], context=context)
    read = context or 77
    assert model._tokens.shape[1] == min(read, 84)
    one, other = (model._tokens[model._text_index[long + last]] for last in ("red", "blue"))
    assert torch.equal(one, other) == (read < 84)
