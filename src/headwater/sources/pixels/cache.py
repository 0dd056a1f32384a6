"""Decoded images on disk, memory-mapped: where a set fits, each image is decoded once for all arms,
epochs and processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from headwater.digests import Damaged, read_array, read_record, sealed, tell
from headwater.errors import InputError
from headwater.files import sync_folder
from headwater.machine import cores
from headwater.sources import Positions, Source
from headwater.sources.pixels.chunks import Checksums, Chunks, Decode
from headwater.sources.pixels.decoding import RECIPE, decode_some, short_side
from headwater.sources.pixels.images import Subset
from headwater.sources.pixels.kept import Kept, kept_or_decoded

_PIXELS, _INDEX, _META = "pixels.npy", "index.npy", "meta.json"
_CHUNKS = "chunks.npy"
_DECODE_CHUNK = 64
"""Images per task of the thread pool; a few tasks are in flight at a time, so memory does not grow
with the source.
"""


@dataclass(frozen=True, eq=False)
class PixelCache:
    """The decoded images of some samples of a source, at one image size, in one folder.

    pixels.npy   uint8 [num_bytes], each image contiguous as [height, width, 3], in the order of
                 the positions that it was built from
    index.npy    int64 [num_images, 3]: byte offset, height, width
    chunks.npy   uint32 [num_chunks]: CRC-32 of each MiB of pixels
    meta.json    what it was built from, and digests of the index and of the chunks

    A row is the place of an image in the cache, 0 to num_images - 1. Memory-mapped, so that
    processes on one machine share the pages. A chunk is checked when a process reads it for the
    first time, so each byte once; where it is damaged, its images are decoded again in place.
    """

    pixels: NDArray[np.uint8]
    """uint8 [num_bytes], mapped read-only."""
    index: NDArray[np.int64]
    """int64 [num_images, 3]: offset, height, width."""
    chunks: Chunks
    """Which parts of the pixels were found to be those that were written."""

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def build(
        cls,
        source: Source,
        positions: Positions,
        image_size: int,
        path: Path,
        *,
        fingerprint: str,
        threads: int | None = None,
        progress: Callable[[int], object] | None = None,
        kept: Mapping[int, Kept] | None = None,
    ) -> PixelCache:
        """Opens the cache at `path` where it is whole and was built from the same; decodes it anew
        otherwise.

        `fingerprint` says which images these are, in order (Source.fingerprint(positions)).
        Decoding uses `threads` (default: one per core that this process may use) and calls
        `progress` with the number of images done; what is `kept` by position is not decoded again.
        Written beside and renamed into place: of two processes that build at once, one wins, and
        both get the same pixels. Raises InputError for an image that cannot be decoded.
        """

        def opened() -> PixelCache:
            return cls.open(
                path,
                image_size=image_size,
                fingerprint=fingerprint,
                again=lambda rows: decode_some(source, positions[rows], image_size),
            )

        try:
            return opened()
        except InputError as error:
            if path.exists():
                tell(f"{error}; it is made again")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        try:
            _write_cache(
                _decoded(source, positions, image_size, threads, progress, kept or {}),
                len(positions),
                temporary,
                image_size,
                fingerprint,
            )
            for _ in range(10):
                try:
                    os.rename(temporary, path)
                except (
                    OSError
                ):  # somebody's cache is there: it is taken if good, else it makes room
                    with suppress(InputError):
                        return opened()
                    _discard(path)
                else:
                    sync_folder(path.parent)
                    return opened()
            raise InputError(f"{path}: cannot be replaced by a new pixel cache; remove it")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @classmethod
    def open(
        cls, path: Path, *, image_size: int, fingerprint: str, again: Decode | None = None
    ) -> PixelCache:
        """Maps the cache at `path`; `again` decodes the images of some rows, for chunks that are
        damaged.

        Raises InputError where there is none, it was built from something else, or its files
        disagree.

        Sizes, offsets and the digests of the index and of the list of chunks are checked; the
        pixels themselves are read, and checked, by who asks for them. Caches of before there were
        chunks are made again.
        """
        try:
            meta = read_record(path / _META)
            index = read_array(path / _INDEX, np.int64, 2, trailed=False)
            pixels = read_array(path / _PIXELS, np.uint8, 1, mapped=True, trailed=False)
            if "chunks" not in meta:
                raise Damaged("it was built before its pixels had checksums")
            sums = read_array(path / _CHUNKS, np.uint32, 1, trailed=False)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: there is no pixel cache that can be opened ({error})"
            ) from None
        if any(meta.get(key) != value for key, value in _meta(image_size, fingerprint).items()):
            raise InputError(
                f"{path}: this pixel cache was built from other images, at another size, or by "
                "another recipe"
            )
        if (meta.get("index"), meta["chunks"]) != (
            _array_digest(index),
            _array_digest(sums),
        ) or index.shape[1] != 3:
            raise InputError(f"{path}: the index of this pixel cache is damaged")
        ends = np.cumsum(3 * index[:, 1] * index[:, 2])
        if pixels.shape != (int(ends[-1]) if len(ends) else 0,):
            raise InputError(f"{path}: the pixels of this cache do not fit its index")
        plain = pixels.view(np.ndarray)
        return cls(plain, index, Chunks(path / _PIXELS, plain, index, sums, again))

    def image(self, row: int) -> NDArray[np.uint8]:
        """uint8 [height, width, 3]: a read-only view of one image."""
        self.chunks.check(np.array([row], dtype=np.int64))
        offset, height, width = self.index[row].tolist()
        return self.pixels[offset : offset + 3 * height * width].reshape(height, width, 3)

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """(images uint8 [batch, h_max, w_max, 3], sizes int64 [batch, 2]): images in the upper left
        corner, zeros beyond their sizes.

        h_max and w_max are the batch's own. The arrays are fresh, contiguous and writable, so
        torch.from_numpy takes them as they are. Measured on one thread of a shared CPU, random rows
        at a short side of 40 px, batches of 256: equal sizes (eurosat) 1.1M images/s, sizes that
        vary (grocery, caltech101) 330k to 560k.
        """
        self.chunks.check(rows)
        sizes = self.index[rows, 1:]
        if self._equal is not None:
            return self._equal[rows], sizes
        height, width = sizes.max(axis=0).tolist() if len(rows) else (0, 0)
        images = np.zeros((len(rows), height, width, 3), dtype=np.uint8)
        pixels = self.pixels
        for at, (offset, h, w) in enumerate(self.index[rows].tolist()):
            images[at, :h, :w] = pixels[offset : offset + 3 * h * w].reshape(h, w, 3)
        return images, sizes

    def subset(self, rows: NDArray[np.int64]) -> Subset:
        """The images of some rows, int64 [num_images], in that order; nothing is copied."""
        return Subset(self, rows)

    def __post_init__(self) -> None:
        same = len(self.index) > 0 and bool((self.index[:, 1:] == self.index[0, 1:]).all())
        equal = (
            self.pixels.reshape(len(self.index), *self.index[0, 1:].tolist(), 3) if same else None
        )
        object.__setattr__(self, "_equal", equal)

    _equal: NDArray[np.uint8] | None = field(init=False, repr=False, default=None)
    """All pixels as [num_images, height, width, 3] where every image has one size."""


def estimated_bytes(num_images: int, image_size: int) -> int:
    """Bytes that a cache would take, before anything is decoded: 3 x short side squared x 4/3 for
    each image, the aspect of most photos [ours].

    Exact for no set: square images take 3/4 of it, and no set takes more than 3 times as much
    (decoding.MAX_ASPECT).
    """
    return num_images * 4 * short_side(image_size) ** 2


def _meta(image_size: int, fingerprint: str) -> dict[str, Any]:
    return {
        "headwater": "pixel cache",
        "recipe": RECIPE,
        "image_size": image_size,
        "fingerprint": fingerprint,
    }


def _array_digest(index: NDArray[Any]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(index).tobytes(), digest_size=16).hexdigest()


def _decoded(
    source: Source,
    positions: Positions,
    image_size: int,
    threads: int | None,
    progress: Callable[[int], object] | None,
    kept: Mapping[int, Kept],
) -> Iterator[NDArray[np.uint8]]:
    """Decoded images in the order of `positions`, a few tasks ahead of whoever takes them."""

    threads = threads or cores()
    chunks = (positions[at : at + _DECODE_CHUNK] for at in range(0, len(positions), _DECODE_CHUNK))
    done = 0
    with ThreadPoolExecutor(max_workers=threads) as pool:
        pixels_of = partial(kept_or_decoded, source, image_size=image_size, kept=kept)
        try:
            ahead: list[Future[list[NDArray[np.uint8]]]] = [
                pool.submit(pixels_of, some) for some in islice(chunks, 2 * threads)
            ]
            while ahead:
                images = ahead.pop(0).result()
                ahead.extend(pool.submit(pixels_of, some) for some in islice(chunks, 1))
                yield from images
                done += len(images)
                if progress is not None:
                    progress(done)
        finally:
            pool.shutdown(cancel_futures=True)


def _write_cache(
    images: Iterator[NDArray[np.uint8]],
    num_images: int,
    folder: Path,
    image_size: int,
    fingerprint: str,
) -> None:
    index = np.zeros((num_images, 3), dtype=np.int64)
    end = 0
    sums = Checksums()
    with (folder / _PIXELS).open("wb") as file:
        _write_npy_header(file, 0)
        for row, pixels in enumerate(images):
            index[row] = end, pixels.shape[0], pixels.shape[1]
            end += pixels.nbytes
            held = np.ascontiguousarray(pixels).data
            file.write(held)
            sums.add(held.cast("B"))
        file.seek(0)
        _write_npy_header(file, end)
        _flush(file)
    with (folder / _INDEX).open("wb") as file:
        np.save(file, index, allow_pickle=False)
        _flush(file)
    chunks = sums.all()
    with (folder / _CHUNKS).open("wb") as file:
        np.save(file, chunks, allow_pickle=False)
        _flush(file)
    with (folder / _META).open("wb") as file:
        about = {
            **_meta(image_size, fingerprint),
            "index": _array_digest(index),
            "chunks": _array_digest(chunks),
        }
        file.write(json.dumps(sealed(about), indent=1).encode())
        _flush(file)
    sync_folder(folder)


def _write_npy_header(file: BinaryIO, num_bytes: int) -> None:
    """A .npy header (format 1.0) of a uint8 vector, of one length whatever its shape, so that it
    can be rewritten once the size is known.
    """
    text = (
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({num_bytes},), }}".ljust(117).encode()
        + b"\n"
    )
    file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _beside(path: Path) -> Path:
    """A new folder on the same disk, hidden, with the permissions that any other folder would have
    (mkdtemp's are the owner's alone).
    """
    folder = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    folder.mkdir()
    return folder


def _discard(path: Path) -> None:
    """Moves what is at `path` aside in one step, so that no reader sees half of it, and removes
    it.
    """
    aside = _beside(path)
    with suppress(OSError):
        os.rename(path, aside / "old")
    shutil.rmtree(aside, ignore_errors=True)
