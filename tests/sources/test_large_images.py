"""Images at the limit of pixels: the same pixels as at once, in a worker's memory."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headwater.sources.pixels import decoding

NOISE = np.random.default_rng(0).integers(0, 256, (331, 420, 4), dtype=np.uint8)


def drawn(mode: str) -> Image.Image:
    """Noise in a mode of Pillow's."""
    if mode == "I;16":
        return Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257 + NOISE[..., 1])
    image = Image.fromarray(NOISE)
    if mode == "P":
        palette = image.convert("RGB").quantize(50)
        palette.info["transparency"] = 3
        return palette
    return image.convert("RGB").convert(mode) if mode in ("CMYK", "1") else image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "I;16", "CMYK", "1"])
@pytest.mark.parametrize("turn", [1, 6])
def test_an_image_decoded_by_strips_has_the_pixels_of_one_decoded_at_once(
    mode: str, turn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = drawn(mode)
    tiff = mode == "CMYK"
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = turn
    image.save(file, "TIFF" if tiff else "PNG", **({} if tiff else {"exif": exif}))
    at_once = decoding.decode(file.getvalue(), 32, "x")
    monkeypatch.setattr(decoding, "_BY_STRIPS", 0)
    asked = []
    by_strips = decoding._resized_by_strips
    monkeypatch.setattr(
        decoding,
        "_resized_by_strips",
        lambda *words, **named: asked.append(1) or by_strips(*words, **named),
    )
    assert np.array_equal(decoding.decode(file.getvalue(), 32, "x"), at_once)
    assert asked


MEASURED = """
import resource, sys
from headwater.sources.pixels import decoding
decoding.decode(open(sys.argv[1], "rb").read(), 32, "x")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak // 1024 if sys.platform == "darwin" else peak)
"""


@pytest.mark.slow
def test_an_image_of_9400_by_9400_with_alpha_takes_less_than_500_mb(tmp_path: Path) -> None:
    """In a process of its own, its imports included; a shell starts it, as a process begins with
    the peak of the one that it is split from.
    """
    path = tmp_path / "large.png"
    make = (
        "import sys; from PIL import Image; "
        "Image.new('LA', (9400, 9400), (200, 100)).save(sys.argv[1], compress_level=1)"
    )
    subprocess.run([sys.executable, "-c", make, str(path)], check=True)
    ended = subprocess.run(
        ["sh", "-c", '"$@"; true', "sh", sys.executable, "-c", MEASURED, str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert 100 * 1024 < int(ended.stdout) < 500 * 1024
