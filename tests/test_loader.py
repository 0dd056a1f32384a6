"""The order of a run: whole epochs, equal batches, and nothing but the seed and the ids decides it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import keys
from headwater.loader import Order
from headwater.study import Budget

HASHES = keys.sample_hashes([f"{i}.png" for i in range(60)])
RUNS = (st.integers(1, 60), st.integers(1, 300), st.integers(1, 70), st.integers(0, 5))


def drawn(order: Order) -> tuple[np.ndarray, np.ndarray]:
    steps = [order.at(step) for step in range(order.steps)]
    return np.concatenate([positions for positions, _ in steps]), np.concatenate([epochs for _, epochs in steps])


@given(*RUNS)
def test_every_epoch_is_a_permutation_and_no_sample_is_dropped(n, images, batch, seed):
    positions, epochs = drawn(Order(HASHES[:n], images, batch, seed))
    assert len(positions) == images
    assert epochs.tolist() == [i // n for i in range(images)]
    for epoch in range(images // n):
        assert sorted(positions[epochs == epoch].tolist()) == list(range(n))
    assert len(set(positions[epochs == images // n].tolist())) == images % n


@given(*RUNS)
def test_steps_are_the_ceiling_and_batches_are_as_equal_as_can_be(n, images, batch, seed):
    order = Order(HASHES[:n], images, batch, seed)
    sizes = [len(order.at(step)[0]) for step in range(order.steps)]
    assert order.steps == math.ceil(images / batch)
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(2, 300), st.integers(2, 70))
def test_no_batch_is_a_single_image_but_for_an_odd_number_of_images_in_batches_of_two(images, batch):
    order = Order(HASHES, images, batch, 0)
    smallest = min(len(order.at(step)[0]) for step in range(order.steps))
    assert smallest == 1 if batch == 2 and images % 2 else smallest >= 2


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 70))
def test_the_stream_of_images_does_not_depend_on_the_batch_size_or_the_budget(n, batch, other):
    short, long = Order(HASHES[:n], 100, batch, 3), Order(HASHES[:n], 150, other, 3)
    for a, b in zip(drawn(short), drawn(long), strict=True):
        assert np.array_equal(a, b[:100])


def test_a_step_is_the_same_whatever_was_asked_before():
    """A run that goes on from a checkpoint asks for step 25 first."""
    walked = Order(HASHES, 400, 10, 1)
    before = [walked.at(step) for step in range(40)]
    for step in (25, 3, 39, 3, 0):
        for fresh in (Order(HASHES, 400, 10, 1), walked):
            for a, b in zip(fresh.at(step), before[step], strict=True):
                assert np.array_equal(a, b)


def test_a_batch_that_spans_many_epochs_is_right():
    order = Order(HASHES[:3], 20, 20, 0)
    positions, epochs = order.at(0)
    assert epochs.tolist() == [i // 3 for i in range(20)]
    for epoch in range(6):
        assert sorted(positions[epochs == epoch].tolist()) == [0, 1, 2]


def test_seeds_purposes_and_epochs_give_other_orders():
    orders = [drawn(Order(HASHES, 60, 60, 0))[0], drawn(Order(HASHES, 60, 60, 1))[0], drawn(Order(HASHES, 60, 60, 0, "finetune order"))[0]]
    orders.append(drawn(Order(HASHES, 120, 120, 0))[0][60:])
    assert len({tuple(o.tolist()) for o in orders}) == 4


def test_the_order_follows_the_ids_not_their_positions():
    shuffled = np.random.default_rng(0).permutation(60)
    here, there = drawn(Order(HASHES, 60, 7, 2))[0], drawn(Order(HASHES[shuffled], 60, 7, 2))[0]
    assert np.array_equal(shuffled[there], here)


@pytest.mark.parametrize(
    ("budget", "images", "steps"),
    [
        (Budget(epochs=2), 200, 7),
        (Budget(epochs=0.5), 50, 2),
        (Budget(epochs=0.001), 1, 1),
        (Budget(images_seen=130), 130, 5),
        (Budget(steps=5), 160, 5),
    ],
)
def test_all_three_forms_of_a_budget_count_images_and_steps(budget, images, steps):
    hashes = keys.sample_hashes([str(i) for i in range(100)])
    order = Order(hashes, budget.images(100, batch=32), 32, 0)
    assert order.images == images == sum(len(order.at(step)[0]) for step in range(order.steps))
    assert order.steps == steps
