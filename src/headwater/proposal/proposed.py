"""A study proposed from folders."""

from __future__ import annotations

import math
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headwater import plain
from headwater.errors import InputError
from headwater.files import write_atomic
from headwater.plan import Plan
from headwater.proposal.arms import Design, design
from headwater.proposal.folders import Opener, Seen
from headwater.proposal.splits import IndexFile, SeenTask, as_task, shared, without_test_images
from headwater.proposal.timing import Timing, fitted
from headwater.proposal.writing import MADE_BY, Setting, study_text
from headwater.sources.formats import counted
from headwater.sources.looking import Looking
from headwater.study import Study

IMAGE_SIZE = 32
"""Pixels [ours]: what a CPU trains in minutes."""
_FINETUNE_FROM_HOURS = 0.2
"""Fine-tuning is what most people do in the end, and needs time of its own [ours]."""


@dataclass(frozen=True)
class Proposal:
    """A study file, the files that belong to it, and what it was made from."""

    text: str
    files: tuple[IndexFile, ...]
    sources: tuple[Seen, ...]
    tasks: tuple[SeenTask, ...]
    timing: Timing
    made_by: str
    shared: tuple[str, ...] = ()
    """What folders have in common, a sentence each."""

    def write(self, path: str | Path) -> list[Path]:
        """Writes the study and its index files beside it; the files written. Raises InputError
        where one of them is there already, or cannot be written.
        """
        path = Path(path)
        texts = {path.parent / file.name: file.text for file in self.files} | {path: self.text}
        for each, text in texts.items():
            if each.exists() and not _says(each, text):
                raise InputError(f"{each}: exists already; name another file with --out")
        for each, text in texts.items():
            try:
                write_atomic(each, text)
            except OSError as error:
                raise InputError(f"{each}: cannot be written ({error.strerror})") from None
        return list(texts)

    def as_dict(self) -> dict[str, Any]:
        """What was seen and chosen, as plain values."""
        timing = self.timing
        return {
            "made_by": self.made_by,
            "sources": [_seen_facts(seen) for seen in self.sources],
            "tasks": [
                {
                    **_seen_facts(each.seen),
                    "classes": each.task.num_classes,
                    "train": len(each.task.train),
                    "val": len(each.task.val),
                    "test": len(each.task.test),
                }
                for each in self.tasks
            ],
            "arms": [
                {
                    "source": each.seen.name,
                    "images": each.images,
                    "methods": list(each.methods),
                    "labels": list(each.labels),
                    "why": list(each.why),
                }
                for each in timing.design.sources
            ],
            "told": [*(file.told for file in self.files), *self.shared],
            "size": timing.design.size,
            "seeds": timing.design.seeds,
            "few": timing.design.few,
            "finetune": timing.design.finetune,
            "epochs": timing.epochs,
            "images_seen": timing.images_seen,
            "hours": timing.hours,
            "workers": timing.workers,
            "images_per_s": timing.images_per_s,
            "fits": timing.fits,
            "why": [*filter(None, [timing.design.left_over]), *timing.why],
        }


def propose(
    sources: Sequence[Path],
    tasks: Sequence[Path],
    *,
    hours: float,
    made_by: str,
    name: str | None = None,
    folder: Path | None = None,
    stem: str = "study",
    cache: Path | None = None,
    image_size: int = IMAGE_SIZE,
    device: str = "auto",
    workers: int | None = None,
    looking: Looking | None = None,
) -> Proposal:
    """A study of folders: which of `sources` to pre-train on, and how, for `tasks`.

    Images are opened, all or very many (folders.MOST_OPENED). `hours` is the time that the study
    may take on this machine, `folder` where the study file will be and `stem` its name without an
    ending, `cache` where hashes and verdicts on images are kept, `made_by` the command that is
    written at its top. Raises InputError for a folder that cannot serve.
    """
    if not sources or not tasks:
        raise InputError("name the folders of the sources, and with --task those of the tasks")
    with tempfile.TemporaryDirectory(prefix="headwater-") as made:
        place = Path(made)
        opener = Opener(cache or place / "cache", looking or Looking(most=None, workers=workers))
        folders = {one.name: one for one in map(opener, tasks)}
        seen_tasks = [as_task(one) for one in folders.values()]
        seen = list({one.name: one for one in map(opener, sources)}.values())
        files = {each.seen.name: each.index for each in seen_tasks if each.index is not None}
        for one in seen:
            index = without_test_images(one, seen_tasks)
            if index is not None:
                files[one.name] = index
        if stem != "study":  # several studies of one folder have their own files
            files = {key: replace(file, name=f"{stem}.{file.name}") for key, file in files.items()}
        in_common = tuple(shared(seen, seen_tasks))
        every = _every(seen, seen_tasks)
        bad = [one.bad_share for one in every]
        setting = Setting(name or _study_name(seen_tasks), image_size, made_by, max(bad))
        for file in files.values():
            write_atomic(place / file.name, file.text)

        def planned(part: Design, epochs: int) -> Plan:
            path = place / "study.yaml"
            write_atomic(path, study_text(part, epochs, setting, files, path_of=str))
            try:
                return Plan.make(Study.load(path), cache=cache or place / "cache")
            except InputError as error:  # its line is of a file that nobody sees
                told = str(error).removeprefix(f"{path}, ").partition(": ")[2] or str(error)
                raise InputError(f"these folders make no study: {told}") from None

        timing = fitted(
            design(seen, seen_tasks, finetune=hours >= _FINETUNE_FROM_HOURS),
            planned,
            hours=hours,
            device=device,
            workers=workers,
        )
    text = study_text(
        timing.design,
        timing.epochs,
        setting,
        files,
        path_of=lambda path: _written(path, folder or Path.cwd()),
        told=[plain.line(line) for line in _at_the_top(timing, files, every)],
    )
    return Proposal(
        text, tuple(files.values()), tuple(seen), tuple(seen_tasks), timing, made_by, in_common
    )


def made_before(path: Path, made_by: str) -> bool:
    """Whether a study file is the answer to the same command. Raises InputError for one that is
    the answer to another one, or to none.
    """
    if not path.exists():
        return False
    try:
        first = path.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({plain.line(error)})") from None
    if first == f"{MADE_BY}{plain.name(made_by)}":
        return True
    raise InputError(
        f"{path}: exists already, and was made by another command; run it with `headwater run "
        f"{path} --until 0.95`, or name another file with --out"
    )


def _says(path: Path, text: str) -> bool:
    """Whether a file holds a text already, as one that was left by a run that was killed."""
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def _every(sources: Sequence[Seen], tasks: Sequence[SeenTask]) -> list[Seen]:
    of_tasks = [each.seen for each in tasks]
    return list({one.name: one for one in [*sources, *of_tasks]}.values())


def _at_the_top(timing: Timing, files: dict[str, IndexFile], seen: Sequence[Seen]) -> list[str]:
    minutes = counted(max(1, math.ceil(timing.hours * 60)), "minute")
    workers = counted(timing.workers, "worker")
    return [
        f"Cost:     about {minutes} on this machine for all seeds of all arms ({workers}, "
        f"{timing.images_per_s:,.0f} images/s each)",
        *(f"Told:     {file.told}" for file in files.values()),
        *(f"Told:     {one.opening}" for one in seen if one.opening),
        *(f"Why:      {line}" for line in timing.why),
    ]


def _study_name(tasks: Sequence[SeenTask]) -> str:
    names = "-".join(each.seen.name for each in tasks)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"for-{names}")[:60]


def _written(path: Path, folder: Path) -> str:
    """A folder as the study file names it: relative where it lies below the file's."""
    below = folder.resolve()
    if path.is_relative_to(below) and path != below:
        return f"./{path.relative_to(below).as_posix()}"
    return str(path)


def _seen_facts(seen: Seen) -> dict[str, Any]:
    return {
        "name": seen.name,
        "path": str(seen.path),
        "kind": seen.words["kind"],
        "images": len(seen.source.table),
        "unreadable": dict(Counter(seen.looked.bad.values())),
        "splits": seen.splits,
        "levels": [
            {"view": level.view, "classes": level.classes, "median": level.median}
            for level in seen.levels
        ],
        "captions": seen.captions,
        "notes": [*filter(None, [seen.opening]), *seen.source.notes, *seen.notes],
    }
