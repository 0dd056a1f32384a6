"""Device, precision, threads, and the fingerprint of what a number was computed on."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from headwater.errors import InputError
from headwater.machine import processor
from headwater.registry import METHODS, PROTOCOLS, entry_key


@functools.cache
def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 in hardware: there, bf16 trains small conv nets
    1.4-2.1x faster (docs/log.md).
    """
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


@dataclass(frozen=True)
class Compute:
    """Where and how tensors are computed: a resolved device and precision."""

    device: torch.device
    bf16: bool
    compiled: bool = False
    """Whether encoders are trained through torch.compile: other kernels, other bits."""
    ranks: int = 1
    """Processes that train one arm together."""
    sharded: bool = False
    """Whether these have the weights spread over them (FSDP)."""

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 autocast where it is on, nothing otherwise."""
        return (
            torch.autocast(self.device.type, dtype=torch.bfloat16)
            if self.bf16
            else contextlib.nullcontext()
        )

    @property
    def fingerprint(self) -> str:
        """What a number was computed on. Same fingerprint, same bits."""
        name = (
            torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else processor()
        )
        how = (
            (" compiled" if self.compiled else "")
            + (f" ranks={self.ranks}" if self.ranks > 1 else "")
            + (" fsdp" if self.sharded else "")
        )
        return (
            f"{self.device.type} {'bf16' if self.bf16 else 'fp32'}{how} "
            f"threads={torch.get_num_threads()} {name}"
        )


def resolve(device: str = "auto", precision: str = "auto") -> Compute:
    """The device and precision that `auto` means here.

    Raises InputError for a device that this machine lacks.
    """
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if available[name])
    kind = device.split(":")[0]
    if kind not in available:
        raise InputError(f"--device {device!r} is none of auto, cpu, cuda, mps")
    if not available[kind]:
        raise InputError(f"--device {device}: this machine has none; use --device cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise InputError(
            f"--device {device!r}: after the colon comes the number of the device, as in cuda:0"
        ) from None
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"--device {device}: this machine has {torch.cuda.device_count()}, numbered from 0"
        )
    if precision == "auto":
        bf16 = (resolved.type == "cuda" and torch.cuda.is_bf16_supported()) or (
            resolved.type == "cpu" and cpu_has_bf16()
        )
    else:
        bf16 = precision == "bf16"
    return Compute(resolved, bf16)


def full_precision(like: torch.Tensor) -> AbstractContextManager[object]:
    """float32 inside an autocast block: there, `.float()` alone does not keep a matrix product from
    being rounded to bf16 again.

    Outside of one there is nothing to end, and no block is entered: leaving the outermost autocast
    block of any thread empties the cache of rounded weights of all threads, so that a thread that
    makes views would have the thread that trains round a weight anew between its two uses. Two
    rounded copies gather their gradients apart, one gathers them in bf16: other bits, depending on
    the moment.
    """
    kind = like.device.type
    return (
        torch.autocast(kind, enabled=False)
        if torch.is_autocast_enabled(kind)
        else contextlib.nullcontext()
    )


@contextlib.contextmanager
def exact_small_convolutions(module: nn.Module, compute: Compute) -> Iterator[None]:
    """Convolutions of inputs that are one pixel high or wide run in float32 inside the block, where
    training is in bf16 on a processor.

    oneDNN's gradient of such a kernel (3 x 3 with stride 2 on one pixel, 5 x 5 on a row of three)
    leaves the weights that see only padding unwritten: what is in memory there, NaN or a number,
    would be trained on (seen with torch 2.15; tests/test_device.py shows it).
    """
    handles = []
    if compute.bf16 and compute.device.type == "cpu":
        for layer in module.modules():
            if not isinstance(layer, nn.Conv2d) or max(layer.kernel_size) == 1:
                continue
            # kernels of 3 x 3 with stride 1 are right, and stay as they are
            if max(layer.kernel_size) > 3 or max(layer.stride) > 1:
                handles.append(layer.register_forward_hook(_in_float32_if_small))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _in_float32_if_small(
    layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
) -> torch.Tensor | None:
    (images,) = inputs
    if min(images.shape[-2:]) > 1 or not torch.is_autocast_enabled("cpu"):
        return None
    with full_precision(images):
        exact: torch.Tensor = layer.forward(images.float())
    return exact.to(output.dtype)


@contextlib.contextmanager
def seeded(key: int) -> Iterator[None]:
    """torch's global generator seeded by a key inside the block, as it was before afterwards.

    For initial weights, drawn on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key & ((1 << 63) - 1))
        yield


@functools.cache
def versions(*, method: str | None = None, protocol: str | None = None) -> str:
    """Versions of what could change a number, as canonical JSON; with those of the packages that
    brought the method and the protocol, where other packages did.
    """
    from importlib.metadata import version

    names = (
        "headwater",
        "numpy",
        "open_clip_torch",
        "pillow",
        "scipy",
        "simplejpeg",
        "timm",
        "torch",
    )
    found = {name: version(name) for name in names}
    for axis, entry in ((METHODS, method), (PROTOCOLS, protocol)):
        package = axis.package_of(entry) if entry else None
        if package:
            found[entry_key(axis.noun, str(entry))] = package
    return json.dumps(found, sort_keys=True)


@functools.cache
def commit() -> str | None:
    """The commit of the code where it runs from a git checkout, `-dirty` behind it where files
    differ; None elsewhere.
    """
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(
            [
                "git",
                "-C",
                str(root),
                "describe",
                "--always",
                "--dirty",
                "--abbrev=40",
                "--exclude=*",
            ],
            capture_output=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.decode().strip() or None if answer.returncode == 0 else None


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """`be_deterministic` inside the block; afterwards as it was before."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    be_deterministic()
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before


def be_deterministic() -> None:
    """Ask torch for deterministic kernels; on the CPU they are so already at a fixed number of
    threads.
    """
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
