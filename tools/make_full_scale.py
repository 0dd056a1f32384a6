"""Rebuilds the tables of docs/full_scale.md from the studies and the recipes of their sets:

    python tools/make_full_scale.py

Nothing is opened but these: the page says what the two papers would cost before any of their data
is there. A test checks that the page holds what this script writes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.cost.gpus import GPUS, UTILISATION
from headwater.cost.outlined import CONVOLUTIONS, outlined_cost
from headwater.plan.outline import Outline, OutlinedArm, outline
from headwater.study import Study

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "full_scale.md"
ON = ("a100", "h100")


@dataclass(frozen=True)
class Reported:
    """What a paper says of an arm's training."""

    what: str
    arm: str
    """Our arm, as the outline calls it."""
    images_seen: int
    how: str


STUDIES: dict[str, tuple[str, tuple[Reported, ...]]] = {
    "hong2023/imagenet21k": (
        "ViT-B/16, 90 epochs, batch 4096 [recalled]; no hours",
        (
            Reported(
                "ImageNet-21k, leaves",
                "supervised · imagenet21k · level:0",
                90 * 14_197_122,
                "90 epochs [recalled] of the whole set",
            ),
        ),
    ),
    "hong2023/inat2021": (
        "ResNet-34, 90 epochs and 90 of fine-tuning [recalled]; no hours",
        (
            Reported(
                "iNaturalist mini, species",
                "supervised · inat · rank:species",
                90 * 500_000,
                "90 epochs [recalled] of 500,000 images",
            ),
        ),
    ),
    "entezari2023/seven_sources": (
        "ResNet-50, 16 epochs for CLIP and SimCLR, 90 for supervised ImageNet [recalled]; no hours",
        (
            Reported(
                "CLIP, LAION 2.7M",
                "clip · laion · captions · 2700000 images",
                16 * 2_700_000,
                "16 epochs [recalled] of 2.7 M pairs",
            ),
            Reported(
                "supervised ImageNet",
                "supervised · imagenet · level:0",
                90 * 1_281_167,
                "90 epochs [recalled] of 1.28 M images",
            ),
        ),
    ),
    "entezari2023/size_series": (
        "ResNet-50, 16 epochs [recalled]; 400M and 2B are checkpoints of others; no hours",
        (
            Reported(
                "CLIP, LAION 15M",
                "clip · laion · captions · 15504742 images",
                16 * 15_504_742,
                "16 epochs [recalled] of 15,504,742 pairs",
            ),
            Reported(
                "supervised ImageNet",
                "supervised · imagenet · level:0",
                90 * 1_281_167,
                "90 epochs [recalled] of 1.28 M images",
            ),
            Reported(
                "CLIP, YFCC 0.5M",
                "clip · yfcc · captions · 500000 images",
                16 * 500_000,
                "16 epochs [recalled] of 0.5 M pairs; small sources had 32 [recalled]",
            ),
        ),
    ),
    "entezari2023/imagenet_captions": (
        "ResNet-50, 90 epochs [recalled]; no hours",
        (
            Reported(
                "CLIP, ImageNet-Captions",
                "clip · photos · captions",
                90 * 463_622,
                "90 epochs [recalled] of 463,622 pairs",
            ),
        ),
    ),
}
"""By study: what its paper reports of training, in words, and arm by arm."""


def outlined(name: str) -> Outline:
    found = outline(Study.load(ROOT / "studies" / f"{name}.yaml"), None, asked=True)
    assert found is not None, name
    return found


def utilisation(study: Study) -> float:
    """0.35 for Vision Transformers, 0.2 for convolutional networks (headwater.cost.gpus)."""
    return UTILISATION if study.backbone.startswith("vit_") else CONVOLUTIONS


def hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def table(head: list[str], body: list[list[str]], left: int = 1) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * left + "---:|" * (len(head) - left)
    for row in body:
        yield "| " + " | ".join(row) + " |"


def costs() -> str:
    body = []
    for name, (paper, _) in STUDIES.items():
        found = outlined(name)
        share = utilisation(found.study)
        of_gpu = [outlined_cost(found, GPUS[gpu], share)[0] for gpu in ON]
        cost = of_gpu[0]
        disk = "-" if cost.encoded_gb is None else f"{cost.encoded_gb:,.0f}"
        body.append(
            [
                f"[{name}](../studies/{name}.yaml)",
                paper,
                f"{len(found.arms):,}",
                f"{found.num_cells:,}",
                f"{cost.pretrain_images:,}",
                f"{cost.finetune_images:,}",
                f"{share:g}",
                *(f"{hours(each.gpu_hours)} ({hours(each.pretrain_gpu_hours)})" for each in of_gpu),
                disk,
                f"{cost.cache_gb + cost.tasks_cache_gb:,.0f}",
            ]
        )
    head = ["study", "what the paper reports", "arms", "cells", "images seen", "fine-tuned on"]
    head += ["utilisation", *(f"{GPUS[gpu].title}, hours" for gpu in ON), "GB", "GB of pixels"]
    return "\n".join(table(head, body, left=2))


def title(arm: OutlinedArm) -> str:
    return arm.words.title


def compared() -> str:
    body = []
    for name, (_, reported) in STUDIES.items():
        arms = {title(arm): arm for arm in outlined(name).arms}
        for each in reported:
            arm = arms[each.arm]
            body.append(
                [
                    each.what,
                    each.how,
                    f"`{each.arm}`",
                    f"{each.images_seen:,}",
                    f"{arm.images_seen:,}",
                    f"{arm.images_seen / each.images_seen:.2f}",
                ]
            )
    head = ["arm of the paper", "its training", "ours", "images seen there", "here", "ratio"]
    return "\n".join(table(head, body, left=3))


def tags(value: Any) -> Iterator[str]:
    """The tags of all numbers in a recipe."""
    if isinstance(value, dict):
        if "value" in value:
            yield str(value["source"]).split("]")[0].lstrip("[")
        for inner in value.values():
            yield from tags(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from tags(inner)


TAGS = ("paper", "published", "counted", "recalled", "ours")


def origins() -> str:
    body = []
    recipes = {}
    for name in STUDIES:
        for known in outlined(name).data.values():
            if known.recipe is not None:
                recipes[known.recipe.name] = known.recipe
    for name, recipe in sorted(recipes.items()):
        counts = Counter(tags(recipe.model_dump(mode="json")))
        used = ", ".join(dict.fromkeys(f"{each.value:,}" for each in recipe.used))
        numbers = [f"{counts[tag]}" for tag in TAGS]
        dead = "" if recipe.dead_links is None else f"{recipe.dead_links.value:.1%}"
        body.append(
            [f"`{name}`", f"{recipe.images.value:,}", used, dead, f"{recipe.form}", *numbers]
        )
    head = ["set", "images as published", "in the paper", "dead links, ours", "form"]
    return "\n".join(table([*head, *(f"[{tag}]" for tag in TAGS)], body))


def gpus() -> str:
    body = [
        [f"`{gpu.name}`", gpu.title, gpu.source, f"{gpu.tflops:,g}"]
        for gpu in sorted(GPUS.values(), key=lambda gpu: gpu.tflops)
    ]
    head = ["`--gpu`", "GPU", "where the peak is from [recalled]", "peak, TFLOP/s, dense"]
    return "\n".join(table(head, body, left=3))


BLOCKS = {"costs": costs, "compared": compared, "origins": origins, "gpus": gpus}


def with_blocks(text: str) -> str:
    """The page's text with its tables made anew. Raises ValueError where a mark is not there."""
    for name, make in BLOCKS.items():
        parts = re.split(rf"(<!-- /?{name} -->\n)", text)
        if parts[1::2] != [f"<!-- {name} -->\n", f"<!-- /{name} -->\n"]:
            raise ValueError(f"{PAGE.name} should have the marks of {name} once")
        text = "".join([*parts[:2], make() + "\n", *parts[3:]])
    return text


if __name__ == "__main__":
    PAGE.write_text(with_blocks(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PAGE.name}")
