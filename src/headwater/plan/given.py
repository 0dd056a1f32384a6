"""Files that somebody else made and labels are made from: what can only fail with them is found
before anything runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headwater import digests
from headwater.errors import InputError
from headwater.labels.embeddings import check_embeddings, read_embeddings

READ_AT_MOST = 1 << 30
"""Bytes of a file of embeddings whose numbers a plan reads; those of larger ones are looked at when
they are clustered [ours].
"""


def check_points(path: Path, ids: Sequence[str], where: str) -> None:
    """Raises InputError for a file of embeddings that cannot be used, with NaN or infinity for an
    image, or with the same numbers for all.
    """
    check_embeddings(path, ids, where)
    if path.stat().st_size > READ_AT_MOST:
        return
    points = read_embeddings(path, ids, where)
    broken = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(broken):
        how_many = f"{len(broken):,} of {len(points):,} images"
        raise InputError(
            f"{where}: {path}: the embeddings of {how_many} hold NaN or infinity, the first is "
            f"{ids[broken[0]]!r}; make them again"
        )
    if len(points) > 1 and (points == points[0]).all():
        raise InputError(
            f"{where}: {path}: the embeddings of all {len(points):,} images are equal, so there is "
            "nothing to cluster by"
        )


def check_weights(path: Path, name: str, where: str) -> None:
    """Raises InputError for weights that are no safetensors, or not those of a timm model: a tensor
    that is missing, of another shape, no floats, not finite, or zero throughout.
    """
    import timm
    from safetensors import SafetensorError, safe_open

    model = timm.create_model(name.partition(".")[0], pretrained=False, num_classes=0)
    wanted = model.state_dict()
    try:
        digests.check_safetensors(path)
        with safe_open(path, framework="pt") as file:
            there = set(file.keys())
            missing = sorted(set(wanted) - there)
            if missing:
                raise InputError(
                    f"{where}: {path} lacks {len(missing):,} of the {len(wanted):,} tensors of "
                    f"{name}, such as {missing[0]!r}; is it of another model?"
                )
            for key, parameter in wanted.items():
                given = file.get_tensor(key)
                if given.shape != parameter.shape:
                    raise InputError(
                        f"{where}: {path}: {key!r} is {list(given.shape)}, and {name} has "
                        f"{list(parameter.shape)}; is it of another model?"
                    )
                if parameter.is_floating_point() and not given.is_floating_point():
                    kind = str(given.dtype).removeprefix("torch.")
                    raise InputError(
                        f"{where}: {path}: {key!r} holds {kind}, no floats (weights that were made "
                        "small are not read); export floats"
                    )
                if given.is_floating_point() and not bool(given.isfinite().all()):
                    raise InputError(f"{where}: {path}: {key!r} holds NaN or infinity")
            layers = [key for key, parameter in wanted.items() if parameter.dim() > 1]
            if layers and not any(bool(file.get_tensor(key).any()) for key in layers):
                raise InputError(f"{where}: {path}: all weights of {name} are zero in it")
    except (SafetensorError, digests.Damaged, OSError) as error:
        advice = ""
        if path.suffix in (".pth", ".pt", ".bin", ".ckpt", ".pkl"):
            advice = (
                "; a pickle may run code when it is opened, so none is: save the state dict with "
                "safetensors.torch.save_file"
            )
        raise InputError(
            f"{where}: {path} holds no safetensors ({' '.join(str(error).split())[:100]}){advice}"
        ) from None
