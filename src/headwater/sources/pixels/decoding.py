"""From a file's bytes to the pixels that training sees, once: one rule for every source.

decode -> EXIF rotation -> palette and alpha over white -> RGB -> at most 4:1 by a centre crop ->
short side to 1.25 x image_size, antialiased.

Plain RGB and grey JPEG goes through simplejpeg, which decodes straight to half the size or less
where at least twice the target is left; everything else, and every JPEG that simplejpeg finds fault
with, goes through PIL. Which path a file takes depends on its bytes alone, so equal files give
equal pixels. Measured on one thread of a shared CPU (simplejpeg; PIL): 2,640 grocery photos of 96
px to 40 px, 7.0k; 5.0k images/s, with equal pixels. A photo of 500 x 375 to 40 px, 0.57; 1.4 ms.
One of 12 megapixels to 280 px, 21; 89 ms. Where decoding was scaled, a pixel differs by 0.4 to 0.6
of 255 levels on average.

Nothing is decoded that PIL's own guard against decompression bombs would warn about, and only
formats that are listed here.
"""

from __future__ import annotations

import io
import struct

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from headwater.errors import InputError
from headwater.sources import Positions, Source
from headwater.sources.tiff import read_header

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
"""PIL's names of the formats that are opened; of animations and multi-page files the first image is
taken.
"""
MAX_PIXELS = 89_478_485
"""Images with more pixels are refused: the number above which Pillow warns of a decompression bomb
(a quarter of a GiB of RGB).
"""
MAX_ASPECT = 4
"""Longer images are cropped to this aspect around their centre before resizing, so that a 1 x
10,000 image cannot explode. Our choice.
"""
_BY_STRIPS = 1 << 24
"""Images with more pixels are converted and narrowed a strip at a time: with alpha, one at the
limit of pixels took 1.4 GB at once. The pixels that come out are the same.
"""
_STRIP = 64
"""Rows of a strip."""
_NARROWED = 8
_TALL = 1.9
"""Where less is left out, or an image is taller, Pillow may resize columns first, and the last bit
of a pixel differs.
"""
RECIPE = 1
"""Raised by hand when the pixels that come out change; part of the identity of arms, cells and
caches.
"""

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
"""Scaled decoding keeps at least this many times the target, so that the antialiased resize has
something left to average.
"""
_MIN_FACTOR = 2
"""Scaled decoding at least halves an image: to 7/8 or 6/8 of the size, libjpeg decodes more slowly
than to the full size.
"""


class Undecodable(InputError):
    """An image that cannot be decoded; `kind` is why, in a few words that others share."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def short_side(image_size: int) -> int:
    """The short side, in pixels, at which images are stored for encoders that see `image_size`
    pixels.
    """
    return round(1.25 * image_size)


def decode(data: bytes | NDArray[np.uint8], image_size: int, where: str) -> NDArray[np.uint8]:
    """uint8 [height, width, 3], RGB, with a short side of `short_side(image_size)` and a long side
    of at most 4 times that.

    `data` is an encoded file, or pixels (uint8 [height, width, 3], RGB) that are only cropped and
    resized. `where` names the sample in messages. Raises InputError for a format that is not in
    FORMATS, a damaged or truncated file, and an image above MAX_PIXELS.
    """
    side = short_side(image_size)
    if isinstance(data, np.ndarray):
        if data.dtype != np.uint8 or data.ndim != 3 or data.shape[2] != 3 or not data.size:
            raise InputError(
                f"{where}: pixels should be uint8 [height, width, 3], not {data.dtype} "
                f"{list(data.shape)}"
            )
        return _resized(Image.fromarray(data), side)
    if data[:3] == b"\xff\xd8\xff":
        fast = _decode_jpeg(data, side, where)
        if fast is not None:
            return fast
    return _decode_any(data, side, where)


def decode_some(source: Source, positions: Positions, image_size: int) -> list[NDArray[np.uint8]]:
    """`decode` of a few images of a source, in order.

    Whoever caches and whoever streams calls this, so that both get the same pixels and errors.

    Raises InputError, naming the sample, for one that cannot be read or decoded. May run in several
    threads at once: simplejpeg and PIL let go of the interpreter while they decode. Measured once
    on 2 shared cores, two threads over one (median of 3): 1.5 for photos, and for emoji as PNG, at
    224 px; 0.9 to 1.2 at 32 px, where the files are small and the time is Python's. Processes could
    gain there alone, and pay for sending pixels.
    """
    return [
        _decode_named(source, position, image, image_size)
        for position, image in zip(positions.tolist(), source.images(positions), strict=True)
    ]


def _decode_named(
    source: Source, position: int, image: bytes | NDArray[np.uint8], image_size: int
) -> NDArray[np.uint8]:
    """`decode`; the sample's name is looked up where it is needed, for an error."""
    try:
        return decode(image, image_size, "")
    except InputError:
        return decode(image, image_size, f"{source.name}: {source.table.ids[position]}")


def _decode_jpeg(data: bytes, side: int, where: str) -> NDArray[np.uint8] | None:
    """The fast path, or None for a JPEG that is not plain RGB or grey, or that PIL should judge."""
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours not in ("YCbCr", "Gray"):
            return None
        _check_size(height, width, where)
        least = _SCALED_GAP * side if max(height, width) <= MAX_ASPECT * min(height, width) else 0
        pixels = simplejpeg.decode_jpeg(
            data, "RGB", min_height=least, min_width=least, min_factor=_MIN_FACTOR
        )
    except InputError:
        raise
    except ValueError:  # damaged, or odd in a way that libjpeg can recover from: PIL decides which
        return None
    turn = _jpeg_orientation(data)
    if turn == 1 and pixels.shape[:2] == (height, width) and _is_stored_size(width, height, side):
        whole: NDArray[np.uint8] = pixels  # resizing it to its own size would copy it
        return whole
    return _resized(Image.fromarray(pixels), side, full=(width, height), turn=turn)


_HARMLESS = "extraneous bytes"
"""What libjpeg says of a JPEG whose picture is whole all the same."""
_FILLING = 16
"""Zero bytes in place of a JPEG's end that no picture ends in: what a download that broke off, or a
disk, leaves of a file whose length was set before.
"""


def decode_strictly(data: bytes, image_size: int, where: str) -> NDArray[np.uint8]:
    """As `decode` of a file's bytes, and Undecodable too for a JPEG whose picture data ends too
    soon or is no code, where Pillow shows grey.
    """
    if data[:3] != b"\xff\xd8\xff":
        return decode(data, image_size, where)
    fast = _decode_jpeg(data, short_side(image_size), where)
    if fast is not None:
        return fast
    pixels = _decode_any(data, short_side(image_size), where)
    fault = _jpeg_fault(data)
    if fault is not None:
        cut = "premature end" in fault.lower()
        raise Undecodable(f"{where}: {fault}", "cut short" if cut else "damaged")
    return pixels


def _jpeg_fault(data: bytes) -> str | None:
    """What libjpeg finds wrong with the picture of a JPEG that Pillow can open; None where nothing
    is, or nothing that reaches the pixels.
    """
    held = data.rstrip(b"\x00")
    if len(data) - len(held) >= _FILLING and not held.endswith(b"\xff\xd9"):
        return "premature end: zeros in place of its end"
    try:
        _, _, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours in ("YCbCr", "Gray"):
            simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1)
    except ValueError as error:
        text = str(error)
        harmful = "corrupt jpeg data" in text.lower()
        return text if harmful and _HARMLESS not in text else None
    return None


def _jpeg_orientation(data: bytes) -> int:
    """EXIF orientation of a JPEG, 1 to 8.

    PIL reads the tags (of EXIF, or of XMP in its place), but only where there seem to be any.
    """
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
    except (SyntaxError, ValueError, OSError, struct.error, KeyError, TypeError):
        return 1  # damaged tags do not make an image unreadable
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turn(image: Image.Image) -> int:
    """How a loaded image is still to be turned.

    Pillow turns a TIFF when it loads it, and then takes the tag away; other formats it leaves as
    they are stored.
    """
    if isinstance(image, TiffImageFile):
        left = image.tag_v2.get(_EXIF_ORIENTATION, 1)
        return left if isinstance(left, int) and 1 <= left <= 8 else 1
    return _orientation(image)


def _white(image: Image.Image, data: bytes) -> int:
    """The value of white in the samples of a loaded image of 16 bits: less than 2^16 - 1 where a
    TIFF says that fewer bits count, and no sample is larger.
    """
    if not image.mode.startswith("I;16") or not isinstance(image, TiffImageFile):
        return 65535
    white = read_header(io.BytesIO(data)).full_scale
    return white if int(np.asarray(image).max(initial=0)) <= white else 65535


def _decode_any(data: bytes, side: int, where: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.height, image.width, where)
            image.load()
            turn, white = _turn(image), _white(image, data)
            whole = _of_16_bits(image)
            if _by_strips(whole, side):
                return _resized_by_strips(whole, side, turn=turn, where=where, white=white)
            return _resized(_rgb(whole, where, white), side, turn=turn)
    except (InputError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(where) from None
    except UnidentifiedImageError:
        raise Undecodable(
            f"{where}: this is no image that can be read, whatever its name says (formats: "
            f"{', '.join(FORMATS)})",
            "no image that is read",
        ) from None
    except Exception as error:  # each decoder has its own kinds for damaged files
        raise Undecodable(
            f"{where}: the image is damaged or truncated "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__})",
            "damaged",
        ) from None


def _of_16_bits(image: Image.Image) -> Image.Image:
    """A loaded image; a PGM of more than 8 bits, which Pillow brings to 16 and calls 32, as one of
    16.
    """
    if image.format == "PPM" and image.mode == "I":
        return Image.fromarray(np.asarray(image).astype(np.uint16))
    return image


def _check_size(height: int, width: int, where: str) -> None:
    if height * width > MAX_PIXELS:
        raise _too_large(where, f"{width} x {height} = ")
    if not height or not width:
        raise Undecodable(f"{where}: the image has no pixels", "no pixels")


def _too_large(where: str, size: str = "") -> InputError:
    return Undecodable(
        f"{where}: the image is too large ({size}over {MAX_PIXELS:,} pixels); remove it, or store "
        "it smaller",
        "too many pixels",
    )


def _rgb(image: Image.Image, where: str, white: int) -> Image.Image:
    """RGB pixels of a loaded image of any mode, transparency over white.

    `white` is the value of white in samples of 16 bits.
    """
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((wide * 255 + white // 2) // white).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise Undecodable(
            f"{where}: 32-bit pixels (PIL mode {image.mode}) have no agreed range; store the image "
            "with 8 or 16 bits",
            "32-bit pixels",
        )
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        opaque = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _resized(
    image: Image.Image, side: int, *, full: tuple[int, int] | None = None, turn: int = 1
) -> NDArray[np.uint8]:
    """Cropped to MAX_ASPECT, resized and turned.

    `full` is the (width, height) before scaled decoding, which alone decides the shape.

    The filter and the rounding of the long side (downwards) are torchvision's defaults: bilinear
    with antialiasing, which does not ring. Turning comes last because the small image is the cheap
    one to turn; cropping and resizing do not care.
    """
    width, height = full or image.size
    if max(width, height) > MAX_ASPECT * min(width, height):
        left, top, width, height = _centre(*image.size)
        image = image.crop((left, top, left + width, top + height))
    size = _stored_size(width, height, side)
    eighths = (
        8 * max(image.size) // max(width, height)
    )  # of the full size; the last row and column may stand for less than a whole pixel
    image = image.resize(
        size, Image.Resampling.BILINEAR, box=(0, 0, width * eighths / 8, height * eighths / 8)
    )
    return _turned(image, turn)


def _by_strips(image: Image.Image, side: int) -> bool:
    """Whether an image is so large that strips save memory, and of a shape at which they change no
    pixel.
    """
    large = image.width * image.height > _BY_STRIPS
    alike = min(image.size) >= _NARROWED * side and image.height <= _TALL * image.width
    return large and alike


def _resized_by_strips(
    image: Image.Image, side: int, *, turn: int, where: str, white: int
) -> NDArray[np.uint8]:
    """What `_resized(_rgb(image, where, white), side, turn=turn)` gives, where `_by_strips` allows
    it.

    It takes little more memory than the image as it was stored.

    Pillow then resizes along rows, rounds to bytes, and resizes along columns: the first is done
    here for a strip at a time.
    """
    left, top, width, height = _centre(*image.size)
    across, down = _stored_size(width, height, side)
    narrow = Image.new("RGB", (across, height))
    for row in range(0, height, _STRIP):
        rows = min(_STRIP, height - row)
        strip = image.crop((left, top + row, left + width, top + row + rows))
        strip = _rgb(strip, where, white)
        narrow.paste(strip.resize((across, rows), Image.Resampling.BILINEAR), (0, row))
    return _turned(narrow.resize((across, down), Image.Resampling.BILINEAR), turn)


def _centre(width: int, height: int) -> tuple[int, int, int, int]:
    """(left, top, width, height) of what is kept of an image: at most MAX_ASPECT long."""
    kept = min(width, MAX_ASPECT * height), min(height, MAX_ASPECT * width)
    return (width - kept[0]) // 2, (height - kept[1]) // 2, *kept


def _is_stored_size(width: int, height: int, side: int) -> bool:
    long, short = max(width, height), min(width, height)
    return long <= MAX_ASPECT * short and _stored_size(width, height, side) == (width, height)


def _stored_size(width: int, height: int, side: int) -> tuple[int, int]:
    short = min(width, height)
    return int(side * width / short), int(side * height / short)


def _turned(image: Image.Image, turn: int) -> NDArray[np.uint8]:
    if turn in _TURNS:
        image = image.transpose(_TURNS[turn])
    pixels: NDArray[np.uint8] = np.array(image)
    return pixels
