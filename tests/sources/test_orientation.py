"""Every format is turned upright exactly once, held against numpy's flips of one picture."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from headwater.sources.folder import FolderSource
from headwater.sources.pixels import decode, decoding, short_side

Pixels = NDArray[np.uint8]
SIZE = 19
"""image_size at which the picture is stored as it is: no resizing blurs the comparison."""


def picture(height: int = 24, width: int = 36) -> Pixels:
    """Smooth, without any symmetry."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack(
        [255 * x / width, 255 * y / height, 255 * (x + y * y / height) / (width + height)], axis=-1
    ).astype(np.uint8)


def stored(upright: Pixels, orientation: int) -> Pixels:
    """The pixels as a camera stores them, so that the tag makes them `upright`: TIFF 6.0's words
    for what row 0 and column 0 are.
    """
    ways: dict[int, Callable[[Pixels], Pixels]] = {
        1: lambda p: p,  # top, left
        2: lambda p: p[:, ::-1],  # top, right
        3: lambda p: p[::-1, ::-1],  # bottom, right
        4: lambda p: p[::-1],  # bottom, left
        5: lambda p: p.transpose(1, 0, 2),  # left, top
        6: lambda p: p.transpose(1, 0, 2)[::-1],  # right, top
        7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],  # right, bottom
        8: lambda p: p.transpose(1, 0, 2)[:, ::-1],  # left, bottom
    }
    return np.ascontiguousarray(ways[orientation](upright))


def saved(image: Image.Image, format: str, orientation: int, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, format, exif=exif, **options)
    return buffer.getvalue()


def tiff_of_pages(image: Image.Image, orientation: int) -> bytes:
    return saved(image, "TIFF", orientation, save_all=True, append_images=[image])


def mpo(image: Image.Image, orientation: int) -> bytes:
    other = Image.new("RGB", image.size)
    return saved(image, "MPO", orientation, save_all=True, append_images=[other], quality=95)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def big_endian_tags(orientation: int) -> bytes:
    entry = struct.pack(">HHIHH", 274, 3, 1, orientation, 0)
    return b"MM\x00\x2a\x00\x00\x00\x08" + struct.pack(">H", 1) + entry + b"\0\0\0\0"


def png_with_tags_last(image: Image.Image, orientation: int) -> bytes:
    """The eXIf chunk behind the pixels, in the other byte order."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    plain, end = buffer.getvalue()[:-12], buffer.getvalue()[-12:]
    return plain + chunk(b"eXIf", big_endian_tags(orientation)) + end


def png_by_imagemagick(image: Image.Image, orientation: int) -> bytes:
    """EXIF as ImageMagick wrote it before PNG had a chunk for it: hex in a text."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    tags = b"Exif\0\0" + big_endian_tags(orientation)
    text = f"\nexif\n{len(tags):8}\n{tags.hex()}\n".encode()
    data = b"Raw profile type exif\0\0" + zlib.compress(text)
    plain = buffer.getvalue()
    return plain[:33] + chunk(b"zTXt", data) + plain[33:]


def big_endian_tiff(image: Image.Image, orientation: int) -> bytes:
    pixels = np.asarray(image).tobytes()
    after = 8 + 2 + 9 * 12 + 4
    values = [(256, 4, image.width), (257, 4, image.height), (258, 3, None), (259, 3, 1)]
    values += [(262, 3, 2), (273, 4, after + 6), (274, 3, orientation), (277, 3, 3)]
    values += [(279, 4, len(pixels))]
    entries = b""
    for tag, kind, value in values:
        if value is None:
            entries += struct.pack(">HHII", tag, 3, 3, after)
        elif kind == 3:
            entries += struct.pack(">HHIHH", tag, 3, 1, value, 0)
        else:
            entries += struct.pack(">HHII", tag, 4, 1, value)
    head = b"MM\x00\x2a\x00\x00\x00\x08" + struct.pack(">H", len(values)) + entries + b"\0\0\0\0"
    return head + struct.pack(">HHH", 8, 8, 8) + pixels


LOSSLESS: dict[str, Callable[[Image.Image, int], bytes]] = {
    "PNG": lambda image, turn: saved(image, "PNG", turn),
    "PNG, tags last": png_with_tags_last,
    "PNG by ImageMagick": png_by_imagemagick,
    "WebP": lambda image, turn: saved(image, "WEBP", turn, lossless=True, exact=True),
    "TIFF": lambda image, turn: saved(image, "TIFF", turn),
    "TIFF, LZW": lambda image, turn: saved(image, "TIFF", turn, compression="tiff_lzw"),
    "TIFF, deflate": lambda image, turn: saved(image, "TIFF", turn, compression="tiff_deflate"),
    "TIFF of two pages": tiff_of_pages,
    "TIFF, big-endian": big_endian_tiff,
    "TIFF with alpha": lambda image, turn: saved(image.convert("RGBA"), "TIFF", turn),
}
LOSSY: dict[str, Callable[[Image.Image, int], bytes]] = {
    "JPEG": lambda image, turn: saved(image, "JPEG", turn, quality=97, subsampling=0),
    "JPEG, progressive": lambda image, turn: saved(
        image, "JPEG", turn, quality=97, subsampling=0, progressive=True
    ),
    "JPEG of CMYK": lambda image, turn: saved(image.convert("CMYK"), "JPEG", turn, quality=97),
    "MPO": mpo,
    "AVIF": lambda image, turn: saved(image, "AVIF", turn, quality=100, subsampling="4:4:4"),
    "WebP, lossy": lambda image, turn: saved(image, "WEBP", turn, quality=99),
    "TIFF of JPEG": lambda image, turn: saved(image, "TIFF", turn, compression="jpeg", quality=97),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", LOSSLESS)
def test_orientation_is_applied_once_whatever_the_format(format: str, orientation: int) -> None:
    upright = picture()
    assert short_side(SIZE) == len(upright)
    data = LOSSLESS[format](Image.fromarray(stored(upright, orientation)), orientation)
    assert np.array_equal(decode(data, SIZE, "x"), upright)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", LOSSY)
def test_orientation_is_applied_once_where_pixels_are_lossy(format: str, orientation: int) -> None:
    upright = picture()
    data = LOSSY[format](Image.fromarray(stored(upright, orientation)), orientation)
    found = decode(data, SIZE, "x")
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 6, "another turn differs by 40 and more"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once_to_palettes_grey_and_16_bits(orientation: int) -> None:
    grey = picture()[..., :1]
    for image in (
        Image.fromarray(stored(grey, orientation)[..., 0]),
        Image.fromarray(stored(grey, orientation)[..., 0]).convert("P"),
        Image.fromarray(stored(grey, orientation)[..., 0].astype(np.uint16) * 257),
    ):
        for format in ("TIFF", "PNG"):
            found = decode(saved(image, format, orientation), SIZE, "x")
            assert np.array_equal(found[..., 0], grey[..., 0]), (format, image.mode)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_large_tiffs_that_are_resized_by_strips_are_turned_once(
    orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    upright = picture(240, 300)
    plain = decode(saved(Image.fromarray(upright), "TIFF", 1), 32, "x")
    monkeypatch.setattr(decoding, "_BY_STRIPS", 100)
    data = saved(Image.fromarray(stored(upright, orientation)), "TIFF", orientation)
    found = decode(data, 32, "x")
    assert found.shape == plain.shape and np.abs(found.astype(int) - plain).max() <= 2


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_is_none_turns_nothing(value: int) -> None:
    for format in ("TIFF", "PNG", "JPEG"):
        data = saved(Image.fromarray(picture()), format, value)
        assert np.abs(decode(data, SIZE, "x").astype(int) - picture()).mean() < 6


def test_only_tiffs_that_were_turned_twice_have_another_fingerprint(tmp_path: Path) -> None:
    """What was computed of wrong pixels is not taken for what is computed of right ones; files that
    were right keep their ids.
    """
    for name, turn in (("plain", 1), ("turned", 6)):
        for format in ("TIFF", "PNG"):
            path = tmp_path / name / f"a.{format.lower()}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(saved(Image.fromarray(picture()), format, turn))
    marks = {
        name: FolderSource(name, tmp_path / name).reading_marks(np.arange(2))
        for name in ("plain", "turned")
    }
    assert marks == {"plain": [], "turned": ["a.tiff\x1fturned 6"]}
