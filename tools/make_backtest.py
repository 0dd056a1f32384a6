"""Rebuilds the tables of docs/backtest.md from the committed rows of studies with several sizes:

python tools/make_backtest.py
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from headwater.analysis.backtest import backtest
from headwater.rows import read_rows

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "backtest.md"
MARK = "<!-- backtest -->", "<!-- /backtest -->"


def tables() -> dict[str, pd.DataFrame]:
    """Study -> its backtest, of those in which two arms or more were run at two sizes."""
    found = {}
    for path in sorted((ROOT / "docs" / "results").glob("*.parquet")):
        if path.stem.endswith("_answers") or path.stem == "theory":
            continue
        table = backtest(read_rows(path))
        if len(table) and table["pairs"].sum():
            found[path.stem] = table
    return found


def block(found: dict[str, pd.DataFrame]) -> str:
    lines = [
        MARK[0],
        "| study | judged by | sizes | pairs | right | told | of these right |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for study, table in found.items():
        for row in table[table["pairs"] > 0].to_dict("records"):
            sizes = f"{row['small']:,.0f} to {row['large']:,.0f}"
            told = f"{100 * row['told_right']:.0f} %" if row["told"] else ""
            lines.append(
                f"| {study} | {row['criterion']} | {sizes} | {row['pairs']} | "
                f"{100 * row['right']:.0f} % | {row['told']} | {told} |"
            )
    return "\n".join([*lines, MARK[1]])


def main() -> None:
    text = PAGE.read_text()
    before, _, rest = text.partition(MARK[0])
    _, _, after = rest.partition(MARK[1])
    PAGE.write_text(before + block(tables()) + after)
    print(f"wrote {PAGE.name}")


if __name__ == "__main__":
    main()
