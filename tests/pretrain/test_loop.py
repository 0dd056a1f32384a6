"""The loop: same seed, same bits, stopped or not; losses fall; divergence is said; images are
counted once.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers import DropPath

from headwater import methods
from headwater.device import Compute
from headwater.labels import Targets
from headwater.labels.targets import LabelSets
from headwater.loader import Order
from headwater.models import build_encoder
from headwater.pretrain import Diverged, OnlineProbe, Outcome, Progress, pretrain, write_curve
from headwater.registry import METHODS as AXIS
from headwater.study.recipe import Budget, Recipe
from headwater.transfer.features import extract
from tests.toy import BF16, FP32, hashes, same_bits, state, stripes

PIXELS, LABELS = stripes(32)
HASHES = hashes(len(LABELS))
TARGETS = Targets(codes=LABELS, names=("a", "b", "c", "d"), view="level:0")
CAPTIONS = [
    [
        f"stripes of {('tiny', 'small', 'large', 'huge')[c]} period",
        f"{('tiny', 'small', 'large', 'huge')[c]} stripes",
    ]
    for c in LABELS
]
SETS = Targets(
    codes=LABELS,
    names=("small", "large", "even", "odd"),
    view="level:1",
    sets=LabelSets.of([[0, 2], [0, 3], [1, 2], [1, 3]]),
)
METHODS = ("supervised", "clip", "simclr")


def recipe(method: str, **words: Any) -> Recipe:
    small: dict[str, dict[str, Any]] = {
        "clip": {"embedding": 16, "text_width": 32, "text_heads": 2, "text_layers": 1},
        "simclr": {"embedding": 16, "head_width": 64},
    }
    return AXIS[method].recipe(**{"batch": 32, **small.get(method, {}), **words})


def run(
    folder: Path,
    method: str = "supervised",
    *,
    pixels: Any = PIXELS,
    targets: Targets = TARGETS,
    images: int = 192,
    seed: int = 0,
    compute: Compute = FP32,
    watch: Callable[[Progress], None] = lambda progress: None,
    every: float = 1e9,
    backbone: str = "tiny",
    drop_path: bool = False,
    probed: bool = False,
    stop_at: int | None = None,
    loader_workers: int | None = None,
    **words: Any,
) -> tuple[methods.Method, Outcome, list[dict[str, float]]]:
    """`drop_path`: stochastic depth, which draws from torch's generator.

    `stop_at`: so many steps at a constant rate.
    """
    words_of_run = recipe(method, **words)
    encoder = build_encoder(backbone, 32, seed=seed)
    if drop_path:
        for block in encoder.blocks:
            block.drop_path1 = block.drop_path2 = DropPath(0.5)
    model = methods.build(
        method,
        encoder,
        recipe=words_of_run,
        seed=seed,
        targets=targets,
        captions=CAPTIONS,
        hashes=HASHES,
    )
    order = Order(HASHES, images, words_of_run.batch, seed)
    if stop_at is not None:
        words_of_run = words_of_run.model_copy(update={"schedule": "constant", "warmup": 0.0})
        order = Order(HASHES, stop_at * (words_of_run.batch), words_of_run.batch, seed)
    outcome, curve = pretrain(
        model,
        pixels,
        order,
        words_of_run,
        image_size=32,
        seed=seed,
        compute=compute,
        checkpoints=folder,
        checkpoint_every_s=every,
        loader_workers=loader_workers,
        probe=OnlineProbe(
            lambda encoder: float(encoder(torch.ones(2, 3, 32, 32)).detach().mean().sigmoid()), 3
        )
        if probed
        else None,
        watch=watch,
    )
    return model, outcome, curve


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("compute", [FP32, BF16])
def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(tmp_path, method, compute):
    (a, *_), (b, *_), (c, *_) = (
        run(tmp_path / f"{i}", method, images=96, seed=seed, compute=compute)
        for i, seed in enumerate((1, 1, 2))
    )
    assert same_bits(state(a), state(b))
    assert not same_bits(state(a), state(c))


@pytest.mark.parametrize(
    "method", ["supervised", pytest.param("clip", marks=pytest.mark.slow), "simclr"]
)
def test_the_loss_falls(tmp_path, method):
    """Supervised from ln 4 = 1.39; SimCLR from about ln 63 = 4.14; CLIP cannot fall below ln 8 =
    2.08, since the 8 images of a class in a batch of 32 share their captions.
    """
    _, outcome, curve = run(tmp_path, method, images=32 * 40)
    first, last = float(np.mean([point["loss"] for point in curve[:4]])), outcome.last_loss
    assert last < first - {"supervised": 0.7, "clip": 0.3, "simclr": 1.0}[method]
    if method == "clip":
        assert last > math.log(8) - 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "first"), [(None, 4 * math.log(2)), ("softmax", math.log(4))])
def test_sets_of_labels_are_learned(tmp_path, loss, first):
    """Each image is small or large, and even or odd: shares of a half each, so sigmoid starts at 4
    ln 2. Softmax cannot fall below ln 2.
    """
    model, outcome, curve = run(tmp_path, targets=SETS, images=32 * 60, loss=loss)
    assert curve[0]["loss"] == pytest.approx(first, rel=1e-5)
    assert outcome.last_loss < (
        0.5 * first if loss is None else math.log(2) + 0.5 * (first - math.log(2))
    )
    others, classes = stripes(32, seed=1)
    with torch.no_grad():
        logits = model.head(
            torch.from_numpy(extract(model.encoder, others, image_size=32, compute=FP32))
        )
    two = logits.topk(2).indices.sort().values.numpy()
    assert (two == SETS.sets.labels.reshape(4, 2)[classes]).all(
        axis=1
    ).mean() > 0.7  # by chance 1/6


def without_rate(curve: list[dict[str, float]]) -> list[dict[str, float]]:
    """A curve but for what depends on the clock."""
    return [point | {"images_per_s": 0.0} for point in curve]


class Killed(Exception):
    """Stands for a kill in the middle of a step."""


class Dying:
    """Images whose reader dies when something is asked for the `at`-th time."""

    def __init__(self, at: int) -> None:
        self.batches, self.at = 0, at

    def __len__(self) -> int:
        return len(PIXELS)

    def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.batches += 1
        if self.batches == self.at:
            raise Killed
        return PIXELS.gather(rows)


RESUMED: list[tuple[str, Targets, dict[str, Any]]] = [
    *((method, TARGETS, {}) for method in METHODS),
    ("supervised", SETS, {}),
    (
        "supervised",
        TARGETS,
        {"ema": 0.9, "mixup": 0.4, "cutmix": 1.0, "backbone": "test_vit", "drop_path": True},
    ),
    ("supervised", TARGETS, {"micro_batch": 12, "optimiser": "sgd", "lr": 0.05}),
    ("clip", TARGETS, {"micro_batch": 12, "contrast": "siglip", "ema": 0.5}),
    (
        "simclr",
        TARGETS,
        {"micro_batch": 12, "optimiser": "lars", "lr": 0.3, "weight_decay": 1e-6, "probed": True},
    ),
]


ENDS = ((False, 0), (True, 1), (True, 0), (False, 1))


@pytest.mark.parametrize(
    ("resumed", "damage", "late"),
    [
        pytest.param(case, *end, marks=pytest.mark.slow if number % 4 else ())
        for number, (case, end) in enumerate(zip(RESUMED, itertools.cycle(ENDS), strict=False))
    ],
)
def test_a_run_that_was_killed_and_goes_on_ends_with_the_same_bits(
    tmp_path, monkeypatch, resumed, damage, late
):
    """Six steps, killed after three; with damage the newest checkpoint is truncated, so that the
    one before it is used. `late`: the loss of a step is read with the next one, as on a GPU. Mixed
    batches are asked for in two halves.
    """
    method, targets, words = resumed
    monkeypatch.setattr("headwater.pretrain._steps_late", lambda device: late)
    whole, outcome, curve = run(tmp_path / "whole", method, targets=targets, **words)
    with pytest.raises(Killed):
        run(
            tmp_path / "killed",
            method,
            targets=targets,
            pixels=Dying(7 if "mixup" in words else 4),
            every=-1.0,
            **words,
        )
    newest = max((tmp_path / "killed").glob("step-*.safetensors"))
    assert newest.stem == "step-0000000003"
    if damage:
        newest.write_bytes(newest.read_bytes()[:-1])
    again, outcome_again, curve_again = run(tmp_path / "killed", method, targets=targets, **words)
    assert same_bits(state(whole), state(again))
    assert dataclasses.replace(outcome, seconds=0.0) == dataclasses.replace(
        outcome_again, seconds=0.0
    )
    assert without_rate(curve) == without_rate(curve_again)
    assert [point["step"] for point in curve] == [1, 2, 3, 4, 5, 6]


def test_what_another_kind_of_machine_began_is_begun_anew(tmp_path):
    """Killed after three steps in float32, gone on in bfloat16: the bits are those of a run in
    bfloat16, not of three steps of each.
    """
    with pytest.raises(Killed):
        run(tmp_path / "killed", pixels=Dying(4), every=-1.0, compute=FP32)
    again, *_ = run(tmp_path / "killed", compute=BF16)
    whole, *_ = run(tmp_path / "whole", compute=BF16)
    assert same_bits(state(again), state(whole))


def test_an_average_is_what_is_kept(tmp_path):
    """Of the weights after each of three steps, w_i with share 0.5^(3 - i) / 1.75, BatchNorm's
    statistics as they are at the end.
    """
    seen = [run(tmp_path / str(n), images=32 * 6, ema=None, stop_at=n)[0] for n in (1, 2, 3)]
    kept, *_ = run(tmp_path / "kept", images=32 * 6, ema=0.5, stop_at=3)
    for name, value in state(kept).items():
        each = [state(model)[name] for model in seen]
        expected = (
            (each[0] + 2 * each[1] + 4 * each[2]) / 7
            if name in dict(kept.named_parameters())
            else each[2]
        )
        torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)


def test_a_gradient_norm_that_is_not_finite_stops_the_run(tmp_path, monkeypatch):
    from headwater.methods.supervised import Supervised

    plain = Supervised.loss

    class Steep(torch.autograd.Function):
        """The value is kept, the gradient overflows."""

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * math.inf

    monkeypatch.setattr(Supervised, "loss", lambda self, *args: Steep.apply(plain(self, *args)))
    with pytest.raises(Diverged, match=r"gradient norm (inf|nan) at step 0$"):
        run(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("images", [32 * 4, 32 * 4 + 1])
def test_a_contrastive_loss_at_chance_is_told_once_and_kept(tmp_path, monkeypatch, images):
    """Four batches of 32, or five of 25 and 26: chance is ln of the batches that there are, not of
    those that were asked for.
    """
    from headwater.methods.clip import Clip

    plain = Clip.encode
    monkeypatch.setattr(
        Clip, "encode", lambda self, *args: tuple(t * 0 + 1 for t in plain(self, *args))
    )
    told: list[Progress] = []
    _, outcome, _ = run(tmp_path, "clip", images=images, watch=told.append)
    assert len([one for one in told if one.note]) == 1
    assert [note.split(":")[0] for note in outcome.notes] == (
        [f"step {2}", "step 4"] if images == 128 else ["step 3", "step 5"]
    )
    assert f"ln({round(images / outcome.steps)})" in outcome.notes[0]
    assert run(tmp_path / "well", "simclr", images=32 * 20)[1].notes == ()


@pytest.mark.parametrize(
    ("method", "workers"), [("supervised", 1), ("clip", 2), ("simclr", 4), ("supervised", 4)]
)
def test_the_number_of_loader_workers_changes_no_bit(tmp_path, method, workers):
    alone, *_ = run(tmp_path / "0", method, loader_workers=0)
    helped, *_ = run(tmp_path / "n", method, loader_workers=workers)
    assert same_bits(state(alone), state(helped))


@pytest.mark.parametrize("method", METHODS)
def test_threads_that_make_batches_leave_the_cache_of_rounded_weights_alone(
    tmp_path, monkeypatch, method
):
    """torch keeps one for all threads; were it emptied in the midst of a step, bits would depend on
    the moment.
    """
    by: list[threading.Thread] = []
    plain = torch.clear_autocast_cache
    monkeypatch.setattr(
        torch, "clear_autocast_cache", lambda: (by.append(threading.current_thread()), plain())[1]
    )
    run(tmp_path, method, compute=BF16, loader_workers=2)
    assert len(by) == 6
    assert set(by) == {threading.main_thread()}


@pytest.mark.parametrize(
    ("budget", "images", "steps"),
    [
        (Budget(epochs=1.5), 192, 6),
        (Budget(images_seen=100), 100, 4),
        (Budget(steps=3), 96, 3),
        (Budget(epochs=0.05), 6, 1),
    ],
)
def test_every_form_of_budget_is_counted_in_images_not_views(tmp_path, budget, images, steps):
    told: list[Progress] = []
    _, outcome, curve = run(
        tmp_path, "simclr", images=budget.images(len(PIXELS), 32), watch=told.append
    )
    assert (outcome.images_seen, outcome.steps) == (images, steps)
    assert (told[-1].step, told[-1].steps) == (steps, steps)
    assert [point["step"] for point in curve] == list(range(1, steps + 1))


def test_every_image_is_gathered_as_often_as_the_order_says(tmp_path):
    seen = np.zeros(len(PIXELS), dtype=int)

    class Counted:
        def __len__(self) -> int:
            return len(PIXELS)

        def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            np.add.at(seen, rows, 1)
            return PIXELS.gather(rows)

    run(tmp_path, pixels=Counted(), images=256 + 50)
    assert np.bincount(seen).tolist() == [0, 0, 128 - 50, 50]


@pytest.mark.parametrize("broken_at", [0, 2])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(
    tmp_path, monkeypatch, broken_at
):
    from headwater.methods.supervised import Supervised

    plain, calls = Supervised.loss, []

    def loss(self, *args):
        calls.append(1)
        return plain(self, *args) * (math.nan if len(calls) == broken_at + 1 else 1.0)

    monkeypatch.setattr(Supervised, "loss", loss)
    with pytest.raises(Diverged, match=rf"loss nan at step {broken_at}$"):
        run(tmp_path)
    assert len(calls) == broken_at + 1


@pytest.mark.parametrize("images", [32, 192])
def test_a_learning_rate_beyond_reason_diverges_even_in_the_last_step(tmp_path, images):
    """With one step the only loss is ln 4, and what the step leaves is not finite."""
    with pytest.raises(Diverged):
        run(
            tmp_path,
            images=images,
            lr=1e38,
            schedule="constant",
            clip_norm=None,
            optimiser="sgd",
            weight_decay=1e30,
        )


def test_images_leave_the_loop_under_the_learning_rates_that_the_curve_shows(tmp_path):
    _, _, curve = run(tmp_path, images=32 * 8, warmup=0.25, schedule="linear", lr=0.01)
    assert [point["lr"] for point in curve] == pytest.approx(
        [0.01 / 3, 0.02 / 3] + [0.01 * (1 - i / 6) for i in range(6)]
    )


@pytest.mark.slow
def test_a_long_curve_has_a_hundred_points_whose_means_make_up_all_losses(tmp_path):
    _, outcome, curve = run(tmp_path, images=4 * 150, batch=4)
    assert outcome.steps == 150
    assert len(curve) == 100
    assert curve[-1]["step"] == 150
    widths = np.diff([0] + [point["step"] for point in curve])
    assert set(widths.tolist()) == {1, 2}
    write_curve(tmp_path / "metrics.jsonl", curve)
    assert [
        json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()
    ] == curve
