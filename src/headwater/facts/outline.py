"""The outline of a study whose data is not there, as plain values."""

from __future__ import annotations

from typing import Any

from headwater.cost.gpus import DEFAULT_GPU, UTILISATION
from headwater.cost.outlined import gpu_named, outlined_cost
from headwater.facts.study import task_facts
from headwater.plan.outline import KnownData, Outline, OutlinedArm


def outline_facts(
    outline: Outline, *, gpu: str | None = None, utilisation: float | None = None
) -> dict[str, Any]:
    """Arms, cells, images, FLOPs, GPU-hours, disk, what must be downloaded, and where numbers are
    from.

    Raises InputError for a GPU that is not known, a utilisation that is no share, and a backbone
    that cannot be.
    """
    chosen = gpu_named(gpu or DEFAULT_GPU)
    share = UTILISATION if utilisation is None else utilisation
    cost, notes = outlined_cost(outline, chosen, share)
    hours = dict(zip([arm.words for arm in outline.arms], cost.gpu_hours_of_arm, strict=True))
    study = outline.study
    return {
        "study": study.study,
        "question": study.question,
        "outline": True,
        "data": [_data_facts(outline, known) for known in outline.data.values()],
        "missing": [
            {"data": each.name, "title": each.title, "path": each.written, "advice": each.advice}
            for each in outline.missing
        ],
        "arms": [
            {
                **arm.words.words(),
                "images": arm.images,
                "classes": arm.classes,
                "images_seen": arm.images_seen,
                "steps": arm.steps,
                "cells": sum(outline.cells[arm.words].values()),
                "gpu_hours": hours[arm.words],
            }
            for arm in outline.arms
        ],
        "supports": [_support(arm) for arm in outline.supports],
        "tasks": list(map(task_facts, outline.tasks.values())),
        "cells": outline.num_cells,
        "gpu": {
            "name": chosen.name,
            "title": chosen.title,
            "tflops": chosen.tflops,
            "source": chosen.source,
            "utilisation": share,
        },
        "cost": cost.as_dict(),
        "notes": [*outline.notes, *notes],
    }


def _support(arm: OutlinedArm) -> dict[str, Any]:
    return {**arm.words.words(), "images": arm.images, "images_seen": arm.images_seen}


def _data_facts(outline: Outline, known: KnownData) -> dict[str, Any]:
    recipe = known.recipe
    facts: dict[str, Any] = {
        "data": known.name,
        "title": known.title,
        "recipe": None if recipe is None else recipe.name,
        "there": known.there,
        "images": dict(known.splits),
        "images_from": known.source,
        "used_by": {},
        "whole_gb": None,
        "gb_from": None,
        "levels": [],
    }
    if recipe is not None:
        facts["used_by"] = {used.paper: used.value for used in recipe.used}
        facts["levels"] = [
            {"level": each.level, "rank": each.rank, **each.classes.model_dump(exclude={"how"})}
            for each in recipe.levels
        ]
        if recipe.bytes_per_image is not None:
            facts["whole_gb"] = recipe.bytes_per_image.value * recipe.expected_images / 1e9
            size = recipe.bytes_per_image
            facts["gb_from"] = " ".join(filter(None, (size.source, size.how)))
    return facts
