"""What is known of each published set. A further set is one more entry of `_SETS`.

Numbers marked [paper] are those of Entezari et al. 2023; the others say where they come from.

Licences are as their authors state them, [recalled]: read the home page before you rely on one.
Prompts are those published with CLIP (Radford et al. 2021, data/prompts.md of its repository),
[recalled], unless a comment says that they are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from headwater.sources import Metric


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published data set."""

    name: str
    title: str
    classes: int
    sizes: Mapping[str, int]
    """Images of each published split (train, val, test), as the release's own lists count them."""
    variants: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Sizes under the option `split`, where the set has that; `sizes` is the default one's."""
    source_of_sizes: str
    """Where the sizes and the split come from: [paper], [published], [recalled] or [ours], in
    words.
    """
    metric: Metric = "top1"
    licence: str
    home: str
    """Where its authors keep it."""
    folder: str
    """Its usual folder under the data root."""
    marks: tuple[str, ...]
    """Files and folders by which the set is known, relative to where it is."""
    inside: tuple[str, ...] = ("",)
    """Folders, relative to the set's, in which it is looked for, the first that fits."""
    layout: tuple[str, ...]
    """What is expected on disk, for people."""
    reader: str
    """Module of this package that reads it."""
    templates: tuple[str, ...] = ()
    levels: tuple[str, ...] = ("class",)
    """What level:0, level:1, ... are."""
    groups: tuple[str, ...] = ()
    """Columns that can be a task's `group`."""
    options: tuple[Literal["fold", "split"], ...] = ()
    """Words of a study's `data:` entry that this set alone understands."""
    refused: tuple[str, str] | None = None
    """(a file, why it is not read): another release that is refused by name."""

    def sizes_of(self, variant: str | None) -> Mapping[str, int]:
        """The sizes under an option `split`; the default's for None."""
        return self.sizes if variant is None else self.variants[variant]


def _both(*templates: str) -> tuple[str, ...]:
    """Each template with `a {}`, then each with `the {}`."""
    return (*templates, *(template.replace("a {}", "the {}") for template in templates))


CIFAR_TEMPLATES = _both(
    "a photo of a {}.",
    "a blurry photo of a {}.",
    "a black and white photo of a {}.",
    "a low contrast photo of a {}.",
    "a high contrast photo of a {}.",
    "a bad photo of a {}.",
    "a good photo of a {}.",
    "a photo of a small {}.",
    "a photo of a big {}.",
)
CALTECH_TEMPLATES = (
    "a photo of a {}.",
    "a painting of a {}.",
    "a plastic {}.",
    "a sculpture of a {}.",
    "a sketch of a {}.",
    "a tattoo of a {}.",
    "a toy {}.",
    "a rendition of a {}.",
    "a embroidered {}.",
    "a cartoon {}.",
    "a {} in a video game.",
    "a plushie {}.",
    "a origami {}.",
    "art of a {}.",
    "graffiti of a {}.",
    "a drawing of a {}.",
    "a doodle of a {}.",
    "a photo of the {}.",
    "a painting of the {}.",
    "the plastic {}.",
    "a sculpture of the {}.",
    "a sketch of the {}.",
    "a tattoo of the {}.",
    "the toy {}.",
    "a rendition of the {}.",
    "the embroidered {}.",
    "the cartoon {}.",
    "the {} in a video game.",
    "the plushie {}.",
    "the origami {}.",
    "art of the {}.",
    "graffiti of the {}.",
    "a drawing of the {}.",
    "a doodle of the {}.",
)
DTD_TEMPLATES = _both(
    "a photo of a {} texture.",
    "a photo of a {} pattern.",
    "a photo of a {} thing.",
    "a photo of a {} object.",
)
SATELLITE_TEMPLATES = (
    "a centered satellite photo of {}.",
    "a centered satellite photo of a {}.",
    "a centered satellite photo of the {}.",
)
_DOMAINNET = "split files published with the set; counts [paper]"
_CCT_SIZES = {"train": 13_553, "val": 3_484, "test": 15_827}

_SETS = (
    Published(
        name="cifar100",
        title="CIFAR-100 (binary version)",
        classes=100,
        sizes={"train": 50_000, "test": 10_000},
        source_of_sizes="published split; counts [paper]",
        licence="none stated; for research",
        home="https://www.cs.toronto.edu/~kriz/cifar.html",
        folder="cifar-100-binary",
        marks=("train.bin", "test.bin"),
        inside=("", "cifar-100-binary"),
        layout=("train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt"),
        reader="cifar",
        templates=CIFAR_TEMPLATES,
        levels=("class", "superclass"),
        refused=(
            "cifar-100-python",
            "the python version is pickled, and nothing here is unpickled; get the binary version "
            "(cifar-100-binary.tar.gz)",
        ),
    ),
    Published(
        name="dtd",
        title="Describable Textures (DTD)",
        classes=47,
        sizes={"train": 1_880, "val": 1_880, "test": 1_880},
        source_of_sizes="published split, fold 1 of 10; counts [paper]",
        licence="for research",
        home="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        folder="dtd",
        marks=("labels", "images"),
        inside=("", "dtd", "dtd/dtd"),
        layout=("images/<class>/*.jpg", "labels/train1.txt", "labels/val1.txt", "labels/test1.txt"),
        reader="dtd",
        options=("fold",),
        templates=DTD_TEMPLATES,
    ),
    Published(
        name="caltech101",
        title="Caltech-101",
        classes=102,
        sizes={"train": 3_059, "test": 6_085},
        source_of_sizes="counts [paper]; which images are ours: 30 a class by key (29 of "
        "BACKGROUND_Google), as no split is published",
        # As in Kornblith et al. 2019 and CLIP [recalled]; the paper reports top-1
        metric="mean_per_class",
        licence="CC BY 4.0, as the record says",
        home="https://data.caltech.edu/records/mzrjq-6wc02",
        folder="caltech101",
        marks=("101_ObjectCategories",),
        inside=("", "caltech-101", "caltech101"),
        layout=("101_ObjectCategories/<class>/image_0001.jpg",),
        reader="walked",
        templates=CALTECH_TEMPLATES,
    ),
    Published(
        name="pets",
        title="Oxford-IIIT Pets",
        classes=37,
        sizes={"train": 3_680, "test": 3_669},
        source_of_sizes="published split (trainval is train); counts [paper]",
        # As in Kornblith et al. 2019 and CLIP [recalled]; the paper reports top-1
        metric="mean_per_class",
        licence="CC BY-SA 4.0",
        home="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        folder="pets",
        marks=("annotations/trainval.txt", "annotations/test.txt"),
        inside=("", "oxford-iiit-pet"),
        layout=("images/Abyssinian_1.jpg", "annotations/trainval.txt", "annotations/test.txt"),
        reader="pets",
        templates=("a photo of a {}, a type of pet.",),
        levels=("breed", "species"),
    ),
    Published(
        name="domainnet-real",
        title="DomainNet real",
        classes=345,
        sizes={"train": 120_906, "test": 52_041},
        source_of_sizes=_DOMAINNET,
        licence="fair use, for non-commercial research",
        home="http://ai.bu.edu/M3SDA/",
        folder="domainnet",
        marks=("real_train.txt", "real_test.txt"),
        inside=("", "real"),
        layout=("real/<class>/*.jpg", "real_train.txt", "real_test.txt"),
        reader="domainnet",
        templates=("a photo of a {}.",),
    ),
    Published(
        name="domainnet-clipart",
        title="DomainNet clipart (cleaned version)",
        classes=345,
        sizes={"train": 33_525, "test": 14_604},
        source_of_sizes=_DOMAINNET,
        licence="fair use, for non-commercial research",
        home="http://ai.bu.edu/M3SDA/",
        folder="domainnet",
        marks=("clipart_train.txt", "clipart_test.txt"),
        inside=("", "clipart"),
        layout=("clipart/<class>/*.jpg", "clipart_train.txt", "clipart_test.txt"),
        reader="domainnet",
        templates=("a clipart of a {}.",),  # [ours]
    ),
    Published(
        name="eurosat",
        title="EuroSAT (RGB)",
        classes=10,
        sizes={"train": 21_600, "test": 5_400},
        source_of_sizes="counts [paper]; which images are ours: 80/20 of each class by key, as no "
        "split is published",
        licence="MIT; Copernicus Sentinel data terms",
        home="https://github.com/phelber/EuroSAT",
        folder="eurosat",
        marks=("AnnualCrop", "River"),
        inside=("", "EuroSAT_RGB", "2750", "EuroSAT/2750", "eurosat/2750"),
        layout=("EuroSAT_RGB/<class>/*.jpg",),
        reader="walked",
        templates=SATELLITE_TEMPLATES,
    ),
    Published(
        name="cassava",
        title="Cassava Leaf Disease (Kaggle 2020)",
        classes=5,
        sizes={"train": 17_117, "test": 4_280},
        source_of_sizes="test [paper], 21,397 labelled images [recalled]; which images are ours: "
        "80/20 of each class by key, as the test labels were kept",
        licence="the competition's rules",
        home="https://www.kaggle.com/c/cassava-leaf-disease-classification",
        folder="cassava-leaf-disease-classification",
        marks=("train.csv", "train_images"),
        inside=("", "cassava-leaf-disease-classification"),
        layout=("train.csv", "label_num_to_disease_map.json", "train_images/*.jpg"),
        reader="cassava",
        templates=("a photo of a cassava leaf: {}.",),  # [ours]
    ),
    Published(
        name="cct20",
        title="Caltech Camera Traps-20",
        classes=15,
        sizes=_CCT_SIZES,
        variants={"cis": _CCT_SIZES, "trans": {"train": 13_553, "val": 1_725, "test": 23_275}},
        source_of_sizes=(
            "published split; images listed per annotation file [recalled], they sum to the 57,864 "
            "of the set; the paper's test of 15,215 images and 15 "
            "classes is taken for cis_test (15,827) without its empty images, as public code for "
            "CCT-20 has it, so cis is the default [not confirmed]"
        ),
        licence="CDLA Permissive 1.0",
        home="https://lila.science/datasets/caltech-camera-traps",
        folder="cct20",
        marks=("eccv_18_annotation_files",),
        inside=("", "CCT-20", "caltech-camera-traps"),
        layout=(
            "eccv_18_annotation_files/{train,cis_val,cis_test,trans_val,trans_test}_annotations.json",
            "eccv_18_all_images_sm/*.jpg",
        ),
        reader="cameras",
        groups=("location", "seq_id"),
        options=("split",),
    ),
    Published(
        name="imagenet1k",
        title="ImageNet-1k (ILSVRC 2012)",
        classes=1_000,
        sizes={"train": 1_281_167, "test": 50_000},
        source_of_sizes="published; the published validation images are the test split, as their "
        "labels are public [recalled]",
        licence="terms of access, for non-commercial research",
        home="https://image-net.org/",
        folder="imagenet",
        marks=("train", "val"),
        inside=("", "ILSVRC/Data/CLS-LOC", "ILSVRC2012", "imagenet"),
        layout=("train/<wnid>/*.JPEG", "val/<wnid>/*.JPEG"),
        reader="imagenet",
        levels=("synset", "its WordNet parents"),
    ),
    *(
        Published(
            name=name,
            title=title,
            classes=10_000,
            sizes={"train": train, "test": 100_000},
            source_of_sizes="published; the published validation images are the test split "
            "[recalled]",
            licence="for non-commercial research; each image under its photographer's licence",
            home="https://github.com/visipedia/inat_comp/tree/master/2021",
            folder="inat2021",
            marks=(f"{file}.json", "val.json"),
            layout=(f"{file}/<class>/*.jpg", "val/<class>/*.jpg", f"{file}.json", "val.json"),
            reader="inaturalist",
            levels=("species", "genus", "family", "order", "class", "phylum", "kingdom"),
        )
        for name, title, train, file in (
            ("inat2021", "iNaturalist 2021", 2_686_843, "train"),
            ("inat2021-mini", "iNaturalist 2021 mini", 500_000, "train_mini"),
        )
    ),
)

PUBLISHED: dict[str, Published] = {entry.name: entry for entry in _SETS}
"""Every published set, by name."""
