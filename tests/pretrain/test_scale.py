"""Two real processes (gloo) on one arm: the same images in the same order, the same loss, and the
weights of one process but for rounding.
"""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from headwater import methods, pretrain
from headwater.device import Compute
from headwater.loader import Order
from headwater.models import build_encoder
from headwater.ranks import ALONE, Ranks
from tests.pretrain.test_gradients import CAPTIONS, HASHES, LAYER_NORM, PIXELS, TARGETS, recipe
from tests.toy import FP32
from tests.two_ranks import start

METHODS = ("supervised", "clip", "simclr")
HOW: dict[str, dict[str, Any]] = {
    "ddp": {},
    "ddp in parts": {"micro_batch": 11},
    "fsdp": {"sharded": True},
    "fsdp in parts": {"sharded": True, "micro_batch": 5},
}
"""23 images are 11 and 12 for two ranks: at most 11 in a part makes two parts of either."""
CASES = (
    *(("ddp", method) for method in METHODS),
    ("ddp in parts", "clip"),
    ("ddp in parts", "simclr"),
    ("fsdp", "supervised"),
    ("fsdp", "clip"),
    ("fsdp in parts", "simclr"),
)
"""Each way with methods of both kinds, a mean over images and a contrast, and each method under
DDP and FSDP.
"""
TOLERANCE = 2e-4
"""Largest difference of a weight after four steps of SGD at 0.05, where weights move by up to 0.1:
sums over a batch are taken in another order.
"""


class Recorded:
    """The toy's images, and which of them were asked for."""

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(PIXELS)

    def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.rows.append(rows)
        return PIXELS.gather(rows)


def train(
    method: str,
    folder: Path,
    ranks: Ranks,
    compute: Compute,
    *,
    sharded: bool = False,
    **words: Any,
) -> dict[str, torch.Tensor]:
    """The state after four steps of 23 images (odd, so that the parts of two ranks differ); with
    the losses and this rank's images.
    """
    told = recipe(
        method,
        **{
            "optimiser": "sgd",
            "lr": 0.05,
            "warmup": 0.0,
            "batch": 23,
            "weight_decay": 0.0,
            **words,
        },
    )
    model = methods.build(
        method,
        build_encoder(LAYER_NORM, 32, seed=0),
        recipe=told,
        seed=0,
        targets=TARGETS,
        captions=CAPTIONS,
        hashes=HASHES,
    )
    images = Recorded()
    order = Order(HASHES, 23 * 4, 23, 0)
    _, curve = pretrain.pretrain(
        model,
        images,
        order,
        told,
        image_size=32,
        seed=0,
        compute=dataclasses.replace(compute, sharded=sharded),
        checkpoints=folder,
        checkpoint_every_steps=2,
        loader_workers=0,
        ranks=ranks,
    )
    state = {name: t.detach().clone().contiguous() for name, t in model.state_dict().items()}
    state["losses"] = torch.tensor([point["loss"] for point in curve])
    state["norms"] = torch.tensor([point["grad_norm"] for point in curve])
    state["rows"] = torch.from_numpy(np.concatenate(images.rows))
    return state


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    ranks = Ranks.current()
    assert (ranks.rank, ranks.size) == (rank, 2)
    compute = dataclasses.replace(FP32, ranks=2)
    for how, method in CASES:
        state = train(method, Path(folder) / f"{how}-{method}", ranks, compute, **HOW[how])
        save_file(state, Path(folder) / f"{how}-{method}-{rank}.safetensors")
    for how in ("ddp", "fsdp"):
        again = Path(folder) / f"{how}-again"
        words = {**HOW[how], "optimiser": "adamw", "lr": 0.01, "weight_decay": 0.05, "ema": 0.7}
        whole = train("clip", again, ranks, compute, **words)
        ranks.barrier()
        if rank == 0:  # as if the newest checkpoint had never been written
            for path in again.glob("step-0000000004.*"):
                path.unlink()
        ranks.barrier()
        resumed = train("clip", again, ranks, compute, **words)
        seen = {"asked": torch.tensor([len(whole["rows"]), len(resumed["rows"])])}
        same = all(torch.equal(whole[name], resumed[name]) for name in whole if name != "rows")
        save_file(
            {**seen, "same": torch.tensor(same)}, Path(folder) / f"{how}-again-{rank}.safetensors"
        )
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    start(one_of_two, str(folder))
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    return {
        method: train(method, tmp_path_factory.mktemp(method), ALONE, FP32) for method in METHODS
    }


def of_rank(folder: Path, how: str, method: str, rank: int) -> dict[str, torch.Tensor]:
    return load_file(folder / f"{how}-{method}-{rank}.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize(("how", "method"), CASES)
def test_two_ranks_end_with_the_losses_and_weights_of_one(together, alone, how, method):
    ours = of_rank(together, how, method, 0)
    weights = [name for name in alone[method] if name not in ("losses", "norms", "rows")]
    torch.testing.assert_close(ours["losses"], alone[method]["losses"], rtol=2e-4, atol=0)
    torch.testing.assert_close(ours["norms"], alone[method]["norms"], rtol=5e-3, atol=0)
    worst = max(float((ours[name] - alone[method][name]).abs().max()) for name in weights)
    started = build_encoder(LAYER_NORM, 32, seed=0).state_dict()
    moved = max(
        float((alone[method][f"encoder.{name}"] - t).abs().max()) for name, t in started.items()
    )
    assert worst < TOLERANCE < 0.1 * moved


@pytest.mark.slow
def test_all_ranks_end_with_the_same_bits(together):
    for how, method in CASES:
        first, second = (of_rank(together, how, method, rank) for rank in (0, 1))
        assert all(torch.equal(first[name], second[name]) for name in first if name != "rows")


@pytest.mark.slow
def test_the_ranks_parts_of_each_batch_make_up_the_batch_in_order(together, alone):
    for method in METHODS:
        parts = [of_rank(together, "ddp", method, rank)["rows"].reshape(4, -1) for rank in (0, 1)]
        assert [p.shape[1] for p in parts] == [11, 12]
        assert torch.equal(torch.cat(parts, dim=1).flatten(), alone[method]["rows"])


@pytest.mark.slow
def test_only_the_first_rank_writes_checkpoints_and_they_hold_whole_weights(together):
    for how, method in CASES:
        saved = load_file(max((together / f"{how}-{method}").glob("step-*.safetensors")))
        ended = of_rank(together, how, method, 0)
        weights = ended.keys() - {"losses", "norms", "rows"}
        assert all(torch.equal(saved[f"model.{name}"], ended[name]) for name in weights)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_two_ranks_that_go_on_from_a_checkpoint_end_with_the_same_bits(together, how):
    """AdamW and an average of weights; from step 2 of 4, so that half of the images are asked
    for.
    """
    for rank in (0, 1):
        told = load_file(together / f"{how}-again-{rank}.safetensors")
        assert bool(told["same"])
        whole, resumed = told["asked"].tolist()
        assert 2 * resumed == whole


def test_batches_that_leave_a_rank_without_images_are_refused(tmp_path):
    told = recipe("supervised", batch=4)
    model = methods.build(
        "supervised",
        build_encoder("tiny", 32, seed=0),
        recipe=told,
        seed=0,
        targets=TARGETS,
        captions=None,
        hashes=HASHES,
    )
    with pytest.raises(ValueError, match="a batch of 4 images leaves some of 5 ranks without any"):
        pretrain.pretrain(
            model,
            PIXELS,
            Order(HASHES, 8, 4, 0),
            told,
            image_size=32,
            seed=0,
            compute=FP32,
            checkpoints=tmp_path,
            ranks=Ranks(0, 5),
        )
