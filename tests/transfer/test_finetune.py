"""Fine-tuning: starts where it should, leaves its encoder alone, and admits when every learning
rate fails.
"""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from headwater import views
from headwater.models import build_encoder
from headwater.transfer import finetune as room
from headwater.transfer.features import extract
from headwater.transfer.finetune import (
    Classifier,
    FinetuneDiverged,
    Split,
    finetune,
    finetune_choice,
    predict,
)
from headwater.transfer.metrics import accuracy
from headwater.transfer.probe import probe
from headwater.transfer.protocols.finetune import Finetune
from tests.toy import BF16, FP32, hashes, same_bits, state, stripes

PIXELS, LABELS = stripes(40)
"""160 images of 4 classes: rows 0-79 are for training, 80-119 for validation, 120-159 for test."""


def split(rows: slice | np.ndarray, labels: np.ndarray = LABELS) -> Split:
    at = np.arange(len(LABELS))[rows]
    return Split(at, labels[at], hashes(len(LABELS))[at])


TRAIN, VAL, TEST = split(slice(0, 80)), split(slice(80, 120)), np.arange(120, 160)


def run(
    train: Split = TRAIN,
    val: Split = VAL,
    *,
    encoder=None,
    head=None,
    seed: int = 0,
    num_classes: int = 4,
    compute=FP32,
    **words,
):
    grid = Finetune(**{"steps": 30, "lr": (3e-3,), "batch": 32, "looks": 2, **words})
    encoder = encoder or build_encoder("tiny", 32, seed=0)
    return finetune(
        encoder,
        PIXELS,
        train,
        val,
        num_classes,
        grid,
        head=head,
        image_size=32,
        seed=seed,
        compute=compute,
    )


def scored(model: torch.nn.Module, rows: np.ndarray, labels: np.ndarray = LABELS) -> float:
    return accuracy(
        predict(model, PIXELS, rows, image_size=32, compute=FP32).argmax(1), labels[rows]
    )


@pytest.mark.slow
def test_training_images_are_learned_and_carry_over_to_others():
    model, chosen, val_value = run(steps=60)
    assert scored(model, TRAIN.rows) > 0.9
    assert scored(model, TEST) > 0.8
    assert val_value == scored(model, VAL.rows)
    choice = finetune_choice(model, chosen, val_value, PIXELS, TEST, image_size=32, compute=FP32)
    assert accuracy(choice.predictions, LABELS[TEST]) == scored(model, TEST)
    assert choice.predictions.dtype == np.int64


@pytest.mark.slow
def test_permuted_labels_leave_test_accuracy_at_chance():
    """Two permutations, 40 test images each: chance is 25 % with a standard error of 5."""
    scores = []
    for seed in (0, 1):
        permuted = np.random.default_rng(seed).permutation(LABELS)
        scores.append(
            scored(run(split(slice(0, 80), permuted), split(slice(80, 120), permuted))[0], TEST)
        )
    assert np.mean(scores) < 0.5


def test_the_encoder_that_is_passed_in_is_not_changed():
    encoder = build_encoder("tiny", 32, seed=0).eval()
    before, parameters = state(encoder), list(encoder.parameters())
    model, *_ = run(encoder=encoder, steps=2)
    assert same_bits(before, state(encoder))
    assert not encoder.training
    assert all(p.grad is None for p in parameters)
    assert not same_bits(before, state(model.encoder))


def test_a_zero_head_starts_at_the_logarithm_of_the_number_of_classes():
    model = Classifier(build_encoder("tiny", 32, seed=0), 7, None)
    logits = torch.from_numpy(predict(model, PIXELS, TRAIN.rows, image_size=32, compute=FP32))
    assert F.cross_entropy(logits, torch.from_numpy(TRAIN.labels)).item() == pytest.approx(
        math.log(7), abs=1e-6
    )


def test_a_head_from_the_probe_starts_at_the_probes_predictions():
    encoder = build_encoder("tiny", 32, seed=0)
    features = extract(encoder, PIXELS, image_size=32, compute=FP32)
    found = probe(
        features[TRAIN.rows], TRAIN.labels, features[VAL.rows], VAL.labels, 4, (1e-2, 1.0)
    )
    head, val_value = found.head, found.val_value
    logits = predict(
        Classifier(encoder, 4, head.folded()), PIXELS, VAL.rows, image_size=32, compute=FP32
    )
    assert np.abs(logits - head.logits(features[VAL.rows])).max() < 1e-2
    assert accuracy(logits.argmax(1), VAL.labels) == val_value > 0.5
    model, *_ = run(
        encoder=encoder, head=head.folded(), lr=(1e-9,), steps=1, looks=1, weight_decay=0.0
    )
    assert np.abs(model.head.weight.detach().numpy() - head.folded()[0]).max() < 1e-6


@pytest.mark.parametrize("compute", [FP32, BF16])
def test_a_repeat_is_bit_equal_and_another_seed_is_not(compute):
    (a, *about), (b, *about_b), (c, *_) = (
        run(seed=seed, steps=5, lr=(1e-3, 3e-3), compute=compute) for seed in (1, 1, 2)
    )
    assert same_bits(state(a), state(b))
    assert about == about_b
    assert not same_bits(state(a), state(c))


def test_each_learning_rate_starts_from_the_same_weights():
    """The grid (1e-3, 3e-3) gives, for the rate that it chose, what a grid of that rate alone
    gives.
    """
    model, chosen, value = run(steps=6, lr=(1e-3, 3e-3))
    alone, chosen_alone, value_alone = run(steps=6, lr=(chosen["lr"],))
    assert (chosen, value) == (chosen_alone, value_alone)
    assert same_bits(state(model), state(alone))


@pytest.mark.parametrize(
    ("steps", "looks", "expected"),
    [(9, 3, [3, 6, 9]), (10, 3, [4, 7, 10]), (5, 1, [5]), (2, 5, [1, 2])],
)
def test_validation_is_looked_at_at_equal_distances_and_at_the_end(
    monkeypatch, steps, looks, expected
):
    taken, looked = [0], []
    step, look = room._step, room.predict
    monkeypatch.setattr(
        room, "_step", lambda *args: (taken.__setitem__(0, taken[0] + 1), step(*args))[1]
    )

    def watched(model, pixels, rows, **more):
        assert np.array_equal(rows, VAL.rows)
        looked.append(taken[0])
        return look(model, pixels, rows, **more)

    monkeypatch.setattr(room, "predict", watched)
    _, chosen, _ = run(steps=steps, looks=looks, batch=4)
    assert looked == expected
    assert chosen["steps"] in expected


def test_fine_tuning_is_handed_train_and_val_only():
    assert not any("test" in name for name in inspect.signature(finetune).parameters)


@pytest.mark.parametrize(("lr", "steps"), [((1e30,), 1), ((1e30, 1e25), 12)])
def test_where_every_learning_rate_diverges_it_is_said(lr, steps):
    """One step: the loss before it is finite and the weights after it are not, so that only the
    look at validation can tell.
    """
    with pytest.raises(FinetuneDiverged, match="not finite at every learning rate"):
        run(lr=lr, steps=steps, looks=1)


def test_a_rate_that_diverges_does_not_spoil_one_that_does_not():
    model, chosen, _ = run(lr=(1e30, 1e-3), steps=4)
    alone, chosen_alone, _ = run(lr=(1e-3,), steps=4)
    assert chosen == chosen_alone
    assert same_bits(state(model), state(alone))


def test_a_broken_encoder_diverges_instead_of_scoring():
    encoder = build_encoder("tiny", 32, seed=0)
    next(encoder.parameters()).data[0] = math.nan
    with pytest.raises(FinetuneDiverged):
        run(encoder=encoder, steps=3)


def test_a_batch_larger_than_the_training_set_is_the_training_set():
    small = split(slice(0, 12))
    model, *_ = run(small, batch=512, steps=5)
    same, *_ = run(small, batch=12, steps=5)
    assert same_bits(state(model), state(same))


def test_two_images_of_two_classes_train_through_batch_normalisation():
    pair = split(np.array([0, 1]))
    model, chosen, _ = run(pair, split(np.array([80, 81])), num_classes=2, steps=20, looks=1)
    assert chosen["steps"] == 20
    assert scored(model, pair.rows) == 1.0
    assert all(p.isfinite().all() for p in model.parameters())


def test_fine_tuning_has_draws_of_its_own():
    """Augmentation in fine-tuning is not that of pre-training on the same images and seed."""
    images, sizes = (torch.from_numpy(a) for a in PIXELS.gather(np.arange(4)))
    words = views.Augmentation(crop_min=0.5, flip=0.5)
    made = [
        views.ViewMaker(words, 32, 0, purpose)(
            images, sizes, hashes(4), np.zeros(4, dtype=np.int64), 0
        )
        for purpose in ("augment", "finetune augment")
    ]
    assert not torch.equal(*made)


def test_a_head_that_is_given_is_a_candidate_before_the_first_step():
    """A learning rate that ruins the network leaves the probe that it started from; a head of zeros
    is no candidate.
    """
    encoder = build_encoder("tiny", 32, seed=0)
    features = extract(encoder, PIXELS, image_size=32, compute=FP32)
    found = probe(
        features[TRAIN.rows], TRAIN.labels, features[VAL.rows], VAL.labels, 4, (1e-2, 1.0)
    )
    _, chosen, value = run(encoder=encoder, head=found.head.folded(), lr=(3.0,), steps=2, looks=1)
    assert chosen == {"lr": None, "steps": 0} and value == found.val_value
    assert run(encoder=encoder, lr=(3.0,), steps=2, looks=1)[1]["steps"] == 2
