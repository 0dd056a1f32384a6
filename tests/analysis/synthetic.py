"""Made-up rows with a known truth, for any test (or screenshot) that needs a realistic table."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from headwater.rows import SCHEMA_VERSION, to_frame

TASKS = ("birds", "leaves", "scenes", "textures")
ARMS: tuple[tuple[str, str | None, int | None], ...] = (
    ("supervised", "level:2", 8),
    ("supervised", "level:1", 57),
    ("supervised", "level:0", 400),
    ("supervised", "instance", 20000),
    ("supervised", "random:57", 57),
    ("simclr", None, None),
    ("clip", "caption", 11321),
)
GAINS = {
    "level:2": 0.16,
    "level:1": 0.22,
    "level:0": 0.19,
    "instance": 0.05,
    "random:57": 0.02,
    "simclr": 0.13,
    "clip": 0.1,
    "scratch": 0.0,
}
"""What each method or label view adds to accuracy over scratch: level:1 is best by 3 points, so
that the curve over granularity is a U.
"""


def one_row(**changes: Any) -> dict[str, Any]:
    """A valid row of a supervised arm with everything that a real one has; `changes` replace
    fields.
    """
    row: dict[str, Any] = {
        "cell": "c0", "arm": "a0", "study": "made-up", "status": "done", "metric": "top1",
        "subset": "all", "value": 0.5, "n_test": 1000,
        "method": "supervised", "source": "photos", "source_fingerprint": "f" * 8, "size": "all",
        "unique_images": 20000, "labels": "level:0",
        "label_kind": "level", "label_level": 0, "num_labels": 400,
        "images_seen": 400000, "epochs": 20.0, "steps": 1563,
        "pretrain_flops": 1e14, "backbone": "tiny",
        "image_size": 32, "batch": 256, "optimiser": "adamw", "lr": 0.003, "weight_decay": 0.05,
        "recipe": "{\"lr\":0.003}", "seed": 0,
        "pretrain_loss": 1.2, "task": "birds", "task_labels": "level:0", "task_classes": 20,
        "task_majority": 0.05, "task_fingerprint": "t" * 8,
        "protocol": "finetune", "n_train": 1000, "n_val": 200, "val_protocol": "split",
        "val_missing_classes": 0, "head_init": "zeros",
        "chosen": "{\"lr\":0.001}", "grid": "{\"lr\":[0.001,0.003]}", "val_value": 0.55,
        "label_reuse": False, "leaked_test_images": 0,
        "schema": SCHEMA_VERSION, "precision": "auto", "fingerprint": "cpu bf16 1 thread",
        "versions": "{\"headwater\":\"0.1.0\"}", "seconds": 3.0,
        "host": "somewhere", "finished": "2025-01-01T00:00:00Z", "attempt": 1,
    }  # fmt: skip
    if "labels" in changes:
        row |= of_labels(changes.get("method", "supervised"), changes["labels"])
    return row | changes


def of_labels(method: str, labels: str | None) -> dict[str, Any]:
    """What a real row says of a view that is called by its text."""
    if labels is None or method == "clip":
        return {"label_kind": None, "label_level": None}
    kind = labels.replace("class", "level:0").split(":")[0] + " within" * (" within " in labels)
    plain = labels.startswith("level:") and labels[6:].isdigit()
    return {
        "label_kind": "noisy" if " with " in labels else kind,
        "label_level": int(labels[6:]) if plain else None,
    }


def arm_fields(
    method: str, labels: str | None, num_labels: int | None, source: str | None
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "method": method,
        "source": source,
        "labels": labels,
        **of_labels(method, labels),
        "num_labels": num_labels,
    }
    if method == "scratch":
        nothing = (
            "size",
            "source_fingerprint",
            "unique_images",
            "images_seen",
            "epochs",
            "steps",
            "pretrain_flops",
            "lr",
            "recipe",
            "batch",
            "optimiser",
        )
        fields |= dict.fromkeys((*nothing, "weight_decay", "pretrain_loss"))
    return fields


def synthetic_rows(
    *,
    seeds: int = 3,
    draws: int = 2,
    sources: Sequence[str] = ("photos", "sketches"),
    tasks: Sequence[str] = TASKS,
    protocols: Sequence[str] = ("probe", "finetune"),
    shots: Sequence[int | None] = (1, 5, None),
    noise: float = 0.006,
    failures: bool = True,
    reuse_task: str | None = "birds",
) -> pd.DataFrame:
    """Rows of 7 arms a source and scratch.

    The truth: `photos` + level:1 is best; the gap between sources shrinks with shots; hard test
    images gain more from fine labels; where `failures`, one cell has failed and one arm diverged on
    one task; probes of `reuse_task` re-use labels.
    """
    arms = [(*arm, source) for source in sources for arm in ARMS] + [("scratch", None, None, None)]
    rows: list[dict[str, Any]] = []
    for seed in range(seeds):
        for method, labels, count, source in arms:
            for number, task in enumerate(tasks):
                for protocol in protocols:
                    for k in shots:
                        for draw in range(draws) if k else [None]:
                            cell = {
                                "seed": seed,
                                "task": task,
                                "protocol": protocol,
                                "shots": k,
                                "draw": draw,
                            } | arm_fields(method, labels, count, source)
                            cell["arm"] = f"{method}-{labels}-{source}-{seed}"
                            cell["cell"] = (
                                f"{zlib.crc32(repr(sorted(cell.items(), key=str)).encode()):08x}"
                            )
                            if protocol == "probe":
                                cell |= {
                                    "head_init": None,
                                    "label_reuse": task == reuse_task
                                    and bool(labels)
                                    and labels.startswith("level"),
                                }
                            rows += _subsets(
                                cell, list(sources).index(source) if source else 0, number, noise
                            )
    if failures:
        rows = _with_failures(rows)
    return to_frame(rows)


def _subsets(cell: dict[str, Any], source: int, number: int, noise: float) -> list[dict[str, Any]]:
    shots = cell["shots"]
    ease = (
        {1: 0.18, 5: 0.38, None: 0.6}.get(shots, 0.45)
        - 0.03 * number
        + (0.05 if cell["protocol"] == "finetune" and shots is None else 0)
    )
    gain = GAINS.get(cell["labels"] or cell["method"], GAINS.get(cell["method"], 0.0)) * (
        0.7 if shots is None else 1.0
    )
    away = {1: 0.06, 5: 0.045, None: 0.012}.get(shots, 0.03) * source
    shared = np.random.default_rng([cell["seed"], number, shots or 0, cell["draw"] or 0]).normal(
        0, noise * 2
    )
    own = np.random.default_rng(zlib.crc32(cell["cell"].encode())).normal(0, noise)
    value = min(
        max(ease + gain - away + shared + own, 0.0), 0.9
    )  # a share, also with noise; easy images are 0.1 better
    out = [one_row(**cell, subset="all", value=float(value))]
    if number < 2:  # the last tasks have no hard marks
        hard = value - 0.2 + (0.06 if cell["labels"] == "level:0" else 0)
        out += [
            one_row(**cell, subset="hard", value=float(max(hard, 0.02)), n_test=300),
            one_row(**cell, subset="easy", value=float(value + 0.1), n_test=700),
        ]
    return out


def _with_failures(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    failed = next((r["cell"] for r in rows if r["method"] == "simclr" and r["shots"] == 5), None)
    out = []
    for row in rows:
        if row["cell"] == failed:
            row = row | {"status": "failed", "value": None, "reason": "out of memory"}
        elif (
            row["labels"] == "instance"
            and row["source"] == "sketches"
            and row["seed"] == 1
            and row["task"] == "scenes"
        ):
            row = row | {
                "status": "diverged",
                "value": None,
                "reason": "loss is not finite at step 41",
            }
        out.append(row)
    return out


SIZES_OF_ROWS = (500, 1000, 2000, 4000, 8000)


def rows_of_sizes(
    *,
    names: tuple[str, str] = ("photos", "web"),
    worth: float = 3.0,
    seeds: int = 3,
    **columns: Any,
) -> pd.DataFrame:
    """Two sources at five sizes: so many images of the second are worth one of the first."""
    rng = np.random.default_rng(0)
    made = []
    for source, share in zip(names, (1.0, worth), strict=True):
        for n, seed in itertools.product(SIZES_OF_ROWS, range(seeds)):
            error = 0.1 + 0.5 * (n / share / 500) ** -0.4 + 0.006 * rng.standard_normal()
            said = {
                "cell": f"{source}{n}{seed}",
                "arm": f"{source}{n}{seed}",
                "seed": seed,
                "source": source,
                "size": str(n),
                "unique_images": n,
                "images_seen": 40_000,
                "value": 1 - error,
                "labels": "level:0",
                "method": "supervised",
                **columns,
            }
            made.append(one_row(**said))
    return to_frame(made)


def rows_of_shots(*, worth: float = 2.0, seeds: int = 4) -> pd.DataFrame:
    """No pre-training and SimCLR at six numbers of shots and with all images: one labelled image
    after the latter is worth so many after the former.
    """
    rng = np.random.default_rng(0)
    made = []
    for method, source, better in (("scratch", None, 1.0), ("simclr", "photos", worth)):
        for shots, seed in itertools.product((1, 2, 5, 10, 20, 40, None), range(seeds)):
            error = 0.05 + 0.7 * ((shots or 200) * better) ** -0.4 + 0.004 * rng.standard_normal()
            made.append(
                one_row(
                    cell=f"{method}{shots}{seed}", arm=f"{method}{seed}", seed=seed, method=method,
                    source=source, source_fingerprint=source, labels=None, shots=shots,
                    draw=None if shots is None else 0, value=1 - error, protocol="probe",
                    label_kind=None, label_level=None, head_init=None,
                )
            )  # fmt: skip
    return to_frame(made)
