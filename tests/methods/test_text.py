"""The text side of a CLIP arm as it is kept: the same embeddings as in training, and no trace of
what was never trained.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from headwater.errors import InputError
from headwater.labels.prompts import Prompts
from headwater.labels.tokens import Heard
from headwater.methods.text import load_text
from tests.methods.test_clip import method


@pytest.fixture
def kept(tmp_path):
    model = method()
    model.eval().save_heads(tmp_path)
    return model, tmp_path


def test_captions_are_embedded_as_in_training(kept):
    model, folder = kept
    texts = sorted(model._text_index)
    with torch.no_grad():
        wanted = F.normalize(
            model.text(model._tokens[[model._text_index[t] for t in texts]]), dim=1
        )
    np.testing.assert_allclose(load_text(folder).embed(texts), wanted, atol=1e-6)


def test_the_class_head_gives_clips_logits(kept):
    model, folder = kept
    tower = load_text(folder)
    features = (
        np.random.default_rng(0).normal(size=(5, model.encoder.num_features)).astype(np.float32)
    )
    weight = tower.class_weights(("red dog", "cats"), ("a {}", "two {}"))
    with torch.no_grad():
        images = F.normalize(model.projection(torch.from_numpy(features)), dim=1).numpy()
    classes = [
        tower.embed([f"a {name}", f"two {name}"]).mean(axis=0) for name in ("red dog", "cats")
    ]
    wanted = (
        model.logit_scale.exp().item()
        * images
        @ np.stack([c / np.linalg.norm(c) for c in classes]).T
    )
    np.testing.assert_allclose(
        features @ weight.T / tower.lengths(features)[:, None], wanted, rtol=1e-4, atol=1e-4
    )


def test_tokens_that_no_caption_had_are_counted_and_say_nothing(kept):
    tower = load_text(kept[1])
    assert tower.unseen(["a red dog"]) == 0
    assert tower.unseen(["helicopter"]) == 1
    assert tower.unseen(["red helicopter"]) == pytest.approx(0.5)
    one, other = tower.embed(["a helicopter", "a zebra"])
    np.testing.assert_array_equal(one, other)
    assert np.abs(tower.embed(["a red dog"])[0] - one).max() > 1e-3


def test_a_prompt_that_is_longer_than_any_caption_is_cut(kept):
    tower = load_text(kept[1])
    assert np.isfinite(tower.embed(["dog " * 200])).all()


def test_a_missing_or_damaged_text_side_says_so(kept, tmp_path):
    with pytest.raises(InputError, match="keeps no text tower"):
        load_text(tmp_path / "elsewhere")
    about = json.loads((tmp_path / "text.json").read_text())
    (tmp_path / "text.json").write_text(json.dumps({**about, "width": 2**40}))
    with pytest.raises(InputError, match="damaged"):
        load_text(tmp_path)
    (tmp_path / "text.json").write_text(json.dumps(about))
    with (tmp_path / "text.safetensors").open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"xyz")
    with pytest.raises(InputError, match="not what was written"):
        load_text(tmp_path)


def test_class_names_whose_prompts_are_one_to_the_tower_are_counted(kept):
    tower = load_text(kept[1])
    assert tower.equal(("red dog", "cats"), ("a {}", "two {}")) == 0
    assert tower.equal(("red dog",), ("a {}",)) == 0
    # words that no caption had, case and spaces, prompts that are longer than any caption
    assert tower.equal(("helicopter", "zebra", "red dog"), ("a {}",)) == 2
    assert tower.equal(("Red  Dog", "red dog", "cats"), ("a {}",)) == 2
    assert tower.equal(("red dog", "cats", "a"), ("dog " * 200 + "{}",)) == 3
    # one template that tells them apart is enough
    assert tower.equal(("red dog", "cats"), ("dog " * 200 + "{}", "{}")) == 0


def test_the_tower_counts_what_its_captions_foretell(kept):
    model, folder = kept
    tower, heard = load_text(folder), Heard.of([list(model._text_index)])
    names = ("helicopter", "zebra", "red dog", "cats", "a", "Cats", "two red dogs")
    for templates in (("{}",), ("a {}", "two {}"), ("a dog a dog a dog a dog {}",)):
        alike = Prompts(names).alike(templates, heard)
        assert tower.equal(names, templates) == sum(map(len, alike)) > 0
