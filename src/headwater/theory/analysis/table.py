"""Rows of the theory as a table to look at: one line for each simulated network, read-out, test
setting and look.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from headwater.errors import InputError
from headwater.rows import conform

if TYPE_CHECKING:
    import pandas as pd

RESPONSES = "responses"
"""The protocol of the cells that read neurons and no test sample."""
_READ = (
    "arm", "study", "status", "metric", "subset", "value", "n_test", "labels", "num_labels", "constants", "recipe", "seed", "steps", "pretrain_loss",
    "protocol", "precision",
)  # fmt: skip
WORLD = (
    "d",
    "patches",
    "s",
    "alpha",
    "iota",
    "alpha_dagger",
    "sigma_zeta",
    "sigma_star",
    "hard_share",
)
RECIPE = (
    "width",
    "neurons",
    "init",
    "bias",
    "batch",
    "lr",
    "stop_loss",
    "max_steps",
    "train_samples",
    "label_noise",
    "tune_steps",
)
FIRST = (
    "subclasses",
    "labels",
    "seed",
    "easy_error",
    "hard_error",
    "train_loss",
    "steps",
    "converged",
    "read_out",
    "num_labels",
)
"""Columns that a person looks for first."""


def networks_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line for each simulated network, read-out, test setting and look; rows of other arms are
    left out.

    Columns: `FIRST`; study, sweep (those that name the network, where rows tell), arm, status,
    test_samples; final (False for a look during training, whose `steps` are the look's: a network
    that was done before it is shown as it ended); the constants of `World` and `Recipe` of
    headwater.theory by name, with precision; and what headwater.theory.simulation.measuring.responses gives,
    by name. Errors are shares in [0, 1]; train_loss in nats; what was not measured is NaN.
    """
    import pandas as pd

    table = conform(rows, "rows") if len(rows.columns) else rows
    if not len(table):
        return pd.DataFrame(columns=[*FIRST])
    table = table[table["constants"].notna()]
    known: dict[str, dict[str, Any]] = {}
    read: dict[str, dict[str, Any]] = {}
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    neurons: dict[tuple[Any, ...], dict[str, float]] = {}
    columns = list(_READ)
    for row in table[columns].astype(object).itertuples(index=False, name=None):
        one = dict(zip(columns, row, strict=True))
        world = _read(one, "constants", ("k", *WORLD), known)
        recipe = _read(one, "recipe", ("stop_loss", "max_steps"), read)
        look = recipe.get("look")
        if one["protocol"] == RESPONSES:
            if one["status"] == "done":
                neurons.setdefault((one["study"], one["arm"], look), {})[
                    one["metric"].removeprefix("response_")
                ] = float(one["value"])
            continue
        key = (
            one["study"],
            one["arm"],
            look,
            one["protocol"],
            world["sigma_star"],
            world["alpha_dagger"],
            _tune_steps(one, recipe),
        )
        line = lines.setdefault(key, _line(one, world, recipe, look))
        if one["status"] == "done" and one["metric"] == "top1":
            line[f"{one['subset']}_error"] = 1 - float(one["value"])
            line["test_samples"] = int(one["n_test"])
    for key, line in lines.items():
        line.update(neurons.get(key[:3], {}))
    found = pd.DataFrame(list(lines.values()))
    order = (
        [*FIRST, *[name for name in found.columns if name not in FIRST]] if len(found) else [*FIRST]
    )
    found = found.reindex(columns=order)
    sort = [
        "subclasses",
        "labels",
        "seed",
        "arm",
        "final",
        "steps",
        "read_out",
        "sigma_star",
        "alpha_dagger",
    ]
    return found.sort_values(sort, ignore_index=True) if len(found) else found


def _read(
    one: dict[str, Any], column: str, needed: tuple[str, ...], known: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """The canonical JSON of a cell as plain numbers, read once.

    Raises InputError that names column and network for anything else.
    """
    text = one[column]
    if isinstance(text, str) and text in known:
        return known[text]
    try:
        found = json.loads(text)
        whole = {name: found[name] for name in needed}
    except (TypeError, ValueError, KeyError):
        whole = {"": None}
    if any(
        isinstance(value, bool) or not isinstance(value, int | float) for value in whole.values()
    ):
        raise InputError(
            f"rows: the column {column!r} of network {one['arm']} does not hold the constants of a "
            f"simulated network: {str(text)[:80]}"
        )
    known[text] = found
    return dict(found)


def _tune_steps(one: dict[str, Any], recipe: dict[str, Any]) -> int:
    """0 where the read-out tunes nothing."""
    return int(recipe.get("tune_steps", 0)) if one["protocol"] == "tuned" else 0


def _line(
    one: dict[str, Any], world: dict[str, Any], recipe: dict[str, Any], look: int | None
) -> dict[str, Any]:
    import pandas as pd

    study, _, sweeps = one["study"].partition(": ")
    if pd.isna(one["num_labels"]):
        raise InputError(f"rows: the column 'num_labels' of network {one['arm']} is empty")
    loss = float("nan") if pd.isna(one["pretrain_loss"]) else float(one["pretrain_loss"])
    steps = one["steps"] if look is None else look
    return {
        "subclasses": int(world["k"]),
        "labels": one["labels"],
        "seed": int(one["seed"]),
        "easy_error": float("nan"),
        "hard_error": float("nan"),
        "train_loss": loss,
        "steps": None if pd.isna(steps) else int(steps),
        "converged": loss <= recipe["stop_loss"],
        "read_out": one["protocol"],
        "num_labels": int(one["num_labels"]),
        "final": look is None,
        "status": one["status"],
        "study": study,
        "sweep": sweeps,
        "arm": one["arm"],
        **{name: world[name] for name in WORLD},
        **{name: recipe.get(name) for name in RECIPE},
        "tune_steps": _tune_steps(one, recipe),
        "precision": one["precision"],
        "test_samples": None,
    }
