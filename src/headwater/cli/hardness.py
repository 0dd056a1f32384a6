"""headwater hardness: what finer labels gain on hard and on easy test samples of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.options import (
    DEFAULT_STORE,
    DataOption,
    JsonOption,
    StoreOption,
    load,
    print_json,
)
from headwater.errors import InputError


def hardness(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY|ANSWERS",
            help="A study (YAML) whose cells are in the store, or a table that --answers wrote.",
        ),
    ],
    coarse: Annotated[
        str | None,
        typer.Option(
            "--coarse",
            metavar="VIEW",
            help="Label view to compare with; the task's own level when left out.",
        ),
    ] = None,
    fine: Annotated[
        str | None,
        typer.Option(
            "--fine",
            metavar="VIEW",
            help="Label view whose gain is asked for; the finest level when left out.",
        ),
    ] = None,
    hard_share: Annotated[
        float | None,
        typer.Option(
            "--hard-share",
            metavar="F",
            help="Hard is this share of the test samples, by rank; else what half of the models "
            "get wrong.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Draw it: .html (offline), .svg, .png or .pdf."
        ),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers",
            metavar="FILE",
            help="Write which test samples each model got right: .parquet.",
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """What finer labels gain on hard and on easy test samples, split by models that
    are not compared (docs/hardness.md). Trains nothing.
    """
    from headwater.facts import hardness as asked
    from headwater.report import check_chart
    from headwater.show.hardness import print_hardness

    if out is not None:
        check_chart(out)
    if Path(study).suffix == ".parquet":
        if answers is not None:
            raise InputError(f"--answers writes the table of a study; {study} is one already")
        facts = asked.table_facts(Path(study), coarse=coarse, fine=fine, hard_share=hard_share)
    else:
        plan, opened = load(study, store, data_root)
        if opened is None:
            raise InputError(f"{store}: there is no store here; `headwater run {study}` makes one")
        facts = asked.hardness_facts(plan, opened, coarse=coarse, fine=fine, hard_share=hard_share)
        if answers is not None:
            facts["answers"] = str(asked.save_answers(plan, opened, answers))
    if out is not None:
        from headwater.report import save_hardness

        facts["chart"] = str(save_hardness(facts, out))
    print_json(facts) if as_json else print_hardness(facts)
