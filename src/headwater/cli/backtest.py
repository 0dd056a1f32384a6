"""headwater backtest: whether the order of arms at a small size tells that at a large one."""

from __future__ import annotations

from typing import Annotated

from headwater.cli.asking import RowsArgument, asked_of
from headwater.cli.options import DEFAULT_STORE, DataOption, JsonOption, StoreOption, print_json


def backtest(
    rows: Annotated[str, RowsArgument],
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Of arms that were run at two sizes: how often the order at the smaller one is that at the
    larger one, by what the small runs are judged by (docs/backtest.md). Trains nothing.
    """
    from headwater.analysis.backtest import backtest as tested
    from headwater.analysis.backtest import backtest_sentences
    from headwater.show.backtest import print_backtest

    table, _, _ = asked_of(rows, store, data_root)
    found = tested(table)
    facts = {
        "lines": found.astype(object).where(found.notna(), None).to_dict("records"),
        "sentences": backtest_sentences(found),
    }
    print_json(facts) if as_json else print_backtest(facts)
