"""Counter-based keyed randomness: the same draw for the same key, wherever and whenever it is asked
for.

Nothing in Headwater draws from a stream whose state depends on which worker, rank or attempt came
first. A draw is a pure function of (seed, purpose, counters such as epoch and view, sample id),
computed by integer hashing, so it is bit-equal on CPU and GPU, in numpy and in torch, in any order
and in any subset.

    key(seed, "augment", epoch, view)   one 64-bit integer for a purpose
    sample_hashes(ids)                  one 64-bit integer per sample id, once for a source
    uniform(key, hashes, n)             n uniforms in [0, 1) per sample
    permutation(key, hashes)            a keyed order of the samples
    generator(seed, purpose, ...)       a numpy Generator for draws that are not per sample

The ids of arms never enter a key, so that seeds pair across arms.

The mixer is the finaliser of SplitMix64 (Steele, Lea, Flood 2014, "Fast splittable pseudorandom
number generators"), written in two's-complement int64 because torch has no uint64 arithmetic.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    Lanes = TypeVar("Lanes", NDArray[np.int64], torch.Tensor)
else:
    Lanes = TypeVar("Lanes")


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MUL_1 = _signed(0xBF58476D1CE4E5B9)
_MUL_2 = _signed(0x94D049BB133111EB)


def _mix(x: Lanes) -> Lanes:
    """SplitMix64's finaliser on int64 lanes; `>>` is arithmetic on int64, so the sign bits are
    masked off.
    """
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * _MUL_1
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * _MUL_2
    return x ^ ((x >> 31) & ((1 << 33) - 1))


def _digest(*parts: object) -> int:
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(
        hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True
    )


def key(seed: int, purpose: str, *counters: int | str) -> int:
    """One signed 64-bit key for a purpose.

    `counters` are such things as epoch, view or draw; numpy integers count as integers.
    """
    return _digest(
        "headwater",
        index(seed),
        purpose,
        *(c if isinstance(c, str) else index(c) for c in counters),
    )


def sample_hashes(ids: Sequence[str]) -> NDArray[np.int64]:
    """int64 [num_samples]: a 64-bit BLAKE2b hash of each sample id, the per-sample part of every
    keyed draw.
    """
    digest = hashlib.blake2b
    raw = b"".join(digest(i.encode(), digest_size=8).digest() for i in ids)
    return np.frombuffer(raw, dtype="<i8").astype(
        np.int64
    )  # a copy, since torch wants writable memory


def bits(key: int, hashes: Lanes, n: int) -> Lanes:
    """int64 [num_samples, n] of well-mixed bits, for numpy arrays and torch tensors (any device)
    alike.
    """
    counters: Any
    if isinstance(hashes, np.ndarray):
        counters = np.arange(1, n + 1, dtype=np.int64)
    else:
        import torch

        counters = torch.arange(1, n + 1, dtype=torch.int64, device=hashes.device)
    lanes: Any = _mix(hashes ^ key)[:, None] + counters[None, :] * _GOLDEN
    return _mix(lanes)  # type: ignore[no-any-return]


@overload
def uniform(key: int, hashes: NDArray[np.int64], n: int) -> NDArray[np.float32]: ...
@overload
def uniform(key: int, hashes: torch.Tensor, n: int) -> torch.Tensor: ...
def uniform(key: int, hashes: Any, n: int) -> Any:
    """float32 [num_samples, n] in [0, 1): the top 24 bits of `bits`, hence exact in float32 and
    equal on every device.
    """
    top = (bits(key, hashes, n) >> 40) & ((1 << 24) - 1)
    if isinstance(top, np.ndarray):
        return top.astype(np.float32) * np.float32(2.0**-24)
    return top.float() * 2.0**-24


def permutation(key: int, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
    """A keyed order of the samples: positions sorted by their bits (ties, one pair in 2^64, by
    position).
    """
    return np.argsort(bits(key, hashes, 1)[:, 0], kind="stable")


def generator(seed: int, purpose: str, *counters: int | str) -> np.random.Generator:
    """A numpy Generator (Philox) for draws that are not per sample, such as the design of a
    generated world.
    """
    return np.random.Generator(
        np.random.Philox(key=key(seed, purpose, *counters) & ((1 << 64) - 1))
    )
