"""Sets through torchvision's readers: the same (image, class) pairs as ours, no pickle, no network,
and each refusal says why.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import socket
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from torchvision.datasets import Flowers102

from headwater.errors import InputError
from headwater.sources import Source, open_source
from headwater.sources.torchvision import READERS, REFUSED
from headwater.study import PublishedData, TorchvisionData
from tests.sources import released


@pytest.fixture(autouse=True)
def sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, no pickle: either is a failure."""

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network or a pickle was asked for")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(pickle, "load", refused)
    monkeypatch.setattr(pickle, "loads", refused)
    monkeypatch.setattr(torch, "load", refused)


def opened(name: str, root: Path) -> Source:
    return open_source(
        "set",
        TorchvisionData(kind="torchvision", name=name, path=str(root)),
        data_root=None,
        cache=None,
    )


def ours(name: str, root: Path) -> Source:
    return open_source(
        "set",
        PublishedData(kind="published", name=name, path=str(root), check_sizes=False),
        data_root=None,
        cache=None,
    )  # type: ignore[arg-type]


def refusal(name: str, root: Path) -> str:
    with pytest.raises(InputError) as caught:
        opened(name, root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def file_names(source: Source, split: str) -> set[str]:
    return {path.rpartition("/")[2] for path in source.table.ids[source.split("split", split)]}


def contents(source: Source) -> set[tuple[str, str, str]]:
    """(file name, class in lower case without marks, hash of bytes) of every image."""
    every = np.arange(len(source.table))
    names = ["".join(filter(str.isalnum, name.lower())) for name in source.table.levels[0].tolist()]
    return set(
        zip(
            [str(sample).rpartition("/")[2] for sample in source.table.ids],
            names,
            source.byte_hashes(every),
            strict=True,
        )
    )


@pytest.mark.parametrize(
    ("theirs", "name", "folder"),
    [
        ("DTD", "dtd", "dtd/dtd"),
        ("OxfordIIITPet", "pets", "oxford-iiit-pet"),
        ("EuroSAT", "eurosat", "eurosat"),
        ("Caltech101", "caltech101", "caltech101"),
    ],
)
def test_torchvision_reads_the_same_images_and_classes_as_our_reader(
    tmp_path: Path, theirs: str, name: str, folder: str
) -> None:
    if name == "eurosat":
        released.eurosat(tmp_path / folder, folder="2750")
    elif name == "caltech101":
        released.caltech101(
            tmp_path / folder, {"accordion": 33, "Faces_easy": 31, "BACKGROUND_Google": 30}
        )
    else:
        released.TREES[name](tmp_path / folder)
    one, other = opened(theirs, tmp_path), ours(name, tmp_path / folder)
    background = {row for row in contents(other) if row[1] == "backgroundgoogle"}
    assert bool(background) == (name == "caltech101")
    assert contents(one) == contents(other) - background, "torchvision has no background class"
    if name in ("dtd", "pets"):
        for split in ("train", "val", "test"):
            assert file_names(one, split) == file_names(other, split)
    else:
        assert set(one.table.splits["split"].tolist()) == {"train"}


def test_flowers_are_read_from_matlab_files_with_the_published_class_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "flowers-102"
    for i in range(1, 10):
        released.jpeg(root / "jpg" / f"image_{i:05d}.jpg", i)
    scipy.io.savemat(
        root / "imagelabels.mat",
        {"labels": np.array([[1, 2, 1, 2, 1, 2, 77, 77, 77]], dtype=np.uint8)},
    )
    scipy.io.savemat(
        root / "setid.mat",
        {
            "trnid": np.array([[1, 2, 7]]),
            "valid": np.array([[3, 4, 8]]),
            "tstid": np.array([[5, 6, 9]]),
        },
    )
    assert "torchvision cannot read Flowers102" in refusal("Flowers102", tmp_path), (
        "files that are not the published ones"
    )
    sums = {
        key: (file, hashlib.md5((root / file).read_bytes()).hexdigest())
        for key, file in (("label", "imagelabels.mat"), ("setid", "setid.mat"))
    }
    monkeypatch.setattr(Flowers102, "_file_dict", {**Flowers102._file_dict, **sums})
    source = opened("Flowers102", tmp_path)
    assert [len(source.split("split", split)) for split in ("train", "val", "test")] == [3, 3, 3]
    assert set(source.table.levels[0].tolist()) == {
        "pink primrose",
        "hard-leaved pocket orchid",
        "passion flower",
    }
    assert source.table.ids[0] == "flowers-102/jpg/image_00001.jpg"


def idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        struct.pack(">HBB", 0, 8, values.ndim)
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.tobytes()
    )


def test_an_array_set_gives_pixels_and_its_pickled_copy_is_refused(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    for split, count in (("train", 6), ("t10k", 4)):
        idx(
            raw / f"{split}-images-idx3-ubyte",
            np.arange(count * 784, dtype=np.uint8).reshape(count, 28, 28),
        )
        idx(raw / f"{split}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8))
    source = opened("MNIST", tmp_path)
    image = source.image(0)
    assert isinstance(image, np.ndarray)
    assert (image.shape, image.dtype) == ((28, 28, 3), np.uint8)
    assert (image[..., 0] == np.arange(784, dtype=np.uint8).reshape(28, 28)).all()
    assert [len(source.split("split", split)) for split in ("train", "test")] == [6, 4]
    assert source.table.levels[0][0] == "0 - zero"
    assert len(set(source.byte_hashes(np.arange(4)))) == 4
    (tmp_path / "MNIST" / "processed").mkdir()
    assert "pickled" in refusal("MNIST", tmp_path)


def test_archives_that_torchvision_would_have_to_extract_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    with gzip.open(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(b"x")
    before = sorted(tmp_path.rglob("*"))
    assert "torchvision cannot read MNIST" in refusal("MNIST", tmp_path)
    for name in READERS:
        assert "torchvision" in refusal(name, tmp_path) or name in ("Caltech101", "Caltech256")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_says_why_and_exists(tmp_path: Path, name: str) -> None:
    assert hasattr(torchvision.datasets, name)
    message = refusal(name, tmp_path)
    assert REFUSED[name] in message
    assert name not in READERS


def test_an_unknown_name_lists_what_is_read(tmp_path: Path) -> None:
    assert all(name in refusal("Nonsense", tmp_path) for name in READERS)
    assert all(hasattr(torchvision.datasets, name) for name in READERS)
