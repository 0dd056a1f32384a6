"""headwater sources describe: what the images and captions of sources are."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.cli.options import (
    DEFAULT_STORE,
    DataOption,
    JsonOption,
    LayoutOption,
    LinksOption,
    StoreOption,
    check_root,
    folder_of,
    print_json,
)
from headwater.cli.studies import SHIPPED, study_path
from headwater.errors import InputError


def describe_sources(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY|FOLDER",
            help=f"A study file (YAML), the name of a study that is shipped ({SHIPPED}), or a "
            "folder of images.",
        ),
    ],
    sample: Annotated[
        int,
        typer.Option(
            "--sample", metavar="N", min=1, help="Look at so many images of a source at most."
        ),
    ] = 20_000,
    seed: Annotated[
        int, typer.Option("--seed", help="The same seed draws the same images anywhere.")
    ] = 0,
    layout: LayoutOption = None,
    follow_links: LinksOption = False,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Images, bytes, formats, sizes, captions, copies, and what test images of a study's tasks each
    source shows. Of a large source a sample is looked at.
    """
    check_root(data_root)
    from headwater.facts.describing import folder_description, study_description
    from headwater.show.describing import print_description
    from headwater.show.looking import LookDisplay

    folder = folder_of(study, data_root)
    if folder is None and (layout is not None or follow_links):
        raise InputError(
            "sources describe: --layout and --follow-links are of a folder; in a study they are "
            "keys of its data entries"
        )
    with LookDisplay(quiet=as_json) as watch:
        if folder is not None:
            facts = folder_description(
                folder,
                layout=layout,
                follow_links=follow_links,
                sample=sample,
                seed=seed,
                watch=watch,
            )
        else:
            from headwater.plan import Plan
            from headwater.store import Store, is_there
            from headwater.study import Study

            words = Study.load(study_path(study))
            cache = Store(store).cache if is_there(store) else None
            plan = Plan.opened(words, data_root=data_root, cache=cache)
            facts = study_description(plan, sample=sample, seed=seed, watch=watch)
    print_json(facts) if as_json else print_description(facts)
