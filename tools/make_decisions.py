"""Rebuilds docs/decisions.md, what each study decides, from the committed rows:
python tools/make_decisions.py
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from typer.testing import CliRunner

from headwater.cli import app
from headwater.facts.decisions import aim_of
from headwater.study import Study

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "decisions.md"
STUDIES = {
    "grocery": ("grocery", "grocery.md"),
    "methods": ("methods", "pretraining.md"),
    "photos": ("entezari2023/photos", "photos.md"),
    "grocery_partitions": ("hong2023/grocery_partitions", "partitions.md"),
    "hardness": ("hong2023/hardness", "hardness.md"),
    "world": ("world", "world.md"),
    "mixes": ("mixes", "mixes.md"),
    "noise_vs_size": ("entezari2023/noise_vs_size", "noise_vs_size.md"),
    "exchange": ("exchange", "exchange_photos.md"),
}
"""By the name of the rows: the study, and the page of all its results."""
WIDTH = 110


def command(name: str) -> list[str]:
    """What makes a study's decision, from the committed rows."""
    asked = aim_of(Study.load(ROOT / "studies" / f"{STUDIES[name][0]}.yaml"))
    protocol = [] if asked.protocol is None else ["--protocol", asked.protocol]
    return ["decide", f"docs/results/{name}.parquet", *protocol]


def card(name: str) -> str:
    """What the command prints."""
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        told = CliRunner().invoke(app, command(name), env={"COLUMNS": str(WIDTH)})
    finally:
        os.chdir(here)
    if told.exit_code:
        raise RuntimeError(f"headwater {' '.join(command(name))}: {told.output}")
    return "\n".join(line.rstrip() for line in told.stdout.strip("\n").splitlines())


def block(name: str) -> str:
    """The section of one study."""
    path, page = STUDIES[name]
    study = Study.load(ROOT / "studies" / f"{path}.yaml")
    return "\n".join(
        [
            f"## {name.replace('_', ' ').capitalize()}",
            "",
            f"{study.question} All results: [{page}]({page}).",
            "",
            "```bash",
            f"headwater {' '.join(command(name))}",
            "```",
            "",
            "```text",
            card(name),
            "```",
        ]
    )


def with_blocks(text: str) -> str:
    """The page's text with what stands between its marks made anew."""
    made = "\n\n".join(block(name) for name in STUDIES)
    return re.sub(
        r"(<!-- decisions -->\n).*?(\n<!-- /decisions -->)",
        lambda match: match[1] + made + match[2],
        text,
        flags=re.DOTALL,
    )


if __name__ == "__main__":
    PAGE.write_text(with_blocks(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PAGE.name}")
