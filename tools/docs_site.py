"""What the site holds beside docs/: pages of the project, notebooks, and the reference, all made
from the files and the code when `make docs` runs (a hook of mkdocs).
"""

from __future__ import annotations

import json
import posixpath
import re
import runpy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)\s]+)\)")
PROJECT = ("CONTRIBUTING.md", "CHANGELOG.md")
"""Pages at the project's root that are pages of the site, beside benchmarks/*.md."""
FILES = (".py", ".yaml", ".json", ".sh")
"""What a page of the project may link to and the site shows as text."""


def project_pages() -> list[str]:
    """Paths of pages outside docs/, from the project's root."""
    return [*PROJECT, *(f"benchmarks/{page.name}" for page in ROOT.glob("benchmarks/*.md"))]


def place_of(target: str) -> str | None:
    """Where a file of the project lies in the site; None where it has no page there."""
    if target.startswith("docs/"):
        return re.sub(r"\.ipynb$", ".md", target.removeprefix("docs/"))
    if target == "README.md":
        return "index.md"
    return target if target in project_pages() else None


def moved(text: str, page: str) -> str:
    """The text of a page with its links as they are in the site. `page` is its path from the
    project's root. What has no page there is named without a link.
    """
    own = place_of(page)
    assert own is not None

    def link(found: re.Match[str]) -> str:
        name, mark, anchor = found[1].partition("#")
        if not name or re.match(r"[a-z]+:", name):
            return found[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), name))
        place = place_of(target)
        if place is None:
            return f"](#)<!-- {target} -->" if not (ROOT / target).exists() else "]"
        return f"]({posixpath.relpath(place, posixpath.dirname(own) or '.')}{mark}{anchor})"

    return LINK.sub(link, text)


def notebook_page(path: Path) -> str:
    """A notebook as Markdown: its words, its code, and the images among its outputs."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            parts.append(moved(source, path.relative_to(ROOT).as_posix()))
        elif source:
            parts.append(f"```python\n{source}\n```")
    return "\n\n".join(parts) + "\n"


def python_page() -> str:
    """The public names of the package, each with its docstring."""
    import headwater as hw

    names = [name for name in hw.__all__ if not name.startswith("_")]
    functions = [name for name in names if name[0].islower()]
    classes = [name for name in names if name[0].isupper()]
    lines = [
        "# Python",
        "`import headwater as hw`. Names are imported when they are first used, so that reading "
        "rows does not wait for torch. Wrong input raises `hw.InputError`, a ValueError whose "
        "message names the place and what to do.",
    ]
    for name in (*functions, *classes):
        home = getattr(hw, name)
        heading = f"    options: {{heading: hw.{name}, toc_label: {name}}}"
        lines.append(f"::: {home.__module__}.{home.__qualname__}\n{heading}")
    return "\n\n".join(lines) + "\n"


def commands_page() -> str:
    """Every command with its help text and options, from the command line itself."""
    from typer.main import get_command

    from headwater.cli import app

    lines = ["# Commands", "Every command has `--help`."]

    def tell(command: Any, words: list[str]) -> None:
        lines.append(f"## `{' '.join(words)}`")
        lines.append(" ".join((command.help or "").split()))
        rows = [_option(each) for each in command.params if each.name != "help"]
        if rows:
            head = "| argument or option | default | meaning |\n|---|---|---|\n"
            lines.append(head + "\n".join(rows))
        for name, inner in sorted(getattr(command, "commands", {}).items()):
            if not inner.hidden:
                tell(inner, [*words, name])

    tell(get_command(app), ["headwater"])
    return "\n\n".join(lines) + "\n"


def _option(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    names = parameter.opts if is_option else [parameter.metavar or parameter.name.upper()]
    default = parameter.default
    plain = isinstance(default, str | int | float | Path) and not isinstance(default, bool)
    text = " ".join((getattr(parameter, "help", None) or "").split())
    cells = [", ".join(f"`{name}`" for name in names), f"`{default}`" if plain else "", text]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def keys_page() -> str:
    """Every key of a study, from the schema."""
    made = runpy.run_path(str(ROOT / "tools" / "make_keys.py"))
    page: str = made["page"]()
    return page


def on_files(files: Any, config: Any) -> Any:
    from mkdocs.structure.files import File

    made = {
        page: moved((ROOT / page).read_text(encoding="utf-8"), page) for page in project_pages()
    }
    for path in sorted(DOCS.glob("notebooks/*.ipynb")):
        made[f"notebooks/{path.stem}.md"] = notebook_page(path)
    made["reference/python.md"] = python_page()
    made["reference/commands.md"] = commands_page()
    made["reference/keys.md"] = keys_page()
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    if page.file.generated_by:
        return markdown
    return moved(markdown, f"docs/{page.file.src_uri}")
