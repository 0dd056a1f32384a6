"""What was counted and measured of a study's encoder on this machine.

Loading torch and building a model takes seconds, so what was found is kept in the user's cache
(`$XDG_CACHE_HOME/headwater`, or `~/.cache/headwater`) by all that it depends on: backbone, sizes,
recipes, device, machine and versions. It serves for a week, then it is measured anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from headwater import digests
from headwater.cost.encoder import Measured, by_recipe
from headwater.cost.guess import guess as guess_of
from headwater.files import users_cache, write_atomic
from headwater.machine import processor
from headwater.plan import Plan, PlannedArm
from headwater.study import identity

if TYPE_CHECKING:
    import torch

SERVES_DAYS = 7
"""After so many days a rate is measured anew: machines change [ours]."""


def measured(
    plan: Plan, device_name: str, *, fresh: bool = False, guessed: bool = False
) -> Measured:
    """What is known of a study's encoder: kept from an earlier plan, or measured now (`fresh`: now,
    whatever is kept). With `guessed` a common encoder of which nothing is kept is not measured:
    that takes seconds, and its costs can be told without (headwater.cost.guess).

    Raises InputError, with the study's line, for a backbone that timm lacks or that does not take
    such images, and for a device that is not there.
    """
    asked = _asked(plan, device_name)
    kept = None if fresh else asked.kept()
    if kept is not None:
        return kept
    guess = None if fresh or not guessed else guess_of(plan, device_name)
    if guess is not None:
        return guess
    from headwater.cost.calibration import measure

    found = measure(
        plan.study,
        asked.arms,
        asked.timm_names,
        device_name=device_name,
        batch_is_split=asked.split,
    )
    with contextlib.suppress(OSError):  # a cache that cannot be written costs seconds, no more
        asked.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(asked.path, json.dumps(digests.sealed(asdict(found))) + "\n")
    return found


def known(plan: Plan, device: torch.device) -> Measured:
    """What is known of a study's encoder without training anything: kept, or counted, with a guess
    of its rate. Raises InputError as `measured` does.
    """
    for name in (str(device), device.type, "auto"):
        kept = _asked(plan, name).kept()
        if kept is not None and kept.device == device.type:
            return kept
    guess = guess_of(plan, str(device))
    if guess is not None:
        return guess
    from headwater.cost.calibration import count

    asked = _asked(plan, str(device))
    return count(plan.study, asked.arms, asked.timm_names, device.type)


@dataclass(frozen=True)
class _Asked:
    """What is to be known, and where it is kept."""

    path: Path
    arms: dict[str, PlannedArm]
    """One for each method and recipe, by `recipe_key`."""
    timm_names: list[str]
    split: bool
    """Whether batches are split."""

    def kept(self) -> Measured | None:
        kept = _read(self.path)
        same = (
            kept is not None
            and set(kept.image_flops) == set(self.arms)
            and set(kept.timm) == set(self.timm_names)
        )
        return kept if same else None


def _asked(plan: Plan, device_name: str) -> _Asked:
    arms = dict(by_recipe(plan.every_arm))
    split = any(arm.recipe is not None and arm.recipe.micro_batch for arm in arms.values())
    timm_names = sorted({name for arm in plan.arms if (name := _timm_name(arm)) is not None})
    name = _identity(plan, list(arms), timm_names, device_name, split)
    return _Asked(_folder() / f"{name}.json", arms, timm_names, split)


def remembered(plan: Plan, device_name: str) -> Measured | None:
    """What is kept of a study's encoder from an earlier plan; None where nothing is."""
    return _asked(plan, device_name).kept()


def _timm_name(arm: PlannedArm) -> str | None:
    """The model whose features an arm's labels are made from."""
    return None if arm.clusters is None else arm.clusters.timm


def _identity(
    plan: Plan, recipes: Sequence[str], timm_names: Sequence[str], device_name: str, split: bool
) -> str:
    study = plan.study
    return identity(
        {
            "backbone": study.backbone,
            "image_size": study.image_size,
            "patch_size": study.patch_size,
            "precision": study.precision,
            "recipes": sorted(recipes),
            "timm": list(timm_names),
            "batch_is_split": split,
            "device": [device_name, os.environ.get("CUDA_VISIBLE_DEVICES")],
            "machine": [platform.node(), processor()],
            "versions": [version(name) for name in ("headwater", "torch", "timm")],
        }
    )


def _folder() -> Path:
    return users_cache("encoders")


def _read(path: Path) -> Measured | None:
    """What a file says; None where there is none, or one that cannot be read or is too old."""
    try:
        words = digests.read_record(path)
        age = datetime.now(UTC).date() - date.fromisoformat(words["date"])
        if not 0 <= age.days <= SERVES_DAYS:
            return None
        words["timm"] = {name: (float(f), int(side)) for name, (f, side) in words["timm"].items()}
        rates = (words["forward_flops"], words["images_per_s"], words["num_features"])
        return Measured(**words) if all(rate > 0 for rate in rates) else None
    except Exception:  # what cannot be read is measured anew, whatever is wrong with it
        return None
