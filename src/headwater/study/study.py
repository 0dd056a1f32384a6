"""A whole study in words: frozen, validated, canonical; needs no data.

A study file is YAML in the closed schema below (docs/study.md shows all of it). `Study.arms()`
crosses the axes

    sources x sizes x budgets x lr_factors x methods x (labels | captions) x seeds
                                                                   plus one `scratch` arm a seed

and every arm is transferred to every task under every protocol, at every shot count and draw. An
axis that means nothing to a method (labels to SimCLR) is not crossed with it; a source can narrow
the axes for itself, a task the sources that it is a question of. All else (backbone, image size,
recipe, grids) is one value for the study: arms differ only in what the study varies.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from headwater import plain, wings
from headwater.errors import InputError, Location
from headwater.registry import METHODS, PROTOCOLS
from headwater.study.composed import Composing, yaml_text
from headwater.study.data import Data, circle, curation, mixed_parts, named_parts
from headwater.study.decision import Decide, paid_view
from headwater.study.file import read_text, tree_of, validated
from headwater.study.protocols import ProtocolName, Protocols, default_protocols
from headwater.study.recipe import (
    Budget,
    Method,
    OnlineProbe,
    Recipes,
)
from headwater.study.shown import study_html
from headwater.study.views import ViewUse
from headwater.study.words import (
    Flag,
    Fraction,
    Misplaced,
    Name,
    Origin,
    Positive,
    Seeds,
    Several,
    Whole,
    Word,
    Words,
    canonical,
)

if TYPE_CHECKING:
    from headwater.transfer.protocols import ProtocolWords

T = TypeVar("T")
Size = Literal["all"] | Annotated[Whole, Field(ge=1)]


class SourceUse(Words):
    """A data set used for pre-training.

    `methods`, `labels`, `sizes` and `seeds` narrow the study's axes for this source.
    """

    data: Name
    splits: Several[str] = ("train",)
    """Splits whose images are pre-trained on."""
    split_column: str = "split"
    methods: Several[Method] | None = None
    labels: Several[Word] | None = None
    captions: Word | None = None
    sizes: Several[Size] | None = None
    seeds: Seeds | None = None
    """Seeds of this source's arms, among the study's: a source that is only looked at once need not
    be trained as often as the others.
    """


class TaskUse(Words):
    """A downstream task: a data set, a label view of it and its splits."""

    data: Name
    labels: Word = "level:0"
    split_column: str = "split"
    group: str | None = None
    """A column whose values (a camera, a patient, a sequence) may not lie in two splits: validation
    is cut from train by whole groups, and given splits that a group straddles are an error.
    """
    cap: Flag = False
    """Where a class has fewer images than shots: take what there is (recorded) instead of an
    error.
    """
    sources: Several[Name] | None = None
    """Sources whose arms are measured on this task; all when left out.

    Scratch arms, which have no source, are measured on every task.
    """


class Arm(Words):
    """One pre-training run, in words.

    Its id also takes in the images and labels that the words point to (headwater.plan).
    """

    method: Method
    source: str | None = None
    size: Size | None = None
    labels: str | None = None
    """Label view of a method that needs labels, caption field of one that needs captions."""
    budget: Budget | None = None
    """Its budget, in a study that has several; None where there is one for all."""
    lr_factor: float | None = None
    """Its learning rate over its method's own, in a study that has several; None where there is one
    for all, and for the method's own.
    """
    seed: int

    @property
    def title(self) -> str:
        """How a person calls it, without the seed."""
        parts = [
            self.method,
            self.source,
            self.labels,
            None if self.size in (None, "all") else f"{self.size} images",
            None if self.budget is None else self.budget.title,
            None if self.lr_factor is None else f"{self.lr_factor:g} x lr",
        ]
        return " · ".join(str(p) for p in parts if p is not None)


class Cell(Words):
    """One measurement, in words: an arm on a task under a protocol, at a shot count (None = full)
    and a draw (None at full).
    """

    task: str
    protocol: ProtocolName
    shots: int | None
    draw: int | None


def _source_shorthand(value: Any) -> Any:
    """`sources: [a, b]` means each of these data sets, with nothing narrowed."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        for i, name in enumerate(value):
            if not isinstance(name, str):
                raise ValueError(f"a list of sources holds names of data sets, not {name!r}")
            if name in value[:i]:
                raise ValueError(f"{name!r} is listed twice")
        return {name: {"data": name} for name in value}
    if isinstance(value, dict):
        return {
            name: {"data": name}
            if use is None
            else {"data": name, **use}
            if isinstance(use, dict)
            else use
            for name, use in value.items()
        }
    return value


class Study(Words, metaclass=Composing):
    """A whole study.

    `Study.load(path)` reads a file; errors name the line, the key and the nearest valid one.
    `Study(study=..., data=..., ...)`, or `Study({...})`, composes one of the same words in Python;
    InputError names the key and the nearest valid one, too.
    """

    study: Name
    """Its name."""
    question: str | None = None
    """What it is to answer, shown at the top of the report."""
    data: Annotated[dict[Name, Data], Field(min_length=1)]
    """Data sets by name."""
    sources: Annotated[dict[Name, SourceUse], BeforeValidator(_source_shorthand)] = Field(
        default_factory=dict
    )
    """What is pre-trained on: names of data sets, or a mapping with narrowed axes."""
    methods: Several[Method] = ("scratch", "supervised")
    """How arms are pre-trained; `scratch` is not, and is what the others are compared with."""
    views: dict[Name, ViewUse] = Field(default_factory=dict)
    """Label views that need more than a line of text, by the names that `labels` calls them."""
    labels: Several[Word] = ("level:0",)
    """Label views that the supervised arms are trained on."""
    captions: Word = "captions"
    """Text field that the CLIP arms are trained on, or `template` (class names in templates)."""
    sizes: Several[Size] = ("all",)
    """How many of a source's images are used, drawn by key: nested, so that a larger size holds the
    smaller one.
    """
    seeds: Seeds = (0, 1, 2)
    """Numbers, or how many: 3 means 0, 1, 2. One seed has no interval."""
    budget: Several[Budget]
    """How long every arm is pre-trained; several are an axis: every arm is trained under each."""
    lr_factors: Several[Annotated[Positive, Field(ge=1e-3, le=1e3)]] = (1.0,)
    """Learning rates as multiples of each method's own. Several are an axis: every arm is trained
    at each, and decisions take the one that validation chooses, for every arm alike.
    """
    backbone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]{1,80}$")] = "tiny"
    """A timm architecture (from scratch, never downloaded), or `tiny`: timm's test_resnet."""
    image_size: Annotated[Whole, Field(ge=8, le=1024)] = 32
    """Side of the images that networks see, in pixels."""
    patch_size: Annotated[Whole, Field(ge=1, le=256)] | None = None
    """Side of a ViT's patches, in pixels; the architecture's own when left out, which is large for
    small images.
    """
    online_probe: OnlineProbe | None = None
    """Whether held-out images of the source are classified on the way; it decides nothing."""
    recipe: Recipes = Field(default_factory=Recipes)
    """What is set otherwise than each method's own defaults."""
    tasks: Annotated[dict[Name, TaskUse], Field(min_length=1)]
    """What transfer is measured on."""
    protocols: Protocols = Field(default_factory=default_protocols)
    """How it is measured; the probe when left out."""
    decide: Decide = Field(default_factory=Decide)
    """What the decision is made by; left out, what is nearest to use."""
    leakage: Literal["auto", "near", "bytes"] = "auto"
    """Which test images the subset `unleaked` leaves out: those that pre-training has seen as equal
    files (bytes), or compressed, resized, mirrored or cropped as well (near). auto: near where a
    source and a test set make few enough pairs (headwater.plan.overlaps.LOOK_LIMIT), and it is said
    where not.
    """
    on_bad_images: Literal["error", "skip"] = "error"
    """What is done about images that cannot be read: `error` computes nothing with a source or a
    task that has one, and names them all; `skip` leaves them out before anything is drawn, and rows
    say how many.
    """
    max_bad_share: Fraction = 0.01
    """The share of a data set's images that `skip` may leave out."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 where the hardware multiplies it, else fp32."""
    _origin: Origin = PrivateAttr(default_factory=Origin)

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        """No word holds a control character: from Python too, not only from a file."""
        found = _stray_word(value)
        if found is not None:
            raise ValueError(found)
        return value

    @model_validator(mode="after")
    def _names_exist(self) -> Study:
        for at, part in named_parts(self.data):
            _known(at, part, self.data)
        round_trip = circle(self.data)
        if round_trip is not None:
            raise Misplaced(
                ("data", round_trip[0]), f"is made of itself: {' of '.join(round_trip)}"
            )
        for name, use in self.sources.items():
            _known(("sources", name, "data"), use.data, self.data)
            for i, method in enumerate(use.methods or ()):
                if method not in self.methods:
                    raise Misplaced(
                        ("sources", name, "methods", i),
                        f"{method!r} is not among the study's methods ({', '.join(self.methods)}); "
                        "add it there",
                    )
            for i, seed in enumerate(use.seeds or ()):
                if seed not in self.seeds:
                    raise Misplaced(
                        ("sources", name, "seeds", i),
                        f"seed {seed} is not among the study's seeds; add it there",
                    )
        for name, task in self.tasks.items():
            _known(("tasks", name, "data"), task.data, self.data)
            for i, source in enumerate(task.sources or ()):
                _known(("tasks", name, "sources", i), source, self.sources)
        with_text = [method for method in self.methods if METHODS[method].text_tower]
        without_text = [method for method in self.methods if not METHODS[method].text_tower]
        for protocol, words in self.protocols.items():
            for i, task_name in enumerate(words.tasks or ()):
                _known(("protocols", protocol, "tasks", i), task_name, self.tasks)
            PROTOCOLS[protocol].check(words, with_text=with_text, without_text=without_text)
        for task_name in self.decide.weights:
            _known(("decide", "weights", task_name), task_name, self.tasks)
        self._prices_are_of_labels()
        asked = [protocol for protocol, _ in self.protocols.items()]
        if self.decide.protocol is not None and self.decide.protocol not in asked:
            raise Misplaced(
                ("decide", "protocol"),
                f"the study does not measure {self.decide.protocol}, only {', '.join(asked)}",
            )
        if not self.sources and any(METHODS[method].trains for method in self.methods):
            raise Misplaced(
                ("sources",), "none is named, and every method but scratch pre-trains on one"
            )
        return self

    def _prices_are_of_labels(self) -> None:
        priced = None if self.decide.prices is None else self.decide.prices.label
        if not isinstance(priced, dict):
            return
        uses = self.sources.values()
        views = {*self.labels, *(view for use in uses for view in use.labels or ())}
        views |= {"template"} & {self.captions, *(use.captions for use in uses)}
        paid = {view for view in map(paid_view, views) if view is not None}
        known = dict.fromkeys(sorted(views | paid))
        for view in priced:
            if paid_view(view) is None:
                raise Misplaced(
                    ("decide", "prices", "label", view),
                    f"nobody has to assign the labels {view}, so they are free",
                )
            _known(("decide", "prices", "label", view), view, known)

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """Read and validate a study file.

        Raises InputError with file, line, key and the nearest valid key.
        """
        return cls.parse(read_text(Path(path)), str(path))

    @classmethod
    def parse(cls, text: str, where: str = "study") -> Study:
        """The study in a YAML text; `where` is how errors call it. Raises InputError as `load`."""
        tree = tree_of(text, where)
        wing = wings.of_keys(tree.value)
        if wing is not None:
            raise InputError(f"{where}: is {wing.title}: {wing.instead}")
        study = validated(cls, tree)
        lines = dict(tree.lines)
        if isinstance(tree.value.get("sources"), list):
            for number, name in enumerate(tree.value["sources"]):
                lines["sources", name] = tree.line(("sources", number))
        study._origin = Origin(where, lines)
        return study

    @property
    def folder(self) -> Path:
        """The folder that the study's relative paths are looked for in: of its file, or the current
        one where it came from no file.
        """
        file = self._origin.file
        return Path(file).absolute().parent if file and Path(file).is_file() else Path.cwd()

    def _repr_html_(self) -> str:
        return study_html(self)

    def to_yaml(self) -> str:
        """The study as the text of a file; `Study.parse` of it is equal to the study.

        It holds the keys that were given: what was left out keeps its default.
        """
        return yaml_text(self)

    def located(self) -> AbstractContextManager[None]:
        """Within it, an InputError that knows its place in the study (`InputError.at`) is told with
        the study file's name and line.
        """
        return self._origin.located()

    def place(
        self, source: str, axis: Literal["labels", "captions", "sizes"], value: Any
    ) -> Location:
        """Where it is written that an arm of this source has this value of an axis; the source
        itself, where no one wrote it.
        """
        own = getattr(self.sources[source], axis)
        if own is None and axis not in self.model_fields_set:
            return ("sources", source)
        at: Location = (axis,) if own is None else ("sources", source, axis)
        values = _own(own, getattr(self, axis))
        return (*at, values.index(value)) if isinstance(values, tuple) and value in values else at

    def arms(self) -> list[Arm]:
        """All arms, each once, in the order of the axes."""
        arms: dict[Arm, None] = {}
        for seed in self.seeds:
            for method in self.methods:
                if not METHODS[method].trains:
                    arms[Arm(method=method, seed=seed)] = None
            for name, use in self.sources.items():
                if seed not in _own(use.seeds, self.seeds):
                    continue
                sizes = _own(use.sizes, self.sizes)
                for size, budget, factor in product(sizes, self._budgets(), self._factors()):
                    for method in _own(use.methods, self.methods):
                        for labels in self._views(use, method):
                            arm = Arm(
                                method=method,
                                source=name,
                                size=size,
                                labels=labels,
                                budget=budget,
                                lr_factor=factor,
                                seed=seed,
                            )
                            arms[arm] = None
        return list(arms)

    def budget_of(self, arm: Arm) -> Budget:
        """How long an arm is pre-trained."""
        return self.budget[0] if arm.budget is None else arm.budget

    def curation_of(self, arm: Arm) -> str | None:
        """What an arm's source is made of, if it is a mix or a view, as canonical JSON; of a mix
        with the sources that each of its parts is by itself (`alone`).
        """
        if arm.source is None:
            return None
        name = self.sources[arm.source].data
        made = curation(self.data, name)
        if made is None:
            return None
        alone: dict[str, list[str]] = {part: [] for part in mixed_parts(self.data, name)}
        for source, use in sorted(self.sources.items()):
            if use.data in alone:
                alone[use.data].append(source)
        return canonical({**made, "alone": alone or None})

    def _budgets(self) -> tuple[Budget | None, ...]:
        """What arms say of their budget: nothing where there is one for all."""
        return self.budget if len(self.budget) > 1 else (None,)

    def _factors(self) -> tuple[float | None, ...]:
        """What arms say of their learning rate: nothing of the method's own."""
        return tuple(None if factor == 1 else factor for factor in self.lr_factors)

    def _views(self, use: SourceUse, method: Method) -> tuple[str | None, ...]:
        entry = METHODS[method]
        if not entry.trains:
            return ()
        if entry.needs == "labels":
            return _own(use.labels, self.labels)
        if entry.needs == "captions":
            return (_own(use.captions, self.captions),)
        return (None,)

    def cells(self, arm: Arm) -> list[Cell]:
        """What is measured of an arm, in words: the same of all arms of a source."""
        cells: list[Cell] = []
        for protocol, words, task in self.measured(arm):
            cells += [
                Cell(task=task, protocol=protocol, shots=shots, draw=draw)
                for shots, draw in words.cells()
            ]
        return cells

    def tasks_of(self, arm: Arm) -> list[str]:
        """The tasks that an arm is measured on, each once."""
        return list(dict.fromkeys(task for _, _, task in self.measured(arm)))

    def measured(self, arm: Arm) -> Iterator[tuple[str, ProtocolWords, str]]:
        """The protocols and tasks of an arm."""
        for protocol, words in self.protocols.items():
            if PROTOCOLS[protocol].needs_text(words) and not METHODS[arm.method].text_tower:
                continue
            for task in _own(words.tasks, tuple(self.tasks)):
                if task not in self.tasks:  # left out of the study since it is broken
                    continue
                only = self.tasks[task].sources
                if arm.source is None or only is None or arm.source in only:
                    yield protocol, words, task


def _stray_word(value: Any) -> str | None:
    """The first text, at any depth, that holds what no text may; None where there is none."""
    if isinstance(value, str):
        found = plain.stray(value, lines=True)
        return None if found is None else f"{plain.line(ascii(value), 60)} holds {found}"
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        return next(filter(None, map(_stray_word, value)), None)
    return None


def _own(own: T | None, common: T) -> T:
    """What a part of the study says for itself, or else what the study says for all."""
    return common if own is None else own


def _known(at: Location, name: str, valid: Mapping[str, Any]) -> None:
    if name not in valid:
        near = difflib.get_close_matches(name, list(valid), n=1)
        raise Misplaced(
            at,
            f"{name!r} is not defined"
            + (f"; did you mean {near[0]!r}?" if near else f"; defined are {', '.join(valid)}"),
        )
