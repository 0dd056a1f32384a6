"""The list of faults: each can still be put into the code, and its tests are there."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "tools" / "mutants.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["mutants"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LISTS = ("mutants", "guards")


@pytest.mark.docs
@pytest.mark.parametrize("name", LISTS)
def test_every_fault_can_be_put_into_the_code_and_its_tests_exist(
    tool: ModuleType, name: str
) -> None:
    mutants = tool.read_mutants(ROOT / "tools" / f"{name}.yaml")
    assert len({one.name for one in mutants}) == len(mutants) >= 40
    for one in mutants:
        text = one.file(ROOT / "src").read_text()
        changed = tool.mutated(text, one)
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text)), one.name
        assert all((ROOT / "tests" / test).exists() for test in one.tests), one.name


CODE = """\
class Shop:
    def price(self, pieces):
        cost = {
            "each": 2,  # a comment
            "all": 2 * pieces,
        }
        if pieces > 9:
            cost["all"] -= 1
        return cost
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("pieces > 9", "pieces >= 9", CODE.replace("pieces > 9", "(pieces >= 9)")),
        ("cost['all'] -= 1", "pass", CODE.replace('cost["all"] -= 1', "pass")),
        ("{'all': 2*pieces}", "0", CODE.replace("2 * pieces", "(0)")),
        (
            "if pieces > 9:\n    cost['all'] -= 1\n",
            "cost['all'] = 0\ncost['each'] = 0\n",
            CODE.replace(
                'if pieces > 9:\n            cost["all"] -= 1',
                "cost['all'] = 0\n        cost['each'] = 0",
            ),
        ),
    ],
)
def test_code_is_found_by_its_syntax_and_replaced_in_its_place(
    tool: ModuleType, old: str, new: str, expected: str
) -> None:
    one = tool.Mutant("a", "b", "c", "shop", "Shop.price", old, new, ())
    assert tool.mutated(CODE, one) == expected


@pytest.mark.parametrize("old", ["pieces > 8", "pieces", "2"])
def test_code_that_is_not_there_once_is_refused(tool: ModuleType, old: str) -> None:
    one = tool.Mutant("a", "b", "c", "shop", "Shop.price", old, "1", ())
    with pytest.raises(tool.NotApplicable, match=r"has the code [023] times"):
        tool.mutated(CODE, one)


def test_lines_are_added_up_by_room(tool: ModuleType) -> None:
    """A room is a file or a folder: 9 of 10 and 30 of 50 lines are 39 of 60."""
    counts = {"src/headwater/keys.py": (9, 10), "src/headwater/plan/a.py": (10, 20)}
    counts["src/headwater/plan/arms/b.py"] = (20, 30)
    files = {
        name: {"summary": {"covered_lines": run, "num_statements": every}}
        for name, (run, every) in counts.items()
    }
    assert tool.shares_of_lines({"files": files}) == {
        "total": 65.0,
        "rooms": {"keys": 90.0, "plan": 60.0},
    }


@pytest.mark.docs
@pytest.mark.parametrize("name", LISTS)
def test_the_page_is_made_of_the_committed_results(tool: ModuleType, name: str) -> None:
    results = tool.RESULTS.with_name(f"{name}.json")
    mutants = tool.read_mutants(ROOT / "tools" / f"{name}.yaml")
    page = tool.page(mutants, tool._read(results), f"{name}.yaml")
    assert results.with_suffix(".md").read_text() == page
