"""Small trees in the exact shape in which published sets are released: file names and formats as
there, fewer images.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def jpeg(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (shade % 256, shade * 7 % 256, 90)).save(path, "JPEG")


def lines(path: Path, rows: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")


def cifar100(root: Path, train: int = 40, test: int = 20, classes: int = 100) -> None:
    """Binary records; fine class i lies in coarse class i // 5."""
    root.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", train), ("test", test)):
        records = np.zeros((count, 3074), dtype=np.uint8)
        records[:, 1] = np.arange(count) % classes
        records[:, 0] = records[:, 1] // 5
        records[:, 2:] = np.arange(count)[:, None] % 251
        records[:, 2] = 255  # the first red pixel
        (root / f"{split}.bin").write_bytes(records.tobytes())
    lines(root / "fine_label_names.txt", (f"fine_{i:03d}" for i in range(classes)))
    lines(root / "coarse_label_names.txt", (f"coarse_{i:02d}" for i in range(classes // 5)))


def dtd(
    root: Path,
    classes: Sequence[str] = ("banded", "blotchy", "polka-dotted"),
    folds: Sequence[int] = (1, 2),
) -> None:
    for name in classes:
        for i in range(6):
            jpeg(root / "images" / name / f"{name}_{i:04d}.jpg", i)
    for fold in folds:
        for at, split in enumerate(("train", "val", "test")):
            rows = [
                f"{name}/{name}_{(i + fold) % 6:04d}.jpg"
                for name in classes
                for i in (2 * at, 2 * at + 1)
            ]
            lines(root / "labels" / f"{split}{fold}.txt", rows)


def caltech101(root: Path, sizes: dict[str, int] | None = None, *, images: bool = True) -> None:
    for name, count in (
        sizes or {"BACKGROUND_Google": 35, "accordion": 33, "Faces_easy": 31}
    ).items():
        for i in range(1, count + 1):
            path = root / "101_ObjectCategories" / name / f"image_{i:04d}.jpg"
            if images:
                jpeg(path, i)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    (root / "101_ObjectCategories" / "BACKGROUND_Google" / "tmp").touch()


PETS = ("Abyssinian", "american_bulldog", "Bengal")


def pets(root: Path) -> None:
    for split, numbers in (("trainval", (1, 2, 10)), ("test", (3, 4))):
        rows = [
            f"{name}_{i} {label} {1 if name[0].isupper() else 2} {label}"
            for label, name in enumerate(PETS, start=1)
            for i in numbers
        ]
        lines(root / "annotations" / f"{split}.txt", rows)
        for row in rows:
            jpeg(root / "images" / f"{row.split()[0]}.jpg", len(row))


def domainnet(
    root: Path,
    domain: str = "real",
    classes: int = 3,
    train: int = 12,
    test: int = 6,
    *,
    images: bool = True,
) -> None:
    for split, count in (("train", train), ("test", test)):
        rows = []
        for i in range(count):
            label = i % classes
            number = i if split == "train" else train + i
            name = f"{domain}/class_{label:03d}/{domain}_{label:03d}_{number:06d}.jpg"
            rows.append(f"{name} {label}")
            if images:
                jpeg(root / name, i)
        lines(root / f"{domain}_{split}.txt", rows)


EUROSAT = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)


def eurosat(root: Path, each: int = 5, folder: str = "EuroSAT_RGB") -> None:
    for name in EUROSAT:
        for i in range(1, each + 1):
            jpeg(root / folder / name / f"{name}_{i}.jpg", i)


DISEASES = {
    "0": "Cassava Bacterial Blight (CBB)",
    "1": "Cassava Brown Streak Disease (CBSD)",
    "2": "Cassava Green Mottle (CGM)",
    "3": "Cassava Mosaic Disease (CMD)",
    "4": "Healthy",
}


def cassava(root: Path, counts: Sequence[int] = (5, 5, 5, 10, 5), *, images: bool = True) -> None:
    labels = np.repeat(np.arange(5), counts)
    names = [f"{1000015157 + 7 * i}.jpg" for i in range(len(labels))]
    lines(
        root / "train.csv",
        [
            "image_id,label",
            *(f"{name},{label}" for name, label in zip(names, labels.tolist(), strict=True)),
        ],
    )
    (root / "label_num_to_disease_map.json").write_text(json.dumps(DISEASES))
    (root / "train_images").mkdir()
    for i, name in enumerate(names if images else []):
        jpeg(root / "train_images" / name, i)


CAMERAS = {30: "empty", 1: "opossum", 6: "raccoon", 33: "car"}


def cct20(root: Path, counts: dict[str, int] | None = None) -> None:
    """cis files show cameras 0 and 1, as train does; trans_val camera 5, trans_test 6 and 7.

    Image 0 of every file is empty, image 1 has two categories.
    """
    kinds = [key for key in CAMERAS if key != 30]
    for file, count in (
        counts or {"train": 14, "cis_val": 8, "cis_test": 9, "trans_val": 8, "trans_test": 10}
    ).items():
        images, annotations = [], []
        for i in range(count):
            image = f"{file}-5858bf1f-23d2-11e8-{i:04d}"
            camera = {"trans_val": 5, "trans_test": 6 + i % 2}.get(file, i % 2)
            images.append(
                {
                    "id": image,
                    "file_name": f"{image}.jpg",
                    "location": camera,
                    "seq_id": f"{file}-{i // 2}",
                    "width": 8,
                    "height": 6,
                }
            )
            own = [30] if i == 0 else [1, 6] if i == 1 else [kinds[i % 3]]
            annotations += [
                {"id": f"{image}/{k}", "image_id": image, "category_id": k} for k in own + own[:1]
            ]  # one category may come twice
            jpeg(root / "eccv_18_all_images_sm" / f"{image}.jpg", i)
        value = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": k, "name": name} for k, name in CAMERAS.items()],
        }
        path = root / "eccv_18_annotation_files" / f"{file}_annotations.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))


def imagenet(root: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        for wnid in ("n01440764", "n01443537", "n02085620"):
            for i in range(count):
                jpeg(root / split / wnid / f"{wnid}_{i}.JPEG", i)


SPECIES = (  # Prunella is a bird and a plant
    (
        "Animalia",
        "Chordata",
        "Aves",
        "Passeriformes",
        "Prunellidae",
        "Prunella",
        "Prunella modularis",
        "Dunnock",
    ),
    (
        "Animalia",
        "Chordata",
        "Aves",
        "Passeriformes",
        "Corvidae",
        "Corvus",
        "Corvus corax",
        "Common Raven",
    ),
    (
        "Plantae",
        "Tracheophyta",
        "Magnoliopsida",
        "Lamiales",
        "Lamiaceae",
        "Prunella",
        "Prunella vulgaris",
        "",
    ),
)


def inat_categories(rows: Sequence[Sequence[str]] = SPECIES) -> list[dict[str, Any]]:
    ranks = ("kingdom", "phylum", "class", "order", "family", "genus", "name", "common_name")
    return [
        {
            "id": i,
            **dict(zip(ranks, row, strict=True)),
            "supercategory": "Birds",
            "specific_epithet": row[6].split()[-1],
            "image_dir_name": f"{i:05d}_{'_'.join(row[:6])}_{row[6].split()[-1]}",
        }
        for i, row in enumerate(rows)
    ]


def inat2021(
    root: Path,
    file: str = "train",
    train: int = 6,
    test: int = 3,
    *,
    images: bool = True,
    rows: Sequence[Sequence[str]] = SPECIES,
) -> None:
    root.mkdir(parents=True, exist_ok=True)
    categories = inat_categories(rows)
    for name, count in ((file, train), ("val", test)):
        listed, annotations = [], []
        for i in range(count):
            category = categories[i % len(categories)]
            path = f"{name}/{category['image_dir_name']}/{i:08x}-2c05-4a5a.jpg"
            listed.append(
                {
                    "id": 100 + i,
                    "width": 500,
                    "height": 375,
                    "file_name": path,
                    "license": 0,
                    "rights_holder": "x",
                    "latitude": None,
                }
            )
            annotations.append({"id": 900 + i, "image_id": 100 + i, "category_id": category["id"]})
            if images:
                jpeg(root / path, i)
        value = {
            "info": {"year": 2021},
            "images": listed,
            "annotations": annotations[::-1],
            "categories": categories,
            "licenses": [{"id": 0}],
        }
        (root / f"{name}.json").write_text(json.dumps(value))


TREES = {
    "caltech101": caltech101,
    "cassava": cassava,
    "cct20": cct20,
    "cifar100": cifar100,
    "domainnet-clipart": lambda root: domainnet(root, "clipart"),
    "domainnet-real": domainnet,
    "dtd": dtd,
    "eurosat": eurosat,
    "imagenet1k": imagenet,
    "inat2021": inat2021,
    "inat2021-mini": lambda root: inat2021(root, "train_mini"),
    "pets": pets,
}
