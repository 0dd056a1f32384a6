"""headwater sources: what is pre-trained on."""

from __future__ import annotations

import typer

from headwater.cli.describing import describe_sources

sources_app = typer.Typer(
    name="sources", help="What is pre-trained on: images and captions.", no_args_is_help=True
)
sources_app.command("describe")(describe_sources)


@sources_app.callback()
def _sources() -> None:
    """A group, though it has one command."""
