"""headwater labels: what images are called, described before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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

labels_app = typer.Typer(
    name="labels",
    help="What the images are called: label views, described before anything is trained.",
    no_args_is_help=True,
)


@labels_app.command("describe")
def describe_labels(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY|FOLDER",
            help=f"A study file (YAML), the name of a study that is shipped ({SHIPPED}), or a "
            "folder of images.",
        ),
    ],
    views: Annotated[
        str | None,
        typer.Option(
            "--views",
            metavar="A,B,...",
            help="Label views, separated by commas; the study's, or a folder's levels and "
            "instance.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Write a chart as well: .svg, .png, .pdf or .html."
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", hidden=True)] = None,
    layout: LayoutOption = None,
    follow_links: LinksOption = False,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Classes, images per class, and how each label view lies to the tasks: what to expect of it
    before a GPU is spent. Decodes no image, unless `on_bad_images: skip` asks which can be
    read.
    """
    check_root(data_root)
    from headwater.facts.labels import folder_facts, study_facts
    from headwater.show.labels import print_labels

    plot = out or plot  # what --out was called before
    chosen = None if views is None else views.split(",")
    if plot is not None:
        from headwater.report import check_chart

        check_chart(plot)
    folder = folder_of(study, data_root)
    if folder is not None:
        facts = folder_facts(folder, chosen, layout=layout, follow_links=follow_links)
    elif layout is not None or follow_links:
        raise InputError(
            "labels describe: --layout and --follow-links are of a folder; in a study they are "
            "keys of its data entries"
        )
    else:
        from headwater.plan import Plan
        from headwater.store import Store, is_there
        from headwater.study import Study

        words = Study.load(study_path(study))
        opened = Store(store) if is_there(store) else None
        known = (
            opened is not None and opened.labels.is_dir()
        )  # clusters that were made: which ones, only a whole plan can tell
        plan = (Plan.make if known else Plan.opened)(
            words, data_root=data_root, cache=opened.cache if opened else None
        )
        facts = study_facts(plan, chosen, opened)
    if plot is not None:
        from headwater.report import save_label_chart

        facts["plot"] = str(save_label_chart(facts, plot))
    print_json(facts) if as_json else print_labels(facts, study)


@labels_app.command("levels")
def label_levels(
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            metavar="LIST|FILE",
            help="imagenet21k, imagenet1k, imagenet21k-p, ..., or a file with a synset a line.",
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            "--study",
            metavar="STUDY|FOLDER",
            help="A study whose source is meant, or a folder of images.",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="The study's source, where it has several.")
    ] = None,
    hierarchy: Annotated[
        str | None,
        typer.Option(
            "--hierarchy",
            metavar="NAME|FILE",
            help="For --classes: wordnet (when left out) or a file; alone: of its own leaves.",
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            "--by", help="level (from the classes up), depth (from the root down), or rank."
        ),
    ] = "level",
    levels: Annotated[
        str | None,
        typer.Option(
            "--levels",
            metavar="0-10",
            help="Which levels or depths: 0-10, or 0,2,4; all when left out.",
        ),
    ] = None,
    layout: LayoutOption = None,
    follow_links: LinksOption = False,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many classes each level of a hierarchy makes, and how many classes have several labels
    there. Needs no image and no download.
    """
    if (classes is None and hierarchy is None) == (study is None):
        raise InputError(
            "labels levels: name either --study, or --classes (a list or a file of synsets), "
            "--hierarchy, or both of these"
        )
    if by not in ("level", "depth", "rank"):
        raise InputError(f"--by {by!r} is none of level, depth, rank")
    if by == "rank" and levels is not None:
        raise InputError("--levels are numbers; --by rank shows all ranks")
    from headwater.facts import levels as asked
    from headwater.show.levels import print_levels

    wanted = None if levels is None else asked.parse_levels(levels)
    how: Any = by
    folder = None if study is None else folder_of(study, data_root)
    if folder is None and (layout is not None or follow_links):
        raise InputError(
            "labels levels: --layout and --follow-links are of a folder; in a study they are keys "
            "of its data entries"
        )
    if study is None:
        facts = asked.list_facts(classes, hierarchy or "wordnet", how, wanted)
    elif folder is not None:
        facts = asked.folder_facts(folder, how, wanted, layout=layout, follow_links=follow_links)
    else:
        from headwater.plan import Plan
        from headwater.study import Study

        check_root(data_root)
        facts = asked.source_facts(
            Plan.opened(Study.load(study_path(study)), data_root=data_root),
            source,
            how,
            wanted,
        )
    print_json(facts) if as_json else print_levels(facts)
