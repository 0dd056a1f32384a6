"""Small folders of images, made for tests."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def put_images(root: Path, *paths: str) -> None:
    for at, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (at, 0, 0)).save(root / path, "PNG")


def put_csv(
    root: Path, text: str, *, images: tuple[str, ...] = ("a.png", "b.png"), encoding: str = "utf-8"
) -> Path:
    put_images(root, *images)
    (root / "labels.csv").write_bytes(text.encode(encoding))
    return root
