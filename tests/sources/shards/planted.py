"""Shards with bad samples of ten kinds among sound ones, of which it is known from the making alone
which are bad: for tests, and for benchmarks/broken_images.py and broken_shards.py.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.sources.shards.tars import write


def _png_bit(data: bytes) -> bytes:
    """A PNG with one bit of its pixels changed, so that a checksum is wrong."""
    at = data.index(b"IDAT") + 12
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _header(data: bytes) -> bytes:
    """A PNG that says that it is 60,000 x 60,000."""
    side = (60_000).to_bytes(4, "big")
    body = b"IHDR" + side + side + data[24:29]
    return data[:12] + body + zlib.crc32(body).to_bytes(4, "big") + data[33:]


@dataclass(frozen=True)
class Fault:
    """A way to spoil an image."""

    form: str
    """Of the image that is spoilt."""
    spoil: Callable[[bytes], bytes | None]
    """What is left of it; None where it is left out of its sample."""
    said: tuple[str, ...]
    """What a look may say."""


FAULTS = {
    "empty file": Fault("JPEG", lambda data: b"", ("empty file",)),
    "JPEG cut in half": Fault("JPEG", lambda data: data[: len(data) // 2], ("cut short",)),
    "PNG cut after two thirds": Fault(
        "PNG", lambda data: data[: 2 * len(data) // 3], ("cut short",)
    ),
    "HTML page by an image's name": Fault(
        "JPEG",
        lambda data: b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        ("HTML page",),
    ),
    "PNG with a wrong bit": Fault("PNG", _png_bit, ("wrong checksum", "damaged")),
    "JPEG whose second half is zeros": Fault(
        "JPEG",
        lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
        ("cut short",),
    ),
    "header that promises 60,000 x 60,000": Fault("PNG", _header, ("too many pixels",)),
    "zero bytes only": Fault("GIF", lambda data: bytes(len(data)), ("zero bytes only",)),
    "text by an image's name": Fault("JPEG", lambda data: b"A photo of a cat.\n", ("text",)),
    "sample without an image": Fault("JPEG", lambda data: None, ("no image in the sample",)),
}
OF_FILES = tuple(FAULTS)[:8]
"""Those that benchmarks/broken_images.py plants in folders."""
ENDINGS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif"}
PICTURES = 5000
"""That differ: of more samples each is the picture of several."""
FORMS = ("JPEG", "JPEG", "PNG", "WEBP", "GIF")


def drawn(random: np.random.Generator, form: str) -> bytes:
    """A small picture of 32 to 96 px."""
    height, width = random.integers(32, 97, 2).tolist()
    small = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, form)
    return file.getvalue()


def faults_of(
    random: np.random.Generator, images: int, bad: int, names: tuple[str, ...]
) -> dict[int, str]:
    """Which images are bad, and how: equally many of each kind."""
    chosen = random.choice(images, bad, replace=False)
    return dict(zip(chosen.tolist(), np.resize(names, bad).tolist(), strict=True))


def right(found: Mapping[str, str], truth: Mapping[str, str]) -> bool:
    """Whether what was found is what was planted, each for its own reason."""
    return found.keys() == truth.keys() and all(
        said in FAULTS[truth[name]].said for name, said in found.items()
    )


def planted(
    root: Path, images: int, bad: int, per_shard: int = 1000, **splits: int
) -> dict[str, str]:
    """Shards of samples with captions below `root`; which are bad, by id, and what was done to
    them. `splits` are samples of each split in their order; all are `train` without.
    """
    random = np.random.default_rng(17)
    faults = faults_of(random, images, bad, tuple(FAULTS))
    truth: dict[str, str] = {}
    pictures: dict[tuple[str, int], bytes] = {}
    ends = np.cumsum(list(splits.values()))
    for shard, start in enumerate(range(0, images, per_shard)):
        members: list[tuple[str, bytes]] = []
        for number in range(start, min(start + per_shard, images)):
            key, kind = f"{number:09d}", faults.get(number)
            form = FAULTS[kind].form if kind else FORMS[number % 5]
            if (form, number % PICTURES) not in pictures:
                pictures[form, number % PICTURES] = drawn(random, form)
            data: bytes | None = pictures[form, number % PICTURES]
            if kind is not None:
                assert data is not None
                truth[f"{shard:05d}/{key}"] = kind
                data = FAULTS[kind].spoil(data)
            if data is not None:
                members.append((f"{key}.{ENDINGS[form]}", data))
            members += [(f"{key}.txt", f"picture {number}".encode())]
            members += [(f"{key}.cls", b"%d" % (number % 2))]
            if splits:
                split = list(splits)[int(np.searchsorted(ends, number, side="right"))]
                members += [(f"{key}.json", b'{"split": "%s"}' % split.encode())]
        write(root / f"{shard:05d}.tar", members)
    return truth
