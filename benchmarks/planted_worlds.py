"""Small worlds whose best source and best labels are known before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TOLERANCE = 0.5
"""Points; smaller differences do not matter in any of them."""

POOL = 20_000
"""Images that the sources of twins draw from, anew for each seed."""

Draw = np.random.Generator
Arm = tuple[str, str]
"""Source and labels."""


@dataclass(frozen=True)
class Plant:
    """A study in which the answer is known before anything runs."""

    kind: str
    words: dict[str, Any]
    """The study, as its YAML holds it."""
    best: tuple[Arm, ...]
    """The planted best; two arms where they tie by construction."""
    roles: dict[Arm, str] = field(default_factory=dict)
    """What each arm is in its kind, so that worlds can be averaged."""

    @property
    def tie(self) -> bool:
        return len(self.best) > 1


# kinds of worlds
FAR = {
    "paint": ("night", "sketch"),
    "sketch": ("night", "paint"),
    "night": ("sketch", "mosaic"),
    "mosaic": ("night", "sketch"),
}
"""Domains whose encoders transfer badly to a task's domain (benchmarks/world_learnability.md)."""


def looks(rng: Draw) -> dict[str, float]:
    """Strengths of the code with which species are learned from 8,000 images."""
    return {
        "code_strength": round(float(rng.uniform(0.8, 1.0)), 2),
        "code_cell": round(float(rng.uniform(2.3, 2.6)), 2),
    }


def data(world: int, domain: str, collection: int, train: int, **words: Any) -> dict[str, Any]:
    return {
        "kind": "world",
        "seed": world,
        "domain": domain,
        "collection": collection,
        "train": train,
        "val": 0,
        "test": 0,
        **words,
    }


def task(world: int, domain: str, hard: float, **words: Any) -> dict[str, Any]:
    counts = {"val": 320, "test": 960, "hard_train": hard, "hard_test": hard}
    return data(world, domain, 1, 960, **{**words, **counts})


def noisy(rate: float) -> dict[str, Any]:
    """Labels of which a share was replaced by any other one."""
    return {"of": "level:0", "noise": {"kind": "symmetric", "rate": rate}}


def study(number: int, rng: Draw, **words: Any) -> dict[str, Any]:
    """A study's words around what a kind plants."""
    shots = [["full"], [5, "full"], [5, "full"], [10]][rng.integers(4)]
    draws = 1 if shots == ["full"] else 2
    return {
        "study": f"planted-{number}",
        "methods": ["supervised"],
        "seeds": int(rng.integers(3, 6)),
        "budget": {"images_seen": int(rng.integers(16, 24)) * 512},
        "recipe": {"batch": 64, "augmentation": {"crop_min": 0.6, "jitter": 0.2}},
        "leakage": "bytes",
        "decide": {"protocol": "probe", "tolerance": TOLERANCE},
        "protocols": {"probe": {"shots": shots, "draws": draws, "l2": [1e-4, 1e-3, 1e-2, 0.1, 1]}},
        **words,
    }


def home_is_best(number: int, rng: Draw) -> Plant:
    """Same labels. One source is of the tasks' domain and large, the others are much smaller, of a
    domain far away, or the same images with a part of their labels wrong.
    """
    domain = str(rng.choice(list(FAR)))
    far = str(rng.choice(FAR[domain]))
    train, look = int(rng.integers(1600, 2600)), looks(rng)
    small = int(train * rng.uniform(0.1, 0.2))
    level = str(rng.choice(["level:0", "level:0", "level:1"]))
    words = study(
        number,
        rng,
        data={
            "home": data(number, domain, 0, train, **look),
            "small": data(number, domain, 2, small, **look),
            "far": data(number, far, 0, train, **look),
            "task": task(number, domain, float(rng.choice([0.3, 0.5])), **look),
        },
        sources={
            "home": {},
            "small": {"labels": ["level:0"]},
            "far": {"labels": ["level:0"]},
        },
        views={"noisy": noisy(round(float(rng.uniform(0.05, 0.2)), 2))},
        labels=["level:0", "noisy"],
        tasks={"home-task": {"data": "task", "labels": level}},
    )
    roles = {
        ("home", "level:0"): "home",
        ("small", "level:0"): "smaller",
        ("far", "level:0"): "far",
        ("home", "noisy"): "noisy labels",
    }
    return Plant("source", words, (("home", "level:0"),), roles)


def size(rng: Draw) -> int:
    return int(rng.integers(1600, 2600))


def home_and_task(
    number: int, domain: str, train: int, hard: float, look: dict[str, float]
) -> dict[str, Any]:
    """One source, and a task of its domain."""
    return {
        "home": data(number, domain, 0, train, **look),
        "task": task(number, domain, hard, **look),
    }


def fine_is_best(number: int, rng: Draw) -> Plant:
    """One source, tasks of species, the code visible: species labels, not coarser, random or partly
    wrong ones.
    """
    domain = str(rng.choice(list(FAR)))
    look = looks(rng)
    words = study(
        number,
        rng,
        data=home_and_task(number, domain, size(rng), float(rng.choice([0.0, 0.5])), look),
        sources=["home"],
        views={"noisy": noisy(round(float(rng.uniform(0.05, 0.2)), 2))},
        labels=["level:2", "level:1", "level:0", "random:32", "noisy"],
        tasks={"species": {"data": "task", "labels": "level:0"}},
    )
    roles = {
        ("home", "level:0"): "species",
        ("home", "level:1"): "families",
        ("home", "level:2"): "orders",
        ("home", "random:32"): "random",
        ("home", "noisy"): "noisy species",
    }
    return Plant("labels", words, (("home", "level:0"),), roles)


def families(number: int, rng: Draw, kind: str, look: dict[str, float]) -> Plant:
    """One source, tasks of families whose silhouettes are whole."""
    domain = str(rng.choice(list(FAR)))
    words = study(
        number,
        rng,
        data=home_and_task(number, domain, size(rng), 0.0, look),
        sources=["home"],
        labels=["level:2", "level:1", "level:0", "random:32"],
        tasks={"families": {"data": "task", "labels": "level:1"}},
    )
    shots = [[5], [20], ["full"]][rng.integers(3)]
    words["protocols"]["probe"] |= {"shots": shots, "draws": 1 if shots == ["full"] else 3}
    roles = {
        ("home", "level:1"): "families",
        ("home", "level:0"): "species",
        ("home", "level:2"): "orders",
        ("home", "random:32"): "random",
    }
    return Plant(kind, words, (("home", "level:1"),), roles)


def coarse_is_best(number: int, rng: Draw) -> Plant:
    """Tasks of families: family labels, although the code is visible."""
    return families(number, rng, "families", looks(rng))


def code_is_invisible(number: int, rng: Draw) -> Plant:
    """Plain grey codes: what tells species apart is not in the images, so species labels are family
    labels with noise within the family.
    """
    strength = round(float(rng.uniform(0.6, 1.0)), 2)
    return families(number, rng, "blind", {"code_strength": 0.0, "lobe_strength": strength})


def home_and_fine_are_best(number: int, rng: Draw) -> Plant:
    """Two sources, three levels: the large source of the tasks' domain, with species labels."""
    domain = str(rng.choice(list(FAR)))
    away = bool(rng.integers(2))
    far = str(rng.choice(FAR[domain])) if away else domain
    train, look = int(rng.integers(1600, 2600)), looks(rng)
    other = train if away else int(train * rng.uniform(0.1, 0.2))
    levels = ["level:2", "level:1", "level:0"]
    words = study(
        number,
        rng,
        data={
            "home": data(number, domain, 0, train, **look),
            "other": data(number, far, 2, other, **look),
            "task": task(number, domain, 0.5, **look),
        },
        sources=["home", "other"],
        labels=levels,
        tasks={"species": {"data": "task", "labels": "level:0"}},
    )
    if rng.integers(2):
        words["tasks"]["families"] = {"data": "task", "labels": "level:1"}
    words["seeds"] = min(int(words["seeds"]), 4)
    names = dict(zip(levels, ("orders", "families", "species"), strict=True))
    roles = {("home", level): f"home, {name}" for level, name in names.items()}
    roles |= {("other", level): f"other, {name}" for level, name in names.items()}
    return Plant("both", words, (("home", "level:0"),), roles)


def twins(number: int, rng: Draw) -> Plant:
    """Two sources that differ by nothing but chance: each seed draws its images from one of two
    large collections of the same world and domain. A third is far away.
    """
    domain = str(rng.choice(list(FAR)))
    far = str(rng.choice(FAR[domain]))
    look = looks(rng)
    words = study(
        number,
        rng,
        data={
            "one": data(number, domain, 2, POOL, **look),
            "two": data(number, domain, 3, POOL, **look),
            "far": data(number, far, 0, POOL, **look),
            "task": task(number, domain, 0.5, **look),
        },
        sources={"one": {}, "two": {}, "far": {"labels": ["level:0"]}},
        labels=["level:0", "level:1"],
        sizes=[int(rng.integers(1200, 1800))],
        tasks={"species": {"data": "task", "labels": "level:0"}},
    )
    roles = {
        ("one", "level:0"): "one",
        ("two", "level:0"): "two",
        ("far", "level:0"): "far",
        ("one", "level:1"): "one, families",
        ("two", "level:1"): "two, families",
    }
    return Plant("twins", words, (("one", "level:0"), ("two", "level:0")), roles)


def renamed(number: int, rng: Draw) -> Plant:
    """Species labels twice, the second time under shuffled names."""
    domain = str(rng.choice(list(FAR)))
    look = looks(rng)
    words = study(
        number,
        rng,
        data=home_and_task(number, domain, size(rng), 0.5, look),
        sources=["home"],
        labels=["level:0", "shuffle:32", "level:1", "random:32"],
        tasks={"species": {"data": "task", "labels": "level:0"}},
    )
    roles = {
        ("home", "level:0"): "species",
        ("home", "shuffle:32"): "species, other names",
        ("home", "level:1"): "families",
        ("home", "random:32"): "random",
    }
    return Plant("renamed", words, (("home", "level:0"), ("home", "shuffle:32")), roles)


CYCLE: tuple[Callable[[int, Draw], Plant], ...] = (
    home_is_best,
    fine_is_best,
    home_and_fine_are_best,
    coarse_is_best,
    twins,
    home_is_best,
    home_and_fine_are_best,
    code_is_invisible,
    fine_is_best,
    renamed,
)
"""World n is of the kind in place n modulo 10, so that 40 worlds hold 8 ties."""


def planted(number: int) -> Plant:
    """World `number`: the same on every machine."""
    return CYCLE[number % len(CYCLE)](number, np.random.default_rng([16, number]))
