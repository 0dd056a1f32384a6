"""The house as docs/design.md draws it: who imports whom, and what concluding may load."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

from headwater import wings

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "headwater"
TORCH = {"torch", "torchvision", "timm", "open_clip"}
GROUND = {"digests", "errors", "fragments", "plain", "registry"}
"""What every room may import, and imports nothing of ours but the error."""
DOING = {
    "api",
    "checkpoint",
    "cli",
    "cost",
    "curation",
    "device",
    "engines",
    "facts",
    "labels",
    "loader",
    "methods",
    "models",
    "notebook",
    "optim",
    "plan",
    "pretrain",
    "recipes",
    "show",
    "sources",
    "steps",
    "store",
    "tasks",
    "trackers",
    "transfer",
    "views",
    "work",
}
# rule 9 of the design, and the leaf rooms; a room may always import itself
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "plain": set(),
    "files": {"errors"},
    "objects": {"files", "errors"},
    "digests": {"plain"},
    "registry": {"errors"},
    "keys": set(),
    "rows": {"errors", "files"},
    "wings": set(),
    "study": {"wings", "errors", "files"},
    "imports": {"rows", "study", "errors", "files"},
    "analysis": {"rows", "study", "errors", "files"},
    "report": {"analysis", "rows", "study", "errors", "files"},
    "machine": set(),
    "device": {"machine", "errors"},
    "optim": set(),
    "ranks": set(),
    "checkpoint": {"files", "errors"},
    "recipes": {"study", "errors"},
    "sources": {"study", "keys", "errors", "files", "objects", "machine"},
    "labels": {"sources", "study", "keys", "errors", "files", "machine"},
    "curation": {"sources", "keys", "errors", "files", "device"},
    "tasks": {"labels", "sources", "keys", "errors"},
    "store": {"rows", "study", "files", "objects", "errors"},
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
        "labels",
        "study",
        "keys",
        "files",
        "errors",
    },
    "plan": {
        "store",
        "sources",
        "labels",
        "tasks",
        "models",
        "study",
        "recipes",
        "registry",
        "rows",
        "keys",
        "files",
        "objects",
        "errors",
    },
    "cost": {
        "methods",
        "plan",
        "tasks",
        "views",
        "models",
        "device",
        "machine",
        "study",
        "keys",
        "files",
        "errors",
    },
    "work": {
        "registry",
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
        "cost",
        "files",
        "methods",
        "recipes",
        "work",
        "plan",
        "store",
        "models",
        "device",
        "machine",
        "pretrain",
        "ranks",
        "study",
        "registry",
        "wings",
        "errors",
    },
    "steps": {"analysis", "plan", "store", "files", "errors"},
    "fragments": {"plain"},
    "notebook": {"engines"},
    "trackers": {"facts", "engines", "plan", "store", "errors"},
    "api": {
        "proposal",
        "notebook",
        "trackers",
        "steps",
        "facts",
        "engines",
        "work",
        "plan",
        "store",
        "study",
    },
    "facts": {
        "machine",
        "imports",
        "steps",
        "methods",
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
    "proposal": {
        "cost",
        "engines",
        "plan",
        "labels",
        "tasks",
        "sources",
        "study",
        "files",
        "errors",
    },
    "show": {
        "steps",
        "facts",
        "analysis",
        "engines",
        "plan",
        "labels",
        "tasks",
        "study",
        "store",
        "errors",
    },
    "cli": {
        "machine",
        "proposal",
        "trackers",
        "steps",
        "show",
        "facts",
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
        "objects",
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


def is_ours(module: str) -> bool:
    return module.startswith("headwater.")


def for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


@functools.cache
def nodes(module: str) -> list[ast.AST]:
    """All nodes that run; what is there for type checkers only does not run."""
    found: list[ast.AST] = [tree(module)]
    for node in found:
        found += [child for child in ast.iter_child_nodes(node) if not for_types_only(child)]
    return found


@functools.cache
def imports(module: str) -> set[str]:
    """Modules that a module imports, by their full names; inside functions too."""
    names: set[str] = set()
    for node in nodes(module):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            names.add(node.module or "")
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= members & set(MODULES)
    return names - {"headwater"}


def rooms_imported(room: str) -> set[str]:
    names: set[str] = set()
    for module in MODULES:
        if room_of(module) == room:
            names |= imports(module)
    return {room_of(name) for name in names if is_ours(name)} - {room}


def test_a_room_imports_only_what_the_plan_of_the_house_allows() -> None:
    wrong = {}
    for room in sorted(set(ROOMS) & set(ALLOWED)):
        if others := rooms_imported(room) - ALLOWED[room] - GROUND:
            wrong[room] = sorted(others)
    assert not wrong


def modules_named(module: str) -> set[str]:
    """Modules whose full names are texts in a module, as importlib takes them."""
    texts = {node.value for node in nodes(module) if isinstance(node, ast.Constant)}
    return texts & (set(MODULES) - {"headwater"})


SOCKETS = {"headwater.registry", "headwater.wings", "headwater.study"}
"""Where names of modules stand as texts because others are found or offered through them."""


def test_what_is_imported_by_its_name_as_a_text_is_allowed_too() -> None:
    wrong = {}
    for module in sorted(set(MODULES) - SOCKETS):
        own = room_of(module)
        named = {room_of(name) for name in modules_named(module)} - {own}
        if own in ALLOWED and (others := named - ALLOWED[own] - GROUND):
            wrong[module] = sorted(others)
    assert not wrong


CONCLUDING = ("analysis", "report", "rows", "study", "keys", "errors", "files", "digests")


def test_concluding_imports_no_torch_and_no_doing_room() -> None:
    """keys takes tensors, and imports torch where it is given one."""
    wrong = {}
    for module in MODULES:
        room = room_of(module)
        if room in CONCLUDING:
            packages = {name.split(".")[0] for name in imports(module)}
            heavy = packages & (TORCH - {"torch"} if room == "keys" else TORCH)
            doing = {room_of(name) for name in imports(module) if is_ours(name)} & DOING
            if heavy | doing:
                wrong[module] = sorted(heavy | doing)
    assert not wrong


DECLARING = {"sources", "labels", "methods", "transfer", "engines"}
"""Doing rooms whose folder holds entries of a socket: their declarations, which import no torch,
are read by whoever reads a study or concludes.
"""
CONCLUDE = """
import importlib, sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
for name in sys.argv[2].split(","):
    importlib.import_module(name)
print(*(name for name in sys.modules if name.startswith("headwater.")))
"""


def test_concluding_runs_where_torch_cannot_be_imported() -> None:
    rooms = ("analysis", "report", "rows", "study")
    modules = [module for module in MODULES if room_of(module) in rooms]
    command = [sys.executable, "-c", CONCLUDE, ",".join(sorted(TORCH)), ",".join(modules)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert not {room_of(name) for name in ended.stdout.split()} & (DOING - DECLARING)


def test_no_circle_of_modules_is_imported_inside_functions_either() -> None:
    graph = {}
    for module in MODULES:
        # a package is imported before what is in it, and its names are what others use
        parts = module.split(".")
        parents = {".".join(parts[:end]) for end in range(2, len(parts))}
        graph[module] = (imports(module) & set(MODULES)) - parents - {module}
    closed: set[str] = set()
    circles: set[frozenset[str]] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            circles.add(frozenset(path[path.index(module) :]))
        elif module not in closed:
            for other in sorted(graph[module]):
                visit(other, (*path, module))
            closed.add(module)

    for module in graph:
        visit(module, ())
    assert not [sorted(circle) for circle in circles]


def test_nothing_outside_a_wing_imports_it() -> None:
    wrong = []
    for wing in wings.WINGS:
        for module in MODULES:
            inside = f"{module}.".startswith(f"{wing}.")
            if not inside and any(f"{name}.".startswith(f"{wing}.") for name in imports(module)):
                wrong.append(module)
    assert not wrong


def test_nothing_but_the_faces_imports_the_command_line() -> None:
    for room in ROOMS:
        # a wing has commands of its own, and `python -m headwater` is the command
        if room not in {*WING_ROOMS, "__main__"}:
            assert room == "cli" or "cli" not in rooms_imported(room)
            assert room in ("cli", "show") or "show" not in rooms_imported(room)


def test_a_module_says_what_it_is_for() -> None:
    mute = []
    for module, path in MODULES.items():
        private = path.stem.startswith("_") and path.stem != "__init__"
        if not private and not (ast.get_docstring(tree(module)) or "").strip():
            mute.append(module)
    assert not mute
