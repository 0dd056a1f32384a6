"""Files that would do something if they were unpickled, extracted or executed: they would make a
folder, the canary.
"""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

MODULES = ("torch", "json", "numpy", "yaml", "sitecustomize", "usercustomize", "headwater")
"""Names of modules that lie in the folder where a command is run."""


class _Bait:
    """What pickles as a call that makes the canary."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._canary),)


def pickled(canary: Path) -> bytes:
    return pickle.dumps(_Bait(canary), protocol=2)


def of_torch(canary: Path) -> bytes:
    """What `torch.save` writes of weights with bait among them."""
    out = io.BytesIO()
    torch.save({"weight": torch.zeros(2), "bait": _Bait(canary)}, out)
    return out.getvalue()


def array(canary: Path) -> bytes:
    """An array of objects, as `numpy.load(allow_pickle=True)` reads it."""
    out = io.BytesIO()
    np.save(out, np.array([_Bait(canary)], dtype=object), allow_pickle=True)
    return out.getvalue()


def tar(canary: Path) -> bytes:
    """A shard with the members that webdataset would unpickle, one that would leave the folder, and
    an image that is none.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name in ("0.pyd", "0.pkl", "0.pickle", "0.pth", "0.jpg", "0.npy", "../../escaped.py"):
            data = array(canary) if name.endswith("npy") else pickled(canary)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("1.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    return out.getvalue()


def tags(canary: Path) -> bytes:
    """YAML whose tags call something in Python."""
    return (
        f"study: !!python/object/apply:os.system ['touch {canary}']\n"
        f"data: !!python/object/apply:os.mkdir ['{canary}']\n"
        "sources: !!python/name:os.system\n"
    ).encode()


def parquet(canary: Path) -> bytes:
    """A table whose column claims an extension type of Python, which old versions of Arrow
    unpickle, and whose metadata is a pickle.
    """
    bait = pickled(canary)
    claims = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": bait,
    }
    fields = [pa.field("image", pa.binary(), metadata=claims), pa.field("label", pa.string())]
    schema = pa.schema(fields, metadata={b"pandas": bait, b"huggingface": bait})
    out = io.BytesIO()
    table = pa.table({"image": [bait, bait], "label": ["a", "b"]}, schema=schema)
    pq.write_table(table, out)
    return out.getvalue()


def module(canary: Path) -> bytes:
    return f"import os\nos.mkdir({str(canary)!r})\n".encode()


def corpus(canary: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents."""
    for end in ("pt", "pth", "ckpt", "bin", "safetensors"):
        yield f"bait-1.{end}", of_torch(canary)
        yield f"bait-2.{end}", pickled(canary)
    for end in ("pkl", "pickle", "p", "jpg", "png", "json", "jsonl", "csv", "npz", "index"):
        yield f"bait-1.{end}", pickled(canary)
    yield "bait-1.npy", array(canary)
    yield "bait-1.tar", tar(canary)
    yield "bait-1.yaml", tags(canary)
    yield "bait-3.json", tags(canary)
    yield "bait-1.parquet", parquet(canary)
    yield "conftest.py", module(canary)
    yield "setup.py", module(canary)


def strewn(folder: Path, canary: Path) -> None:
    """All of it in a folder, beside what is there."""
    for name, data in corpus(canary):
        if not (folder / name).exists():
            (folder / name).write_bytes(data)
