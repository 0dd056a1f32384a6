"""Are two tables of results equal to the bit, whatever their ids?

    python tools/compare_rows.py OLD NEW

OLD and NEW are stores, or tables that `headwater rows` wrote. Rows are matched by everything that
says what was measured (method, source, labels, recipe, seed, task, protocol, shots, draw, metric,
subset, ...). Ids of arms and cells are left out, as a new version of the code may give other ids,
and so is what tells of time and machine. Exit code 0 where every row has an equal one, else 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from headwater.rows import comparable, read_rows

IDS = ("arm", "cell", "label_features", "fingerprint", "pretrain_fingerprint")
"""Ids, and features that are named by an arm's id; the machine's fingerprint is said, not
compared.
"""


def table(path: Path) -> pd.DataFrame:
    """The rows of a store or file as text, sorted, without ids; text of floats is exact."""
    rows = comparable(read_rows(path)).drop(columns=list(IDS), errors="ignore")
    rows = rows.astype(object).where(rows.notna(), None)
    texts = rows.map(lambda value: "" if value is None else repr(value))
    return texts.sort_values(list(texts.columns), ignore_index=True)


def main() -> int:
    old, new = (table(Path(argument)) for argument in sys.argv[1:3])
    columns = [column for column in old.columns if column in set(new.columns)]
    both = old[columns].merge(new[columns], how="outer", indicator=True)
    counts = both["_merge"].value_counts()
    print(f"{len(old):,} rows before, {len(new):,} after, {counts['both']:,} equal to the bit")
    for side, name in (("left_only", "before"), ("right_only", "after")):
        for row in both[both["_merge"] == side].head(3).to_dict("records"):
            print(f"  only {name}: { ({k: v for k, v in row.items() if v}) }")
    return int(counts["both"] != len(old) or len(old) != len(new))


if __name__ == "__main__":
    sys.exit(main())
