"""WordNet's levels are those of Hong et al. (arXiv 2303.16887), from whichever copy of the relation
they are read.
"""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from headwater.errors import InputError
from headwater.labels.hierarchies import class_list, missing, open_hierarchy, synset_titles
from headwater.labels.hierarchies.wordnet import (
    SHIPPED,
    packed,
    read_wordnet,
    shipped_wordnet,
    synset_names,
    unpacked,
)
from headwater.labels.hierarchy import Hierarchy
from tests.needs import IS_A, NOUNS, needs_data, needs_nouns

ROOT = Path(__file__).parents[2]
IN21K_LABELS = (21843, 5995, 2281, 1038, 519, 285, 160, 92, 58, 38, 26)
IN21K_SEVERAL = (0, 453, 1560, 2676, 3999, 4914, 5324, 5226, 4584, 3361, 1976)
IN21K_MOST = (1, 3, 4, 5, 5, 6, 7, 6, 7, 5, 4)
ORPHANS = ("n09450163", "n10994097", "n11196627", "n11318824")
IN1K = {0: 1000, 1: 578, 2: 325, 4: 130, 6: 54, 9: 16}
IN21K_P = {0: 11221, 1: 3903, 2: 1653, 4: 423, 6: 133, 9: 31}


COPIES = [
    "shipped",
    pytest.param("debian", marks=needs_nouns),
    pytest.param("imagenet", marks=needs_data),
]


def copy_of(kind: str) -> Hierarchy:
    return open_hierarchy(
        {"shipped": "wordnet", "debian": NOUNS, "imagenet": IS_A}[kind], where="test"
    )


@pytest.mark.parametrize("kind", COPIES)
def test_levels_of_imagenet_have_the_published_numbers_of_classes(kind):
    hierarchy = copy_of(kind)
    classes = class_list("imagenet21k", where="test")
    if (
        kind == "imagenet"
    ):  # the four synsets without a hypernym are in no relation, so the list does not know them
        assert tuple(name for name in classes if name not in hierarchy.index) == ORPHANS
        edges = zip(hierarchy.names, hierarchy.parents, strict=True)
        pairs = [(hierarchy.names[parent], name) for name, above in edges for parent in above]
        hierarchy = Hierarchy.from_edges(pairs, where="test", nodes=ORPHANS)
    counts = [hierarchy.counts(classes, f"level:{k}") for k in range(11)]
    assert tuple(count.labels for count in counts) == IN21K_LABELS
    assert tuple(count.several for count in counts) == IN21K_SEVERAL
    assert tuple(count.most for count in counts) == IN21K_MOST
    assert all(count.orphans == ORPHANS for count in counts)
    for name, expected in (("imagenet1k", IN1K), ("imagenet21k-p", IN21K_P)):
        some = class_list(name, where="test")
        assert {k: hierarchy.counts(some, f"level:{k}").labels for k in expected} == expected


def test_levels_of_imagenet_coarsen_one_another():
    classes = class_list("imagenet21k", where="test")
    for k in range(10):
        assert shipped_wordnet().conflict(classes, f"level:{k}", f"level:{k + 1}") is None


@needs_nouns
def test_debians_copy_of_the_relation_is_the_shipped_one():
    shipped, debian = copy_of("shipped"), copy_of("debian")
    assert shipped.names == debian.names
    assert np.array_equal(shipped.parents.starts, debian.parents.starts)
    assert np.array_equal(shipped.parents.labels, debian.parents.labels)
    assert debian.titles["n00002137"] == "abstraction, abstract entity"


def edges_of(hierarchy: Hierarchy) -> set[tuple[str, str]]:
    """Pairs of a synset and one that it is a kind of."""
    edges = set()
    for name, above in zip(hierarchy.names, hierarchy.parents, strict=True):
        edges.update((name, hierarchy.names[parent]) for parent in above)
    return edges


def test_the_shipped_relation_has_all_nouns_and_the_published_number_of_pairs():
    shipped = copy_of("shipped")
    assert len(shipped) == 82_115
    assert len(edges_of(shipped)) == 75_850


@needs_data
def test_imagenets_list_of_the_relation_is_the_shipped_one():
    assert edges_of(copy_of("imagenet")) == edges_of(copy_of("shipped"))


def test_instances_are_not_kinds():
    """The sun is an instance of a star (@i) and so without a parent; a star is a kind of (@)
    celestial body.
    """
    hierarchy = shipped_wordnet()
    sun, star = hierarchy.index_of(["n09450163", "n09444100"], "test")
    assert not len(hierarchy.parents[int(sun)])
    assert [hierarchy.names[at] for at in hierarchy.parents[int(star)]] == ["n09239740"]


@needs_nouns
def test_the_shipped_copy_is_what_the_script_makes():
    made = runpy.run_path(str(ROOT / "tools" / "make_wordnet.py"))["made"](NOUNS)
    folder = ROOT / "src" / "headwater" / "labels" / "hierarchies"
    assert zlib.decompress(made[SHIPPED]) == zlib.decompress((folder / SHIPPED).read_bytes())
    for name, data in made.items():
        assert (folder / name).read_bytes() == data, f"{name}: run python tools/make_wordnet.py"
    assert len(made[SHIPPED]) < 300_000
    licence = made["wordnet30_licence.txt"].decode()
    assert "Permission to use, copy, modify and distribute this software" in licence
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in licence


def test_packing_is_undone_by_unpacking():
    random = np.random.default_rng(5)
    synsets = np.cumsum(random.integers(1, 60_000, 500))
    children = np.repeat(np.arange(1, 500), random.integers(0, 4, 499))
    parents = random.integers(0, children)
    made = unpacked(packed(synsets, *np.unique(np.stack([parents, children]), axis=1)), "test")
    expected = Hierarchy.from_indices(synset_names(synsets), parents, children, where="test")
    assert made.names == expected.names
    assert np.array_equal(made.parents.labels, expected.parents.labels)
    assert np.array_equal(made.parents.starts, expected.parents.starts)


@pytest.mark.parametrize("content", [b"", b"\1" * 8, b"\1\0\0\0\1\0\0\0" + bytes(7), bytes(8)])
def test_a_damaged_copy_is_refused(content):
    for data in (content, zlib.compress(content), zlib.compress(content)[:-3]):
        with pytest.raises(InputError, match="no packed hierarchy"):
            unpacked(data, "test")


LINES = [
    "  1 This software and database is being provided to you  ",
    "00000010 03 n 01 entity 0 001 ~ 00000020 n 0000 | that which is perceived @ 00000030 n 0000 "
    "is no pointer  ",
    "00000020 03 n 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 big_thing 0 002 @ 00000010 n 0000 + "
    "00000010 a 0101 | a thing  ",
    "00000030 03 n 01 sun 0 001 @i 00000020 n 0000 | the star  ",
]


def test_a_small_data_noun_is_read_by_its_grammar(tmp_path):
    path = tmp_path / "data.noun"
    path.write_text("\n".join(LINES))
    made = read_wordnet(path)
    assert made.names == ("n00000010", "n00000020", "n00000030")
    assert [labels.tolist() for labels in made.parents] == [[], [0], []]
    assert (
        made.titles["n00000020"] == "a, b, c, d, e, f, g, h, i, big thing"
    )  # 0a is ten, in hexadecimal
    assert open_hierarchy(tmp_path, where="test").names == made.names


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("00000040 03 v 01 go 0 000 | a verb", "line 5: this is no synset"),
        ("00000040 03 n 05 go 0 000 | too few words", "line 5: this is no synset"),
        (
            "00000040 03 n 01 x 0 001 @ 00000099 n 0000 | dangling",
            "line 5: the synset 00000099, to which this one points, is not in the file",
        ),
        (LINES[1], "line 5: the synset 00000010 is there twice"),
        ("00000040 03 n 01 x 0 001 @ 00000040 n 0000 | itself", "'n00000040' is its own parent"),
        ("hello", "line 5: this is no synset"),
    ],
)
def test_a_data_noun_with_a_mistake_names_the_line(tmp_path, line, message):
    path = tmp_path / "data.noun"
    path.write_text("\n".join([*LINES, line]))
    with pytest.raises(InputError, match=rf"^view: .*data\.noun.*{message}") as error:
        open_hierarchy(path, where="view")
    assert "\n" not in str(error.value)


# lists of classes
SIZES = {
    "imagenet1k": 1000,
    "imagenet12k": 11821,
    "imagenet21k": 21843,
    "imagenet21k-p": 11221,
    "imagenet21k-p-winter": 10450,
    "imagenet22k": 21841,
    "imagenet22k-ms": 21842,
    "imagenet-a": 200,
    "imagenet-r": 200,
    "mini-imagenet": 100,
}


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_lists_of_imagenets_classes_have_their_published_sizes_and_are_nouns(name, size):
    classes = class_list(name, where="test")
    assert len(classes) == len(set(classes)) == size
    assert not missing(classes, shipped_wordnet().names)


def test_the_teddy_of_ilsvrc_is_not_in_the_full_list():
    one, full = (class_list(name, where="test") for name in ("imagenet1k", "imagenet21k"))
    assert missing(one, full) == ("n04399382",)
    assert synset_titles()["n04399382"] == "teddy, teddy bear"
    assert not missing(one, class_list("imagenet22k-ms", where="test"))


def test_lists_are_found_without_importing_timm():
    code = (
        "import sys; from headwater.labels.hierarchies import class_list; class_list('imagenet1k', "
        "where='test'); "
        "print([name for name in ('timm', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "timm" not in done.stdout


def test_a_list_in_a_file_is_read_and_its_mistakes_named(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_bytes(b"\xef\xbb\xbfn01440764 tench, Tinca tinca\r\n\r\nn01443537\r\n")
    assert class_list(path, where="test") == ["n01440764", "n01443537"]
    mistakes = {
        "n01440764\nn0144\n": "line 2: a synset is n and eight digits, this is 'n0144'",
        "n01440764\n" * 2: "line 2: n01440764 is on line 1",
    }
    for text, message in mistakes.items():
        path.write_text(text)
        with pytest.raises(InputError, match=rf"^test: .*classes\.txt, {re.escape(message)}"):
            class_list(path, where="test")
    with pytest.raises(
        InputError, match=r"'imagenet' is neither a list of classes .imagenet1k, .* nor a file"
    ):
        class_list("imagenet", where="test")
