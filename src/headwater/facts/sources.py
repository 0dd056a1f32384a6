"""Known sets, and what a copy of one holds, as plain values. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from headwater.sources.checking import look_into, verdict_of
from headwater.sources.recipes import known_set, recipe_names


def list_facts() -> dict[str, Any]:
    """All known sets, a line each."""
    records = []
    for name in recipe_names():
        recipe = known_set(name)
        size = recipe.bytes_per_image
        records.append(
            {
                "name": name,
                "title": recipe.title,
                "images": recipe.images.value,
                "used": {used.paper: used.value for used in recipe.used},
                "classes": None if recipe.classes is None else recipe.classes.value,
                "captions": list(recipe.captions),
                "form": recipe.form,
                "gb": None if size is None else round(size.value * recipe.expected_images / 1e9),
                "licence": recipe.licence,
                "list_at": recipe.list_at,
            }
        )
    return {"sets": records}


def recipe_facts(name: str) -> dict[str, Any]:
    """All that a recipe says. Raises InputError for a name that is none."""
    recipe = known_set(name)
    return recipe.model_dump(mode="json") | {"expected_images": recipe.expected_images}


def check_facts(name: str, path: Path, *, sample: int = 64, seed: int = 0) -> dict[str, Any]:
    """What a copy holds, and whether it is whole. Of the images `sample` are decoded.

    Raises InputError for a name that is no recipe, and a path that is no folder or holds nothing.
    """
    recipe = known_set(name)
    # img2dataset counts its shards from 0
    first = 0 if "img2dataset" in recipe.get else None
    found = look_into(path, numbered_from=first, sample=sample, seed=seed)
    verdict = verdict_of(recipe, found)
    facts = asdict(found) | asdict(verdict)
    return {
        "name": name,
        "path": str(path),
        **facts,
        "expected": {
            "images": recipe.images.value,
            "without_dead_links": recipe.expected_images,
            "classes": None if recipe.classes is None else recipe.classes.value,
        },
    }
