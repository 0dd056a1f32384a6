"""headwater shard: a folder of images, or the data of a study, packed into tars."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.options import (
    DataOption,
    JsonOption,
    QuietOption,
    check_root,
    folder_of,
    print_json,
)
from headwater.cli.studies import study_path


def shard(
    name: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|STUDY", help="A folder of images, or a study file: all of its data."
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="A folder that is not there yet.")
    ],
    per_shard: Annotated[
        int, typer.Option("--per-shard", min=1, max=10_000_000, help="Samples of a tar, at most.")
    ] = 10_000,
    data_root: DataOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Pack images into tars that are read where they lie (docs/shards.md): the same samples, so the
    same arms, with far fewer files. Goes on where it was stopped.
    """
    from headwater.facts.shards import pack_facts
    from headwater.show.looking import LookDisplay
    from headwater.show.shards import print_packed

    check_root(data_root)
    folder = folder_of(name, data_root)
    with LookDisplay(quiet=quiet or as_json, doing="packing") as display:
        facts = pack_facts(
            name if folder is not None else str(study_path(name)),
            folder,
            out,
            data_root,
            per_shard=per_shard,
            watch=lambda name, done, total: display(name, done, total, 0),
        )
    print_json(facts) if as_json else print_packed(facts)
