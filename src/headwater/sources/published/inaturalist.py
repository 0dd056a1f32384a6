"""iNaturalist 2021 and its mini version: COCO-like `train.json` (or `train_mini.json`) and
`val.json`; val is the test split.

Levels are the taxonomy, finest first: species, genus, family, order, class, phylum, kingdom. A name
that two parents share (Prunella is a bird and a plant) is written with its parent. Files are parsed
whole by pyarrow (measured: 2.8 million images, 0.67 GB of JSON, are a source in 16 s and 2.5 GB on
a shared core); images never become Python objects one by one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.json as pa_json
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Source
from headwater.sources.published.reading import MAX_JSON_BYTES, Request
from headwater.sources.tables import listing_of

RANKS = ("genus", "family", "order", "class", "phylum", "kingdom")
"""The ranks above the species, finest first; `supercategory` does not nest with them and is no
level.
"""
_TEXT = ("name", "common_name", "image_dir_name", *RANKS)
_SCHEMA = pa.schema(
    {
        "images": pa.list_(pa.struct({"id": pa.int64(), "file_name": pa.string()})),
        "annotations": pa.list_(pa.struct({"image_id": pa.int64(), "category_id": pa.int64()})),
        "categories": pa.list_(pa.struct({"id": pa.int64(), **dict.fromkeys(_TEXT, pa.string())})),
    }
)


def read(request: Request) -> Source:
    """The source.

    Raises InputError for annotations of another form, and where the two files have other
    categories.
    """
    parts = [
        (_parsed(request.base / file), request.base / file, split)
        for file, split in ((request.entry.marks[0], "train"), ("val.json", "test"))
    ]
    categories = _categories(parts[0][0], parts[0][1])
    paths, codes, sizes = [], [], []
    for value, path, _ in parts:
        if not categories.equals(_categories(value, path)):
            raise InputError(
                f"{path}: its categories are not those of {parts[0][1].name}; the files do not "
                "belong together, get both again"
            )
        files, own = _images(value, path, categories)
        paths.append(files)
        codes.append(own)
        sizes.append(len(own))
    species = np.concatenate(codes)
    levels = [names[species] for names in taxonomy(categories)]
    split = np.repeat(np.array([split for *_, split in parts], dtype=object), sizes)
    where = np.repeat(np.array([str(path) for _, path, _ in parts], dtype=object), sizes)
    spoken = {
        name: common or latin
        for name, common, latin in zip(
            taxonomy(categories)[0].tolist(),
            categories["common_name"].tolist(),
            categories["name"].tolist(),
            strict=True,
        )
    }
    listing = listing_of(
        pa.concat_arrays(paths),
        lambda row: str(where[row]),
        split=split,
        levels=tuple(levels),
        spoken=spoken,
    )
    return request.source(listing, classes=len(categories))


def taxonomy(categories: pd.DataFrame) -> list[NDArray[np.object_]]:
    """Names per level, finest (species) first, object [num_categories]; names that several parents
    share, or several species, are path-qualified.
    """
    parents = np.full(len(categories), "", dtype=object)
    found: list[NDArray[np.object_]] = []
    for rank in (*reversed(RANKS), "name"):
        names = categories[rank].to_numpy(dtype=object)
        if rank == "name" and len(set(names.tolist())) < len(names):
            names = categories["image_dir_name"].to_numpy(dtype=object)
        pairs = pd.DataFrame({"name": names, "parent": parents}).drop_duplicates()
        shared = set(pairs["name"][pairs["name"].duplicated(keep=False)])
        names = np.array(
            [
                f"{parent}/{name}" if name in shared else name
                for name, parent in zip(names, parents, strict=True)
            ],
            dtype=object,
        )
        found.append(names)
        parents = names
    return found[::-1]


def _parsed(path: Path) -> Any:
    """The three lists of an annotation file, as a pyarrow table of one row."""
    try:
        size = path.stat().st_size
        if size >= MAX_JSON_BYTES - 1:
            raise InputError(
                f"{path}: is larger than {MAX_JSON_BYTES >> 30} GiB, which no annotation file here "
                "should be"
            )
        value = pa_json.read_json(
            path,
            read_options=pa_json.ReadOptions(block_size=size + 1, use_threads=False),
            parse_options=pa_json.ParseOptions(
                explicit_schema=_SCHEMA, newlines_in_values=True, unexpected_field_behavior="ignore"
            ),
        )
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); get the file from the set's authors"
        ) from None
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{path}: this is no annotation file of iNaturalist 2021 "
            f"({str(error).splitlines()[0][:120]}); get it again"
        ) from None
    try:
        value.validate(full=True)
    except pa.ArrowInvalid:
        raise InputError(
            f"{path}: this is not UTF-8; get it again from the set's authors"
        ) from None
    if value.num_rows != 1 or any(
        value[name].null_count or not len(value[name].combine_chunks().values)
        for name in _SCHEMA.names
    ):
        raise InputError(
            f"{path}: there are no images, annotations or categories in it; get it again from the "
            "set's authors"
        )
    return value


def _list(value: Any, name: str, path: Path) -> dict[str, Any]:
    values = value[name].combine_chunks().values
    columns = {field.name: values.field(field.name) for field in values.type}
    for field, column in columns.items():
        if column.null_count and field not in ("common_name", "image_dir_name"):
            raise InputError(
                f"{path}: {column.null_count:,} of the {name} have no {field}; get the file again "
                "from the set's authors"
            )
    return columns


def _categories(value: Any, path: Path) -> pd.DataFrame:
    columns = {
        name: column.fill_null("") if name in _TEXT else column
        for name, column in _list(value, "categories", path).items()
    }
    frame = pd.DataFrame(
        {name: column.to_numpy(zero_copy_only=False) for name, column in columns.items()}
    ).sort_values("id", ignore_index=True)
    if frame["id"].duplicated().any():
        raise InputError(
            f"{path}: a category's id is there twice; get the file again from the set's authors"
        )
    return frame


def _images(value: Any, path: Path, categories: pd.DataFrame) -> tuple[Any, NDArray[np.int64]]:
    """(paths, a pyarrow array of large_string; category of each, int64, as a row of
    `categories`).
    """
    images, annotations = _list(value, "images", path), _list(value, "annotations", path)
    at = pd.Index(images["id"].to_numpy()).get_indexer(pd.Index(annotations["image_id"].to_numpy()))
    labels = pd.Index(categories["id"].to_numpy()).get_indexer(
        pd.Index(annotations["category_id"].to_numpy())
    )
    count = len(images["id"])
    if (at < 0).any() or (labels < 0).any():
        raise InputError(
            f"{path}: an annotation is of an image or a category that is not listed; get the file "
            "again from the set's authors"
        )
    if len(at) != count or len(np.unique(at)) != count:
        raise InputError(
            f"{path}: {count:,} images have {len(at):,} annotations; each should have one, get the "
            "file again from the set's authors"
        )
    codes = np.empty(count, dtype=np.int64)
    codes[at] = labels
    return images["file_name"].cast(pa.large_string()), codes
