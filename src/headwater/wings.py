"""Wings: parts of Headwater that are not about images, each behind one line of registration.

A wing has studies, commands, rows and figures of its own, and lies in one folder. The rest of the
house knows it through its `Wing` alone and names none of them: the command line asks whose study a
file is, a worker process asks who works a unit, and `import headwater` asks which names to offer.
Take a wing's line out of `WINGS` and delete its folder, and the rest still works.

A declaration imports nothing heavy: torch and pandas wait inside its methods.
"""

from __future__ import annotations

import functools
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import pandas as pd
    import typer

WINGS: tuple[str, ...] = (
    "headwater.theory",
)  # fmt: skip
"""Packages, each with a `WING`."""


@dataclass(frozen=True)
class Options:
    """What `headwater run` and `headwater plan` were asked for, beside the study.

    A wing refuses what means nothing to its studies.
    """

    store: Path
    device: str = "auto"
    engine: str = "local"
    workers: int | None = None
    compiled: bool = False
    redo: tuple[str, ...] = ()
    report: Path | None = None
    quiet: bool = False
    as_json: bool = False


class UnitWorker(Protocol):
    """What a worker process makes of its setting: it works one unit after another."""

    def work(self, unit: dict[str, Any], tell: Callable[..., None]) -> None:
        """Work one unit. Raises what goes wrong; the process tells its parent.

        `tell(event, **fields)` sends an event on the way.
        """
        ...


class Wing(ABC):
    """A wing as the rest of the house sees it."""

    name: ClassVar[str]
    """How worker settings call it."""
    key: ClassVar[str]
    """The key of a study file that says that the study is one of the wing's."""
    title: ClassVar[str]
    """How errors call such a study: `a study of the theory`."""
    instead: ClassVar[str]
    """Which commands are for such studies, for errors of commands that are not."""
    names: ClassVar[Mapping[str, str]]
    """What the wing adds to `import headwater`: {name: `module:attribute`}."""
    studies: ClassVar[Path]
    """Folder of the studies that it ships (YAML)."""

    @abstractmethod
    def run(self, path: Path, options: Options) -> None:
        """`headwater run` of a study file of the wing.

        Raises InputError for a wrong study, and for options that mean nothing to it.
        """

    @abstractmethod
    def plan(self, path: Path, options: Options) -> None:
        """`headwater plan` of a study file of the wing. Raises InputError as `run` does."""

    @abstractmethod
    def worker(self, setting: dict[str, Any]) -> UnitWorker:
        """What a worker process works units of the wing with.

        `setting` is what the wing's engine gave to its processes. Raises InputError where the
        study has become wrong since.
        """

    @abstractmethod
    def commands(self) -> typer.Typer:
        """The wing's group of commands, which `headwater` mounts."""

    @abstractmethod
    def not_to_report(self, table: Path, rows: pd.DataFrame) -> str | None:
        """Why `headwater report` has nothing to say about rows that are the wing's alone.

        None where they are not.
        """


@functools.cache
def opened() -> tuple[Wing, ...]:
    """The declarations of all wings, in the order of `WINGS`."""
    return tuple(importlib.import_module(package).WING for package in WINGS)


def named(name: str) -> Wing:
    """The wing that a worker setting names. Raises KeyError where there is none."""
    return {wing.name: wing for wing in opened()}[name]


def of_keys(keys: Iterable[str]) -> Wing | None:
    """The wing whose study has these keys, None for a study of images."""
    given = set(keys)
    return next((wing for wing in opened() if wing.key in given), None)


def names() -> dict[str, str]:
    """What the wings add to `import headwater`: {name: `module:attribute`}."""
    added: dict[str, str] = {}
    for wing in opened():
        added |= wing.names
    return added
