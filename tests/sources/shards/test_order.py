"""Which images a run sees, and in which order, does not depend on who reads them: not on the number
of loader workers, nor on that of ranks, nor on when a run was stopped.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from headwater.loader import Feeder, Order
from headwater.methods import Crop, Mixing
from headwater.pretrain.batches import Batches
from headwater.ranks import Ranks
from headwater.sources.pixels import StreamedImages
from headwater.sources.shards import ShardSource, open_shards
from headwater.study.recipe import Augmentation
from tests.sources.shards.tars import corpus

N, BATCH, SEEN = 70, 16, 200
STEPS = -(-SEEN // BATCH)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ShardSource:
    return open_shards("web", str(corpus(tmp_path_factory.mktemp("web"), 7, 10)))


def batches(source: ShardSource, positions: np.ndarray, ranks: Ranks) -> Batches:
    return Batches(
        StreamedImages(source, positions, 16, threads=2),
        Order(source.hashes[positions], SEEN, BATCH, 0),
        (Crop(1),),
        Augmentation(),
        16,
        0,
        torch.device("cpu"),
        ranks,
        Mixing(None, None),
    )


def seen(
    source: ShardSource, positions: np.ndarray, workers: int, size: int, stops: tuple[int, ...] = ()
) -> str:
    """A digest of the ids and pixels of every step, ranks one after the other; read anew from the
    shards after each of some steps, as a run that was killed there does.
    """
    digest = hashlib.sha256()
    whole = [batches(source, positions, Ranks(rank, size)) for rank in range(size)]
    for start, stop in zip((0, *stops), (*stops, STEPS), strict=True):
        feeders = [Feeder(each.make, start, stop, workers=workers) for each in whole]
        for feeder in feeders:
            feeder.__enter__()
        for _ in range(start, stop):
            for feeder in feeders:
                made = next(feeder)
                ids = source.table.ids[positions[made.batch.positions]]
                edges = made.pixels.sizes.tolist()
                for sample, image, (h, w) in zip(ids, made.pixels.images, edges, strict=True):
                    digest.update(sample.encode())
                    digest.update(image[:h, :w].numpy().tobytes())
        for feeder in feeders:
            feeder.close()
    return digest.hexdigest()


@pytest.mark.parametrize("some", [pytest.param(None, marks=pytest.mark.slow), 33])
def test_it_is_the_same_for_any_workers_ranks_and_stops(
    source: ShardSource, some: int | None
) -> None:
    positions = np.arange(N)
    if some is not None:
        positions = np.sort(np.random.default_rng(0).permutation(N)[:some])
    first = seen(source, positions, 0, 1)
    for workers in (1, 2, 4, 8):
        assert seen(source, positions, workers, 1) == first
    for size in (2, 4):
        assert seen(source, positions, 2, size) == first
    for stop in (1, 4, STEPS - 1):
        assert seen(source, positions, 2, 1, (stop,)) == first
    assert seen(source, positions, 1, 2, (2, 3, 9)) == first


def test_an_epoch_sees_each_image_once_and_no_other(source: ShardSource) -> None:
    """Without replacement, whatever the epoch; the last one is cut."""
    positions = np.sort(np.random.default_rng(1).permutation(N)[:41])
    order = Order(source.hashes[positions], SEEN, BATCH, 0)
    steps = [order.at(step) for step in range(order.steps)]
    rows = np.concatenate([row for row, _ in steps])
    epochs = np.concatenate([epoch for _, epoch in steps])
    assert len(rows) == SEEN
    for epoch in range(SEEN // 41):
        assert sorted(rows[epochs == epoch].tolist()) == list(range(41))
    last = rows[epochs == SEEN // 41]
    assert len(last) == SEEN % 41 == len(set(last.tolist()))


def test_a_reopened_index_and_moved_shards_give_the_same_order(
    source: ShardSource, tmp_path: Path
) -> None:
    moved = open_shards("elsewhere", str(corpus(tmp_path / "other", 7, 10)), cache=tmp_path / "c")
    for again in (moved, open_shards("x", str(tmp_path / "other"), cache=tmp_path / "c")):
        assert seen(again, np.arange(N), 2, 1) == seen(source, np.arange(N), 0, 1)
