"""What a checkpoint holds: the state of any optimiser, and tensors of every type and shape."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from headwater import checkpoint
from tests.test_checkpoint import assert_same


class Counted(torch.optim.Optimizer):
    """An optimiser that keeps what torch's own do not: plain numbers, and momentum of another type
    than its parameter.
    """

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                slots = self.state[p]
                slots.setdefault("steps", 0)
                slots.setdefault("trust", 1 / 3)
                slots.setdefault("warm", True)
                slots.setdefault("nothing", None)
                slots.setdefault("momentum", torch.zeros_like(p, dtype=torch.float64))
                slots["steps"] += 1
                slots["trust"] *= 1.1
                slots["warm"] = slots["steps"] < 3
                slots["momentum"].mul_(0.9).add_(p.grad.double() * slots["trust"])
                p.sub_((group["lr"] * slots["momentum"]).to(p.dtype))


OPTIMISERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "adamw, not fused, amsgrad": lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "sgd without state": lambda p: torch.optim.SGD(p, lr=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9, centered=True),
    "plain numbers": Counted,
}


def net(dtype: torch.dtype) -> torch.nn.Module:
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 4, 2)
    ).to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.register_parameter("unused", torch.nn.Parameter(torch.zeros(3, dtype=dtype)))
    return module


def walk(module: torch.nn.Module, optimiser: torch.optim.Optimizer, steps: range) -> None:
    dtype = next(module.parameters()).dtype
    for step in steps:
        x = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(step)).to(dtype)
        module(x).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_state_of_any_optimiser_goes_through_a_file_to_the_bit(
    name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    whole = net(dtype)
    walk(whole, OPTIMISERS[name](whole.parameters()), range(8))

    cut = net(dtype)
    optimiser = OPTIMISERS[name](cut.parameters())
    walk(cut, optimiser, range(4))
    average = {
        f"ema.{key}": t.detach().double() / 3 for key, t in cut.state_dict().items()
    }  # what a loop adds is carried as it is
    checkpoint.write(
        tmp_path, 4, {**cut.state_dict(), **average, **checkpoint.pack_optimiser(optimiser)}, {}
    )

    resumed = net(dtype)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    _, tensors, _ = found
    resumed.load_state_dict({key: tensors[key] for key in resumed.state_dict()})
    for key, t in average.items():
        assert torch.equal(tensors[key], t)
    again = OPTIMISERS[name](resumed.parameters())
    checkpoint.unpack_optimiser(again, tensors)
    before, after = optimiser.state_dict()["state"], again.state_dict()["state"]
    for index, slots in before.items():
        for slot, value in slots.items():
            if value is not None:
                assert type(after[index][slot]) is type(value)
                assert_same(
                    {slot: torch.as_tensor(after[index][slot])}, {slot: torch.as_tensor(value)}
                )
    walk(resumed, again, range(4, 8))
    assert_same(dict(resumed.state_dict()), dict(whole.state_dict()))


def test_a_state_that_a_checkpoint_cannot_hold_is_refused_not_dropped() -> None:
    module = torch.nn.Linear(3, 2)
    optimiser = torch.optim.LBFGS(module.parameters(), history_size=2, max_iter=2)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss: torch.Tensor = module(torch.ones(1, 3)).square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="LBFGS keeps a list in"):
        checkpoint.pack_optimiser(optimiser)


# files
@pytest.mark.parametrize("dtype", checkpoint._TYPES)
def test_tensors_of_every_type_and_shape_are_read_by_safetensors_itself(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    random = torch.Generator().manual_seed(0)
    shapes = [(), (1,), (7,), (0,), (3, 0, 2), (3, 5), (2, 3, 4, 5)]
    tensors = {
        f"{at} né": torch.randint(0, 2, shape, generator=random).to(dtype)
        for at, shape in enumerate(shapes)
    }
    tensors["byte"] = torch.zeros(3, dtype=torch.uint8)
    checkpoint.write(tmp_path, 1, tensors, {})
    loaded = load_file(tmp_path / "step-0000000001.safetensors")
    assert {name: t.dtype for name, t in loaded.items()} == {
        name: t.dtype for name, t in tensors.items()
    }
    assert_same(loaded, tensors)


def test_a_type_that_a_checkpoint_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"cannot hold w is torch\.complex64"):
        checkpoint.write(tmp_path, 1, {"w": torch.zeros(3, dtype=torch.complex64)}, {})
