"""Rows of the theory as a table to look at: one line for each network, read-out, test and look."""

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
    *("arm", "study", "status", "metric", "subset", "value", "n_test", "labels", "num_labels"),
    *("constants", "recipe", "seed", "steps", "pretrain_loss", "protocol", "precision"),
)
WORLD = (
    *("d", "patches", "s", "alpha", "iota"),
    *("alpha_dagger", "sigma_zeta", "sigma_star", "hard_share"),
)
"""Constants of the data, by their names in headwater.theory.simulation.model.World."""
RECIPE = (
    *("width", "neurons", "init", "bias", "batch", "lr", "stop_loss", "max_steps"),
    *("train_samples", "label_noise", "tune_steps"),
)
"""Constants of training, by their names in headwater.theory.simulation.training.Recipe."""
FIRST = (
    *("subclasses", "labels", "seed", "easy_error", "hard_error"),
    *("train_loss", "steps", "converged", "read_out", "num_labels"),
)
"""Columns that a person looks for first."""
_ORDER = (
    *("subclasses", "labels", "seed", "arm", "final"),
    *("steps", "read_out", "sigma_star", "alpha_dagger"),
)
_Line = dict[str, Any]


def networks_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One line for each simulated network, read-out, test setting and look.

    Rows of other arms are left out. Errors are shares in [0, 1], train_loss is in nats, and what
    was not measured is NaN. Columns:

    FIRST       what a person looks for first
    study, sweep, arm, status, test_samples     sweep: those that name the network, where rows tell
    final       False for a look during training, whose `steps` are the look's; a network that was
                done before it is shown as it ended
    the constants of headwater.theory.simulation's `World` and `Recipe` by name, and precision
    what headwater.theory.simulation.measuring.responses gives, by name
    """
    import pandas as pd

    table = conform(rows, "rows") if len(rows.columns) else rows
    if not len(table):
        return pd.DataFrame(columns=[*FIRST])
    table = table[table["constants"].notna()][list(_READ)].astype(object)
    worlds, recipes = _Constants("constants", ("k", *WORLD)), _Constants("recipe", _STOPPING)
    lines: dict[tuple[Any, ...], _Line] = {}
    responses: dict[tuple[Any, ...], dict[str, float]] = {}
    for values in table.itertuples(index=False, name=None):
        row = dict(zip(_READ, values, strict=True))
        world, recipe = worlds.of(row), recipes.of(row)
        network = (row["study"], row["arm"], recipe.get("look"))
        done = row["status"] == "done"
        if row["protocol"] == RESPONSES:
            if done:
                name = row["metric"].removeprefix("response_")
                responses.setdefault(network, {})[name] = float(row["value"])
            continue
        test = (world["sigma_star"], world["alpha_dagger"], _tune_steps(row, recipe))
        line = lines.setdefault(
            (*network, row["protocol"], *test), _line_without_errors(row, world, recipe)
        )
        if done and row["metric"] == "top1":
            line[f"{row['subset']}_error"] = 1 - float(row["value"])
            line["test_samples"] = int(row["n_test"])
    for (study, arm, look, *_), line in lines.items():
        line.update(responses.get((study, arm, look), {}))
    return _ordered(pd.DataFrame(list(lines.values())))


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    if not len(table):
        return table.reindex(columns=[*FIRST])
    others = [name for name in table.columns if name not in FIRST]
    return table.reindex(columns=[*FIRST, *others]).sort_values([*_ORDER], ignore_index=True)


_STOPPING = ("stop_loss", "max_steps")


class _Constants:
    """A column of canonical JSON, each text read once."""

    def __init__(self, column: str, needed: tuple[str, ...]) -> None:
        self.column, self.needed = column, needed
        self._known: dict[str, dict[str, Any]] = {}

    def of(self, row: dict[str, Any]) -> dict[str, Any]:
        """The constants of a row by name.

        Raises InputError that names column and network where one that is needed is no number.
        """
        text = row[self.column]
        if not isinstance(text, str) or text not in self._known:
            self._known[text] = self._read(text, row["arm"])
        return self._known[text]

    def _read(self, text: Any, arm: Any) -> dict[str, Any]:
        try:
            constants = json.loads(text)
            needed = [constants[name] for name in self.needed]
        except (TypeError, ValueError, KeyError):
            constants, needed = {}, [None]
        for value in needed:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(
                    f"rows: the column {self.column!r} of network {arm} does not hold the "
                    f"constants of a simulated network: {str(text)[:80]}"
                )
        return dict(constants)


def _tune_steps(row: dict[str, Any], recipe: dict[str, Any]) -> int:
    """0 where the read-out tunes nothing."""
    return int(recipe.get("tune_steps", 0)) if row["protocol"] == "tuned" else 0


def _line_without_errors(
    row: dict[str, Any], world: dict[str, Any], recipe: dict[str, Any]
) -> _Line:
    import pandas as pd

    study, _, sweeps = row["study"].partition(": ")
    if pd.isna(row["num_labels"]):
        raise InputError(f"rows: the column 'num_labels' of network {row['arm']} is empty")
    look = recipe.get("look")
    loss = float("nan") if pd.isna(row["pretrain_loss"]) else float(row["pretrain_loss"])
    steps = row["steps"] if look is None else look
    return {
        "subclasses": int(world["k"]),
        "labels": row["labels"],
        "seed": int(row["seed"]),
        "easy_error": float("nan"),
        "hard_error": float("nan"),
        "train_loss": loss,
        "steps": None if pd.isna(steps) else int(steps),
        "converged": loss <= recipe["stop_loss"],
        "read_out": row["protocol"],
        "num_labels": int(row["num_labels"]),
        "final": look is None,
        "status": row["status"],
        "study": study,
        "sweep": sweeps,
        "arm": row["arm"],
        **{name: world[name] for name in WORLD},
        **{name: recipe.get(name) for name in RECIPE},
        "tune_steps": _tune_steps(row, recipe),
        "precision": row["precision"],
        "test_samples": None,
    }
