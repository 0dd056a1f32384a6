"""`headwater labels levels`: the counts of hong2023, of lists, files, studies and folders, and that
every mistake is one line with exit code 2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli, refused, tiny, write_study
from tests.labels.test_wordnet import (
    IN1K,
    IN21K_LABELS,
    IN21K_MOST,
    IN21K_P,
    IN21K_SEVERAL,
    ORPHANS,
)
from tests.needs import IS_A, NOUNS, needs_data, needs_nouns

COUNTS = {
    "imagenet21k": dict(enumerate(IN21K_LABELS)),
    "imagenet1k": IN1K,
    "imagenet21k-p": IN21K_P,
}
HIERARCHIES = [  # the shipped file, Princeton's own, and ImageNet's list of relations
    "wordnet",
    pytest.param(str(NOUNS), id="data.noun", marks=needs_nouns),
    pytest.param(str(IS_A), id="is_a", marks=needs_data),
]


def facts_of(answer: tuple[int, str, str]) -> dict[str, Any]:
    code, out, err = answer
    assert code == 0, err
    return json.loads(out)  # type: ignore[no-any-return]


@pytest.mark.parametrize("hierarchy", HIERARCHIES)
@pytest.mark.parametrize("name", COUNTS)
def test_the_counts_of_the_paper_come_out_of_the_box(
    headwater: Cli, name: str, hierarchy: str
) -> None:
    levels = ",".join(map(str, COUNTS[name]))
    facts = facts_of(
        headwater(
            "labels",
            "levels",
            "--classes",
            name,
            "--levels",
            levels,
            "--hierarchy",
            hierarchy,
            "--json",
        )
    )
    assert {int(row["view"][6:]): row["classes"] for row in facts["levels"]} == COUNTS[name]
    assert facts["num_classes"] == COUNTS[name][0]


@pytest.mark.parametrize("hierarchy", HIERARCHIES)
def test_the_labels_of_the_full_list_and_its_orphans(headwater: Cli, hierarchy: str) -> None:
    facts = facts_of(
        headwater(
            "labels",
            "levels",
            "--classes",
            "imagenet21k",
            "--levels",
            "0-10",
            "--hierarchy",
            hierarchy,
            "--json",
        )
    )
    assert [row["with_several_labels"] for row in facts["levels"]] == list(IN21K_SEVERAL)
    assert [row["most_labels"] for row in facts["levels"]] == list(IN21K_MOST)
    assert [one["class"] for one in facts["orphans"]] == list(ORPHANS)
    assert facts["orphans"][0]["title"].startswith("sun")


def test_the_class_of_imagenet1k_that_the_full_list_lacks_is_named(headwater: Cli) -> None:
    facts = facts_of(
        headwater("labels", "levels", "--classes", "imagenet1k", "--levels", "0", "--json")
    )
    assert facts["missing_from_imagenet21k"] == [
        {"class": "n04399382", "title": "teddy, teddy bear"}
    ]
    code, out, _ = headwater("labels", "levels", "--classes", "imagenet1k", "--levels", "0-2")
    assert code == 0
    assert "578" in out
    assert "n04399382" in out
    assert max(map(len, out.splitlines()[:6])) <= 100


def test_a_file_of_synsets_and_a_hierarchy_of_ones_own(headwater: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("n02085620\nn02123045 tabby\n")
    found = facts_of(headwater("labels", "levels", "--classes", "mine.txt", "--json"))
    assert found["levels"][0]["classes"] == 2
    assert found["levels"][-1]["classes"] == 1, "all levels up to the root"
    (tmp_path / "edges.txt").write_text(
        "n00000009 n02085620\nn00000009 n02123045\nn00000008 n02123045\n"
    )
    own = facts_of(
        headwater("labels", "levels", "--classes", "mine.txt", "--hierarchy", "edges.txt", "--json")
    )
    assert [(row["classes"], row["with_several_labels"]) for row in own["levels"]] == [
        (2, 0),
        (2, 1),
    ]
    by_depth = facts_of(
        headwater(
            "labels",
            "levels",
            "--classes",
            "mine.txt",
            "--hierarchy",
            "edges.txt",
            "--by",
            "depth",
            "--json",
        )
    )
    assert [row["view"] for row in by_depth["levels"]] == ["depth:0", "depth:1"]


def test_a_studys_source_shows_its_images(headwater: Cli, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study.yaml", tiny())
    found = facts_of(headwater("labels", "levels", "--study", study, "--json"))
    assert [(row["view"], row["classes"]) for row in found["levels"]] == [
        ("level:0", 6),
        ("level:1", 2),
        ("level:2", 2),
    ]
    assert found["images"] == 192
    assert found["levels"][1]["images_per_class"] == {"smallest": 96, "median": 96.0, "largest": 96}


def test_a_folder_whose_classes_are_nodes_of_a_hierarchy_has_its_levels(
    headwater: Cli, tmp_path: Path
) -> None:
    for name in ("n02085620", "n02123045"):
        (tmp_path / "pets" / "train" / name).mkdir(parents=True)
        for at in range(2):
            (tmp_path / "pets" / "train" / name / f"{at}.jpg").write_bytes(b"never decoded")
    (tmp_path / "two.txt").write_text("animal n02085620\nanimal n02123045\npurring n02123045\n")
    words = tiny(methods=["supervised"], labels=["level:0"], sources=["pets"])
    words["data"]["pets"] = {
        "kind": "folder",
        "path": str(tmp_path / "pets"),
        "hierarchy": str(tmp_path / "two.txt"),
    }
    study = write_study(tmp_path / "study.yaml", words)
    found = facts_of(headwater("labels", "levels", "--study", study, "--json"))
    assert [
        (row["view"], row["classes"], row["with_several_labels"]) for row in found["levels"]
    ] == [("level:0", 2, 0), ("level:1", 2, 1)]
    assert found["levels"][1]["images_per_class"]["largest"] == 4, "animal"
    described = facts_of(
        headwater("labels", "describe", study, "--views", "level:0,level:1", "--json")
    )
    assert described["sources"][0]["views"][1]["multi_label_share"] == 0.5


def test_a_hierarchy_alone_shows_its_leaves_and_says_which_ranks_do_not_nest(
    headwater: Cli, tmp_path: Path
) -> None:
    (tmp_path / "taxa.csv").write_text("family,genus,species\nF,G,a\nF,G,b\nF,H,c\n")
    facts = facts_of(
        headwater("labels", "levels", "--hierarchy", "taxa.csv", "--by", "rank", "--json")
    )
    assert [(row["view"], row["classes"]) for row in facts["levels"]] == [
        ("rank:family", 1),
        ("rank:genus", 2),
        ("rank:species", 3),
    ]
    assert facts["not_nested"] == []
    category = {
        "supercategory": "Insects",
        "kingdom": "A",
        "phylum": "P",
        "class": "C",
        "order": "O",
        "family": "F",
        "genus": "G",
    }
    taxa = [
        ("Fish", "P", "one"),
        ("Insects", "P", "two"),
        ("Fish", "Q", "three"),
    ]  # a phylum in two supercategories, a supercategory in two phyla
    rows = [
        {**category, "id": at, "supercategory": over, "phylum": phylum, "class": phylum + "c",
        "order": phylum + "o", "family": phylum + "f",
         "genus": phylum + "g", "specific_epithet": word, "name": f"{phylum}g "
         f"{word}", "common_name": word, "image_dir_name": f"{at:05d}_{word}"}
        for at, (over, phylum, word) in enumerate(taxa)
    ]  # fmt: skip
    (tmp_path / "train.json").write_text(json.dumps({"categories": rows}))
    facts = facts_of(
        headwater("labels", "levels", "--hierarchy", "train.json", "--by", "rank", "--json")
    )
    assert {row["view"]: row["classes"] for row in facts["levels"]}["rank:supercategory"] == 2
    assert any("supercategory" in sentence for sentence in facts["not_nested"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "either --study"),
        (("--classes", "imagenet21k", "--study", "demo"), "either --study"),
        (("--hierarchy", "wordnet", "--study", "demo"), "either --study"),
        (("--classes", "imagenet2k"), "neither a list of classes"),
        (("--classes", "imagenet1k", "--levels", "x"), "no list of levels"),
        (("--classes", "imagenet1k", "--levels", "5-2"), "no list of levels"),
        (("--classes", "imagenet1k", "--levels", "0-999999999"), "no list of levels"),
        (("--classes", "imagenet1k", "--by", "size"), "none of level, depth, rank"),
        (("--classes", "imagenet1k", "--by", "rank"), "no named ranks"),
        (("--classes", "imagenet1k", "--by", "rank", "--levels", "0"), "are numbers"),
        (("--classes", "imagenet1k", "--hierarchy", "none.txt"), "neither a file nor a hierarchy"),
        (("--classes", "imagenet1k", "--hierarchy", "cifar100"), "not in the hierarchy"),
        (("--study", "demo", "--source", "nobody"), "no such source"),
        (("--study", "demo", "--source", "paint", "--by", "rank"), "without ranks"),
        (("--study", "demo", "--source", "paint", "--levels", "7"), "there is no level:7"),
        (("--study", "nothing.yaml"), "no such study file"),
    ],
)
def test_mistakes_are_one_line(headwater: Cli, words: tuple[str, ...], told: str) -> None:
    refused(headwater("labels", "levels", *words), told)
