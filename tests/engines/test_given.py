"""What can only fail is refused by a plan; what was trained in vain is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from headwater import api
from headwater.errors import InputError
from headwater.facts.reports import arm_warnings
from headwater.plan import Plan
from headwater.store import Store
from headwater.study import Study
from tests.conftest import tiny

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    import timm

    model = timm.create_model("test_resnet.r160_in1k", pretrained=False)
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items()}


def planned(root: Path, features: dict[str, Any]) -> Plan:
    views = {"it": {"of": "cluster:4", "features": features}}
    words = tiny(methods=["supervised"], labels=["it"], views=views)
    return Plan.make(Study.model_validate(words), data_root=root)


def of_weights(root: Path, name: str) -> Plan:
    return planned(root, {"timm": "test_resnet.r160_in1k", "weights": name})


def _changed(state: State, change: Callable[[torch.Tensor], torch.Tensor]) -> State:
    first = next(name for name, tensor in state.items() if tensor.dim() == 4)
    return {**state, first: change(state[first]).contiguous()}


WRONG: dict[str, tuple[Callable[[State], State], str]] = {
    "of another model": (lambda s: dict(list(s.items())[:5]), "lacks .* is it of another model"),
    "of another width": (lambda s: _changed(s, lambda t: t[:1]), "is it of another model"),
    "int8": (lambda s: _changed(s, lambda t: t.to(torch.int8)), "holds int8, no floats"),
    "NaN": (lambda s: _changed(s, lambda t: t * float("nan")), "holds NaN or infinity"),
    "zero": (lambda s: {k: torch.zeros_like(t) for k, t in s.items()}, "are zero in it"),
}


@pytest.mark.parametrize("case", WRONG)
def test_weights_that_can_only_fail_fail_in_the_plan(
    case: str, state: State, tmp_path: Path
) -> None:
    change, message = WRONG[case]
    save_file(change(state), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=message):
        of_weights(tmp_path, "w.safetensors")


def test_sound_weights_and_those_of_half_precision_are_planned(
    state: State, tmp_path: Path
) -> None:
    halves = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
    for name, own in (("w", state), ("h", halves)):
        save_file(own, tmp_path / f"{name}.safetensors")
        assert of_weights(tmp_path, f"{name}.safetensors").arms


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w.safetensors"])
def test_a_pickle_is_refused_in_the_plan_and_not_opened(
    name: str, state: State, tmp_path: Path
) -> None:
    torch.save(state, tmp_path / name)
    with pytest.raises(InputError, match=r"holds no safetensors") as error:
        of_weights(tmp_path, name)
    assert ("save_file" in str(error.value)) == (not name.endswith(".safetensors"))


def test_weights_that_are_cut_short_are_refused_in_the_plan(state: State, tmp_path: Path) -> None:
    save_file(state, tmp_path / "w.safetensors")
    data = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="holds no safetensors"):
        of_weights(tmp_path, "w.safetensors")


def bomb(header: bytes, size: int | None = None) -> bytes:
    return (len(header) if size is None else size).to_bytes(8, "little") + header


def nothings(count: int) -> bytes:
    """A header of tensors without a number."""
    one = '"%07d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    return ("{" + ",".join(one % at for at in range(count)) + "}").encode()


BOMBS: dict[str, bytes] = {
    "an exabyte": bomb(b"{}", 1 << 60),
    "64 MiB that are not there": bomb(b"{}", 1 << 26),
    "4 TB of one tensor": bomb(
        b'{"w":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'
    ),
    "a shape that overflows": bomb(
        b'{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}'
    ),
    "300,000 tensors": bomb(nothings(300_000)),
    "30,000 tensors": bomb(nothings(30_000)),
    "objects in objects": bomb(b'{"a":' * 100_000),
    "nothing": b"",
}


OPENED = """
import os, resource, sys, time
from pathlib import Path
from headwater.errors import InputError
from headwater.plan.given import check_weights
import timm, safetensors.torch
timm.create_model("test_resnet.r160_in1k", pretrained=False)
def peak(): return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        before, began = peak(), time.process_time()
        try:
            check_weights(Path(path), "test_resnet.r160_in1k", "arms.x")
        except InputError as error:
            print(time.process_time() - began, peak() - before, error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.slow
def test_headers_of_weights_promise_in_vain(tmp_path: Path) -> None:
    """In less than a second and 256 MB, each measured in a process of its own."""
    paths = [tmp_path / f"{case}.safetensors" for case in BOMBS]
    for path in paths:
        path.write_bytes(BOMBS[path.stem])
    told = subprocess.run(
        [sys.executable, "-c", OPENED, *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for path, line in zip(paths, told, strict=True):
        seconds, held, message = line.split(" ", 2)
        assert float(seconds) < 1 and float(held) < 256e6, line
        assert path.name in message
        assert "holds no safetensors" in message or "lacks" in message, line


BAD_POINTS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "one NaN": (lambda p: np.where(p == p.max(), np.nan, p), "of 1 of .* hold NaN or infinity"),
    "infinity": (lambda p: np.where(p == p.max(), np.inf, p), "of 1 of .* hold NaN or infinity"),
    "beyond float32": (lambda p: np.where(p == p.max(), 1e300, p), "of 1 of .* NaN or infinity"),
    "all NaN": (lambda p: np.full_like(p, np.nan), "hold NaN or infinity, the first is"),
    "zeros": (np.zeros_like, "are equal"),
    "one row for all": (lambda p: np.tile(p[:1], (len(p), 1)), "are equal"),
}


@pytest.mark.parametrize("case", BAD_POINTS)
@pytest.mark.parametrize("form", ["npy", "parquet"])
def test_embeddings_that_can_only_fail_fail_in_the_plan(
    case: str, form: str, tmp_path: Path
) -> None:
    plan = Plan.make(Study.model_validate(tiny(methods=["simclr"])))
    source, positions = plan.arms[0].source, plan.arms[0].positions
    assert source is not None
    ids = source.table.ids[positions].tolist()
    change, message = BAD_POINTS[case]
    points = change(np.random.default_rng(0).normal(size=(len(ids), 3)))
    if form == "npy":
        np.save(tmp_path / "e.npy", points)
        (tmp_path / "e.txt").write_text("\n".join(ids))
    else:
        table: Any = pa.table({"id": ids, "embedding": pa.array(points.tolist())})
        pq.write_table(table, tmp_path / "e.parquet")
    with pytest.raises(InputError, match=message):
        planned(tmp_path, {"file": f"e.{form}"})


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ({"lr": 1e-30}, "moved the weights of supervised"),
        ({"clip_norm": 1e-30, "optimiser": "sgd"}, "moved the weights of supervised"),
        ({"lr": 1e-12}, "moved the weights of supervised"),
        ({}, None),
        ({"lr": 1e-5}, None),
    ],
)
def test_a_training_that_moves_nothing_is_told(
    recipe: dict[str, Any], told: str | None, tmp_path: Path
) -> None:
    words = tiny(
        methods=["supervised"],
        budget={"steps": 2},
        recipe={"batch": 16, **recipe},
        protocols={"probe": {}},
    )
    study = Study.model_validate(words)
    api.run(study, store=tmp_path / "store", engine="inline", device="cpu")
    store = Store(tmp_path / "store")
    warnings = arm_warnings(Plan.make(study, cache=store.cache), store)
    if told is None:
        assert warnings == []
    else:
        assert told in warnings[0]


def test_an_encoder_that_tells_no_images_apart_is_told(tmp_path: Path) -> None:
    from headwater.device import resolve
    from headwater.work import Session
    from headwater.work.trained import beware

    class Flat(torch.nn.Module):
        num_features = 4

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.weight * torch.ones(len(x), 4) + 1e-9 * x.mean(dim=(1, 2, 3))[:, None]

    plan = Plan.make(Study.model_validate(tiny(methods=["simclr"])))
    session = Session(plan, Store(tmp_path / "store", create=True), resolve("cpu", "fp32"))
    (told,) = beware(session, plan.arms[0], [torch.zeros(1)], Flat())
    assert told.startswith("the features of simclr · paint are the same for all images")
