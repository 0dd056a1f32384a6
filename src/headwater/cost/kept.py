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

from headwater import digests
from headwater.cost.encoder import Measured, recipe_key
from headwater.files import write_atomic
from headwater.machine import processor
from headwater.plan import Plan, PlannedArm
from headwater.study import identity

SERVES_DAYS = 7
"""After so many days a rate is measured anew: machines change [ours]."""


def measured(plan: Plan, device_name: str, *, fresh: bool = False) -> Measured:
    """What is known of a study's encoder: kept from an earlier plan, or measured now (`fresh`: now,
    whatever is kept).

    Raises InputError, with the study's line, for a backbone that timm lacks or that does not take
    such images, and for a device that is not there.
    """
    asked = _Asked.of(plan, device_name)
    kept = None if fresh else asked.read()
    if kept is not None:
        return kept
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


def remembered(plan: Plan, device_name: str) -> Measured | None:
    """What is kept of a study's encoder from an earlier plan; None where nothing is."""
    return _Asked.of(plan, device_name).read()


@dataclass(frozen=True)
class _Asked:
    """What is asked of an encoder, and where the answer is kept."""

    arms: dict[str, PlannedArm]
    timm_names: list[str]
    split: bool
    path: Path

    @classmethod
    def of(cls, plan: Plan, device_name: str) -> _Asked:
        arms = {recipe_key(arm): arm for arm in plan.every_arm if arm.recipe is not None}
        split = any(arm.recipe is not None and arm.recipe.micro_batch for arm in arms.values())
        names = sorted({name for arm in plan.arms if (name := _timm_name(arm)) is not None})
        found = _identity(plan, list(arms), names, device_name, split)
        return cls(arms, names, split, _folder() / f"{found}.json")

    def read(self) -> Measured | None:
        kept = _read(self.path)
        if kept is None or set(kept.image_flops) != set(self.arms):
            return None
        return kept if set(kept.timm) == set(self.timm_names) else None


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
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "headwater" / "encoders"


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
