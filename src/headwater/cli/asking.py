"""What commands that conclude from rows have in common: where rows come from, what is asked of
them, prices.
"""

from __future__ import annotations

import difflib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.cli.options import load
from headwater.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis import Aim, Prices
    from headwater.store import Store

RowsArgument = typer.Argument(
    metavar="ROWS|STUDY",
    help="A table of rows (.csv, .parquet, .jsonl), a store, or a study that ran.",
)
ProtocolOption = Annotated[
    str | None, typer.Option("--protocol", help="By this protocol; the study's own, if left out.")
]
ShotsOption = Annotated[
    list[str] | None,
    typer.Option("--shots", help="Images per class, or full; several are averaged."),
]
PriceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="WHAT=NUMBER",
        help="What one image, label, caption or gpu_hour costs, in a unit of money that you "
        "choose: label=0.05, gpu_hour=2; label:VIEW=0.02 for labels of one view. Left out: "
        "free; without any, costs are hours.",
    ),
]


def asked_of(
    name: str, store: Path, data_root: Path | None
) -> tuple[pd.DataFrame, Aim, Store | None]:
    """(rows, what they are to decide, where their answers are): of a table, a store or a study."""
    from headwater.analysis import Aim
    from headwater.facts.decisions import aim_of, is_table, read_table
    from headwater.steps import looks_error_of
    from headwater.store import Store

    if is_table(Path(name)):
        if not Path(name).is_dir():
            return read_table(Path(name)), Aim(), None
        kept = Store(Path(name))
        return read_table(Path(name)), Aim(error=looks_error_of(kept)), kept
    plan, opened = load(name, store, data_root)
    if opened is None:
        raise InputError(
            f"{store}: there is no store yet; run the study first: headwater run {name}"
        )
    return plan.rows(opened), aim_of(plan.study, opened), opened


def shots_of(word: str) -> int:
    """A word of `--shots` as a number; -1 for all images."""
    if word in ("full", "all"):
        return -1
    if not word.isdigit() or int(word) < 1:
        raise InputError(f"--shots: {word!r} is neither a number of images from 1 nor full")
    return int(word)


def prices_of(words: list[str], of_study: Prices | None, table: pd.DataFrame) -> Prices:
    """The study's prices, with those of the command line in their place. One price for all views
    stays that of the views that the command line does not name.
    """
    from headwater.analysis import Prices
    from headwater.analysis.configurations import configurations
    from headwater.analysis.prices import KINDS, MOST, paid_views

    given = {} if of_study is None else of_study.to_dict()
    views: dict[str, float] = {}
    said: set[str] = set()
    for word in words:
        what, _, number = word.rpartition("=")
        kind, _, view = what.partition(":")
        if kind not in KINDS or (":" in what and (kind != "label" or not view)):
            near = difflib.get_close_matches(kind, KINDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(
                f"--price: {word!r} is not WHAT=NUMBER, where WHAT is {', '.join(KINDS)} or "
                f"label:VIEW{hint}"
            )
        try:
            price = float(number)
        except ValueError:
            price = math.nan
        if not 0 <= price <= MOST:
            raise InputError(f"--price: {word!r} has no number from 0 to 1e15")
        if what in said:
            raise InputError(f"--price: {what} is given twice")
        said.add(what)
        if view:
            views[view] = price
        else:
            given[kind] = price
    if views and "label" in said:
        raise InputError("--price: give label=NUMBER, or label:VIEW=NUMBER for each view, not both")
    if views:
        before = given.get("label", 0.0)
        if not isinstance(before, dict):
            paid = paid_views(configurations(table).values()) if before else set()
            before = dict.fromkeys(sorted(paid), before)
        given["label"] = {**before, **views}
    return Prices(**given)
