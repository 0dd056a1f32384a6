from __future__ import annotations

import pandas as pd

from headwater.analysis.kept import keeping, kept

ASKED: list[str] = []


@kept
def _total(table: pd.DataFrame, *, column: str) -> int:
    ASKED.append(column)
    return int(table[column].sum())


def test_inside_a_block_a_question_about_its_table_is_computed_once() -> None:
    ASKED.clear()
    table, other = pd.DataFrame({"a": [1, 2], "b": [3, 4]}), pd.DataFrame({"a": [5]})
    with keeping(table):
        with keeping(table):
            assert _total(table, column="a") == 3
        assert _total(table, column="a") == 3 and ASKED == ["a"]
        assert _total(table, column="b") == 7 and ASKED == ["a", "b"]
        assert _total(other, column="a") == 5 and _total(other, column="a") == 5
        assert ASKED == ["a", "b", "a", "a"], "another table is asked anew"
        with keeping(other):
            assert _total(other, column="a") + _total(other, column="a") == 10
        assert len(ASKED) == 5 and _total(table, column="a") == 3 and len(ASKED) == 5


def test_after_the_block_a_changed_table_gives_another_answer() -> None:
    table = pd.DataFrame({"a": [1, 2]})
    with keeping(table):
        assert _total(table, column="a") == 3
    table["a"] = [10, 20]
    assert _total(table, column="a") == 30
