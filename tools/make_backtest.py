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
    """By how many times more images the larger size has, over all studies; and by study, over all
    sizes.
    """
    every = pd.concat([table.assign(study=study) for study, table in found.items()])
    every = every[every["pairs"] > 0]
    mean = every["criterion"].str.endswith("mean over tasks")
    every["judge"] = mean.map({True: "the mean over tasks", False: "one task"})
    every["times"] = (every["large"] / every["small"]).round().astype(int)
    every["told_hits"] = every["told"] * every["told_right"].astype(float).fillna(0)
    every["hits"] = every["pairs"] * every["right"]
    lines = [MARK[0]]
    for keys, heads in (
        (["judge", "times"], "judged by | times the images"),
        (["study", "criterion"], "study | judged by"),
    ):
        lines += [
            f"| {heads} | pairs | right | told | of these right |",
            "|---|---|---:|---:|---:|---:|",
        ]
        sums = every.groupby(keys, sort=False)[["pairs", "hits", "told", "told_hits"]].sum()
        for key, row in (sums.sort_index() if keys[0] == "judge" else sums).iterrows():
            told = f"{100 * row['told_hits'] / row['told']:.0f} %" if row["told"] else ""
            lines.append(
                f"| {key[0]} | {key[1]} | {row['pairs']:,.0f} | "
                f"{100 * row['hits'] / row['pairs']:.0f} % | {row['told']:,.0f} | {told} |"
            )
        lines.append("")
    return "\n".join([*lines[:-1], MARK[1]])


def main() -> None:
    text = PAGE.read_text()
    before, _, rest = text.partition(MARK[0])
    _, _, after = rest.partition(MARK[1])
    PAGE.write_text(before + block(tables()) + after)
    print(f"wrote {PAGE.name}")


if __name__ == "__main__":
    main()
