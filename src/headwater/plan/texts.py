"""What is said of captions and prompts before a run: which are cut, which are one text to the
model, and which cannot teach or tell anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from headwater import recipes
from headwater.errors import InputError
from headwater.labels.captions import parse_captions
from headwater.labels.class_names import shown
from headwater.labels.prompts import Prompts
from headwater.labels.reading import heard as heard_of
from headwater.labels.tokens import CONTEXT, Heard, Reading
from headwater.plan.planned import PlannedArm
from headwater.plan.resolved import Resolved
from headwater.registry import METHODS, PROTOCOLS
from headwater.study import Arm, Study

if TYPE_CHECKING:
    from headwater.transfer.protocols import ProtocolWords

_FEW = 3
"""Names in a note."""


def check_reading(reading: Reading, images: int, field: str, where: str, key: str) -> None:
    """Raises InputError where the model would read the same of every image; `key` is where a study
    sets the context.
    """
    if not reading.one:
        return
    same = "text" if reading.told_apart == 1 else f"{reading.told_apart} texts"
    why, what = "so nothing can be learned from them", "name a field whose texts differ"
    if reading.cut:
        why = (
            f"{_of(reading.cut, reading.texts)} longer than {reading.context} tokens and cut "
            f"there, {why}"
        )
        what = f"read more of them ({key} ...}}}}), or write shorter captions"
    elif reading.blank and reading.told_apart == 1:
        why = f"there is no word in them, {why}"
    elif reading.lost:
        why = f"case, spaces and the like are not read, {why}"
    raise InputError(
        f"{where}: {field} gives all {images:,} images the same {same} as the model reads it: "
        f"{why}; {what}"
    )


def fields_read(study: Study, arms: Sequence[Arm]) -> list[tuple[str, int]]:
    """(text field, tokens of it that are read) of the arms that learn from captions, each once."""
    asked: dict[tuple[str, int], None] = {}
    for arm in arms:
        context = METHODS[arm.method].context(recipes.resolve(study, arm.method))
        if context is not None and arm.labels is not None:
            asked[parse_captions(arm.labels)[0], context] = None
    return list(asked)


def notes_on_captions(arms: Sequence[PlannedArm]) -> Iterator[str]:
    """What is lost of the captions that arms learn from, each source, size and field once."""
    told: dict[str, None] = {}
    for arm in arms:
        if arm.reading is not None and arm.words.labels is not None:
            field, _ = parse_captions(arm.words.labels)
            size = "" if arm.words.size in (None, "all") else f" at {arm.words.size} images"
            for note in reading_notes(arm.reading):
                told[f"source {arm.words.source}{size}: {field}: {note}"] = None
    yield from told


def reading_notes(reading: Reading) -> Iterator[str]:
    """What a text tower does not read of some texts, a clause each; none where it reads all."""
    if reading.cut:
        yield (
            f"{_of(reading.cut, reading.texts)} longer than {reading.context} tokens, and cut there"
        )
    if reading.blank:
        yield f"{_of(reading.blank, reading.texts)} without a word that the model reads"
    if reading.alike is not None:
        pair = dict.fromkeys(map(shown, reading.alike))
        said = "are one to it" if len(pair) > 1 else "is one to it with others"
        yield (
            f"the model tells {reading.told_apart:,} of {reading.texts:,} texts apart: "
            f"{' and '.join(pair)} {said}"
        )


def notes_on_prompts(resolved: Resolved, arms: Sequence[PlannedArm]) -> Iterator[str]:
    """What prompts say of classes with one name, for each task that is asked by prompts, and what
    the arms that are asked can read of them.

    Raises InputError where all prompts of a task are one text.
    """
    heard: dict[str, Heard] = {}
    context = max((arm.reading.context for arm in arms if arm.reading), default=CONTEXT)
    readers = {arm.words.title: arm for arm in reversed(arms) if arm.reading is not None}
    for name, templates in _asked_by_prompts(resolved).items():
        task = resolved.tasks[name]
        yield from prompt_notes(name, task.class_names, task.prompts, templates, context)
        known = sum(map(len, task.prompts.alike(templates, context=context)))
        for title, arm in readers.items():
            if name not in resolved.study.tasks_of(arm.words):
                continue
            if title not in heard:
                assert arm.captions is not None and arm.reading is not None
                heard[title] = heard_of(arm.captions, arm.reading.context)
            alike = task.prompts.alike(templates, heard[title])
            number = sum(map(len, alike))
            if number > known:
                yield (
                    f"{title}: {number:,} of {task.num_classes:,} classes of task {name} have the "
                    "prompts of another one, as it reads them: its longest caption has "
                    f"{heard[title].context} tokens, where prompts are cut, and words that no "
                    f"caption has say nothing: {_groups(alike, task.class_names)}"
                )


def _asked_by_prompts(resolved: Resolved) -> dict[str, tuple[str, ...]]:
    """The templates of each task that some cell asks by prompts."""
    study = resolved.study
    one_arm_each = {(arm.source, arm.method): arm for arm in study.arms()}
    measured: dict[tuple[str, str], ProtocolWords] = {}
    for arm in one_arm_each.values():
        measured |= {(protocol, task): words for protocol, words, task in study.measured(arm)}
    asked: dict[str, tuple[str, ...]] = {}
    for (protocol, name), words in measured.items():
        templates = PROTOCOLS[protocol].templates(words, study.protocols, resolved.tasks[name])
        if templates:
            asked[name] = templates
    return asked


def prompt_notes(
    task: str,
    classes: Sequence[str],
    prompts: Prompts,
    templates: Sequence[str],
    context: int = CONTEXT,
) -> Iterator[str]:
    """Which classes were told apart by their parents, and which have one prompt all the same.

    Raises InputError where all have.
    """
    if prompts.parted:
        said = [f"{shown(classes[at])} is {shown(prompts.names[at])}" for at in prompts.parted]
        yield (
            f"task {task}: classes of one name are told apart in prompts by their parents' names: "
            f"{_listed(said)}"
        )
    alike = prompts.alike(templates, context=context)
    if alike and len(alike[0]) == len(classes):
        raise InputError(
            f"task {task!r}: all {len(classes):,} classes have the same prompts as the model reads "
            f"them, such as {shown(templates[0].format(prompts.names[0]))}; write shorter "
            "templates, or give the classes names that differ",
            at=("tasks", task),
        )
    if alike:
        yield (
            f"task {task}: {sum(map(len, alike)):,} classes have the prompts of another one, so "
            f"prompts cannot tell them apart: {_groups(alike, classes)}; rename them, or name what "
            "they lie in (a coarser level)"
        )


def _groups(alike: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Groups of classes in words."""
    named = [shown(name) for name in classes]
    return _listed([" and ".join(map(named.__getitem__, group[:_FEW])) for group in alike])


def _of(number: int, every: int) -> str:
    """ "3 of 12 texts are"."""
    return f"{number:,} of {every:,} text{'s' * (every != 1)} {'is' if number == 1 else 'are'}"


def _listed(some: Sequence[str]) -> str:
    more = f" and {len(some) - _FEW:,} more" if len(some) > _FEW else ""
    return "; ".join(some[:_FEW]) + more
