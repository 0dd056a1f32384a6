"""Features of a frozen encoder: in evaluation mode, under the test transform, whatever the batch;
computed once and kept in a file.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headwater.models import build_encoder
from headwater.transfer import features as room
from headwater.transfer.features import extract, kept_features
from headwater.views import centre_view
from tests.toy import BF16, FP32, same_bits, state, stripes


def test_features_are_those_of_the_test_transform_whatever_the_batch_size():
    images, _ = stripes(5)
    encoder = build_encoder("tiny", 32, seed=0)
    before = state(encoder)
    whole = extract(encoder, images, image_size=32, compute=FP32)
    assert whole.dtype == np.float32
    with torch.no_grad():
        pixels, sizes = (torch.from_numpy(a) for a in images.gather(np.arange(20)))
        by_hand = encoder.eval()(centre_view(pixels, sizes, 32)).numpy()
    assert np.array_equal(whole, by_hand)
    for batch in (1, 7):
        assert extract(encoder, images, image_size=32, compute=FP32, batch=batch) == pytest.approx(
            whole, abs=1e-5
        )
    assert same_bits(before, state(encoder))


def test_bf16_features_are_float32_and_near_the_exact_ones():
    images, _ = stripes(5)
    encoder = build_encoder("tiny", 32, seed=0)
    exact, fast = (
        extract(encoder, images, image_size=32, compute=compute) for compute in (FP32, BF16)
    )
    assert fast.dtype == np.float32
    assert np.abs(fast - exact).max() < 0.05 * np.abs(exact).max()


# in a file
IMAGES, _ = stripes(5)
ENCODER = build_encoder("tiny", 32, seed=0)


def kept(folder: Path, images: Any = IMAGES) -> np.ndarray:
    return kept_features(folder, ENCODER, images, image_size=32, compute=FP32)


@pytest.fixture
def plain() -> np.ndarray:
    return extract(ENCODER, IMAGES, image_size=32, compute=FP32)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often features are computed."""
    found: list[int] = []
    whole = room.extract
    monkeypatch.setattr(
        room, "extract", lambda *args, **more: (found.append(1), whole(*args, **more))[1]
    )
    return found


def test_features_are_computed_once_and_then_read(
    tmp_path: Path, plain: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    first = kept(tmp_path / "kept")

    def never(*args: Any, **more: Any) -> None:
        raise AssertionError("they are there")

    monkeypatch.setattr(room, "extract", never)
    again = kept(tmp_path / "kept")
    for found in (first, again):
        assert np.array_equal(found, plain), "the same bits"
        assert found.dtype == np.float32
    assert {path.name for path in tmp_path.iterdir()} == {"kept"}, "nothing half written is left"


def test_kept_features_are_mapped_and_cannot_be_written(tmp_path: Path):
    for _ in range(2):
        found = kept(tmp_path / "kept")
        assert isinstance(found, np.memmap)
        assert not found.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            found[0, 0] = 0


def flipped(folder: Path) -> None:
    data = bytearray((folder / "features.npy").read_bytes())
    data[-3] ^= 1
    (folder / "features.npy").write_bytes(data)


DAMAGE = {
    "a flipped bit": flipped,
    "a file that was cut": lambda folder: (folder / "features.npy").write_bytes(
        (folder / "features.npy").read_bytes()[:-8]
    ),
    "an empty file": lambda folder: (folder / "features.npy").write_bytes(b""),
    "no array": lambda folder: (folder / "features.npy").write_text("features"),
    "a pickle": lambda folder: np.save(
        folder / "features.npy", np.array([{}], dtype=object), allow_pickle=True
    ),
    "another type": lambda folder: np.save(
        folder / "features.npy", np.load(folder / "features.npy").astype(np.float64)
    ),
    "no digest": lambda folder: (folder / "features.json").write_text("{}"),
    "a record that is no JSON": lambda folder: (folder / "features.json").write_text("{"),
    "a record that is a list": lambda folder: (folder / "features.json").write_text("[1]"),
    "no record": lambda folder: (folder / "features.json").unlink(),
    "no features": lambda folder: (folder / "features.npy").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_features_are_computed_again(
    tmp_path: Path, plain: np.ndarray, computed: list[int], damage: str
):
    kept(tmp_path / "kept")
    DAMAGE[damage](tmp_path / "kept")
    assert np.array_equal(kept(tmp_path / "kept"), plain)
    assert len(computed) == 2
    assert np.array_equal(kept(tmp_path / "kept"), plain)
    assert len(computed) == 2, "and kept again"


def test_features_of_another_number_of_images_are_computed_again(
    tmp_path: Path, computed: list[int]
):
    fewer, _ = stripes(3)
    assert kept(tmp_path / "kept", fewer).shape[0] == 12
    assert kept(tmp_path / "kept").shape[0] == 20
    assert len(computed) == 2
    assert json.loads((tmp_path / "kept" / "features.json").read_text())["shape"][0] == 20


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_where_the_disk_is_full_features_are_held_in_memory(
    tmp_path: Path, plain: np.ndarray, monkeypatch: pytest.MonkeyPatch, code: int
):
    def full(*args: Any, **more: Any) -> None:
        raise OSError(code, "no room")

    for at in ((np.lib.format, "open_memmap"), (os, "posix_fallocate")):
        with monkeypatch.context() as patch:
            patch.setattr(*at, full, raising=False)
            assert np.array_equal(kept(tmp_path / "kept"), plain)
            assert not list(tmp_path.iterdir())


def test_a_file_has_its_blocks_before_it_is_written_through_a_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Else a disk that is full would not raise an error but end the process, in the middle of a
    batch.
    """
    reserved: list[int] = []
    monkeypatch.setattr(
        os, "posix_fallocate", lambda handle, at, size: reserved.append(size), raising=False
    )
    found = kept(tmp_path / "kept")
    assert reserved == [(tmp_path / "kept" / "features.npy").stat().st_size]
    assert reserved[0] > found.nbytes


def test_another_error_of_the_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*args: Any, **more: Any) -> None:
        raise OSError(errno.EIO, "a bad disk")

    monkeypatch.setattr(np.lib.format, "open_memmap", broken)
    with pytest.raises(OSError, match="a bad disk"):
        kept(tmp_path / "kept")


def test_any_module_gives_features_whatever_it_calls_their_number(plain: np.ndarray):
    """A timm model behind its own normalisation, say, by whose features images are clustered."""
    wrapped = torch.nn.Sequential(ENCODER, torch.nn.Linear(ENCODER.num_features, 3))
    assert extract(wrapped, IMAGES, image_size=32, compute=FP32, batch=7).shape == (20, 3)
    assert np.array_equal(
        extract(torch.nn.Sequential(ENCODER), IMAGES, image_size=32, compute=FP32), plain
    )
