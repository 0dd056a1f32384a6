"""From a file's bytes to the pixels that training sees, once: one rule for every source.

decode -> EXIF rotation -> palette and alpha over white -> RGB -> at most 4:1 by a centre crop -> short side to 1.25 x image_size, antialiased.

Plain RGB and grey JPEG goes through simplejpeg, which decodes straight to half the size or less where at least twice the target is left;
everything else, and every JPEG that simplejpeg finds fault with, goes through PIL. Which path a file takes depends on its bytes alone, so
equal files give equal pixels. Measured on one thread of a shared CPU (simplejpeg; PIL): 2,640 grocery photos of 96 px to 40 px, 7.0k;
5.0k images/s, with equal pixels. A photo of 500 x 375 to 40 px, 0.57; 1.4 ms. One of 12 megapixels to 280 px, 21; 89 ms. Where decoding
was scaled, a pixel differs by 0.4 to 0.6 of 255 levels on average.

Nothing is decoded that PIL's own guard against decompression bombs would warn about, and only formats that are listed here.

`PixelCache` keeps what was decoded on disk and hands out batches of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import shutil
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from headwater.errors import InputError
from headwater.files import sync_folder
from headwater.sources import Positions, Source

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""PIL's names of the formats that are opened; of animations and multi-page files the first image is taken."""
MAX_PIXELS = 89_478_485
"""Images with more pixels are refused: the number above which Pillow warns of a decompression bomb (a quarter of a GiB of RGB)."""
MAX_ASPECT = 4
"""Longer images are cropped to this aspect around their centre before resizing, so that a 1 x 10,000 image cannot explode. Our choice."""
RECIPE = 1
"""Raised by hand when the pixels that come out change; part of a cache's identity."""

_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation, as in Pillow's ImageOps.exif_transpose."""
_SCALED_GAP = 2
"""Scaled decoding keeps at least this many times the target, so that the antialiased resize has something left to average."""
_MIN_FACTOR = 2
"""Scaled decoding at least halves an image: to 7/8 or 6/8 of the size, libjpeg decodes more slowly than to the full size."""


def short_side(image_size: int) -> int:
    """The short side, in pixels, at which images are stored for encoders that see `image_size` pixels."""
    return round(1.25 * image_size)


def decode(data: bytes | NDArray[np.uint8], image_size: int, where: str) -> NDArray[np.uint8]:
    """uint8 [height, width, 3], RGB, with a short side of `short_side(image_size)` and a long side of at most 4 times that.

    `data` is an encoded file, or pixels (uint8 [height, width, 3], RGB) that are only cropped and resized. `where` names the sample in
    messages. Raises InputError for a format that is not in FORMATS, a damaged or truncated file, and an image above MAX_PIXELS.
    """
    side = short_side(image_size)
    if isinstance(data, np.ndarray):
        if data.dtype != np.uint8 or data.ndim != 3 or data.shape[2] != 3 or not data.size:
            raise InputError(f"{where}: pixels should be uint8 [height, width, 3], not {data.dtype} {list(data.shape)}")
        return _resized(Image.fromarray(data), side)
    if data[:3] == b"\xff\xd8\xff":
        fast = _decode_jpeg(data, side, where)
        if fast is not None:
            return fast
    return _decode_any(data, side, where)


def _decode_jpeg(data: bytes, side: int, where: str) -> NDArray[np.uint8] | None:
    """The fast path, or None for a JPEG that is not plain RGB or grey, or that PIL should judge."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours not in ("YCbCr", "Gray"):
            return None
        _check_size(height, width, where)
        least = _SCALED_GAP * side if max(height, width) <= MAX_ASPECT * min(height, width) else 0
        pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=least, min_width=least, min_factor=_MIN_FACTOR)
    except InputError:
        raise
    except ValueError:  # damaged, or only odd in a way that libjpeg can recover from: PIL decides which
        return None
    return _resized(Image.fromarray(pixels), side, full=(width, height), turn=_jpeg_orientation(data))


def _jpeg_orientation(data: bytes) -> int:
    """EXIF orientation of a JPEG, 1 to 8. PIL reads the tags (of EXIF, or of XMP in its place), but only where there seem to be any."""
    if b"Exif\x00\x00" not in data and b"tiff:Orientation" not in data:
        return 1
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return _orientation(image)
    except Exception:  # PIL raises many kinds on damaged tags; the pixels were decoded and are fine
        return 1


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except (SyntaxError, ValueError, OSError, struct.error, KeyError, TypeError):  # damaged tags do not make an image unreadable
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _decode_any(data: bytes, side: int, where: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.height, image.width, where)
            turn = _orientation(image)
            image.load()
            return _resized(_rgb(image, where), side, turn=turn)
    except (InputError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(where) from None
    except UnidentifiedImageError:
        raise InputError(f"{where}: this is no image that can be read, whatever its name says (formats: {', '.join(FORMATS)})") from None
    except Exception as error:  # each decoder has its own kinds for damaged files
        raise InputError(f"{where}: the image is damaged or truncated ({str(error).splitlines()[0] if str(error) else type(error).__name__})") from None


def _check_size(height: int, width: int, where: str) -> None:
    if height * width > MAX_PIXELS:
        raise _too_large(where, f"{width} x {height} = ")
    if not height or not width:
        raise InputError(f"{where}: the image has no pixels")


def _too_large(where: str, size: str = "") -> InputError:
    return InputError(f"{where}: the image is too large ({size}over {MAX_PIXELS:,} pixels); remove it, or store it smaller")


def _rgb(image: Image.Image, where: str) -> Image.Image:
    """RGB pixels of a loaded image of any mode, transparency over white."""
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise InputError(f"{where}: 32-bit pixels (PIL mode {image.mode}) have no agreed range; store the image with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _resized(image: Image.Image, side: int, *, full: tuple[int, int] | None = None, turn: int = 1) -> NDArray[np.uint8]:
    """Cropped to MAX_ASPECT, resized and turned. `full` is the (width, height) before scaled decoding, which alone decides the shape.

    The filter and the rounding of the long side (downwards) are torchvision's defaults: bilinear with antialiasing, which does not ring.
    Turning comes last because the small image is the cheap one to turn; cropping and resizing do not care.
    """
    width, height = full or image.size
    if max(width, height) > MAX_ASPECT * min(width, height):
        width, height = min(width, MAX_ASPECT * height), min(height, MAX_ASPECT * width)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
    short = min(width, height)
    size = (int(side * width / short), int(side * height / short))
    eighths = 8 * max(image.size) // max(width, height)  # of the full size; the last row and column may stand for less than a whole pixel
    image = image.resize(size, Image.Resampling.BILINEAR, box=(0, 0, width * eighths / 8, height * eighths / 8))
    if turn in _TURNS:
        image = image.transpose(_TURNS[turn])
    pixels: NDArray[np.uint8] = np.array(image)
    return pixels


_PIXELS, _INDEX, _META = "pixels.npy", "index.npy", "meta.json"
_DECODE_CHUNK = 64
"""Images per task of the thread pool; a few tasks are in flight at a time, so memory does not grow with the source."""


@dataclass(frozen=True, eq=False)
class PixelCache:
    """The decoded images of some samples of a source, at one image size, in one folder.

    pixels.npy   uint8 [num_bytes], each image contiguous as [height, width, 3], in the order of the positions it was built from
    index.npy    int64 [num_images, 3]: byte offset, height, width
    meta.json    what it was built from, and a digest of the index

    A row is the place of an image in the cache, 0 to num_images - 1. Memory-mapped, so that processes on one machine share the pages.
    """

    pixels: NDArray[np.uint8]
    """uint8 [num_bytes], mapped read-only."""
    index: NDArray[np.int64]
    """int64 [num_images, 3]: offset, height, width."""

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
    ) -> PixelCache:
        """Opens the cache at `path` where it is whole and was built from the same; decodes it anew otherwise.

        `fingerprint` says which images these are, in order (Source.fingerprint(positions)). Decoding uses `threads` (default: one per
        core that this process may use) and calls `progress` with the number of images done. Written beside and renamed into place: of two
        processes that build at once, one wins, and both get the same pixels. Raises InputError for an image that cannot be decoded.
        """
        with suppress(InputError):
            return cls.open(path, image_size=image_size, fingerprint=fingerprint)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path)
        try:
            _write_cache(_decoded(source, positions, image_size, threads, progress), len(positions), temporary, image_size, fingerprint)
            for _ in range(10):
                try:
                    os.rename(temporary, path)
                except OSError:  # somebody's cache is there: theirs if it is good, otherwise it makes room
                    with suppress(InputError):
                        return cls.open(path, image_size=image_size, fingerprint=fingerprint)
                    _discard(path)
                else:
                    sync_folder(path.parent)
                    return cls.open(path, image_size=image_size, fingerprint=fingerprint)
            raise InputError(f"{path}: cannot be replaced by a new pixel cache; remove it")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @classmethod
    def open(cls, path: Path, *, image_size: int, fingerprint: str) -> PixelCache:
        """Maps the cache at `path`. Raises InputError where there is none, it was built from something else, or its files disagree.

        Sizes, offsets and the index's digest are checked; the pixels themselves are not read.
        """
        try:
            meta = json.loads((path / _META).read_text())
            index = np.load(path / _INDEX, allow_pickle=False)
            pixels = np.load(path / _PIXELS, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path}: there is no pixel cache that can be opened ({error})") from None
        if not isinstance(meta, dict) or any(meta.get(key) != value for key, value in _meta(image_size, fingerprint).items()):
            raise InputError(f"{path}: this pixel cache was built from other images, at another size, or by another recipe")
        if meta.get("index") != _index_digest(index) or index.dtype != np.int64 or index.ndim != 2 or index.shape[1] != 3:
            raise InputError(f"{path}: the index of this pixel cache is damaged")
        ends = np.cumsum(3 * index[:, 1] * index[:, 2])
        if pixels.dtype != np.uint8 or pixels.shape != (int(ends[-1]) if len(ends) else 0,):
            raise InputError(f"{path}: the pixels of this cache do not fit its index")
        return cls(pixels=pixels.view(np.ndarray), index=index)

    def image(self, row: int) -> NDArray[np.uint8]:
        """uint8 [height, width, 3]: a read-only view of one image."""
        offset, height, width = self.index[row].tolist()
        return self.pixels[offset : offset + 3 * height * width].reshape(height, width, 3)

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """(images uint8 [batch, h_max, w_max, 3], sizes int64 [batch, 2]): images in the upper left corner, zeros beyond their sizes.

        h_max and w_max are the batch's own. The arrays are fresh, contiguous and writable, so torch.from_numpy takes them as they are.
        Measured on one thread of a shared CPU, random rows at a short side of 40 px, batches of 256: equal sizes (eurosat) 1.1M
        images/s, sizes that vary (grocery, caltech101) 330k to 560k.
        """
        sizes = self.index[rows, 1:]
        if self._equal is not None:
            return self._equal[rows], sizes
        height, width = sizes.max(axis=0).tolist() if len(rows) else (0, 0)
        images = np.zeros((len(rows), height, width, 3), dtype=np.uint8)
        pixels = self.pixels
        for at, (offset, h, w) in enumerate(self.index[rows].tolist()):
            images[at, :h, :w] = pixels[offset : offset + 3 * h * w].reshape(h, w, 3)
        return images, sizes

    def subset(self, rows: NDArray[np.int64]) -> PixelSubset:
        """The images of some rows, int64 [num_images], in that order; nothing is copied."""
        return PixelSubset(self, rows)

    def __post_init__(self) -> None:
        same = len(self.index) > 0 and bool((self.index[:, 1:] == self.index[0, 1:]).all())
        equal = self.pixels.reshape(len(self.index), *self.index[0, 1:].tolist(), 3) if same else None
        object.__setattr__(self, "_equal", equal)

    _equal: NDArray[np.uint8] | None = field(init=False, repr=False, default=None)
    """All pixels as [num_images, height, width, 3] where every image has one size."""


class Images(Protocol):
    """Decoded images by row: a whole cache or a part of one."""

    def __len__(self) -> int: ...

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """(images uint8 [batch, h_max, w_max, 3], sizes int64 [batch, 2]), as PixelCache.gather."""
        ...


@dataclass(frozen=True, eq=False)
class PixelSubset:
    """Some rows of a cache, numbered anew."""

    cache: PixelCache
    rows: NDArray[np.int64]
    """int64 [num_images]: the cache's row of each image."""

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """As PixelCache.gather, by row of the subset."""
        return self.cache.gather(self.rows[rows])


def _meta(image_size: int, fingerprint: str) -> dict[str, Any]:
    return {"headwater": "pixel cache", "recipe": RECIPE, "image_size": image_size, "fingerprint": fingerprint}


def _index_digest(index: NDArray[Any]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(index).tobytes(), digest_size=16).hexdigest()


def _decoded(
    source: Source, positions: Positions, image_size: int, threads: int | None, progress: Callable[[int], object] | None
) -> Iterator[NDArray[np.uint8]]:
    """Decoded images in the order of `positions`, a few tasks ahead of whoever takes them."""

    def decode_some(some: Positions) -> list[NDArray[np.uint8]]:
        names = [f"{source.name}: {sample_id}" for sample_id in source.table.ids[some]]
        return [decode(image, image_size, name) for image, name in zip(source.images(some), names, strict=True)]

    threads = threads or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))
    chunks = (positions[at : at + _DECODE_CHUNK] for at in range(0, len(positions), _DECODE_CHUNK))
    done = 0
    with ThreadPoolExecutor(max_workers=threads) as pool:
        try:
            ahead: list[Future[list[NDArray[np.uint8]]]] = [pool.submit(decode_some, some) for some in islice(chunks, 2 * threads)]
            while ahead:
                images = ahead.pop(0).result()
                ahead.extend(pool.submit(decode_some, some) for some in islice(chunks, 1))
                yield from images
                done += len(images)
                if progress is not None:
                    progress(done)
        finally:
            pool.shutdown(cancel_futures=True)


def _write_cache(images: Iterator[NDArray[np.uint8]], num_images: int, folder: Path, image_size: int, fingerprint: str) -> None:
    index = np.zeros((num_images, 3), dtype=np.int64)
    end = 0
    with (folder / _PIXELS).open("wb") as file:
        _write_npy_header(file, 0)
        for row, pixels in enumerate(images):
            index[row] = end, pixels.shape[0], pixels.shape[1]
            end += pixels.nbytes
            file.write(np.ascontiguousarray(pixels).data)
        file.seek(0)
        _write_npy_header(file, end)
        _flush(file)
    with (folder / _INDEX).open("wb") as file:
        np.save(file, index, allow_pickle=False)
        _flush(file)
    with (folder / _META).open("wb") as file:
        file.write(json.dumps({**_meta(image_size, fingerprint), "index": _index_digest(index)}, indent=1).encode())
        _flush(file)
    sync_folder(folder)


def _write_npy_header(file: BinaryIO, num_bytes: int) -> None:
    """A .npy header (format 1.0) of a uint8 vector, of one length whatever its shape, so that it can be rewritten once the size is known."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({num_bytes},), }}".ljust(117).encode() + b"\n"
    file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _beside(path: Path) -> Path:
    """A new folder on the same disk, hidden, with the permissions that any other folder would have (mkdtemp's are the owner's alone)."""
    folder = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    folder.mkdir()
    return folder


def _discard(path: Path) -> None:
    """Moves what is at `path` aside in one step, so that no reader sees half of it, and removes it."""
    aside = _beside(path)
    with suppress(OSError):
        os.rename(path, aside / "old")
    shutil.rmtree(aside, ignore_errors=True)
