"""The pixel rule against PIL and torchvision, damaged and hostile files, and the cache."""

from __future__ import annotations

import io
import itertools
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms.v2 import functional as tv

from headwater.errors import InputError
from headwater.sources.folder import FolderSource
from headwater.sources.pixels import MAX_PIXELS, PixelCache, decode, short_side
from tests.needs import DATA, needs_data
from tests.sources.drawn import EQUAL, MIXED, Drawn


def picture(height: int = 60, width: int = 90, channels: int = 3) -> np.ndarray:
    """Smooth, with no symmetry, so that a wrong turn shows and a JPEG keeps it."""
    y, x = np.mgrid[0:height, 0:width]
    bands = [
        255 * x / width,
        255 * y / height,
        255 * np.hypot(x - width / 3, y) / np.hypot(width, height),
        255 * (x + y) / (height + width),
    ]
    return np.stack(bands[:channels], axis=-1).astype(np.uint8)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def reference(image: Image.Image, image_size: int) -> np.ndarray:
    """EXIF-turned RGB by PIL, resized by torchvision: neither shares code with the rule under
    test.
    """
    rgb = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    tensor = torch.from_numpy(rgb.copy()).permute(2, 0, 1)
    return tv.resize(tensor, [round(1.25 * image_size)], antialias=True).permute(1, 2, 0).numpy()


def close(a: np.ndarray, b: np.ndarray, mean: float = 1.0, most: int = 6) -> None:
    assert a.shape == b.shape
    assert a.dtype == b.dtype == np.uint8
    difference = np.abs(a.astype(int) - b)
    assert difference.mean() <= mean
    assert difference.max() <= most


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG"])
@pytest.mark.parametrize("image_size", [16, 48, 100])
def test_every_format_decodes_to_what_torchvision_resizes(format, image_size):
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(format, {})
    data = encoded(Image.fromarray(picture()), format, **options)
    close(decode(data, image_size, "x"), reference(Image.open(io.BytesIO(data)), image_size))


SHAPES = ((60, 90), (91, 61), (400, 600))
TURNS = zip(range(1, 9), itertools.cycle(SHAPES), strict=False)


@pytest.mark.parametrize(
    ("orientation", "shape", "format"),
    [(turn, shape, ("PNG", "JPEG")[turn in (1, 4, 6, 7)]) for turn, shape in TURNS],
)
def test_exif_orientation_is_respected_on_both_paths(orientation, shape, format):
    """Both formats see a turn, a mirror image and all shapes; a JPEG of the largest is decoded at a
    fraction of its size.
    """
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(picture(*shape)), format, exif=exif)
    close(decode(data, 32, "x"), reference(Image.open(io.BytesIO(data)), 32))


def test_damaged_exif_does_not_cost_the_image():
    plain = encoded(Image.fromarray(picture()), "JPEG")
    tags = b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff"
    damaged = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(tags) + 2) + tags + plain[2:]
    assert np.array_equal(decode(damaged, 32, "x"), decode(plain, 32, "x"))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("shape", [(500, 375), (375, 500), (1203, 801), (161, 1000)])
def test_scaled_jpeg_decoding_stays_close_to_full_decoding(subsampling, shape):
    data = encoded(Image.fromarray(picture(*shape)), "JPEG", quality=95, subsampling=subsampling)
    full = Image.open(io.BytesIO(data))
    if max(shape) > 4 * min(shape):
        left = (1000 - 4 * 161) // 2
        full = full.crop((left, 0, left + 4 * 161, 161))
    close(decode(data, 32, "x"), reference(full, 32), mean=1.0, most=8)


def test_alpha_goes_over_white():
    rgba = np.concatenate(
        [picture(), np.tile(np.linspace(0, 255, 90).astype(np.uint8)[None, :, None], (60, 1, 1))],
        axis=2,
    )
    alpha = rgba[..., 3:].astype(float) / 255
    over = np.round(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    for format in ("PNG", "WEBP"):
        data = encoded(
            Image.fromarray(rgba),
            format,
            **({"lossless": True, "exact": True} if format == "WEBP" else {}),
        )
        close(decode(data, 48, "x"), reference(Image.fromarray(over), 48), most=2)


def test_transparency_of_palettes_greys_and_colour_keys_goes_over_white():
    grey = Image.fromarray(np.full((8, 8), 7, dtype=np.uint8))
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    for image, options in (
        (grey, {"transparency": 7}),
        (grey.convert("RGB"), {"transparency": (7, 7, 7)}),
        (palette, {"transparency": 1}),
        (palette, {"transparency": bytes([255, 0])}),
        (Image.new("LA", (8, 8), (0, 0)), {}),
    ):
        assert (decode(encoded(image, "PNG", **options), 8, "x") == 255).all()
    assert (decode(encoded(palette, "PNG", transparency=0), 8, "x") == [0, 0, 255]).all()
    assert (decode(encoded(palette, "GIF", transparency=1), 8, "x") == 255).all()


def test_grey_one_bit_and_cmyk_become_rgb():
    grey = Image.fromarray(picture()[..., 0])
    for format in ("PNG", "JPEG"):
        data = encoded(grey, format)
        close(decode(data, 32, "x"), reference(Image.open(io.BytesIO(data)), 32))
    bits = Image.fromarray(picture()[..., 0] > 100)
    close(decode(encoded(bits, "PNG"), 48, "x"), reference(bits, 48))
    data = encoded(Image.fromarray(picture()).convert("CMYK"), "JPEG", quality=95)
    close(decode(data, 48, "x"), reference(Image.open(io.BytesIO(data)), 48), most=2)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(format):
    wide = (np.arange(64, dtype=np.uint32)[None, :].repeat(64, axis=0) * 65535 // 63).astype(
        np.uint16
    )
    out = decode(
        encoded(Image.fromarray(wide), format), 51, "x"
    )  # short_side(51) = 64: no resizing
    assert np.array_equal(out[..., 0], np.round(wide / 257).astype(np.uint8))


def test_float_pixels_are_refused():
    with pytest.raises(InputError, match="no agreed range"):
        decode(encoded(Image.fromarray(np.zeros((8, 8), dtype=np.float32)), "TIFF"), 32, "x")


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    assert (
        decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), 8, "x")
        == [255, 0, 0]
    ).all()


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (30, 600), (600, 30), (1, 1), (2, 9)])
def test_no_aspect_explodes(shape):
    for data in (
        picture(*shape),
        encoded(Image.fromarray(picture(*shape)), "PNG"),
        encoded(Image.fromarray(picture(*shape)), "JPEG"),
    ):
        out = decode(data, 32, "x")
        assert min(out.shape[:2]) == 40
        assert max(out.shape[:2]) <= 160
        assert (out.shape[0] > out.shape[1]) == (shape[0] > shape[1])


def test_a_long_image_is_cropped_around_its_centre():
    long = np.zeros((10, 100, 3), dtype=np.uint8)
    long[:, 30:70] = 255
    assert decode(long, 8, "x").shape == (10, 40, 3)
    assert (decode(long, 8, "x") == 255).all()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_files_name_the_sample(format):
    data = encoded(
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)),
        format,
    )
    for keep in (len(data) // 2, 30, 4):
        with pytest.raises(InputError, match=r"^set: a/b\.jpg: "):
            decode(data[:keep], 32, "set: a/b.jpg")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello, I am a text file named .jpg\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\xff\xd8\xff",
    ],
)
def test_what_is_no_image_is_refused(data):
    with pytest.raises(InputError, match=r"^x: this is no image|^x: the image is damaged"):
        decode(data, 32, "x")


def test_formats_outside_the_list_are_refused():
    for format in ("PCX", "TGA", "ICO"):
        with pytest.raises(InputError, match="this is no image that can be read"):
            decode(encoded(Image.fromarray(picture()), format), 32, "x")


def bomb_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_decompression_bombs_are_refused_by_their_header():
    side = int(MAX_PIXELS**0.5) + 1
    jpeg = bytearray(encoded(Image.fromarray(picture()), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    for data in (bomb_png(side, side), bomb_png(60000, 60000), bytes(jpeg)):
        with pytest.raises(InputError, match=r"^x: the image is too large"):
            decode(data, 32, "x")


def test_pixels_that_are_no_rgb_bytes_are_refused():
    for wrong in (
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ):
        with pytest.raises(InputError, match="pixels should be uint8"):
            decode(wrong, 32, "x")


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_flipped_bytes_give_pixels_or_an_input_error(data):
    format = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]))
    raw = bytearray(encoded(Image.fromarray(picture(24, 24)), format))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        out = decode(bytes(raw), 16, "x")
    except InputError as error:
        assert str(error).startswith("x: ")
    else:
        assert min(out.shape[:2]) == short_side(16)


@pytest.mark.parametrize("shapes", [MIXED, EQUAL], ids=["mixed", "equal"])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_cache_holds_what_decode_gives_and_gathers_it_padded(tmp_path, shapes, threads):
    source, positions = Drawn(shapes), np.arange(len(shapes))[::-1].copy()
    seen = []
    cache = PixelCache.build(
        source,
        positions,
        8,
        tmp_path / "a" / "cache",
        fingerprint="f",
        threads=threads,
        progress=seen.append,
    )
    assert len(cache) == seen[-1] == len(shapes)
    expected = [decode(source.image(at), 8, "x") for at in positions]
    rows = np.array([0, 3, 1, 1, 199, 64])
    images, sizes = cache.gather(rows)
    assert images.flags.writeable
    assert images.flags.c_contiguous
    assert sizes.tolist() == [list(expected[row].shape[:2]) for row in rows]
    assert images.shape == (6, *np.max(sizes, axis=0), 3)
    for image, (height, width), row in zip(images, sizes, rows, strict=True):
        assert np.array_equal(image[:height, :width], expected[row])
        assert np.array_equal(cache.image(row), expected[row])
        assert not image[height:].any()
        assert not image[:, width:].any()
    assert torch.from_numpy(images).shape == images.shape


def test_an_empty_batch_and_an_empty_cache(tmp_path):
    cache = PixelCache.build(Drawn(MIXED), np.arange(10), 8, tmp_path / "cache", fingerprint="f")
    assert cache.gather(np.empty(0, dtype=np.int64))[0].shape[0] == 0
    assert (
        len(PixelCache.build(Drawn([]), np.arange(0), 8, tmp_path / "none", fingerprint="f")) == 0
    )


def test_a_cache_is_reused_only_for_the_same_images_and_size(tmp_path):
    def decoded(image_size, fingerprint):
        source = Drawn(EQUAL)
        cache = PixelCache.build(
            source, np.arange(20), image_size, tmp_path / "cache", fingerprint=fingerprint
        )
        assert cache.image(0).shape[0] == short_side(image_size)
        return len(source.asked)

    assert [
        decoded(8, "f"),
        decoded(8, "f"),
        decoded(8, "g"),
        decoded(16, "g"),
        decoded(16, "g"),
    ] == [20, 0, 20, 20, 0]
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize("file", ["pixels.npy", "index.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["remove", "truncate", "empty", "garbage"])
def test_a_damaged_cache_is_refused_and_rebuilt(tmp_path, file, damage):
    path = tmp_path / "cache"
    whole = PixelCache.build(Drawn(MIXED), np.arange(50), 8, path, fingerprint="f").gather(
        np.arange(50)
    )[0]
    target = path / file
    raw = target.read_bytes()
    if damage == "remove":
        target.unlink()
    else:
        target.write_bytes(
            {"truncate": raw[:-9], "empty": b"", "garbage": b"\x00" * len(raw)}[damage]
        )
    with pytest.raises(InputError):
        PixelCache.open(path, image_size=8, fingerprint="f")
    again = PixelCache.build(Drawn(MIXED), np.arange(50), 8, path, fingerprint="f")
    assert np.array_equal(again.gather(np.arange(50))[0], whole)
    assert [entry.name for entry in tmp_path.iterdir()] == ["cache"]


def test_an_index_that_was_tampered_with_is_refused(tmp_path):
    path = tmp_path / "cache"
    PixelCache.build(Drawn(EQUAL), np.arange(5), 8, path, fingerprint="f")
    index = np.load(path / "index.npy")
    index[0, 0] = 1 << 40
    np.save(path / "index.npy", index)
    with pytest.raises(InputError, match="index of this pixel cache is damaged"):
        PixelCache.open(path, image_size=8, fingerprint="f")


def test_pickles_are_never_loaded(tmp_path):
    path = tmp_path / "cache"
    PixelCache.build(Drawn(EQUAL), np.arange(5), 8, path, fingerprint="f")
    np.save(path / "pixels.npy", np.array([{"an": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError):
        PixelCache.open(path, image_size=8, fingerprint="f")


def test_an_image_that_cannot_be_decoded_is_named_and_leaves_nothing_behind(tmp_path):
    with pytest.raises(InputError, match=r"^drawn: 150\.png: this is no image"):
        PixelCache.build(
            Drawn(MIXED, broken={150}),
            np.arange(200),
            8,
            tmp_path / "cache",
            fingerprint="f",
            threads=2,
        )
    assert list(tmp_path.iterdir()) == []


BUILD = """
import sys
from pathlib import Path
import numpy as np
from headwater.sources.folder import FolderSource
from headwater.sources.pixels import PixelCache
source = FolderSource("set", Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
rows = np.arange(len(source.table))
PixelCache.build(source, rows, 8, Path(sys.argv[2]), fingerprint="f", threads=1)
"""


@pytest.mark.slow
def test_builders_at_the_same_time_leave_one_whole_cache(tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    root.mkdir()
    for at in range(150):
        Image.fromarray(picture(20 + at % 7, 20)).save(root / f"{at:03d}.png")
    command = [sys.executable, "-c", BUILD, str(root), str(out / "cache")]
    builders = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for builder in builders:  # all have imported what they need before any of them starts
        assert builder.stdout is not None
        assert builder.stdout.readline() == "ready\n"
    for builder in builders:
        assert builder.stdin is not None
        builder.stdin.write("go\n")
        builder.stdin.flush()
    assert [builder.communicate(timeout=60) and builder.returncode for builder in builders] == [
        0,
        0,
        0,
    ]
    assert [path.name for path in out.iterdir()] == ["cache"]
    cache = PixelCache.open(out / "cache", image_size=8, fingerprint="f")
    assert np.array_equal(cache.image(149), decode((root / "149.png").read_bytes(), 8, "x"))
    assert json.loads((out / "cache" / "meta.json").read_text())["image_size"] == 8


@needs_data
def test_small_photos_decode_exactly_as_by_pil():
    """At 96 px nothing is scaled while decoding, so simplejpeg and PIL should agree to the bit:
    both are libjpeg-turbo.
    """
    assert DATA
    source = FolderSource("grocery", Path(DATA) / "grocery")
    for position in range(0, len(source.table), 100):
        data = source.image(position)
        full = simplejpeg.decode_jpeg(data)
        assert np.abs(full.astype(int) - np.asarray(Image.open(io.BytesIO(data)))).max() <= 1
        close(decode(data, 64, "x"), reference(Image.open(io.BytesIO(data)), 64), mean=0.5, most=2)


@needs_data
def test_real_emoji_have_white_corners():
    assert DATA
    source = FolderSource("emoji", Path(DATA) / "noto_emoji")
    position = source.table.ids.tolist().index("images/emoji_u1f600.png")
    assert decode(source.image(position), 32, "x")[0, 0].tolist() == [255, 255, 255]
