"""How the code reads: sizes and names of files, comprehensions; what tests may do; and that shipped
studies load.
"""

from __future__ import annotations

import ast
import functools
import gc
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.study.file import wing_of
from tests.needs import needs_git

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "headwater"
LONG: dict[str, str] = {
    "benchmarks/pretrain.py": "one script, so that all turns of a comparison share one process",
    "benchmarks/transfer.py": "one script, so that all turns of a comparison share one process",
}
"""Files above 500 lines, each with the reason why it is not a folder."""


@pytest.fixture(autouse=True, scope="module")
def no_search_for_garbage() -> Iterator[None]:
    """It would look at all nodes of all files, which are kept, again and again."""
    gc.disable()
    yield
    tree.cache_clear()
    gc.enable()


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def written_files() -> Iterator[tuple[str, Path]]:
    """Every Python file that people write here: its path in the project, and where it lies."""
    for folder in ("src", "tests", "tools", "benchmarks", "docs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path


def test_a_file_has_at_most_500_lines_or_a_reason_and_a_name_that_says_what_is_in_it() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in written_files()}
    long = {name: length for name, length in lengths.items() if length > 500}
    assert {name: length for name, length in long.items() if name not in LONG} == {}
    assert not {Path(name).stem for name in lengths} & {"utils", "helpers", "common", "misc"}


COMPREHENSION = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def nested_comprehensions(node: ast.AST) -> Iterator[int]:
    """The lines of comprehensions that hold another one."""
    waits: list[tuple[ast.AST, tuple[int, ...]]] = [(node, ())]
    found = set[int]()
    while waits:
        inner, around = waits.pop()
        if isinstance(inner, COMPREHENSION):
            found.update(around)
            around = (*around, inner.lineno)
        waits += [(child, around) for child in ast.iter_child_nodes(inner)]
    yield from sorted(found)


def test_no_comprehension_stands_in_another() -> None:
    assert list(nested_comprehensions(ast.parse("[[x for x in y] for y in z]"))) == [1]
    assert list(nested_comprehensions(ast.parse("sum(f(x for x in y) for y in z)"))) == [1]
    assert not list(nested_comprehensions(ast.parse("[x for x in y]; [x for x in y]")))
    nested = []
    for name, path in written_files():
        lines = nested_comprehensions(tree(path))
        nested += [f"{name}, line {line}" for line in lines]
    assert not nested


# tests
SKIPS = ("skip", "skipif", "xfail", "importorskip")


def test_a_test_is_skipped_only_for_a_need_that_all_tests_share() -> None:
    """No skip of its own, no expected failure, no quiet dependency."""
    wrong = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path.name == "needs.py" or not any(name in path.read_text() for name in SKIPS):
            continue
        for node in ast.walk(tree(path)):
            name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
            if name in SKIPS:
                wrong.append(f"{path.relative_to(ROOT)}, line {node.lineno}: {name}")
    assert not wrong, "what a machine may lack stands in tests/needs.py"


DRAWS = re.compile(
    r"torch\.(rand|randn|randint|randperm|normal|bernoulli|multinomial)"
    r"|torch\.nn\.init\.\w+|nn\.init\.\w+|.*\.(normal_|uniform_|bernoulli_|random_)"
)
CONSTANT = ("zeros_", "ones_", "constant_", "eye_")


def unseeded_draws(path: Path) -> Iterator[int]:
    """Lines that draw at random with no generator and no seed in the same function."""
    text = path.read_text()
    lines = text.splitlines()
    for function in ast.walk(tree(path)):
        if isinstance(function, ast.FunctionDef):
            source = "\n".join(lines[function.lineno - 1 : function.end_lineno])
            if "manual_seed(" in source or "seeded(" in source:
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func)
                    given = {keyword.arg for keyword in node.keywords}
                    drawn = DRAWS.fullmatch(name) and not name.endswith(CONSTANT)
                    if drawn and "generator" not in given:
                        yield node.lineno
                    if name.endswith("default_rng") and not node.args:
                        yield node.lineno


def test_what_a_test_draws_at_random_has_a_seed(tmp_path: Path) -> None:
    example = tmp_path / "example.py"
    example.write_text(
        "def a():\n torch.rand(3)\n"
        "def b():\n torch.rand(3, generator=g)\n"
        "def c():\n torch.manual_seed(0)\n torch.rand(3)\n"
        "def d():\n np.random.default_rng()\n torch.nn.init.zeros_(x)\n w.normal_()\n"
    )
    assert sorted(unseeded_draws(example)) == [2, 9, 11]
    unseeded = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        name = path.relative_to(ROOT)
        unseeded += [f"{name}, line {line}" for line in sorted(unseeded_draws(path))]
    assert not unseeded


def test_a_shipped_study_loads() -> None:
    from headwater import recipes
    from headwater.study import Study

    shipped = sorted([*ROOT.glob("studies/**/*.yaml"), *SRC.glob("studies/*.yaml")])
    assert shipped
    for path in shipped:
        if wing_of(path) is None:  # a wing loads its own
            study = Study.load(path)
            for method in study.methods:
                recipes.resolve(study, method)


# what is committed
def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert listed.returncode == 0, listed.stderr
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


OUTSIDE = re.compile(r"\.\./" r"shared|/" r"work/\w|/" r"home/\w|/" r"Users/\w|/" r"root/\w")
"""Written in parts, so that this file does not name such a place itself."""


@needs_git
def test_no_committed_file_names_a_place_outside_the_project() -> None:
    named = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        place = OUTSIDE.search(text)
        if place is not None and path != ROOT / ".ci" / "run":
            named.append(f"{path.relative_to(ROOT)} names {place[0]}")
    assert not named


def test_the_files_that_start_first_exist() -> None:
    from tests.conftest import LONGEST

    assert [name for name in LONGEST if not (ROOT / "tests" / name).is_file()] == []
