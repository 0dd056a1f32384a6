"""headwater sources: known sets, and whether a copy of one is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headwater.cli.describing import describe_sources
from headwater.cli.groups import ShowsByDefault
from headwater.cli.options import JsonOption, print_json

sources_app = typer.Typer(
    name="sources",
    cls=ShowsByDefault,
    help="What is pre-trained on: known sets, copies of them, and what is in yours.",
)
sources_app.command("describe")(describe_sources)
_Name = Annotated[str, typer.Argument(metavar="NAME", help="A set that `headwater sources` lists.")]


@sources_app.command("show")
def show_sources(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="A set; the list of all when left out."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """All known sets, or one: what it is, its licence and sizes, and how a copy is made. `show` can
    be left out.
    """
    from headwater.facts import sources as facts_of
    from headwater.show import sources as shown

    if name is None:
        facts = facts_of.list_facts()
        print_json(facts) if as_json else shown.print_list(facts)
    else:
        facts = facts_of.recipe_facts(name)
        print_json(facts) if as_json else shown.print_recipe(facts)


@sources_app.command("check")
def check_source(
    name: _Name,
    path: Annotated[
        Path, typer.Option("--path", "-p", metavar="DIR", help="The folder of the copy.")
    ],
    sample: Annotated[
        int, typer.Option("--sample", min=0, max=10_000, help="Images that are decoded.")
    ] = 64,
    seed: Annotated[int, typer.Option("--seed", help="Which images these are.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Whether a copy is whole: images, captions, classes, missing shards, a sample of decodes.

    Nothing is extracted or changed. Exit code 0 for a whole copy, 1 for one that is not.
    """
    from headwater.facts.sources import check_facts
    from headwater.show.sources import print_check

    facts = check_facts(name, path, sample=sample, seed=seed)
    print_json(facts) if as_json else print_check(facts)
    if not facts["whole"]:
        raise typer.Exit(1)
