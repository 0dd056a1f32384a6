"""Sets that are class folders without a published split: Caltech-101 and EuroSAT.

The split is a keyed draw of ours, fixed forever.
"""

from __future__ import annotations

import math

import numpy as np

from headwater import keys
from headwater.sources import Source
from headwater.sources.published.reading import Request, class_folders, objects, strings
from headwater.sources.splitting import first_of_each, proportional
from headwater.sources.tables import listing_of

CALTECH_TRAIN = 30
"""Training images a class, as is usual for the set [paper: 3,059 in all]."""
BACKGROUND, BACKGROUND_TRAIN = "BACKGROUND_Google", 29
"""One less of the background class: the published count of 3,059 has a file there that is no image
(so TensorFlow Datasets counts) [ours].
"""
TEST_SHARE = 0.2
"""EuroSAT's and Cassava's share of test images [paper]."""
EUROSAT_NAMES = {
    "AnnualCrop": "annual crop land",
    "Forest": "forest",
    "HerbaceousVegetation": "brushland or shrubland",
    "Highway": "highway or road",
    "Industrial": "industrial buildings or commercial buildings",
    "Pasture": "pasture land",
    "PermanentCrop": "permanent crop land",
    "Residential": "residential buildings or homes or apartments",
    "River": "river",
    "SeaLake": "lake or sea",
}
"""As CLIP's prompts call them [recalled]."""
CALTECH_NAMES = {
    "BACKGROUND_Google": "background",
    "Faces": "off-center face",
    "Faces_easy": "centered face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
    "airplanes": "airplane",
    "car_side": "side of a car",
}
"""As CLIP's prompts call them [recalled]; the others are their names."""


def read(request: Request) -> Source:
    """The source; train and test by key over `class/file` ids, so that where the folder lies does
    not matter.
    """
    caltech = request.entry.name == "caltech101"
    root = request.base / "101_ObjectCategories" if caltech else request.base
    paths, classes = class_folders(root)
    names, codes = np.unique(np.array(classes), return_inverse=True)
    if caltech:
        train = np.array(
            [BACKGROUND_TRAIN if name == BACKGROUND else CALTECH_TRAIN for name in names.tolist()],
            dtype=np.int64,
        )
        is_test = ~first_of_each(
            codes, keys.sample_hashes(paths), keys.key(0, "caltech101 train"), train
        )
    else:
        is_test = test_share(codes, paths, "eurosat test")
    split = np.where(is_test, "test", "train").astype(object)
    told = CALTECH_NAMES if caltech else EUROSAT_NAMES
    spoken = {name: told[name] for name in names.tolist() if name in told}
    listing = listing_of(
        strings(paths), lambda _: str(root), split=split, levels=(objects(classes),), spoken=spoken
    )
    return request.source(listing, root=root)


def test_share(codes: np.ndarray, ids: list[str], purpose: str) -> np.ndarray:
    """bool [n]: a fifth of the images, rounded up, shared out over the classes in proportion and
    drawn by key within each.
    """
    total = math.ceil(TEST_SHARE * len(codes) - 1e-9)
    return first_of_each(
        codes,
        keys.sample_hashes(ids),
        keys.key(0, purpose),
        proportional(np.bincount(codes), total),
    )
