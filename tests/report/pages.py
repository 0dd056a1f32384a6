"""One page of every kind that Headwater writes, from committed or made-up evidence."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from headwater.analysis import read_answers
from headwater.analysis.exchange import exchange_rate
from headwater.report import (
    hardness_settings,
    save_curves,
    save_exchange,
    save_hardness,
    save_label_chart,
    save_leaks,
    write_report,
)
from headwater.rows import read_rows, to_frame
from headwater.theory.report import save_theory
from tests.analysis.synthetic import one_row, rows_of_sizes, synthetic_rows
from tests.report.test_curves import arm, facts
from tests.theory.simulated_table import story

RESULTS = Path(__file__).parents[2] / "docs" / "results"
Maker = Callable[[Path], object]


def of_results(table: str) -> Maker:
    """The report of a committed study."""

    def write(path: Path) -> None:
        write_report(read_rows(RESULTS / f"{table}.parquet"), path, title=table)

    return write


def made_up(path: Path) -> None:
    """Two sources, whose wide intervals come from two seeds, and names as data may have them."""
    rows = synthetic_rows(
        seeds=2, sources=("photos", "=1+1 </b>"), tasks=("birds", "scenes"), shots=(5, None)
    )
    write_report(rows, path, title="Photos or sketches?", question="Which of the two?")


def nothing(path: Path) -> None:
    write_report(to_frame([]), path, title="Nothing")


def one_arm(path: Path) -> None:
    write_report(to_frame([one_row()]), path, title="One arm")


def all_failed(path: Path) -> None:
    row = one_row(status="failed", value=None, reason="out of memory")
    write_report(to_frame([row]), path, title="All failed")


LONG = "averylongnamewithoutaplacetobreakit" * 3


def long_names(path: Path) -> None:
    rows = synthetic_rows(
        seeds=2,
        sources=(LONG, f"{LONG}2"),
        tasks=("t" * 90, "z\u00e9bra \u0437\u0430\u0434"),
        shots=(None,),
    )
    write_report(rows, path, title=LONG, question=f"{LONG} or {LONG}?")


def all_equal(path: Path) -> None:
    rows = [
        one_row(cell=f"{level}{seed}", seed=seed, labels=f"level:{level}", task_majority=0.5)
        for seed in range(3)
        for level in range(3)
    ]
    write_report(to_frame(rows), path, title="All equal, and at the majority's rate")


def curves(path: Path) -> None:
    arms = [arm("simclr", seed=seed, knn=lambda done: 0.2 + done / 2) for seed in range(3)]
    arms += [arm("supervised", "level:1", seed=seed) for seed in range(2)]
    arms += [arm("supervised", "level:0", source="a long name of a source", size=4500)]
    save_curves(facts(*arms), path)


def label_facts(count: int) -> dict[str, Any]:
    """Facts of one source with so many views, coarse to fine."""
    directions = ("too coarse", "matches", "finer")
    views = []
    for place, expected in enumerate(directions[:count]):
        against = {
            "target": "recycling",
            "nesting": 0.9,
            "nesting_by_chance": 0.4,
            "nmi": 0.5,
            "expected": expected,
            "reason": "a reason",
        }
        views.append(
            {
                "view": f"level:{2 - place}",
                "classes": 3 * 6**place,
                "smallest": max(1, 90 // 9**place),
                "median": 300 / 6**place,
                "largest": 700 // 5**place,
                "singletons": 0,
                "note": None,
                "against": [against],
            }
        )
    target = {"target": "recycling", "classes": 6}
    return {
        "study": f"{count} views",
        "sources": [{"source": "photos", "targets": [target], "views": views}],
    }


def long_labels(path: Path) -> None:
    told = label_facts(3)
    source = told["sources"][0]
    source["source"] = LONG
    source["targets"][0]["target"] = "t" * 60
    source["views"][0]["view"] = "cluster:like level:0 within level:1 of " + LONG
    save_label_chart(told, path)


def hardness(path: Path) -> None:
    answers = read_answers(RESULTS / "hardness_answers.parquet")
    told = {"study": "photos", "hard_share": None, "settings": hardness_settings(answers)}
    save_hardness(told, path)


def exchange(path: Path) -> None:
    found = exchange_rate(rows_of_sizes(names=(LONG, "web")), "web", LONG, target=16_000)
    save_exchange(found.to_dict(), path)


def leaks(path: Path) -> None:
    """A source that shares much, one with a long name, and one in which nobody looked."""
    drawn = [_png(colour) for colour in ("firebrick", "steelblue")]
    pairs = [
        {
            "test": f"test/{LONG}/{number}.png",
            "source": f"train/{number}.png",
            "kind": "crop",
            "similarity": 0.9,
            "mirrored": number % 2 == 0,
            "pngs": drawn,
        }
        for number in range(12)
    ]
    looked = {"images": 4000, "task": "birds", "test_images": 900, "equal_files": 3}
    kinds = {"pixels": 3, "hash": 40, "crop": 7}
    found = {"by_kind": kinds, "num_flagged": 50, "share_flagged": 50 / 900, "shown": pairs}
    none = {"by_kind": dict.fromkeys(kinds, 0), "num_flagged": 0, "share_flagged": 0.0}
    save_leaks(
        {
            "study": "photos",
            "pairs": [
                {"source": "web", **looked, **found},
                {"source": LONG, **looked, **found},
                {"source": "third", **looked, **found},
                {"source": "sketches", **looked, **none},
                {"source": "unlooked", **looked},
            ],
            "own": [{**looked, **none}],
            "told": ["2 of 4,000 images of web cannot be read (empty file)"],
        },
        path,
    )


def _png(colour: str) -> str:
    stored = io.BytesIO()
    Image.new("RGB", (92, 60), colour).save(stored, format="PNG")
    return base64.b64encode(stored.getvalue()).decode()


def _labels(count: int) -> Maker:
    return lambda path: save_label_chart(label_facts(count), path)


PAGES: dict[str, Maker] = {
    "report-made-up": made_up,
    "report-nothing": nothing,
    "report-one-arm": one_arm,
    "report-all-failed": all_failed,
    "report-long-names": long_names,
    "report-all-equal": all_equal,
    "report-grocery": of_results("grocery"),
    "report-photos": of_results("photos"),
    "report-methods": of_results("methods"),
    "report-partitions": of_results("grocery_partitions"),
    "report-world": of_results("world"),
    "report-hardness": of_results("hardness"),
    "curves": curves,
    "labels-one-view": _labels(1),
    "labels-three-views": _labels(3),
    "labels-long-names": long_labels,
    "hardness": hardness,
    "exchange": exchange,
    "leaks": leaks,
    "theory": lambda path: save_theory(story(seeds=3), path),
}
QUICK = ("report-made-up", "labels-one-view")
"""Enough of both shells for every run of the tests."""
CHARTLESS = ("report-nothing", "report-all-failed", "leaks")
