"""Sockets: the axes along which Headwater is extended, and the entries that fill them.

An entry (a method, a kind of data, ...) is declared in one file of its socket's folder, as the
module's `ENTRY`. Another package adds one by an entry point in the socket's group:

    [project.entry-points."headwater.methods"]
    mine = "my_package.my_method:ENTRY"

All that a study may name is looked up here. A name that is no entry is an InputError that says the
nearest one: nothing falls through to a default. Declarations import no torch, so that reading a
study, planning it and concluding from its rows stay cheap.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import math
import pkgutil
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from headwater.errors import InputError, Location

if TYPE_CHECKING:
    from headwater.methods import Method
    from headwater.transfer.protocols import TransferProtocol


class Entry(Protocol):
    """What every declaration says of itself, whatever its socket."""

    name: str
    """What a study calls it: lower case letters, digits, hyphens, underscores."""
    version: int
    """Raised by hand when its behaviour changes. It enters the identity of what it makes, and of
    nothing else, so that a change to one entry touches no other's results.
    """
    order: float
    """Where it stands in lists, tables and charts, ascending; equal ones by name."""


E = TypeVar("E")


class Axis(Generic[E]):
    """One socket: its entries by name, in their order."""

    def __init__(self, noun: str, folder: str, group: str, kind: str) -> None:
        """`noun` is what messages call an entry, `folder` the package whose modules declare the
        built-in ones, `group` the entry points by which other packages add some, and `kind` the
        class that entries are of, as module:name.

        Modules that the package lists in its `SHARED` are no entries; neither are packages in it.
        """
        self.noun, self.folder, self.group, self.kind = noun, folder, group, kind
        self._entries: dict[str, E] | None = None
        self._packages: dict[str, str] = {}

    def entries(self) -> dict[str, E]:
        """All entries by name, in their order. Raises InputError for an entry point that cannot be
        loaded, is no whole declaration, or takes a name that is taken.
        """
        if self._entries is None:
            self._entries = self._sorted([*self._built_in(), *self._from_other_packages()])
        return self._entries

    def names(self) -> tuple[str, ...]:
        return tuple(self.entries())

    def __iter__(self) -> Iterator[E]:
        return iter(self.entries().values())

    def __contains__(self, name: object) -> bool:
        return name in self.entries()

    def __getitem__(self, name: str) -> E:
        return self.named(name)

    def named(self, name: str, *, where: str = "", at: Location | None = None) -> E:
        """The entry of a name.

        Raises InputError, blamed on `at` and opened by `where`, that lists the names and says the
        nearest one.
        """
        try:
            return self.entries()[name]
        except KeyError:
            before = f"{where}: " if where else ""
            raise InputError(f"{before}{self.unknown(name)}", at=at) from None

    def unknown(self, name: object) -> str:
        """What to say of a name that is no entry."""
        near = difflib.get_close_matches(str(name), self.names(), n=1, cutoff=0.5)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        return f"{name!r} is none of {', '.join(self.names())}{advice}"

    def package_of(self, name: str) -> str | None:
        """Which package, and which version of it, brought an entry; None for our own."""
        return self._packages.get(name) if name in self.entries() else None

    def known(self, name: str) -> str:
        """The name itself: what a study's schema checks. Raises ValueError for one that is no
        entry.
        """
        if name not in self.entries():
            raise ValueError(self.unknown(name))
        return name

    @contextmanager
    def registered(self, entry: E) -> Iterator[E]:
        """Within it there is one more entry, in this process alone: for tests and notebooks."""
        before, packages = self.entries(), dict(self._packages)
        self._entries = self._sorted([*before.values(), entry])
        self._packages[_entry(entry).name] = "registered in Python"
        try:
            yield entry
        finally:
            self._entries, self._packages = before, packages

    def _built_in(self) -> Iterator[E]:
        package = importlib.import_module(self.folder)
        shared = getattr(package, "SHARED", ())
        for module in pkgutil.iter_modules(package.__path__):
            if not module.ispkg and module.name not in shared:
                yield importlib.import_module(f"{self.folder}.{module.name}").ENTRY

    def _from_other_packages(self) -> Iterator[E]:
        for point in importlib.metadata.entry_points(group=self.group):
            try:
                entry = point.load()
            except (Exception, SystemExit) as error:
                reason = f"cannot be loaded ({type(error).__name__}: {_one_line(error)})"
            else:
                reason = self._fault(entry)
                if not reason:
                    dist = point.dist
                    brought = f"{dist.name} {dist.version}" if dist else point.value
                    self._packages[_entry(entry).name] = brought
                    yield entry
                    continue
            package = point.dist.name if point.dist else "an installed package"
            raise InputError(
                f"the {self.noun} {point.name!r} of {package} {reason}; "
                "mend or uninstall that package"
            )

    def _fault(self, entry: Any) -> str:
        """What keeps something from being an entry of this socket; nothing where all is well."""
        module, _, name = self.kind.partition(":")
        kind = getattr(importlib.import_module(module), name)
        # a method is declared as a class, all other entries as an object
        same = issubclass(entry, kind) if isinstance(entry, type) else isinstance(entry, kind)
        if not same or isinstance(entry, type) != (kind.__name__ == "Method"):
            return f"is no {module}.{name}"
        lacking = [field for field in _promised(kind) if not hasattr(entry, field)]
        lacking += sorted(getattr(entry, "__abstractmethods__", ()))
        if lacking:
            return f"does not say its {', '.join(lacking)}"
        said = _entry(entry)
        if not isinstance(said.name, str) or not _NAME.fullmatch(said.name):
            return f"is called {said.name!r}: a name has lower case letters, digits, - and _"
        if not isinstance(said.version, int) or said.version < 1:
            return f"has the version {said.version!r}, which should be 1 or more"
        if not isinstance(said.order, int | float) or not math.isfinite(said.order):
            return f"has the order {said.order!r}, which should be a number"
        return ""

    def _sorted(self, entries: Iterable[E]) -> dict[str, E]:
        by_name: dict[str, E] = {}
        for entry in sorted(entries, key=_place):
            name = _entry(entry).name
            if name in by_name:
                raise InputError(f"there are two entries for the {self.noun} {name!r}")
            by_name[name] = entry
        return by_name


_NAME = re.compile(r"[a-z][a-z0-9_-]*")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _promised(kind: type) -> Iterator[str]:
    """What a class says that its subclasses have."""
    for base in kind.__mro__:
        for field, annotation in vars(base).get("__annotations__", {}).items():
            if str(annotation).startswith("ClassVar"):
                yield field


def _entry(entry: Any) -> Entry:
    return entry  # type: ignore[no-any-return]


def _place(entry: Any) -> tuple[float, str]:
    return _entry(entry).order, _entry(entry).name


def entry_key(noun: str, name: str) -> str:
    """How the versions of a row call an entry of another package: "method mine"."""
    return f"{noun} {name}"


METHODS: Axis[type[Method]] = Axis(
    "method", "headwater.methods", "headwater.methods", "headwater.methods:Method"
)
"""Pre-training methods."""
SOURCE_KINDS: Axis[Any] = Axis(
    "kind of data",
    "headwater.sources.kinds",
    "headwater.sources",
    "headwater.sources.kinds:SourceKind",
)
"""Where images come from: the `kind` of a study's data."""
LABEL_VIEWS: Axis[Any] = Axis(
    "label view",
    "headwater.labels.kinds",
    "headwater.label_views",
    "headwater.labels.kinds:ViewKind",
)
"""What images are called: the first word of a label view."""
PROTOCOLS: Axis[TransferProtocol[Any]] = Axis(
    "protocol",
    "headwater.transfer.protocols",
    "headwater.protocols",
    "headwater.transfer.protocols:TransferProtocol",
)
"""How transfer is measured."""
ANALYSES: Axis[Any] = Axis(
    "analysis",
    "headwater.analysis.questions",
    "headwater.analyses",
    "headwater.analysis.questions:Question",
)
"""What is asked of a table of rows."""
ENGINES: Axis[Any] = Axis(
    "engine", "headwater.engines", "headwater.engines", "headwater.engines.engine:Engine"
)
"""Where and when the work of a study is done."""

AXES: tuple[Axis[Any], ...] = (METHODS, SOURCE_KINDS, LABEL_VIEWS, PROTOCOLS, ANALYSES, ENGINES)
