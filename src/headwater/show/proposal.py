"""What a person sees of a proposed study: what was seen of each folder, and what was chosen."""

from __future__ import annotations

from typing import Any

from headwater import plain
from headwater.analysis.words import count
from headwater.show.console import console

_console = console()


def print_proposal(facts: dict[str, Any]) -> None:
    """The facts of `Proposal.as_dict`."""
    tasks = {each["name"] for each in facts["tasks"]}
    arms = {each["source"]: each for each in facts["arms"]}
    for seen in facts["sources"]:
        _say(f"source {seen['name']}: {_holds(seen)}")
        _say_notes(seen)
        for why in arms[seen["name"]]["why"]:
            _say(f"  {why}")
    known = {seen["name"] for seen in facts["sources"]}
    for seen in facts["tasks"]:
        sizes = f"{seen['train']:,} train, {seen['val']:,} val and {seen['test']:,} test images"
        _say(f"task {seen['name']}: {seen['classes']} classes; {sizes}")
        if seen["name"] not in known:
            _say_notes(seen)
    for line in facts["told"]:
        _say(f"note: {line}")
    if tasks & known:
        both = " and ".join(sorted(tasks & known))
        _say(f"note: {both} is source and task: its test images are in no pre-training")
    _say("")
    for each in facts["arms"]:
        _say(f"arms of {each['source']}: {_arms(each)}")
    each_of = f"{facts['size']:,} images of each source, " if facts["size"] else ""
    _say(
        f"{each_of}{facts['images_seen']:,} images seen by each arm ({facts['epochs']} epochs), "
        f"{count(facts['seeds'], 'seed')}, and arms without pre-training"
    )
    minutes = count(max(1, round(60 * facts["hours"])), "minute")
    _say(
        f"about {minutes} for all of them on this machine "
        f"({count(facts['workers'], 'worker')}); by steps (--until) it is often less"
    )
    for why in facts["why"]:
        _say(f"note: {why}")


def _holds(seen: dict[str, Any]) -> str:
    splits = {name or "in no split": images for name, images in seen["splits"].items()}
    parts = [count(seen["images"], "image")]
    if list(splits) != ["train"]:
        parts[0] += f" ({', '.join(f'{name} {images:,}' for name, images in splits.items())})"
    if seen["levels"]:
        classes = " > ".join(f"{level['classes']:,}" for level in seen["levels"])
        parts.append(f"{classes} classes")
    if seen["captions"]:
        parts.append(f"captions ({seen['captions']})")
    return "; ".join(parts)


def _say_notes(seen: dict[str, Any]) -> None:
    bad = seen["unreadable"]
    if bad:
        kinds = ", ".join(f"{kind}: {images:,}" for kind, images in bad.items())
        _say(f"  {count(sum(bad.values()), 'image')} cannot be read and left out ({kinds})")
    for note in seen["notes"]:
        _say(f"  note: {note}")


def _arms(each: dict[str, Any]) -> str:
    with_labels = f"supervised ({', '.join(each['labels'])})"
    words = {"supervised": with_labels, "clip": "CLIP", "simclr": "SimCLR"}
    return ", ".join(words[method] for method in each["methods"])


def _say(line: str) -> None:
    _console.print(plain.line(line), markup=False, highlight=False, soft_wrap=True)
