"""Features of a frozen encoder: computed once per encoder and task, whatever the protocols, shots
and draws, and kept in a file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headwater import digests
from headwater.device import Compute
from headwater.files import atomic_folder, remove_folder
from headwater.sources.pixels import Images
from headwater.views import centre_view

_FEATURES, _ABOUT = "features.npy", "features.json"


@torch.no_grad()
def extract(
    encoder: nn.Module,
    pixels: Images,
    *,
    image_size: int,
    compute: Compute,
    batch: int = 256,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """float32 [n, d], n at least 1: the encoder's pooled features of every cached image under the
    test transform, in evaluation mode.

    Written to `out` where it is given: an array in a file, so that memory holds a batch only.
    """
    encoder = encoder.to(compute.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    for start in range(0, len(pixels), batch):
        rows = np.arange(start, min(start + batch, len(pixels)))
        images, sizes = (torch.from_numpy(a).to(compute.device) for a in pixels.gather(rows))
        with compute.autocast():
            features = encoder(centre_view(images, sizes, image_size)).float().cpu().numpy()
        if out is None:  # any module will do, whatever it calls its width
            out = np.empty((len(pixels), features.shape[1]), dtype=np.float32)
        out[rows] = features
    assert out is not None
    return out


def kept_features(
    folder: Path, encoder: nn.Module, pixels: Images, *, image_size: int, compute: Compute
) -> NDArray[np.float32]:
    """The features in `folder`, mapped read-only from their file; computed and kept there where
    they are not, or are damaged.

    `folder` must be named by all that they depend on (encoder, images, precision, recipes of the
    rooms): what lies there is not compared with the encoder.
    """
    shape = (len(pixels), int(encoder.num_features))  # type: ignore[arg-type]
    for _ in range(2):
        try:
            return _opened(folder, shape)
        except (OSError, ValueError) as error:
            if folder.is_dir():
                digests.made_again(folder, digests.reason(error), "this folder of features")
        remove_folder(folder)
        try:
            with atomic_folder(folder) as made:
                features: NDArray[np.float32] = np.lib.format.open_memmap(
                    made / _FEATURES, mode="w+", dtype=np.float32, shape=shape
                )
                _reserve(made / _FEATURES)
                extract(encoder, pixels, image_size=image_size, compute=compute, out=features)
                (made / _ABOUT).write_text(
                    json.dumps(digests.sealed({"digest": _digest(features), "shape": list(shape)}))
                    + "\n"
                )
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            # the disk is full: memory may hold them
            return extract(encoder, pixels, image_size=image_size, compute=compute)
    return _opened(folder, shape)


def _reserve(path: Path) -> None:
    """Give a file its blocks, where the system can: a mapped file has none at first, and writing to
    it on a full disk would end the process.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _opened(folder: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Raises FileNotFoundError where there are none, Damaged where they are not these."""
    about = digests.read_record(folder / _ABOUT)
    features: NDArray[np.float32] = digests.read_array(
        folder / _FEATURES, np.float32, 2, mapped=True, trailed=False
    )
    if features.shape != shape:
        raise digests.Damaged(f"it holds {features.shape}, not {shape}")
    if about.get("digest") != _digest(features):
        raise digests.Damaged("it is not what was written: its digest is another")
    return features


def _digest(features: NDArray[np.float32]) -> str:
    """Of all bytes: reading them costs less than computing with one that is wrong."""
    digest = hashlib.blake2b(digest_size=16)
    for start in range(0, len(features), 8192):
        digest.update(np.ascontiguousarray(features[start : start + 8192]).data)
    return digest.hexdigest()
