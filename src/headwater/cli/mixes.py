"""headwater mixes: the best mix of sources, and the one to run next."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from headwater.cli.asking import ProtocolOption, RowsArgument, ShotsOption, asked_of, shots_of
from headwater.cli.options import DEFAULT_STORE, DataOption, JsonOption, StoreOption, print_json


def mixes(
    rows: Annotated[str, RowsArgument],
    method: Annotated[
        str | None,
        typer.Option("--method", help="Of arms of this method, where mixes of several were run."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--size", help="Of so many images, where mixes of several sizes were run."),
    ] = None,
    protocol: ProtocolOption = None,
    shots: ShotsOption = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which mix of sources is best, by a fit of the score over the weights of the mixes that were
    run, and which mix to run next (docs/curation.md). Trains nothing.
    """
    from headwater.analysis.mixes import best_mix
    from headwater.show.mixes import print_mix

    table, aim, _ = asked_of(rows, store, data_root)
    aim = replace(
        aim,
        protocol=protocol or aim.protocol,
        shots=tuple(shots_of(word) for word in shots) if shots else aim.shots,
    )
    found = best_mix(table, aim, method=method, size=size)
    print_json(found.to_dict()) if as_json else print_mix(found.to_dict())
