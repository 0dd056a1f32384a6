"""The order of a run: whole epochs, equal batches, and nothing but the seed and the ids decides it;
and batches made ahead of time by threads.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater import keys
from headwater.errors import InputError
from headwater.loader import Feeder, Order, workers_from_environment
from headwater.study import Budget

HASHES = keys.sample_hashes([f"{i}.png" for i in range(60)])
RUNS = (st.integers(1, 60), st.integers(1, 300), st.integers(1, 70), st.integers(0, 5))


def drawn(order: Order) -> tuple[np.ndarray, np.ndarray]:
    steps = [order.at(step) for step in range(order.steps)]
    return np.concatenate([positions for positions, _ in steps]), np.concatenate(
        [epochs for _, epochs in steps]
    )


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
def test_no_batch_is_a_single_image_but_for_an_odd_number_of_images_in_batches_of_two(
    images, batch
):
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
    orders = [
        drawn(Order(HASHES, 60, 60, 0))[0],
        drawn(Order(HASHES, 60, 60, 1))[0],
        drawn(Order(HASHES, 60, 60, 0, "finetune order"))[0],
    ]
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


def test_threads_that_ask_at_once_get_the_right_steps(monkeypatch):
    alone = Order(HASHES, 600, 10, 1)
    expected = [alone.at(step) for step in range(60)]
    permutation = keys.permutation
    monkeypatch.setattr(
        keys, "permutation", lambda key, hashes: time.sleep(0.002) or permutation(key, hashes)
    )  # others come in between
    shared = Order(HASHES, 600, 10, 1)
    with ThreadPoolExecutor(8) as pool:
        for got, right in zip(pool.map(shared.at, range(60)), expected, strict=True):
            for a, b in zip(got, right, strict=True):
                assert np.array_equal(a, b)


def test_threads_that_ask_for_one_epoch_at_once_compute_its_order_once(monkeypatch):
    computed, permutation, together = [], keys.permutation, threading.Barrier(6)

    def slow(key, hashes):
        computed.append(key)
        time.sleep(0.05)
        return permutation(key, hashes)

    def ask(step):
        together.wait(10)
        return order.at(step)

    monkeypatch.setattr(keys, "permutation", slow)
    order = Order(HASHES, 60, 10, 1)
    with ThreadPoolExecutor(6) as pool:
        positions = np.concatenate([positions for positions, _ in pool.map(ask, range(6))])
    assert sorted(positions.tolist()) == list(range(60))
    assert len(computed) == 1


def test_an_epoch_longer_than_what_threads_are_ahead_is_permuted_once(monkeypatch):
    computed, permutation = [], keys.permutation
    monkeypatch.setattr(
        keys, "permutation", lambda key, hashes: computed.append(key) or permutation(key, hashes)
    )
    order = Order(keys.sample_hashes([str(at) for at in range(1000)]), 3000, 10, 1)
    with Feeder(order.at, 0, order.steps, workers=4, depth=4) as batches:
        assert (
            len(
                np.unique(
                    np.concatenate([positions + 1000 * epochs for positions, epochs in batches])
                )
            )
            == 3000
        )
    assert len(computed) == 3


NUMBERS = (0, 1, 2, 4)
WORKERS = pytest.mark.parametrize("workers", NUMBERS)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def uneven(step: int) -> int:
    """Steps that end in another order than they begin."""
    time.sleep(0.002 * (step * 7 % 5))
    return step * step


SPANS = ((0, 30), (17, 30), (5, 6), (4, 4), (5, 4))
PAIRS = tuple(itertools.product(NUMBERS, (0, 1, 5)))


@pytest.mark.parametrize(
    ("workers", "depth", "span"),
    [(*pair, span) for pair, span in zip(PAIRS, itertools.cycle(SPANS), strict=False)],
)
def test_batches_come_in_order_from_start_to_stop(workers, depth, span):
    """Each number of workers with each depth; a span of steps with each of them in turn."""
    start, stop = span
    with Feeder(uneven, start, stop, workers=workers, depth=depth) as batches:
        assert list(batches) == [step * step for step in range(start, stop)]
        assert next(batches, "ended") == "ended"


@WORKERS
def test_values_are_the_same_bits_for_any_number_of_workers(workers):
    order = Order(HASHES, 400, 7, 1)

    def make(step):
        positions, _ = order.at(step)
        return keys.uniform(keys.key(0, "test", step), HASHES[positions], 3)

    alone = [make(step) for step in range(order.steps)]
    with Feeder(make, 0, order.steps, workers=workers) as batches:
        for made, right in zip(batches, alone, strict=True):
            assert made.tobytes() == right.tobytes()


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_make_as_many_batches_at_a_time(workers):
    together = threading.Barrier(workers)

    def make(step):
        together.wait(10)  # broken, and an error, unless as many are here at once
        return step

    with Feeder(make, 0, 3 * workers, workers=workers, depth=0) as batches:
        assert list(batches) == list(range(3 * workers))


def test_without_workers_a_batch_is_made_by_whoever_asks_and_when_it_is_asked_for():
    made = []

    def make(step):
        made.append((step, threading.get_ident()))
        return step

    with Feeder(make, 3, 9, workers=0) as batches:
        assert not made
        assert next(batches) == 3
        assert made == [(3, threading.get_ident())]


@pytest.mark.parametrize(("workers", "at"), [(0, 6), (1, 0), (2, 11), (4, 1), (4, 6)])
def test_an_exception_is_raised_at_its_step_and_ends_the_iteration(workers, at):
    def make(step):
        if step == at:
            raise InputError(f"a.jpg is damaged, step {step}")
        if step > at:
            raise ValueError("a later step's")
        return uneven(step)

    got = []
    with (
        pytest.raises(InputError, match=f"step {at}$"),
        Feeder(make, 0, 12, workers=workers) as batches,
    ):
        for value in batches:
            got.append(value)
    assert got == [step * step for step in range(at)]
    assert list(batches) == []


@WORKERS
def test_a_stop_iteration_in_a_batch_is_an_error_and_not_the_end_of_the_run(workers):
    with (
        pytest.raises(RuntimeError, match=r"step 2 raised StopIteration"),
        Feeder(lambda step: next(iter(range(step, 2))), 0, 9, workers=workers) as batches,
    ):
        list(batches)


@WORKERS
def test_a_loop_that_is_left_early_leaves_no_thread_and_begins_no_further_batch(workers):
    made = []

    def make(step):
        made.append(step)
        return step

    with Feeder(make, 0, 10**9, workers=workers, depth=3) as batches:
        for value in batches:
            if value == 5:
                break
    ended = len(made)
    assert ended <= 6 + workers + 3
    time.sleep(0.02)
    assert len(made) == ended


@WORKERS
def test_an_exception_of_the_consumer_passes_and_leaves_no_thread(workers):
    with pytest.raises(KeyError, match="mine"), Feeder(uneven, 0, 100, workers=workers) as batches:
        for value in batches:
            if value == 9:
                raise KeyError("mine")


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("depth", [0, 2])
def test_a_slow_consumer_finds_no_more_batches_than_workers_and_depth_allow(workers, depth):
    made, waiting = [], []

    def make(step):
        made.append(step)
        return step

    with Feeder(make, 0, 25, workers=workers, depth=depth) as batches:
        for taken, _ in enumerate(batches, start=1):
            time.sleep(0.003)
            waiting.append(len(made) - taken)
    assert max(waiting) == workers + depth, "as many are made as may be, and not one more"


@pytest.mark.parametrize("workers", [1, 4])
def test_what_was_handed_out_is_not_kept(workers):
    alive, most = set(), []

    class Value:
        def __init__(self, step):
            self.step = step
            alive.add(step)

        def __del__(self):
            alive.discard(self.step)

    with Feeder(Value, 0, 40, workers=workers, depth=2) as batches:
        for value in batches:
            most.append(len(alive))
            del value
    assert (
        max(most) <= workers + 2 + 2
    )  # and the one that a worker lets go of as it begins the next
    assert not alive


@pytest.mark.parametrize("stated", ["-1", "two", "", "1.5", "\u0663", " 2", "+1", "65", "9" * 5000])
def test_a_number_of_loader_workers_that_is_none_is_refused(stated, monkeypatch):
    monkeypatch.setenv("HEADWATER_LOADER_WORKERS", stated)
    with pytest.raises(
        InputError, match="HEADWATER_LOADER_WORKERS should be a number of threads from 0"
    ):
        workers_from_environment(1)


def test_the_environment_states_the_number_of_loader_workers(monkeypatch):
    monkeypatch.delenv("HEADWATER_LOADER_WORKERS", raising=False)
    assert workers_from_environment(3) == 3
    for stated in ("0", "4"):
        monkeypatch.setenv("HEADWATER_LOADER_WORKERS", stated)
        assert workers_from_environment(3) == int(stated)
