"""docs/study.md shows all of the schema, and what it shows is a study."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import BaseModel

from headwater.registry import PROTOCOLS
from headwater.sources.kinds.mix import MixData
from headwater.sources.kinds.view import Like, Score, ViewData
from headwater.study import (
    Augmentation,
    Budget,
    Decide,
    Features,
    FolderData,
    HuggingFaceData,
    Noise,
    OnlineProbe,
    ParquetData,
    Prices,
    Protocols,
    PublishedData,
    Recipes,
    ShardsData,
    SourceUse,
    Study,
    TaskUse,
    TorchvisionData,
    ViewUse,
    WorldData,
)

pytestmark = pytest.mark.docs
PAGE = Path(__file__).parents[2] / "docs" / "study.md"
BLOCK = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]


def written(
    value: object, found: dict[type[BaseModel], set[str]]
) -> dict[type[BaseModel], set[str]]:
    """The keys that a study gives, by the model that they belong to."""
    if isinstance(value, BaseModel):
        found.setdefault(type(value), set()).update(value.model_fields_set)
        for name in type(value).model_fields:
            written(getattr(value, name), found)
    elif isinstance(value, Mapping | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            written(inner, found)
    return found


def test_the_page_shows_every_key_of_the_schema_in_a_study_that_loads() -> None:
    found = written(Study.parse(BLOCK, "docs/study.md"), {})
    blocks = [model for model in found if model.__name__.endswith("_recipe")]
    for block in blocks:  # a method's settings are shown under its own name
        found[Recipes] |= found.pop(block)
    data = {FolderData, ParquetData, PublishedData, ShardsData, TorchvisionData, WorldData}
    data |= {HuggingFaceData, MixData, ViewData, Score, Like}
    protocols = {Protocols, *(protocol.words for protocol in PROTOCOLS)}
    parts = (
        data
        | protocols
        | {
            Study,
            SourceUse,
            TaskUse,
            ViewUse,
            Features,
            Noise,
            OnlineProbe,
            Budget,
            Decide,
            Prices,
            Recipes,
            Augmentation,
        }
    )
    assert set(found) == parts
    for model, keys in found.items():
        assert keys == ({"epochs"} if model is Budget else set(model.model_fields)), model


@pytest.mark.parametrize("name", ["probe", "knn", "finetune", "lpft"])
def test_the_page_shows_the_defaults_of_a_protocol(name: str) -> None:
    """But for shots, draws and tasks, whose defaults would show nothing; ridge's 45 strengths and
    the prompts of class names are told in words.
    """
    shown = Study.parse(BLOCK, "docs/study.md").protocols.asked(name)
    told = {"shots": ("full",), "draws": 1, "tasks": None}
    assert shown.model_copy(update=told) == PROTOCOLS[name].words()


def test_the_page_names_the_other_budgets_beside_the_one_that_it_shows() -> None:
    line = next(line for line in BLOCK.splitlines() if line.startswith("budget:"))
    assert all(name in line for name in Budget.model_fields)
