"""headwater import: a table that somebody else made, as rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.options import JsonOption, print_json


def import_(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="The table (.csv, .tsv).")],
    words: Annotated[
        str,
        typer.Option(
            "--map",
            metavar="MAP",
            help="A map (YAML): which column becomes which field of a row; a file, or the name of "
            "one that is shipped.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="ROWS", help="Where rows go: .parquet, .csv.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Make rows of a table that somebody else made, with flags for what is known to be wrong with
    it (docs/import.md). Everything that reads rows reads them.
    """
    from headwater.facts.imports import import_facts
    from headwater.show.imports import print_import

    facts = import_facts(table, words, out)
    print_json(facts) if as_json else print_import(facts)
