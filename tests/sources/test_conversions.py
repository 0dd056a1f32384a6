"""What decoding converts is counted; 10 to 14 bits in 16 are recognised by their tags, or told."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from headwater.sources.pixels import conversions, decode
from headwater.sources.pixels.conversions import (
    CMYK,
    CROPPED,
    DARK,
    FEWER,
    FRAMES,
    ONE_BIT,
    PALETTE,
    TRANSPARENT,
    TURNED,
    UNREADABLE,
    WIDE,
    conversions_of,
)
from headwater.sources.tiff import TiffHeader, read_header
from headwater.store import Store
from tests.conftest import Cli, write_study

RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
WHOLE = 51
"""image_size at which 64 pixels are stored as they are."""


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def turned(format: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(RGB, format, exif=exif)


def animated(format: str) -> bytes:
    other = RGB.transpose(Image.Transpose.ROTATE_90)
    return encoded(RGB, format, save_all=True, append_images=[other])


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def wide_png(values: NDArray[np.int64], *, significant: int | None = None) -> bytes:
    """A PNG of 16 bits: grey [h, w], or colours [h, w, 3 or 4]."""
    channels = 1 if values.ndim == 2 else values.shape[2]
    rows = values.astype(">u2").reshape(len(values), -1)
    colours = {1: 0, 3: 2, 4: 6}[channels]
    size = struct.pack(">IIBBBBB", values.shape[1], len(values), 16, colours, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    bits = b"" if significant is None else chunk(b"sBIT", bytes([significant] * channels))
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size)
    return head + bits + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def ramp(most: int) -> NDArray[np.int64]:
    """int64 [64, 64]: 0 to `most` along each row."""
    return np.arange(64, dtype=np.int64)[None, :].repeat(64, axis=0) * most // 63


def tiff(values: NDArray[np.int64], bits: int, *, order: str = "<", **tags: int) -> bytes:
    """An uncompressed grey TIFF of 12 (packed) or 16 bits."""
    if bits == 12:
        flat = values.reshape(-1, 2)
        packed = np.stack(
            [flat[:, 0] >> 4, (flat[:, 0] & 15) << 4 | flat[:, 1] >> 8, flat[:, 1] & 255], axis=1
        )
        pixels = packed.astype(np.uint8).tobytes()
    else:
        pixels = values.astype(order + "u2").tobytes()
    named = {256: values.shape[1], 257: len(values), 258: bits, 259: 1, 262: 1, 277: 1}
    named |= {279: len(pixels), 278: len(values)}
    named |= {int(name[1:]): value for name, value in tags.items()}
    named[273] = 8 + 2 + 12 * (len(named) + 1) + 4
    entries = b""
    for tag, value in sorted(named.items()):
        if tag in (273, 279):
            entries += struct.pack(order + "HHII", tag, 4, 1, value)
        else:
            entries += struct.pack(order + "HHIHH", tag, 3, 1, value, 0)
    magic = b"II\x2a\x00" if order == "<" else b"MM\x00\x2a"
    head = magic + struct.pack(order + "IH", 8, len(named)) + entries + b"\0\0\0\0"
    return head + pixels


CASES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "plain PNG": (encoded(RGB, "PNG"), ()),
    "plain JPEG": (encoded(RGB, "JPEG"), ()),
    "plain TIFF": (encoded(RGB, "TIFF"), ()),
    "grey": (encoded(RGB.convert("L"), "PNG"), ()),
    "turned JPEG": (turned("JPEG"), (TURNED,)),
    "turned TIFF": (turned("TIFF"), (TURNED,)),
    "turned PNG": (turned("PNG"), (TURNED,)),
    "turned WebP": (turned("WEBP"), (TURNED,)),
    "CMYK JPEG": (encoded(RGB.convert("CMYK"), "JPEG"), (CMYK,)),
    "CMYK TIFF": (encoded(RGB.convert("CMYK"), "TIFF"), (CMYK,)),
    "palette PNG": (encoded(RGB.convert("P"), "PNG"), (PALETTE,)),
    "palette GIF": (encoded(RGB.convert("P"), "GIF"), (PALETTE,)),
    "palette with a clear colour": (
        encoded(RGB.convert("P"), "PNG", transparency=3),
        (PALETTE, TRANSPARENT),
    ),
    "alpha PNG": (encoded(RGB.convert("RGBA"), "PNG"), (TRANSPARENT,)),
    "alpha WebP": (encoded(RGB.convert("RGBA"), "WEBP"), ()),
    "grey and alpha": (encoded(RGB.convert("LA"), "PNG"), (TRANSPARENT,)),
    "bits": (encoded(RGB.convert("1"), "PNG"), (ONE_BIT,)),
    "animated GIF": (animated("GIF"), (FRAMES, PALETTE)),
    "animated PNG": (animated("PNG"), (FRAMES,)),
    "animated WebP": (animated("WEBP"), (FRAMES,)),
    "TIFF of two pages": (animated("TIFF"), (FRAMES,)),
    "long": (encoded(RGB.resize((90, 10)), "PNG"), (CROPPED,)),
    "16 bits": (wide_png(ramp(65535)), (WIDE,)),
    "16 bits TIFF": (tiff(ramp(40000), 16), (WIDE,)),
    "16 bits of colour": (wide_png(np.stack([ramp(65535)] * 3, axis=-1)), (WIDE,)),
    "12 bits in a PNG": (wide_png(ramp(4095)), (DARK,)),
    "14 bits in a PNG": (wide_png(ramp(16383)), (DARK,)),
    "10 bits of colour": (wide_png(np.stack([ramp(1023)] * 3, axis=-1)), (DARK,)),
    "12 bits of colour, opaque": (
        wide_png(np.stack([ramp(4095)] * 3 + [ramp(0) + 65535], axis=-1)),
        (TRANSPARENT, DARK),
    ),
    "12 bits in a TIFF": (tiff(ramp(4095), 16), (DARK,)),
    "12 bits in a TIFF that says so": (tiff(ramp(4095), 16, t281=4095), (FEWER,)),
    "a TIFF of 12 bits": (tiff(ramp(4095), 12), (FEWER,)),
    "a page": (b"<html>not found</html>", (UNREADABLE,)),
    "nothing": (b"", (UNREADABLE,)),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_converted_is_said_in_words(case: str) -> None:
    data, expected = CASES[case]
    found = conversions_of(data)
    if case == "alpha WebP":  # Pillow stores no alpha where all is opaque, in some versions
        assert set(found) <= {TRANSPARENT}
        return
    assert found == expected


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("most", [1023, 4095, 16383])
def test_a_tiff_that_says_how_many_of_16_bits_count_has_its_white_there(
    order: str, most: int
) -> None:
    values = ramp(most)
    expected = np.round(values / most * 255).astype(np.uint8)
    for tag in ("t281", "t341"):
        found = decode(tiff(values, 16, order=order, **{tag: most}), WHOLE, "x")
        assert np.abs(found[..., 0].astype(int) - expected).max() == 0


def test_a_tiff_of_12_bits_has_its_white_at_4095() -> None:
    values = ramp(4095)
    found = decode(tiff(values, 12), WHOLE, "x")
    assert np.array_equal(found[..., 0], np.round(values / 4095 * 255).astype(np.uint8))


def test_images_of_one_set_keep_their_brightness_to_each_other() -> None:
    """White is what a tag says and never the brightest pixel of an image."""
    bright, dim = (decode(tiff(ramp(most), 16, t281=4095), WHOLE, "x") for most in (4095, 2047))
    assert bright.max() == 255 and dim.max() == 127
    plain, low = (decode(tiff(ramp(most), 16), WHOLE, "x") for most in (65535, 4095))
    assert plain.max() == 255 and low.max() == 16, "told, and not stretched"


@pytest.mark.parametrize("said", [3000, 40000, 255, 0, 65535], ids=str)
def test_a_largest_value_that_is_no_range_is_not_taken_for_one(said: int) -> None:
    """Some writers put the brightest pixel of the image there."""
    values = ramp(3000)
    found = decode(tiff(values, 16, t281=said), WHOLE, "x")
    assert np.array_equal(found, decode(tiff(values, 16), WHOLE, "x"))


def test_a_tag_that_the_pixels_contradict_is_passed_over() -> None:
    values = ramp(60000)
    found = decode(tiff(values, 16, t281=4095), WHOLE, "x")
    assert np.array_equal(found, decode(tiff(values, 16), WHOLE, "x"))
    assert conversions_of(tiff(values, 16, t281=4095)) == (WIDE,)


def test_a_png_keeps_its_pixels_whatever_bits_it_calls_significant() -> None:
    """PNG scales samples to all 16 bits; the chunk only says how many were measured."""
    values = ramp(4095) << 4
    plain = decode(wide_png(values), WHOLE, "x")
    assert np.array_equal(decode(wide_png(values, significant=12), WHOLE, "x"), plain)
    assert conversions_of(wide_png(values, significant=12)) == (WIDE,)


@pytest.mark.parametrize(
    "data",
    [b"", b"II", b"II\x2a\x00\xff\xff\xff\xff", b"MM\x00\x2b" + b"\xff" * 40, b"PK\x03\x04" * 9],
    ids=["empty", "short", "far", "big", "zip"],
)
def test_a_damaged_tiff_header_says_nothing(data: bytes) -> None:
    assert read_header(io.BytesIO(data)) == TiffHeader() and TiffHeader().mark == ""


def test_a_bigtiff_header_is_read() -> None:
    entries = struct.pack("<HHQQ", 274, 3, 1, 6) + struct.pack("<HHQQ", 281, 4, 1, 4095)
    data = b"II\x2b\x00\x08\x00\x00\x00" + struct.pack("<QQ", 16, 2) + entries
    header = read_header(io.BytesIO(data))
    assert (header.orientation, header.max_value) == (6, 4095)


def test_tasks_counts_what_is_converted(headwater: Cli, tmp_path: Path) -> None:
    for number, (data, _) in enumerate(CASES.values()):
        path = tmp_path / "photos" / f"kind{number % 2}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    expected: dict[str, int] = {}
    for data, _ in CASES.values():
        for word in set(conversions_of(data)) - {conversions.UNREADABLE}:
            expected[word] = expected.get(word, 0) + 1
    code, out, _ = headwater("tasks", str(tmp_path / "photos"), "--json")
    assert code == 0 and json.loads(out)["converted"] == expected
    text = " ".join(headwater("tasks", str(tmp_path / "photos"))[1].split())
    assert f"2 of {len(CASES)} images of CMYK" in text
    assert f"{expected[DARK]} of {len(CASES)} images of 16 bits in which no sample" in text
    assert "cannot be read 2 images" in text


def test_plan_verify_counts_what_is_converted_and_so_does_every_plan_after_it(
    headwater: Cli, tmp_path: Path
) -> None:
    cmyk = encoded(RGB.convert("CMYK"), "JPEG")
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            path = tmp_path / "photos" / split / name / "0.png"
            path.parent.mkdir(parents=True)
            turned = RGB.rotate(90 * len(split) + 45 * (name == "cat"))
            path.write_bytes(cmyk if (split, name) == ("val", "dog") else encoded(turned, "PNG"))
    words = {
        "study": "s",
        "data": {"photos": {"kind": "folder", "path": str(tmp_path / "photos")}},
        "sources": [],
        "methods": ["scratch"],
        "budget": {"steps": 2},
        "tasks": {"photos": {"data": "photos"}},
        "protocols": {"ridge": {"shots": ["full"]}},
    }
    study = write_study(tmp_path / "s.yaml", words)
    Store(tmp_path / "store", create=True)
    told = "data photos: 1 of 6 images of CMYK, converted to RGB"
    for words in (["--verify"], []):
        code, out, _ = headwater("plan", str(study), *words, "--store", str(tmp_path / "store"))
        assert code == 0 and told in " ".join(out.split())


def test_tasks_says_nothing_of_plain_images(headwater: Cli, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(encoded(RGB.rotate(90 * (name == "b")), "PNG"))
    facts = json.loads(headwater("tasks", str(tmp_path), "--json")[1])
    assert facts["converted"] == {} and facts["notes"] == []


def test_every_word_has_a_sentence() -> None:
    for word in conversions.WORDS:
        (sentence,) = conversions.conversion_sentences({word: 3}, 7)
        assert sentence.startswith("3 of 7 images ") and sentence[14:] != word
    said = {word for _, words in CASES.values() for word in words}
    assert said | {conversions.LAB} == set(conversions.WORDS), "every word is met by a case"


@pytest.mark.parametrize("white", [4095, 65535])
def test_a_wide_pgm_or_ppm_is_read_as_one_of_8_bits_and_told(white: int) -> None:
    grey = np.add.outer(np.arange(16), np.arange(16)) * (white // 30)
    colours = np.stack([grey, grey[::-1], grey[:, ::-1]], axis=-1)
    for magic, pixels in ((b"P5", grey), (b"P6", colours)):
        data = b"%b 16 16 %d\n" % (magic, white) + pixels.astype(">u2").tobytes()
        found = decode(data, 13, "x").astype(int)
        expected = pixels * 255 / white
        assert np.abs(found - (expected[..., None] if magic == b"P5" else expected)).max() <= 1
        assert conversions_of(data) == (conversions.WIDE,)
