"""The first hour: how long commands take before and after a run, and whether a run knows when it
will be done.

    python benchmarks/first_hour.py --data $HEADWATER_DATA [--out benchmarks/first_hour.md]

Times are medians of three calls, each a process of its own, beside the seconds of processor that it
took: on a machine that others use the second number says what an idle one would need. Nothing is
kept of earlier plans or runs (an empty user cache and an empty store) but what a line says. The
forecast is what the run itself says of the time that is left, at 10, 25, 50 and 75 % of it, against
what was left; of three studies: the generated world, two folders of photos, photos with captions.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import yaml

WORLD: dict[str, Any] = {
    "study": "world",
    "data": {
        "paint": {"kind": "world", "domain": "paint", "train": 1500, "val": 0, "test": 0},
        "night": {"kind": "world", "domain": "night", "collection": 1, "train": 960, "test": 960},
    },
    "sources": {"paint": {}},
    "methods": ["scratch", "supervised", "clip", "simclr"],
    "labels": ["level:1", "level:0"],
    "seeds": 2,
    "budget": {"images_seen": 12_000},
    "recipe": {"batch": 64},
    "tasks": {"night": {"data": "night", "labels": "level:0"}},
    "protocols": {"probe": {"shots": [1, 5, "full"], "draws": 2}},
}
FOLDERS: dict[str, Any] = {
    "study": "folders",
    "data": {
        "objects": {"kind": "folder", "path": "caltech101"},
        "rubbish": {"kind": "folder", "path": "trashnet"},
    },
    "sources": {"objects": {}},
    "methods": ["scratch", "supervised", "simclr"],
    "labels": ["level:0"],
    "seeds": 2,
    "budget": {"images_seen": 16_000},
    "tasks": {"rubbish": {"data": "rubbish", "labels": "level:0"}},
    "protocols": {
        "probe": {"shots": [5, "full"], "draws": 2},
        "finetune": {"shots": ["full"], "steps": 100},
    },
}
CAPTIONS: dict[str, Any] = {
    "study": "captions",
    "data": {
        "aerial": {"kind": "folder", "path": "ucm_captions"},
        "rubbish": {"kind": "folder", "path": "trashnet"},
    },
    "sources": {"aerial": {"captions": "captions"}},
    "methods": ["clip", "simclr"],
    "seeds": 3,
    "budget": {"images_seen": 12_000},
    "recipe": {"batch": 64},
    "tasks": {
        "land": {"data": "aerial", "labels": "level:0"},
        "rubbish": {"data": "rubbish", "labels": "level:0"},
    },
    "protocols": {"probe": {"shots": [5, "full"], "draws": 2}},
}
CUT = {"objects": "caltech101", "leaves": "plantvillage15", "groceries": "grocery"}
CUT_TO = 5000
THREE_SETS: dict[str, Any] = {
    "study": "three-sets",
    "data": {name: {"kind": "folder", "path": f"three/{name}"} for name in CUT},
    "sources": ["objects", "leaves"],
    "methods": ["supervised"],
    "labels": ["level:0"],
    "seeds": 1,
    "budget": {"images_seen": 5000},
    "tasks": {"groceries": {"data": "groceries", "labels": "level:1"}},
    "protocols": {"probe": {}},
}
"""Of three sets of 5,000 images each, two are searched for the third one's test images, and so are
its own train and val.
"""
SHARES = (0.1, 0.25, 0.5, 0.75)
CALLS = 3


@dataclass(frozen=True)
class Took:
    """Of a process, or medians of several."""

    seconds: float
    processor: float


@dataclass(frozen=True)
class Forecast:
    """A run, and what it said of its end."""

    study: str
    seconds: float
    errors: dict[float, float]
    """By share of the run: what it said to be left, over what was left, less 1."""


class Place:
    """A folder with studies, stores and a user cache of its own."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            "HEADWATER_DATA": str(data),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "COLUMNS": "120",
        }

    def write(self, words: Mapping[str, Any]) -> str:
        path = self.folder / f"{words['study']}.yaml"
        path.write_text(yaml.safe_dump(dict(words), sort_keys=False))
        return path.name

    def call(self, *arguments: str) -> Took:
        """One command, which should end well."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "headwater", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"headwater {' '.join(arguments)}: {done.stderr[-500:]}")
        seconds = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Took(seconds, spent)

    def cut(self, data: Path) -> None:
        """Three folders of CUT_TO images each, drawn from the data root's."""
        for name, folder in CUT.items():
            with (data / folder / "labels.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))
            made = self.folder / "three" / name
            made.mkdir(parents=True)
            with (made / "labels.csv").open("w", newline="") as file:
                table = csv.DictWriter(file, list(rows[0]))
                table.writeheader()
                for row in random.Random(0).sample(rows, CUT_TO):
                    table.writerow(row)
                    (made / row["path"]).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(data / folder / row["path"], made / row["path"])

    def empty(self, name: str) -> None:
        """Forgets a store or the user cache."""
        shutil.rmtree(self.folder / name, ignore_errors=True)


def medians(call: Callable[[], Took], calls: int = CALLS) -> Took:
    took = [call() for _ in range(calls)]
    return Took(median(t.seconds for t in took), median(t.processor for t in took))


WATCHED = """
import json, sys, time
import headwater as hw
began = time.monotonic()
def watch(event):
    print(json.dumps([time.monotonic() - began, event.fields["left_s"]]), flush=True)
hw.run(sys.argv[1], store=sys.argv[2], watch=watch)
"""


def forecast(place: Place, words: Mapping[str, Any]) -> Forecast:
    """A run from nothing. It begins when it first says how long it will take."""
    study = place.write(words)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, study, f"store-{words['study']}"],
        cwd=place.folder,
        env=place.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return Forecast(str(words["study"]), told[-1][0] - told[0][0], errors_of(told))


def errors_of(told: list[list[float]]) -> dict[float, float]:
    """By share of a run, the error of what was said last before; counted down since."""
    first, last = told[0][0], told[-1][0]
    errors = {}
    for share in SHARES:
        now = first + share * (last - first)
        when, left = max((each for each in told if each[0] <= now), key=lambda each: each[0])
        errors[share] = max(0.0, left - (now - when)) / (last - now) - 1
    return errors


def measured_times(place: Place, data: Path) -> dict[str, Took]:
    """By what was called."""
    studies = {"world": place.write(WORLD), "folders": place.write(FOLDERS)}
    place.cut(data)
    leaks = place.write(THREE_SETS)
    times = {}

    def first_plan(study: str) -> Took:
        place.empty("cache")
        return place.call("plan", study)

    def first_leaks() -> Took:
        place.empty("headwater-store")
        return place.call("tasks", "leaks", leaks)

    for name, study in studies.items():
        times[f"`plan` of {name}, the first on this machine"] = medians(
            lambda study=study: first_plan(study)  # type: ignore[misc]
        )
        times[f"`run` of {name} with nothing to do"] = medians(
            lambda name=name, study=study: place.call(  # type: ignore[misc]
                "run", study, "--store", f"store-{name}"
            )
        )
    times["`tasks leaks` of three sets of 5,000, from nothing"] = medians(first_leaks)
    return times


def page(times: Mapping[str, Took], forecasts: list[Forecast], load: float) -> str:
    """The tables, as Markdown."""
    lines = [
        "# The first hour: times and forecasts",
        "",
        f"Made by `benchmarks/first_hour.py` on {os.cpu_count()} cores (load average {load:.1f}, "
        "its own work included).",
        "",
        "| command | seconds, wall | seconds of processor |",
        "|---|--:|--:|",
        *(
            f"| {name} | {took.seconds:.1f} | {took.processor:.1f} |"
            for name, took in times.items()
        ),
        "",
        "What a run said of the time that was left, against what was left:",
        "",
        "| study | seconds | " + " | ".join(f"at {share:.0%}" for share in SHARES) + " |",
        "|---|--:|" + "--:|" * len(SHARES),
    ]
    for each in forecasts:
        errors = " | ".join(f"{100 * error:+.0f} %" for error in each.errors.values())
        lines.append(f"| {each.study} | {each.seconds:.0f} | {errors} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("HEADWATER_DATA"))
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    if asked.data is None:
        parser.error("--data, or HEADWATER_DATA, names the folder of real photos")
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), asked.data.resolve())
        forecasts = [forecast(place, words) for words in (WORLD, FOLDERS, CAPTIONS)]
        for each in forecasts:
            print(each, flush=True)
        load = os.getloadavg()[0]
        text = page(measured_times(place, asked.data), forecasts, load)
    print(text)
    if asked.out is not None:
        asked.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
