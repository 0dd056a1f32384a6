"""Recipes of known sets: they load, say where numbers are from, and agree with what is known."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from headwater.errors import InputError
from headwater.labels.hierarchies import class_list, open_hierarchy
from headwater.sources.published.registry import PUBLISHED
from headwater.sources.recipes import KnownSet, known_set, of_published, recipe_names
from headwater.study import Study

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "src" / "headwater" / "sources" / "recipes"
STUDY = "study: s\ndata: {d: %s}\nbudget: {epochs: 1}\ntasks: {t: {data: d}}\nmethods: [scratch]\n"
ASKED = {
    *("cc3m", "cc12m", "datacomp", "imagenet1k", "imagenet21k", "imagenet_captions", "inat2021"),
    *("inat2021_mini", "laion400m", "laion2b", "redcaps", "shutterstock", "wit", "yfcc15m"),
}


def test_there_is_a_recipe_of_each_source_of_the_two_papers() -> None:
    assert set(recipe_names()) == ASKED


@pytest.mark.parametrize("name", sorted(ASKED))
def test_a_recipe_says_what_the_set_is_where_it_is_had_and_how_a_copy_is_made(name: str) -> None:
    recipe = known_set(name)
    assert recipe.title and recipe.what and recipe.licence and recipe.list_at and recipe.get
    assert recipe.bytes_per_image is not None
    # WIT has splits that are not in its recipe
    assert sum(count.value for count in recipe.splits.values()) <= recipe.images.value
    assert recipe.captions or recipe.levels
    if recipe.form == "shards" and name not in ("shutterstock", "datacomp"):
        assert "img2dataset --url_list" in recipe.get


def raw(name: str) -> Any:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"images": {"value": 3, "source": "somewhere"}},
        {"images": {"value": 3, "source": "[ours]", "how": "guessed"}},
        {"images": {"value": 3, "source": "[ours]", "ours": True}},
        {"form": "zip"},
    ],
)
def test_a_number_without_a_source_and_an_unknown_key_are_refused(change: dict[str, Any]) -> None:
    KnownSet.model_validate(raw("cc12m"))
    with pytest.raises(ValidationError):
        KnownSet.model_validate(raw("cc12m") | change)


@pytest.mark.parametrize("name", ["imagenet1k", "imagenet21k"])
def test_levels_are_those_that_wordnet_gives_the_classes(name: str) -> None:
    tree, classes = open_hierarchy("wordnet"), class_list(name, where="test")
    for each in known_set(name).levels:
        assert tree.counts(classes, f"level:{each.level}").labels == each.classes.value


@pytest.mark.parametrize("name", [name for name in sorted(ASKED) if known_set(name).published])
def test_a_recipe_of_a_published_set_has_its_sizes(name: str) -> None:
    recipe = known_set(name)
    assert recipe.published is not None
    entry = PUBLISHED[recipe.published]
    assert {split: count.value for split, count in recipe.splits.items()} == dict(entry.sizes)
    assert recipe.classes is not None and recipe.classes.value == entry.classes
    assert of_published(recipe.published) is recipe
    assert of_published("dtd") is None


def test_a_study_names_a_recipe_and_a_wrong_name_has_the_nearest() -> None:
    study = Study.parse(STUDY % "{kind: shards, path: x, recipe: cc12m}", "s.yaml")
    assert study.data["d"].recipe == "cc12m"  # type: ignore[attr-defined]
    for kind in ("folder", "parquet", "shards"):
        with pytest.raises(InputError, match=r"line 2: .*recipe.*did you mean 'cc12m'"):
            Study.parse(STUDY % f"{{kind: {kind}, path: x, recipe: cc-12m}}", "s.yaml")
    with pytest.raises(InputError, match="unknown key"):
        Study.parse(STUDY % "{kind: world, recipe: cc12m}", "s.yaml")
    with pytest.raises(InputError, match="is none of"):
        known_set("nothing")


def test_recipes_are_part_of_the_package() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "sources/recipes/*.yaml" in package["package-data"]["headwater"]
