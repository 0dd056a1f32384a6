"""Caltech Camera Traps-20: COCO-like annotations in `eccv_18_annotation_files`, images in
`eccv_18_all_images_sm` (or `_256`).

train and {cis,trans}_{val,test}. cis are images of cameras that train has too, trans of other
cameras. Empty images are no class, and an image with several different categories has no one label:
both are left out and counted in the source's notes. Of its 16 categories 15 remain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.sources import Source
from headwater.sources.published.reading import Request, json_object, objects, one_to_one, strings
from headwater.sources.tables import listing_of

EMPTY = "empty"
FOLDERS = ("eccv_18_all_images_sm", "eccv_18_all_images_256", "eccv_18_all_images")


def read(request: Request) -> Source:
    """The source, with the group columns `location` (camera) and `seq_id` (one burst of images).

    Raises InputError for annotations of another form, a category that means two names, and where no
    folder of images is there.
    """
    root = next(
        (request.base / folder for folder in FOLDERS if (request.base / folder).is_dir()), None
    )
    if root is None:
        raise InputError(
            f"{request.name}: {request.base} has none of the folders {', '.join(FOLDERS)}; get the "
            "images"
        )
    kind = request.words.split or "cis"
    names: dict[int, str] = {}
    rows: list[tuple[str, str, str, str, str, str]] = []
    listed: dict[str, int] = {}
    empty = several = 0
    for split, file in (("train", "train"), ("val", f"{kind}_val"), ("test", f"{kind}_test")):
        path = request.base / "eccv_18_annotation_files" / f"{file}_annotations.json"
        images, categories = _read_file(path, names)
        listed[split] = len(images)
        for image_id, image in images.items():
            own = categories.get(image_id, set())
            found = own - {EMPTY}
            if len(found) != 1:
                empty, several = empty + (not found), several + (len(found) > 1)
                continue
            camera, burst = str(image.get("location", "")), str(image.get("seq_id", ""))
            rows.append(
                (
                    str(image["file_name"]),
                    next(iter(found)),
                    split,
                    camera,
                    burst,
                    f"{path}, image {image_id!r}",
                )
            )
    if not rows:
        raise InputError(
            f"{request.base}: no image has exactly one category; get the annotations again"
        )
    paths, classes, splits, cameras, bursts, places = zip(*rows, strict=True)
    groups = {"location": objects(cameras), "seq_id": objects(bursts)}
    listing = listing_of(
        strings(paths),
        places.__getitem__,
        split=objects(splits),
        levels=(objects(classes),),
        groups=groups,
    )
    notes = [
        f"{count:,} images {why}, left out"
        for count, why in ((empty, "are empty"), (several, "have several categories"))
        if count
    ]
    return request.source(
        listing, root=root, listed=listed, classes=len(set(names.values()) - {EMPTY}), notes=notes
    )


def _read_file(
    path: Path, names: dict[int, str]
) -> tuple[dict[Any, dict[str, Any]], dict[Any, set[str]]]:
    """(images by id, names of the categories of each image) of one file; `names` gains its
    categories.
    """
    value = json_object(path)
    try:
        for category in value["categories"]:
            one_to_one(names, int(category["id"]), str(category["name"]), str(path))
            names[int(category["id"])] = str(category["name"])
        images = {image["id"]: image for image in value["images"]}
        for image in images.values():
            image["file_name"]
        categories: dict[Any, set[str]] = {}
        for annotation in value["annotations"]:
            if annotation["image_id"] not in images:
                raise InputError(
                    f"{path}: an annotation is of the image {annotation['image_id']!r}, which is "
                    "not listed; get the file again"
                )
            categories.setdefault(annotation["image_id"], set()).add(
                names[int(annotation["category_id"])]
            )
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: this is no list of images, annotations and categories ({error!r}); get the "
            "file again"
        ) from None
    return images, categories
