"""Published sets in the shape in which they are released: splits, classes and sizes."""

from __future__ import annotations

import csv
import math
import os
import socket
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headwater.errors import InputError
from headwater.labels import label_view
from headwater.plan import Plan
from headwater.sources import Source, open_source
from headwater.sources.kinds.published import PublishedName
from headwater.sources.pixels import decode
from headwater.sources.published import PUBLISHED, inaturalist, registry
from headwater.sources.published.cameras import EMPTY
from headwater.sources.published.cifar import RECORD
from headwater.sources.published.walked import test_share as fifth
from headwater.study import PublishedData, Study
from headwater.tasks import Task, resolve_task
from tests.conftest import tiny
from tests.needs import DATA, needs_data
from tests.sources import released
from tests.sources.published_sets import counts, made, opened, refusal


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def pairs(source: Source) -> list[tuple[str, str]]:
    return list(zip(source.table.ids.tolist(), source.table.levels[0].tolist(), strict=True))


EXPECTED = {  # train, val, test; classes per level, finest first
    "caltech101": ((29 + 30 + 30, 0, 6 + 3 + 1), (3,)),
    "cassava": ((24, 0, 6), (5,)),
    "cct20": ((12, 6, 7), (3,)),
    "cifar100": ((40, 0, 20), (40, 8)),
    "domainnet-clipart": ((12, 0, 6), (3,)),
    "domainnet-real": ((12, 0, 6), (3,)),
    "dtd": ((6, 6, 6), (3,)),
    "eurosat": ((40, 0, 10), (10,)),
    "imagenet1k": ((9, 0, 6), (3,)),
    "inat2021": ((6, 0, 3), (3, 3, 3, 2, 2, 2, 2)),
    "inat2021-mini": ((6, 0, 3), (3, 3, 3, 2, 2, 2, 2)),
    "pets": ((9, 0, 6), (3, 2)),
}


def test_the_schema_the_registry_and_these_trees_name_the_same_sets() -> None:
    assert (
        set(typing.get_args(PublishedName))
        == set(PUBLISHED)
        == set(EXPECTED)
        == set(released.TREES)
    )


@pytest.mark.parametrize("name", EXPECTED)
def test_a_released_tree_is_read_with_its_splits_and_classes(tmp_path: Path, name: str) -> None:
    source = made(name, tmp_path / "set")
    sizes, classes = EXPECTED[name]
    assert counts(source) == sizes
    assert tuple(len(set(level.tolist())) for level in source.table.levels) == classes
    assert source.table.ids.tolist() == sorted(source.table.ids.tolist())
    assert decode(source.image(0), 32, name).shape[2] == 3
    assert len(set(source.byte_hashes(np.arange(2)))) >= 1
    assert (source.metric, source.templates) == (PUBLISHED[name].metric, PUBLISHED[name].templates)
    assert all(template.count("{}") == 1 for template in source.templates)


@pytest.mark.parametrize("name", EXPECTED)
def test_sizes_that_are_not_the_published_ones_are_refused_with_both_numbers_and_the_way_out(
    tmp_path: Path, name: str
) -> None:
    released.TREES[name](tmp_path)
    message = refusal(name, tmp_path, check_sizes=True)
    assert f"where {PUBLISHED[name].title} has {PUBLISHED[name].sizes['train']:,}" in message
    assert "`check_sizes: false`" in message


@pytest.mark.parametrize("name", EXPECTED)
def test_the_published_sizes_pass_and_one_image_or_class_more_does_not(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    released.TREES[name](tmp_path)
    (train, val, test), (classes, *_) = EXPECTED[name]
    listed = {"cct20": (14, 8, 9), "cifar100": (40, 0, 20)}.get(name, (train, val, test))
    sizes = {
        split: size for split, size in zip(("train", "val", "test"), listed, strict=True) if size
    }
    own = 100 if name == "cifar100" else classes
    small = {"sizes": sizes, "classes": own, "variants": {"cis": sizes}}

    def entered(**changes: Any) -> None:
        values = {**vars(registry.PUBLISHED[name]), **small, **changes}
        monkeypatch.setitem(registry.PUBLISHED, name, registry.Published(**values))

    entered()
    assert counts(opened(name, tmp_path, check_sizes=True)) == (train, val, test)
    entered(classes=own + 1)
    assert f"{own:,} classes where" in refusal(name, tmp_path, check_sizes=True)
    entered(sizes={**sizes, "test": listed[2] + 1}, variants={})
    assert f"{listed[2]:,} test images where" in refusal(name, tmp_path, check_sizes=True)


def task(source: Source, view: str = "level:0", **words: Any) -> Task:
    return resolve_task("t", source, view, split_column="split", **words)


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"cifar100", "caltech101", "cct20"}))
def test_all_splits_have_one_class_order_and_the_prompts_have_it_too(
    tmp_path: Path, name: str
) -> None:
    source = made(name, tmp_path)
    one = task(source)
    assert list(one.class_names) == sorted(one.class_names)
    for positions in (one.train, one.val, one.test):
        assert [one.class_names[label] for label in one.labels[positions]] == source.table.levels[
            0
        ][positions].tolist()
    assert len(one.prompt_names) == one.num_classes
    for name_, spoken in zip(one.class_names, one.prompt_names, strict=True):
        assert spoken == source.table.spoken.get(name_, spoken)
    assert not [spoken for spoken in one.prompt_names if "_" in spoken]


def test_human_names_where_there_are_better_ones(tmp_path: Path) -> None:
    assert task(made("eurosat", tmp_path / "e")).prompt_names[9] == "lake or sea"
    assert task(made("pets", tmp_path / "p")).prompt_names == (
        "Abyssinian",
        "Bengal",
        "american bulldog",
    )
    assert task(made("dtd", tmp_path / "d")).prompt_names == ("banded", "blotchy", "polka dotted")
    assert task(made("imagenet1k", tmp_path / "i")).prompt_names == (
        "tench",
        "goldfish",
        "Chihuahua",
    )
    assert task(made("cassava", tmp_path / "c")).prompt_names[0] == "cassava bacterial blight"
    birds = made("inat2021", tmp_path / "n")
    assert task(birds).prompt_names == ("Common Raven", "Dunnock", "Prunella vulgaris")
    assert birds.table.texts["name"].tolist()[0] == ["Dunnock"]


def test_superclasses_come_from_the_next_level(tmp_path: Path) -> None:
    one = task(made("pets", tmp_path / "p"))
    assert one.superclass_names == ("cat", "dog")
    assert one.superclasses is not None
    assert one.superclasses.tolist() == [0, 0, 1]
    assert task(one.source, "level:1").superclasses is None
    genus = task(made("inat2021", tmp_path / "n"), "level:1")
    assert genus.class_names == ("Corvus", "Lamiaceae/Prunella", "Prunellidae/Prunella")
    assert genus.superclass_names == ("Corvidae", "Lamiaceae", "Prunellidae")
    assert task(made("dtd", tmp_path / "d")).superclass_names is None
    fish = task(made("imagenet1k", tmp_path / "i"))
    assert fish.superclasses is None or len(fish.superclasses) == 3


# each set's own matters
def test_cifar_gives_pixels_by_row_and_fine_under_coarse(tmp_path: Path) -> None:
    source = made("cifar100", tmp_path)
    first = int(np.flatnonzero(source.table.ids == "train/00007")[0])
    image = source.image(first)
    assert isinstance(image, np.ndarray)
    assert (image.shape, image.dtype) == ((32, 32, 3), np.uint8)
    assert image[0, 0].tolist() == [255, 7, 7]
    assert (image[0, 1] == 7).all()
    assert np.array_equal(source.images(np.array([first, first]))[1], image)
    assert (source.table.levels[0][first], source.table.levels[1][first]) == (
        "fine_007",
        "coarse_01",
    )
    test = int(np.flatnonzero(source.table.ids == "test/00007")[0])
    assert source.byte_hashes(np.array([first, test])) == source.byte_hashes(
        np.array([test, first])
    ), "equal pixels are equal hashes"


def test_cifars_pickled_release_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "cifar-100-python").mkdir()
    message = refusal("cifar100", tmp_path)
    assert "pickled" in message
    assert "cifar-100-binary.tar.gz" in message


def test_cifar_of_the_full_size_is_mapped_and_not_read(tmp_path: Path) -> None:
    released.cifar100(tmp_path, 0, 0)
    for split, count in (("train", 50_000), ("test", 10_000)):
        with (tmp_path / f"{split}.bin").open("wb") as file:
            file.truncate(count * RECORD)  # a sparse file: all zeros, no disk
    source = opened("cifar100", tmp_path, check_sizes=True)
    assert counts(source) == (50_000, 0, 10_000)
    assert source.image(59_999).sum() == 0


def test_dtd_has_ten_folds_and_one_is_chosen(tmp_path: Path) -> None:
    first, second = made("dtd", tmp_path), opened("dtd", tmp_path, fold=2)
    assert pairs(first) == pairs(second)
    assert first.split("split", "test").tolist() != second.split("split", "test").tolist()
    assert "train3.txt: cannot be read" in refusal("dtd", tmp_path, fold=3)
    nested = tmp_path / "up" / "dtd" / "dtd"
    nested.parent.mkdir(parents=True)
    (tmp_path / "labels").rename(tmp_path / "l")
    nested.mkdir()
    (tmp_path / "images").rename(nested / "images")
    (tmp_path / "l").rename(nested / "labels")
    assert pairs(opened("dtd", tmp_path / "up")) == pairs(second), (
        "torchvision's folders are found too, with the same ids"
    )


def test_an_option_of_another_set_is_refused() -> None:
    with pytest.raises(ValueError, match="`fold` is an option of dtd"):
        PublishedData.model_validate({"kind": "published", "name": "pets", "fold": 2})


CALTECH = {
    "BACKGROUND_Google": 467,
    "airplanes": 800,
    **{f"class_{i:03d}": 78 + (i < 77) for i in range(100)},
}
"""102 classes, 9,144 images, as published (the sizes of single classes are not)."""


@pytest.mark.slow
def test_caltech_of_the_full_size_gives_the_papers_numbers_and_the_same_images_each_time(
    tmp_path: Path,
) -> None:
    assert sum(CALTECH.values()) == 9_144
    released.caltech101(tmp_path, CALTECH, images=False)
    source = opened("caltech101", tmp_path, check_sizes=True)
    assert counts(source) == (3_059, 0, 6_085)
    train = source.table.levels[0][source.split("split", "train")]
    names, each = np.unique(train, return_counts=True)
    assert dict(zip(names.tolist(), each.tolist(), strict=True)) == {
        name: 29 if name == "BACKGROUND_Google" else 30 for name in CALTECH
    }
    first = [
        source.table.ids[at]
        for at in source.split("split", "train")
        if source.table.levels[0][at] == "airplanes"
    ]
    assert first[:4] == GOLDEN, "which images are drawn is fixed forever"


GOLDEN = [
    "airplanes/image_0017.jpg",
    "airplanes/image_0025.jpg",
    "airplanes/image_0026.jpg",
    "airplanes/image_0035.jpg",
]


def test_fifths_of_eurosat_and_cassava_are_the_papers(tmp_path: Path) -> None:
    sizes = [
        3000,
        3000,
        3000,
        2500,
        2500,
        2000,
        2500,
        3000,
        2500,
        3000,
    ]  # EuroSAT's classes, recalled
    codes = np.repeat(np.arange(10), sizes)
    test = fifth(codes, [str(i) for i in range(27_000)], "eurosat test")
    assert np.bincount(codes[test]).tolist() == [size // 5 for size in sizes]
    released.cassava(tmp_path, (1087, 2189, 2386, 13158, 2577), images=False)
    with pytest.raises(
        InputError, match="there is no such file"
    ):  # all is checked before the first image is looked for
        opened("cassava", tmp_path, check_sizes=True)
    codes = np.repeat(np.arange(5), (1087, 2189, 2386, 13158, 2577))
    assert (
        (fifth(codes, [str(i) for i in range(21_397)], "cassava test")).sum()
        == 4_280
        == math.ceil(21_397 / 5)
    )


@pytest.mark.slow
def test_domainnet_of_the_full_size_is_parsed_from_its_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.sources.files._SPOT_CHECKS", 0)  # lists without images
    released.domainnet(tmp_path, classes=345, train=120_906, test=52_041, images=False)
    source = opened("domainnet-real", tmp_path, check_sizes=True)
    assert counts(source) == (120_906, 0, 52_041)
    assert task(source).num_classes == 345


def test_an_index_that_means_two_classes_is_a_split_file_of_another_set(tmp_path: Path) -> None:
    released.domainnet(tmp_path)
    path = tmp_path / "real_test.txt"
    path.write_text(
        path.read_text().replace(
            "class_001/real_001_000013.jpg 1", "class_001/real_001_000013.jpg 2"
        )
    )
    assert "stands for" in refusal("domainnet-real", tmp_path)
    released.pets(tmp_path / "pets")
    path = tmp_path / "pets" / "annotations" / "test.txt"
    path.write_text(path.read_text().replace("Bengal_3 3 1", "Bengal_3 2 1"))
    assert "class 2 is 'Bengal' here and 'american_bulldog' elsewhere" in refusal(
        "pets", tmp_path / "pets"
    )


def test_cameras_leave_out_what_has_no_one_class_and_say_so(tmp_path: Path) -> None:
    source = made("cct20", tmp_path)
    assert EMPTY not in source.table.levels[0]
    assert source.notes == (
        "3 images are empty, left out",
        "3 images have several categories, left out",
    )
    assert sorted(set(source.table.groups["location"].tolist())) == ["0", "1"]
    trans = opened("cct20", tmp_path, split="trans")
    assert counts(trans) == (12, 6, 8)
    one = task(trans, group="location")
    assert set(trans.table.groups["location"][one.train]) == {"0", "1"}
    with pytest.raises(
        InputError, match=r"2 groups of 'location' are in train and in test \(7 test images"
    ):
        task(source, group="location")
    assert len(task(source, group="seq_id").test) == 7


def test_imagenets_classes_are_nodes_of_wordnet_and_a_flat_val_is_told(tmp_path: Path) -> None:
    source = made("imagenet1k", tmp_path)
    assert source.table.hierarchy == "wordnet"
    assert (
        label_view("level:1", source.table, np.arange(len(source.table)), 0, "i").num_classes >= 2
    )
    released.jpeg(tmp_path / "val" / "ILSVRC2012_val_00000001.JPEG")
    assert "sort them into class folders" in refusal("imagenet1k", tmp_path)


@pytest.mark.slow
def test_inaturalists_ten_thousand_categories_are_read_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.sources.files._SPOT_CHECKS", 0)
    rows = [
        (
            f"K{i // 5000}",
            f"P{i // 1000}",
            f"C{i // 500}",
            f"O{i // 100}",
            f"F{i // 20}",
            f"G{i // 4}",
            f"G{i // 4} s{i}",
            f"bird {i}",
        )
        for i in range(10_000)
    ]
    released.inat2021(tmp_path, "train_mini", 50_000, 10_000, images=False, rows=rows)
    source = opened("inat2021-mini", tmp_path)
    assert [len(set(level.tolist())) for level in source.table.levels] == [
        10_000,
        2_500,
        500,
        100,
        20,
        10,
        2,
    ]
    train = source.split("split", "train")
    assert (counts(source), len(set(source.table.levels[0][train]))) == (
        (50_000, 0, 10_000),
        10_000,
    )
    message = refusal("inat2021-mini", tmp_path, check_sizes=True)
    assert "50,000 train images where iNaturalist 2021 mini has 500,000" in message


def test_a_name_with_two_parents_is_written_with_its_parent() -> None:
    species, genus, *_ = inaturalist.taxonomy(pd.DataFrame(released.inat_categories()))
    assert species.tolist() == ["Prunella modularis", "Corvus corax", "Prunella vulgaris"]
    assert genus.tolist() == ["Prunellidae/Prunella", "Corvus", "Lamiaceae/Prunella"]


def test_hashes_are_kept_between_openings(tmp_path: Path) -> None:
    released.dtd(tmp_path / "dtd")
    words = PublishedData(kind="published", name="dtd", check_sizes=False)
    one = open_source("dtd", words, data_root=tmp_path, cache=tmp_path / "cache")
    assert one.fingerprint(np.arange(4)) == open_source(
        "dtd", words, data_root=tmp_path, cache=tmp_path / "cache"
    ).fingerprint(np.arange(4))
    assert len(list((tmp_path / "cache").iterdir())) == 1


@needs_data
def test_real_photos_in_the_published_shape_are_read_and_decoded(tmp_path: Path) -> None:
    """The eurosat and caltech101 packs of the data root, whose csv says what the published path
    was, linked into that shape.
    """
    for name, mark in (("eurosat", "data/"), ("caltech101", "")):
        pack = Path(DATA or "") / name
        with (pack / "labels.csv").open() as file:
            rows = [row for at, row in enumerate(csv.DictReader(file)) if at % 7 == 0]
        for row in rows:
            target = tmp_path / name / row["source_path"].removeprefix(mark)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(pack / row["path"], target) if os.stat(pack).st_dev == os.stat(
                tmp_path
            ).st_dev else target.write_bytes((pack / row["path"]).read_bytes())
        source = opened(name, tmp_path / name)
        level = "level2" if name == "eurosat" else "level3"
        there = {row["source_path"].removeprefix(mark).split("/", 1)[1]: row[level] for row in rows}
        assert dict(pairs(source)) == there
        assert decode(source.image(0), 32, name).shape[-1] == 3
        if name == "eurosat":
            assert counts(source)[2] == math.ceil(len(rows) / 5)


def test_an_index_file_replaces_published_splits_and_a_hierarchy_can_be_named(
    tmp_path: Path,
) -> None:
    source = made("dtd", tmp_path / "dtd")
    rows = [
        f"{sample},{'test' if at % 3 == 0 else 'train'}"
        for at, sample in enumerate(source.table.ids)
    ]
    released.lines(tmp_path / "dtd" / "index.csv", ["path,split", *rows])
    released.lines(
        tmp_path / "dtd" / "tree.txt", ["root,banded", "root,blotchy", "root,polka-dotted"]
    )
    other = opened("dtd", tmp_path / "dtd", split_file="index.csv", hierarchy="tree.txt")
    assert counts(other) == (12, 0, 6)
    one = task(other)
    assert one.carved
    assert (one.num_classes, one.superclasses) == (3, None), "one root is no set of superclasses"


def test_a_study_plans_on_published_sets(tmp_path: Path) -> None:
    for name in ("dtd", "pets"):
        released.TREES[name](tmp_path / name)
    released.cifar100(tmp_path / "cifar-100-binary")
    data = {
        name: {"kind": "published", "name": name, "check_sizes": False}
        for name in ("dtd", "pets", "cifar100")
    }
    tasks = {name: {"data": name} for name in ("dtd", "pets")}
    words = tiny(
        data=data,
        sources=["cifar100"],
        methods=["scratch", "supervised"],
        tasks=tasks,
        protocols={"probe": {}},
    )
    plan = Plan.make(Study.model_validate(words), data_root=tmp_path)
    assert len(plan.cells) == 4
    assert plan.tasks["pets"].metric == "mean_per_class"
