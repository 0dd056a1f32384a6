"""Exact, atomic checkpoints: weights, optimiser state and position in safetensors + JSON, found damaged by their hash.

Everything random in the loop is keyed by step and sample, so (weights, buffers, optimiser, step) is the whole state: a run that goes on from a
checkpoint is bit-equal to one that was never stopped.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from headwater import files

KEEP = 2


def write(folder: Path, step: int, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
    """One checkpoint at a step: the tensors, then the JSON that names their hash; the last `KEEP` are kept."""
    data = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    files.write_atomic(folder / f"step-{step:010d}.safetensors", data)
    record = {"step": step, "sha256": hashlib.sha256(data).hexdigest(), "meta": meta}
    files.write_atomic(folder / f"step-{step:010d}.json", json.dumps(record))
    for old in sorted(folder.glob("step-*.json"))[:-KEEP]:
        old.unlink(missing_ok=True)
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def latest(folder: Path) -> tuple[int, dict[str, torch.Tensor], dict[str, Any]] | None:
    """The newest whole checkpoint (step, tensors, meta), or None. A truncated or bit-flipped one is passed over and the one before is used."""
    for record_path in sorted(folder.glob("step-*.json"), reverse=True):
        try:
            record = json.loads(record_path.read_text())
            data = record_path.with_suffix(".safetensors").read_bytes()
            if hashlib.sha256(data).hexdigest() == record["sha256"]:
                return int(record["step"]), load(data), dict(record["meta"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            continue
    return None


def pack_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """An optimiser's state as flat tensors; learning rates and the like are recomputed from the step."""
    state = optimiser.state_dict()["state"]
    return {f"optimiser.{index}.{name}": torch.as_tensor(value) for index, slots in state.items() for name, value in slots.items() if value is not None}


def unpack_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """The inverse of `pack_optimiser`. Moments take the memory layout of their parameter: fused kernels pair elements by address."""
    packed = optimiser.state_dict()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            like = parameters[int(index)]
            state.setdefault(int(index), {})[name] = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape and tensor.ndim else tensor
    optimiser.load_state_dict({"state": state, "param_groups": packed["param_groups"]})
