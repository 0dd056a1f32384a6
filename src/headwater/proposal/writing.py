"""The study file, with a comment at each choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater import plain
from headwater.proposal.arms import Design, SourceArms
from headwater.proposal.splits import IndexFile
from headwater.sources.formats import counted
from headwater.study.flow import flow

MADE_BY = "# Made by: "
"""Begins the line by which a file is known as the answer to a question that was asked before."""


_SIZE = (
    "# As many images of each source, so that none wins by its size. `all` beside the number adds",
    "# arms of all images that a source has, which see each of them less often.",
)
_SEEDS = (
    "# `headwater run --until 0.95` runs the first ones of every arm, and the others of those arms",
    "# that are still in doubt.",
)
_SIDE = ("# In pixels. Twice as many show more of an image and take four times as long.",)
_BAD = (
    "# Images that cannot be read are left out before anything is drawn; every row counts them.",
)


@dataclass(frozen=True)
class Setting:
    """What the reader chose, or what this machine is best at."""

    name: str
    image_size: int
    made_by: str
    """The command, on one line."""
    max_bad_share: float
    """The largest share of a folder's images that cannot be read."""


def study_text(
    design: Design,
    epochs: int,
    setting: Setting,
    files: Mapping[str, IndexFile],
    *,
    path_of: Callable[[Path], str],
    told: Sequence[str] = (),
) -> str:
    """The YAML of a study. `files` are index files by the data that they belong to, `path_of` is
    how folders are written, `told` what stands at the top.
    """
    tasks = [each.seen for each in design.tasks]
    sources = [each.seen for each in design.sources]
    seen = {one.name: one for one in [*sources, *tasks]}
    target = " and ".join(one.name for one in tasks)
    question = f"How should {sources[0].name} be pre-trained on for {target}?"
    if len(sources) > 1:
        named = ", ".join(one.name for one in sources)
        question = f"Which of {named} should be pre-trained on, and how, for {target}?"
    lines = [
        f"{MADE_BY}{plain.name(setting.made_by)}",
        *(f"# {line}" for line in told),
        f"study: {flow(setting.name)}",
        f"question: {flow(question)}",
        "",
        "data:",
    ]
    for name, one in seen.items():
        words = {**one.words, "path": path_of(Path(str(one.words["path"])))}
        if name in files:
            words["split_file"] = f"./{files[name].name}"
        lines.append(f"  {flow(name)}: {flow(words)}")
    lines += ["", *_sources(design), f"methods: {flow(list(design.methods))}", ""]
    lines += [*_size_and_budget(design, epochs), *_SEEDS, f"seeds: {design.seeds}"]
    lines += [*_SIDE, f"image_size: {setting.image_size}"]
    if setting.max_bad_share > 0:
        lines += [*_BAD, "on_bad_images: skip"]
        lines.append(f"max_bad_share: {max(0.01, _rounded_up(setting.max_bad_share)):g}")
    lines += ["", "tasks:"]
    for one in tasks:
        lines.append(f"  {flow(one.name)}: {{data: {flow(one.name)}, labels: level:0}}")
        coarser = [level.view for level in one.levels if level.view != "level:0"]
        if coarser:
            lines.append(f"    # its other levels: {', '.join(coarser)}")
    return "\n".join([*lines, "", *_protocols(design), ""])


def _sources(design: Design) -> list[str]:
    common = [method for method in design.methods if method != "scratch"]
    lines = ["sources:"]
    for each in design.sources:
        words: dict[str, Any] = {}
        if list(each.methods) != common:
            words["methods"] = list(each.methods)
        if each.labels:
            words["labels"] = list(each.labels)
        if "clip" in each.methods and each.seen.captions != "captions":
            words["captions"] = each.seen.captions
        if each.splits != ("train",):
            words["splits"] = list(each.splits)
        lines.append(f"  {flow(each.seen.name)}: {flow(words)}    # {_source_comment(each)}")
    return lines


def _source_comment(each: SourceArms) -> str:
    levels = {level.view: level for level in each.seen.levels}
    parts = [counted(each.images, "image")]
    if each.labels:
        classes = ", ".join(f"{levels[view].classes:,}" for view in each.labels)
        parts.append(f"{classes} classes")
    if "clip" in each.methods:
        parts.append("captions")
    return "; ".join([*parts, *each.why])


def _size_and_budget(design: Design, epochs: int) -> list[str]:
    lines = []
    if design.size is not None:
        lines = [*_SIZE, f"sizes: [{design.size}]"]
    return [
        *lines,
        f"# The same for every arm: {epochs} passes over {design.images:,} images.",
        f"budget: {{images_seen: {epochs * design.images}}}",
    ]


def _protocols(design: Design) -> list[str]:
    few = [] if design.few is None else [design.few]
    lines = ["# How transfer is measured: a linear classifier on the frozen encoder, with"]
    if design.few is None:
        lines.append(
            "# all training images (a class has only one, so there is no few-shot setting)."
        )
    else:
        count = f"{design.few} images" if design.few > 1 else "one image"
        lines.append(f"# {count} of each class and with all.")
    lines += ["protocols:", f"  probe: {{shots: {flow([*few, 'full'])}, draws: 3}}"]
    if design.finetune:
        lines += [
            "  # Training of all weights; the learning rate is chosen on validation.",
            "  finetune: {shots: [full], steps: 200, lr: [3e-4, 3e-3]}",
        ]
    return lines


def _rounded_up(share: float) -> float:
    """A share that is not below another one, to two digits of a per cent."""
    return min(1.0, (int(share * 1e4) + 1) / 1e4)
