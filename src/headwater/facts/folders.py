"""The folder that a person means by a name."""

from __future__ import annotations

from pathlib import Path

from headwater.errors import InputError


def named_folder(name: str, data_root: Path | None, otherwise: str) -> Path:
    """The folder that a person means by a name: a path from here, or else one under the data root.

    Raises InputError, which says what else it is not.
    """
    if name:
        for path in (Path(name), *([] if data_root is None else [data_root / name])):
            if path.is_dir():
                return path
    looked = (
        f"here or under {data_root}"
        if data_root is not None
        else "here (--data-root DIR or HEADWATER_DATA=DIR names another place to look)"
    )
    raise InputError(f"{name!r} is {otherwise} and no folder {looked}")
