"""What decoding does to an image beside resizing it, in words that can be counted.

What training sees is 8 bits of RGB, one picture a file, upright. Whatever else a file holds is
converted (decoding.py), and a person should know how often.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from headwater.errors import InputError
from headwater.sources.pixels.decoding import FORMATS, MAX_ASPECT, _orientation
from headwater.sources.tiff import read_header

TURNED, FRAMES, CROPPED = "orientation", "first frame", "cropped"
CMYK, PALETTE, TRANSPARENT, ONE_BIT, LAB = "CMYK", "palette", "transparency", "1 bit", "Lab"
WIDE = "16 bits"
FEWER = "fewer than 16 bits"
"""16 bits of which the file says how many count."""
DARK = "16 bits, dark"
"""16 bits of which no sample needs more than 14: perhaps data of 10 to 14 bits, which come out 4 to
64 times too dark.
"""
UNREADABLE = "cannot be opened"
_DARK_BELOW = 1 << 14
_MEANING = {
    TURNED: "turned upright as their orientation says",
    FRAMES: "with several frames or pages, of which the first is taken",
    CROPPED: f"longer than {MAX_ASPECT} to 1, of which the middle is taken",
    CMYK: "of CMYK, converted to RGB without a colour profile",
    LAB: "of Lab, converted to RGB",
    PALETTE: "with a palette",
    TRANSPARENT: "with transparency, put on white",
    ONE_BIT: "of 1 bit",
    WIDE: "of 16 bits, reduced to 8",
    FEWER: "of 10 to 14 bits in 16, as their tags say, reduced to 8",
    DARK: (
        "of 16 bits in which no sample reaches 16,384: if these are data of 10 to 14 bits, they "
        "come out 4 to 64 times too dark; store them with all 16 bits in use, or as TIFF with "
        "BitsPerSample or MaxSampleValue"
    ),
    UNREADABLE: "that cannot be opened",
}

WORDS = tuple(_MEANING)


def conversion_of(image: Image.Image) -> tuple[str, ...]:
    """What will be done to an image that Pillow has opened and not yet loaded; nothing for plain
    RGB or grey of 8 bits.

    Only an image of 16 bits, or with tags behind its pixels, is decoded for it.
    """
    words = []
    if getattr(image, "is_animated", False):
        words.append(FRAMES)
    if _has_tags(image) and _orientation(image) != 1:
        words.append(TURNED)
    if max(image.size) > MAX_ASPECT * min(image.size):
        words.append(CROPPED)
    if image.mode == "CMYK":
        words.append(CMYK)
    if image.mode == "LAB":
        words.append(LAB)
    if image.mode in ("P", "PA"):
        words.append(PALETTE)
    if image.mode == "1":
        words.append(ONE_BIT)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        words.append(TRANSPARENT)
    if image.mode.startswith("I;16") or (image.format == "PPM" and image.mode == "I"):
        words.append(_of_grey(image))
    elif image.format == "PPM" and _maxval(image) > 255:
        words.append(WIDE)
    elif any(";16" in str(tile) for tile in getattr(image, "tile", ())):
        words.append(_of_colours(image))
    return tuple(words)


def _has_tags(image: Image.Image) -> bool:
    """Whether tags can say how an image is turned. Pillow would decode every PNG to look for them
    behind the pixels.
    """
    if image.format != "PNG" or "exif" in image.info or not isinstance(image, ImageFile):
        return True
    assert image.fp is not None
    at = image.fp.tell()
    image.fp.seek(0)
    data = image.fp.read()
    image.fp.seek(at)
    return any(mark in data for mark in (b"eXIf", b"Raw profile type", b"com.adobe.xmp"))


def _maxval(image: Image.Image) -> int:
    """The value of white that a PPM says; 255 where Pillow has nothing to scale."""
    numbers = re.findall(r"\d+", str([tile[3] for tile in getattr(image, "tile", ())]))
    return max(map(int, numbers), default=255)


def _of_grey(image: Image.Image) -> str:
    """What is to be told of a grey image of 16 bits. It is decoded."""
    told = 65535
    if isinstance(image, TiffImageFile):
        assert image.fp is not None
        image.fp.seek(0)
        told = read_header(image.fp).full_scale
    most = int(np.asarray(image).max(initial=0))
    if told < 65535 and most <= told:
        return FEWER
    return DARK if most < _DARK_BELOW else WIDE


def _of_colours(image: Image.Image) -> str:
    """What is to be told of colours of 16 bits, of which Pillow keeps the upper 8. They are
    decoded.
    """
    pixels = np.asarray(image)
    colours = pixels[..., : max(1, pixels.shape[2] - 1)] if pixels.shape[2] in (2, 4) else pixels
    return DARK if int(colours.max(initial=0)) < _DARK_BELOW >> 8 else WIDE


def conversions_of(data: bytes) -> tuple[str, ...]:
    """`conversion_of` an encoded file; UNREADABLE for one that Pillow cannot open."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return conversion_of(image)
    except (MemoryError, InputError):
        raise
    except Exception:  # each decoder has its own kinds for damaged files
        return (UNREADABLE,)


def counted(words: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """How many images each word was said of, the most frequent first."""
    counts = Counter(word for of_image in words for word in of_image)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def conversion_sentences(counts: Mapping[str, int], num_images: int) -> list[str]:
    """A sentence for each word, with the number of images that it was said of."""
    return [
        f"{count:,} of {num_images:,} images {_MEANING.get(word, word)}"
        for word, count in counts.items()
    ]
