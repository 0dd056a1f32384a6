"""Hierarchies as data sets ship them: the real files have the classes that they are known for."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from headwater.errors import InputError
from headwater.labels.hierarchies import open_hierarchy
from headwater.labels.hierarchies.cifar100 import COARSE
from headwater.labels.hierarchy import Hierarchy
from tests.needs import DATA, needs_data

EMBEDDINGS = "semantic-embeddings"
BREEDS = "breeds/imagenet_class_hierarchy/modified"


def real(name: str) -> Hierarchy:
    return open_hierarchy(f"{DATA}/hierarchies/{name}", where="test")


def leaves(hierarchy: Hierarchy) -> list[str]:
    return [hierarchy.names[at] for at in hierarchy.leaves]


# real files
TREES = {  # nodes, classes at each level
    f"{EMBEDDINGS}/Cifar-Hierarchy/cifar.parent-child.txt": (163, (100, 50, 26, 13, 7, 4, 3, 2, 1)),
    f"{EMBEDDINGS}/Cifar-Hierarchy/hierarchy.txt": (163, (100, 50, 26, 13, 7, 4, 3, 2, 1)),
    f"{EMBEDDINGS}/CUB-Hierarchy/cub_wikispecies.parent-child.txt": (
        383,
        (200, 121, 42, 24, 7, 3, 1),
    ),
    f"{EMBEDDINGS}/CUB-Hierarchy/hierarchy_wikispecies.txt": (383, (200, 121, 42, 24, 7, 3, 1)),
    f"{EMBEDDINGS}/NAB-Hierarchy/hierarchy.txt#child-parent": (1011, (555, 404, 50, 2, 1)),
    f"{EMBEDDINGS}/iNaturalist-Hierarchy/hierarchy_inat.txt": (
        14036,
        (8142, 4412, 1120, 273, 57, 25, 6, 1),
    ),
    f"{EMBEDDINGS}/iNaturalist-Hierarchy/hierarchy_inat2019.txt": (
        1190,
        (1010, 72, 57, 34, 9, 4, 3, 1),
    ),
    f"{EMBEDDINGS}/ILSVRC/wordnet.parent-child.mintree.txt": (
        1785,
        (1000, 548, 296, 179, 108, 67, 42, 27, 17, 13, 10, 8, 7, 6, 5, 4, 3, 2, 1),
    ),
    f"{BREEDS}/class_hierarchy.txt": (1328, (890, 348, 145, 63, 28, 13, 4, 2, 1)),
    "bioclip/rare_species_metadata.csv": (1024, (400, 316, 202, 85, 15, 5, 1)),
    "tieredimagenet/tiered_imagenet_split/train.csv#child-parent": (371, (351, 20)),
    "tieredimagenet/tiered_imagenet_split/val.csv#child-parent": (103, (97, 6)),
    "tieredimagenet/tiered_imagenet_split/test.csv#child-parent": (168, (160, 8)),
}


@needs_data
@pytest.mark.parametrize("name", TREES)
def test_a_real_tree_has_its_classes_at_every_level_and_the_levels_nest(name):
    hierarchy = real(name)
    nodes, levels = TREES[name]
    classes = leaves(hierarchy)
    assert hierarchy.is_tree
    assert len(hierarchy) == nodes
    counts = [hierarchy.counts(classes, f"level:{k}") for k in range(len(levels) + 1)]
    assert tuple(count.labels for count in counts) == (
        *levels,
        levels[-1],
    )  # above the top all stays where it is
    assert all(count.most == 1 for count in counts)
    for k in range(len(levels) - 1):
        assert hierarchy.conflict(classes, f"level:{k}", f"level:{k + 1}") is None
        assert hierarchy.conflict(classes, f"depth:{k + 1}", f"depth:{k}") is None


@needs_data
def test_the_two_writings_of_a_tree_of_semantic_embeddings_are_one_tree():
    cub = ("CUB", "cub_wikispecies.parent-child.txt", "hierarchy_wikispecies.txt")
    for folder, listed, drawn in (("Cifar", "cifar.parent-child.txt", "hierarchy.txt"), cub):
        numbers, words = (
            real(f"{EMBEDDINGS}/{folder}-Hierarchy/{name}") for name in (listed, drawn)
        )
        shape = [Counter(made.children.sizes.tolist()) for made in (numbers, words)]
        assert shape[0] == shape[1]
        if folder == "Cifar":  # its names are in class_names.txt
            assert {numbers.titles[name] for name in numbers.names} == set(words.names)
            apple = numbers.index_of(["apple"], "test")
            parent = numbers.parents[int(apple[0])]
            assert [numbers.titles[numbers.names[at]] for at in parent] == ["pome"]


@needs_data
def test_cifars_superclasses_are_over_the_100_classes_of_the_real_file():
    built, drawn = (
        open_hierarchy("cifar100", where="test"),
        real(f"{EMBEDDINGS}/Cifar-Hierarchy/hierarchy.txt"),
    )
    assert set(leaves(built)) == set(leaves(drawn))
    assert built.counts(leaves(built), "rank:coarse").labels == 20
    trees = drawn.index_of(["tree"], "test")[
        0
    ]  # where the drawn tree has such a class too, the two agree
    assert {drawn.names[at] for at in drawn.children[int(trees)]} == set(COARSE["trees"].split())
    for coarse, above in (
        ("insects", "insect"),
        ("fish", "fish"),
        ("people", "people"),
        ("household_furniture", "furniture"),
        ("flowers", "blooming"),
    ):
        held = {name for name in leaves(drawn) if above in _all_above(drawn, name)}
        assert held == set(COARSE[coarse].split())


def _all_above(hierarchy: Hierarchy, name: str) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        own = waiting.pop()
        found.add(own)
        waiting += [hierarchy.names[at] for at in hierarchy.parents[hierarchy.index[own]]]
    return found


@needs_data
@pytest.mark.parametrize(
    ("depth", "at_least", "under", "superclasses"),
    [(3, 20, None, 13), (4, 8, None, 30), (5, 4, "n00004258", 17), (5, 4, "n00021939", 26)],
    ids=["entity13", "entity30", "living17", "nonliving26"],
)
def test_depths_are_those_by_which_breeds_was_made(depth, at_least, under, superclasses):
    """BREEDS takes the nodes at a depth that have so many of ImageNet's classes below them
    (robustness, make_entity13 ... make_nonliving26).
    """
    hierarchy = real(f"{BREEDS}/class_hierarchy.txt")
    info = json.loads(Path(f"{DATA}/hierarchies/{BREEDS}/dataset_class_info.json").read_text())
    classes = [name for _, name, _ in info if name in hierarchy.index]
    cut = hierarchy.depth_sets(hierarchy.index_of(classes, "test"), depth)
    assert (cut.sizes == 1).all()
    held = Counter(cut.labels.tolist())
    chosen = [
        node
        for node, count in held.items()
        if hierarchy.depths[node] == depth and count >= at_least
    ]
    chosen = [
        node
        for node in chosen
        if under is None or under in _all_above(hierarchy, hierarchy.names[node])
    ]
    assert len(chosen) == superclasses


@needs_data
def test_the_600_boxable_classes_of_open_images_have_several_parents():
    hierarchy = real("openimages/bbox_hierarchy.json")
    assert (len(hierarchy), len(hierarchy.leaves), len(hierarchy.orphans)) == (612, 521, 1)
    counts = [hierarchy.counts(leaves(hierarchy), f"level:{k}") for k in range(6)]
    assert [count.labels for count in counts] == [521, 86, 31, 11, 3, 1]
    assert counts[1].several == int((hierarchy.parents.sizes[hierarchy.leaves] > 1).sum()) == 51
    assert counts[1].most == 3
    mouse = hierarchy.parents[hierarchy.index["Mouse"]]
    assert {hierarchy.names[at] for at in mouse} == {
        "Electronic device",
        "Mammal",
    }  # a pointing device and an animal under one name


@needs_data
def test_rare_species_have_seven_ranks_and_species_are_called_by_both_names():
    hierarchy = real("bioclip/rare_species_metadata.csv")
    assert hierarchy.rank_names == (
        "kingdom",
        "phylum",
        "class",
        "order",
        "family",
        "genus",
        "species",
    )
    classes = leaves(hierarchy)
    assert [hierarchy.counts(classes, f"rank:{rank}").labels for rank in hierarchy.rank_names] == [
        1,
        5,
        15,
        85,
        202,
        316,
        400,
    ]
    assert "Cyclonaias tuberculata" in classes
    assert hierarchy.titles["Cyclonaias tuberculata"] == "purple wartyback"


@needs_data
def test_titles_come_from_the_file_that_belongs_to_the_list_and_from_no_other():
    assert real(f"{EMBEDDINGS}/NAB-Hierarchy/hierarchy.txt#child-parent").titles["3"] == "Loons"
    assert (
        real(f"{EMBEDDINGS}/iNaturalist-Hierarchy/hierarchy_inat.txt").titles["918"]
        == "Euchlaena serrata"
    )
    assert (
        real(f"{EMBEDDINGS}/iNaturalist-Hierarchy/hierarchy_inat2019.txt").titles == {}
    )  # the numbers of 2019 mean other species
    assert (
        real(f"{EMBEDDINGS}/ILSVRC/wordnet.parent-child.mintree.txt").titles["n01440764"] == "tench"
    )
    assert real(f"{BREEDS}/class_hierarchy.txt").titles["dummy32"] == "garment"


@needs_data
@pytest.mark.parametrize(
    "name",
    [f"{EMBEDDINGS}/NAB-Hierarchy/hierarchy.txt", "tieredimagenet/tiered_imagenet_split/train.csv"],
)
def test_a_list_with_the_child_first_is_not_read_the_wrong_way_round(name):
    with pytest.raises(
        InputError,
        match="it may be child and parent; say which it is with #child-parent or #parent-child",
    ):
        real(name)


# iNaturalist 2021
RANKS = {
    "kingdom": 3,
    "supercategory": 11,
    "phylum": 13,
    "class": 51,
    "order": 273,
    "family": 1103,
    "genus": 4884,
    "species": 10_000,
}


def inaturalist(**changes: object) -> dict[str, object]:
    """Categories of the exact shape of 2021's, with as many taxa at every rank; a taxon's parent is
    a share of the rank above.

    As in the real file, phylum and supercategory do not nest either way: the supercategories are
    made from classes, within kingdoms.
    """
    ladder = [(rank, size) for rank, size in RANKS.items() if rank != "supercategory"]
    parent = {
        rank: np.arange(size) * above // size for (_, above), (rank, size) in pairwise(ladder)
    }
    kingdom_of_class = parent["phylum"][parent["class"]]
    own = {0: 5, 1: 3, 2: 3}  # supercategories of each kingdom: 11
    first = {0: 0, 1: 5, 2: 8}
    group_of_class = [first[k] + c * 7 % own[k] for c, k in enumerate(kingdom_of_class.tolist())]
    categories = []
    for species in range(10_000):
        at = {"species": species}
        for rank, _ in reversed(ladder[:-1]):
            below = ladder[[name for name, _ in ladder].index(rank) + 1][0]
            at[rank] = int(parent[below][at[below]])
        words = {rank: f"{rank.capitalize()}{at[rank]}" for rank, _ in ladder[:-1]}
        group = group_of_class[at["class"]]
        words |= {
            "supercategory": words["kingdom"] if group == 8 else f"Super{group}",
            "specific_epithet": f"epithet{species}",
        }  # as Fungi are both
        words |= {
            "name": f"{words['genus']} epithet{species}",
            "common_name": f"common {species % 9000}",
        }
        words["image_dir_name"] = "_".join(
            [f"{species:05d}", *(words[rank] for rank, _ in ladder[:-1]), words["specific_epithet"]]
        )
        categories.append({"id": species, **words})
    return {
        "info": {"year": 2021},
        "images": [],
        "categories": categories,
        "annotations": [],
        "licenses": [],
        **changes,
    }


@pytest.fixture(scope="module")
def inat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inat") / "train_mini.json"
    path.write_text(json.dumps(inaturalist()))
    return path


@pytest.mark.slow
def test_inaturalists_ranks_and_levels_have_their_counts_and_nest(inat):
    hierarchy = open_hierarchy(inat, where="test")
    classes = [category["image_dir_name"] for category in inaturalist()["categories"]]
    assert hierarchy.rank_names == (
        "kingdom",
        "phylum",
        "supercategory",
        "class",
        "order",
        "family",
        "genus",
        "species",
    )
    assert {
        rank: hierarchy.counts(classes, f"rank:{rank}").labels for rank in hierarchy.rank_names
    } == RANKS
    assert hierarchy.is_tree
    ladder = [rank for rank in hierarchy.rank_names if rank != "supercategory"][::-1]
    for k, rank in enumerate(ladder):
        assert hierarchy.counts(classes, f"level:{k}").labels == RANKS[rank]
        nodes = hierarchy.index_of(classes, "test")
        assert np.array_equal(
            hierarchy.level_sets(nodes, k).labels, hierarchy.rank_sets(nodes, rank).labels
        )
        assert np.array_equal(
            hierarchy.depth_sets(nodes, 6 - k).labels, hierarchy.rank_sets(nodes, rank).labels
        )
    for fine, coarse in pairwise(ladder):
        assert hierarchy.conflict(classes, f"rank:{fine}", f"rank:{coarse}") is None


def test_a_supercategory_nests_between_class_and_kingdom_and_its_conflict_with_phyla_is_reported(
    inat,
):
    hierarchy = open_hierarchy(inat, where="test")
    classes = leaves(hierarchy)
    assert hierarchy.conflict(classes, "rank:class", "rank:supercategory") is None
    assert hierarchy.conflict(classes, "rank:supercategory", "rank:kingdom") is None
    for fine, coarse in (("phylum", "supercategory"), ("supercategory", "phylum")):
        assert f"rank:{coarse} does not coarsen rank:{fine}: " in (
            hierarchy.conflict(classes, f"rank:{fine}", f"rank:{coarse}") or ""
        )
    assert {"kingdom:Kingdom2", "supercategory:Kingdom2"} <= set(hierarchy.names)


def test_inaturalists_classes_are_known_by_folder_and_by_species(inat):
    hierarchy = open_hierarchy(inat, where="test")
    category = inaturalist()["categories"][4321]
    folder, species = hierarchy.index_of([category["image_dir_name"], category["name"]], "test")
    assert folder == species
    assert hierarchy.titles[hierarchy.names[folder]] == "common 4321"


@pytest.mark.slow
def test_categories_are_found_in_a_file_too_large_to_parse_whole(inat, tmp_path):
    content = inaturalist()
    categories = content.pop("categories")
    before = json.dumps(
        {**content, "info": {"note": 'say \\"categories\\": [{', "categories": [{"id": 1}]}}
    )
    images = ", ".join(['{"id": 1, "file_name": "a"}'] * 700_000)
    text = (
        before[:-1]
        + f', "images": [{images}], "categories": {json.dumps(categories)}, "annotations": ['
    )
    path = tmp_path / "train.json"
    path.write_text(
        text + "0, " * 100_000
    )  # cut off, too: what is around the categories is not parsed
    assert path.stat().st_size > 1 << 24
    large, small = open_hierarchy(path, where="test"), open_hierarchy(inat, where="test")
    assert large.names == small.names
    assert np.array_equal(large.parents.labels, small.parents.labels)


def test_homonyms_of_coarser_ranks_are_told_apart_and_of_the_finest_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(
        "kingdom,genus,species\nPlantae,Prunella,vulgaris\nAnimalia,Prunella,modularis\n"
    )
    hierarchy = open_hierarchy(path, where="test")
    assert hierarchy.names == (
        "Animalia",
        "Animalia/Prunella",
        "Plantae",
        "Plantae/Prunella",
        "Prunella modularis",
        "Prunella vulgaris",
    )
    path.write_text("big,small,tiny\nfruit,tree fruit,apple\njuice,pressed,apple\n")
    with pytest.raises(
        InputError,
        match=r"line 3: the tiny 'apple' is under 'pressed', but in .*line 2 under 'tree fruit'; "
        r"write which it is into the name",
    ):
        open_hierarchy(path, where="test")
    path.write_text("order,family,genus,species\nO,F,G,a\nO,,G,b\n")
    with pytest.raises(
        InputError,
        match=r"line 3: the genus 'G' is under 'O', but in .*line 2 under 'F'; a rank between them "
        r"is blank",
    ):
        open_hierarchy(path, where="test")
