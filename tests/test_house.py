"""The house as DESIGN draws it: who imports whom, sizes and names of files, and papers that must
not drift from the code.
"""

from __future__ import annotations

import ast
import functools
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater import wings
from headwater.study.file import wing_of
from tests.needs import needs_git

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "headwater"
TORCH = {"torch", "torchvision", "timm", "open_clip"}
LEAVES = {"errors", "files"}
DOING = {
    "api",
    "checkpoint",
    "cli",
    "cost",
    "curation",
    "device",
    "engines",
    "labels",
    "loader",
    "methods",
    "models",
    "optim",
    "plan",
    "pretrain",
    "recipes",
    "show",
    "sources",
    "store",
    "tasks",
    "transfer",
    "views",
    "work",
}
ALLOWED: dict[
    str, set[str]
] = {  # rule 9 of DESIGN, and the leaf rooms; a room may always import itself
    "errors": set(),
    "files": set(),
    "registry": {"errors"},
    "keys": set(),
    "rows": {"errors", "files"},
    "wings": set(),
    "study": {"wings", "errors", "files"},
    "analysis": {"rows", "study", "errors", "files"},
    "report": {"analysis", "rows", "study", "errors", "files"},
    "device": {"errors"},
    "optim": set(),
    "ranks": set(),
    "checkpoint": {"files", "errors"},
    "recipes": {"study", "errors"},
    "sources": {"study", "keys", "errors", "files"},
    "labels": {"sources", "study", "keys", "errors", "files"},
    "curation": {"sources", "keys", "errors", "files", "device"},
    "tasks": {"labels", "sources", "keys", "errors"},
    "store": {"rows", "study", "files", "errors"},
    "models": {"device", "keys", "files", "errors"},
    "views": {"keys", "device", "sources", "study"},
    "loader": {"keys", "errors"},
    "methods": {"labels", "views", "models", "study", "keys", "device", "ranks", "files", "errors"},
    "pretrain": {
        "methods",
        "loader",
        "optim",
        "checkpoint",
        "device",
        "ranks",
        "views",
        "sources",
        "study",
        "keys",
    },
    "transfer": {
        "methods",
        "loader",
        "optim",
        "checkpoint",
        "device",
        "views",
        "sources",
        "study",
        "keys",
        "files",
    },
    "plan": {
        "store",
        "sources",
        "labels",
        "tasks",
        "models",
        "study",
        "recipes",
        "rows",
        "keys",
        "files",
        "errors",
    },
    "cost": {"methods", "plan", "recipes", "tasks", "views", "models", "device", "study", "keys"},
    "work": {
        "recipes",
        "curation",
        "plan",
        "pretrain",
        "ranks",
        "methods",
        "transfer",
        "tasks",
        "sources",
        "labels",
        "views",
        "store",
        "models",
        "loader",
        "checkpoint",
        "device",
        "rows",
        "study",
        "keys",
        "files",
        "errors",
    },
    "engines": {
        "recipes",
        "work",
        "plan",
        "store",
        "models",
        "device",
        "pretrain",
        "ranks",
        "study",
        "registry",
        "wings",
        "errors",
    },
    "api": {"engines", "work", "plan", "store", "study"},
    "show": {
        "work",
        "curation",
        "device",
        "cost",
        "analysis",
        "report",
        "engines",
        "plan",
        "labels",
        "sources",
        "tasks",
        "study",
        "store",
        "models",
        "rows",
        "files",
        "wings",
        "errors",
    },
    "cli": {
        "show",
        "report",
        "analysis",
        "engines",
        "work",
        "plan",
        "store",
        "device",
        "rows",
        "study",
        "files",
        "registry",
        "wings",
        "errors",
    },
}


def module_of(path: Path) -> str:
    return ".".join(["headwater", *path.relative_to(SRC).with_suffix("").parts]).removesuffix(
        ".__init__"
    )


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "headwater"


MODULES = {module_of(path): path for path in sorted(SRC.rglob("*.py"))}
ROOMS = sorted({room_of(module) for module in MODULES} - {"headwater"})
WING_ROOMS = {room_of(wing) for wing in wings.WINGS}
"""Each keeps the rules of its folders in tests of its own."""


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def nodes(node: ast.AST, *, functions: bool) -> Iterator[ast.AST]:
    """All nodes that run, at import alone or in functions too; what is there for type checkers only
    does not run.
    """
    for child in ast.iter_child_nodes(node):
        if for_types_only(child) or (
            not functions and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        ):
            continue
        yield child
        yield from nodes(child, functions=functions)


def imports(module: str, *, functions: bool = True) -> set[str]:
    """Modules that a module imports, by their full names."""
    found: set[str] = set()
    for node in nodes(tree(module), functions=functions):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            found.add(node.module or "")
            found.update(
                name for alias in node.names if (name := f"{node.module}.{alias.name}") in MODULES
            )
    return {name for name in found if name != "headwater" or len(found) == 1} - {"headwater"}


def rooms_imported(room: str) -> set[str]:
    modules = [module for module in MODULES if room_of(module) == room]
    return {
        room_of(name)
        for module in modules
        for name in imports(module)
        if name.startswith("headwater.")
    } - {room}


@pytest.mark.parametrize("room", [room for room in ROOMS if room in ALLOWED])
def test_a_room_imports_only_what_the_plan_of_the_house_allows(room: str) -> None:
    sockets = set() if room in ("errors", "files", "keys") else {"registry"}
    assert rooms_imported(room) <= ALLOWED[room] | sockets


@pytest.mark.parametrize(
    "room",
    [
        room
        for room in ("analysis", "report", "rows", "study", "keys", "errors", "files")
        if room in ROOMS
    ],
)
def test_concluding_imports_no_torch_and_no_doing_room(room: str) -> None:
    outside = {
        name.split(".")[0]
        for module in MODULES
        if room_of(module) == room
        for name in imports(module)
    }
    assert not outside & (TORCH - ({"torch"} if room == "keys" else set())), (
        "keys takes tensors, and imports torch where it is given one"
    )
    assert not rooms_imported(room) & DOING


DECLARING = {"sources", "labels", "methods", "transfer", "engines"}
"""Doing rooms whose folder holds entries of a socket: their declarations, which import no torch,
are read by whoever reads a study or concludes.
"""


def test_concluding_runs_where_torch_cannot_be_imported() -> None:
    code = (
        "import sys, importlib\n"
        f"for name in {sorted(TORCH)!r}: sys.modules[name] = None\n"
        "for name in "
        f"{sorted(m for m in MODULES if room_of(m) in ('analysis', 'report', 'rows', 'study'))!r}: "
        "importlib.import_module(name)\n"
        "print(sorted(m for m in sys.modules if m.split('.')[:1] == ['headwater'] and "
        f"m.count('.') and m.split('.')[1] in {sorted(DOING - DECLARING)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_no_circle_of_modules_is_imported() -> None:
    graph = {module: {name for name in imports(module) if name in MODULES} for module in MODULES}
    for (
        module
    ) in graph:  # a package is imported before what is in it, and its names are what others use
        parents = {".".join(module.split(".")[:end]) for end in range(2, module.count(".") + 1)}
        graph[module] -= parents | {module}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("wing", wings.WINGS)
def test_nothing_outside_a_wing_imports_it(wing: str) -> None:
    for module in MODULES:
        if module != wing and not module.startswith(f"{wing}."):
            from_wing = {
                name for name in imports(module) if name == wing or name.startswith(f"{wing}.")
            }
            assert not from_wing, module


def test_nothing_but_the_faces_imports_the_command_line() -> None:
    for room in ROOMS:
        if room not in WING_ROOMS:  # a wing has commands of its own
            assert room == "cli" or "cli" not in rooms_imported(room)
            assert room in ("cli", "show") or "show" not in rooms_imported(room)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is_for_and_fits_in_500_lines(module: str) -> None:
    path = MODULES[module]
    assert path.stem not in ("utils", "helpers", "common", "misc")
    assert len(path.read_text().splitlines()) <= 500
    if not path.stem.startswith("_") or path.stem == "__init__":
        assert (ast.get_docstring(tree(module)) or "").strip()


# papers
def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert listed.returncode == 0, listed.stderr
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@needs_git
def test_no_committed_file_names_a_place_outside_the_project() -> None:
    outside = re.compile(
        "|".join(
            (
                r"\.\./" + "shared",
                "/" + r"work/\w",
                "/" + r"home/\w",
                "/" + r"Users/\w",
                "/" + r"root/\w",
            )
        )
    )
    for path in tracked():
        if path == ROOT / ".ci" / "run":
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found = outside.search(text)
        assert found is None, f"{path.relative_to(ROOT)} names {found[0]}"


def test_docs_rows_is_the_schema() -> None:
    page = runpy.run_path(str(ROOT / "tools" / "make_rows.py"))["page"]()
    assert (ROOT / "docs" / "rows.md").read_text() == page, "run: python tools/make_rows.py"
    from headwater.rows import NAMES

    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(NAMES)


STUDIES = [
    path
    for path in sorted([*ROOT.glob("studies/**/*.yaml"), *SRC.glob("studies/*.yaml")])
    if wing_of(path) is None
]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_shipped_study_loads(path: Path) -> None:
    from headwater import recipes
    from headwater.study import Study

    study = Study.load(path)
    for method in study.methods:
        recipes.resolve(study, method)


def readme() -> str:
    return (ROOT / "README.md").read_text()


def shell_lines() -> list[list[str]]:
    """The words of each command in README's sh blocks; continued lines joined, comments dropped."""
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", readme(), re.MULTILINE | re.DOTALL)
    lines = [
        line.split("#")[0].strip().removeprefix("$ ")
        for block in blocks
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [line.split() for line in lines if line]


def test_the_commands_of_the_readme_exist() -> None:
    from typer.main import get_command

    from headwater.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    for words in shell_lines():
        program = words[0].rpartition("/")[2]
        if program == "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert {word for word in words[1:] if "=" not in word} <= set(targets), words
        if program == "headwater" and len(words) > 1 and not words[1].startswith("-"):
            assert words[1] in commands, words
            command = commands[words[1]]
            if hasattr(command, "commands"):
                if (
                    words[2:] == [] and "show" in command.commands
                ):  # the group's command that needs no name
                    continue
                assert words[2] in command.commands, words
                command = command.commands[words[2]]
            options = {option for parameter in command.params for option in parameter.opts} | {
                "--help",
                "-h",
            }
            assert {
                word.split("=")[0] for word in words[2:] if re.match(r"--?[a-z]", word)
            } <= options, words


def test_the_tree_of_the_design_is_the_tree() -> None:
    design = (ROOT / "docs" / "design.md").read_text()
    blocks = [
        block
        for block in re.findall(r"^```\w*\n(.*?)^```", design, re.MULTILINE | re.DOTALL)
        if block.lstrip().startswith("src/headwater/")
    ]
    assert blocks
    for block in blocks:
        named = {
            word
            for line in block.splitlines()[1:]
            for word in re.findall(r"^[\s│├└─]*([\w/]+(?:\.py|/))", line)
        }
        there = {
            path.name + "/"
            for path in SRC.iterdir()
            if path.is_dir() and list(path.glob("*.*")) and path.name != "__pycache__"
        }
        there |= {path.name for path in SRC.glob("*.py")}
        assert {name for name in named if name.endswith("/")} <= there
        assert {name for name in there if name.endswith("/")} <= named
        assert {name for name in named if name.endswith(".py")} <= {
            path.name for path in MODULES.values()
        }


def skips(path: Path) -> Iterator[tuple[str, int, ast.expr | None]]:
    """(kind, line, reason) of every skip, skipif and xfail in a file of tests."""
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("skip", "skipif", "xfail", "importorskip")
        ):
            named = {word.arg: word.value for word in node.keywords}
            first = node.args[0] if node.args and node.func.attr != "skipif" else None
            yield node.func.attr, node.lineno, named.get("reason", named.get("msg", first))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_skip_says_why_and_none_is_an_excuse(path: Path) -> None:
    for kind, line, reason in skips(path):
        assert path == ROOT / "tests" / "needs.py", (
            f"{path}, line {line}: {kind}; what a machine may lack is guarded by tests/needs.py"
        )
        assert kind == "skipif" and reason is not None


def test_contributing_says_what_a_plain_make_test_leaves_out() -> None:
    """Every need that a test is skipped for, and every file with slow tests and how many these
    are.
    """
    page = (ROOT / "CONTRIBUTING.md").read_text()
    section = page.split("### What a plain `make test` leaves out")[1].split("\n## ")[0]
    for need in ("HEADWATER_DATA", "Chromium", "data.noun", "wordnet-base", "git checkout", "GPU"):
        assert need in section
    slow = {
        path: path.read_text().count("@pytest.mark.slow\n")
        for path in (ROOT / "tests").rglob("test_*.py")
    }
    for path, count in slow.items():
        assert (f"`{path.relative_to(ROOT)}`" in section) == (count > 0), path
    assert f"always: {sum(slow.values())} " in section
